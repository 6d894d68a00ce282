/*
 * Pooling over windows of one, two or three dimensions, channels last: largest, average and p-norm. The largest keeps its
 * place in the window, so that the gradient needs neither x nor y; MaxPoolIndices turns places into the indices of ONNX.
 */
#include <math.h>
#include <string.h>

#include "graph/op/common.h"
#include "graph/op/window.h"

typedef struct {
    qn_op_window window;
    bool count_include_pad;
    double p; /* of LpPool */
} pool_sizes;

/* By what an average divides: the places in x, or with count_include_pad also those in the stated padding. */
static double pool_divisor(const pool_sizes *z, const qn_op_place *at)
{
    const qn_op_window *w = &z->window;
    int64_t product = 1;
    for (int i = 0; i < 3; i++) {
        int64_t inside = 0;
        for (int64_t k = 0; k < w->kernel[i]; k++) {
            int64_t from = at->at[i] * w->stride[i] - w->before[i] + k * w->dilation[i];
            inside +=
                z->count_include_pad ? from < w->in[i] + w->after[i] : from >= 0 && from < w->in[i];
        }
        product *= inside;
    }
    return (double)product;
}

static void set_choice(const qn_tensor *choice, int64_t i, int64_t place)
{
    if (choice->dtype == QN_DTYPE_U8)
        ((uint8_t *)choice->data)[i] = (uint8_t)place;
    else
        ((int32_t *)choice->data)[i] = (int32_t)place;
}

static int64_t get_choice(const qn_tensor *choice, int64_t i)
{
    return choice->dtype == QN_DTYPE_U8 ? ((const uint8_t *)choice->data)[i]
                                        : ((const int32_t *)choice->data)[i];
}

#define OP_BODY "graph/op/pool_body.h"
#include "graph/op/typed.h"

/* Dilation and padding together may leave a window between the pixels. */
static qn_status check_reach(const qn_op_window *w, int i, qn_error *err)
{
    for (int64_t out = 0; out < w->out[i] && w->dilation[i] > 1; out++) {
        int64_t from = out * w->stride[i] - w->before[i], step = w->dilation[i];
        int64_t first = from >= 0 ? 0 : (-from + step - 1) / step;
        if (first >= w->kernel[i] || from + first * step >= w->in[i])
            QN_FAIL(err, QN_ERR_ARG, "window %lld of the dilated pool meets no pixel",
                    (long long)out);
    }
    return QN_OK;
}

static qn_status sizes_of(const qn_op_types *types, const qn_shape *x, pool_sizes *ret,
                          qn_error *err)
{
    pool_sizes z = {0};
    QN_TRY(qn_op_window_read(types, x, NULL, &z.window, err));
    const qn_op_window *w = &z.window;
    for (int i = 0; i < 3; i++) {
        int64_t covers = (w->kernel[i] - 1) * w->dilation[i] + 1;
        if (w->before[i] >= covers || w->after[i] >= covers)
            QN_FAIL(err, QN_ERR_ARG, "padding of %lld and %lld leaves windows without a pixel",
                    (long long)w->before[i], (long long)w->after[i]);
        QN_TRY(check_reach(w, i, err));
    }
    *ret = z;
    return QN_OK;
}

static void add_count_include_pad(const qn_op_types *types, pool_sizes *z)
{
    z->count_include_pad = qn_op_attr_i(types, "count_include_pad") != 0;
}

/* u8 holds the place in all windows but very large ones. */
static qn_dtype choice_dtype(const qn_op_window *window)
{
    return qn_op_window_places(window) <= 255 ? QN_DTYPE_U8 : QN_DTYPE_I32;
}

static qn_status pool_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    pool_sizes z;
    int rank = 0;
    QN_TRY(qn_op_want_float(types, 0, err));
    QN_TRY(qn_op_spatial_rank(types, 0, &rank, err));
    QN_TRY(sizes_of(types, &types->inputs[0].shape, &z, err));
    qn_shape y = qn_op_window_shape(&z.window, z.window.out, z.window.c);
    ret_outputs[0] = (qn_type){types->inputs[0].dtype, y};
    if (types->outputs_count > 1)
        ret_outputs[1] = (qn_type){choice_dtype(&z.window), y};
    return QN_OK;
}

/* The shape of x, from dy (input 0) and `input_size`. */
static qn_status input_shape(const qn_op_types *types, qn_shape *ret, qn_error *err)
{
    int rank = 0;
    const qn_shape *dy = &types->inputs[0].shape;
    QN_TRY(qn_op_spatial_rank(types, 0, &rank, err));
    qn_shape shape = *dy;
    QN_TRY(qn_op_ints(types, "input_size", rank, 0, shape.dims + 1, err));
    *ret = shape;
    return QN_OK;
}

/* dy or choice as input 0 must fit the window on x. */
static qn_status read_backward(const qn_op_types *types, pool_sizes *ret, qn_shape *ret_x,
                               qn_error *err)
{
    pool_sizes z;
    QN_TRY(input_shape(types, ret_x, err));
    QN_TRY(sizes_of(types, ret_x, &z, err));
    qn_shape dy = qn_op_window_shape(&z.window, z.window.out, z.window.c);
    QN_TRY(qn_op_want_shape(types, 0, &dy, err));
    *ret = z;
    return QN_OK;
}

static qn_status pool_grad_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    qn_shape x;
    pool_sizes z;
    QN_TRY(qn_op_want_float(types, 0, err));
    QN_TRY(read_backward(types, &z, &x, err));
    if (types->inputs_count == 2) {
        QN_TRY(qn_op_want_dtype(types, 1, choice_dtype(&z.window), err));
        QN_TRY(qn_op_want_shape(types, 1, &types->inputs[0].shape, err));
    }
    ret_outputs[0] = (qn_type){types->inputs[0].dtype, x};
    return QN_OK;
}

static qn_status lp_grad_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    pool_sizes z;
    QN_TRY(qn_op_want_float(types, 0, err));
    QN_TRY(qn_op_want_dtype(types, 1, types->inputs[0].dtype, err));
    QN_TRY(qn_op_want_like(types, 2, 0, err));
    QN_TRY(sizes_of(types, &types->inputs[1].shape, &z, err));
    qn_shape dy = qn_op_window_shape(&z.window, z.window.out, z.window.c);
    QN_TRY(qn_op_want_shape(types, 0, &dy, err));
    ret_outputs[0] = types->inputs[1];
    return QN_OK;
}

static qn_status indices_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    qn_shape x;
    pool_sizes z;
    QN_TRY(read_backward(types, &z, &x, err));
    QN_TRY(qn_op_want_dtype(types, 0, choice_dtype(&z.window), err));
    ret_outputs[0] = (qn_type){QN_DTYPE_I64, types->inputs[0].shape};
    return QN_OK;
}

static pool_sizes run_sizes(const qn_op_run *run, const qn_shape *x)
{
    pool_sizes z;
    qn_status status = sizes_of(run->types, x, &z, NULL);
    QN_ASSERT(status == QN_OK);
    return z;
}

static void max_ref(const qn_op_run *run)
{
    pool_sizes z = run_sizes(run, &run->inputs[0].shape);
    OP_FLOAT_CALL(run->inputs[0].dtype, max_pool, run, &z);
}
static void max_grad_ref(const qn_op_run *run)
{
    pool_sizes z = run_sizes(run, &run->outputs[0].shape);
    OP_FLOAT_CALL(run->inputs[0].dtype, max_pool_grad, run, &z);
}
static void avg_ref(const qn_op_run *run)
{
    pool_sizes z = run_sizes(run, &run->inputs[0].shape);
    add_count_include_pad(run->types, &z);
    OP_FLOAT_CALL(run->inputs[0].dtype, avg_pool, run, &z, false);
}
static void avg_grad_ref(const qn_op_run *run)
{
    pool_sizes z = run_sizes(run, &run->outputs[0].shape);
    add_count_include_pad(run->types, &z);
    OP_FLOAT_CALL(run->inputs[0].dtype, avg_pool, run, &z, true);
}
static void lp_ref(const qn_op_run *run)
{
    pool_sizes z = run_sizes(run, &run->inputs[0].shape);
    z.p = (double)qn_op_attr_i(run->types, "p");
    OP_FLOAT_CALL(run->inputs[0].dtype, lp_pool, run, &z);
}
static void lp_grad_ref(const qn_op_run *run)
{
    pool_sizes z = run_sizes(run, &run->inputs[1].shape);
    z.p = (double)qn_op_attr_i(run->types, "p");
    OP_FLOAT_CALL(run->inputs[0].dtype, lp_pool_grad, run, &z);
}

/* The flat index that ONNX gives, of a tensor with channels first: [N, C, spatial...], the last dimension running
 * fastest, or with storage_order 1 the first spatial one. */
static void indices_ref(const qn_op_run *run)
{
    qn_shape x;
    pool_sizes z;
    qn_status status = read_backward(run->types, &z, &x, NULL);
    QN_ASSERT(status == QN_OK);
    const qn_op_window *w = &z.window;
    bool column = qn_op_attr_i(run->types, "storage_order") != 0;
    int64_t *index = run->outputs[0].data, count = qn_shape_count(&run->outputs[0].shape);
    for (int64_t i = 0; i < count; i++) {
        qn_op_place at = qn_op_place_of(w->out, i / w->c);
        int64_t pixel = qn_op_window_pixel(w, &at, get_choice(&run->inputs[0], i)), flat = 0;
        qn_op_place full = qn_op_place_of(w->in, pixel > 0 ? pixel : 0);
        for (int d = 0; d < 3; d++) {
            int k = column ? 2 - d : d;
            flat = flat * w->in[k] + full.at[k];
        }
        index[i] = (full.n * w->c + i % w->c) * w->in[0] * w->in[1] * w->in[2] + flat;
    }
}

/* The node's own attributes (the first `count`) and input_size, which is no attribute of LpPoolGrad. */
static qn_value grad_node(const qn_op_vjp *in, const char *op, const qn_value *inputs,
                          int inputs_count, int count)
{
    const qn_shape *x = &in->types->inputs[0].shape;
    qn_attr attrs[QN_OP_ATTRS_MAX], size = {.name = "input_size", .kind = QN_ATTR_INTS};
    memcpy(attrs, in->types->attrs, (size_t)count * sizeof(*attrs));
    size.count = x->rank - 2;
    memcpy(size.ints, x->dims + 1, (size_t)size.count * sizeof *x->dims);
    attrs[count] = size;
    return qn_graph_node(in->graph, op, inputs, inputs_count, attrs, count + 1);
}
static void max_vjp(const qn_op_vjp *in, qn_value *ret)
{
    qn_value inputs[] = {in->grads[0], in->outputs[1]};
    if (in->grads[0] != QN_NONE)
        ret[0] = grad_node(in, "MaxPoolGrad", inputs, 2, 6);
}
static void avg_vjp(const qn_op_vjp *in, qn_value *ret)
{
    ret[0] = grad_node(in, "AveragePoolGrad", in->grads, 1, 7);
}
static void lp_vjp(const qn_op_vjp *in, qn_value *ret)
{
    qn_value inputs[] = {in->grads[0], in->inputs[0], in->outputs[0]};
    ret[0] = qn_op_like_node(in, "LpPoolGrad", inputs, 3);
}

/* One for every place of every window. */
static int64_t pool_flops(const qn_op_types *types)
{
    int count = 0;
    const int64_t *kernel = qn_op_attr_ints(types, "kernel_shape", &count);
    int64_t x = qn_shape_count(&types->inputs[0].shape), places = 1;
    int64_t y = qn_shape_count(&types->outputs[0].shape);
    for (int i = 0; i < count; i++)
        places *= kernel[i];
    return (x < y ? x : y) * places;
}

#define WINDOW_ATTRS                                                                               \
    {.name = "kernel_shape", .kind = QN_ATTR_INTS, .required = true},                              \
        {.name = "strides", .kind = QN_ATTR_INTS}, {.name = "pads", .kind = QN_ATTR_INTS},         \
        {.name = "dilations", .kind = QN_ATTR_INTS}, OP_AUTO_PAD, OP_CEIL_MODE
#define COUNT_PAD                                                                                  \
    {                                                                                              \
        .name = "count_include_pad", .kind = QN_ATTR_INT, .high = 1                                \
    }
#define NORM                                                                                       \
    {                                                                                              \
        .name = "p", .kind = QN_ATTR_INT, .low = 1, .high = 64, .value = 2                         \
    }
static const qn_attr_spec max_attrs[] = {WINDOW_ATTRS, {0}};
static const qn_attr_spec max_grad_attrs[] = {WINDOW_ATTRS, OP_INPUT_SIZE, {0}};
static const qn_attr_spec avg_attrs[] = {WINDOW_ATTRS, COUNT_PAD, {0}};
static const qn_attr_spec avg_grad_attrs[] = {WINDOW_ATTRS, COUNT_PAD, OP_INPUT_SIZE, {0}};
static const qn_attr_spec lp_attrs[] = {WINDOW_ATTRS, NORM, {0}};
static const qn_attr_spec indices_attrs[] = {
    WINDOW_ATTRS,
    OP_INPUT_SIZE,
    {.name = "storage_order", .kind = QN_ATTR_INT, .high = 1},
    {0},
};

#define SAMPLE(type, count, ...)                                                                   \
    {                                                                                              \
        .inputs_count = 1, .inputs = {type}, .low = -1, .high = 1, .attrs_count = (count),         \
        .attrs = {                                                                                 \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }
/* Integers are drawn below `high`: the choice. */
#define CHOSEN(a, b, places, count, ...)                                                           \
    {                                                                                              \
        .inputs_count = 2, .inputs = {a, b}, .low = -1, .high = (places), .attrs_count = (count),  \
        .attrs = {                                                                                 \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }
#define KERNEL(...)  OP_AINTS("kernel_shape", __VA_ARGS__)
#define STRIDES(...) OP_AINTS("strides", __VA_ARGS__)
#define PADS(...)    OP_AINTS("pads", __VA_ARGS__)
#define SIZE(...)    OP_AINTS("input_size", __VA_ARGS__)
static const qn_op_sample max_samples[] = {
    SAMPLE(OP_F64(2, 4, 6, 3), 2, KERNEL(2, 2), STRIDES(2, 2)),
    SAMPLE(OP_F64(1, 5, 5, 2), 3, KERNEL(3, 3), STRIDES(2, 1), PADS(1, 1, 0, 1)),
    SAMPLE(OP_F64(1, 6, 5, 2), 2, KERNEL(2, 2), OP_AINTS("dilations", 2, 3)),
    SAMPLE(OP_F64(1, 16, 17, 1), 1, KERNEL(16, 16)),
    SAMPLE(OP_F64(2, 6, 5, 2), 3, KERNEL(3, 2), STRIDES(2, 2), OP_AI("ceil_mode", 1)),
    SAMPLE(OP_F64(1, 7, 5, 2), 3, KERNEL(3, 3), STRIDES(2, 2), OP_AS("auto_pad", "SAME_LOWER")),
    SAMPLE(OP_F64(2, 13, 5), 3, KERNEL(3), STRIDES(2), PADS(1, 2)),
    SAMPLE(OP_F64(1, 5, 4, 6, 2), 4, KERNEL(2, 3, 2), STRIDES(2, 1, 3), PADS(1, 0, 1, 0, 1, 0),
           OP_AINTS("dilations", 2, 1, 1)),
    SAMPLE(OP_F64(1, 7, 7, 7, 1), 1, KERNEL(7, 7, 6)),
};
static const qn_op_sample avg_samples[] = {
    SAMPLE(OP_F64(2, 4, 6, 3), 2, KERNEL(2, 2), STRIDES(2, 2)),
    SAMPLE(OP_F64(1, 5, 5, 2), 2, KERNEL(3, 3), PADS(1, 1, 0, 1)),
    SAMPLE(OP_F64(1, 5, 5, 2), 3, KERNEL(3, 3), PADS(1, 1, 0, 1), OP_AI("count_include_pad", 1)),
    SAMPLE(OP_F64(1, 6, 6, 2), 5, KERNEL(3, 3), STRIDES(2, 2), PADS(0, 1, 0, 0),
           OP_AI("ceil_mode", 1), OP_AI("count_include_pad", 1)),
    SAMPLE(OP_F64(1, 7, 6, 2), 3, KERNEL(3, 2), OP_AINTS("dilations", 2, 3),
           OP_AS("auto_pad", "SAME_UPPER")),
    SAMPLE(OP_F64(3, 11, 2), 3, KERNEL(4), STRIDES(3), OP_AI("ceil_mode", 1)),
    SAMPLE(OP_F64(1, 5, 4, 6, 2), 4, KERNEL(2, 3, 2), STRIDES(2, 1, 3), PADS(1, 0, 1, 0, 1, 0),
           OP_AI("count_include_pad", 1)),
};
static const qn_op_sample lp_samples[] = {
    SAMPLE(OP_F64(2, 4, 6, 3), 2, KERNEL(2, 2), STRIDES(2, 2)),
    SAMPLE(OP_F64(1, 5, 5, 2), 3, KERNEL(3, 3), PADS(1, 1, 0, 1), OP_AI("p", 3)),
    SAMPLE(OP_F64(1, 7, 3), 3, KERNEL(2), OP_AI("p", 1), OP_AI("ceil_mode", 1)),
    SAMPLE(OP_F64(1, 3, 4, 3, 2), 1, KERNEL(2, 2, 2)),
};
static const qn_op_sample max_grad_samples[] = {
    CHOSEN(OP_F64(2, 2, 3, 3), OP_U8(2, 2, 3, 3), 4, 3, KERNEL(2, 2), STRIDES(2, 2), SIZE(4, 6)),
    CHOSEN(OP_F64(2, 4, 3), OP_U8(2, 4, 3), 3, 3, KERNEL(3), STRIDES(2), SIZE(9)),
    CHOSEN(OP_F64(1, 2, 3, 2, 3), OP_U8(1, 2, 3, 2, 3), 8, 3, KERNEL(2, 2, 2), STRIDES(2, 1, 1),
           SIZE(4, 4, 3)),
};
static const qn_op_sample avg_grad_samples[] = {
    SAMPLE(OP_F64(2, 2, 3, 3), 3, KERNEL(2, 2), STRIDES(2, 2), SIZE(4, 6)),
    SAMPLE(OP_F64(1, 2, 3, 2, 3), 3, KERNEL(2, 2, 2), STRIDES(2, 1, 1), SIZE(4, 4, 3)),
};
static const qn_op_sample lp_grad_samples[] = {
    {.inputs_count = 3,
     .inputs = {OP_F64(2, 2, 3, 3), OP_F64(2, 4, 6, 3), OP_F64(2, 2, 3, 3)},
     .low = 0.5,
     .high = 2,
     .attrs_count = 3,
     .attrs = {KERNEL(2, 2), STRIDES(2, 2), OP_AI("p", 3)}},
};
static const qn_op_sample indices_samples[] = {
    {.inputs_count = 1,
     .inputs = {OP_U8(2, 2, 3, 3)},
     .high = 4,
     .attrs_count = 3,
     .attrs = {KERNEL(2, 2), STRIDES(2, 2), SIZE(4, 6)}},
    {.inputs_count = 1,
     .inputs = {OP_U8(1, 2, 3, 2, 3)},
     .high = 8,
     .attrs_count = 3,
     .attrs = {KERNEL(2, 2, 2), SIZE(3, 4, 3), OP_AI("storage_order", 1)}},
};

#define ROW(op_name, outputs, list, infer_fn, stem, flops_fn, table)                               \
    {                                                                                              \
        .name = (op_name), .inputs_min = 1, .inputs_max = 1, .outputs_count = (outputs),           \
        .attrs = (list), .infer = (infer_fn), .vjp = stem##_vjp, .ref = stem##_ref,                \
        .flops = (flops_fn), OP_SAMPLES(table)                                                     \
    }
#define GRAD_ROW(op_name, inputs, list, infer_fn, ref_fn, table)                                   \
    {                                                                                              \
        .name = (op_name), .inputs_min = (inputs), .inputs_max = (inputs), .outputs_count = 1,     \
        .flags = QN_OP_NO_GRADIENT, .attrs = (list), .infer = (infer_fn), .ref = (ref_fn),         \
        .flops = pool_flops, OP_SAMPLES(table)                                                     \
    }

const qn_op qn_ops_pool[] = {
    ROW("MaxPool", 2, max_attrs, pool_infer, max, pool_flops, max_samples),
    ROW("AveragePool", 1, avg_attrs, pool_infer, avg, pool_flops, avg_samples),
    ROW("LpPool", 1, lp_attrs, pool_infer, lp, pool_flops, lp_samples),
    GRAD_ROW("MaxPoolGrad", 2, max_grad_attrs, pool_grad_infer, max_grad_ref, max_grad_samples),
    GRAD_ROW("AveragePoolGrad", 1, avg_grad_attrs, pool_grad_infer, avg_grad_ref, avg_grad_samples),
    GRAD_ROW("LpPoolGrad", 3, lp_attrs, lp_grad_infer, lp_grad_ref, lp_grad_samples),
    GRAD_ROW("MaxPoolIndices", 1, indices_attrs, indices_infer, indices_ref, indices_samples),
    {0},
};
