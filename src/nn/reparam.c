/*
 * Weights made of others while the graph runs.
 *
 * weight_norm (Salimans and Kingma 2016): w = gain v / |v|, the norm over all but the last dimension, one gain for each output.
 * v is the state NAME.weight; the gain begins at the norm that such weights have on average.
 *
 * spectral_norm (Miyato et al. 2018): w = W / sigma, sigma the largest singular value of W as a matrix [the rest, outputs], by one
 * step of power iteration in each training run: u = W' v / |W' v|, v = W u / |W u|, sigma = v' W u. u and v are states, fixed in
 * plans that do not train, and constants to the gradient.
 */
#include <math.h>

#include "nn/scope_priv.h"

static const double least = 1e-12; /* no division by 0 */

static qn_value scalar(qn_graph *graph, qn_value like, double value)
{
    return qn_graph_scalar(graph, qn_graph_type(graph, like)->dtype, value);
}

static qn_value reshape(qn_graph *graph, qn_value x, const int64_t *dims, int count)
{
    qn_attr attr = {.name = "shape", .kind = QN_ATTR_INTS, .count = count};
    for (int d = 0; d < count; d++)
        attr.ints[d] = dims[d];
    return qn_graph_node(graph, "Reshape", &x, 1, &attr, 1);
}

/* Standard deviation of a state's first values. */
static double deviation_of(const qn_init *init)
{
    return init->kind == QN_INIT_UNIFORM  ? init->value / sqrt(3)
           : init->kind == QN_INIT_NORMAL ? init->value
                                          : 1;
}

static qn_value weight_norm(const qn_nn_scope *at, qn_value weight, const qn_init *init)
{
    qn_graph *graph = at->graph;
    qn_shape shape = qn_graph_type(graph, weight)->shape;
    int64_t outputs = shape.dims[shape.rank - 1], rest = qn_shape_count(&shape) / outputs;
    qn_init begin = {.kind = QN_INIT_CONST, .value = deviation_of(init) * sqrt((double)rest)};
    qn_value gain = qn_nn_state(at, "gain", weight, QN_SHAPE(outputs), begin, true);
    qn_attr attrs[] = {{.name = "axes", .kind = QN_ATTR_INTS, .count = shape.rank - 1},
                       QN_ATTR_I("keepdims", 0)};
    for (int d = 0; d < shape.rank - 1; d++)
        attrs[0].ints[d] = d;
    qn_value square = qn_graph_node(graph, "ReduceSumSquare", &weight, 1, attrs, 2);
    if (gain == QN_NONE || square == QN_NONE)
        return QN_NONE;
    qn_value norm = qn_graph_op1(graph, "Sqrt", square);
    if (norm == QN_NONE)
        return QN_NONE;
    return qn_graph_op2(graph, "Mul", weight, qn_graph_op2(graph, "Div", gain, norm));
}

static qn_value product(qn_graph *graph, qn_value matrix, qn_value vector, bool transposed)
{
    qn_attr attr = QN_ATTR_I("transA", transposed);
    return qn_graph_node(graph, "MatMul", (qn_value[]){matrix, vector}, 2, &attr, 1);
}

/* One step of the iteration where the plan trains, what is kept where not. */
static qn_value iterate(const qn_nn_scope *at, qn_value matrix, qn_value from, qn_value kept,
                        bool transposed)
{
    qn_graph *graph = at->graph;
    qn_value x = product(graph, matrix, from, transposed);
    if (x == QN_NONE)
        return QN_NONE;
    qn_value norm = qn_graph_node(graph, "GlobalNorm", &x, 1, NULL, 0);
    norm = qn_graph_op2(graph, "Max", norm, scalar(graph, x, least));
    qn_value fresh = qn_graph_op2(graph, "Div", x, norm);
    qn_value next = qn_graph_op2(graph, "WhenTraining", kept, fresh);
    if (next != QN_NONE)
        qn_graph_assign(graph, kept, next);
    return next;
}

static qn_value spectral_norm(const qn_nn_scope *at, qn_value weight)
{
    qn_graph *graph = at->graph;
    qn_shape shape = qn_graph_type(graph, weight)->shape;
    int64_t outputs = shape.dims[shape.rank - 1], rest = qn_shape_count(&shape) / outputs;
    qn_init u_init = {.kind = QN_INIT_NORMAL, .value = 1 / sqrt((double)outputs)};
    qn_init v_init = {.kind = QN_INIT_NORMAL, .value = 1 / sqrt((double)rest)};
    qn_value u = qn_nn_state(at, "spectral_u", weight, QN_SHAPE(outputs, 1), u_init, false);
    qn_value v = qn_nn_state(at, "spectral_v", weight, QN_SHAPE(rest, 1), v_init, false);
    if (u == QN_NONE || v == QN_NONE)
        return QN_NONE;
    qn_value matrix = reshape(graph, weight, (int64_t[]){rest, outputs}, 2);
    qn_value right = iterate(at, matrix, v, u, true), left = QN_NONE;
    if (right != QN_NONE)
        left = iterate(at, matrix, right, v, false);
    qn_value image = left == QN_NONE ? QN_NONE : product(graph, matrix, right, false);
    if (image == QN_NONE)
        return QN_NONE;
    qn_attr keep = QN_ATTR_I("keepdims", 0);
    qn_value each = qn_graph_op2(graph, "Mul", image, left);
    qn_value sigma =
        each == QN_NONE ? QN_NONE : qn_graph_node(graph, "ReduceSum", &each, 1, &keep, 1);
    return sigma == QN_NONE ? QN_NONE : qn_graph_op2(graph, "Div", weight, sigma);
}

qn_value qn_nn_reparametrise(const qn_nn_scope *at, qn_value weight, qn_nn_reparam reparam,
                             const qn_init *init)
{
    if (weight == QN_NONE || reparam == QN_NN_REPARAM_NONE)
        return weight;
    return reparam == QN_NN_REPARAM_WEIGHT ? weight_norm(at, weight, init)
                                           : spectral_norm(at, weight);
}
