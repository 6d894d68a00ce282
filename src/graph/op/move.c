/*
 * Rows that move or convert elements and compute nothing: Cast, Transpose, Concat, Slice, Expand, DepthToSpace,
 * Trilu. They work on bytes, so one ref serves all dtypes.
 */
#include "base/checked.h"
#include "graph/op/common.h"
#include "graph/op/slice.h"

#include <string.h>

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

/* The same bits under another type of the same size. */
static qn_status bit_cast_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    qn_dtype to = attr_dtype(types, "to"), from = types->inputs[0].dtype;
    if (qn_dtype_size(to) != qn_dtype_size(from))
        QN_FAIL(err, QN_ERR_ARG, "%s and %s differ in size", qn_dtype_name(from),
                qn_dtype_name(to));
    ret_outputs[0] = (qn_type){to, types->inputs[0].shape};
    return QN_OK;
}

static void bit_cast_ref(const qn_op_run *run)
{
    memcpy(run->outputs[0].data, run->inputs[0].data, qn_tensor_bytes(&run->outputs[0]));
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
        ret[i] = qn_op_slice(in->graph, in->grads[0], axis, at, at + size);
        at += size;
    }
}

/* Where one dimension begins, its step and how many are left. Negative bounds count from the end;
 * bounds beyond it are moved to it, as in ONNX. */
static int64_t slice_range(int64_t size, int64_t start, int64_t end, int64_t step,
                           int64_t *ret_begin)
{
    QN_ASSERT(step != 0);
    int64_t first = step > 0 ? 0 : -1, last = step > 0 ? size : size - 1;
    start = start < 0 ? start + size : start;
    end = end < 0 ? end + size : end;
    start = start < first + (step < 0) ? first + (step < 0) : start > last ? last : start;
    end = end < first ? first : end > last ? last : end;
    *ret_begin = start;
    int64_t span = step > 0 ? end - start : start - end, stride = step > 0 ? step : -step;
    return span <= 0 || size == 0 ? 0 : (span - 1) / stride + 1;
}

/* A symbolic dimension can only be taken whole. */
qn_status qn_op_slice_read(const qn_op_types *types, const qn_shape *from, qn_op_range *ret,
                           qn_error *err)
{
    int starts_count = 0, ends_count = 0, axes_count = 0, steps_count = 0;
    const int64_t *starts = qn_op_attr_ints(types, "starts", &starts_count);
    const int64_t *ends = qn_op_attr_ints(types, "ends", &ends_count);
    const int64_t *axes = qn_op_attr_ints(types, "axes", &axes_count);
    const int64_t *steps = qn_op_attr_ints(types, "steps", &steps_count);
    qn_op_range range = {.shape = *from};
    bool ignored[QN_RANK_MAX];
    QN_TRY(qn_op_axes(types, "axes", from->rank, ignored, err));
    if (starts_count != ends_count || starts_count > from->rank ||
        (axes_count != 0 && axes_count != starts_count) ||
        (steps_count != 0 && steps_count != starts_count))
        QN_FAIL(err, QN_ERR_ARG, "%d starts, %d ends, %d axes and %d steps, expected as many each",
                starts_count, ends_count, axes_count, steps_count);
    for (int d = 0; d < QN_RANK_MAX; d++)
        range.step[d] = 1;
    for (int i = 0; i < starts_count; i++) {
        int64_t d = axes_count ? axes[i] : i, step = steps_count ? steps[i] : 1;
        d = d < 0 ? d + from->rank : d;
        if (step == 0 || step == INT64_MIN)
            QN_FAIL(err, QN_ERR_ARG, "a step of %lld along dimension %lld", (long long)step,
                    (long long)d);
        if (from->dims[d] < 0 && (starts[i] != 0 || ends[i] != INT64_MAX || step != 1))
            QN_FAIL(err, QN_ERR_ARG, "dimension %lld is not known yet, it can only be taken whole",
                    (long long)d);
        if (from->dims[d] < 0)
            continue;
        range.step[d] = step;
        range.shape.dims[d] = slice_range(from->dims[d], starts[i], ends[i], step, &range.begin[d]);
    }
    *ret = range;
    return QN_OK;
}

static qn_status slice_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    qn_op_range range;
    QN_TRY(qn_op_slice_read(types, &types->inputs[0].shape, &range, err));
    ret_outputs[0] = (qn_type){types->inputs[0].dtype, range.shape};
    return QN_OK;
}

/* The strides of a range in a tensor of `shape`; returns where it begins. */
static int64_t range_strides(const qn_op_types *types, const qn_shape *shape,
                             int64_t strides[QN_RANK_MAX])
{
    qn_op_range range;
    int64_t base = 0;
    qn_status status = qn_op_slice_read(types, shape, &range, NULL);
    QN_ASSERT(status == QN_OK);
    plain_strides(shape, strides);
    for (int d = 0; d < shape->rank; d++) {
        base += range.begin[d] * strides[d];
        strides[d] *= range.step[d];
    }
    return base;
}

static void slice_ref(const qn_op_run *run)
{
    int64_t strides[QN_RANK_MAX];
    int64_t base = range_strides(run->types, &run->inputs[0].shape, strides);
    copy_from(&run->outputs[0], &run->inputs[0], base, strides);
}

static void slice_grad_ref(const qn_op_run *run)
{
    int64_t strides[QN_RANK_MAX];
    int64_t base = range_strides(run->types, &run->outputs[0].shape, strides);
    memset(run->outputs[0].data, 0, qn_tensor_bytes(&run->outputs[0]));
    copy_to(&run->outputs[0], &run->inputs[0], base, strides);
}

static qn_status slice_grad_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    qn_shape shape = qn_op_attr_shape(types);
    qn_op_range range;
    QN_TRY(qn_op_slice_read(types, &shape, &range, err));
    QN_TRY(qn_op_want_shape(types, 0, &range.shape, err));
    ret_outputs[0] = (qn_type){types->inputs[0].dtype, shape};
    return QN_OK;
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

/* A range without steps is what a padding adds to. */
static void slice_vjp(const qn_op_vjp *in, qn_value *ret)
{
    const qn_shape *own = &in->types->inputs[0].shape;
    int64_t after[QN_RANK_MAX];
    qn_op_range range;
    bool steps = false;
    if (!qn_op_vjp_wants(in, 0))
        return;
    qn_status status = qn_op_slice_read(in->types, own, &range, NULL);
    QN_ASSERT(status == QN_OK);
    for (int d = 0; d < own->rank; d++) {
        after[d] = own->dims[d] - range.shape.dims[d] - range.begin[d];
        steps = steps || range.step[d] != 1;
    }
    if (!steps) {
        ret[0] = pad_node(in->graph, in->grads[0], range.begin, after, own->rank);
        return;
    }
    qn_attr attrs[5] = {[4] = {.name = "shape", .kind = QN_ATTR_INTS, .count = own->rank}};
    memcpy(attrs, in->types->attrs, 4 * sizeof *attrs);
    memcpy(attrs[4].ints, own->dims, sizeof attrs[4].ints);
    ret[0] = qn_graph_node(in->graph, "SliceGrad", in->grads, 1, OP_NODE_ATTRS(attrs));
}

/* Channels to pixels and back: both are a copy of the six dimensions that the blocks make of an
 * image, [N, H, block, W, block, C] on the side of the pixels. */

typedef struct {
    qn_shape pixels;              /* seen as six dimensions */
    int64_t strides[QN_RANK_MAX]; /* of the side of the channels */
} block_map;

static block_map map_blocks(const qn_op_run *run, const qn_shape *deep)
{
    int64_t b = qn_op_attr_i(run->types, "blocksize"), height = deep->dims[1],
            width = deep->dims[2], channels = deep->dims[3], own = channels / (b * b);
    bool blocks_first = strcmp(qn_op_attr_s(run->types, "mode"), "DCR") == 0;
    block_map map = {.pixels = QN_SHAPE(deep->dims[0], height, b, width, b, own)};
    int64_t block = blocks_first ? own : 1;
    const int64_t strides[] = {
        height * width * channels, width * channels, b * block, channels, block,
        blocks_first ? 1 : b * b};
    memcpy(map.strides, strides, sizeof strides);
    return map;
}

static void depth_to_space_ref(const qn_op_run *run)
{
    block_map map = map_blocks(run, &run->inputs[0].shape);
    qn_tensor dst = run->outputs[0];
    dst.shape = map.pixels;
    copy_from(&dst, &run->inputs[0], 0, map.strides);
}

static void space_to_depth_ref(const qn_op_run *run)
{
    block_map map = map_blocks(run, &run->outputs[0].shape);
    qn_tensor src = run->inputs[0];
    src.shape = map.pixels;
    copy_to(&run->outputs[0], &src, 0, map.strides);
}

static qn_status depth_to_space_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    int64_t b = qn_op_attr_i(types, "blocksize");
    qn_type out = types->inputs[0];
    QN_TRY(qn_op_want_rank(types, 0, 4, err));
    if (out.shape.dims[1] < 0 || out.shape.dims[2] < 0 || out.shape.dims[3] % (b * b) != 0)
        QN_FAIL(err, QN_ERR_ARG, "%lld channels are no blocks of %lld x %lld",
                (long long)out.shape.dims[3], (long long)b, (long long)b);
    out.shape.dims[3] /= b * b;
    if (!qn_mul_i64(out.shape.dims[1], b, &out.shape.dims[1]) ||
        !qn_mul_i64(out.shape.dims[2], b, &out.shape.dims[2]))
        QN_FAIL(err, QN_ERR_ARG, "the image is too large");
    ret_outputs[0] = out;
    return QN_OK;
}

static qn_status space_to_depth_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    int64_t b = qn_op_attr_i(types, "blocksize");
    qn_type out = types->inputs[0];
    char text[128];
    QN_TRY(qn_op_want_rank(types, 0, 4, err));
    if (out.shape.dims[1] < 0 || out.shape.dims[2] < 0 || out.shape.dims[1] % b != 0 ||
        out.shape.dims[2] % b != 0)
        QN_FAIL(err, QN_ERR_ARG, "images of %s are no blocks of %lld x %lld",
                qn_shape_text(&out.shape, text), (long long)b, (long long)b);
    out.shape.dims[1] /= b;
    out.shape.dims[2] /= b;
    if (!qn_mul_i64(out.shape.dims[3], b * b, &out.shape.dims[3]))
        QN_FAIL(err, QN_ERR_ARG, "the image is too large");
    ret_outputs[0] = out;
    return QN_OK;
}

static void depth_to_space_vjp(const qn_op_vjp *in, qn_value *ret)
{
    if (qn_op_vjp_wants(in, 0))
        ret[0] = qn_op_like_node(in, "SpaceToDepth", in->grads, 1);
}
static void space_to_depth_vjp(const qn_op_vjp *in, qn_value *ret)
{
    if (qn_op_vjp_wants(in, 0))
        ret[0] = qn_op_like_node(in, "DepthToSpace", in->grads, 1);
}

static qn_status trilu_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    if (types->inputs[0].shape.rank < 2)
        QN_FAIL(err, QN_ERR_ARG, "input 0 has %d dimensions, expected a matrix",
                types->inputs[0].shape.rank);
    ret_outputs[0] = types->inputs[0];
    return QN_OK;
}

static void trilu_ref(const qn_op_run *run)
{
    const qn_shape *shape = &run->inputs[0].shape;
    const int64_t *dims = shape->dims + shape->rank - 2;
    bool upper = qn_op_attr_i(run->types, "upper") != 0;
    int64_t count = qn_shape_count(shape), k = qn_op_attr_i(run->types, "k");
    size_t size = qn_dtype_size(run->inputs[0].dtype);
    for (int64_t i = 0; i < count; i++) {
        int64_t right = i % dims[1] - i / dims[1] % dims[0]; /* of the diagonal */
        char *dst = (char *)run->outputs[0].data + (size_t)i * size;
        if (upper ? right >= k : right <= k)
            memmove(dst, (const char *)run->inputs[0].data + (size_t)i * size, size);
        else
            memset(dst, 0, size);
    }
}

static void trilu_vjp(const qn_op_vjp *in, qn_value *ret)
{
    if (qn_op_vjp_wants(in, 0))
        ret[0] = qn_op_like_node(in, "Trilu", in->grads, 1);
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
    {.name = "to", .kind = QN_ATTR_STRING, .required = true, .choices = OP_DTYPE_CHOICES},
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
    {.name = "steps", .kind = QN_ATTR_INTS},
    {0},
};
static const qn_attr_spec slice_grad_attrs[] = {
    {.name = "starts", .kind = QN_ATTR_INTS, .required = true},
    {.name = "ends", .kind = QN_ATTR_INTS, .required = true},
    {.name = "axes", .kind = QN_ATTR_INTS},
    {.name = "steps", .kind = QN_ATTR_INTS},
    {.name = "shape", .kind = QN_ATTR_INTS, .required = true, .symbolic = true},
    {0},
};
static const qn_attr_spec block_attrs[] = {
    {.name = "blocksize", .kind = QN_ATTR_INT, .required = true, .low = 1, .high = 65536},
    {.name = "mode", .kind = QN_ATTR_STRING, .choices = "DCR CRD"},
    {0},
};
static const qn_attr_spec trilu_attrs[] = {
    {.name = "upper", .kind = QN_ATTR_INT, .high = 1, .value = 1},
    {.name = "k", .kind = QN_ATTR_INT},
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
static const qn_op_sample bit_cast_samples[] = {
    SAMPLE(OP_I32(3, 4), 1, OP_AS("to", "u32")),
    SAMPLE(OP_U8(7), 1, OP_AS("to", "i8")),
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
    SAMPLE(OP_F64(4, 7), 4, OP_AINTS("starts", -1, 1), OP_AINTS("ends", INT64_MIN, 6),
           OP_AINTS("axes", 0, 1), OP_AINTS("steps", -1, 2)),
    SAMPLE(OP_F64(4, 7), 3, OP_AINTS("starts", 100, 2), OP_AINTS("ends", 0, 2),
           OP_AINTS("steps", -2, 1)),
};
static const qn_op_sample slice_grad_samples[] = {
    SAMPLE(OP_F64(2, 3), 4, OP_AINTS("starts", 3, 0), OP_AINTS("ends", -100, 6),
           OP_AINTS("steps", -2, 2), OP_AINTS("shape", 4, 6)),
};
static const qn_op_sample depth_to_space_samples[] = {
    SAMPLE(OP_F64(2, 3, 2, 8), 1, OP_AI("blocksize", 2)),
    SAMPLE(OP_F64(1, 2, 3, 18), 2, OP_AI("blocksize", 3), OP_AS("mode", "CRD")),
};
static const qn_op_sample space_to_depth_samples[] = {
    SAMPLE(OP_F64(2, 4, 6, 2), 1, OP_AI("blocksize", 2)),
    SAMPLE(OP_F64(1, 6, 3, 2), 2, OP_AI("blocksize", 3), OP_AS("mode", "CRD")),
};
static const qn_op_sample trilu_samples[] = {
    SAMPLE(OP_F64(4, 5), 0, {0}),
    SAMPLE(OP_F64(2, 5, 4), 2, OP_AI("upper", 0), OP_AI("k", -1)),
    SAMPLE(OP_I64(4, 5), 1, OP_AI("k", 2)),
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
    ROW("BitCast", bit_cast, cast_attrs, QN_OP_NO_GRADIENT, bit_cast_ref, NULL),
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
    ROW("SliceGrad", slice_grad, slice_grad_attrs, QN_OP_NO_GRADIENT, slice_grad_ref, NULL),
    ROW("DepthToSpace", depth_to_space, block_attrs, 0, depth_to_space_ref, depth_to_space_vjp),
    ROW("SpaceToDepth", space_to_depth, block_attrs, 0, space_to_depth_ref, space_to_depth_vjp),
    ROW("Trilu", trilu, trilu_attrs, 0, trilu_ref, trilu_vjp),
    ROW("Expand", expand, expand_attrs, 0, expand_ref, expand_vjp),
    {0},
};
