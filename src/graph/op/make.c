/*
 * Rows that make tensors out of attributes and shapes alone: Shape, Size, ConstantOfShape, Range,
 * EyeLike and the windows of signal processing. A plan without random rows folds the small ones.
 */
#include "graph/op/common.h"
#include "graph/op/number.h"

#include <math.h>
#include <string.h>

static qn_dtype attr_dtype(const qn_op_types *types)
{
    qn_dtype dtype = QN_DTYPE_F32;
    bool found = qn_dtype_find(qn_op_attr_s(types, "dtype"), &dtype);
    QN_ASSERT(found);
    return dtype;
}

/* The dimensions [start, end) that Shape reports. */
static void shape_range(const qn_op_types *types, int64_t *ret_start, int64_t *ret_end)
{
    int64_t rank = types->inputs[0].shape.rank,
            bounds[2] = {qn_op_attr_i(types, "start"), qn_op_attr_i(types, "end")};
    for (int i = 0; i < 2; i++) {
        bounds[i] = bounds[i] < 0 ? bounds[i] + rank : bounds[i];
        bounds[i] = bounds[i] < 0 ? 0 : bounds[i] > rank ? rank : bounds[i];
    }
    *ret_start = bounds[0];
    *ret_end = bounds[1] < bounds[0] ? bounds[0] : bounds[1];
}

static qn_status shape_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    (void)err;
    int64_t start = 0, end = 0;
    shape_range(types, &start, &end);
    ret_outputs[0] = (qn_type){QN_DTYPE_I64, QN_SHAPE(end - start)};
    return QN_OK;
}

static void shape_ref(const qn_op_run *run)
{
    int64_t start = 0, end = 0, *dst = run->outputs[0].data;
    shape_range(run->types, &start, &end);
    for (int64_t d = start; d < end; d++)
        dst[d - start] = run->inputs[0].shape.dims[d];
}

static qn_status size_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    (void)types;
    (void)err;
    ret_outputs[0] = (qn_type){QN_DTYPE_I64, QN_SCALAR};
    return QN_OK;
}

static void size_ref(const qn_op_run *run)
{
    *(int64_t *)run->outputs[0].data = qn_shape_count(&run->inputs[0].shape);
}

static qn_status constant_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    (void)err;
    qn_shape shape = {0};
    const int64_t *dims = qn_op_attr_ints(types, "shape", &shape.rank);
    memcpy(shape.dims, dims, sizeof shape.dims);
    ret_outputs[0] = (qn_type){attr_dtype(types), shape};
    return QN_OK;
}

static void constant_ref(const qn_op_run *run)
{
    int64_t count = qn_shape_count(&run->outputs[0].shape);
    double value = qn_op_attr_f(run->types, "value");
    for (int64_t i = 0; i < count; i++)
        qn_op_put(&run->outputs[0], i, value);
}

static qn_status range_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    double start = qn_op_attr_f(types, "start"), limit = qn_op_attr_f(types, "limit");
    double count = ceil((limit - start) / qn_op_attr_f(types, "delta"));
    if (!(count < 1e15))
        QN_FAIL(err, QN_ERR_ARG, "no end of numbers from %g to %g by %g", start, limit,
                qn_op_attr_f(types, "delta"));
    ret_outputs[0] = (qn_type){attr_dtype(types), QN_SHAPE(count > 0 ? (int64_t)count : 0)};
    return QN_OK;
}

static void range_ref(const qn_op_run *run)
{
    double start = qn_op_attr_f(run->types, "start"), delta = qn_op_attr_f(run->types, "delta");
    for (int64_t i = 0; i < run->outputs[0].shape.dims[0]; i++)
        qn_op_put(&run->outputs[0], i, start + (double)i * delta);
}

static qn_status eye_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    QN_TRY(qn_op_want_rank(types, 0, 2, err));
    bool same = strcmp(qn_op_attr_s(types, "dtype"), "same") == 0;
    ret_outputs[0] =
        (qn_type){same ? types->inputs[0].dtype : attr_dtype(types), types->inputs[0].shape};
    return QN_OK;
}

static void eye_ref(const qn_op_run *run)
{
    const qn_tensor *dst = &run->outputs[0];
    int64_t columns = dst->shape.dims[1], k = qn_op_attr_i(run->types, "k");
    memset(dst->data, 0, qn_tensor_bytes(dst));
    for (int64_t row = 0; row < dst->shape.dims[0]; row++)
        if (row + k >= 0 && row + k < columns)
            qn_op_put(dst, row * columns + row + k, 1);
}

/* w[i] = a + b cos(2 pi i / n) + c cos(4 pi i / n), n one less where the window is symmetric. */
static void window(const qn_op_run *run, double a, double b, double c)
{
    int64_t size = run->outputs[0].shape.dims[0];
    int64_t periods = qn_op_attr_i(run->types, "periodic") != 0 ? size : size - 1;
    for (int64_t i = 0; i < size; i++) {
        double turn = periods > 0 ? 2 * M_PI * (double)i / (double)periods : 0;
        qn_op_put(&run->outputs[0], i, a + b * cos(turn) + c * cos(2 * turn));
    }
}
static void hann_ref(const qn_op_run *run)
{
    window(run, 0.5, -0.5, 0);
}
static void hamming_ref(const qn_op_run *run)
{
    window(run, 25.0 / 46, -21.0 / 46, 0);
}
static void blackman_ref(const qn_op_run *run)
{
    window(run, 0.42, -0.5, 0.08);
}

static qn_status window_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    (void)err;
    ret_outputs[0] = (qn_type){attr_dtype(types), QN_SHAPE(qn_op_attr_i(types, "size"))};
    return QN_OK;
}

static const qn_attr_spec shape_attrs[] = {
    {.name = "start", .kind = QN_ATTR_INT},
    {.name = "end", .kind = QN_ATTR_INT, .value = QN_RANK_MAX},
    {0},
};
#define DTYPE                                                                                      \
    {                                                                                              \
        .name = "dtype", .kind = QN_ATTR_STRING, .choices = OP_DTYPE_CHOICES                       \
    }
static const qn_attr_spec constant_attrs[] = {
    {.name = "shape", .kind = QN_ATTR_INTS, .required = true, .symbolic = true},
    {.name = "value", .kind = QN_ATTR_FLOAT},
    DTYPE,
    {0},
};
static const qn_attr_spec range_attrs[] = {
    {.name = "start", .kind = QN_ATTR_FLOAT},
    {.name = "limit", .kind = QN_ATTR_FLOAT, .required = true},
    {.name = "delta", .kind = QN_ATTR_FLOAT, .value = 1},
    DTYPE,
    {0},
};
static const qn_attr_spec eye_attrs[] = {
    {.name = "dtype", .kind = QN_ATTR_STRING, .choices = "same " OP_DTYPE_CHOICES},
    {.name = "k", .kind = QN_ATTR_INT},
    {0},
};
static const qn_attr_spec window_attrs[] = {
    {.name = "size", .kind = QN_ATTR_INT, .required = true, .low = 0, .high = 1e12},
    {.name = "periodic", .kind = QN_ATTR_INT, .high = 1, .value = 1},
    DTYPE,
    {0},
};

#define NONE(count, ...)                                                                           \
    {                                                                                              \
        .attrs_count = (count), .attrs = { __VA_ARGS__ }                                           \
    }
#define ONE(type, count, ...)                                                                      \
    {                                                                                              \
        .inputs_count = 1, .inputs = {type}, .low = -2, .high = 2, .attrs_count = (count),         \
        .attrs = {                                                                                 \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }
static const qn_op_sample shape_samples[] = {
    ONE(OP_F64(2, 3, 4), 0, {0}),
    ONE(OP_F64(2, 3, 4), 2, OP_AI("start", -2), OP_AI("end", -1)),
};
static const qn_op_sample size_samples[] = {ONE(OP_F64(2, 3, 4), 0, {0})};
static const qn_op_sample constant_samples[] = {
    NONE(2, OP_AINTS("shape", 2, 3), OP_AF("value", 1.5)),
    NONE(3, OP_AINTS("shape", 7), OP_AF("value", 3), OP_AS("dtype", "u8")),
};
static const qn_op_sample range_samples[] = {
    NONE(3, OP_AF("start", 1), OP_AF("limit", 5), OP_AF("delta", 1.5)),
    NONE(4, OP_AF("start", 10), OP_AF("limit", 4), OP_AF("delta", -2), OP_AS("dtype", "i32")),
};
static const qn_op_sample eye_samples[] = {
    ONE(OP_F64(3, 4), 1, OP_AI("k", 1)),
    ONE(OP_F64(4, 3), 1, OP_AS("dtype", "i32")),
};
static const qn_op_sample window_samples[] = {
    NONE(1, OP_AI("size", 10)),
    NONE(3, OP_AI("size", 9), OP_AI("periodic", 0), OP_AS("dtype", "f64")),
    NONE(2, OP_AI("size", 1), OP_AI("periodic", 0)),
};

#define ROW(op_name, stem, list, count)                                                            \
    {                                                                                              \
        .name = (op_name), .inputs_min = (count), .inputs_max = (count), .outputs_count = 1,       \
        .flags = QN_OP_NO_GRADIENT, .attrs = (list), .infer = stem##_infer, .ref = stem##_ref,     \
        OP_SAMPLES(stem##_samples)                                                                 \
    }
#define WINDOW(op_name, stem)                                                                      \
    {                                                                                              \
        .name = (op_name), .outputs_count = 1, .flags = QN_OP_NO_GRADIENT, .attrs = window_attrs,  \
        .infer = window_infer, .ref = stem##_ref, OP_SAMPLES(window_samples)                       \
    }

const qn_op qn_ops_make[] = {
    ROW("Shape", shape, shape_attrs, 1),
    ROW("Size", size, NULL, 1),
    ROW("ConstantOfShape", constant, constant_attrs, 0),
    ROW("Range", range, range_attrs, 0),
    ROW("EyeLike", eye, eye_attrs, 1),
    WINDOW("HannWindow", hann),
    WINDOW("HammingWindow", hamming),
    WINDOW("BlackmanWindow", blackman),
    {0},
};
