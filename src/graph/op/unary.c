/*
 * Functions of one number: arithmetic, rounding, exponentials, trigonometry, tests and bits.
 * Activations are in activation.c. Gradients are built from arithmetic rows.
 */
#include "graph/op/common.h"
#include "graph/op/number.h"

#include <float.h>
#include <math.h>

#define FLOAT_LOOP(name, of_floats)                                                                \
    OP_LOOP1(f64, double, name, of_floats)                                                         \
    static const qn_op_loops name##_loops = {name##_f64, NULL, NULL};
#define NUMBER_LOOPS(name, of_floats, of_signed, of_unsigned)                                      \
    OP_LOOP1(f64, double, name, of_floats)                                                         \
    OP_LOOP1(i64, int64_t, name, of_signed)                                                        \
    OP_LOOP1(u64, uint64_t, name, of_unsigned)                                                     \
    static const qn_op_loops name##_loops = {name##_f64, name##_i64, name##_u64};
#define REF(name)                                                                                  \
    static void name##_ref(const qn_op_run *run)                                                   \
    {                                                                                              \
        qn_op_map(run, &name##_loops, NULL);                                                       \
    }
#define FLOATS(name, of_floats)                                                                    \
    FLOAT_LOOP(name, of_floats)                                                                    \
    REF(name)
#define NUMBERS(name, of_floats, of_signed, of_unsigned)                                           \
    NUMBER_LOOPS(name, of_floats, of_signed, of_unsigned)                                          \
    REF(name)

/* Integers wrap as unsigned ones do; those shorter than 64 bits wrap when they are written. */
#define MINUS_A (int64_t)(0 - (uint64_t)a)
NUMBERS(neg, -a, MINUS_A, 0 - a)
NUMBERS(abs, fabs(a), a < 0 ? MINUS_A : a, a)
NUMBERS(sign, a > 0 ? 1 : a < 0 ? -1 : a, a > 0 ? 1 : a < 0 ? -1 : 0, a > 0 ? 1 : 0)
NUMBERS(square, a *a, (int64_t)((uint64_t)a *(uint64_t)a), a *a)
FLOATS(reciprocal, 1 / a)
FLOATS(sqrt, sqrt(a))
FLOATS(exp, exp(a))
FLOATS(log, log(a))
FLOATS(erf, erf(a))
FLOATS(floor, floor(a))
FLOATS(ceil, ceil(a))
FLOATS(round, rint(a)) /* half to even */
FLOATS(sin, sin(a))
FLOATS(cos, cos(a))
FLOATS(tan, tan(a))
FLOATS(asin, asin(a))
FLOATS(acos, acos(a))
FLOATS(atan, atan(a))
FLOATS(sinh, sinh(a))
FLOATS(cosh, cosh(a))
FLOATS(asinh, asinh(a))
FLOATS(acosh, acosh(a))
FLOATS(atanh, atanh(a))
FLOATS(is_nan, isnan(a))
NUMBERS(not, a == 0, a == 0, a == 0)
NUMBERS(bit_not, a, ~a, ~a)

FLOAT_LOOP(is_inf, isinf(a) && (a > 0 ? p[0] : p[1]) > 0)
static void is_inf_ref(const qn_op_run *run)
{
    double p[] = {(double)qn_op_attr_i(run->types, "detect_positive"),
                  (double)qn_op_attr_i(run->types, "detect_negative")};
    qn_op_map(run, &is_inf_loops, p);
}

/* Bounds beyond the integers are none. */
static int64_t signed_bound(double bound)
{
    return bound <= -0x1p63 ? INT64_MIN : bound >= 0x1p63 ? INT64_MAX : (int64_t)bound;
}
static uint64_t unsigned_bound(double bound)
{
    return bound <= 0 ? 0 : bound >= 0x1p64 ? UINT64_MAX : (uint64_t)bound;
}
/* The upper bound wins where they cross. */
#define WITHIN(x, low, high)                                                                       \
    ((x) < (low) ? (low) : (x)) > (high) ? (high) : (x) < (low) ? (low) : (x)
NUMBER_LOOPS(clip, WITHIN(a, p[0], p[1]), WITHIN(a, signed_bound(p[0]), signed_bound(p[1])),
             WITHIN(a, unsigned_bound(p[0]), unsigned_bound(p[1])))
static void clip_ref(const qn_op_run *run)
{
    double p[] = {qn_op_attr_f(run->types, "min"), qn_op_attr_f(run->types, "max")};
    qn_op_map(run, &clip_loops, p);
}

OP_LOOP2(f64, double, clip_grad, b >= p[0] && b <= p[1] ? a : 0)
static const qn_op_loops clip_grad_loops = {clip_grad_f64, NULL, NULL};
static void clip_grad_ref(const qn_op_run *run)
{
    double p[] = {qn_op_attr_f(run->types, "min"), qn_op_attr_f(run->types, "max")};
    qn_op_map(run, &clip_grad_loops, p);
}

#define INFER(name, kinds, dtype_out)                                                              \
    static qn_status name##_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)   \
    {                                                                                              \
        QN_TRY(qn_op_want_kind(types, 0, kinds, err));                                             \
        for (int i = 1; i < types->inputs_count; i++)                                              \
            QN_TRY(qn_op_want_like(types, i, 0, err));                                             \
        qn_dtype dtype = types->inputs[0].dtype;                                                   \
        (void)dtype;                                                                               \
        ret_outputs[0] = (qn_type){dtype_out, types->inputs[0].shape};                             \
        return QN_OK;                                                                              \
    }
INFER(float, OP_KIND_FLOAT, dtype)
INFER(signed, OP_KIND_FLOAT | OP_KIND_SIGNED, dtype)
INFER(number, OP_KIND_NUMBER, dtype)
INFER(test, OP_KIND_FLOAT, QN_DTYPE_BOOL)
INFER(bool, OP_KIND_BOOL, dtype)
INFER(bits, OP_KIND_INTEGER, dtype)

/* Gradients as nodes: dy times the slope, of x or y, whichever is less work. */
#define X  (in->inputs[0])
#define Y  (in->outputs[0])
#define DY (in->grads[0])
#define VJP(name, expression)                                                                      \
    static void name##_vjp(const qn_op_vjp *in, qn_value *ret)                                     \
    {                                                                                              \
        ret[0] = expression;                                                                       \
    }

static qn_value apply(const qn_op_vjp *in, const char *op, qn_value x)
{
    return qn_graph_op1(in->graph, op, x);
}
static qn_value negate(const qn_op_vjp *in, qn_value x)
{
    return apply(in, "Neg", x);
}
/* sign * x^2 + term */
static qn_value squared(const qn_op_vjp *in, qn_value x, double sign, double term)
{
    qn_value square = apply(in, "Square", x);
    return qn_op_shift(in, sign < 0 ? negate(in, square) : square, term);
}
static qn_value root(const qn_op_vjp *in, double sign, double term)
{
    return apply(in, "Sqrt", squared(in, X, sign, term));
}

VJP(neg, negate(in, DY))
VJP(abs, qn_op_mul(in, DY, apply(in, "Sign", X)))
VJP(exp, qn_op_mul(in, DY, Y))
VJP(log, qn_op_div(in, DY, X))
VJP(sqrt, qn_op_div(in, qn_op_scale(in, DY, 0.5), Y))
VJP(reciprocal, qn_op_mul(in, negate(in, DY), apply(in, "Square", Y)))
VJP(square, qn_op_mul(in, qn_op_scale(in, DY, 2), X))
VJP(sin, qn_op_mul(in, DY, apply(in, "Cos", X)))
VJP(cos, negate(in, qn_op_mul(in, DY, apply(in, "Sin", X))))
VJP(tan, qn_op_mul(in, DY, squared(in, Y, 1, 1)))
VJP(asin, qn_op_div(in, DY, root(in, -1, 1)))
VJP(acos, negate(in, qn_op_div(in, DY, root(in, -1, 1))))
VJP(atan, qn_op_div(in, DY, squared(in, X, 1, 1)))
VJP(sinh, qn_op_mul(in, DY, apply(in, "Cosh", X)))
VJP(cosh, qn_op_mul(in, DY, apply(in, "Sinh", X)))
VJP(asinh, qn_op_div(in, DY, root(in, 1, 1)))
VJP(acosh, qn_op_div(in, DY, root(in, 1, -1)))
VJP(atanh, qn_op_div(in, DY, squared(in, X, -1, 1)))
VJP(clip, qn_op_like_node(in, "ClipGrad", (qn_value[]){DY, X}, 2))

static void erf_vjp(const qn_op_vjp *in, qn_value *ret)
{
    qn_value bell = apply(in, "Exp", negate(in, apply(in, "Square", X))); /* exp(-x^2) */
    ret[0] = qn_op_mul(in, DY, qn_op_scale(in, bell, M_2_SQRTPI));
}

/* ONNX's defaults: the ends of f32 */
static const qn_attr_spec clip_attrs[] = {
    {.name = "min", .kind = QN_ATTR_FLOAT, .value = -FLT_MAX},
    {.name = "max", .kind = QN_ATTR_FLOAT, .value = FLT_MAX},
    {0},
};
static const qn_attr_spec is_inf_attrs[] = {
    {.name = "detect_negative", .kind = QN_ATTR_INT, .high = 1, .value = 1},
    {.name = "detect_positive", .kind = QN_ATTR_INT, .high = 1, .value = 1},
    {0},
};

#define ONE(type, from, to)                                                                        \
    {                                                                                              \
        .inputs_count = 1, .inputs = {type}, .low = (from), .high = (to), .avoid_kink = true       \
    }
static const qn_op_sample any_samples[] = {
    ONE(OP_F64(3, 7), -2, 2),
    ONE(OP_F64_SCALAR, -2, 2),
    ONE(OP_F64(0, 3), -2, 2),
    ONE(OP_F64(300), -2, 2),
};
static const qn_op_sample number_samples[] = {
    ONE(OP_F64(3, 7), -2, 2),
    ONE(OP_F64_SCALAR, -2, 2),
    ONE(OP_I32(300), 0, 90),
    ONE(OP_I64(3, 7), 0, 90),
};
static const qn_op_sample positive_samples[] = {ONE(OP_F64(3, 7), 0.2, 3)};
static const qn_op_sample inside_samples[] = {ONE(OP_F64(3, 7), -0.9, 0.9)};
static const qn_op_sample above_samples[] = {ONE(OP_F64(3, 7), 1.1, 3)};
static const qn_op_sample step_samples[] = {ONE(OP_F64(4, 5), -3, 3)};
static const qn_op_sample bool_samples[] = {ONE(OP_BOOL(40), 0, 2)};
static const qn_op_sample bit_samples[] = {ONE(OP_U8(40), 0, 250), ONE(OP_I32(40), 0, 250)};
static const qn_op_sample clip_samples[] = {
    {.inputs_count = 1,
     .inputs = {OP_F64(3, 7)},
     .low = -2,
     .high = 2,
     .avoid = 0.5,
     .avoid_kink = true,
     .attrs_count = 2,
     .attrs = {OP_AF("min", -5), OP_AF("max", 0.5)}},
    {.inputs_count = 1,
     .inputs = {OP_U8(30)},
     .high = 200,
     .attrs_count = 2,
     .attrs = {OP_AF("min", 20), OP_AF("max", 100)}},
};
static const qn_op_sample clip_grad_samples[] = {
    {.inputs_count = 2,
     .inputs = {OP_F64(3, 7), OP_F64(3, 7)},
     .low = -1,
     .high = 1,
     .attrs_count = 2,
     .attrs = {OP_AF("min", -0.5), OP_AF("max", 0.5)}},
};

#define ROW(op_name, stem, infer_fn, list, vjp_fn, table)                                          \
    {                                                                                              \
        .name = (op_name), .inputs_min = 1, .inputs_max = 1, .outputs_count = 1,                   \
        .flags = QN_OP_ELEMENTWISE, .attrs = (list), .infer = infer_fn##_infer, .vjp = (vjp_fn),   \
        .ref = stem##_ref, OP_SAMPLES(table)                                                       \
    }
#define SMOOTH(op_name, stem, table) ROW(op_name, stem, float, NULL, stem##_vjp, table)
#define STEP_ROW(op_name, stem, infer_fn, flag_bits, list, table)                                  \
    {                                                                                              \
        .name = (op_name), .inputs_min = 1, .inputs_max = 1, .outputs_count = 1,                   \
        .flags = QN_OP_NO_GRADIENT | (flag_bits), .attrs = (list), .infer = infer_fn##_infer,      \
        .ref = stem##_ref, OP_SAMPLES(table)                                                       \
    }

const qn_op qn_ops_unary[] = {
    ROW("Neg", neg, signed, NULL, neg_vjp, number_samples),
    ROW("Abs", abs, number, NULL, abs_vjp, number_samples),
    ROW("Square", square, number, NULL, square_vjp, number_samples),
    ROW("Clip", clip, number, clip_attrs, clip_vjp, clip_samples),
    SMOOTH("Exp", exp, any_samples),
    SMOOTH("Log", log, positive_samples),
    SMOOTH("Sqrt", sqrt, positive_samples),
    SMOOTH("Reciprocal", reciprocal, positive_samples),
    SMOOTH("Erf", erf, any_samples),
    SMOOTH("Sin", sin, any_samples),
    SMOOTH("Cos", cos, any_samples),
    SMOOTH("Tan", tan, inside_samples),
    SMOOTH("Asin", asin, inside_samples),
    SMOOTH("Acos", acos, inside_samples),
    SMOOTH("Atan", atan, any_samples),
    SMOOTH("Sinh", sinh, any_samples),
    SMOOTH("Cosh", cosh, any_samples),
    SMOOTH("Asinh", asinh, any_samples),
    SMOOTH("Acosh", acosh, above_samples),
    SMOOTH("Atanh", atanh, inside_samples),
    STEP_ROW("Sign", sign, number, QN_OP_ELEMENTWISE, NULL, number_samples),
    STEP_ROW("Floor", floor, float, QN_OP_ELEMENTWISE, NULL, step_samples),
    STEP_ROW("Ceil", ceil, float, QN_OP_ELEMENTWISE, NULL, step_samples),
    STEP_ROW("Round", round, float, QN_OP_ELEMENTWISE, NULL, step_samples),
    STEP_ROW("IsNaN", is_nan, test, 0, NULL, step_samples),
    STEP_ROW("IsInf", is_inf, test, 0, is_inf_attrs, step_samples),
    STEP_ROW("Not", not, bool, QN_OP_ELEMENTWISE, NULL, bool_samples),
    STEP_ROW("BitwiseNot", bit_not, bits, QN_OP_ELEMENTWISE, NULL, bit_samples),
    {.name = "ClipGrad",
     .inputs_min = 2,
     .inputs_max = 2,
     .outputs_count = 1,
     .flags = QN_OP_ELEMENTWISE | QN_OP_NO_GRADIENT,
     .attrs = clip_attrs,
     .infer = float_infer,
     .ref = clip_grad_ref,
     OP_SAMPLES(clip_grad_samples)},
    {0},
};
