/*
 * Muon: the gradient's running mean with its singular values brought near 1.
 *
 *     n = momentum n + (1 - momentum) g;   x = (1 - momentum) g + momentum n (nesterov), or n
 *     x = x / |x|; five times: s = x x', x = a x + (b s + c s^2) x
 *     w = (1 - lr weight_decay) w - lr f x
 *
 * The quintic a t + b t^3 + c t^5 acts on every singular value t; Jordan's coefficients are the steepest at 0 that keep it
 * near 1, within 0.7 and 1.2 after five steps. x is [rest, last dimension] and s its smaller square, x x' or x' x. All are
 * ordinary nodes: the products run on the matrix kernels.
 * f = 0.2 sqrt(max(in, out)) gives the update the size of one of Adam's (Liu et al. 2025); else sqrt(max(1, out / in)).
 * Source: Jordan et al. 2024; as PyTorch computes it, but in f32 where that rounds x to bf16.
 */
#include <math.h>

#include "nn/optimizers_priv.h"

enum { ITERATIONS = 5 };
static const double a = 3.4445, b = -4.7750, c = 2.0315, epsilon = 1e-7;

static qn_value times(qn_graph *graph, qn_value x, double factor)
{
    qn_value scalar = qn_graph_scalar(graph, qn_graph_type(graph, x)->dtype, factor);
    return qn_graph_op2(graph, "Mul", x, scalar);
}

static qn_value product(qn_graph *graph, qn_value left, qn_value right, bool trans_left,
                        bool trans_right)
{
    qn_attr attrs[] = {QN_ATTR_I("transA", trans_left), QN_ATTR_I("transB", trans_right)};
    return qn_graph_node(graph, "MatMul", (qn_value[]){left, right}, 2, attrs, 2);
}

static bool sound(const qn_graph *graph)
{
    return qn_graph_check(graph, NULL) == QN_OK;
}

/* x with singular values near 1. */
static qn_value orthogonal(qn_graph *graph, qn_value x, bool wide)
{
    for (int i = 0; i < ITERATIONS && sound(graph); i++) {
        qn_value s = product(graph, x, x, !wide, wide);
        qn_value square = product(graph, s, s, false, false);
        if (!sound(graph))
            return QN_NONE;
        qn_value p = qn_graph_op2(graph, "Add", times(graph, s, b), times(graph, square, c));
        qn_value px =
            wide ? product(graph, p, x, false, false) : product(graph, x, p, false, false);
        if (!sound(graph))
            return QN_NONE;
        x = qn_graph_op2(graph, "Add", times(graph, x, a), px);
    }
    return x;
}

/* The direction, unscaled, and the velocity's assign. */
static qn_value direction(const qn_nn_updates *u, const qn_nn_update *update)
{
    qn_graph *graph = u->graph;
    double keep = u->options->momentum;
    qn_value velocity = qn_graph_state_like(graph, update->param, "velocity");
    if (velocity == QN_NONE)
        return QN_NONE;
    qn_value grad =
        u->scale == QN_NONE ? update->grad : qn_graph_op2(graph, "Mul", update->grad, u->scale);
    if (grad == QN_NONE)
        return QN_NONE;
    qn_value fresh = times(graph, grad, 1 - keep);
    qn_value next = qn_graph_op2(graph, "Add", times(graph, velocity, keep), fresh);
    if (next == QN_NONE)
        return QN_NONE;
    qn_graph_assign(graph, velocity, next);
    return u->options->nesterov ? qn_graph_op2(graph, "Add", fresh, times(graph, next, keep))
                                : next;
}

static qn_value reshape(qn_graph *graph, qn_value x, const qn_shape *shape)
{
    qn_attr attr = {.name = "shape", .kind = QN_ATTR_INTS, .count = shape->rank};
    for (int d = 0; d < shape->rank; d++)
        attr.ints[d] = shape->dims[d];
    return qn_graph_node(graph, "Reshape", &x, 1, &attr, 1);
}

void qn_nn_update_muon(const qn_nn_updates *u, const qn_nn_update *update)
{
    qn_graph *graph = u->graph;
    qn_type type = *qn_graph_type(graph, update->param);
    int64_t cols = type.shape.dims[type.shape.rank - 1];
    int64_t rows = qn_shape_count(&type.shape) / (cols > 0 ? cols : 1);
    qn_value x = direction(u, update);
    if (x == QN_NONE)
        return;
    qn_shape matrix = QN_SHAPE(rows, cols);
    x = reshape(graph, x, &matrix);
    qn_value norm = qn_graph_node(graph, "GlobalNorm", &x, 1, NULL, 0);
    norm = qn_graph_op2(graph, "Max", norm, qn_graph_scalar(graph, type.dtype, epsilon));
    x = orthogonal(graph, qn_graph_op2(graph, "Div", x, norm), rows <= cols);
    if (x == QN_NONE)
        return;
    x = reshape(graph, x, &type.shape);
    double in = (double)rows, out = (double)cols;
    double factor = u->options->match_adam ? 0.2 * sqrt(fmax(in, out)) : sqrt(fmax(1, out / in));
    qn_attr decay = QN_ATTR_F("weight_decay", update->decay);
    qn_value inputs[] = {update->param, x, update->lr, qn_graph_scalar(graph, type.dtype, factor)};
    qn_graph_assign(graph, update->param, qn_graph_node(graph, "SgdUpdate", inputs, 4, &decay, 1));
}
