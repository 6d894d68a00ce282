/*
 * Layers that choose, repeat or add up numbers of a sample along one of its dimensions, and their rows in the table of
 * layers. Dimensions are counted from 1, as in permute, or from the end: -1 is the last.
 */
#include <string.h>

#include "nn/scope_priv.h"
#include "nn/table_priv.h"

/* The dimension of [B, ...] that a layer's `axis` means; 0 = a sticky error. */
static int axis_of(const qn_nn_scope *at, qn_value x, int64_t axis)
{
    char text[128];
    if (!qn_nn_begin(at, x))
        return 0;
    qn_shape shape = qn_nn_shape(at, x);
    int64_t found = axis < 0 ? shape.rank + axis : axis;
    if (found >= 1 && found < shape.rank)
        return (int)found;
    qn_nn_fail(at, "has axis %lld, expected 1 to %d or -%d to -1 of input %s", (long long)axis,
               shape.rank - 1, shape.rank - 1, qn_nn_sample_text(shape, text));
    return 0;
}

static qn_attr one(const char *name, int64_t value)
{
    return (qn_attr){.name = name, .kind = QN_ATTR_INTS, .count = 1, .ints = {value}};
}

/* Are these places among `length`, which must be known? */
static bool check_places(const qn_nn_scope *at, const qn_json *places, int64_t length)
{
    for (int64_t i = 0; i < places->count; i++)
        if (places->ints[i] < 0 || places->ints[i] >= length) {
            qn_nn_fail(at, "has index %lld, expected 0 to %lld", (long long)places->ints[i],
                       (long long)length - 1);
            return false;
        }
    return true;
}

static qn_value constant(qn_graph *graph, const qn_json *places)
{
    qn_tensor tensor = qn_tensor_of(places->ints, QN_DTYPE_I64, QN_SHAPE(places->count));
    return qn_graph_const(graph, &tensor);
}

static qn_value slice(const qn_nn_scope *at, qn_value x, const qn_nn_slot *s)
{
    int axis = axis_of(at, x, s[2].i);
    if (axis == 0)
        return QN_NONE;
    int64_t length = qn_nn_shape(at, x).dims[axis], start = s[0].i, end = s[1].i;
    start = start < 0 ? length + start : start;
    end = end <= 0 ? length + end : end;
    if (length < 1 || start < 0 || start >= end || end > length)
        return qn_nn_fail(at, "takes %lld to %lld of %lld, which is nothing", (long long)s[0].i,
                          (long long)s[1].i, (long long)length);
    qn_attr attrs[] = {one("starts", start), one("ends", end), one("axes", axis)};
    return qn_graph_node(at->graph, "Slice", &x, 1, attrs, 3);
}

static qn_value gather(const qn_nn_scope *at, qn_value x, const qn_nn_slot *s)
{
    int axis = axis_of(at, x, s[1].i);
    if (axis == 0 || !check_places(at, &s[0].list, qn_nn_shape(at, x).dims[axis]))
        return QN_NONE;
    qn_attr attr = QN_ATTR_I("axis", axis);
    qn_value inputs[2] = {x, constant(at->graph, &s[0].list)};
    return qn_graph_node(at->graph, "Gather", inputs, 2, &attr, 1);
}

static qn_value scatter(const qn_nn_scope *at, qn_value x, const qn_nn_slot *s)
{
    int axis = axis_of(at, x, s[2].i);
    if (axis == 0)
        return QN_NONE;
    int64_t length = qn_nn_shape(at, x).dims[axis];
    if (s[0].list.count != length)
        return qn_nn_fail(at, "has %lld indices, expected one for each of %lld",
                          (long long)s[0].list.count, (long long)length);
    if (!check_places(at, &s[0].list, s[1].i))
        return QN_NONE;
    qn_attr attrs[] = {QN_ATTR_I("rows", s[1].i), QN_ATTR_I("axis", axis)};
    qn_value inputs[2] = {x, constant(at->graph, &s[0].list)};
    return qn_graph_node(at->graph, "ScatterAddRows", inputs, 2, attrs, 2);
}

/* The attribute `name` of an op, one number for each dimension, for a list of those of a sample. */
static bool list_dims(const qn_nn_scope *at, qn_value x, const char *name, const qn_nn_slot *slot,
                      qn_attr *ret)
{
    char text[128];
    if (!qn_nn_begin(at, x))
        return false;
    qn_shape shape = qn_nn_shape(at, x);
    *ret = (qn_attr){.name = name, .kind = QN_ATTR_INTS, .count = shape.rank, .ints = {1}};
    memcpy(ret->ints + 1, slot->ints, sizeof ret->ints - sizeof ret->ints[0]);
    if (slot->count == shape.rank - 1)
        return true;
    qn_nn_fail(at, "has %d numbers for the dimensions of input %s", slot->count,
               qn_nn_sample_text(shape, text));
    return false;
}

static qn_value tile(const qn_nn_scope *at, qn_value x, const qn_nn_slot *s)
{
    qn_attr attr;
    if (!list_dims(at, x, "repeats", &s[0], &attr))
        return QN_NONE;
    return qn_graph_node(at->graph, "Tile", &x, 1, &attr, 1);
}

static qn_value expand(const qn_nn_scope *at, qn_value x, const qn_nn_slot *s)
{
    qn_attr attr;
    char text[128];
    if (!list_dims(at, x, "shape", &s[0], &attr))
        return QN_NONE;
    qn_shape shape = qn_nn_shape(at, x);
    attr.ints[0] = shape.dims[0];
    for (int d = 1; d < shape.rank; d++)
        if (shape.dims[d] != 1 && shape.dims[d] != attr.ints[d])
            return qn_nn_fail(at, "cannot expand dimension %d of %s to %lld: it must be 1", d,
                              qn_nn_sample_text(shape, text), (long long)attr.ints[d]);
    return qn_graph_node(at->graph, "Expand", &x, 1, &attr, 1);
}

static qn_value cumsum(const qn_nn_scope *at, qn_value x, const qn_nn_slot *s)
{
    int axis = axis_of(at, x, s[0].i);
    qn_attr attrs[] = {QN_ATTR_I("axis", axis), QN_ATTR_I("exclusive", s[1].i),
                       QN_ATTR_I("reverse", s[2].i)};
    return axis == 0 ? QN_NONE : qn_graph_node(at->graph, "CumSum", &x, 1, attrs, 3);
}

static qn_value top_k(const qn_nn_scope *at, qn_value x, const qn_nn_slot *s)
{
    int axis = axis_of(at, x, s[1].i);
    if (axis == 0)
        return QN_NONE;
    int64_t length = qn_nn_shape(at, x).dims[axis];
    if (s[0].i > length)
        return qn_nn_fail(at, "takes the %lld largest of %lld", (long long)s[0].i,
                          (long long)length);
    qn_attr attrs[] = {QN_ATTR_I("k", s[0].i), QN_ATTR_I("axis", axis)};
    return qn_graph_node(at->graph, "TopK", &x, 1, attrs, 2);
}

static qn_value argmax(const qn_nn_scope *at, qn_value x, const qn_nn_slot *s)
{
    int axis = axis_of(at, x, s[0].i);
    qn_attr attrs[] = {QN_ATTR_I("axis", axis), QN_ATTR_I("keepdims", 0)};
    return axis == 0 ? QN_NONE : qn_graph_node(at->graph, "ArgMax", &x, 1, attrs, 2);
}

QN_NN_BUILD(build_slice, slice(at, x, s))
QN_NN_BUILD(build_gather, gather(at, x, s))
QN_NN_BUILD(build_scatter, scatter(at, x, s))
QN_NN_BUILD(build_tile, tile(at, x, s))
QN_NN_BUILD(build_expand, expand(at, x, s))
QN_NN_BUILD(build_cumsum, cumsum(at, x, s))
QN_NN_BUILD(build_top_k, top_k(at, x, s))
QN_NN_BUILD(build_argmax, argmax(at, x, s))

#define AXIS                                                                                       \
    {                                                                                              \
        .name = "axis", .kind = QN_NN_ATTR_INT, .low = 1 - QN_RANK_MAX, .high = QN_RANK_MAX - 1,   \
        .fallback = "-1", .doc = "which dimension, counted from 1; -1: the last"                   \
    }
#define FLAG(key, text)                                                                            \
    {                                                                                              \
        .name = (key), .kind = QN_NN_ATTR_BOOL, .fallback = "false", .doc = (text)                 \
    }
#define PLACE(key, default_value, text)                                                            \
    {                                                                                              \
        .name = (key), .kind = QN_NN_ATTR_INT, .low = -1e9, .high = 1e9,                           \
        .fallback = (default_value), .doc = (text)                                                 \
    }
#define LIST(key, least, text)                                                                     \
    {                                                                                              \
        .name = (key), .kind = QN_NN_ATTR_INTS, .required = true, .low = (least), .high = 1e9,     \
        .doc = (text)                                                                              \
    }
static const qn_nn_attr slice_attrs[] = {
    PLACE("start", "0", "the first that is taken, counted from 0; below 0: from the end"),
    PLACE("end", "0", "the first that is left; 0: all the rest; below 0: from the end"),
    AXIS,
    {0},
};
#define INDICES(text)                                                                              \
    {                                                                                              \
        .name = "indices", .kind = QN_NN_ATTR_INDICES, .required = true, .low = 0, .high = 1e9,    \
        .doc = (text)                                                                              \
    }
static const qn_nn_attr gather_attrs[] = {INDICES("which are taken, counted from 0"), AXIS, {0}};
static const qn_nn_attr scatter_attrs[] = {
    INDICES("where each goes, counted from 0; those that meet are added"),
    {.name = "size",
     .kind = QN_NN_ATTR_INT,
     .required = true,
     .low = 1,
     .high = 1e9,
     .doc = "length of the result"},
    AXIS,
    {0},
};
static const qn_nn_attr tile_attrs[] = {LIST("repeats", 1, "how often, for each dimension"), {0}};
static const qn_nn_attr expand_attrs[] = {
    LIST("shape", 1, "dimensions of the result; where they differ the input has 1"), {0}};
static const qn_nn_attr cumsum_attrs[] = {
    AXIS,
    FLAG("exclusive", "whether a sum leaves out its own number"),
    FLAG("reverse", "whether sums run from the end"),
    {0}};
static const qn_nn_attr top_attrs[] = {
    {.name = "count",
     .kind = QN_NN_ATTR_INT,
     .required = true,
     .low = 1,
     .high = 1e9,
     .doc = "how many"},
    AXIS,
    {0},
};
static const qn_nn_attr axis_attrs[] = {AXIS, {0}};

const qn_nn_row qn_nn_rows_moves[] = {
    {{"slice", "a part of one dimension (Keras Cropping, PyTorch narrow and split)", slice_attrs},
     build_slice},
    {{"gather", "some places of one dimension (Keras ops.take, PyTorch index_select)",
      gather_attrs},
     build_gather},
    {{"scatter",
      "each place of one dimension at another of a longer one, zeros between (PyTorch "
      "index_add)",
      scatter_attrs},
     build_scatter},
    {{"tile", "the numbers again and again (Keras ops.tile, PyTorch tile)", tile_attrs},
     build_tile},
    {{"expand", "dimensions of 1 made longer (Keras ops.broadcast_to, PyTorch expand)",
      expand_attrs},
     build_expand},
    {{"cumsum", "running sums (Keras ops.cumsum, PyTorch cumsum)", cumsum_attrs}, build_cumsum},
    {{"top_k", "the largest numbers, largest first (Keras ops.top_k, PyTorch topk)", top_attrs},
     build_top_k},
    {{"argmax", "the place of the largest number, an integer (Keras ops.argmax, PyTorch argmax)",
      axis_attrs},
     build_argmax},
    {{0}, NULL},
};
