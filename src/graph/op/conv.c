/*
 * Two-dimensional convolution, channels last, with bias and a fused activation, and its gradients to
 * the input and to the weights.
 *
 * y[n, r, s, o] = sum over i, j, c of x[n, r * stride - top + i * dilation, ..., c] w[i, j, c, o]; places
 * outside x are zero. A group g has inputs [g * cin / groups, ...) and outputs [g * cout / groups, ...).
 */
#include "graph/op/common.h"

#include <string.h>

typedef struct {
    int64_t n, h, w, cin, oh, ow, cout, groups;
    qn_op_window window;
} conv_sizes;

/* The flat index of y as [n, row, column, channel]. */
static void conv_index(const conv_sizes *z, int64_t flat, int64_t ret[4])
{
    ret[3] = flat % z->cout;
    ret[2] = flat / z->cout % z->ow;
    ret[1] = flat / z->cout / z->ow % z->oh;
    ret[0] = flat / z->cout / z->ow / z->oh;
}

/* Where in x the weight at `place` of the window of y[at] falls; false = outside. */
static bool conv_place(const conv_sizes *z, const int64_t at[4], int64_t place, int64_t *ret_row,
                       int64_t *ret_col)
{
    const qn_op_window *win = &z->window;
    int64_t i = place / win->kernel[1], j = place % win->kernel[1];
    *ret_row = at[1] * win->stride[0] - win->pads[0] + i * win->dilation[0];
    *ret_col = at[2] * win->stride[1] - win->pads[1] + j * win->dilation[1];
    return *ret_row >= 0 && *ret_row < z->h && *ret_col >= 0 && *ret_col < z->w;
}

#define OP_BODY "graph/op/conv_body.h"
#include "graph/op/typed.h"

static qn_status check_groups(const conv_sizes *z, int64_t weight_cin, qn_error *err)
{
    if (z->groups < 1 || z->cin < 1 || z->cin % z->groups || z->cout % z->groups)
        QN_FAIL(err, QN_ERR_ARG, "%lld groups do not divide %lld input and %lld output channels",
                (long long)z->groups, (long long)z->cin, (long long)z->cout);
    if (weight_cin != z->cin / z->groups)
        QN_FAIL(err, QN_ERR_ARG,
                "the weights take %lld channels, the input has %lld in %lld groups",
                (long long)weight_cin, (long long)z->cin, (long long)z->groups);
    return QN_OK;
}

/* Sizes from the shapes of x and the weights; y's follow. */
static qn_status sizes_of(const qn_op_types *types, const qn_shape *x, const qn_shape *weight,
                          conv_sizes *ret, qn_error *err)
{
    conv_sizes z = {.n = x->dims[0], .h = x->dims[1], .w = x->dims[2], .cin = x->dims[3]};
    int64_t size[2];
    z.cout = weight->dims[3];
    z.groups = qn_op_attr_i(types, "group");
    QN_TRY(check_groups(&z, weight->dims[2], err));
    QN_TRY(qn_op_window_read(types, &z.window, err));
    memcpy(z.window.kernel, weight->dims, sizeof(z.window.kernel));
    QN_TRY(qn_op_window_size(&z.window, x, size, err));
    z.oh = size[0];
    z.ow = size[1];
    *ret = z;
    return QN_OK;
}

static qn_status conv_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    conv_sizes z;
    QN_TRY(qn_op_want_float(types, 0, err));
    QN_TRY(qn_op_want_dtype(types, 1, types->inputs[0].dtype, err));
    QN_TRY(qn_op_want_rank(types, 0, 4, err));
    QN_TRY(qn_op_want_rank(types, 1, 4, err));
    QN_TRY(sizes_of(types, &types->inputs[0].shape, &types->inputs[1].shape, &z, err));
    if (qn_op_has(types, 2)) {
        qn_shape bias = {1, {z.cout}};
        QN_TRY(qn_op_want_dtype(types, 2, types->inputs[0].dtype, err));
        QN_TRY(qn_op_want_shape(types, 2, &bias, err));
    }
    ret_outputs[0] = (qn_type){types->inputs[0].dtype, {4, {z.n, z.oh, z.ow, z.cout}}};
    return QN_OK;
}

static void conv_ref(const qn_op_run *run)
{
    conv_sizes z;
    qn_status status = sizes_of(run->types, &run->inputs[0].shape, &run->inputs[1].shape, &z, NULL);
    QN_ASSERT(status == QN_OK);
    OP_FLOAT_CALL(run->inputs[0].dtype, conv, run, &z);
}

/* x's shape from dy's batch, `input_hw` and the weights. */
static qn_status data_shape(const qn_op_types *types, qn_shape *ret, qn_error *err)
{
    int64_t hw[2];
    QN_TRY(qn_op_ints(types, "input_hw", 2, 0, hw, err));
    *ret = (qn_shape){4,
                      {types->inputs[0].shape.dims[0], hw[0], hw[1],
                       types->inputs[1].shape.dims[2] * qn_op_attr_i(types, "group")}};
    return QN_OK;
}

static qn_status grad_data_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    qn_shape x;
    conv_sizes z;
    QN_TRY(qn_op_want_float(types, 0, err));
    QN_TRY(qn_op_want_dtype(types, 1, types->inputs[0].dtype, err));
    QN_TRY(qn_op_want_rank(types, 0, 4, err));
    QN_TRY(qn_op_want_rank(types, 1, 4, err));
    QN_TRY(data_shape(types, &x, err));
    QN_TRY(sizes_of(types, &x, &types->inputs[1].shape, &z, err));
    qn_shape dy = {4, {z.n, z.oh, z.ow, z.cout}};
    QN_TRY(qn_op_want_shape(types, 0, &dy, err));
    ret_outputs[0] = (qn_type){types->inputs[0].dtype, x};
    return QN_OK;
}

static void grad_data_ref(const qn_op_run *run)
{
    conv_sizes z;
    qn_status status =
        sizes_of(run->types, &run->outputs[0].shape, &run->inputs[1].shape, &z, NULL);
    QN_ASSERT(status == QN_OK);
    OP_FLOAT_CALL(run->inputs[0].dtype, conv_grad_data, run, &z);
}

static qn_status weight_shape(const qn_op_types *types, qn_shape *ret, qn_error *err)
{
    int64_t kernel[2], groups = qn_op_attr_i(types, "group");
    QN_TRY(qn_op_ints(types, "kernel_shape", 2, 0, kernel, err));
    *ret = (qn_shape){4,
                      {kernel[0], kernel[1], types->inputs[0].shape.dims[3] / groups,
                       types->inputs[1].shape.dims[3]}};
    return QN_OK;
}

static qn_status grad_weight_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    qn_shape weight;
    conv_sizes z;
    QN_TRY(qn_op_want_float(types, 0, err));
    QN_TRY(qn_op_want_dtype(types, 1, types->inputs[0].dtype, err));
    QN_TRY(qn_op_want_rank(types, 0, 4, err));
    QN_TRY(qn_op_want_rank(types, 1, 4, err));
    QN_TRY(weight_shape(types, &weight, err));
    QN_TRY(sizes_of(types, &types->inputs[0].shape, &weight, &z, err));
    qn_shape dy = {4, {z.n, z.oh, z.ow, z.cout}};
    QN_TRY(qn_op_want_shape(types, 1, &dy, err));
    ret_outputs[0] = (qn_type){types->inputs[0].dtype, weight};
    ret_outputs[1] = (qn_type){types->inputs[0].dtype, {1, {z.cout}}};
    return QN_OK;
}

static void grad_weight_ref(const qn_op_run *run)
{
    conv_sizes z;
    qn_status status =
        sizes_of(run->types, &run->inputs[0].shape, &run->outputs[0].shape, &z, NULL);
    QN_ASSERT(status == QN_OK);
    OP_FLOAT_CALL(run->inputs[0].dtype, conv_grad_weight, run, &z);
}

/* The window's attributes of this node and one more list of two. */
static qn_value grad_node(const qn_op_vjp *in, const char *op, qn_value a, qn_value b,
                          const char *extra, const int64_t two[2])
{
    qn_attr attrs[5] = {in->types->attrs[0], in->types->attrs[1], in->types->attrs[2],
                        in->types->attrs[3], QN_ATTR_2I(extra, two[0], two[1])};
    return qn_graph_node(in->graph, op, (qn_value[]){a, b}, 2, attrs, 5);
}

static void conv_vjp(const qn_op_vjp *in, qn_value *ret)
{
    qn_value dz = qn_op_activation_vjp(in), x = in->inputs[0], weight = in->inputs[1];
    ret[0] =
        grad_node(in, "ConvGradData", dz, weight, "input_hw", in->types->inputs[0].shape.dims + 1);
    ret[1] =
        grad_node(in, "ConvGradWeight", x, dz, "kernel_shape", in->types->inputs[1].shape.dims);
    if (qn_op_has(in->types, 2))
        ret[2] = ret[1] == QN_NONE ? QN_NONE : ret[1] + 1;
}

/* Two for every weight that an output (in, either way) is made of. */
static int64_t conv_flops(const qn_op_types *types)
{
    const int64_t *weight = types->inputs[1].shape.dims;
    return 2 * qn_shape_count(&types->outputs[0].shape) * weight[0] * weight[1] * weight[2];
}
static int64_t grad_data_flops(const qn_op_types *types)
{
    const int64_t *weight = types->inputs[1].shape.dims;
    return 2 * qn_shape_count(&types->inputs[0].shape) * weight[0] * weight[1] * weight[2];
}
static int64_t grad_weight_flops(const qn_op_types *types)
{
    const int64_t *weight = types->outputs[0].shape.dims;
    return 2 * qn_shape_count(&types->inputs[1].shape) * weight[0] * weight[1] * weight[2];
}

/* The first four are what a gradient node takes over. */
#define WINDOW_ATTRS                                                                               \
    {.name = "strides", .kind = QN_ATTR_INTS}, {.name = "pads", .kind = QN_ATTR_INTS},             \
        {.name = "dilations", .kind = QN_ATTR_INTS},                                               \
    {                                                                                              \
        .name = "group", .kind = QN_ATTR_INT, .low = 1, .high = 65536, .value = 1                  \
    }
static const qn_attr_spec conv_attrs[] = {
    WINDOW_ATTRS,
    OP_ACTIVATION_ATTRS,
    {0},
};
static const qn_attr_spec grad_data_attrs[] = {
    WINDOW_ATTRS,
    {.name = "input_hw", .kind = QN_ATTR_INTS, .required = true},
    {0},
};
static const qn_attr_spec grad_weight_attrs[] = {
    WINDOW_ATTRS,
    {.name = "kernel_shape", .kind = QN_ATTR_INTS, .required = true},
    {0},
};

#define SAMPLE(a, b, c, count, ...)                                                                \
    {                                                                                              \
        .inputs_count = 3, .inputs = {a, b, c}, .low = -1, .high = 1, .attrs_count = (count),      \
        .attrs = {                                                                                 \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }
#define PAIR(a, b, count, ...)                                                                     \
    {                                                                                              \
        .inputs_count = 2, .inputs = {a, b}, .low = -1, .high = 1, .attrs_count = (count),         \
        .attrs = {                                                                                 \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }
static const qn_op_sample conv_samples[] = {
    SAMPLE(OP_F64(2, 5, 4, 3), OP_F64(3, 3, 3, 4), OP_F64(4), 0, {0}),
    PAIR(OP_F64(1, 5, 6, 2), OP_F64(3, 2, 2, 3), 2, OP_AINTS("strides", 2, 1),
         OP_AINTS("pads", 1, 0, 2, 1)),
    SAMPLE(OP_F64(1, 6, 6, 4), OP_F64(2, 3, 2, 6), OP_F64(6), 3, OP_AI("group", 2),
           OP_AINTS("dilations", 2, 1), OP_AS("activation", "tanh")),
    SAMPLE(OP_F64(1, 4, 4, 3), OP_F64(3, 3, 1, 3), OP_F64(3), 3, OP_AI("group", 3),
           OP_AINTS("pads", 1, 1, 1, 1), OP_AS("activation", "gelu")),
    SAMPLE(OP_F64(1, 4, 4, 2), OP_F64(1, 1, 2, 3), OP_F64(3), 2, OP_AINTS("strides", 2, 2),
           OP_AS("activation", "leaky_relu")),
};
static const qn_op_sample grad_data_samples[] = {
    PAIR(OP_F64(2, 3, 2, 4), OP_F64(3, 3, 3, 4), 1, OP_AINTS("input_hw", 5, 4)),
    PAIR(OP_F64(1, 3, 6, 3), OP_F64(3, 2, 2, 3), 3, OP_AINTS("strides", 2, 1),
         OP_AINTS("pads", 1, 0, 2, 1), OP_AINTS("input_hw", 5, 6)),
};
static const qn_op_sample grad_weight_samples[] = {
    PAIR(OP_F64(2, 5, 4, 3), OP_F64(2, 3, 2, 4), 1, OP_AINTS("kernel_shape", 3, 3)),
    PAIR(OP_F64(1, 5, 6, 2), OP_F64(1, 3, 6, 3), 3, OP_AINTS("strides", 2, 1),
         OP_AINTS("pads", 1, 0, 2, 1), OP_AINTS("kernel_shape", 3, 2)),
};

const qn_op qn_ops_conv[] = {
    {.name = "Conv",
     .inputs_min = 2,
     .inputs_max = 3,
     .outputs_count = 1,
     .attrs = conv_attrs,
     .infer = conv_infer,
     .vjp = conv_vjp,
     .ref = conv_ref,
     .flops = conv_flops,
     OP_SAMPLES(conv_samples)},
    {.name = "ConvGradData",
     .inputs_min = 2,
     .inputs_max = 2,
     .outputs_count = 1,
     .flags = QN_OP_NO_GRADIENT,
     .attrs = grad_data_attrs,
     .infer = grad_data_infer,
     .ref = grad_data_ref,
     .flops = grad_data_flops,
     OP_SAMPLES(grad_data_samples)},
    {.name = "ConvGradWeight",
     .inputs_min = 2,
     .inputs_max = 2,
     .outputs_count = 2,
     .flags = QN_OP_NO_GRADIENT,
     .attrs = grad_weight_attrs,
     .infer = grad_weight_infer,
     .ref = grad_weight_ref,
     .flops = grad_weight_flops,
     OP_SAMPLES(grad_weight_samples)},
    {0},
};
