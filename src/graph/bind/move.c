/*
 * Bindings of ops that move memory: copies, fills, casts, and everything that is a copy between strides
 * (Transpose, Concat, Slice, Pad, Expand, Tile, DepthToSpace).
 */
#include <string.h>

#include "graph/bind/bind.h"
#include "graph/op/slice.h"
#include "kernel/half/half.h"
#include "kernel/move/move.h"

typedef struct {
    void *dst;
    const void *src;
    size_t size;
} copy_args;

static void run_copy(const void *args, qn_pool *pool, uint32_t step)
{
    (void)step;
    const copy_args *a = args;
    qn_copy_bytes(pool, a->dst, a->src, a->size);
}

static bool bind_copy(const qn_bind *bind)
{
    copy_args *args = qn_bind_args(bind, sizeof *args);
    if (!args)
        return false;
    *args = (copy_args){bind->outputs[0].data, bind->inputs[0].data,
                        qn_tensor_bytes(&bind->outputs[0])};
    return qn_bind_to(bind, run_copy, "copy");
}

static void run_zeros(const void *args, qn_pool *pool, uint32_t step)
{
    (void)step;
    const copy_args *a = args;
    qn_fill_bytes(pool, a->dst, a->size, 0);
}

static bool bind_zeros(const qn_bind *bind)
{
    return bind_copy(bind) && qn_bind_to(bind, run_zeros, "fill");
}

typedef struct {
    void *dst;
    const void *src;
    qn_cast_type dst_type, src_type;
    int64_t count;
} cast_args;

static void run_cast(const void *args, qn_pool *pool, uint32_t step)
{
    (void)step;
    const cast_args *a = args;
    qn_cast(pool, a->dst, a->dst_type, a->src, a->src_type, a->count);
}

static bool cast_type(qn_dtype dtype, qn_cast_type *ret)
{
    static const struct {
        qn_dtype dtype;
        qn_cast_type type;
    } types[] = {{QN_DTYPE_F32, QN_CAST_F32}, {QN_DTYPE_F64, QN_CAST_F64},
                 {QN_DTYPE_I64, QN_CAST_I64}, {QN_DTYPE_I32, QN_CAST_I32},
                 {QN_DTYPE_U8, QN_CAST_U8},   {QN_DTYPE_BOOL, QN_CAST_BOOL}};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (types[i].dtype == dtype) {
            *ret = types[i].type;
            return true;
        }
    return false;
}

typedef struct {
    void *dst;
    const void *src;
    int64_t count;
} half_args;

#define RUN_HALF(name, to, from)                                                                   \
    static void run_##name(const void *args, qn_pool *pool, uint32_t step)                         \
    {                                                                                              \
        (void)step;                                                                                \
        const half_args *a = args;                                                                 \
        qn_##name(pool, (to *)a->dst, (const from *)a->src, a->count);                             \
    }
RUN_HALF(bf16_of_f32, uint16_t, float)
RUN_HALF(f16_of_f32, uint16_t, float)
RUN_HALF(f32_of_bf16, float, uint16_t)
RUN_HALF(f32_of_f16, float, uint16_t)

/* Between f32 and a 16-bit float; false = another pair. */
static bool bind_half(const qn_bind *bind)
{
    static const struct {
        qn_dtype to, from;
        qn_call_fn run;
    } pairs[] = {{QN_DTYPE_BF16, QN_DTYPE_F32, run_bf16_of_f32},
                 {QN_DTYPE_F16, QN_DTYPE_F32, run_f16_of_f32},
                 {QN_DTYPE_F32, QN_DTYPE_BF16, run_f32_of_bf16},
                 {QN_DTYPE_F32, QN_DTYPE_F16, run_f32_of_f16}};
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        if (pairs[i].to != bind->outputs[0].dtype || pairs[i].from != bind->inputs[0].dtype)
            continue;
        half_args *args = qn_bind_args(bind, sizeof *args);
        if (!args)
            return false;
        *args = (half_args){bind->outputs[0].data, bind->inputs[0].data,
                            qn_bind_count(&bind->outputs[0])};
        return qn_bind_to(bind, pairs[i].run, "half");
    }
    return false;
}

static bool bind_cast(const qn_bind *bind)
{
    if (bind_half(bind))
        return true;
    cast_args *args = qn_bind_args(bind, sizeof *args);
    if (!args || !cast_type(bind->inputs[0].dtype, &args->src_type) ||
        !cast_type(bind->outputs[0].dtype, &args->dst_type))
        return false;
    args->dst = bind->outputs[0].data;
    args->src = bind->inputs[0].data;
    args->count = qn_bind_count(&bind->outputs[0]);
    return qn_bind_to(bind, run_cast, "cast");
}

/* Copies between strides: one per input (Concat) or just one, after a fill where some elements are not written. */

typedef struct {
    char *dst;
    const char *src;
    qn_strided shape;
} strided_part;

typedef struct {
    int parts_count, element_bytes;
    float *fill; /* NULL = none */
    int64_t fill_count;
    float fill_value;
    strided_part parts[]; /* follows */
} strided_args;

static void run_strided(const void *args, qn_pool *pool, uint32_t step)
{
    (void)step;
    const strided_args *a = args;
    if (a->fill)
        qn_fill_f32(pool, a->fill, a->fill_count, a->fill_value);
    for (int i = 0; i < a->parts_count; i++)
        qn_copy_strided(pool, a->parts[i].dst, a->parts[i].src, &a->parts[i].shape,
                        a->element_bytes);
}

static void plain_strides(const qn_shape *shape, int64_t *strides)
{
    int64_t step = 1;
    for (int d = shape->rank - 1; d >= 0; d--) {
        strides[d] = step;
        step *= shape->dims[d];
    }
}

static strided_args *take_strided(const qn_bind *bind, int parts)
{
    strided_args *args = qn_bind_args(bind, sizeof *args + (size_t)parts * sizeof args->parts[0]);
    if (!args)
        return NULL;
    args->parts_count = parts;
    args->element_bytes = (int)qn_dtype_size(bind->outputs[0].dtype);
    return args;
}

/* A copy of `shape` whose strides the caller fills before it is finished. */
static void begin_part(strided_part *part, const qn_shape *shape, void *dst, const void *src)
{
    part->dst = dst;
    part->src = src;
    part->shape.rank = shape->rank;
    memcpy(part->shape.dim, shape->dims, sizeof shape->dims);
}

static bool finish(const qn_bind *bind, strided_args *args, const char *name)
{
    for (int i = 0; i < args->parts_count; i++)
        qn_strided_collapse(&args->parts[i].shape);
    return qn_bind_to(bind, run_strided, name);
}

static bool bind_transpose(const qn_bind *bind)
{
    strided_args *args = take_strided(bind, 1);
    int count = 0, rank = bind->types->inputs[0].shape.rank;
    int64_t own[QN_RANK_MAX];
    if (!args)
        return false;
    const int64_t *perm = qn_op_attr_ints(bind->types, "perm", &count);
    strided_part *part = &args->parts[0];
    begin_part(part, &bind->outputs[0].shape, bind->outputs[0].data, bind->inputs[0].data);
    plain_strides(&bind->outputs[0].shape, part->shape.dst_stride);
    plain_strides(&bind->inputs[0].shape, own);
    for (int d = 0; d < rank; d++) {
        int64_t from = count ? perm[d] : rank - 1 - d; /* without perm: reversed, as in ONNX */
        part->shape.src_stride[d] = own[from];
    }
    return finish(bind, args, "transpose");
}

static bool bind_concat(const qn_bind *bind)
{
    const qn_tensor *out = &bind->outputs[0];
    int parts = bind->types->inputs_count;
    int64_t axis = qn_op_attr_i(bind->types, "axis"), at = 0, strides[QN_RANK_MAX];
    strided_args *args = take_strided(bind, parts);
    if (!args)
        return false;
    axis = axis < 0 ? axis + out->shape.rank : axis;
    plain_strides(&out->shape, strides);
    for (int i = 0; i < parts; i++) {
        strided_part *part = &args->parts[i];
        begin_part(part, &bind->inputs[i].shape, out->data, bind->inputs[i].data);
        if (out->data)
            part->dst += at * strides[axis] * args->element_bytes;
        memcpy(part->shape.dst_stride, strides, sizeof strides);
        plain_strides(&bind->inputs[i].shape, part->shape.src_stride);
        at += bind->inputs[i].shape.dims[axis];
    }
    return finish(bind, args, "concat");
}

static bool bind_slice(const qn_bind *bind)
{
    const qn_tensor *in = &bind->inputs[0];
    strided_args *args = take_strided(bind, 1);
    qn_op_range range;
    if (!args || qn_op_slice_read(bind->types, &in->shape, &range, NULL) != QN_OK)
        return false;
    strided_part *part = &args->parts[0];
    begin_part(part, &bind->outputs[0].shape, bind->outputs[0].data, in->data);
    plain_strides(&bind->outputs[0].shape, part->shape.dst_stride);
    plain_strides(&in->shape, part->shape.src_stride);
    for (int d = 0; d < in->shape.rank; d++) {
        part->src += range.begin[d] * part->shape.src_stride[d] * args->element_bytes;
        part->shape.src_stride[d] *= range.step[d];
    }
    return finish(bind, args, "slice");
}

/* Padding around, with one value; other modes and cuts have no kernel. */
static bool only_surrounds(const qn_bind *bind)
{
    int count = 0, ends_count = 0;
    const int64_t *begins = qn_op_attr_ints(bind->types, "begins", &count);
    const int64_t *ends = qn_op_attr_ints(bind->types, "ends", &ends_count);
    bool surrounds = strcmp(qn_op_attr_s(bind->types, "mode"), "constant") == 0;
    for (int d = 0; d < count; d++)
        surrounds = surrounds && begins[d] >= 0 && ends[d] >= 0;
    return surrounds;
}

static bool bind_pad(const qn_bind *bind)
{
    const qn_tensor *out = &bind->outputs[0];
    if (out->dtype != QN_DTYPE_F32 || !only_surrounds(bind))
        return false;
    strided_args *args = take_strided(bind, 1);
    int count = 0;
    if (!args)
        return false;
    const int64_t *begins = qn_op_attr_ints(bind->types, "begins", &count);
    strided_part *part = &args->parts[0];
    args->fill = out->data;
    args->fill_count = qn_bind_count(out);
    args->fill_value = (float)qn_op_attr_f(bind->types, "value");
    begin_part(part, &bind->inputs[0].shape, out->data, bind->inputs[0].data);
    plain_strides(&out->shape, part->shape.dst_stride);
    plain_strides(&bind->inputs[0].shape, part->shape.src_stride);
    for (int d = 0; d < count; d++)
        part->dst += begins[d] * part->shape.dst_stride[d] * args->element_bytes;
    return finish(bind, args, "pad");
}

static bool bind_expand(const qn_bind *bind)
{
    const qn_shape *in = &bind->inputs[0].shape, *out = &bind->outputs[0].shape;
    strided_args *args = take_strided(bind, 1);
    int64_t own[QN_RANK_MAX];
    if (!args)
        return false;
    strided_part *part = &args->parts[0];
    begin_part(part, out, bind->outputs[0].data, bind->inputs[0].data);
    plain_strides(out, part->shape.dst_stride);
    plain_strides(in, own);
    for (int i = 1; i <= in->rank; i++)
        if (in->dims[in->rank - i] != 1)
            part->shape.src_stride[out->rank - i] = own[in->rank - i];
    return finish(bind, args, "expand");
}

/* Each repeated dimension is two: one that does not move in the source, and the dimension. */
static bool bind_tile(const qn_bind *bind)
{
    const qn_shape *in = &bind->inputs[0].shape;
    strided_args *args = take_strided(bind, 1);
    int64_t from[QN_RANK_MAX], to[QN_RANK_MAX];
    int count = 0, rank = 0;
    if (!args)
        return false;
    const int64_t *repeats = qn_op_attr_ints(bind->types, "repeats", &count);
    strided_part *part = &args->parts[0];
    qn_strided *shape = &part->shape;
    plain_strides(in, from);
    plain_strides(&bind->outputs[0].shape, to);
    for (int d = 0; d < count; d++) {
        if (rank + 2 > QN_KERNEL_RANK)
            return false;
        shape->dim[rank] = repeats[d];
        shape->dst_stride[rank++] = in->dims[d] * to[d];
        shape->dim[rank] = in->dims[d];
        shape->dst_stride[rank] = to[d];
        shape->src_stride[rank++] = from[d];
    }
    shape->rank = rank;
    part->dst = bind->outputs[0].data;
    part->src = bind->inputs[0].data;
    return finish(bind, args, "tile");
}

/* The six dimensions of map_blocks (op/move.c). */
static bool bind_blocks(const qn_bind *bind)
{
    bool deepens = strcmp(bind->types->op->name, "SpaceToDepth") == 0;
    const qn_shape *deep = deepens ? &bind->outputs[0].shape : &bind->inputs[0].shape;
    strided_args *args = take_strided(bind, 1);
    if (!args)
        return false;
    int64_t b = qn_op_attr_i(bind->types, "blocksize"), width = deep->dims[2],
            channels = deep->dims[3], own = channels / (b * b);
    bool blocks_first = strcmp(qn_op_attr_s(bind->types, "mode"), "DCR") == 0;
    qn_shape pixels = QN_SHAPE(deep->dims[0], deep->dims[1], b, width, b, own);
    int64_t block = blocks_first ? own : 1, *flat, *blocked;
    const int64_t strides[] = {
        deep->dims[1] * width * channels, width * channels, b * block, channels, block,
        blocks_first ? 1 : b * b};
    strided_part *part = &args->parts[0];
    begin_part(part, &pixels, bind->outputs[0].data, bind->inputs[0].data);
    flat = deepens ? part->shape.src_stride : part->shape.dst_stride;
    blocked = deepens ? part->shape.dst_stride : part->shape.src_stride;
    plain_strides(&pixels, flat);
    memcpy(blocked, strides, sizeof strides);
    return finish(bind, args, "blocks");
}

const qn_binding qn_bindings_move[] = {
    {.op = "Copy", .bind = bind_copy},
    {.op = "ZerosLike", .bind = bind_zeros},
    {.op = "Cast", .bind = bind_cast},
    {.op = "BitCast", .bind = bind_copy},
    {.op = "Transpose", .bind = bind_transpose},
    {.op = "Concat", .bind = bind_concat},
    {.op = "Slice", .bind = bind_slice},
    {.op = "Pad", .bind = bind_pad},
    {.op = "Expand", .bind = bind_expand},
    {.op = "Tile", .bind = bind_tile},
    {.op = "DepthToSpace", .bind = bind_blocks},
    {.op = "SpaceToDepth", .bind = bind_blocks},
    {0},
};
