/*
 * Functions of one number, and the gradients of those that have their own kernel. The others'
 * gradients are built from arithmetic rows.
 */
#include "graph/op/common.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* f(x), or for gradient rows f'(saved), with up to two attributes */
typedef double (*unary_fn)(double x, double a, double b);

#define OP_BODY "graph/op/unary_body.h"
#include "graph/op/typed.h"

static void apply(const qn_op_run *run, unary_fn fn, double a, double b)
{
    const qn_tensor *x = &run->inputs[0];
    OP_FLOAT_CALL(x->dtype, map, run->outputs[0].data, x->data, qn_shape_count(&x->shape), fn, a,
                  b);
}

static void apply_grad(const qn_op_run *run, unary_fn fn, double a, double b)
{
    const qn_tensor *dy = &run->inputs[0], *saved = &run->inputs[1];
    OP_FLOAT_CALL(dy->dtype, map_grad, run->outputs[0].data, dy->data, saved->data,
                  qn_shape_count(&dy->shape), fn, a, b);
}

/* A function of x alone (a and b are free) and its ref. */
#define UNARY(name, expression)                                                                    \
    static double name##_of(double x, double a, double b)                                          \
    {                                                                                              \
        (void)a;                                                                                   \
        (void)b;                                                                                   \
        return expression;                                                                         \
    }                                                                                              \
    static void name##_ref(const qn_op_run *run)                                                   \
    {                                                                                              \
        apply(run, name##_of, 0, 0);                                                               \
    }

UNARY(neg, -x)
UNARY(abs, fabs(x))
UNARY(exp, exp(x))
UNARY(log, log(x))
UNARY(sqrt, sqrt(x))
UNARY(reciprocal, 1 / x)
UNARY(square, x *x)
UNARY(sign, x > 0 ? 1 : x < 0 ? -1 : x)
UNARY(floor, floor(x))
UNARY(ceil, ceil(x))
UNARY(erf, erf(x))
UNARY(relu, qn_op_activate("relu", 0, x))
UNARY(sigmoid, qn_op_activate("sigmoid", 0, x))
UNARY(tanh, tanh(x))
UNARY(silu, qn_op_activate("silu", 0, x))

static double leaky_relu_of(double x, double alpha, double b)
{
    (void)b;
    return x > 0 ? x : alpha * x;
}
static void leaky_relu_ref(const qn_op_run *run)
{
    apply(run, leaky_relu_of, qn_op_attr_f(run->types, "alpha"), 0);
}

static double gelu_of(double x, double by_tanh, double b)
{
    (void)b;
    return qn_op_activate(by_tanh > 0 ? "gelu_tanh" : "gelu", 0, x);
}
static double by_tanh(const qn_op_types *types)
{
    return strcmp(qn_op_attr_s(types, "approximate"), "tanh") == 0;
}
static void gelu_ref(const qn_op_run *run)
{
    apply(run, gelu_of, by_tanh(run->types), 0);
}

static double clip_of(double x, double low, double high)
{
    return x < low ? low : x > high ? high : x;
}
static void clip_ref(const qn_op_run *run)
{
    apply(run, clip_of, qn_op_attr_f(run->types, "min"), qn_op_attr_f(run->types, "max"));
}

/* Derivatives. Those of relu, sigmoid and tanh see y, the others x. */
#define UNARY_GRAD(name, expression)                                                               \
    static double name##_slope(double s, double a, double b)                                       \
    {                                                                                              \
        (void)a;                                                                                   \
        (void)b;                                                                                   \
        return expression;                                                                         \
    }

UNARY_GRAD(relu, s > 0 ? 1 : 0)
UNARY_GRAD(sigmoid, s *(1 - s))
UNARY_GRAD(tanh, 1 - s * s)
UNARY_GRAD(leaky_relu, s > 0 ? 1 : a)
UNARY_GRAD(clip, s >= a && s <= b ? 1 : 0)

static double silu_slope(double x, double a, double b)
{
    (void)a;
    (void)b;
    double sigmoid = qn_op_activate("sigmoid", 0, x);
    return sigmoid * (1 + x * (1 - sigmoid));
}

static double gelu_slope(double x, double use_tanh, double b)
{
    (void)b;
    if (use_tanh <= 0)
        return 0.5 * (1 + erf(x * M_SQRT1_2)) +
               x * exp(-0.5 * x * x) * 0.5 * M_2_SQRTPI * M_SQRT1_2;
    const double c = 0.5 * M_2_SQRTPI * M_SQRT2; /* sqrt(2 / pi) */
    double t = tanh(c * (x + 0.044715 * x * x * x));
    return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * c * (1 + 3 * 0.044715 * x * x);
}

static void relu_grad_ref(const qn_op_run *run)
{
    apply_grad(run, relu_slope, 0, 0);
}
static void sigmoid_grad_ref(const qn_op_run *run)
{
    apply_grad(run, sigmoid_slope, 0, 0);
}
static void tanh_grad_ref(const qn_op_run *run)
{
    apply_grad(run, tanh_slope, 0, 0);
}
static void silu_grad_ref(const qn_op_run *run)
{
    apply_grad(run, silu_slope, 0, 0);
}
static void leaky_relu_grad_ref(const qn_op_run *run)
{
    apply_grad(run, leaky_relu_slope, qn_op_attr_f(run->types, "alpha"), 0);
}
static void gelu_grad_ref(const qn_op_run *run)
{
    apply_grad(run, gelu_slope, by_tanh(run->types), 0);
}
static void clip_grad_ref(const qn_op_run *run)
{
    apply_grad(run, clip_slope, qn_op_attr_f(run->types, "min"), qn_op_attr_f(run->types, "max"));
}

/* Gradients as nodes. */
static void neg_vjp(const qn_op_vjp *in, qn_value *ret)
{
    ret[0] = qn_graph_op1(in->graph, "Neg", in->grads[0]);
}
static void abs_vjp(const qn_op_vjp *in, qn_value *ret)
{
    qn_value sign = qn_graph_op1(in->graph, "Sign", in->inputs[0]);
    ret[0] = qn_graph_op2(in->graph, "Mul", in->grads[0], sign);
}
static void exp_vjp(const qn_op_vjp *in, qn_value *ret)
{
    ret[0] = qn_graph_op2(in->graph, "Mul", in->grads[0], in->outputs[0]);
}
static void log_vjp(const qn_op_vjp *in, qn_value *ret)
{
    ret[0] = qn_graph_op2(in->graph, "Div", in->grads[0], in->inputs[0]);
}
static void sqrt_vjp(const qn_op_vjp *in, qn_value *ret)
{
    ret[0] = qn_graph_op2(in->graph, "Div", qn_op_scale(in, in->grads[0], 0.5), in->outputs[0]);
}
static void reciprocal_vjp(const qn_op_vjp *in, qn_value *ret)
{
    qn_value square = qn_graph_op1(in->graph, "Square", in->outputs[0]);
    qn_value minus = qn_graph_op1(in->graph, "Neg", in->grads[0]);
    ret[0] = qn_graph_op2(in->graph, "Mul", minus, square);
}
static void square_vjp(const qn_op_vjp *in, qn_value *ret)
{
    ret[0] = qn_graph_op2(in->graph, "Mul", qn_op_scale(in, in->grads[0], 2), in->inputs[0]);
}
static void erf_vjp(const qn_op_vjp *in, qn_value *ret)
{
    qn_value square = qn_graph_op1(in->graph, "Square", in->inputs[0]);
    qn_value bell =
        qn_graph_op1(in->graph, "Exp", qn_graph_op1(in->graph, "Neg", square)); /* exp(-x^2) */
    ret[0] = qn_graph_op2(in->graph, "Mul", in->grads[0], qn_op_scale(in, bell, M_2_SQRTPI));
}
static void relu_vjp(const qn_op_vjp *in, qn_value *ret)
{
    ret[0] = qn_graph_op2(in->graph, "ReluGrad", in->grads[0], in->outputs[0]);
}
static void sigmoid_vjp(const qn_op_vjp *in, qn_value *ret)
{
    ret[0] = qn_graph_op2(in->graph, "SigmoidGrad", in->grads[0], in->outputs[0]);
}
static void tanh_vjp(const qn_op_vjp *in, qn_value *ret)
{
    ret[0] = qn_graph_op2(in->graph, "TanhGrad", in->grads[0], in->outputs[0]);
}
static void silu_vjp(const qn_op_vjp *in, qn_value *ret)
{
    ret[0] = qn_graph_op2(in->graph, "SiluGrad", in->grads[0], in->inputs[0]);
}
static void leaky_relu_vjp(const qn_op_vjp *in, qn_value *ret)
{
    ret[0] = qn_op_like_node(in, "LeakyReluGrad", (qn_value[]){in->grads[0], in->inputs[0]}, 2);
}
static void gelu_vjp(const qn_op_vjp *in, qn_value *ret)
{
    ret[0] = qn_op_like_node(in, "GeluGrad", (qn_value[]){in->grads[0], in->inputs[0]}, 2);
}
static void clip_vjp(const qn_op_vjp *in, qn_value *ret)
{
    ret[0] = qn_op_like_node(in, "ClipGrad", (qn_value[]){in->grads[0], in->inputs[0]}, 2);
}

static const qn_attr_spec alpha_attrs[] = {
    {.name = "alpha", .kind = QN_ATTR_FLOAT, .value = 0.01},
    {0},
};
static const qn_attr_spec gelu_attrs[] = {
    {.name = "approximate", .kind = QN_ATTR_STRING, .choices = "none tanh"},
    {0},
};
/* ONNX's defaults: the ends of f32 */
static const qn_attr_spec clip_attrs[] = {
    {.name = "min", .kind = QN_ATTR_FLOAT, .value = -FLT_MAX},
    {.name = "max", .kind = QN_ATTR_FLOAT, .value = FLT_MAX},
    {0},
};

static const qn_op_sample any_samples[] = {
    {.inputs_count = 1, .inputs = {OP_F64(3, 7)}, .low = -2, .high = 2, .avoid_kink = true},
    {.inputs_count = 1, .inputs = {OP_F64_SCALAR}, .low = -2, .high = 2, .avoid_kink = true},
};
static const qn_op_sample positive_samples[] = {
    {.inputs_count = 1, .inputs = {OP_F64(3, 7)}, .low = 0.2, .high = 3},
};
static const qn_op_sample step_samples[] = {
    {.inputs_count = 1, .inputs = {OP_F64(4, 5)}, .low = -3, .high = 3},
};
static const qn_op_sample alpha_samples[] = {
    {.inputs_count = 1,
     .inputs = {OP_F64(3, 7)},
     .low = -2,
     .high = 2,
     .avoid_kink = true,
     .attrs_count = 1,
     .attrs = {OP_AF("alpha", 0.2)}},
};
static const qn_op_sample gelu_samples[] = {
    {.inputs_count = 1, .inputs = {OP_F64(3, 7)}, .low = -3, .high = 3},
    {.inputs_count = 1,
     .inputs = {OP_F64(3, 7)},
     .low = -3,
     .high = 3,
     .attrs_count = 1,
     .attrs = {OP_AS("approximate", "tanh")}},
};
static const qn_op_sample clip_samples[] = {
    {.inputs_count = 1,
     .inputs = {OP_F64(3, 7)},
     .low = -2,
     .high = 2,
     .avoid = 0.5,
     .avoid_kink = true,
     .attrs_count = 2,
     .attrs = {OP_AF("min", -5), OP_AF("max", 0.5)}},
};
static const qn_op_sample grad_samples[] = {
    {.inputs_count = 2, .inputs = {OP_F64(3, 7), OP_F64(3, 7)}, .low = -1, .high = 1},
};
static const qn_op_sample alpha_grad_samples[] = {
    {.inputs_count = 2,
     .inputs = {OP_F64(3, 7), OP_F64(3, 7)},
     .low = -1,
     .high = 1,
     .attrs_count = 1,
     .attrs = {OP_AF("alpha", 0.2)}},
};
static const qn_op_sample gelu_grad_samples[] = {
    {.inputs_count = 2, .inputs = {OP_F64(3, 7), OP_F64(3, 7)}, .low = -3, .high = 3},
    {.inputs_count = 2,
     .inputs = {OP_F64(3, 7), OP_F64(3, 7)},
     .low = -3,
     .high = 3,
     .attrs_count = 1,
     .attrs = {OP_AS("approximate", "tanh")}},
};
static const qn_op_sample clip_grad_samples[] = {
    {.inputs_count = 2,
     .inputs = {OP_F64(3, 7), OP_F64(3, 7)},
     .low = -1,
     .high = 1,
     .attrs_count = 2,
     .attrs = {OP_AF("min", -0.5), OP_AF("max", 0.5)}},
};

#define ROW(op_name, stem, list, table)                                                            \
    {                                                                                              \
        .name = (op_name), .inputs_min = 1, .inputs_max = 1, .outputs_count = 1,                   \
        .flags = QN_OP_ELEMENTWISE, .attrs = (list), .infer = qn_op_infer_same, .vjp = stem##_vjp, \
        .ref = stem##_ref, OP_SAMPLES(table)                                                       \
    }
#define STEP_ROW(op_name, stem)                                                                    \
    {                                                                                              \
        .name = (op_name), .inputs_min = 1, .inputs_max = 1, .outputs_count = 1,                   \
        .flags = QN_OP_ELEMENTWISE | QN_OP_NO_GRADIENT, .infer = qn_op_infer_same,                 \
        .ref = stem##_ref, OP_SAMPLES(step_samples)                                                \
    }
#define GRAD_ROW(op_name, stem, list, table)                                                       \
    {                                                                                              \
        .name = (op_name), .inputs_min = 2, .inputs_max = 2, .outputs_count = 1,                   \
        .flags = QN_OP_ELEMENTWISE | QN_OP_NO_GRADIENT, .attrs = (list),                           \
        .infer = qn_op_infer_same, .ref = stem##_grad_ref, OP_SAMPLES(table)                       \
    }

const qn_op qn_ops_unary[] = {
    ROW("Neg", neg, NULL, any_samples),
    ROW("Abs", abs, NULL, any_samples),
    ROW("Exp", exp, NULL, any_samples),
    ROW("Log", log, NULL, positive_samples),
    ROW("Sqrt", sqrt, NULL, positive_samples),
    ROW("Reciprocal", reciprocal, NULL, positive_samples),
    ROW("Square", square, NULL, any_samples),
    STEP_ROW("Sign", sign),
    STEP_ROW("Floor", floor),
    STEP_ROW("Ceil", ceil),
    ROW("Erf", erf, NULL, any_samples),
    ROW("Relu", relu, NULL, any_samples),
    ROW("LeakyRelu", leaky_relu, alpha_attrs, alpha_samples),
    ROW("Sigmoid", sigmoid, NULL, any_samples),
    ROW("Tanh", tanh, NULL, any_samples),
    ROW("Gelu", gelu, gelu_attrs, gelu_samples),
    ROW("Silu", silu, NULL, any_samples),
    ROW("Clip", clip, clip_attrs, clip_samples),
    GRAD_ROW("ReluGrad", relu, NULL, grad_samples),
    GRAD_ROW("LeakyReluGrad", leaky_relu, alpha_attrs, alpha_grad_samples),
    GRAD_ROW("SigmoidGrad", sigmoid, NULL, grad_samples),
    GRAD_ROW("TanhGrad", tanh, NULL, grad_samples),
    GRAD_ROW("GeluGrad", gelu, gelu_attrs, gelu_grad_samples),
    GRAD_ROW("SiluGrad", silu, NULL, grad_samples),
    GRAD_ROW("ClipGrad", clip, clip_attrs, clip_grad_samples),
    {0},
};
