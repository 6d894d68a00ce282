/*
 * Pooling, channels last: largest and average over windows, and over whole images (the global forms are a window
 * of the image's size). The largest keeps its place, so that the gradient needs neither x nor y.
 */
#include "graph/op/common.h"

#include <math.h>
#include <string.h>

typedef struct {
    int64_t n, h, w, c, oh, ow;
    qn_op_window window;
    bool count_include_pad;
} pool_sizes;

/* Where in x the `place`-th element of the window of output `flat` lies; -1 = outside. */
static int64_t pool_place(const pool_sizes *z, int64_t flat, int64_t place)
{
    const qn_op_window *win = &z->window;
    int64_t c = flat % z->c, s = flat / z->c % z->ow, r = flat / z->c / z->ow % z->oh;
    int64_t n = flat / z->c / z->ow / z->oh;
    int64_t row = r * win->stride[0] - win->pads[0] + place / win->kernel[1] * win->dilation[0];
    int64_t col = s * win->stride[1] - win->pads[1] + place % win->kernel[1] * win->dilation[1];
    if (row < 0 || row >= z->h || col < 0 || col >= z->w)
        return -1;
    return ((n * z->h + row) * z->w + col) * z->c + c;
}

/* By what an average divides: the places in x, or with count_include_pad all of the window. */
static double pool_divisor(const pool_sizes *z, int64_t flat)
{
    int64_t all = z->window.kernel[0] * z->window.kernel[1], inside = 0;
    if (z->count_include_pad)
        return (double)all;
    for (int64_t place = 0; place < all; place++)
        inside += pool_place(z, flat, place) >= 0;
    return (double)inside;
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

static qn_status sizes_of(const qn_op_types *types, const qn_shape *x, pool_sizes *ret,
                          qn_error *err)
{
    pool_sizes z = {.n = x->dims[0], .h = x->dims[1], .w = x->dims[2], .c = x->dims[3]};
    int64_t size[2];
    QN_TRY(qn_op_window_read(types, &z.window, err));
    for (int i = 0; i < 4; i++)
        if (z.window.pads[i] >= (z.window.kernel[i % 2] - 1) * z.window.dilation[i % 2] + 1)
            QN_FAIL(err, QN_ERR_ARG, "padding of %lld leaves windows without a pixel",
                    (long long)z.window.pads[i]);
    QN_TRY(qn_op_window_size(&z.window, x, size, err));
    z.oh = size[0];
    z.ow = size[1];
    *ret = z;
    return QN_OK;
}

/* A window over the whole image. */
static pool_sizes global_sizes(const qn_shape *x)
{
    return (pool_sizes){
        .n = x->dims[0],
        .h = x->dims[1],
        .w = x->dims[2],
        .c = x->dims[3],
        .oh = 1,
        .ow = 1,
        .window = {.kernel = {x->dims[1], x->dims[2]}, .stride = {1, 1}, .dilation = {1, 1}}};
}

static void add_count_include_pad(const qn_op_types *types, pool_sizes *z)
{
    z->count_include_pad = qn_op_attr_i(types, "count_include_pad") != 0;
}

/* u8 holds the place in all windows but very large ones. */
static qn_dtype choice_dtype(const qn_op_window *window)
{
    return window->kernel[0] * window->kernel[1] <= 255 ? QN_DTYPE_U8 : QN_DTYPE_I32;
}

static qn_status pool_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    pool_sizes z;
    QN_TRY(qn_op_want_float(types, 0, err));
    QN_TRY(qn_op_want_rank(types, 0, 4, err));
    QN_TRY(sizes_of(types, &types->inputs[0].shape, &z, err));
    qn_shape y = {4, {z.n, z.oh, z.ow, z.c}};
    ret_outputs[0] = (qn_type){types->inputs[0].dtype, y};
    if (types->outputs_count > 1)
        ret_outputs[1] = (qn_type){choice_dtype(&z.window), y};
    return QN_OK;
}

static qn_status global_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    const qn_shape *x = &types->inputs[0].shape;
    QN_TRY(qn_op_want_float(types, 0, err));
    QN_TRY(qn_op_want_rank(types, 0, 4, err));
    if (x->dims[1] < 1 || x->dims[2] < 1)
        QN_FAIL(err, QN_ERR_ARG, "height and width of images must be known and not 0");
    qn_shape y = {4, {x->dims[0], 1, 1, x->dims[3]}};
    ret_outputs[0] = (qn_type){types->inputs[0].dtype, y};
    if (types->outputs_count > 1)
        ret_outputs[1] = (qn_type){QN_DTYPE_I32, y};
    return QN_OK;
}

static qn_status input_shape(const qn_op_types *types, qn_shape *ret, qn_error *err)
{
    int64_t hw[2];
    const int64_t *dy = types->inputs[0].shape.dims;
    QN_TRY(qn_op_want_float(types, 0, err));
    QN_TRY(qn_op_want_rank(types, 0, 4, err));
    QN_TRY(qn_op_ints(types, "input_hw", 2, 0, hw, err));
    *ret = (qn_shape){4, {dy[0], hw[0], hw[1], dy[3]}};
    return QN_OK;
}

static qn_status check_choice(const qn_op_types *types, qn_dtype dtype, qn_error *err)
{
    if (types->inputs_count < 2)
        return QN_OK;
    QN_TRY(qn_op_want_dtype(types, 1, dtype, err));
    return qn_op_want_shape(types, 1, &types->inputs[0].shape, err);
}

static qn_status pool_grad_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    qn_shape x;
    pool_sizes z;
    QN_TRY(input_shape(types, &x, err));
    QN_TRY(sizes_of(types, &x, &z, err));
    qn_shape dy = {4, {z.n, z.oh, z.ow, z.c}};
    QN_TRY(qn_op_want_shape(types, 0, &dy, err));
    QN_TRY(check_choice(types, choice_dtype(&z.window), err));
    ret_outputs[0] = (qn_type){types->inputs[0].dtype, x};
    return QN_OK;
}

static qn_status global_grad_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    qn_shape x;
    QN_TRY(input_shape(types, &x, err));
    qn_shape dy = {4, {x.dims[0], 1, 1, x.dims[3]}};
    QN_TRY(qn_op_want_shape(types, 0, &dy, err));
    QN_TRY(check_choice(types, QN_DTYPE_I32, err));
    ret_outputs[0] = (qn_type){types->inputs[0].dtype, x};
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
static void global_max_ref(const qn_op_run *run)
{
    pool_sizes z = global_sizes(&run->inputs[0].shape);
    OP_FLOAT_CALL(run->inputs[0].dtype, max_pool, run, &z);
}
static void global_max_grad_ref(const qn_op_run *run)
{
    pool_sizes z = global_sizes(&run->outputs[0].shape);
    OP_FLOAT_CALL(run->inputs[0].dtype, max_pool_grad, run, &z);
}
static void global_avg_ref(const qn_op_run *run)
{
    pool_sizes z = global_sizes(&run->inputs[0].shape);
    OP_FLOAT_CALL(run->inputs[0].dtype, avg_pool, run, &z, false);
}
static void global_avg_grad_ref(const qn_op_run *run)
{
    pool_sizes z = global_sizes(&run->outputs[0].shape);
    OP_FLOAT_CALL(run->inputs[0].dtype, avg_pool, run, &z, true);
}

/* The node's own attributes (the first `count`), input_hw, and the choice where there is one. */
static qn_value grad_node(const qn_op_vjp *in, const char *op, int count)
{
    const int64_t *x = in->types->inputs[0].shape.dims;
    bool chosen = in->types->outputs_count > 1;
    qn_attr attrs[QN_OP_ATTRS_MAX];
    if (count > 0)
        memcpy(attrs, in->types->attrs, (size_t)count * sizeof(*attrs));
    attrs[count] = QN_ATTR_2I("input_hw", x[1], x[2]);
    qn_value inputs[2] = {in->grads[0], chosen ? in->outputs[1] : QN_NONE};
    return qn_graph_node(in->graph, op, inputs, chosen ? 2 : 1, attrs, count + 1);
}
static void max_vjp(const qn_op_vjp *in, qn_value *ret)
{
    ret[0] = grad_node(in, "MaxPoolGrad", 4);
}
static void avg_vjp(const qn_op_vjp *in, qn_value *ret)
{
    ret[0] = grad_node(in, "AveragePoolGrad", 4);
}
static void global_max_vjp(const qn_op_vjp *in, qn_value *ret)
{
    ret[0] = grad_node(in, "GlobalMaxPoolGrad", 0);
}
static void global_avg_vjp(const qn_op_vjp *in, qn_value *ret)
{
    ret[0] = grad_node(in, "GlobalAveragePoolGrad", 0);
}

/* One for every place of every window. */
static int64_t pool_flops(const qn_op_types *types)
{
    int count = 0;
    const int64_t *kernel = qn_op_attr_ints(types, "kernel_shape", &count);
    int64_t x = qn_shape_count(&types->inputs[0].shape);
    int64_t y = qn_shape_count(&types->outputs[0].shape);
    return (x < y ? x : y) * (count == 2 ? kernel[0] * kernel[1] : 1);
}
static int64_t input_flops(const qn_op_types *types)
{
    return qn_shape_count(&types->inputs[0].shape);
}

#define WINDOW_ATTRS                                                                               \
    {.name = "kernel_shape", .kind = QN_ATTR_INTS, .required = true},                              \
        {.name = "strides", .kind = QN_ATTR_INTS},                                                 \
    {                                                                                              \
        .name = "pads", .kind = QN_ATTR_INTS                                                       \
    }
#define DILATIONS                                                                                  \
    {                                                                                              \
        .name = "dilations", .kind = QN_ATTR_INTS                                                  \
    }
#define COUNT_PAD                                                                                  \
    {                                                                                              \
        .name = "count_include_pad", .kind = QN_ATTR_INT, .high = 1                                \
    }
#define INPUT_HW                                                                                   \
    {                                                                                              \
        .name = "input_hw", .kind = QN_ATTR_INTS, .required = true                                 \
    }
static const qn_attr_spec max_attrs[] = {WINDOW_ATTRS, DILATIONS, {0}};
static const qn_attr_spec max_grad_attrs[] = {WINDOW_ATTRS, DILATIONS, INPUT_HW, {0}};
static const qn_attr_spec avg_attrs[] = {WINDOW_ATTRS, COUNT_PAD, {0}};
static const qn_attr_spec avg_grad_attrs[] = {WINDOW_ATTRS, COUNT_PAD, INPUT_HW, {0}};
static const qn_attr_spec global_grad_attrs[] = {INPUT_HW, {0}};

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
static const qn_op_sample max_samples[] = {
    SAMPLE(OP_F64(2, 4, 6, 3), 2, OP_AINTS("kernel_shape", 2, 2), OP_AINTS("strides", 2, 2)),
    SAMPLE(OP_F64(1, 5, 5, 2), 3, OP_AINTS("kernel_shape", 3, 3), OP_AINTS("strides", 2, 1),
           OP_AINTS("pads", 1, 1, 0, 1)),
    SAMPLE(OP_F64(1, 6, 5, 2), 2, OP_AINTS("kernel_shape", 2, 2), OP_AINTS("dilations", 2, 3)),
    SAMPLE(OP_F64(1, 16, 17, 1), 1, OP_AINTS("kernel_shape", 16, 16)),
};
static const qn_op_sample avg_samples[] = {
    SAMPLE(OP_F64(2, 4, 6, 3), 2, OP_AINTS("kernel_shape", 2, 2), OP_AINTS("strides", 2, 2)),
    SAMPLE(OP_F64(1, 5, 5, 2), 2, OP_AINTS("kernel_shape", 3, 3), OP_AINTS("pads", 1, 1, 0, 1)),
    SAMPLE(OP_F64(1, 5, 5, 2), 3, OP_AINTS("kernel_shape", 3, 3), OP_AINTS("pads", 1, 1, 0, 1),
           OP_AI("count_include_pad", 1)),
};
static const qn_op_sample global_samples[] = {
    SAMPLE(OP_F64(2, 4, 3, 5), 0, {0}),
};
static const qn_op_sample max_grad_samples[] = {
    CHOSEN(OP_F64(2, 2, 3, 3), OP_U8(2, 2, 3, 3), 4, 3, OP_AINTS("kernel_shape", 2, 2),
           OP_AINTS("strides", 2, 2), OP_AINTS("input_hw", 4, 6)),
};
static const qn_op_sample avg_grad_samples[] = {
    SAMPLE(OP_F64(2, 2, 3, 3), 3, OP_AINTS("kernel_shape", 2, 2), OP_AINTS("strides", 2, 2),
           OP_AINTS("input_hw", 4, 6)),
};
static const qn_op_sample global_max_grad_samples[] = {
    CHOSEN(OP_F64(2, 1, 1, 3), OP_I32(2, 1, 1, 3), 20, 1, OP_AINTS("input_hw", 4, 5)),
};
static const qn_op_sample global_avg_grad_samples[] = {
    SAMPLE(OP_F64(2, 1, 1, 3), 1, OP_AINTS("input_hw", 4, 5)),
};

#define ROW(op_name, outputs, list, infer_fn, stem, flops_fn, table)                               \
    {                                                                                              \
        .name = (op_name), .inputs_min = 1, .inputs_max = 1, .outputs_count = (outputs),           \
        .attrs = (list), .infer = (infer_fn), .vjp = stem##_vjp, .ref = stem##_ref,                \
        .flops = (flops_fn), OP_SAMPLES(table)                                                     \
    }
#define GRAD_ROW(op_name, inputs, list, infer_fn, ref_fn, flops_fn, table)                         \
    {                                                                                              \
        .name = (op_name), .inputs_min = (inputs), .inputs_max = (inputs), .outputs_count = 1,     \
        .flags = QN_OP_NO_GRADIENT, .attrs = (list), .infer = (infer_fn), .ref = (ref_fn),         \
        .flops = (flops_fn), OP_SAMPLES(table)                                                     \
    }

const qn_op qn_ops_pool[] = {
    ROW("MaxPool", 2, max_attrs, pool_infer, max, pool_flops, max_samples),
    ROW("AveragePool", 1, avg_attrs, pool_infer, avg, pool_flops, avg_samples),
    ROW("GlobalMaxPool", 2, NULL, global_infer, global_max, input_flops, global_samples),
    ROW("GlobalAveragePool", 1, NULL, global_infer, global_avg, input_flops, global_samples),
    GRAD_ROW("MaxPoolGrad", 2, max_grad_attrs, pool_grad_infer, max_grad_ref, pool_flops,
             max_grad_samples),
    GRAD_ROW("AveragePoolGrad", 1, avg_grad_attrs, pool_grad_infer, avg_grad_ref, pool_flops,
             avg_grad_samples),
    GRAD_ROW("GlobalMaxPoolGrad", 2, global_grad_attrs, global_grad_infer, global_max_grad_ref,
             NULL, global_max_grad_samples),
    GRAD_ROW("GlobalAveragePoolGrad", 1, global_grad_attrs, global_grad_infer, global_avg_grad_ref,
             NULL, global_avg_grad_samples),
    {0},
};
