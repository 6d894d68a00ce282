/*
 * Convolution over one, two or three dimensions, channels last, with bias, a tensor added and a fused activation, and its
 * gradients to the input and to the weights.
 *
 * y[n, r, s, o] = sum over i, j, c of x[n, r * stride - top + i * dilation, ..., c] w[i, j, c, o]; places
 * outside x are zero. A group g has inputs [g * cin / groups, ...) and outputs [g * cout / groups, ...).
 */
#include <string.h>

#include "graph/op/common.h"
#include "graph/op/window.h"

typedef struct {
    int64_t cin, cout, groups;
    qn_op_window window;
} conv_sizes;

/* The first of the row's attributes are what a gradient node takes over. */
#define WINDOW_ATTRS                                                                               \
    {.name = "strides", .kind = QN_ATTR_INTS}, {.name = "pads", .kind = QN_ATTR_INTS},             \
        {.name = "dilations", .kind = QN_ATTR_INTS}, OP_AUTO_PAD,                                  \
    {                                                                                              \
        .name = "group", .kind = QN_ATTR_INT, .low = 1, .high = 65536, .value = 1                  \
    }
enum { WINDOW_ATTRS_COUNT = 5 };

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

/* Sizes from the shapes of x and the weights, both of one rank; y's follow. */
static qn_status sizes_of(const qn_op_types *types, const qn_shape *x, const qn_shape *weight,
                          conv_sizes *ret, qn_error *err)
{
    int rank = x->rank - 2;
    conv_sizes z = {.cin = x->dims[rank + 1],
                    .cout = weight->dims[rank + 1],
                    .groups = qn_op_attr_i(types, "group")};
    QN_TRY(check_groups(&z, weight->dims[rank], err));
    QN_TRY(qn_op_window_read(types, x, weight->dims, &z.window, err));
    *ret = z;
    return QN_OK;
}

/* Inputs a and b: of one float type and of the same rank, 3 to 5. */
static qn_status check_pair(const qn_op_types *types, int *ret_rank, qn_error *err)
{
    QN_TRY(qn_op_want_float(types, 0, err));
    QN_TRY(qn_op_want_dtype(types, 1, types->inputs[0].dtype, err));
    QN_TRY(qn_op_spatial_rank(types, 0, ret_rank, err));
    return qn_op_want_rank(types, 1, *ret_rank + 2, err);
}

static qn_status conv_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    conv_sizes z;
    int rank = 0;
    QN_TRY(check_pair(types, &rank, err));
    QN_TRY(sizes_of(types, &types->inputs[0].shape, &types->inputs[1].shape, &z, err));
    qn_type y = {types->inputs[0].dtype, qn_op_window_shape(&z.window, z.window.out, z.cout)};
    if (qn_op_has(types, 2)) {
        QN_TRY(qn_op_want_dtype(types, 2, y.dtype, err));
        QN_TRY(qn_op_want_shape(types, 2, &QN_SHAPE(z.cout), err));
    }
    if (qn_op_has(types, 3)) {
        QN_TRY(qn_op_want_dtype(types, 3, y.dtype, err));
        QN_TRY(qn_op_want_shape(types, 3, &y.shape, err));
    }
    ret_outputs[0] = y;
    return QN_OK;
}

static void conv_ref(const qn_op_run *run)
{
    conv_sizes z;
    qn_status status = sizes_of(run->types, &run->inputs[0].shape, &run->inputs[1].shape, &z, NULL);
    QN_ASSERT(status == QN_OK);
    OP_FLOAT_CALL(run->inputs[0].dtype, conv, run, &z);
}

/* x's shape from dy's batch, `input_size` and the weights. */
static qn_status data_shape(const qn_op_types *types, int rank, qn_shape *ret, qn_error *err)
{
    qn_shape shape = {.rank = rank + 2, .dims = {types->inputs[0].shape.dims[0]}};
    QN_TRY(qn_op_ints(types, "input_size", rank, 0, shape.dims + 1, err));
    shape.dims[rank + 1] = types->inputs[1].shape.dims[rank] * qn_op_attr_i(types, "group");
    *ret = shape;
    return QN_OK;
}

static qn_status grad_data_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    qn_shape x;
    conv_sizes z;
    int rank = 0;
    QN_TRY(check_pair(types, &rank, err));
    QN_TRY(data_shape(types, rank, &x, err));
    QN_TRY(sizes_of(types, &x, &types->inputs[1].shape, &z, err));
    qn_shape dy = qn_op_window_shape(&z.window, z.window.out, z.cout);
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

static qn_status weight_shape(const qn_op_types *types, int rank, qn_shape *ret, qn_error *err)
{
    qn_shape shape = {.rank = rank + 2};
    QN_TRY(qn_op_ints(types, "kernel_shape", rank, 0, shape.dims, err));
    shape.dims[rank] = types->inputs[0].shape.dims[rank + 1] / qn_op_attr_i(types, "group");
    shape.dims[rank + 1] = types->inputs[1].shape.dims[rank + 1];
    *ret = shape;
    return QN_OK;
}

static qn_status grad_weight_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    qn_shape weight;
    conv_sizes z;
    int rank = 0;
    QN_TRY(check_pair(types, &rank, err));
    QN_TRY(weight_shape(types, rank, &weight, err));
    QN_TRY(sizes_of(types, &types->inputs[0].shape, &weight, &z, err));
    qn_shape dy = qn_op_window_shape(&z.window, z.window.out, z.cout);
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

/* The window's attributes of this node and one more list. */
static qn_value grad_node(const qn_op_vjp *in, const char *op, qn_value a, qn_value b,
                          const char *extra, const int64_t *list)
{
    qn_attr attrs[WINDOW_ATTRS_COUNT + 1];
    memcpy(attrs, in->types->attrs, WINDOW_ATTRS_COUNT * sizeof *attrs);
    qn_attr last = {.name = extra, .kind = QN_ATTR_INTS};
    last.count = in->types->inputs[0].shape.rank - 2;
    memcpy(last.ints, list, (size_t)last.count * sizeof *list);
    attrs[WINDOW_ATTRS_COUNT] = last;
    return qn_graph_node(in->graph, op, (qn_value[]){a, b}, 2, attrs, WINDOW_ATTRS_COUNT + 1);
}

static void conv_vjp(const qn_op_vjp *in, qn_value *ret)
{
    qn_value dz = qn_op_activation_vjp(in), x = in->inputs[0], weight = in->inputs[1];
    ret[0] = grad_node(in, "ConvGradData", dz, weight, "input_size",
                       in->types->inputs[0].shape.dims + 1);
    ret[1] =
        grad_node(in, "ConvGradWeight", x, dz, "kernel_shape", in->types->inputs[1].shape.dims);
    if (qn_op_has(in->types, 2))
        ret[2] = ret[1] == QN_NONE ? QN_NONE : ret[1] + 1;
    if (qn_op_has(in->types, 3))
        ret[3] = dz;
}

/* Two for every weight that an output (in, either way) is made of. */
static int64_t flops_of(const qn_shape *outputs, const qn_shape *weight)
{
    int64_t filters = weight->dims[weight->rank - 1];
    return filters ? 2 * qn_shape_count(outputs) * qn_shape_count(weight) / filters : 0;
}
static int64_t conv_flops(const qn_op_types *types)
{
    return flops_of(&types->outputs[0].shape, &types->inputs[1].shape);
}
static int64_t grad_data_flops(const qn_op_types *types)
{
    return flops_of(&types->inputs[0].shape, &types->inputs[1].shape);
}
static int64_t grad_weight_flops(const qn_op_types *types)
{
    return flops_of(&types->inputs[1].shape, &types->outputs[0].shape);
}

static const qn_attr_spec conv_attrs[] = {
    WINDOW_ATTRS,
    OP_ACTIVATION_ATTRS,
    {0},
};
static const qn_attr_spec grad_data_attrs[] = {
    WINDOW_ATTRS,
    OP_INPUT_SIZE,
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
    /* sequences */
    SAMPLE(OP_F64(2, 11, 3), OP_F64(3, 3, 4), OP_F64(4), 2, OP_AINTS("strides", 2),
           OP_AINTS("pads", 2, 1)),
    SAMPLE(OP_F64(1, 13, 5), OP_F64(5, 1, 5), OP_F64(5), 3, OP_AINTS("dilations", 2),
           OP_AS("auto_pad", "SAME_LOWER"), OP_AI("group", 5)),
    PAIR(OP_F64(3, 1, 2), OP_F64(1, 2, 1), 0, {0}),
    /* volumes */
    SAMPLE(OP_F64(1, 4, 3, 5, 2), OP_F64(2, 3, 2, 2, 3), OP_F64(3), 3, OP_AINTS("strides", 1, 2, 2),
           OP_AINTS("pads", 1, 1, 0, 0, 1, 1), OP_AS("activation", "relu")),
    PAIR(OP_F64(2, 5, 3, 3, 4), OP_F64(3, 1, 2, 2, 2), 4, OP_AINTS("strides", 2, 1, 1),
         OP_AINTS("dilations", 2, 1, 1), OP_AS("auto_pad", "SAME_UPPER"), OP_AI("group", 2)),
    /* a tensor added, with and without bias */
    {.inputs_count = 4,
     .inputs = {OP_F64(1, 3, 4, 2), OP_F64(1, 1, 2, 3), OP_F64(3), OP_F64(1, 3, 4, 3)},
     .low = -1,
     .high = 1,
     .attrs_count = 1,
     .attrs = {OP_AS("activation", "relu")}},
    {.inputs_count = 4,
     .inputs = {OP_F64(2, 3, 3, 2), OP_F64(2, 2, 1, 2), OP_ABSENT, OP_F64(2, 2, 2, 2)},
     .low = -1,
     .high = 1,
     .attrs_count = 2,
     .attrs = {OP_AS("activation", "silu"), OP_AI("group", 2)}},
};
static const qn_op_sample grad_data_samples[] = {
    PAIR(OP_F64(2, 3, 2, 4), OP_F64(3, 3, 3, 4), 1, OP_AINTS("input_size", 5, 4)),
    PAIR(OP_F64(1, 3, 6, 3), OP_F64(3, 2, 2, 3), 3, OP_AINTS("strides", 2, 1),
         OP_AINTS("pads", 1, 0, 2, 1), OP_AINTS("input_size", 5, 6)),
    PAIR(OP_F64(1, 4, 3), OP_F64(3, 2, 3), 2, OP_AINTS("strides", 4), OP_AINTS("input_size", 17)),
    PAIR(OP_F64(1, 2, 2, 3, 4), OP_F64(2, 1, 2, 1, 4), 3, OP_AINTS("strides", 3, 1, 1),
         OP_AINTS("input_size", 5, 2, 4), OP_AI("group", 4)),
};
static const qn_op_sample grad_weight_samples[] = {
    PAIR(OP_F64(2, 5, 4, 3), OP_F64(2, 3, 2, 4), 1, OP_AINTS("kernel_shape", 3, 3)),
    PAIR(OP_F64(1, 5, 6, 2), OP_F64(1, 3, 6, 3), 3, OP_AINTS("strides", 2, 1),
         OP_AINTS("pads", 1, 0, 2, 1), OP_AINTS("kernel_shape", 3, 2)),
    PAIR(OP_F64(2, 17, 3), OP_F64(2, 4, 3), 2, OP_AINTS("strides", 4), OP_AINTS("kernel_shape", 3)),
    PAIR(OP_F64(1, 5, 2, 4, 4), OP_F64(1, 2, 2, 3, 4), 3, OP_AINTS("strides", 3, 1, 1),
         OP_AINTS("kernel_shape", 2, 1, 2), OP_AI("group", 4)),
};

const qn_op qn_ops_conv[] = {
    {.name = "Conv",
     .inputs_min = 2,
     .inputs_max = 4,
     .factors = 3,
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
     .factors = 3,
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
     .factors = 3,
     .outputs_count = 2,
     .flags = QN_OP_NO_GRADIENT,
     .attrs = grad_weight_attrs,
     .infer = grad_weight_infer,
     .ref = grad_weight_ref,
     .flops = grad_weight_flops,
     OP_SAMPLES(grad_weight_samples)},
    {0},
};
