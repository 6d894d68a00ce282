/*
 * Optimiser updates, elementwise over a parameter and its moments, and clipping by global norm.
 *
 * g = scale * grad (+ weight_decay * w, unless decoupled).
 * Sgd: w -= lr g.   Momentum: v = momentum v + g; w -= lr (nesterov ? g + momentum v : v).
 * Adam: m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2; w -= lr / (1 - b1^t) m / (sqrt(v / (1 - b2^t)) + eps);
 * decoupled (AdamW): first w *= 1 - lr weight_decay.
 * Sources: Sutskever et al. 2013; Kingma and Ba 2015; Loshchilov and Hutter 2019; as PyTorch computes them.
 */
#include "graph/op/common.h"

#include <math.h>

typedef struct {
    int64_t count;
    double decay, momentum, beta1, beta2, epsilon;
    bool nesterov, decoupled;
} update_options;

/* A scalar input; the optional `scale` is 1 where it is absent. */
static double scalar_f32(const qn_op_run *run, int input)
{
    return qn_op_has(run->types, input) ? (double)*(const float *)run->inputs[input].data : 1;
}
static double scalar_f64(const qn_op_run *run, int input)
{
    return qn_op_has(run->types, input) ? *(const double *)run->inputs[input].data : 1;
}

#define OP_BODY "graph/op/optim_body.h"
#include "graph/op/typed.h"

/* The parameter, its moments and gradient are alike; the rest are scalars. `step`: which input is the
 * counter, -1 = none. */
static qn_status check_update(const qn_op_types *types, int alike, int step, qn_error *err)
{
    QN_TRY(qn_op_want_float(types, 0, err));
    for (int i = 1; i < types->inputs_count; i++) {
        if (i < alike)
            QN_TRY(qn_op_want_like(types, i, 0, err));
        else if (qn_op_has(types, i))
            QN_TRY(qn_op_want_scalar(types, i, i == step ? QN_DTYPE_I64 : types->inputs[0].dtype,
                                     err));
    }
    return QN_OK;
}

static qn_status sgd_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    QN_TRY(check_update(types, 2, -1, err));
    ret_outputs[0] = types->inputs[0];
    return QN_OK;
}
static qn_status momentum_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    QN_TRY(check_update(types, 3, -1, err));
    ret_outputs[0] = ret_outputs[1] = types->inputs[0];
    return QN_OK;
}
static qn_status adam_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    QN_TRY(check_update(types, 4, 5, err));
    ret_outputs[0] = ret_outputs[1] = ret_outputs[2] = types->inputs[0];
    return QN_OK;
}

static update_options common_options(const qn_op_run *run)
{
    return (update_options){.count = qn_shape_count(&run->inputs[0].shape),
                            .decay = qn_op_attr_f(run->types, "weight_decay")};
}

static void sgd_ref(const qn_op_run *run)
{
    update_options options = common_options(run);
    OP_FLOAT_CALL(run->inputs[0].dtype, sgd, run, &options);
}
static void momentum_ref(const qn_op_run *run)
{
    update_options options = common_options(run);
    options.momentum = qn_op_attr_f(run->types, "momentum");
    options.nesterov = qn_op_attr_i(run->types, "nesterov") != 0;
    OP_FLOAT_CALL(run->inputs[0].dtype, momentum, run, &options);
}
static void adam_ref(const qn_op_run *run)
{
    update_options options = common_options(run);
    options.beta1 = qn_op_attr_f(run->types, "beta1");
    options.beta2 = qn_op_attr_f(run->types, "beta2");
    options.epsilon = qn_op_attr_f(run->types, "epsilon");
    options.decoupled = qn_op_attr_i(run->types, "decoupled") != 0;
    OP_FLOAT_CALL(run->inputs[0].dtype, adam, run, &options);
}

static qn_status norm_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    QN_TRY(qn_op_want_float(types, 0, err));
    for (int i = 1; i < types->inputs_count; i++)
        QN_TRY(qn_op_want_dtype(types, i, types->inputs[0].dtype, err));
    ret_outputs[0] = (qn_type){types->inputs[0].dtype, QN_SCALAR};
    return QN_OK;
}
static void norm_ref(const qn_op_run *run)
{
    OP_FLOAT_CALL(run->inputs[0].dtype, global_norm, run);
}

static qn_status clip_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    QN_TRY(qn_op_want_float(types, 0, err));
    QN_TRY(qn_op_want_rank(types, 0, 0, err));
    ret_outputs[0] = types->inputs[0];
    return QN_OK;
}
/* 1e-6, as PyTorch's clip_grad_norm_: no division by zero at norm 0. */
static void clip_ref(const qn_op_run *run)
{
    double limit = qn_op_attr_f(run->types, "max_norm");
    bool wide = run->inputs[0].dtype == QN_DTYPE_F64;
    double norm = wide ? *(const double *)run->inputs[0].data : scalar_f32(run, 0);
    double scale = limit / (norm + 1e-6);
    scale = scale > 1 ? 1 : scale;
    if (wide)
        *(double *)run->outputs[0].data = scale;
    else
        *(float *)run->outputs[0].data = (float)scale;
}

static int64_t adam_flops(const qn_op_types *types)
{
    return 14 * qn_shape_count(&types->inputs[0].shape);
}
static int64_t sgd_flops(const qn_op_types *types)
{
    return 4 * qn_shape_count(&types->inputs[0].shape);
}
static int64_t norm_flops(const qn_op_types *types)
{
    int64_t total = 0;
    for (int i = 0; i < types->inputs_count; i++)
        total += 2 * qn_shape_count(&types->inputs[i].shape);
    return total;
}

#define DECAY                                                                                      \
    {                                                                                              \
        .name = "weight_decay", .kind = QN_ATTR_FLOAT, .high = 1e6                                 \
    }
static const qn_attr_spec sgd_attrs[] = {DECAY, {0}};
static const qn_attr_spec momentum_attrs[] = {
    DECAY,
    {.name = "momentum", .kind = QN_ATTR_FLOAT, .high = 1, .value = 0.9},
    {.name = "nesterov", .kind = QN_ATTR_INT, .high = 1},
    {0},
};
static const qn_attr_spec adam_attrs[] = {
    DECAY,
    {.name = "beta1", .kind = QN_ATTR_FLOAT, .high = 1, .value = 0.9},
    {.name = "beta2", .kind = QN_ATTR_FLOAT, .high = 1, .value = 0.999},
    {.name = "epsilon", .kind = QN_ATTR_FLOAT, .high = 1, .value = 1e-8},
    {.name = "decoupled", .kind = QN_ATTR_INT, .high = 1},
    {0},
};
static const qn_attr_spec clip_attrs[] = {
    {.name = "max_norm", .kind = QN_ATTR_FLOAT, .required = true, .low = 1e-30, .high = 1e30},
    {0},
};

#define P OP_F64(4, 3)
#define S OP_F64_SCALAR
static const qn_op_sample sgd_samples[] = {
    {.inputs_count = 3, .inputs = {P, P, S}, .low = 0.1, .high = 2},
    {.inputs_count = 4,
     .inputs = {P, P, S, S},
     .low = 0.1,
     .high = 2,
     .attrs_count = 1,
     .attrs = {OP_AF("weight_decay", 0.1)}},
};
static const qn_op_sample momentum_samples[] = {
    {.inputs_count = 4, .inputs = {P, P, P, S}, .low = 0.1, .high = 2},
    {.inputs_count = 5,
     .inputs = {P, P, P, S, S},
     .low = 0.1,
     .high = 2,
     .attrs_count = 2,
     .attrs = {OP_AI("nesterov", 1), OP_AF("weight_decay", 0.1)}},
};
/* low: steps begin at 1 */
static const qn_op_sample adam_samples[] = {
    {.inputs_count = 6, .inputs = {P, P, P, P, S, OP_I64_SCALAR}, .low = 1, .high = 3},
    {.inputs_count = 7,
     .inputs = {P, P, P, P, S, OP_I64_SCALAR, S},
     .low = 1,
     .high = 3,
     .attrs_count = 2,
     .attrs = {OP_AI("decoupled", 1), OP_AF("weight_decay", 0.1)}},
};
static const qn_op_sample norm_samples[] = {
    {.inputs_count = 1, .inputs = {P}, .low = -2, .high = 2},
    {.inputs_count = 3, .inputs = {P, OP_F64(5), S}, .low = -2, .high = 2},
};
static const qn_op_sample clip_samples[] = {
    {.inputs_count = 1,
     .inputs = {S},
     .low = 2,
     .high = 5,
     .attrs_count = 1,
     .attrs = {OP_AF("max_norm", 1)}},
    {.inputs_count = 1,
     .inputs = {S},
     .low = 0.1,
     .high = 0.5,
     .attrs_count = 1,
     .attrs = {OP_AF("max_norm", 1)}},
};

#define UPDATE_FLAGS (QN_OP_NO_GRADIENT | QN_OP_INPLACE | QN_OP_FLAT)
#define UPDATE(op_name, least, outputs, list, stem, flops_fn)                                      \
    {                                                                                              \
        .name = (op_name), .inputs_min = (least), .inputs_max = (least) + 1,                       \
        .outputs_count = (outputs), .flags = UPDATE_FLAGS, .attrs = (list), .infer = stem##_infer, \
        .ref = stem##_ref, .flops = (flops_fn), OP_SAMPLES(stem##_samples)                         \
    }

const qn_op qn_ops_optim[] = {
    UPDATE("SgdUpdate", 3, 1, sgd_attrs, sgd, sgd_flops),
    UPDATE("MomentumUpdate", 4, 2, momentum_attrs, momentum, sgd_flops),
    UPDATE("AdamUpdate", 6, 3, adam_attrs, adam, adam_flops),
    {.name = "GlobalNorm",
     .inputs_min = 1,
     .inputs_max = QN_OP_VARIADIC_MAX,
     .outputs_count = 1,
     .flags = QN_OP_NO_GRADIENT,
     .infer = norm_infer,
     .ref = norm_ref,
     .flops = norm_flops,
     OP_SAMPLES(norm_samples)},
    {.name = "ClipScale",
     .inputs_min = 1,
     .inputs_max = 1,
     .outputs_count = 1,
     .flags = QN_OP_NO_GRADIENT,
     .attrs = clip_attrs,
     .infer = clip_infer,
     .ref = clip_ref,
     OP_SAMPLES(clip_samples)},
    {0},
};
