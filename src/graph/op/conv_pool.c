/*
 * Convolution, bias, ReLU and a 2x2 max pool of stride 2 as one row, and its gradients. Only planning makes these
 * nodes (pass/fuse_pool.c), after differentiation: the convolution's own output, the largest tensor of
 * a small image network, is then never stored. `choice` says which of the four was taken: row * 2 + column.
 */
#include <math.h>
#include <string.h>

#include "graph/op/common.h"
#include "graph/op/window.h"

typedef struct {
    int64_t cin, cout, groups;
    qn_op_window window;
} conv_pool_sizes;

/* Where element k of the 2x2 window of pooled element `flat` lies in the convolution. */
static qn_op_place unpooled_place(const conv_pool_sizes *z, int64_t flat, int k)
{
    const int64_t *out = z->window.out, pooled[3] = {1, out[1] / 2, out[2] / 2};
    qn_op_place at = qn_op_place_of(pooled, flat / z->cout);
    at.at[1] = 2 * at.at[1] + k / 2;
    at.at[2] = 2 * at.at[2] + k % 2;
    return at;
}

#define OP_BODY "graph/op/conv_pool_body.h"
#include "graph/op/typed.h"

/* Input `x_at` is x, the one behind it the weights. */
static qn_status read_sizes(const qn_op_types *types, int x_at, conv_pool_sizes *ret, qn_error *err)
{
    QN_TRY(qn_op_want_rank(types, x_at, 4, err));
    QN_TRY(qn_op_want_rank(types, x_at + 1, 4, err));
    QN_TRY(qn_op_want_dtype(types, x_at + 1, types->inputs[x_at].dtype, err));
    const qn_shape *x = &types->inputs[x_at].shape;
    const int64_t *weight = types->inputs[x_at + 1].shape.dims;
    conv_pool_sizes z = {
        .cin = x->dims[3], .cout = weight[3], .groups = qn_op_attr_i(types, "group")};
    QN_TRY(qn_op_window_read(types, x, weight, &z.window, err));
    if (z.window.out[1] < 2 || z.window.out[2] < 2 || z.cin < 1 || z.cout < 1 || z.cin % z.groups ||
        z.cout % z.groups || weight[2] != z.cin / z.groups)
        QN_FAIL(err, QN_ERR_ARG,
                "x and weights do not fit a convolution with a 2x2 pool behind it");
    *ret = z;
    return QN_OK;
}

static qn_status forward_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    conv_pool_sizes z = {0};
    QN_TRY(qn_op_want_float(types, 0, err));
    QN_TRY(read_sizes(types, 0, &z, err));
    if (qn_op_has(types, 2)) {
        QN_TRY(qn_op_want_dtype(types, 2, types->inputs[0].dtype, err));
        QN_TRY(qn_op_want_shape(types, 2, &QN_SHAPE(z.cout), err));
    }
    qn_shape y = QN_SHAPE(z.window.n, z.window.out[1] / 2, z.window.out[2] / 2, z.cout);
    ret_outputs[0] = (qn_type){types->inputs[0].dtype, y};
    ret_outputs[1] = (qn_type){QN_DTYPE_U8, y};
    return QN_OK;
}

static qn_status grad_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    conv_pool_sizes z = {0};
    QN_TRY(qn_op_want_float(types, 0, err));
    QN_TRY(qn_op_want_dtype(types, 3, types->inputs[0].dtype, err));
    QN_TRY(read_sizes(types, 3, &z, err));
    qn_shape y = QN_SHAPE(z.window.n, z.window.out[1] / 2, z.window.out[2] / 2, z.cout);
    QN_TRY(qn_op_want_shape(types, 0, &y, err));
    QN_TRY(qn_op_want_like(types, 1, 0, err));
    QN_TRY(qn_op_want_dtype(types, 2, QN_DTYPE_U8, err));
    QN_TRY(qn_op_want_shape(types, 2, &y, err));
    ret_outputs[0] = types->inputs[3];
    ret_outputs[1] = types->inputs[4];
    ret_outputs[2] = (qn_type){types->inputs[0].dtype, QN_SHAPE(z.cout)};
    return QN_OK;
}

static conv_pool_sizes run_sizes(const qn_op_run *run, int x_at)
{
    conv_pool_sizes z;
    qn_status status = read_sizes(run->types, x_at, &z, NULL);
    QN_ASSERT(status == QN_OK);
    return z;
}

static void forward_ref(const qn_op_run *run)
{
    conv_pool_sizes z = run_sizes(run, 0);
    OP_FLOAT_CALL(run->inputs[0].dtype, conv_pool, run, &z);
}

static void grad_ref(const qn_op_run *run)
{
    conv_pool_sizes z = run_sizes(run, 3);
    OP_FLOAT_CALL(run->inputs[0].dtype, conv_pool_grad, run, &z);
}

/* Of the whole convolution: four outputs for each pooled one. */
static int64_t forward_flops(const qn_op_types *types)
{
    const int64_t *w = types->inputs[1].shape.dims;
    return 8 * qn_shape_count(&types->outputs[0].shape) * w[0] * w[1] * w[2];
}
static int64_t grad_flops(const qn_op_types *types)
{
    const int64_t *w = types->inputs[4].shape.dims;
    return 16 * qn_shape_count(&types->inputs[0].shape) * w[0] * w[1] * w[2];
}

static const qn_attr_spec attrs[] = {
    {.name = "strides", .kind = QN_ATTR_INTS},
    {.name = "pads", .kind = QN_ATTR_INTS},
    {.name = "dilations", .kind = QN_ATTR_INTS},
    OP_AUTO_PAD,
    {.name = "group", .kind = QN_ATTR_INT, .low = 1, .high = 65536, .value = 1},
    {0},
};

static const qn_op_sample forward_samples[] = {
    {.inputs_count = 3,
     .inputs = {OP_F64(2, 7, 6, 3), OP_F64(3, 3, 3, 5), OP_F64(5)},
     .low = -1,
     .high = 1,
     .attrs_count = 1,
     .attrs = {OP_AINTS("pads", 1, 1, 1, 1)}},
    {.inputs_count = 2, .inputs = {OP_F64(1, 6, 7, 2), OP_F64(2, 3, 2, 4)}, .low = -1, .high = 1},
};
static const qn_op_sample grad_samples[] = {
    {.inputs_count = 5,
     .inputs = {OP_F64(2, 3, 3, 5), OP_F64(2, 3, 3, 5), OP_U8(2, 3, 3, 5), OP_F64(2, 7, 6, 3),
                OP_F64(3, 3, 3, 5)},
     .low = -1,
     .high = 4,
     .attrs_count = 1,
     .attrs = {OP_AINTS("pads", 1, 1, 1, 1)}},
};

const qn_op qn_ops_conv_pool[] = {
    {.name = "ConvReluPool",
     .inputs_min = 2,
     .inputs_max = 3,
     .factors = 3,
     .outputs_count = 2,
     .flags = QN_OP_NO_GRADIENT,
     .attrs = attrs,
     .infer = forward_infer,
     .ref = forward_ref,
     .flops = forward_flops,
     OP_SAMPLES(forward_samples)},
    {.name = "ConvReluPoolGrad",
     .inputs_min = 5,
     .inputs_max = 5,
     .factors = 25,
     .outputs_count = 3,
     .flags = QN_OP_NO_GRADIENT,
     .attrs = attrs,
     .infer = grad_infer,
     .ref = grad_ref,
     .flops = grad_flops,
     OP_SAMPLES(grad_samples)},
    {0},
};
