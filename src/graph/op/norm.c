/*
 * Batch normalisation over the last dimension (Ioffe and Szegedy, 2015).
 *
 * y = (x - mean) / sqrt(var + epsilon) * scale + shift. With training_mode 1 in a training plan mean and population
 * variance are the batch's and the running ones move: running = momentum * running + (1 - momentum) *
 * batch. Otherwise the running ones are used, and the gradient treats them as constants.
 * With n = (x - mean) rstd: dx = scale rstd (dy - mean(dy) - n mean(dy n)), dscale = sum(dy n), dshift =
 * sum(dy).
 */
#include "graph/op/common.h"

#include <math.h>

typedef struct {
    int64_t rows, channels;
    double epsilon, momentum;
    bool training;
} norm_options;

#define OP_BODY "graph/op/norm_body.h"
#include "graph/op/typed.h"

static norm_options read_options(const qn_op_run *run, const qn_shape *x)
{
    norm_options o = {.channels = x->dims[x->rank - 1],
                      .epsilon = qn_op_attr_f(run->types, "epsilon"),
                      .momentum = qn_op_attr_f(run->types, "momentum")};
    int64_t count = qn_shape_count(x);
    o.rows = o.channels ? count / o.channels : 0;
    o.training = run->training && qn_op_attr_i(run->types, "training_mode") != 0;
    return o;
}

static qn_status want_per_channel(const qn_op_types *types, int input, int64_t channels,
                                  qn_error *err)
{
    qn_shape shape = {1, {channels}};
    QN_TRY(qn_op_want_dtype(types, input, types->inputs[0].dtype, err));
    return qn_op_want_shape(types, input, &shape, err);
}

/* The number of channels of input `x`, which must be known. */
static qn_status read_channels(const qn_op_types *types, int x, int64_t *ret, qn_error *err)
{
    const qn_shape *shape = &types->inputs[x].shape;
    char text[128];
    QN_TRY(qn_op_want_float(types, x, err));
    if (shape->rank < 2 || shape->dims[shape->rank - 1] < 0)
        QN_FAIL(err, QN_ERR_ARG, "input %d is %s, expected at least [rows, channels]", x,
                qn_shape_text(shape, text));
    *ret = shape->dims[shape->rank - 1];
    return QN_OK;
}

static qn_status norm_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    int64_t channels = 0;
    QN_TRY(read_channels(types, 0, &channels, err));
    for (int i = 1; i < 5; i++)
        QN_TRY(want_per_channel(types, i, channels, err));
    ret_outputs[0] = types->inputs[0];
    ret_outputs[1] = types->inputs[3];
    ret_outputs[2] = types->inputs[4];
    ret_outputs[3] = (qn_type){types->inputs[0].dtype, {2, {2, channels}}};
    return QN_OK;
}

static void norm_ref(const qn_op_run *run)
{
    norm_options options = read_options(run, &run->inputs[0].shape);
    OP_FLOAT_CALL(run->inputs[0].dtype, norm, run, &options);
}

static void norm_vjp(const qn_op_vjp *in, qn_value *ret)
{
    qn_value inputs[] = {in->grads[0], in->inputs[0], in->inputs[1], in->outputs[3]};
    if (in->grads[0] == QN_NONE)
        return;
    qn_value first = qn_op_like_node(in, "BatchNormalizationGrad", inputs, 4);
    for (int i = 0; i < 3 && first != QN_NONE; i++)
        ret[i] = first + i;
}

static qn_status norm_grad_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    int64_t channels = 0;
    QN_TRY(read_channels(types, 0, &channels, err));
    QN_TRY(qn_op_want_like(types, 1, 0, err));
    QN_TRY(want_per_channel(types, 2, channels, err));
    qn_shape saved = {2, {2, channels}};
    QN_TRY(qn_op_want_dtype(types, 3, types->inputs[0].dtype, err));
    QN_TRY(qn_op_want_shape(types, 3, &saved, err));
    ret_outputs[0] = types->inputs[0];
    ret_outputs[1] = ret_outputs[2] = types->inputs[2];
    return QN_OK;
}

static void norm_grad_ref(const qn_op_run *run)
{
    norm_options options = read_options(run, &run->inputs[0].shape);
    OP_FLOAT_CALL(run->inputs[0].dtype, norm_grad, run, &options);
}

static int64_t norm_flops(const qn_op_types *types)
{
    return 8 * qn_shape_count(&types->inputs[0].shape);
}

static const qn_attr_spec attrs[] = {
    {.name = "epsilon", .kind = QN_ATTR_FLOAT, .value = 1e-5, .high = 1},
    {.name = "momentum", .kind = QN_ATTR_FLOAT, .value = 0.9, .high = 1},
    {.name = "training_mode", .kind = QN_ATTR_INT, .high = 1},
    {0},
};

#define C3 OP_F64(3)
static const qn_op_sample norm_samples[] = {
    {.inputs_count = 5,
     .inputs = {OP_F64(2, 2, 2, 3), C3, C3, C3, C3},
     .low = 0.2,
     .high = 2,
     .attrs_count = 2,
     .attrs = {OP_AI("training_mode", 1), OP_AF("momentum", 0.8)}},
    {.inputs_count = 5, .inputs = {OP_F64(4, 3), C3, C3, C3, C3}, .low = 0.2, .high = 2},
};
static const qn_op_sample grad_samples[] = {
    {.inputs_count = 4,
     .inputs = {OP_F64(4, 3), OP_F64(4, 3), C3, OP_F64(2, 3)},
     .low = 0.2,
     .high = 2,
     .attrs_count = 1,
     .attrs = {OP_AI("training_mode", 1)}},
    {.inputs_count = 4,
     .inputs = {OP_F64(4, 3), OP_F64(4, 3), C3, OP_F64(2, 3)},
     .low = 0.2,
     .high = 2},
};

const qn_op qn_ops_norm[] = {
    {.name = "BatchNormalization",
     .inputs_min = 5,
     .inputs_max = 5,
     .outputs_count = 4,
     .attrs = attrs,
     .infer = norm_infer,
     .vjp = norm_vjp,
     .ref = norm_ref,
     .flops = norm_flops,
     OP_SAMPLES(norm_samples)},
    {.name = "BatchNormalizationGrad",
     .inputs_min = 4,
     .inputs_max = 4,
     .outputs_count = 3,
     .flags = QN_OP_NO_GRADIENT,
     .attrs = attrs,
     .infer = norm_grad_infer,
     .ref = norm_grad_ref,
     .flops = norm_flops,
     OP_SAMPLES(grad_samples)},
    {0},
};
