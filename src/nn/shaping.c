/*
 * Layers that move a sample's numbers or treat each alone: permute, repeat, one_hot, unit_norm and
 * prelu, whose slopes are trained.
 */
#include <string.h>

#include "nn/layers.h"
#include "nn/scope_priv.h"
#include "nn/table_priv.h"

/* As PyTorch's PReLU begins. */
#define PRELU_SLOPE 0.25

qn_value qn_nn_prelu(const qn_nn_scope *at, qn_value x)
{
    if (!qn_nn_begin(at, x))
        return QN_NONE;
    int64_t channels = qn_nn_channels(at, x);
    if (channels < 1)
        return QN_NONE;
    qn_init init = {.kind = QN_INIT_CONST, .value = PRELU_SLOPE};
    qn_value slope = qn_nn_state(at, "slope", x, QN_SHAPE(channels), init, true);
    return qn_graph_op2(at->graph, "PRelu", x, slope);
}

qn_value qn_nn_permute(const qn_nn_scope *at, qn_value x, const int64_t *order, int count)
{
    if (!qn_nn_begin(at, x))
        return QN_NONE;
    qn_shape shape = qn_nn_shape(at, x);
    qn_attr perm = {.name = "perm", .kind = QN_ATTR_INTS, .count = shape.rank};
    char text[128];
    bool seen[QN_RANK_MAX] = {true}; /* the batch stays first */
    if (count != shape.rank - 1)
        return qn_nn_fail(at, "orders %d dimensions, got %s", count,
                          qn_nn_sample_text(shape, text));
    for (int d = 0; d < count; d++) {
        if (order[d] < 1 || order[d] > count || seen[order[d]])
            return qn_nn_fail(at, "has %lld in its order, expected each of 1 to %d once",
                              (long long)order[d], count);
        seen[order[d]] = true;
        perm.ints[d + 1] = order[d];
    }
    return qn_graph_node(at->graph, "Transpose", &x, 1, &perm, 1);
}

qn_value qn_nn_repeat(const qn_nn_scope *at, qn_value x, int64_t count)
{
    if (!qn_nn_begin(at, x))
        return QN_NONE;
    qn_shape shape = qn_nn_shape(at, x);
    char text[128];
    if (shape.rank != 2)
        return qn_nn_fail(at, "expects input of 1 dimension [features], got %s",
                          qn_nn_sample_text(shape, text));
    qn_attr axis = {.name = "axes", .kind = QN_ATTR_INTS, .count = 1, .ints = {1}};
    qn_attr repeats = {.name = "repeats", .kind = QN_ATTR_INTS, .count = 3, .ints = {1, count, 1}};
    x = qn_graph_node(at->graph, "Unsqueeze", &x, 1, &axis, 1);
    return qn_graph_node(at->graph, "Tile", &x, 1, &repeats, 1);
}

qn_value qn_nn_one_hot(const qn_nn_scope *at, qn_value x, int64_t count)
{
    if (!qn_nn_begin(at, x))
        return QN_NONE;
    qn_dtype dtype = qn_graph_type(at->graph, x)->dtype;
    qn_attr integers = QN_ATTR_S("to", "i64");
    if (dtype != QN_DTYPE_I64 && dtype != QN_DTYPE_I32)
        x = qn_graph_node(at->graph, "Cast", &x, 1, &integers, 1);
    if (x == QN_NONE)
        return QN_NONE;
    qn_attr depth = QN_ATTR_I("depth", count);
    return qn_graph_node(at->graph, "OneHot", &x, 1, &depth, 1);
}

qn_value qn_nn_unit_norm(const qn_nn_scope *at, qn_value x)
{
    if (!qn_nn_begin(at, x))
        return QN_NONE;
    return qn_graph_op1(at->graph, "LpNormalization", x);
}

QN_NN_BUILD(build_prelu, qn_nn_prelu(at, x))
QN_NN_BUILD(build_permute, qn_nn_permute(at, x, s[0].ints, s[0].count))
QN_NN_BUILD(build_repeat, qn_nn_repeat(at, x, s[0].i))
QN_NN_BUILD(build_one_hot, qn_nn_one_hot(at, x, s[0].i))
QN_NN_BUILD(build_unit_norm, qn_nn_unit_norm(at, x))
static const qn_nn_attr no_attrs[] = {{0}};
static const qn_nn_attr order_attrs[] = {
    {.name = "order",
     .kind = QN_NN_ATTR_INTS,
     .required = true,
     .low = 1,
     .high = QN_RANK_MAX - 1,
     .doc = "where each dimension comes from, counted from 1: [2, 1] transposes"},
    {0},
};
static const qn_nn_attr repeat_attrs[] = {
    {.name = "count",
     .kind = QN_NN_ATTR_INT,
     .required = true,
     .low = 1,
     .high = 1e9,
     .doc = "length of the sequence"},
    {0},
};
static const qn_nn_attr one_hot_attrs[] = {
    {.name = "count",
     .kind = QN_NN_ATTR_INT,
     .required = true,
     .low = 1,
     .high = 1e9,
     .doc = "how many different integers come in"},
    {0},
};

const qn_nn_row qn_nn_rows_shaping[] = {
    {{"prelu", "numbers below 0 times a trained slope of their channel (Keras PReLU)", no_attrs},
     build_prelu},
    {{"permute", "the dimensions of a sample in another order (Keras Permute)", order_attrs},
     build_permute},
    {{"repeat", "one row of numbers as every step of a sequence (Keras RepeatVector)",
      repeat_attrs},
     build_repeat},
    {{"one_hot", "each integer as zeros and a one (Keras CategoryEncoding)", one_hot_attrs},
     build_one_hot},
    {{"unit_norm", "each row to length 1 (Keras UnitNormalization)", no_attrs}, build_unit_norm},
    {{0}, NULL},
};
