/*
 * Activations, and the gradients of those that have their own kernel. The others' gradients are
 * built from arithmetic rows.
 */
#include "graph/op/common.h"
#include "graph/op/number.h"

#include <math.h>
#include <string.h>

#define FLOAT_LOOP(name, of_floats)                                                                \
    OP_LOOP1(f64, double, name, of_floats)                                                         \
    static const qn_op_loops name##_loops = {name##_f64, NULL, NULL};
#define REF(name, list)                                                                            \
    static void name##_ref(const qn_op_run *run)                                                   \
    {                                                                                              \
        double p[2] = {0};                                                                         \
        read_numbers(run->types, list, p);                                                         \
        qn_op_map(run, &name##_loops, p);                                                          \
    }
#define FLOATS(name, list, of_floats)                                                              \
    FLOAT_LOOP(name, of_floats)                                                                    \
    REF(name, list)
/* a is dy, b what the forward saved */
#define SLOPE(name, list, slope)                                                                   \
    OP_LOOP2(f64, double, name##_grad, a *(slope))                                                 \
    static const qn_op_loops name##_grad_loops = {name##_grad_f64, NULL, NULL};                    \
    REF(name##_grad, list)

static const qn_attr_spec no_attrs[] = {{0}};
static const qn_attr_spec leaky_attrs[] = {
    {.name = "alpha", .kind = QN_ATTR_FLOAT, .value = 0.01},
    {0},
};
static const qn_attr_spec alpha_attrs[] = {
    {.name = "alpha", .kind = QN_ATTR_FLOAT, .value = 1},
    {0},
};
static const qn_attr_spec gelu_attrs[] = {
    {.name = "approximate", .kind = QN_ATTR_STRING, .choices = "none tanh"},
    {0},
};
static const qn_attr_spec hard_sigmoid_attrs[] = {
    {.name = "alpha", .kind = QN_ATTR_FLOAT, .value = 0.2},
    {.name = "beta", .kind = QN_ATTR_FLOAT, .value = 0.5},
    {0},
};
static const qn_attr_spec selu_attrs[] = {
    {.name = "alpha", .kind = QN_ATTR_FLOAT, .value = 1.67326319217681884765625},
    {.name = "gamma", .kind = QN_ATTR_FLOAT, .value = 1.05070102214813232421875},
    {0},
};
static const qn_attr_spec shrink_attrs[] = {
    {.name = "lambd", .kind = QN_ATTR_FLOAT, .value = 0.5},
    {.name = "bias", .kind = QN_ATTR_FLOAT},
    {0},
};

/* The row's attributes as numbers: a choice counts as 1 unless it is the first. */
static void read_numbers(const qn_op_types *types, const qn_attr_spec *list, double p[2])
{
    for (int i = 0; list[i].name; i++) {
        const char *choices = list[i].choices;
        if (list[i].kind == QN_ATTR_FLOAT)
            p[i] = qn_op_attr_f(types, list[i].name);
        else
            p[i] = strcspn(choices, " ") != strlen(qn_op_attr_s(types, list[i].name)) ||
                   strncmp(choices, qn_op_attr_s(types, list[i].name), strcspn(choices, " ")) != 0;
    }
}

static double activate(const char *name, double x)
{
    return qn_op_activate(name, 0, x);
}
static double sigmoid(double x)
{
    return activate("sigmoid", x);
}
static double softplus(double x)
{
    return (x > 0 ? x : 0) + log1p(exp(-fabs(x)));
}
static double clamped(double x, double low, double high)
{
    return x < low ? low : x > high ? high : x;
}
static double shrunk(double x, double lambda, double bias)
{
    return x < -lambda ? x + bias : x > lambda ? x - bias : isnan(x) ? x : 0;
}

OP_LOOP1(f64, double, relu, a > 0 || isnan(a) ? a : 0)
OP_LOOP1(i64, int64_t, relu, a > 0 ? a : 0)
static const qn_op_loops relu_loops = {relu_f64, relu_i64, NULL};
REF(relu, no_attrs)
FLOATS(leaky_relu, leaky_attrs, a > 0 ? a : p[0] * a)
FLOATS(sigmoid, no_attrs, sigmoid(a))
FLOATS(tanh, no_attrs, tanh(a))
FLOATS(gelu, gelu_attrs, activate(p[0] > 0 ? "gelu_tanh" : "gelu", a))
FLOATS(silu, no_attrs, activate("silu", a))
FLOATS(swish, alpha_attrs, a *sigmoid(p[0] * a))
FLOATS(hard_sigmoid, hard_sigmoid_attrs, clamped(p[0] * a + p[1], 0, 1))
FLOATS(hard_swish, no_attrs, a *clamped(a / 6 + 0.5, 0, 1))
FLOATS(elu, alpha_attrs, a < 0 ? p[0] * expm1(a) : a)
FLOATS(selu, selu_attrs, p[1] * (a < 0 ? p[0] * expm1(a) : a))
FLOATS(celu, alpha_attrs, a < 0 ? p[0] * expm1(a / p[0]) : a)
FLOATS(softplus, no_attrs, softplus(a))
FLOATS(softsign, no_attrs, isinf(a) ? copysign(1, a) : a / (1 + fabs(a)))
FLOATS(thresholded_relu, alpha_attrs, a > p[0] || isnan(a) ? a : 0)
FLOATS(mish, no_attrs, a *tanh(softplus(a)))

OP_LOOP1(f64, double, shrink, shrunk(a, p[0], p[1]))
OP_LOOP1(i64, int64_t, shrink, shrunk((double)a, p[0], p[1]))
static const qn_op_loops shrink_loops = {shrink_f64, shrink_i64, NULL};
REF(shrink, shrink_attrs)

/* Derivatives. Those of relu, sigmoid and tanh see y, the others x. */
static double silu_slope(double x)
{
    return sigmoid(x) * (1 + x * (1 - sigmoid(x)));
}
static double gelu_slope(double x, bool by_tanh)
{
    if (!by_tanh)
        return 0.5 * (1 + erf(x * M_SQRT1_2)) +
               x * exp(-0.5 * x * x) * 0.5 * M_2_SQRTPI * M_SQRT1_2;
    const double c = 0.5 * M_2_SQRTPI * M_SQRT2; /* sqrt(2 / pi) */
    double t = tanh(c * (x + 0.044715 * x * x * x));
    return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * c * (1 + 3 * 0.044715 * x * x);
}
OP_LOOP2(f64, double, relu_grad, b > 0 ? a : 0) /* no product: what was cut off may be anything */
static const qn_op_loops relu_grad_loops = {relu_grad_f64, NULL, NULL};
REF(relu_grad, no_attrs)
SLOPE(leaky_relu, leaky_attrs, b > 0 ? 1 : p[0])
SLOPE(sigmoid, no_attrs, b *(1 - b))
SLOPE(tanh, no_attrs, 1 - b * b)
SLOPE(gelu, gelu_attrs, gelu_slope(b, p[0] > 0))
SLOPE(silu, no_attrs, silu_slope(b))

static qn_status like_infer(const qn_op_types *types, int kinds, qn_type *ret_outputs,
                            qn_error *err)
{
    QN_TRY(qn_op_want_kind(types, 0, kinds, err));
    for (int i = 1; i < types->inputs_count; i++)
        QN_TRY(qn_op_want_like(types, i, 0, err));
    ret_outputs[0] = types->inputs[0];
    return QN_OK;
}
static qn_status float_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    return like_infer(types, OP_KIND_FLOAT, ret_outputs, err);
}
static qn_status signed_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    return like_infer(types, OP_KIND_FLOAT | OP_KIND_SIGNED, ret_outputs, err);
}
static qn_status number_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    return like_infer(types, OP_KIND_NUMBER, ret_outputs, err);
}

/* Gradients as nodes. */
#define X  (in->inputs[0])
#define Y  (in->outputs[0])
#define DY (in->grads[0])

static qn_value apply(const qn_op_vjp *in, const char *op, qn_value x)
{
    return qn_graph_op1(in->graph, op, x);
}

static qn_value scalar(const qn_op_vjp *in, double value)
{
    return qn_graph_scalar(in->graph, qn_op_vjp_dtype(in, 0), value);
}

static qn_value above(const qn_op_vjp *in, qn_value x, double bound)
{
    return qn_graph_op2(in->graph, "Greater", x, scalar(in, bound));
}

/* The gradient row of this one, on dy and what it wants saved. */
static qn_value own_grad(const qn_op_vjp *in, const char *op, qn_value saved)
{
    return qn_op_like_node(in, op, (qn_value[]){DY, saved}, 2);
}

/* dy where low <= x <= high */
static qn_value pass_between(const qn_op_vjp *in, qn_value dy, double low, double high)
{
    qn_attr attrs[] = {QN_ATTR_F("min", low), QN_ATTR_F("max", high)};
    return qn_graph_node(in->graph, "ClipGrad", (qn_value[]){dy, X}, 2, attrs, 2);
}

/* dy where x > 0, else dy (y scale + shift): the exponential ones, whose slope y gives. */
static qn_value exponential(const qn_op_vjp *in, double linear, double scale, double shift)
{
    qn_value slope = qn_op_shift(in, qn_op_scale(in, Y, scale), shift);
    return qn_op_pick(in, above(in, X, 0), qn_op_scale(in, DY, linear), qn_op_mul(in, DY, slope));
}

#define VJP(name, expression)                                                                      \
    static void name##_vjp(const qn_op_vjp *in, qn_value *ret)                                     \
    {                                                                                              \
        ret[0] = expression;                                                                       \
    }
#define ALPHA qn_op_attr_f(in->types, "alpha")
VJP(relu, own_grad(in, "ReluGrad", Y))
VJP(sigmoid, own_grad(in, "SigmoidGrad", Y))
VJP(tanh, own_grad(in, "TanhGrad", Y))
VJP(leaky_relu, own_grad(in, "LeakyReluGrad", X))
VJP(gelu, own_grad(in, "GeluGrad", X))
VJP(silu, own_grad(in, "SiluGrad", X))
VJP(elu, exponential(in, 1, 1, ALPHA))
VJP(celu, exponential(in, 1, 1 / ALPHA, 1))
VJP(softplus, qn_op_mul(in, DY, apply(in, "Sigmoid", X)))
VJP(thresholded_relu, qn_op_pick(in, above(in, X, ALPHA), DY, scalar(in, 0)))

/* y = gamma alpha (e^x - 1) below 0 */
static void selu_vjp(const qn_op_vjp *in, qn_value *ret)
{
    double gamma = qn_op_attr_f(in->types, "gamma");
    ret[0] = exponential(in, gamma, 1, gamma * ALPHA);
}

/* x sigmoid(alpha x) = silu(alpha x) / alpha */
static void swish_vjp(const qn_op_vjp *in, qn_value *ret)
{
    qn_value scaled = qn_op_scale(in, X, ALPHA);
    ret[0] = qn_graph_op2(in->graph, "SiluGrad", DY, scaled);
}

static void hard_sigmoid_vjp(const qn_op_vjp *in, qn_value *ret)
{
    double beta = qn_op_attr_f(in->types, "beta"), zero = -beta / ALPHA, one = (1 - beta) / ALPHA;
    ret[0] = pass_between(in, qn_op_scale(in, DY, ALPHA), zero < one ? zero : one,
                          zero < one ? one : zero);
}

/* (x h(x))' = h + x h', h the hard sigmoid, which rises by 1/6 between -3 and 3 */
static void hard_swish_vjp(const qn_op_vjp *in, qn_value *ret)
{
    qn_attr attrs[] = {QN_ATTR_F("alpha", 1.0 / 6), QN_ATTR_F("beta", 0.5)};
    qn_value x = X;
    qn_value gate = qn_graph_node(in->graph, "HardSigmoid", &x, 1, attrs, 2);
    qn_value rise = pass_between(in, qn_op_scale(in, qn_op_mul(in, DY, X), 1.0 / 6), -3, 3);
    ret[0] = qn_graph_op2(in->graph, "Add", qn_op_mul(in, DY, gate), rise);
}

/* 1 / (1 + |x|)^2 = (1 - |y|)^2 */
static void softsign_vjp(const qn_op_vjp *in, qn_value *ret)
{
    qn_value rest = qn_op_shift(in, apply(in, "Abs", Y), -1);
    ret[0] = qn_op_mul(in, DY, apply(in, "Square", rest));
}

/* t + x s (1 - t^2), t = tanh(softplus(x)), s = sigmoid(x) */
static void mish_vjp(const qn_op_vjp *in, qn_value *ret)
{
    qn_value t = apply(in, "Tanh", apply(in, "Softplus", X));
    qn_value gate = qn_op_mul(in, X, apply(in, "Sigmoid", X));
    qn_value slope = qn_graph_op2(in->graph, "TanhGrad", gate, t);
    ret[0] = qn_op_mul(in, DY, qn_graph_op2(in->graph, "Add", t, slope));
}

static void shrink_vjp(const qn_op_vjp *in, qn_value *ret)
{
    qn_value moved = above(in, apply(in, "Abs", X), qn_op_attr_f(in->types, "lambd"));
    ret[0] = qn_op_pick(in, moved, DY, scalar(in, 0));
}

#define ONE(type, away, count, ...)                                                                \
    {                                                                                              \
        .inputs_count = 1, .inputs = {type}, .low = -4, .high = 4, .avoid = (away),                \
        .avoid_kink = true, .attrs_count = (count), .attrs = {                                     \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }
static const qn_op_sample any_samples[] = {
    ONE(OP_F64(3, 7), 0, 0, {0}),
    ONE(OP_F64_SCALAR, 0, 0, {0}),
    ONE(OP_F64(300), 0, 0, {0}),
};
static const qn_op_sample relu_samples[] = {ONE(OP_F64(3, 7), 0, 0, {0}),
                                            ONE(OP_I32(3, 7), 0, 0, {0})};
static const qn_op_sample alpha_samples[] = {ONE(OP_F64(3, 7), 0, 0, {0}),
                                             ONE(OP_F64(3, 7), 0, 1, OP_AF("alpha", 0.3))};
static const qn_op_sample threshold_samples[] = {ONE(OP_F64(3, 7), 1, 0, {0}),
                                                 ONE(OP_F64(3, 7), 2, 1, OP_AF("alpha", 2))};
static const qn_op_sample selu_samples[] = {
    ONE(OP_F64(3, 7), 0, 0, {0}),
    ONE(OP_F64(3, 7), 0, 2, OP_AF("alpha", 0.5), OP_AF("gamma", 2)),
};
static const qn_op_sample hard_sigmoid_samples[] = {
    ONE(OP_F64(3, 7), 2.5, 0, {0}),
    ONE(OP_F64(3, 7), 1, 2, OP_AF("alpha", 0.25), OP_AF("beta", 0.75)),
};
static const qn_op_sample hard_swish_samples[] = {ONE(OP_F64(5, 7), 3, 0, {0})};
static const qn_op_sample gelu_samples[] = {ONE(OP_F64(3, 7), 0, 0, {0}),
                                            ONE(OP_F64(3, 7), 0, 1, OP_AS("approximate", "tanh"))};
static const qn_op_sample shrink_samples[] = {
    ONE(OP_F64(3, 7), 0.5, 0, {0}),
    ONE(OP_F64(3, 7), 1.5, 2, OP_AF("lambd", 1.5), OP_AF("bias", 1)),
    ONE(OP_I32(9), 0, 2, OP_AF("lambd", 2), OP_AF("bias", 1)),
};
#define TWO(count, ...)                                                                            \
    {                                                                                              \
        .inputs_count = 2, .inputs = {OP_F64(3, 7), OP_F64(3, 7)}, .low = -1, .high = 1,           \
        .attrs_count = (count), .attrs = {                                                         \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }
static const qn_op_sample grad_samples[] = {TWO(0, {0})};
static const qn_op_sample leaky_grad_samples[] = {TWO(1, OP_AF("alpha", 0.2))};
static const qn_op_sample gelu_grad_samples[] = {TWO(0, {0}), TWO(1, OP_AS("approximate", "tanh"))};

#define ROW(op_name, stem, infer_fn, list, table)                                                  \
    {                                                                                              \
        .name = (op_name), .inputs_min = 1, .inputs_max = 1, .outputs_count = 1,                   \
        .flags = QN_OP_ELEMENTWISE, .attrs = (list), .infer = infer_fn##_infer, .vjp = stem##_vjp, \
        .ref = stem##_ref, OP_SAMPLES(table)                                                       \
    }
#define GRAD_ROW(op_name, stem, list, table)                                                       \
    {                                                                                              \
        .name = (op_name), .inputs_min = 2, .inputs_max = 2, .outputs_count = 1,                   \
        .flags = QN_OP_ELEMENTWISE | QN_OP_NO_GRADIENT, .attrs = (list), .infer = float_infer,     \
        .ref = stem##_grad_ref, OP_SAMPLES(table)                                                  \
    }

const qn_op qn_ops_activation[] = {
    ROW("Relu", relu, signed, NULL, relu_samples),
    ROW("LeakyRelu", leaky_relu, float, leaky_attrs, alpha_samples),
    ROW("Sigmoid", sigmoid, float, NULL, any_samples),
    ROW("Tanh", tanh, float, NULL, any_samples),
    ROW("Gelu", gelu, float, gelu_attrs, gelu_samples),
    ROW("Silu", silu, float, NULL, any_samples),
    ROW("Swish", swish, float, alpha_attrs, alpha_samples),
    ROW("HardSigmoid", hard_sigmoid, float, hard_sigmoid_attrs, hard_sigmoid_samples),
    ROW("HardSwish", hard_swish, float, NULL, hard_swish_samples),
    ROW("Elu", elu, float, alpha_attrs, alpha_samples),
    ROW("Selu", selu, float, selu_attrs, selu_samples),
    ROW("Celu", celu, float, alpha_attrs, alpha_samples),
    ROW("Softplus", softplus, float, NULL, any_samples),
    ROW("Softsign", softsign, float, NULL, any_samples),
    ROW("ThresholdedRelu", thresholded_relu, float, alpha_attrs, threshold_samples),
    ROW("Mish", mish, float, NULL, any_samples),
    ROW("Shrink", shrink, number, shrink_attrs, shrink_samples),
    GRAD_ROW("ReluGrad", relu, NULL, grad_samples),
    GRAD_ROW("LeakyReluGrad", leaky_relu, leaky_attrs, leaky_grad_samples),
    GRAD_ROW("SigmoidGrad", sigmoid, NULL, grad_samples),
    GRAD_ROW("TanhGrad", tanh, NULL, grad_samples),
    GRAD_ROW("GeluGrad", gelu, gelu_attrs, gelu_grad_samples),
    GRAD_ROW("SiluGrad", silu, NULL, grad_samples),
    {0},
};
