/*
 * Gathering and scattering by tensors of indices: GatherElements and ScatterElements name one
 * element each, GatherND and ScatterND whole slices. A negative index counts from the end; one
 * outside gives zeros and is skipped when scattering.
 */
#include "graph/op/common.h"
#include "graph/op/number.h"

#include <string.h>

typedef enum { PUT_NONE, PUT_ADD, PUT_MUL, PUT_MAX, PUT_MIN } put_kind;
#define REDUCTIONS "none add mul max min"

static put_kind kind_of(const qn_op_types *types)
{
    static const char *const words[] = {"none", "add", "mul", "max", "min"};
    int kind = 0;
    while (strcmp(words[kind], qn_op_attr_s(types, "reduction")) != 0)
        kind++;
    return (put_kind)kind;
}

/* dst[at] becomes it joined with src[from]. */
static void put(const qn_tensor *dst, int64_t at, const qn_tensor *src, int64_t from, put_kind kind)
{
    bool floats = qn_dtype_is_float(dst->dtype);
    if (kind == PUT_MAX || kind == PUT_MIN) {
        int order = qn_op_compare(src, from, dst, at);
        if (kind == PUT_MAX ? order > 0 : order < 0)
            qn_op_put_from(dst, at, src, from);
    } else if (kind == PUT_NONE) {
        qn_op_put_from(dst, at, src, from);
    } else if (floats) {
        double a = qn_op_get(dst, at), b = qn_op_get(src, from);
        qn_op_put(dst, at, kind == PUT_ADD ? a + b : a * b);
    } else {
        uint64_t a = (uint64_t)qn_op_get_i64(dst, at), b = (uint64_t)qn_op_get_i64(src, from);
        qn_op_put_i64(dst, at, (int64_t)(kind == PUT_ADD ? a + b : a * b));
    }
}

static int64_t place(const qn_tensor *indices, int64_t i, int64_t size)
{
    int64_t index = qn_op_get_i64(indices, i);
    if (index < 0 && index >= -size)
        index += size;
    return index >= 0 && index < size ? index : -1;
}

/* Elements: indices have the rank of data and lie within it except along the axis. */

static qn_status check_elements(const qn_op_types *types, qn_error *err)
{
    const qn_shape *data = &types->inputs[0].shape, *indices = &types->inputs[1].shape;
    char came[128], want[128];
    int axis = 0;
    QN_TRY(qn_op_want_index(types, 1, err));
    QN_TRY(qn_op_axis(types, data->rank, &axis, err));
    QN_TRY(qn_op_want_rank(types, 1, data->rank, err));
    for (int d = 0; d < data->rank; d++)
        if (d != axis && indices->dims[d] != data->dims[d] &&
            (data->dims[d] < 0 || indices->dims[d] < 0 || indices->dims[d] > data->dims[d]))
            QN_FAIL(err, QN_ERR_ARG, "input 1 is %s, which is larger than %s beside axis %d",
                    qn_shape_text(indices, came), qn_shape_text(data, want), axis);
    return QN_OK;
}

static qn_status gather_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    QN_TRY(check_elements(types, err));
    ret_outputs[0] = (qn_type){types->inputs[0].dtype, types->inputs[1].shape};
    return QN_OK;
}

static qn_status scatter_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    QN_TRY(check_elements(types, err));
    QN_TRY(qn_op_want_dtype(types, 2, types->inputs[0].dtype, err));
    QN_TRY(qn_op_want_shape(types, 2, &types->inputs[1].shape, err));
    ret_outputs[0] = types->inputs[0];
    return QN_OK;
}

/* Where in data the i-th index points; -1 = outside. */
static int64_t find_element(const qn_op_run *run, int64_t i)
{
    const qn_shape *data = &run->inputs[0].shape, *own = &run->inputs[1].shape;
    int axis = qn_op_axis_of(run->types, data->rank);
    int64_t index = place(&run->inputs[1], i, data->dims[axis]), at = 0, step = 1;
    if (index < 0)
        return -1;
    for (int d = data->rank - 1; d >= 0; d--) {
        at += (d == axis ? index : i % own->dims[d]) * step;
        i /= own->dims[d];
        step *= data->dims[d];
    }
    return at;
}

static void gather_ref(const qn_op_run *run)
{
    int64_t count = qn_shape_count(&run->inputs[1].shape);
    memset(run->outputs[0].data, 0, qn_tensor_bytes(&run->outputs[0]));
    for (int64_t i = 0; i < count; i++) {
        int64_t from = find_element(run, i);
        if (from >= 0)
            qn_op_put_from(&run->outputs[0], i, &run->inputs[0], from);
    }
}

static void scatter_ref(const qn_op_run *run)
{
    put_kind kind = kind_of(run->types);
    int64_t count = qn_shape_count(&run->inputs[1].shape);
    if (run->outputs[0].data != run->inputs[0].data)
        memcpy(run->outputs[0].data, run->inputs[0].data, qn_tensor_bytes(&run->outputs[0]));
    for (int64_t i = 0; i < count; i++) {
        int64_t at = find_element(run, i);
        if (at >= 0)
            put(&run->outputs[0], at, &run->inputs[2], i, kind);
    }
}

/* Slices: the last dimension of the indices names a place in the dimensions of data after
 * batch_dims. */

typedef struct {
    int64_t batches, rows, width; /* rows of indices in a batch, numbers in each */
    int64_t data_size, slice;     /* elements of data in a batch, and in what a row names */
    const int64_t *dims;          /* that a row indexes */
} nd_sizes;

static nd_sizes nd_of(const qn_op_run *run)
{
    const qn_shape *data = &run->inputs[0].shape, *indices = &run->inputs[1].shape;
    int batch_dims = (int)qn_op_attr_i(run->types, "batch_dims");
    nd_sizes z = {1, 1, indices->dims[indices->rank - 1], 1, 1, data->dims + batch_dims};
    for (int d = 0; d < indices->rank - 1; d++)
        *(d < batch_dims ? &z.batches : &z.rows) *= indices->dims[d];
    for (int d = batch_dims; d < data->rank; d++) {
        z.data_size *= data->dims[d];
        z.slice *= d < batch_dims + (int)z.width ? 1 : data->dims[d];
    }
    return z;
}

static int64_t find_slice(const nd_sizes *z, const qn_tensor *indices, int64_t row)
{
    int64_t at = 0;
    for (int64_t k = 0; k < z->width; k++) {
        int64_t index = place(indices, row * z->width + k, z->dims[k]);
        if (index < 0)
            return -1;
        at = at * z->dims[k] + index;
    }
    return row / z->rows * z->data_size + at * z->slice;
}

/* The shape of all slices: that of the indices without their last dimension, then what is left of
 * data. */
static qn_status nd_shape(const qn_op_types *types, qn_shape *ret, qn_error *err)
{
    const qn_shape *data = &types->inputs[0].shape, *indices = &types->inputs[1].shape;
    int64_t batch_dims = qn_op_attr_i(types, "batch_dims");
    char a[128], b[128];
    QN_TRY(qn_op_want_index(types, 1, err));
    int64_t width = indices->rank > 0 ? indices->dims[indices->rank - 1] : -1;
    bool fits = width >= 0 && batch_dims < indices->rank && batch_dims + width <= data->rank;
    for (int d = 0; fits && d < batch_dims; d++)
        fits = data->dims[d] == indices->dims[d];
    if (!fits)
        QN_FAIL(err, QN_ERR_ARG, "input 1 is %s, whose rows are no places in %s",
                qn_shape_text(indices, a), qn_shape_text(data, b));
    qn_shape out = *indices;
    int rest = data->rank - (int)(batch_dims + width);
    out.rank--;
    if (out.rank + rest > QN_RANK_MAX)
        QN_FAIL(err, QN_ERR_ARG, "the result would have %d dimensions, at most %d are allowed",
                out.rank + rest, QN_RANK_MAX);
    memcpy(out.dims + out.rank, data->dims + batch_dims + width, (size_t)rest * sizeof out.dims[0]);
    out.rank += rest;
    *ret = out;
    return QN_OK;
}

static qn_status gather_nd_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    qn_shape shape;
    QN_TRY(nd_shape(types, &shape, err));
    ret_outputs[0] = (qn_type){types->inputs[0].dtype, shape};
    return QN_OK;
}

static qn_status scatter_nd_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    qn_shape shape;
    QN_TRY(nd_shape(types, &shape, err));
    QN_TRY(qn_op_want_dtype(types, 2, types->inputs[0].dtype, err));
    QN_TRY(qn_op_want_shape(types, 2, &shape, err));
    ret_outputs[0] = types->inputs[0];
    return QN_OK;
}

static void gather_nd_ref(const qn_op_run *run)
{
    nd_sizes z = nd_of(run);
    size_t size = qn_dtype_size(run->outputs[0].dtype), bytes = (size_t)z.slice * size;
    char *dst = run->outputs[0].data;
    memset(dst, 0, qn_tensor_bytes(&run->outputs[0]));
    for (int64_t row = 0; row < z.batches * z.rows; row++, dst += bytes) {
        int64_t from = find_slice(&z, &run->inputs[1], row);
        if (from >= 0)
            memcpy(dst, (const char *)run->inputs[0].data + (size_t)from * size, bytes);
    }
}

static void scatter_nd_ref(const qn_op_run *run)
{
    nd_sizes z = nd_of(run);
    put_kind kind = kind_of(run->types);
    if (run->outputs[0].data != run->inputs[0].data)
        memcpy(run->outputs[0].data, run->inputs[0].data, qn_tensor_bytes(&run->outputs[0]));
    for (int64_t row = 0; row < z.batches * z.rows; row++) {
        int64_t at = find_slice(&z, &run->inputs[1], row);
        for (int64_t i = 0; i < z.slice && at >= 0; i++)
            put(&run->outputs[0], at + i, &run->inputs[2], row * z.slice + i, kind);
    }
}

/* Gradients. Gathering and scattering by addition are each other's. */

static bool is_nd(const qn_op_vjp *in)
{
    return strstr(in->types->op->name, "ND") != NULL;
}

/* The row's other half with the same indices. */
static qn_value gathered(const qn_op_vjp *in, qn_value data)
{
    const char *attr_name = is_nd(in) ? "batch_dims" : "axis";
    qn_attr attr = QN_ATTR_I(attr_name, qn_op_attr_i(in->types, attr_name));
    return qn_graph_node(in->graph, is_nd(in) ? "GatherND" : "GatherElements",
                         (qn_value[]){data, in->inputs[1]}, 2, &attr, 1);
}

static qn_value scattered(const qn_op_vjp *in, qn_value data, qn_value updates,
                          const char *reduction)
{
    const char *attr_name = is_nd(in) ? "batch_dims" : "axis";
    qn_attr attrs[] = {QN_ATTR_I(attr_name, qn_op_attr_i(in->types, attr_name)),
                       QN_ATTR_S("reduction", reduction)};
    return qn_graph_node(in->graph, is_nd(in) ? "ScatterND" : "ScatterElements",
                         (qn_value[]){data, in->inputs[1], updates}, 3, attrs, 2);
}

static void gather_vjp(const qn_op_vjp *in, qn_value *ret)
{
    if (qn_op_vjp_wants(in, 0))
        ret[0] =
            scattered(in, qn_graph_op1(in->graph, "ZerosLike", in->inputs[0]), in->grads[0], "add");
}

/* Where x is y, the gradient dy; elsewhere none. */
static qn_value won(const qn_op_vjp *in, qn_value x, qn_value y, qn_value dy)
{
    qn_value zero = qn_graph_scalar(in->graph, qn_op_vjp_dtype(in, 0), 0);
    return qn_op_pick(in, qn_graph_op2(in->graph, "Equal", x, y), dy, zero);
}

/* Without reduction each element belongs to its update, of which ONNX lets it have one. A product's
 * gradient is taken by division and wants factors other than 0. */
static void scatter_vjp(const qn_op_vjp *in, qn_value *ret)
{
    qn_value data = in->inputs[0], updates = in->inputs[2], y = in->outputs[0], dy = in->grads[0];
    put_kind kind = kind_of(in->types);
    if (!qn_op_vjp_wants(in, 0))
        return;
    if (kind == PUT_NONE) {
        qn_value zeros = qn_graph_op1(in->graph, "ZerosLike", updates);
        ret[0] = scattered(in, dy, zeros, "none");
        ret[2] = gathered(in, dy);
    } else if (kind == PUT_ADD) {
        ret[0] = dy;
        ret[2] = gathered(in, dy);
    } else if (kind == PUT_MUL) {
        qn_value product = qn_op_mul(in, dy, y);
        ret[0] = qn_op_div(in, product, data);
        ret[2] = qn_op_div(in, gathered(in, product), updates);
    } else {
        ret[0] = won(in, data, y, dy);
        ret[2] = won(in, updates, gathered(in, y), gathered(in, dy));
    }
}

static const qn_attr_spec gather_attrs[] = {
    {.name = "axis", .kind = QN_ATTR_INT},
    {0},
};
static const qn_attr_spec scatter_attrs[] = {
    {.name = "axis", .kind = QN_ATTR_INT},
    {.name = "reduction", .kind = QN_ATTR_STRING, .choices = REDUCTIONS},
    {0},
};
static const qn_attr_spec gather_nd_attrs[] = {
    {.name = "batch_dims", .kind = QN_ATTR_INT, .high = QN_RANK_MAX - 1},
    {0},
};
static const qn_attr_spec scatter_nd_attrs[] = {
    {.name = "reduction", .kind = QN_ATTR_STRING, .choices = REDUCTIONS},
    {.name = "batch_dims", .kind = QN_ATTR_INT, .high = QN_RANK_MAX - 1},
    {0},
};

#define GATHER(x, indices, to, count, ...)                                                         \
    {                                                                                              \
        .inputs_count = 2, .inputs = {x, indices}, .low = -2, .high = (to),                        \
        .attrs_count = (count), .attrs = {                                                         \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }
#define SCATTER(x, indices, updates, from, to, count, ...)                                         \
    {                                                                                              \
        .inputs_count = 3, .inputs = {x, indices, updates}, .low = (from), .high = (to),           \
        .attrs_count = (count), .attrs = {                                                         \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }
static const qn_op_sample gather_samples[] = {
    GATHER(OP_F64(3, 4), OP_I64(2, 4), 3, 0, {0}),
    GATHER(OP_F64(3, 4), OP_I64(3, 6), 4, 1, OP_AI("axis", -1)),
    GATHER(OP_I32(3, 4), OP_I32(3, 4), 3, 0, {0}),
};
static const qn_op_sample scatter_samples[] = {
    SCATTER(OP_F64(1, 4), OP_I64(1, 1), OP_F64(1, 1), -2, 4, 1, OP_AI("axis", 1)),
    SCATTER(OP_F64(3, 4), OP_I64(2, 4), OP_F64(2, 4), -2, 3, 1, OP_AS("reduction", "add")),
    SCATTER(OP_F64(3, 4), OP_I64(2, 4), OP_F64(2, 4), 0.5, 3, 1, OP_AS("reduction", "mul")),
    SCATTER(OP_F64(3, 4), OP_I64(2, 4), OP_F64(2, 4), -2, 3, 1, OP_AS("reduction", "max")),
    SCATTER(OP_F64(3, 4), OP_I64(2, 4), OP_F64(2, 4), -2, 3, 1, OP_AS("reduction", "min")),
    SCATTER(OP_I32(3, 4), OP_I64(2, 4), OP_I32(2, 4), 0, 3, 1, OP_AS("reduction", "add")),
};
static const qn_op_sample gather_nd_samples[] = {
    GATHER(OP_F64(3, 3, 2), OP_I64(4, 2), 3, 0, {0}),
    GATHER(OP_F64(3, 4), OP_I64(2, 2, 1), 3, 0, {0}),
    GATHER(OP_F64(2, 3, 2), OP_I64(2, 1), 3, 1, OP_AI("batch_dims", 1)),
};
static const qn_op_sample scatter_nd_samples[] = {
    SCATTER(OP_F64(3, 3, 2), OP_I64(1, 2), OP_F64(1, 2), -2, 3, 0, {0}),
    SCATTER(OP_F64(3, 2), OP_I64(4, 1), OP_F64(4, 2), -2, 3, 1, OP_AS("reduction", "add")),
    SCATTER(OP_F64(3, 2), OP_I64(4, 1), OP_F64(4, 2), 0.5, 3, 1, OP_AS("reduction", "mul")),
    SCATTER(OP_F64(3, 2), OP_I64(4, 1), OP_F64(4, 2), -2, 3, 1, OP_AS("reduction", "max")),
};

#define ROW(op_name, stem, inputs, list)                                                           \
    {                                                                                              \
        .name = (op_name), .inputs_min = (inputs), .inputs_max = (inputs), .outputs_count = 1,     \
        .attrs = list##_attrs, .infer = stem##_infer,                                              \
        .vjp = (inputs) == 2 ? gather_vjp : scatter_vjp, .ref = stem##_ref,                        \
        OP_SAMPLES(list##_samples)                                                                 \
    }

const qn_op qn_ops_scatter[] = {
    ROW("GatherElements", gather, 2, gather),
    ROW("ScatterElements", scatter, 3, scatter),
    ROW("GatherND", gather_nd, 2, gather_nd),
    ROW("ScatterND", scatter_nd, 3, scatter_nd),
    {0},
};
