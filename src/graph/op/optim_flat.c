/*
 * Optimiser updates that look at one element at a time, beside SGD and Adam (optim.c), and the running average of weights.
 * All rows take
 * weight, moments, gradient, lr, step, in NAdam the product of its momenta, and scale (optional).
 *
 * g = scale * grad + weight_decay * w, unless decoupled; t is the step, 1 at the first update.
 * Adagrad:  s += g^2; w -= lr / (1 + (t - 1) lr_decay) g / (sqrt(s) + eps).
 * RmsProp:  s = rho s + (1 - rho) g^2; w -= lr g / (sqrt(s) + eps); with momentum u = momentum u + g / (sqrt(s) + eps) and w -= lr u;
 *           centered, s - mean^2 in place of s, mean = rho mean + (1 - rho) g.
 * Adadelta: s = rho s + (1 - rho) g^2; d = sqrt(u + eps) / sqrt(s + eps) g; u = rho u + (1 - rho) d^2; w -= lr d.
 * NAdam:    Adam with mu(t) = beta1 (1 - 0.96^(t momentum_decay) / 2), P(t) = mu(1) ... mu(t):
 *           w -= lr ((1 - mu(t)) / (1 - P(t)) g + mu(t + 1) / (1 - P(t + 1)) m) / (sqrt(v / (1 - beta2^t)) + eps).
 * Lion:     w -= lr (sign(beta1 m + (1 - beta1) g) + weight_decay w); m = beta2 m + (1 - beta2) g.
 * Average:  a += share (w - a).
 * Sources: Duchi et al. 2011; Hinton's lecture 6e, 2012; Zeiler 2012; Dozat 2016; Chen et al. 2023; all but Lion as PyTorch computes them.
 */
#include "graph/op/common.h"

#include <math.h>
#include <string.h>

enum { MOMENTS_MAX = 3 };

typedef struct {
    double w, m[MOMENTS_MAX], g;
} flat_cell;

typedef struct {
    double lr, step, product;
    double decay, beta1, beta2, rho, momentum, lr_decay, momentum_decay, epsilon;
    bool decoupled;
} flat_options;

typedef void (*flat_rule)(flat_cell *c, const flat_options *o);

static void adagrad(flat_cell *c, const flat_options *o)
{
    double g = c->g + o->decay * c->w;
    c->m[0] += g * g;
    c->w -= o->lr / (1 + (o->step - 1) * o->lr_decay) * g / (sqrt(c->m[0]) + o->epsilon);
}

static void rmsprop(flat_cell *c, const flat_options *o)
{
    double g = c->g + o->decay * c->w;
    c->m[0] = o->rho * c->m[0] + (1 - o->rho) * g * g;
    c->w -= o->lr * g / (sqrt(c->m[0]) + o->epsilon);
}

static void rmsprop_momentum(flat_cell *c, const flat_options *o)
{
    double g = c->g + o->decay * c->w;
    c->m[0] = o->rho * c->m[0] + (1 - o->rho) * g * g;
    c->m[1] = o->momentum * c->m[1] + g / (sqrt(c->m[0]) + o->epsilon);
    c->w -= o->lr * c->m[1];
}

/* Rounding may bring s below mean^2. */
static void rmsprop_centered(flat_cell *c, const flat_options *o)
{
    double g = c->g + o->decay * c->w;
    c->m[0] = o->rho * c->m[0] + (1 - o->rho) * g * g;
    c->m[2] = o->rho * c->m[2] + (1 - o->rho) * g;
    double spread = c->m[0] - c->m[2] * c->m[2];
    c->m[1] = o->momentum * c->m[1] + g / (sqrt(spread < 0 ? 0 : spread) + o->epsilon);
    c->w -= o->lr * c->m[1];
}

static void adadelta(flat_cell *c, const flat_options *o)
{
    double g = c->g + o->decay * c->w;
    c->m[0] = o->rho * c->m[0] + (1 - o->rho) * g * g;
    double d = sqrt(c->m[1] + o->epsilon) / sqrt(c->m[0] + o->epsilon) * g;
    c->m[1] = o->rho * c->m[1] + (1 - o->rho) * d * d;
    c->w -= o->lr * d;
}

static double nadam_momentum(double beta1, double momentum_decay, double step)
{
    return beta1 * (1 - 0.5 * pow(0.96, step * momentum_decay));
}

static void nadam(flat_cell *c, const flat_options *o)
{
    double mu = nadam_momentum(o->beta1, o->momentum_decay, o->step);
    double next = nadam_momentum(o->beta1, o->momentum_decay, o->step + 1);
    double g = c->g + (o->decoupled ? 0 : o->decay * c->w);
    if (o->decoupled)
        c->w *= 1 - o->lr * o->decay;
    c->m[0] = o->beta1 * c->m[0] + (1 - o->beta1) * g;
    c->m[1] = o->beta2 * c->m[1] + (1 - o->beta2) * g * g;
    double under = sqrt(c->m[1] / (1 - pow(o->beta2, o->step))) + o->epsilon;
    double sum = (1 - mu) / (1 - o->product) * g + next / (1 - o->product * next) * c->m[0];
    c->w -= o->lr * sum / under;
}

static void lion(flat_cell *c, const flat_options *o)
{
    double mixed = o->beta1 * c->m[0] + (1 - o->beta1) * c->g;
    double sign = mixed > 0 ? 1 : mixed < 0 ? -1 : mixed;
    c->w -= o->lr * (sign + o->decay * c->w);
    c->m[0] = o->beta2 * c->m[0] + (1 - o->beta2) * c->g;
}

static void average(flat_cell *c, const flat_options *o)
{
    c->w += o->lr * (c->g - c->w);
}

#define OP_BODY "graph/op/optim_flat_body.h"
#include "graph/op/typed.h"

/* Attributes that a row does not list are 0. */
static double option(const qn_op_types *types, const char *name)
{
    const qn_attr_spec *specs = types->op->attrs;
    for (int i = 0; specs && specs[i].name; i++)
        if (strcmp(specs[i].name, name) == 0)
            return specs[i].kind == QN_ATTR_FLOAT ? types->attrs[i].f : (double)types->attrs[i].i;
    return 0;
}

static void flat_any(const qn_op_run *run, flat_rule rule)
{
    flat_options options = {.decay = option(run->types, "weight_decay"),
                            .beta1 = option(run->types, "beta1"),
                            .beta2 = option(run->types, "beta2"),
                            .rho = option(run->types, "rho"),
                            .momentum = option(run->types, "momentum"),
                            .lr_decay = option(run->types, "lr_decay"),
                            .momentum_decay = option(run->types, "momentum_decay"),
                            .epsilon = option(run->types, "epsilon"),
                            .decoupled = option(run->types, "decoupled") > 0};
    OP_FLOAT_CALL(run->inputs[0].dtype, flat, run, rule, &options);
}

static void adagrad_ref(const qn_op_run *run)
{
    flat_any(run, adagrad);
}
static void rmsprop_ref(const qn_op_run *run)
{
    flat_any(run, rmsprop);
}
static void rmsprop_momentum_ref(const qn_op_run *run)
{
    flat_any(run, rmsprop_momentum);
}
static void rmsprop_centered_ref(const qn_op_run *run)
{
    flat_any(run, rmsprop_centered);
}
static void adadelta_ref(const qn_op_run *run)
{
    flat_any(run, adadelta);
}
static void nadam_ref(const qn_op_run *run)
{
    flat_any(run, nadam);
}
static void lion_ref(const qn_op_run *run)
{
    flat_any(run, lion);
}
static void average_ref(const qn_op_run *run)
{
    flat_any(run, average);
}

/* The product of NAdam's momenta after this step. */
static void product_ref(const qn_op_run *run)
{
    double step = (double)((const int64_t *)run->inputs[1].data)[0];
    double mu = nadam_momentum(qn_op_attr_f(run->types, "beta1"),
                               qn_op_attr_f(run->types, "momentum_decay"), step);
    if (run->inputs[0].dtype == QN_DTYPE_F64)
        *(double *)run->outputs[0].data = mu * *(const double *)run->inputs[0].data;
    else
        *(float *)run->outputs[0].data = (float)(mu * (double)*(const float *)run->inputs[0].data);
}

static qn_status product_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    QN_TRY(qn_op_want_float(types, 0, err));
    QN_TRY(qn_op_want_scalar(types, 0, types->inputs[0].dtype, err));
    QN_TRY(qn_op_want_scalar(types, 1, QN_DTYPE_I64, err));
    ret_outputs[0] = types->inputs[0];
    return QN_OK;
}

/* weight, moments and gradient are alike; then come scalars, of which the second is the step. */
static qn_status flat_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    int alike = types->op->outputs_count + 1;
    QN_TRY(qn_op_want_float(types, 0, err));
    for (int i = 1; i < types->inputs_count; i++) {
        if (i < alike)
            QN_TRY(qn_op_want_like(types, i, 0, err));
        else if (qn_op_has(types, i))
            QN_TRY(qn_op_want_scalar(types, i,
                                     i == alike + 1 ? QN_DTYPE_I64 : types->inputs[0].dtype, err));
    }
    for (int k = 0; k < types->op->outputs_count; k++)
        ret_outputs[k] = types->inputs[0];
    return QN_OK;
}

static int64_t flat_flops(const qn_op_types *types)
{
    return 12 * qn_shape_count(&types->inputs[0].shape);
}

#define NUMBER(key, usual, least, most)                                                            \
    {                                                                                              \
        .name = (key), .kind = QN_ATTR_FLOAT, .value = (usual), .low = (least), .high = (most)     \
    }
#define FLAG(key)                                                                                  \
    {                                                                                              \
        .name = (key), .kind = QN_ATTR_INT, .high = 1                                              \
    }
#define DECAY NUMBER("weight_decay", 0, 0, 1e6)
static const qn_attr_spec adagrad_attrs[] = {
    DECAY, NUMBER("lr_decay", 0, 0, 1e6), NUMBER("epsilon", 1e-10, 0, 1), {0}};
static const qn_attr_spec rmsprop_attrs[] = {
    DECAY, NUMBER("rho", 0.99, 0, 1), NUMBER("epsilon", 1e-8, 0, 1), {0}};
static const qn_attr_spec rmsprop_more_attrs[] = {DECAY,
                                                  NUMBER("rho", 0.99, 0, 1),
                                                  NUMBER("epsilon", 1e-8, 0, 1),
                                                  NUMBER("momentum", 0, 0, 1),
                                                  {0}};
static const qn_attr_spec adadelta_attrs[] = {
    DECAY, NUMBER("rho", 0.9, 0, 1), NUMBER("epsilon", 1e-6, 0, 1), {0}};
static const qn_attr_spec nadam_attrs[] = {DECAY,
                                           NUMBER("beta1", 0.9, 0, 1),
                                           NUMBER("beta2", 0.999, 0, 1),
                                           NUMBER("momentum_decay", 4e-3, 0, 1),
                                           NUMBER("epsilon", 1e-8, 0, 1),
                                           FLAG("decoupled"),
                                           {0}};
static const qn_attr_spec lion_attrs[] = {
    DECAY, NUMBER("beta1", 0.9, 0, 1), NUMBER("beta2", 0.99, 0, 1), {0}};
static const qn_attr_spec product_attrs[] = {
    NUMBER("beta1", 0.9, 0, 1), NUMBER("momentum_decay", 4e-3, 0, 1), {0}};

/* Moments are sums of squares and the like: every sample is positive. Steps begin at 1. */
#define P       OP_F64(4, 3)
#define S       OP_F64_SCALAR
#define STEP    OP_I64_SCALAR
#define HALF(n) .inputs_count = (n), .low = 1, .high = 3
static const qn_op_sample adagrad_samples[] = {
    {HALF(5), .inputs = {P, P, P, S, STEP}},
    {HALF(6), .inputs = {P, P, P, S, STEP, S}, .attrs_count = 2,
     .attrs = {OP_AF("weight_decay", 0.1), OP_AF("lr_decay", 0.5)}},
};
static const qn_op_sample rmsprop_samples[] = {
    {HALF(5), .inputs = {P, P, P, S, STEP}},
    {HALF(6), .inputs = {P, P, P, S, STEP, S}, .attrs_count = 1,
     .attrs = {OP_AF("weight_decay", 0.1)}},
};
static const qn_op_sample rmsprop_momentum_samples[] = {
    {HALF(7), .inputs = {P, P, P, P, S, STEP, S}, .attrs_count = 1,
     .attrs = {OP_AF("momentum", 0.9)}},
};
static const qn_op_sample rmsprop_centered_samples[] = {
    {HALF(8), .inputs = {P, P, P, P, P, S, STEP, S}, .attrs_count = 1,
     .attrs = {OP_AF("momentum", 0.9)}},
};
static const qn_op_sample adadelta_samples[] = {
    {HALF(7), .inputs = {P, P, P, P, S, STEP, S}, .attrs_count = 1,
     .attrs = {OP_AF("weight_decay", 0.1)}},
};
static const qn_op_sample nadam_samples[] = {
    {HALF(8), .inputs = {P, P, P, P, S, STEP, S, S}, .attrs_count = 2,
     .attrs = {OP_AI("decoupled", 1), OP_AF("weight_decay", 0.1)}},
    {HALF(7), .inputs = {P, P, P, P, S, STEP, S}},
};
static const qn_op_sample lion_samples[] = {
    {HALF(6), .inputs = {P, P, P, S, STEP, S}, .attrs_count = 1,
     .attrs = {OP_AF("weight_decay", 0.1)}},
};
static const qn_op_sample average_samples[] = {{HALF(3), .inputs = {P, P, S}}};
static const qn_op_sample product_samples[] = {{HALF(2), .inputs = {S, STEP}}};

/* least: inputs without the optional scale */
#define FLAT(op_name, least, most, outputs, list, stem)                                            \
    {                                                                                              \
        .name = (op_name), .inputs_min = (least), .inputs_max = (most),                            \
        .outputs_count = (outputs), .flags = QN_OP_NO_GRADIENT | QN_OP_INPLACE | QN_OP_FLAT,       \
        .attrs = (list), .infer = flat_infer, .ref = stem##_ref, .flops = flat_flops,              \
        OP_SAMPLES(stem##_samples)                                                                 \
    }

const qn_op qn_ops_optim_flat[] = {
    FLAT("AdagradUpdate", 5, 6, 2, adagrad_attrs, adagrad),
    FLAT("RmsPropUpdate", 5, 6, 2, rmsprop_attrs, rmsprop),
    FLAT("RmsPropMomentumUpdate", 6, 7, 3, rmsprop_more_attrs, rmsprop_momentum),
    FLAT("RmsPropCenteredUpdate", 7, 8, 4, rmsprop_more_attrs, rmsprop_centered),
    FLAT("AdadeltaUpdate", 6, 7, 3, adadelta_attrs, adadelta),
    FLAT("NAdamUpdate", 7, 8, 3, nadam_attrs, nadam),
    FLAT("LionUpdate", 5, 6, 2, lion_attrs, lion),
    FLAT("AverageUpdate", 3, 3, 1, NULL, average),
    {.name = "NAdamProduct",
     .inputs_min = 2,
     .inputs_max = 2,
     .outputs_count = 1,
     .flags = QN_OP_NO_GRADIENT,
     .attrs = product_attrs,
     .infer = product_infer,
     .ref = product_ref,
     OP_SAMPLES(product_samples)},
    {0},
};
