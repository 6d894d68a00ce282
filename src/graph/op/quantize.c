/*
 * Quantised numbers: QuantizeLinear, DequantizeLinear, DynamicQuantizeLinear and the products over
 * them, MatMulInteger and QLinearMatMul. q = round(x / scale) + zero point, half to even, at the
 * ends of its type where it lies beyond; x = (q - zero point) scale.
 */
#include "graph/op/common.h"
#include "graph/op/number.h"

#include <math.h>
#include <string.h>

/* How scales and zero points lie over x: one for all, one for each place along an axis, or one for
 * each block of places. */
typedef struct {
    qn_op_lines lines;
    int64_t block; /* 0 = one for all */
} scale_map;

static scale_map map_scales(const qn_op_types *types)
{
    const qn_shape *x = &types->inputs[0].shape, *scale = &types->inputs[1].shape;
    int64_t block = qn_op_attr_i(types, "block_size");
    scale_map map = {.block = block > 0 ? block : 1};
    if (qn_shape_count(scale) == 1 && block == 0)
        return (scale_map){.lines = {1, 1, qn_shape_count(x)}};
    map.lines = qn_op_lines_of(x, qn_op_axis_of(types, x->rank));
    return map;
}

/* Which scale belongs to element i. */
static int64_t scale_at(const scale_map *map, bool blocked, int64_t i)
{
    const qn_op_lines *l = &map->lines;
    if (map->block == 0)
        return 0;
    int64_t place = i / l->inner % l->count;
    if (!blocked)
        return place;
    int64_t blocks = (l->count + map->block - 1) / map->block, line = i / l->inner / l->count;
    return (line * blocks + place / map->block) * l->inner + i % l->inner;
}

/* Scales are one number, [count] along the axis, or of x's rank and shorter along the axis only. */
static qn_status check_scales(const qn_op_types *types, qn_error *err)
{
    const qn_shape *x = &types->inputs[0].shape, *scale = &types->inputs[1].shape;
    int64_t block = qn_op_attr_i(types, "block_size");
    qn_shape want = QN_SCALAR;
    int axis = 0;
    if (qn_op_has(types, 2))
        QN_TRY(qn_op_want_shape(types, 2, scale, err));
    if (block == 0 && (scale->rank == 0 || (scale->rank == 1 && scale->dims[0] == 1)))
        return QN_OK;
    QN_TRY(qn_op_axis(types, x->rank, &axis, err));
    if (block == 0) {
        want = QN_SHAPE(x->dims[axis]);
    } else {
        want = *x;
        want.dims[axis] = (x->dims[axis] + block - 1) / block;
    }
    return qn_op_want_shape(types, 1, &want, err);
}

static qn_dtype attr_dtype(const qn_op_types *types)
{
    qn_dtype dtype = QN_DTYPE_F32;
    bool found = qn_dtype_find(qn_op_attr_s(types, "dtype"), &dtype);
    QN_ASSERT(found);
    return dtype;
}

static qn_status quantize_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    QN_TRY(qn_op_want_kind(types, 0, OP_KIND_FLOAT | OP_KIND_SIGNED, err));
    QN_TRY(qn_op_want_kind(types, 1, OP_KIND_FLOAT, err));
    if (qn_op_has(types, 2))
        QN_TRY(qn_op_want_kind(types, 2, OP_KIND_INTEGER, err));
    QN_TRY(check_scales(types, err));
    ret_outputs[0] = (qn_type){qn_op_has(types, 2) ? types->inputs[2].dtype : attr_dtype(types),
                               types->inputs[0].shape};
    return QN_OK;
}

/* Every element with its own scale and zero point. */
static void by_scales(const qn_op_run *run,
                      double (*change)(const qn_tensor *x, double value, double scale, double zero))
{
    const qn_tensor *x = &run->inputs[0];
    scale_map map = map_scales(run->types);
    bool blocked = qn_op_attr_i(run->types, "block_size") > 0;
    int64_t count = qn_shape_count(&x->shape);
    for (int64_t i = 0; i < count; i++) {
        int64_t at = scale_at(&map, blocked, i);
        double zero = qn_op_has(run->types, 2) ? qn_op_get(&run->inputs[2], at) : 0;
        double scale = qn_op_get(&run->inputs[1], at);
        qn_op_put(&run->outputs[0], i, change(x, qn_op_get(x, i), scale, zero));
    }
}

/* In the precision of x, whose rounding decides ties. */
static double quotient(const qn_tensor *x, double value, double scale)
{
    return x->dtype == QN_DTYPE_F64 ? value / scale : (double)((float)value / (float)scale);
}

/* Writing saturates. */
static double to_steps(const qn_tensor *x, double value, double scale, double zero)
{
    return rint(quotient(x, value, scale)) + zero;
}

static double from_steps(const qn_tensor *x, double value, double scale, double zero)
{
    (void)x;
    return (value - zero) * scale;
}

static void quantize_ref(const qn_op_run *run)
{
    by_scales(run, to_steps);
}

static qn_status dequantize_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    QN_TRY(qn_op_want_kind(types, 0, OP_KIND_INTEGER, err));
    QN_TRY(qn_op_want_kind(types, 1, OP_KIND_FLOAT, err));
    if (qn_op_has(types, 2))
        QN_TRY(qn_op_want_dtype(types, 2, types->inputs[0].dtype, err));
    QN_TRY(check_scales(types, err));
    ret_outputs[0] = (qn_type){types->inputs[1].dtype, types->inputs[0].shape};
    return QN_OK;
}

static void dequantize_ref(const qn_op_run *run)
{
    by_scales(run, from_steps);
}

static qn_status dynamic_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    QN_TRY(qn_op_want_float(types, 0, err));
    ret_outputs[0] = (qn_type){QN_DTYPE_U8, types->inputs[0].shape};
    ret_outputs[1] = (qn_type){types->inputs[0].dtype, QN_SCALAR};
    ret_outputs[2] = (qn_type){QN_DTYPE_U8, QN_SCALAR};
    return QN_OK;
}

/* The scale that spreads u8 from the least to the largest number, 0 always among them. */
static void dynamic_ref(const qn_op_run *run)
{
    const qn_tensor *x = &run->inputs[0];
    int64_t count = qn_shape_count(&x->shape);
    double low = 0, high = 0;
    for (int64_t i = 0; i < count; i++) {
        low = fmin(low, qn_op_get(x, i));
        high = fmax(high, qn_op_get(x, i));
    }
    qn_op_put(&run->outputs[1], 0, (high - low) / 255);
    double scale = qn_op_get(&run->outputs[1], 0);
    double zero = scale > 0 ? rint(fmin(fmax(quotient(x, -low, scale), 0), 255)) : 0;
    qn_op_put(&run->outputs[2], 0, zero);
    for (int64_t i = 0; i < count; i++) {
        double steps = scale > 0 ? rint(quotient(x, qn_op_get(x, i), scale)) : 0;
        qn_op_put(&run->outputs[0], i, steps + zero);
    }
}

/* Products. */

typedef struct {
    int64_t m, n, k;
    qn_shape batch;
    int64_t stride_a[QN_RANK_MAX], stride_b[QN_RANK_MAX]; /* in matrices */
} product_sizes;

static qn_shape batch_part(const qn_shape *shape)
{
    qn_shape batch = *shape;
    batch.rank -= 2;
    return batch;
}

/* The shape of a b, and where their matrices lie. */
static qn_status product_shape(const qn_op_types *types, int a, int b, product_sizes *ret,
                               qn_shape *ret_shape, qn_error *err)
{
    const qn_shape *as = &types->inputs[a].shape, *bs = &types->inputs[b].shape;
    char left[128], right[128];
    if (as->rank < 2 || bs->rank < 2 || as->dims[as->rank - 1] != bs->dims[bs->rank - 2])
        QN_FAIL(err, QN_ERR_ARG, "cannot multiply %s by %s", qn_shape_text(as, left),
                qn_shape_text(bs, right));
    product_sizes z = {as->dims[as->rank - 2], bs->dims[bs->rank - 1], as->dims[as->rank - 1],
                       .batch = QN_SCALAR};
    qn_shape batch_a = batch_part(as), batch_b = batch_part(bs);
    QN_TRY(qn_shape_broadcast(&batch_a, &batch_b, &z.batch, err));
    qn_op_strides(&batch_a, &z.batch, z.stride_a);
    qn_op_strides(&batch_b, &z.batch, z.stride_b);
    *ret = z;
    *ret_shape = z.batch;
    ret_shape->dims[ret_shape->rank++] = z.m;
    ret_shape->dims[ret_shape->rank++] = z.n;
    return QN_OK;
}

/* Zero points: one number, or one for each row of a or column of b. */
static qn_status want_zero(const qn_op_types *types, int input, int of, int64_t count,
                           qn_error *err)
{
    if (!qn_op_has(types, input))
        return QN_OK;
    const qn_shape *shape = &types->inputs[input].shape;
    char text[128];
    QN_TRY(qn_op_want_dtype(types, input, types->inputs[of].dtype, err));
    if (shape->rank > 1 || (shape->rank == 1 && shape->dims[0] != 1 && shape->dims[0] != count))
        QN_FAIL(err, QN_ERR_ARG, "input %d is %s, expected one number or %lld", input,
                qn_shape_text(shape, text), (long long)count);
    return QN_OK;
}

static int64_t zero_at(const qn_op_run *run, int input, int64_t i)
{
    if (!qn_op_has(run->types, input))
        return 0;
    const qn_tensor *zero = &run->inputs[input];
    return qn_op_get_i64(zero, qn_shape_count(&zero->shape) == 1 ? 0 : i);
}

/* Element i of the product of a - its zero and b - its zero; sums wrap. */
static int64_t dot(const qn_op_run *run, const product_sizes *z, const int inputs[4], int64_t i)
{
    int64_t row = i / z->n % z->m, col = i % z->n, batch = i / (z->m * z->n);
    int64_t a = qn_op_offset(&z->batch, z->stride_a, batch) * z->m * z->k + row * z->k;
    int64_t b = qn_op_offset(&z->batch, z->stride_b, batch) * z->k * z->n + col;
    uint64_t zero_a = (uint64_t)zero_at(run, inputs[1], row), sum = 0;
    uint64_t zero_b = (uint64_t)zero_at(run, inputs[3], col);
    for (int64_t k = 0; k < z->k; k++)
        sum += ((uint64_t)qn_op_get_i64(&run->inputs[inputs[0]], a + k) - zero_a) *
               ((uint64_t)qn_op_get_i64(&run->inputs[inputs[2]], b + k * z->n) - zero_b);
    return (int64_t)sum;
}

static const int integer_inputs[4] = {0, 2, 1, 3}; /* a, its zero, b, its zero */

static qn_status integer_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    product_sizes z;
    qn_shape shape;
    QN_TRY(qn_op_want_kind(types, 0, OP_KIND_INTEGER, err));
    QN_TRY(qn_op_want_kind(types, 1, OP_KIND_INTEGER, err));
    QN_TRY(product_shape(types, 0, 1, &z, &shape, err));
    QN_TRY(want_zero(types, 2, 0, z.m, err));
    QN_TRY(want_zero(types, 3, 1, z.n, err));
    ret_outputs[0] = (qn_type){QN_DTYPE_I32, shape};
    return QN_OK;
}

static void integer_ref(const qn_op_run *run)
{
    product_sizes z;
    qn_shape shape;
    qn_status status = product_shape(run->types, 0, 1, &z, &shape, NULL);
    QN_ASSERT(status == QN_OK);
    for (int64_t i = 0; i < qn_shape_count(&shape); i++)
        qn_op_put_i64(&run->outputs[0], i, dot(run, &z, integer_inputs, i));
}

/* a, its scale, its zero, b, its scale, its zero, the scale and the zero of the result */
static const int linear_inputs[4] = {0, 2, 3, 5};

static qn_status linear_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    product_sizes z;
    qn_shape shape;
    QN_TRY(qn_op_want_kind(types, 0, OP_KIND_INTEGER, err));
    QN_TRY(qn_op_want_kind(types, 3, OP_KIND_INTEGER, err));
    QN_TRY(product_shape(types, 0, 3, &z, &shape, err));
    QN_TRY(want_zero(types, 2, 0, z.m, err));
    QN_TRY(want_zero(types, 5, 3, z.n, err));
    for (int i = 1; i < 8; i += i == 1 ? 3 : 2) {
        QN_TRY(qn_op_want_kind(types, i, OP_KIND_FLOAT, err));
        if (qn_shape_count(&types->inputs[i].shape) != 1)
            QN_FAIL(err, QN_ERR_ARG, "input %d is not one number", i);
    }
    QN_TRY(want_zero(types, 7, 7, 1, err));
    ret_outputs[0] = (qn_type){types->inputs[7].dtype, shape};
    return QN_OK;
}

static void linear_ref(const qn_op_run *run)
{
    product_sizes z;
    qn_shape shape;
    qn_status status = product_shape(run->types, 0, 3, &z, &shape, NULL);
    QN_ASSERT(status == QN_OK);
    double scale = qn_op_get(&run->inputs[1], 0) * qn_op_get(&run->inputs[4], 0) /
                   qn_op_get(&run->inputs[6], 0);
    double zero = qn_op_get(&run->inputs[7], 0);
    for (int64_t i = 0; i < qn_shape_count(&shape); i++)
        qn_op_put(&run->outputs[0], i, rint((double)dot(run, &z, linear_inputs, i) * scale) + zero);
}

#define SCALES                                                                                     \
    {.name = "axis", .kind = QN_ATTR_INT, .value = 1},                                             \
    {                                                                                              \
        .name = "block_size", .kind = QN_ATTR_INT, .high = 1e15                                    \
    }
static const qn_attr_spec quantize_attrs[] = {
    SCALES,
    {.name = "dtype", .kind = QN_ATTR_STRING, .choices = "u8 i8 u16 i16 i32"},
    {0},
};
static const qn_attr_spec dequantize_attrs[] = {
    SCALES,
    {0},
};

static const qn_op_sample quantize_samples[] = {
    {.inputs_count = 3,
     .inputs = {OP_F64(3, 4), OP_F64_SCALAR, {QN_DTYPE_U8, {0, {0}}}},
     .low = 0.1,
     .high = 90},
    {.inputs_count = 2,
     .inputs = {OP_F64(2, 4, 3), OP_F64(4)},
     .low = -2,
     .high = 2,
     .attrs_count = 1,
     .attrs = {OP_AS("dtype", "i8")}},
    {.inputs_count = 2,
     .inputs = {OP_F64(2, 5, 3), OP_F64(2, 3, 3)},
     .low = 0.2,
     .high = 2,
     .attrs_count = 1,
     .attrs = {OP_AI("block_size", 2)}},
};
static const qn_op_sample dequantize_samples[] = {
    {.inputs_count = 3,
     .inputs = {OP_U8(3, 4), OP_F64_SCALAR, {QN_DTYPE_U8, {0, {0}}}},
     .low = 0.1,
     .high = 90},
    {.inputs_count = 2, .inputs = {OP_I32(2, 4, 3), OP_F64(4)}, .low = -2, .high = 2},
    {.inputs_count = 2,
     .inputs = {OP_U8(2, 5, 3), OP_F64(2, 3, 3)},
     .low = 0.2,
     .high = 2,
     .attrs_count = 1,
     .attrs = {OP_AI("block_size", 2)}},
};
static const qn_op_sample dynamic_samples[] = {
    {.inputs_count = 1, .inputs = {OP_F64(3, 4)}, .low = -3, .high = 4},
    {.inputs_count = 1, .inputs = {OP_F64(7)}, .low = 1, .high = 4},
};
static const qn_op_sample integer_samples[] = {
    {.inputs_count = 2, .inputs = {OP_U8(3, 4), OP_U8(4, 5)}, .low = 0, .high = 200},
    {.inputs_count = 4,
     .inputs = {OP_U8(2, 3, 4), OP_U8(4, 5), OP_U8(3), {QN_DTYPE_U8, {0, {0}}}},
     .low = 0,
     .high = 200},
};
static const qn_op_sample linear_samples[] = {
    {.inputs_count = 8,
     .inputs = {OP_U8(2, 3, 4), OP_F64_SCALAR, OP_U8(1), OP_U8(4, 5), OP_F64_SCALAR, OP_U8(1),
                OP_F64_SCALAR, OP_U8(1)},
     .low = 1,
     .high = 9},
};

#define ROW(op_name, stem, least, most, outputs, list)                                             \
    {                                                                                              \
        .name = (op_name), .inputs_min = (least), .inputs_max = (most),                            \
        .outputs_count = (outputs), .flags = QN_OP_NO_GRADIENT, .attrs = (list),                   \
        .infer = stem##_infer, .ref = stem##_ref, OP_SAMPLES(stem##_samples)                       \
    }

const qn_op qn_ops_quantize[] = {
    ROW("QuantizeLinear", quantize, 2, 3, 1, quantize_attrs),
    ROW("DequantizeLinear", dequantize, 2, 3, 1, dequantize_attrs),
    ROW("DynamicQuantizeLinear", dynamic, 1, 1, 3, NULL),
    ROW("MatMulInteger", integer, 2, 4, 1, NULL),
    ROW("QLinearMatMul", linear, 8, 8, 1, NULL),
    {0},
};
