/*
 * Weights made of others while the graph runs.
 *
 * weight_norm (Salimans and Kingma 2016): w = gain v / |v|, the norm over all but the last dimension, one gain for each output
 * (of a recurrent layer: over each row). v is the state NAME.weight; the gain begins at the norm that such weights have on average.
 *
 * spectral_norm (Miyato et al. 2018): w = W / sigma, sigma the largest singular value of W as a matrix of outputs and the rest, by
 * one step of power iteration in each training run: u = W' v / |W' v|, v = W u / |W u|, sigma = v' W u. u and v are states, fixed in
 * plans that do not train, and constants to the gradient. The directions of a recurrent layer are matrices of their own.
 */
#include <math.h>
#include <stdio.h>

#include "nn/scope_priv.h"

static const double least = 1e-12; /* no division by 0 */

/* One weight in work. */
typedef struct {
    const qn_nn_scope *at;
    const char *what; /* of qn_nn_reparametrise */
    qn_value weight;
    qn_shape shape;
    qn_nn_outputs outputs;
} reparam;

static qn_value state(const reparam *r, const char *name, qn_shape shape, qn_init init,
                      bool trainable)
{
    char full[64];
    snprintf(full, sizeof full, "%s%s", r->what, name);
    return qn_nn_state(r->at, full, r->weight, shape, init, trainable);
}

static qn_value with_dims(qn_graph *graph, const char *op, const char *name, qn_value x,
                          const int64_t *dims, int count)
{
    qn_attr attr = {.name = name, .kind = QN_ATTR_INTS, .count = count};
    for (int d = 0; d < count; d++)
        attr.ints[d] = dims[d];
    return x == QN_NONE ? QN_NONE : qn_graph_node(graph, op, &x, 1, &attr, 1);
}

/* op of x over these axes, which stay as 1. */
static qn_value reduce(qn_graph *graph, const char *op, qn_value x, const int64_t *axes, int count)
{
    return with_dims(graph, op, "axes", x, axes, count);
}

/* Standard deviation of a state's first values. */
static double deviation_of(const qn_init *init)
{
    return init->kind == QN_INIT_UNIFORM  ? init->value / sqrt(3)
           : init->kind == QN_INIT_NORMAL ? init->value
                                          : 1;
}

/* The gain has the dimensions that the norm leaves: [outputs], or [D, outputs, 1] of rows. */
static qn_value weight_norm(const reparam *r, const qn_init *init)
{
    qn_graph *graph = r->at->graph;
    bool rows = r->outputs == QN_NN_OUTPUTS_ROWS;
    int rank = r->shape.rank, count = rows ? 1 : rank - 1;
    int64_t axes[QN_RANK_MAX], summed = 1;
    for (int d = 0; d < count; d++) {
        axes[d] = rows ? rank - 1 : d;
        summed *= r->shape.dims[axes[d]];
    }
    qn_init begin = {.kind = QN_INIT_CONST, .value = deviation_of(init) * sqrt((double)summed)};
    qn_shape each =
        rows ? QN_SHAPE(r->shape.dims[0], r->shape.dims[1], 1) : QN_SHAPE(r->shape.dims[rank - 1]);
    qn_value gain = state(r, "gain", each, begin, true);
    qn_value square = reduce(graph, "ReduceSumSquare", r->weight, axes, count);
    if (gain == QN_NONE || square == QN_NONE)
        return QN_NONE;
    qn_value norm = qn_graph_op1(graph, "Sqrt", square);
    if (norm == QN_NONE)
        return QN_NONE;
    return qn_graph_op2(graph, "Mul", r->weight, qn_graph_op2(graph, "Div", gain, norm));
}

/* op over the last two dimensions but `kept` of them. */
static qn_value along(qn_graph *graph, const char *op, qn_value x, int kept)
{
    if (x == QN_NONE)
        return QN_NONE;
    int rank = qn_graph_type(graph, x)->shape.rank;
    return reduce(graph, op, x, (int64_t[]){rank - 2, rank - 1}, 2 - kept);
}

static qn_value product(qn_graph *graph, qn_value matrix, qn_value vector, bool transposed)
{
    qn_attr attr = QN_ATTR_I("transA", transposed);
    return qn_graph_node(graph, "MatMul", (qn_value[]){matrix, vector}, 2, &attr, 1);
}

/* One step of the iteration where the plan trains, what is kept where not. Vectors are [length, 1], or [D, length, 1]. */
static qn_value iterate(qn_graph *graph, qn_value matrix, qn_value from, qn_value kept,
                        bool transposed)
{
    qn_value x = product(graph, matrix, from, transposed);
    qn_value norm = along(graph, "ReduceL2", x, 1);
    if (norm == QN_NONE)
        return QN_NONE;
    qn_dtype dtype = qn_graph_type(graph, x)->dtype;
    norm = qn_graph_op2(graph, "Max", norm, qn_graph_scalar(graph, dtype, least));
    qn_value fresh = qn_graph_op2(graph, "Div", x, norm);
    qn_value next = qn_graph_op2(graph, "WhenTraining", kept, fresh);
    if (next != QN_NONE)
        qn_graph_assign(graph, kept, next);
    return next;
}

/* The weight as a matrix [M, N], or as the matrices that it is. */
static qn_value matrix_of(const reparam *r)
{
    qn_graph *graph = r->at->graph;
    qn_value x = r->weight;
    int rank = r->shape.rank;
    int64_t order[QN_RANK_MAX];
    if (r->outputs == QN_NN_OUTPUTS_ROWS)
        return x;
    for (int d = 0; d < rank; d++)
        order[d] = d < rank - 2 ? d : 2 * rank - 3 - d;
    if (r->outputs == QN_NN_OUTPUTS_NEXT)
        x = with_dims(graph, "Transpose", "perm", x, order, rank);
    if (x == QN_NONE)
        return QN_NONE;
    int64_t outputs = qn_graph_type(graph, x)->shape.dims[rank - 1];
    return with_dims(graph, "Reshape", "shape", x, (int64_t[]){-1, outputs}, 2);
}

/* A state of normal numbers, of length 1 on average. */
static qn_value vector(const reparam *r, const char *name, qn_shape shape)
{
    double length = (double)shape.dims[shape.rank - 2];
    qn_init init = {.kind = QN_INIT_NORMAL, .value = 1 / sqrt(length)};
    return state(r, name, shape, init, false);
}

static qn_value spectral_norm(const reparam *r)
{
    qn_graph *graph = r->at->graph;
    qn_value matrix = matrix_of(r);
    if (matrix == QN_NONE)
        return QN_NONE;
    bool rows = r->outputs == QN_NN_OUTPUTS_ROWS; /* outputs first, inputs last */
    qn_shape u_shape = qn_nn_shape(r->at, matrix), v_shape = u_shape;
    int last = u_shape.rank - 1;
    qn_shape *swapped = rows ? &v_shape : &u_shape;
    swapped->dims[last - 1] = swapped->dims[last];
    u_shape.dims[last] = v_shape.dims[last] = 1;
    qn_value u = vector(r, "spectral_u", u_shape), v = vector(r, "spectral_v", v_shape);
    if (u == QN_NONE || v == QN_NONE)
        return QN_NONE;
    qn_value left = iterate(graph, matrix, v, u, !rows), right = QN_NONE;
    if (left != QN_NONE)
        right = iterate(graph, matrix, left, v, rows);
    qn_value image = right == QN_NONE ? QN_NONE : product(graph, matrix, left, rows);
    if (image == QN_NONE)
        return QN_NONE;
    qn_value each = qn_graph_op2(graph, "Mul", image, right);
    qn_value sigma = along(graph, "ReduceSum", each, 0);
    if (r->outputs != QN_NN_OUTPUTS_ROWS)
        sigma = with_dims(graph, "Reshape", "shape", sigma, (int64_t[]){1}, 1);
    return sigma == QN_NONE ? QN_NONE : qn_graph_op2(graph, "Div", r->weight, sigma);
}

qn_value qn_nn_reparametrise(const qn_nn_scope *at, const char *what, qn_value weight,
                             qn_nn_outputs outputs, qn_nn_reparam kind, const qn_init *init)
{
    if (weight == QN_NONE || kind == QN_NN_REPARAM_NONE)
        return weight;
    reparam r = {at, what, weight, qn_nn_shape(at, weight), outputs};
    return kind == QN_NN_REPARAM_WEIGHT ? weight_norm(&r, init) : spectral_norm(&r);
}
