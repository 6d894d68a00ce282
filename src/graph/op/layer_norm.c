/*
 * Normalisation of each sample by its own statistics: layer (Ba et al., 2016), root mean square (Zhang and Sennrich,
 * 2019), group (Wu and He, 2018) and instance norm (Ulyanov et al., 2016).
 *
 * All four see x as [outer, rows, groups, width] and normalise over rows and width:
 *   n = (x - mean) / sqrt(var + epsilon), y = n * scale + shift, scale and shift per (group, width).
 * Layer and RMS norm have one row and one group, the dimensions from `axis` on being the width; RMS norm has mean 0
 * and no shift. Group norm is channels-last: rows are pixels, and instance norm has a group for each channel.
 * With u = dy scale: dx = rstd (u - mean(u) - n mean(u n)), dscale = sum(dy n), dshift = sum(dy).
 */
#include "graph/op/common.h"

#include <math.h>

typedef struct {
    int64_t outer, rows, groups, width;
    double epsilon;
    bool centred;
} norm_walk;

#define OP_BODY "graph/op/layer_norm_body.h"
#include "graph/op/typed.h"

/* Splits the shape of input `x` at `axis`, in [1, rank). The dimensions from there on must be known. */
static qn_status split_layer(const qn_op_types *types, int x, qn_shape *ret_scale,
                             qn_shape *ret_stats, qn_error *err)
{
    const qn_shape *shape = &types->inputs[x].shape;
    char text[128];
    int axis = 0;
    QN_TRY(qn_op_want_float(types, x, err));
    QN_TRY(qn_op_axis(types, shape->rank, &axis, err));
    *ret_scale = (qn_shape){.rank = shape->rank - axis};
    *ret_stats = *shape;
    for (int d = axis; d < shape->rank; d++) {
        if (shape->dims[d] < 1)
            QN_FAIL(err, QN_ERR_ARG, "cannot normalise %s from axis %d on, whose size is not known",
                    qn_shape_text(shape, text), axis);
        ret_scale->dims[d - axis] = shape->dims[d];
        ret_stats->dims[d] = 1;
    }
    return QN_OK;
}

static bool is_layer(const qn_op_types *types)
{
    return types->op->name[0] == 'L' || types->op->name[0] == 'R';
}

static bool is_centred(const qn_op_types *types)
{
    return types->op->name[0] != 'R';
}

/* Instance norm has no attribute: a group for each channel. */
static int64_t groups_of(const qn_op_types *types, int64_t channels)
{
    return types->op->name[0] == 'I' ? channels : qn_op_attr_i(types, "num_groups");
}

static qn_status split_group(const qn_op_types *types, int x, qn_shape *ret_scale,
                             qn_shape *ret_stats, qn_error *err)
{
    const qn_shape *shape = &types->inputs[x].shape;
    char text[128];
    QN_TRY(qn_op_want_float(types, x, err));
    if (shape->rank < 2 || shape->dims[shape->rank - 1] < 1)
        QN_FAIL(err, QN_ERR_ARG, "input %d is %s, expected at least [images, channels]", x,
                qn_shape_text(shape, text));
    int64_t channels = shape->dims[shape->rank - 1], groups = groups_of(types, channels);
    if (channels % groups != 0)
        QN_FAIL(err, QN_ERR_ARG, "%lld groups do not divide %lld channels", (long long)groups,
                (long long)channels);
    *ret_scale = QN_SHAPE(channels);
    *ret_stats = QN_SHAPE(shape->dims[0], groups);
    return QN_OK;
}

static qn_status split(const qn_op_types *types, int x, qn_shape *ret_scale, qn_shape *ret_stats,
                       qn_error *err)
{
    return is_layer(types) ? split_layer(types, x, ret_scale, ret_stats, err)
                           : split_group(types, x, ret_scale, ret_stats, err);
}

static norm_walk walk_of(const qn_op_run *run, int x)
{
    const qn_shape *shape = &run->inputs[x].shape;
    qn_shape scale = {0}, stats = {0};
    norm_walk w = {.groups = 1,
                   .rows = 1,
                   .epsilon = qn_op_attr_f(run->types, "epsilon"),
                   .centred = is_centred(run->types)};
    qn_status status = split(run->types, x, &scale, &stats, NULL);
    QN_ASSERT(status == QN_OK);
    int64_t channels = qn_shape_count(&scale), count = qn_shape_count(shape);
    w.outer = is_layer(run->types) ? count / channels : shape->dims[0];
    w.groups = is_layer(run->types) ? 1 : stats.dims[1];
    w.width = channels / w.groups;
    w.rows = w.outer ? count / w.outer / channels : 0;
    return w;
}

static qn_status want(const qn_op_types *types, int input, const qn_shape *shape, qn_error *err)
{
    QN_TRY(qn_op_want_dtype(types, input, types->inputs[0].dtype, err));
    return qn_op_want_shape(types, input, shape, err);
}

static qn_status norm_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    qn_shape scale, stats;
    qn_dtype dtype = types->inputs[0].dtype;
    QN_TRY(split(types, 0, &scale, &stats, err));
    for (int i = 1; i < types->inputs_count; i++)
        QN_TRY(want(types, i, &scale, err));
    ret_outputs[0] = types->inputs[0];
    for (int i = 1; i < types->outputs_count; i++)
        ret_outputs[i] = (qn_type){dtype, stats};
    return QN_OK;
}

static void norm_ref(const qn_op_run *run)
{
    norm_walk walk = walk_of(run, 0);
    OP_FLOAT_CALL(run->inputs[0].dtype, forward, run, &walk);
}

static int64_t norm_flops(const qn_op_types *types)
{
    return 8 * qn_shape_count(&types->inputs[0].shape);
}

static void norm_vjp(const qn_op_vjp *in, qn_value *ret)
{
    const qn_op_types *types = in->types;
    for (int k = 1; k < types->outputs_count; k++)
        if (in->grads[k] != QN_NONE)
            qn_graph_fail(in->graph, QN_ERR_ARG, "%s: its statistics have no gradient",
                          types->op->name);
    if (in->grads[0] == QN_NONE || qn_graph_check(in->graph, NULL) != QN_OK)
        return;
    qn_attr attrs[2] = {QN_ATTR_F("epsilon", qn_op_attr_f(types, "epsilon"))};
    if (is_layer(types)) {
        attrs[1] = QN_ATTR_I("axis", qn_op_attr_i(types, "axis"));
    } else {
        const qn_shape *x = &types->inputs[0].shape;
        attrs[1] = QN_ATTR_I("num_groups", groups_of(types, x->dims[x->rank - 1]));
    }
    const char *op = !is_layer(types)    ? "GroupNormalizationGrad"
                     : is_centred(types) ? "LayerNormalizationGrad"
                                         : "RMSNormalizationGrad";
    qn_value inputs[] = {in->grads[0], in->inputs[0], in->inputs[1], in->outputs[1],
                         is_centred(types) ? in->outputs[2] : QN_NONE};
    qn_value first = qn_graph_node(in->graph, op, inputs, is_centred(types) ? 5 : 4, attrs, 2);
    for (int i = 0; i < types->inputs_count && first != QN_NONE; i++)
        ret[i] = first + i;
}

static qn_status grad_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    qn_shape scale, stats;
    qn_dtype dtype = types->inputs[0].dtype;
    QN_TRY(split(types, 1, &scale, &stats, err));
    QN_TRY(qn_op_want_like(types, 1, 0, err));
    QN_TRY(want(types, 2, &scale, err));
    for (int i = 3; i < types->inputs_count; i++)
        QN_TRY(want(types, i, &stats, err));
    ret_outputs[0] = types->inputs[0];
    for (int i = 1; i < types->outputs_count; i++)
        ret_outputs[i] = (qn_type){dtype, scale};
    return QN_OK;
}

static void grad_ref(const qn_op_run *run)
{
    norm_walk walk = walk_of(run, 1);
    OP_FLOAT_CALL(run->inputs[0].dtype, backward, run, &walk);
}

#define EPSILON                                                                                    \
    {                                                                                              \
        .name = "epsilon", .kind = QN_ATTR_FLOAT, .value = 1e-5, .high = 1                         \
    }
static const qn_attr_spec layer_attrs[] = {
    {.name = "axis", .kind = QN_ATTR_INT, .value = -1},
    EPSILON,
    {0},
};
static const qn_attr_spec group_attrs[] = {
    {.name = "num_groups", .kind = QN_ATTR_INT, .required = true, .low = 1, .high = 1e9},
    EPSILON,
    {0},
};
static const qn_attr_spec instance_attrs[] = {EPSILON, {0}};

#define C7 OP_F64(7)
#define C6 OP_F64(6)
static const qn_op_sample layer_samples[] = {
    {.inputs_count = 3, .inputs = {OP_F64(2, 5, 7), C7, C7}, .low = -1, .high = 2},
    {.inputs_count = 2, .inputs = {OP_F64(3, 17), OP_F64(17)}, .low = -1, .high = 2},
    {.inputs_count = 3,
     .inputs = {OP_F64(2, 3, 5), OP_F64(3, 5), OP_F64(3, 5)},
     .low = 0.5,
     .high = 2,
     .attrs_count = 2,
     .attrs = {OP_AI("axis", 1), OP_AF("epsilon", 0.01)}},
};
static const qn_op_sample rms_samples[] = {
    {.inputs_count = 2, .inputs = {OP_F64(2, 5, 7), C7}, .low = -1, .high = 2},
    {.inputs_count = 2,
     .inputs = {OP_F64(2, 3, 6), OP_F64(3, 6)},
     .low = -1,
     .high = 2,
     .attrs_count = 1,
     .attrs = {OP_AI("axis", -2)}},
};
static const qn_op_sample group_samples[] = {
    {.inputs_count = 3,
     .inputs = {OP_F64(2, 2, 3, 6), C6, C6},
     .low = -1,
     .high = 2,
     .attrs_count = 1,
     .attrs = {OP_AI("num_groups", 3)}},
    {.inputs_count = 3,
     .inputs = {OP_F64(2, 6), C6, C6},
     .low = -1,
     .high = 2,
     .attrs_count = 2,
     .attrs = {OP_AI("num_groups", 2), OP_AF("epsilon", 0.01)}},
};
static const qn_op_sample instance_samples[] = {
    {.inputs_count = 3, .inputs = {OP_F64(2, 3, 2, 6), C6, C6}, .low = -1, .high = 2},
};
static const qn_op_sample layer_grad_samples[] = {
    {.inputs_count = 5,
     .inputs = {OP_F64(2, 5, 7), OP_F64(2, 5, 7), C7, OP_F64(2, 5, 1), OP_F64(2, 5, 1)},
     .low = 0.2,
     .high = 1},
};
static const qn_op_sample rms_grad_samples[] = {
    {.inputs_count = 4,
     .inputs = {OP_F64(2, 5, 7), OP_F64(2, 5, 7), C7, OP_F64(2, 5, 1)},
     .low = 0.2,
     .high = 1},
};
static const qn_op_sample group_grad_samples[] = {
    {.inputs_count = 5,
     .inputs = {OP_F64(2, 3, 6), OP_F64(2, 3, 6), C6, OP_F64(2, 3), OP_F64(2, 3)},
     .low = 0.2,
     .high = 1,
     .attrs_count = 1,
     .attrs = {OP_AI("num_groups", 3)}},
};

#define FORWARD(op_name, low, high, outputs, list, table)                                          \
    {                                                                                              \
        .name = (op_name), .inputs_min = (low), .inputs_max = (high), .outputs_count = (outputs),  \
        .attrs = (list), .infer = norm_infer, .vjp = norm_vjp, .ref = norm_ref,                    \
        .flops = norm_flops, OP_SAMPLES(table)                                                     \
    }
#define BACKWARD(op_name, inputs, outputs, list, table)                                            \
    {                                                                                              \
        .name = (op_name), .inputs_min = (inputs), .inputs_max = (inputs),                         \
        .outputs_count = (outputs), .flags = QN_OP_NO_GRADIENT, .attrs = (list),                   \
        .infer = grad_infer, .ref = grad_ref, .flops = norm_flops, OP_SAMPLES(table)               \
    }

const qn_op qn_ops_layer_norm[] = {
    FORWARD("LayerNormalization", 2, 3, 3, layer_attrs, layer_samples),
    FORWARD("RMSNormalization", 2, 2, 2, layer_attrs, rms_samples),
    FORWARD("GroupNormalization", 3, 3, 3, group_attrs, group_samples),
    FORWARD("InstanceNormalization", 3, 3, 3, instance_attrs, instance_samples),
    BACKWARD("LayerNormalizationGrad", 5, 3, layer_attrs, layer_grad_samples),
    BACKWARD("RMSNormalizationGrad", 4, 2, layer_attrs, rms_grad_samples),
    BACKWARD("GroupNormalizationGrad", 5, 3, group_attrs, group_grad_samples),
    {0},
};
