/*
 * Rows that move or convert elements and compute nothing: Cast, Transpose, Concat, Slice, Pad, Expand. They
 * work on bytes, so one ref serves all dtypes.
 */
#include "base/checked.h"
#include "graph/op/common.h"

#include <string.h>

#define DTYPE_CHOICES "f32 f64 f16 bf16 i64 i32 i16 i8 u64 u32 u16 u8 bool"

static qn_dtype attr_dtype(const qn_op_types *types, const char *name)
{
    qn_dtype dtype = QN_DTYPE_F32;
    bool found = qn_dtype_find(qn_op_attr_s(types, name), &dtype);
    QN_ASSERT(found);
    return dtype;
}

static qn_status cast_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    (void)err;
    ret_outputs[0] = (qn_type){attr_dtype(types, "to"), types->inputs[0].shape};
    return QN_OK;
}

static void cast_ref(const qn_op_run *run)
{
    qn_tensor_convert(run->outputs[0].data, run->outputs[0].dtype, &run->inputs[0]);
}

static void cast_vjp(const qn_op_vjp *in, qn_value *ret)
{
    if (!qn_op_vjp_wants(in, 0) || !qn_dtype_is_float(in->types->outputs[0].dtype))
        return;
    qn_attr to = QN_ATTR_S("to", qn_dtype_name(in->types->inputs[0].dtype));
    ret[0] = qn_graph_node(in->graph, "Cast", in->grads, 1, &to, 1);
}

/* ONNX's default order is reversed. */
static qn_status permutation(const qn_op_types *types, int64_t ret[QN_RANK_MAX], qn_error *err)
{
    int rank = types->inputs[0].shape.rank, given = 0;
    const int64_t *perm = qn_op_attr_ints(types, "perm", &given);
    bool seen[QN_RANK_MAX] = {false};
    if (given != 0 && given != rank)
        QN_FAIL(err, QN_ERR_ARG, "perm has %d entries, expected %d", given, rank);
    for (int d = 0; d < rank; d++) {
        int64_t from = given ? perm[d] : rank - 1 - d;
        if (from < 0 || from >= rank || seen[from])
            QN_FAIL(err, QN_ERR_ARG, "perm names axis %lld of a tensor of %d dimensions",
                    (long long)from, rank);
        seen[from] = true;
        ret[d] = from;
    }
    return QN_OK;
}

static qn_status transpose_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    int64_t perm[QN_RANK_MAX];
    QN_TRY(permutation(types, perm, err));
    ret_outputs[0] = types->inputs[0];
    for (int d = 0; d < types->inputs[0].shape.rank; d++)
        ret_outputs[0].shape.dims[d] = types->inputs[0].shape.dims[perm[d]];
    return QN_OK;
}

/* dst[flat] = src[base + offset of flat under strides] for every element of `shape`. */
static void copy_from(const qn_tensor *dst, const qn_tensor *src, int64_t base,
                      const int64_t *strides)
{
    size_t size = qn_dtype_size(dst->dtype);
    int64_t count = qn_shape_count(&dst->shape);
    for (int64_t i = 0; i < count; i++) {
        int64_t at = base + qn_op_offset(&dst->shape, strides, i);
        memcpy((char *)dst->data + (size_t)i * size, (const char *)src->data + (size_t)at * size,
               size);
    }
}

/* dst[base + offset of flat under strides] = src[flat] for every element of src. */
static void copy_to(const qn_tensor *dst, const qn_tensor *src, int64_t base,
                    const int64_t *strides)
{
    size_t size = qn_dtype_size(src->dtype);
    int64_t count = qn_shape_count(&src->shape);
    for (int64_t i = 0; i < count; i++) {
        int64_t at = base + qn_op_offset(&src->shape, strides, i);
        memcpy((char *)dst->data + (size_t)at * size, (const char *)src->data + (size_t)i * size,
               size);
    }
}

static void plain_strides(const qn_shape *shape, int64_t strides[QN_RANK_MAX])
{
    int64_t step = 1;
    for (int d = shape->rank - 1; d >= 0; d--) {
        strides[d] = step;
        step *= shape->dims[d];
    }
}

static void transpose_ref(const qn_op_run *run)
{
    int64_t perm[QN_RANK_MAX] = {0}, own[QN_RANK_MAX], strides[QN_RANK_MAX];
    qn_status status = permutation(run->types, perm, NULL);
    QN_ASSERT(status == QN_OK);
    plain_strides(&run->inputs[0].shape, own);
    for (int d = 0; d < run->inputs[0].shape.rank; d++)
        strides[d] = own[perm[d]];
    copy_from(&run->outputs[0], &run->inputs[0], 0, strides);
}

static void transpose_vjp(const qn_op_vjp *in, qn_value *ret)
{
    int64_t perm[QN_RANK_MAX] = {0};
    qn_attr inverse = {
        .name = "perm", .kind = QN_ATTR_INTS, .count = in->types->inputs[0].shape.rank};
    qn_status status = permutation(in->types, perm, NULL);
    QN_ASSERT(status == QN_OK);
    for (int d = 0; d < inverse.count; d++)
        inverse.ints[perm[d]] = d;
    ret[0] = qn_graph_node(in->graph, "Transpose", in->grads, 1, &inverse, 1);
}

static qn_status concat_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    qn_type out = types->inputs[0];
    int axis = 0;
    char came[128], want[128];
    QN_TRY(qn_op_axis(types, out.shape.rank, &axis, err));
    for (int i = 1; i < types->inputs_count; i++) {
        const qn_shape *shape = &types->inputs[i].shape;
        QN_TRY(qn_op_want_dtype(types, i, out.dtype, err));
        QN_TRY(qn_op_want_rank(types, i, out.shape.rank, err));
        for (int d = 0; d < out.shape.rank; d++)
            if (d == axis ? shape->dims[d] < 0 || out.shape.dims[d] < 0
                          : shape->dims[d] != out.shape.dims[d])
                QN_FAIL(err, QN_ERR_ARG, "cannot join %s to %s along axis %d",
                        qn_shape_text(shape, came), qn_shape_text(&types->inputs[0].shape, want),
                        axis);
        if (!qn_add_i64(out.shape.dims[axis], shape->dims[axis], &out.shape.dims[axis]))
            QN_FAIL(err, QN_ERR_ARG, "the joined dimension is too large");
    }
    ret_outputs[0] = out;
    return QN_OK;
}

static void concat_ref(const qn_op_run *run)
{
    int axis = 0;
    int64_t strides[QN_RANK_MAX], at = 0;
    qn_status status = qn_op_axis(run->types, run->outputs[0].shape.rank, &axis, NULL);
    QN_ASSERT(status == QN_OK);
    plain_strides(&run->outputs[0].shape, strides);
    for (int i = 0; i < run->types->inputs_count; i++) {
        copy_to(&run->outputs[0], &run->inputs[i], at * strides[axis], strides);
        at += run->inputs[i].shape.dims[axis];
    }
}

static qn_value slice_axis(qn_graph *graph, qn_value x, int axis, int64_t start, int64_t end)
{
    qn_attr attrs[] = {
        {.name = "starts", .kind = QN_ATTR_INTS, .count = 1, .ints = {start}},
        {.name = "ends", .kind = QN_ATTR_INTS, .count = 1, .ints = {end}},
        {.name = "axes", .kind = QN_ATTR_INTS, .count = 1, .ints = {axis}},
    };
    return qn_graph_node(graph, "Slice", &x, 1, OP_NODE_ATTRS(attrs));
}

static void concat_vjp(const qn_op_vjp *in, qn_value *ret)
{
    int axis = 0;
    int64_t at = 0;
    if (!qn_op_vjp_wants(in, 0))
        return;
    qn_status status = qn_op_axis(in->types, in->types->inputs[0].shape.rank, &axis, NULL);
    QN_ASSERT(status == QN_OK);
    for (int i = 0; i < in->types->inputs_count; i++) {
        int64_t size = in->types->inputs[i].shape.dims[axis];
        ret[i] = slice_axis(in->graph, in->grads[0], axis, at, at + size);
        at += size;
    }
}

/* begin[d] and the size left of every dimension. Negative bounds count from the end; bounds beyond it are
 * moved to it, as in ONNX. A symbolic dimension can only be taken whole. */
static qn_status slice_read(const qn_op_types *types, int64_t begin[QN_RANK_MAX], qn_shape *ret,
                            qn_error *err)
{
    const qn_shape *from = &types->inputs[0].shape;
    int starts_count = 0, ends_count = 0, axes_count = 0;
    const int64_t *starts = qn_op_attr_ints(types, "starts", &starts_count);
    const int64_t *ends = qn_op_attr_ints(types, "ends", &ends_count);
    const int64_t *axes = qn_op_attr_ints(types, "axes", &axes_count);
    bool ignored[QN_RANK_MAX];
    QN_TRY(qn_op_axes(types, "axes", from->rank, ignored, err));
    if (starts_count != ends_count || starts_count > from->rank ||
        (axes_count != 0 && axes_count != starts_count))
        QN_FAIL(err, QN_ERR_ARG, "%d starts, %d ends and %d axes, expected as many each",
                starts_count, ends_count, axes_count);
    *ret = *from;
    memset(begin, 0, QN_RANK_MAX * sizeof(*begin));
    for (int i = 0; i < starts_count; i++) {
        int64_t d = axes_count ? axes[i] : i, low = starts[i], high = ends[i];
        d = d < 0 ? d + from->rank : d;
        int64_t size = from->dims[d];
        if (size < 0 && low == 0 && high == INT64_MAX)
            continue;
        if (size < 0)
            QN_FAIL(err, QN_ERR_ARG,
                    "dimension %lld is not known yet, it can only be taken "
                    "whole",
                    (long long)d);
        low = low < 0 ? low + size : low;
        high = high < 0 ? high + size : high;
        low = low < 0 ? 0 : low > size ? size : low;
        high = high < low ? low : high > size ? size : high;
        begin[d] = low;
        ret->dims[d] = high - low;
    }
    return QN_OK;
}

static qn_status slice_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    int64_t begin[QN_RANK_MAX];
    qn_shape shape;
    QN_TRY(slice_read(types, begin, &shape, err));
    ret_outputs[0] = (qn_type){types->inputs[0].dtype, shape};
    return QN_OK;
}

static void slice_ref(const qn_op_run *run)
{
    int64_t begin[QN_RANK_MAX], strides[QN_RANK_MAX], base = 0;
    qn_shape shape;
    qn_status status = slice_read(run->types, begin, &shape, NULL);
    QN_ASSERT(status == QN_OK);
    plain_strides(&run->inputs[0].shape, strides);
    for (int d = 0; d < shape.rank; d++)
        base += begin[d] * strides[d];
    copy_from(&run->outputs[0], &run->inputs[0], base, strides);
}

static qn_value pad_node(qn_graph *graph, qn_value x, const int64_t *begins, const int64_t *ends,
                         int rank)
{
    qn_attr attrs[] = {{.name = "begins", .kind = QN_ATTR_INTS, .count = rank},
                       {.name = "ends", .kind = QN_ATTR_INTS, .count = rank}};
    memcpy(attrs[0].ints, begins, (size_t)rank * sizeof(*begins));
    memcpy(attrs[1].ints, ends, (size_t)rank * sizeof(*ends));
    return qn_graph_node(graph, "Pad", &x, 1, OP_NODE_ATTRS(attrs));
}

static void slice_vjp(const qn_op_vjp *in, qn_value *ret)
{
    int64_t begin[QN_RANK_MAX], after[QN_RANK_MAX];
    qn_shape shape;
    if (!qn_op_vjp_wants(in, 0))
        return;
    qn_status status = slice_read(in->types, begin, &shape, NULL);
    QN_ASSERT(status == QN_OK);
    for (int d = 0; d < shape.rank; d++)
        after[d] = in->types->inputs[0].shape.dims[d] - shape.dims[d] - begin[d];
    ret[0] = pad_node(in->graph, in->grads[0], begin, after, shape.rank);
}

static qn_status pad_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    qn_type out = types->inputs[0];
    int64_t begins[QN_RANK_MAX], ends[QN_RANK_MAX];
    QN_TRY(qn_op_ints(types, "begins", out.shape.rank, 0, begins, err));
    QN_TRY(qn_op_ints(types, "ends", out.shape.rank, 0, ends, err));
    for (int d = 0; d < out.shape.rank; d++) {
        if (begins[d] < 0 || ends[d] < 0 || begins[d] > INT32_MAX || ends[d] > INT32_MAX)
            QN_FAIL(err, QN_ERR_ARG, "padding of %lld and %lld on dimension %d, expected >= 0",
                    (long long)begins[d], (long long)ends[d], d);
        if (out.shape.dims[d] < 0 && (begins[d] || ends[d]))
            QN_FAIL(err, QN_ERR_ARG, "dimension %d is not known yet and cannot be padded", d);
        if (!qn_add_i64(out.shape.dims[d], begins[d] + ends[d], &out.shape.dims[d]))
            QN_FAIL(err, QN_ERR_ARG, "the padded dimension %d is too large", d);
    }
    ret_outputs[0] = out;
    return QN_OK;
}

static void pad_ref(const qn_op_run *run)
{
    const qn_tensor *dst = &run->outputs[0];
    int64_t begins[QN_RANK_MAX], strides[QN_RANK_MAX], base = 0;
    int64_t count = qn_shape_count(&dst->shape), one[QN_RANK_MAX] = {0};
    double value = qn_op_attr_f(run->types, "value");
    qn_status status = qn_op_ints(run->types, "begins", dst->shape.rank, 0, begins, NULL);
    QN_ASSERT(status == QN_OK);
    qn_tensor all = {QN_DTYPE_F64, dst->shape, {0}, &value}; /* every element is `value` */
    memcpy(all.strides, one, sizeof(one));
    if (count > 0)
        qn_tensor_convert(dst->data, dst->dtype, &all);
    plain_strides(&dst->shape, strides);
    for (int d = 0; d < dst->shape.rank; d++)
        base += begins[d] * strides[d];
    copy_to(dst, &run->inputs[0], base, strides);
}

static void pad_vjp(const qn_op_vjp *in, qn_value *ret)
{
    const qn_shape *own = &in->types->inputs[0].shape;
    int64_t begins[QN_RANK_MAX];
    if (!qn_op_vjp_wants(in, 0))
        return;
    qn_status status = qn_op_ints(in->types, "begins", own->rank, 0, begins, NULL);
    QN_ASSERT(status == QN_OK);
    ret[0] = in->grads[0];
    for (int d = 0; d < own->rank; d++)
        if (own->dims[d] != in->types->outputs[0].shape.dims[d])
            ret[0] = slice_axis(in->graph, ret[0], d, begins[d], begins[d] + own->dims[d]);
}

static qn_status expand_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    qn_shape want = {0}, shape;
    char came[128], text[128];
    const int64_t *dims = qn_op_attr_ints(types, "shape", &want.rank);
    memcpy(want.dims, dims, sizeof(want.dims));
    QN_TRY(qn_shape_broadcast(&types->inputs[0].shape, &want, &shape, err));
    if (!qn_shape_equal(&shape, &want))
        QN_FAIL(err, QN_ERR_ARG, "cannot broadcast %s to %s",
                qn_shape_text(&types->inputs[0].shape, came), qn_shape_text(&want, text));
    ret_outputs[0] = (qn_type){types->inputs[0].dtype, shape};
    return QN_OK;
}

static void expand_ref(const qn_op_run *run)
{
    int64_t strides[QN_RANK_MAX];
    qn_op_strides(&run->inputs[0].shape, &run->outputs[0].shape, strides);
    copy_from(&run->outputs[0], &run->inputs[0], 0, strides);
}

static void expand_vjp(const qn_op_vjp *in, qn_value *ret)
{
    if (qn_op_vjp_wants(in, 0))
        ret[0] = qn_op_reduce_to(in->graph, in->grads[0], &in->types->inputs[0]);
}

static const qn_attr_spec cast_attrs[] = {
    {.name = "to", .kind = QN_ATTR_STRING, .required = true, .choices = DTYPE_CHOICES},
    {0},
};
static const qn_attr_spec expand_attrs[] = {
    {.name = "shape", .kind = QN_ATTR_INTS, .required = true, .symbolic = true},
    {0},
};
static const qn_attr_spec perm_attrs[] = {
    {.name = "perm", .kind = QN_ATTR_INTS},
    {0},
};
static const qn_attr_spec concat_attrs[] = {
    {.name = "axis", .kind = QN_ATTR_INT, .required = true},
    {0},
};
static const qn_attr_spec slice_attrs[] = {
    {.name = "starts", .kind = QN_ATTR_INTS, .required = true},
    {.name = "ends", .kind = QN_ATTR_INTS, .required = true},
    {.name = "axes", .kind = QN_ATTR_INTS},
    {0},
};
static const qn_attr_spec pad_attrs[] = {
    {.name = "begins", .kind = QN_ATTR_INTS, .required = true},
    {.name = "ends", .kind = QN_ATTR_INTS, .required = true},
    {.name = "value", .kind = QN_ATTR_FLOAT},
    {0},
};

#define SAMPLE(type, count, ...)                                                                   \
    {                                                                                              \
        .inputs_count = 1, .inputs = {type}, .low = -2, .high = 2, .attrs_count = (count),         \
        .attrs = {                                                                                 \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }

static const qn_op_sample cast_samples[] = {
    SAMPLE(OP_F64(3, 4), 1, OP_AS("to", "f64")),
    SAMPLE(OP_F64(3, 4), 1, OP_AS("to", "i64")),
    SAMPLE(OP_I64(5), 1, OP_AS("to", "f32")),
    SAMPLE(OP_F64(5), 1, OP_AS("to", "bool")),
};
static const qn_op_sample transpose_samples[] = {
    SAMPLE(OP_F64(2, 3, 4), 0, {0}),
    SAMPLE(OP_F64(2, 3, 4, 2), 1, OP_AINTS("perm", 0, 3, 1, 2)),
};
static const qn_op_sample concat_samples[] = {
    {.inputs_count = 3,
     .inputs = {OP_F64(2, 1, 3), OP_F64(2, 2, 3), OP_F64(2, 3, 3)},
     .low = -2,
     .high = 2,
     .attrs_count = 1,
     .attrs = {OP_AI("axis", 1)}},
    {.inputs_count = 2,
     .inputs = {OP_F64(2, 3), OP_F64(2, 1)},
     .low = -2,
     .high = 2,
     .attrs_count = 1,
     .attrs = {OP_AI("axis", -1)}},
};
static const qn_op_sample slice_samples[] = {
    SAMPLE(OP_F64(4, 5), 2, OP_AINTS("starts", 1, 0), OP_AINTS("ends", 3, 4)),
    SAMPLE(OP_F64(4, 5, 3), 3, OP_AINTS("starts", -3), OP_AINTS("ends", 100), OP_AINTS("axes", 1)),
};
static const qn_op_sample pad_samples[] = {
    SAMPLE(OP_F64(2, 3), 3, OP_AINTS("begins", 1, 0), OP_AINTS("ends", 0, 2), OP_AF("value", 0.5)),
};
static const qn_op_sample expand_samples[] = {
    SAMPLE(OP_F64(3, 1), 1, OP_AINTS("shape", 2, 3, 4)),
    SAMPLE(OP_F64_SCALAR, 1, OP_AINTS("shape", 2, 2)),
};

#define ROW(op_name, stem, list, flag_bits, ref_fn, vjp_fn)                                        \
    {                                                                                              \
        .name = (op_name), .inputs_min = 1, .inputs_max = 1, .outputs_count = 1,                   \
        .flags = (flag_bits), .attrs = (list), .infer = stem##_infer, .vjp = (vjp_fn),             \
        .ref = (ref_fn), OP_SAMPLES(stem##_samples)                                                \
    }

const qn_op qn_ops_move[] = {
    ROW("Cast", cast, cast_attrs, 0, cast_ref, cast_vjp),
    ROW("Transpose", transpose, perm_attrs, 0, transpose_ref, transpose_vjp),
    {.name = "Concat",
     .inputs_min = 1,
     .inputs_max = QN_OP_VARIADIC_MAX,
     .outputs_count = 1,
     .attrs = concat_attrs,
     .infer = concat_infer,
     .vjp = concat_vjp,
     .ref = concat_ref,
     OP_SAMPLES(concat_samples)},
    ROW("Slice", slice, slice_attrs, 0, slice_ref, slice_vjp),
    ROW("Pad", pad, pad_attrs, 0, pad_ref, pad_vjp),
    ROW("Expand", expand, expand_attrs, 0, expand_ref, expand_vjp),
    {0},
};
