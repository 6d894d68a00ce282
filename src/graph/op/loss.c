/*
 * Losses that give the scalar and its gradient in one pass, so that differentiating one is a single
 * multiplication by the incoming gradient.
 *
 * Cross-entropy of logits z with label t, class weights w, smoothing s and log-probabilities p = z - lse(z):
 * row = -(1 - s) w[t] p[t] - s / C sum_c w[c] p[c]; the mean divides by the sum of w[t]. A label equal to
 * ignore_index counts nothing; any other label outside [0, C) makes the loss NaN.
 */
#include "graph/op/common.h"

#include <math.h>
#include <string.h>

typedef struct {
    int64_t rows, classes, ignore;
    double smoothing;
    bool sum;
} entropy_options;

static bool counts(const entropy_options *o, int64_t label)
{
    return label != o->ignore && label >= 0 && label < o->classes;
}

/* The loss of one prediction, and its slope there. */
typedef double (*pointwise_fn)(double p, double t, double option, double *ret_slope);

#define OP_BODY "graph/op/loss_body.h"
#include "graph/op/typed.h"

static qn_status entropy_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    const qn_shape *logits = &types->inputs[0].shape;
    char text[128];
    QN_TRY(qn_op_want_float(types, 0, err));
    if (logits->rank < 1 || logits->dims[logits->rank - 1] < 1)
        QN_FAIL(err, QN_ERR_ARG, "logits are %s, expected [..., classes]",
                qn_shape_text(logits, text));
    qn_shape labels = *logits, classes = {1, {logits->dims[logits->rank - 1]}};
    labels.rank--;
    QN_TRY(qn_op_want_dtype(types, 1, QN_DTYPE_I64, err));
    QN_TRY(qn_op_want_shape(types, 1, &labels, err));
    if (qn_op_has(types, 2)) {
        QN_TRY(qn_op_want_dtype(types, 2, types->inputs[0].dtype, err));
        QN_TRY(qn_op_want_shape(types, 2, &classes, err));
    }
    ret_outputs[0] = (qn_type){types->inputs[0].dtype, QN_SCALAR};
    ret_outputs[1] = types->inputs[0];
    return QN_OK;
}

static void entropy_ref(const qn_op_run *run)
{
    const qn_shape *logits = &run->inputs[0].shape;
    entropy_options options = {
        .rows = qn_shape_count(&run->inputs[1].shape),
        .classes = logits->dims[logits->rank - 1],
        .ignore = qn_op_attr_i(run->types, "ignore_index"),
        .smoothing = qn_op_attr_f(run->types, "label_smoothing"),
        .sum = strcmp(qn_op_attr_s(run->types, "reduction"), "sum") == 0,
    };
    OP_FLOAT_CALL(run->inputs[0].dtype, entropy, run, &options);
}

static qn_status pointwise_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    QN_TRY(qn_op_want_float(types, 0, err));
    for (int i = 1; i < types->inputs_count; i++)
        QN_TRY(qn_op_want_like(types, i, 0, err));
    ret_outputs[0] = (qn_type){types->inputs[0].dtype, QN_SCALAR};
    ret_outputs[1] = types->inputs[0];
    return QN_OK;
}

static double squared(double p, double t, double option, double *ret_slope)
{
    (void)option;
    *ret_slope = 2 * (p - t);
    return (p - t) * (p - t);
}

static double absolute(double p, double t, double option, double *ret_slope)
{
    (void)option;
    *ret_slope = p > t ? 1 : p < t ? -1 : p - t; /* 0, or NaN */
    return fabs(p - t);
}

static double huber(double p, double t, double delta, double *ret_slope)
{
    double d = p - t, size = fabs(d);
    *ret_slope = d > delta ? delta : d < -delta ? -delta : d;
    return size <= delta ? 0.5 * d * d : delta * (size - 0.5 * delta);
}

/* -w t log s(p) - (1 - t) log(1 - s(p)) with s the sigmoid, by softplus(-|p|), which cannot overflow. */
static double binary_entropy(double p, double t, double pos_weight, double *ret_slope)
{
    double tail = log1p(exp(-fabs(p)));
    double minus = tail + (p < 0 ? -p : 0), plus = tail + (p > 0 ? p : 0); /* softplus(-p), (p) */
    double sigmoid = qn_op_activate("sigmoid", 0, p);
    *ret_slope = pos_weight * t * (sigmoid - 1) + (1 - t) * sigmoid;
    return pos_weight * t * minus + (1 - t) * plus;
}

/* p is the logarithm of the rate: the negative log-likelihood of a count t, without log t!. */
static double poisson(double p, double t, double option, double *ret_slope)
{
    (void)option;
    *ret_slope = exp(p) - t;
    return exp(p) - t * p;
}

/* Least where a share `quantile` of the targets lies below p (Koenker and Bassett 1978). */
static double pinball(double p, double t, double quantile, double *ret_slope)
{
    double slope = p < t ? -quantile : 1 - quantile;
    *ret_slope = p < t || p > t ? slope : p - t;
    return slope * (p - t);
}

/* The target's side is 1 where it is positive, else -1: labels may be -1 and 1, or 0 and 1. */
static double hinge(double p, double t, double margin, double *ret_slope)
{
    double side = t > 0 ? 1 : -1, gap = margin - side * p;
    *ret_slope = gap > 0 ? -side : gap < 0 ? 0 : gap;
    return gap < 0 ? 0 : gap;
}

static double squared_hinge(double p, double t, double margin, double *ret_slope)
{
    double gap = hinge(p, t, margin, ret_slope);
    *ret_slope *= 2 * gap;
    return gap * gap;
}

/* p is a log-probability; a negative t is no probability, and its logarithm NaN. */
static double divergence(double p, double t, double option, double *ret_slope)
{
    (void)option;
    *ret_slope = -t;
    return fpclassify(t) == FP_ZERO ? 0 : t * (log(t) - p);
}

static void pointwise_any(const qn_op_run *run, pointwise_fn fn, double option)
{
    OP_FLOAT_CALL(run->inputs[0].dtype, pointwise, run, fn, option);
}
static void squared_ref(const qn_op_run *run)
{
    pointwise_any(run, squared, 0);
}
static void absolute_ref(const qn_op_run *run)
{
    pointwise_any(run, absolute, 0);
}
static void huber_ref(const qn_op_run *run)
{
    pointwise_any(run, huber, qn_op_attr_f(run->types, "delta"));
}
static void binary_entropy_ref(const qn_op_run *run)
{
    pointwise_any(run, binary_entropy, qn_op_attr_f(run->types, "pos_weight"));
}

static void poisson_ref(const qn_op_run *run)
{
    pointwise_any(run, poisson, 0);
}
static void pinball_ref(const qn_op_run *run)
{
    pointwise_any(run, pinball, qn_op_attr_f(run->types, "quantile"));
}
static void hinge_ref(const qn_op_run *run)
{
    pointwise_any(run, hinge, qn_op_attr_f(run->types, "margin"));
}
static void squared_hinge_ref(const qn_op_run *run)
{
    pointwise_any(run, squared_hinge, qn_op_attr_f(run->types, "margin"));
}
static void divergence_ref(const qn_op_run *run)
{
    pointwise_any(run, divergence, 0);
}

/* Targets and weights are data: they get no gradient. */
static void loss_vjp(const qn_op_vjp *in, qn_value *ret)
{
    if (in->grads[0] != QN_NONE)
        ret[0] = qn_graph_op2(in->graph, "Mul", in->outputs[1], in->grads[0]);
}

static int64_t entropy_flops(const qn_op_types *types)
{
    return 15 * qn_shape_count(&types->inputs[0].shape);
}
static int64_t pointwise_flops(const qn_op_types *types)
{
    return 4 * qn_shape_count(&types->inputs[0].shape);
}

#define REDUCTION                                                                                  \
    {                                                                                              \
        .name = "reduction", .kind = QN_ATTR_STRING, .choices = "mean sum"                         \
    }
static const qn_attr_spec entropy_attrs[] = {
    {.name = "label_smoothing", .kind = QN_ATTR_FLOAT, .high = 1},
    {.name = "ignore_index", .kind = QN_ATTR_INT, .value = -100},
    REDUCTION,
    {0},
};
static const qn_attr_spec plain_attrs[] = {REDUCTION, {0}};
static const qn_attr_spec huber_attrs[] = {
    REDUCTION,
    {.name = "delta", .kind = QN_ATTR_FLOAT, .value = 1, .low = 1e-30, .high = 1e30},
    {0},
};
static const qn_attr_spec bce_attrs[] = {
    REDUCTION,
    {.name = "pos_weight", .kind = QN_ATTR_FLOAT, .value = 1, .low = 0, .high = 1e30},
    {0},
};
static const qn_attr_spec quantile_attrs[] = {
    REDUCTION,
    {.name = "quantile", .kind = QN_ATTR_FLOAT, .value = 0.5, .low = 0, .high = 1},
    {0},
};
static const qn_attr_spec hinge_attrs[] = {
    REDUCTION,
    {.name = "margin", .kind = QN_ATTR_FLOAT, .value = 1, .low = 0, .high = 1e30},
    {0},
};
/* batchmean: the sum divided by the first dimension. */
static const qn_attr_spec divergence_attrs[] = {
    {.name = "reduction", .kind = QN_ATTR_STRING, .choices = "mean sum batchmean"}, {0}};

#define SAMPLE(count, a, b, c, attr_count, ...)                                                    \
    {                                                                                              \
        .inputs_count = (count), .inputs = {a, b, c}, .low = 0.05, .high = 3,                      \
        .attrs_count = (attr_count), .attrs = {                                                    \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }
#define NOTHING                                                                                    \
    {                                                                                              \
        QN_DTYPE_F64,                                                                              \
        {                                                                                          \
            0,                                                                                     \
            {                                                                                      \
                0                                                                                  \
            }                                                                                      \
        }                                                                                          \
    }
#define P OP_F64(3, 4)
static const qn_op_sample entropy_samples[] = {
    SAMPLE(2, OP_F64(4, 3), OP_I64(4), NOTHING, 0, {0}),
    SAMPLE(3, OP_F64(4, 3), OP_I64(4), OP_F64(3), 1, OP_AF("label_smoothing", 0.1)),
    SAMPLE(2, OP_F64(2, 3, 3), OP_I64(2, 3), NOTHING, 2, OP_AI("ignore_index", 1),
           OP_AS("reduction", "sum")),
};
static const qn_op_sample pointwise_samples[] = {
    SAMPLE(2, P, P, NOTHING, 0, {0}),
    SAMPLE(3, P, P, OP_F64(3, 4), 1, OP_AS("reduction", "sum")),
};
static const qn_op_sample huber_samples[] = {
    SAMPLE(2, P, P, NOTHING, 0, {0}),
    SAMPLE(3, P, P, OP_F64(3, 4), 1, OP_AF("delta", 0.4)),
};
static const qn_op_sample bce_samples[] = {
    SAMPLE(2, P, P, NOTHING, 0, {0}),
    SAMPLE(3, P, P, OP_F64(3, 4), 1, OP_AF("pos_weight", 2.5)),
};
static const qn_op_sample quantile_samples[] = {
    SAMPLE(2, P, P, NOTHING, 0, {0}),
    SAMPLE(3, P, P, OP_F64(3, 4), 1, OP_AF("quantile", 0.9)),
};
static const qn_op_sample hinge_samples[] = {
    SAMPLE(2, P, P, NOTHING, 0, {0}),
    SAMPLE(3, P, P, OP_F64(3, 4), 1, OP_AF("margin", 2.5)),
};
static const qn_op_sample divergence_samples[] = {
    SAMPLE(2, P, P, NOTHING, 0, {0}),
    SAMPLE(3, P, P, OP_F64(3, 4), 1, OP_AS("reduction", "batchmean")),
};

#define ROW(op_name, stem, list, infer_fn, flops_fn, table)                                        \
    {                                                                                              \
        .name = (op_name), .inputs_min = 2, .inputs_max = 3, .outputs_count = 2, .attrs = (list),  \
        .infer = (infer_fn), .vjp = loss_vjp, .ref = stem##_ref, .flops = (flops_fn),              \
        OP_SAMPLES(table)                                                                          \
    }
#define POINTWISE(op_name, stem, list, table)                                                      \
    ROW(op_name, stem, list, pointwise_infer, pointwise_flops, table)

const qn_op qn_ops_loss[] = {
    ROW("SoftmaxCrossEntropy", entropy, entropy_attrs, entropy_infer, entropy_flops,
        entropy_samples),
    POINTWISE("BceWithLogits", binary_entropy, bce_attrs, bce_samples),
    POINTWISE("MeanSquaredError", squared, plain_attrs, pointwise_samples),
    POINTWISE("MeanAbsoluteError", absolute, plain_attrs, pointwise_samples),
    POINTWISE("Huber", huber, huber_attrs, huber_samples),
    POINTWISE("PoissonNLLLoss", poisson, plain_attrs, pointwise_samples),
    POINTWISE("QuantileLoss", pinball, quantile_attrs, quantile_samples),
    POINTWISE("HingeLoss", hinge, hinge_attrs, hinge_samples),
    POINTWISE("SquaredHingeLoss", squared_hinge, hinge_attrs, hinge_samples),
    POINTWISE("KLDivergence", divergence, divergence_attrs, divergence_samples),
    {0},
};
