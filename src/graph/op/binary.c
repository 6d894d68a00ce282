/*
 * Arithmetic of tensors with broadcasting, comparisons, logic, bits and Where, over every element
 * type that ONNX lets them take. A gradient is summed back over what was broadcast.
 */
#include "graph/op/common.h"
#include "graph/op/number.h"

#include <math.h>
#include <string.h>

/* The loops of a row for the three wide types, and its ref. Integers wrap: sums are of unsigned
 * numbers. */
#define LOOPS(name, of_floats, of_signed, of_unsigned)                                             \
    OP_LOOP2(f64, double, name, of_floats)                                                         \
    OP_LOOP2(i64, int64_t, name, of_signed)                                                        \
    OP_LOOP2(u64, uint64_t, name, of_unsigned)                                                     \
    static const qn_op_loops name##_loops = {name##_f64, name##_i64, name##_u64};
#define INTEGER_LOOPS(name, of_signed, of_unsigned)                                                \
    OP_LOOP2(i64, int64_t, name, of_signed)                                                        \
    OP_LOOP2(u64, uint64_t, name, of_unsigned)                                                     \
    static const qn_op_loops name##_loops = {NULL, name##_i64, name##_u64};
/* One expression whatever the type. */
#define SAME_LOOPS(name, expression) LOOPS(name, expression, expression, expression)
#define REF(name)                                                                                  \
    static void name##_ref(const qn_op_run *run)                                                   \
    {                                                                                              \
        qn_op_fold(run, &name##_loops, NULL);                                                      \
    }

/* As the kernels: a zero divisor gives 0, and the one overflow wraps. */
static int64_t quotient(int64_t a, int64_t b)
{
    if (b == 0)
        return 0;
    return b == -1 ? (int64_t)(0 - (uint64_t)a) : a / b;
}

/* The remainder has the sign of the divisor, or of the dividend with `fmod`. */
static int64_t remainder_of(int64_t a, int64_t b, bool like_fmod)
{
    if (b == 0 || b == -1)
        return 0;
    int64_t rest = a % b;
    return !like_fmod && rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}
static double float_remainder(double a, double b, bool like_fmod)
{
    double rest = fmod(a, b);
    return !like_fmod && fabs(rest) > 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}

/* By squaring. */
static uint64_t whole_power(uint64_t a, uint64_t b)
{
    uint64_t product = 1;
    for (; b; b >>= 1, a *= a)
        if (b & 1)
            product *= a;
    return product;
}
static int64_t signed_power(int64_t a, int64_t b)
{
    if (b >= 0)
        return (int64_t)whole_power((uint64_t)a, (uint64_t)b);
    return a == 1 ? 1 : a == -1 ? (b & 1 ? -1 : 1) : 0;
}

static uint64_t shifted(uint64_t a, uint64_t by, bool left)
{
    if (by > 63)
        return 0;
    return left ? a << by : a >> by;
}
/* To the right the sign fills up; by a negative number or too many places only it is left. */
static int64_t signed_shifted(int64_t a, int64_t by, bool left)
{
    uint64_t places = (uint64_t)by; /* a negative one is too many */
    if (left)
        return (int64_t)shifted((uint64_t)a, places, true);
    return a < 0 ? (int64_t)~shifted(~(uint64_t)a, places, false)
                 : (int64_t)shifted((uint64_t)a, places, false);
}

/* NaN wins, as numpy's minimum. */
#define LEAST   a < b || a != a ? a : b
#define LARGEST a > b || a != a ? a : b
LOOPS(add, a + b, (int64_t)((uint64_t)a + (uint64_t)b), a + b)
LOOPS(sub, a - b, (int64_t)((uint64_t)a - (uint64_t)b), a - b)
LOOPS(mul, a *b, (int64_t)((uint64_t)a *(uint64_t)b), a *b)
LOOPS(div, a / b, quotient(a, b), b == 0 ? 0 : a / b)
LOOPS(min, LEAST, a < b ? a : b, a < b ? a : b)
LOOPS(max, LARGEST, a > b ? a : b, a > b ? a : b)
LOOPS(pow, pow(a, b), signed_power(a, b), whole_power(a, b))
LOOPS(mod, float_remainder(a, b, p[0] > 0), remainder_of(a, b, p[0] > 0), b == 0 ? 0 : a % b)
LOOPS(prelu, a < 0 ? a * b : a, a < 0 ? (int64_t)((uint64_t)a * (uint64_t)b) : a, a)
SAME_LOOPS(equal, a == b)
SAME_LOOPS(less, a < b)
SAME_LOOPS(greater, a > b)
SAME_LOOPS(less_or_equal, a <= b)
SAME_LOOPS(greater_or_equal, a >= b)
INTEGER_LOOPS(and, a != 0 && b != 0, a != 0 && b != 0)
INTEGER_LOOPS(or, a != 0 || b != 0, a != 0 || b != 0)
INTEGER_LOOPS(xor, (a != 0) != (b != 0), (a != 0) != (b != 0))
INTEGER_LOOPS(bit_and, a &b, a &b)
INTEGER_LOOPS(bit_or, a | b, a | b)
INTEGER_LOOPS(bit_xor, a ^ b, a ^ b)
INTEGER_LOOPS(shift, signed_shifted(a, b, p[0] > 0), shifted(a, b, p[0] > 0))

REF(add)
REF(sub)
REF(mul)
REF(div)
REF(min)
REF(max)
REF(pow)
REF(prelu)
REF(equal)
REF(less)
REF(greater)
REF(less_or_equal)
REF(greater_or_equal)
REF(and)
REF(or)
REF(xor)
REF(bit_and)
REF(bit_or)
REF(bit_xor)

static void mod_ref(const qn_op_run *run)
{
    double like_fmod = (double)qn_op_attr_i(run->types, "fmod");
    qn_op_fold(run, &mod_loops, &like_fmod);
}

static void shift_ref(const qn_op_run *run)
{
    double left = strcmp(qn_op_attr_s(run->types, "direction"), "LEFT") == 0;
    qn_op_fold(run, &shift_loops, &left);
}

static void mean_ref(const qn_op_run *run)
{
    double count = (double)run->types->inputs_count;
    qn_op_types types = {.op = run->types->op, .inputs_count = 2, .outputs_count = 1};
    qn_tensor parts[2] = {run->outputs[0], qn_tensor_of(&count, QN_DTYPE_F64, QN_SCALAR)};
    qn_op_run over = {.types = &types, .inputs = parts, .outputs = run->outputs};
    qn_op_fold(run, &add_loops, NULL);
    qn_op_fold(&over, &div_loops, NULL);
}

/* All inputs of one type, of one of these kinds. */
static qn_status infer_kind(const qn_op_types *types, int kinds, qn_type *ret_outputs,
                            qn_error *err)
{
    QN_TRY(qn_op_want_kind(types, 0, kinds, err));
    for (int i = 1; i < types->inputs_count; i++)
        QN_TRY(qn_op_want_dtype(types, i, types->inputs[0].dtype, err));
    qn_shape shape;
    QN_TRY(qn_op_broadcast_all(types, &shape, err));
    ret_outputs[0] = (qn_type){types->inputs[0].dtype, shape};
    return QN_OK;
}

#define INFER(name, kinds)                                                                         \
    static qn_status name##_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)   \
    {                                                                                              \
        return infer_kind(types, kinds, ret_outputs, err);                                         \
    }
INFER(arithmetic, OP_KIND_NUMBER)
INFER(mean, OP_KIND_FLOAT)
INFER(logic, OP_KIND_BOOL)
INFER(bits, OP_KIND_INTEGER)
INFER(shift, OP_KIND_INTEGER)

/* The exponent may be of another type: the result is of the base's. */
static qn_status pow_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    qn_shape shape;
    QN_TRY(qn_op_want_kind(types, 0, OP_KIND_NUMBER, err));
    QN_TRY(qn_op_want_kind(types, 1, OP_KIND_NUMBER, err));
    QN_TRY(qn_op_broadcast_all(types, &shape, err));
    ret_outputs[0] = (qn_type){types->inputs[0].dtype, shape};
    return QN_OK;
}

/* The slopes may be fewer, but not more. */
static qn_status prelu_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    char came[128], want[128];
    qn_type out;
    QN_TRY(infer_kind(types, OP_KIND_NUMBER, &out, err));
    if (!qn_shape_equal(&out.shape, &types->inputs[0].shape))
        QN_FAIL(err, QN_ERR_ARG, "input 1 is %s, which is larger than %s",
                qn_shape_text(&types->inputs[1].shape, came),
                qn_shape_text(&types->inputs[0].shape, want));
    ret_outputs[0] = out;
    return QN_OK;
}

static qn_status compare_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    QN_TRY(infer_kind(types, OP_KIND_ANY, ret_outputs, err));
    ret_outputs[0].dtype = QN_DTYPE_BOOL;
    return QN_OK;
}

static qn_status where_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    qn_shape shape;
    QN_TRY(qn_op_want_dtype(types, 0, QN_DTYPE_BOOL, err));
    QN_TRY(qn_op_want_dtype(types, 2, types->inputs[1].dtype, err));
    QN_TRY(qn_op_broadcast_all(types, &shape, err));
    ret_outputs[0] = (qn_type){types->inputs[1].dtype, shape};
    return QN_OK;
}

static void where_ref(const qn_op_run *run)
{
    const qn_shape *shape = &run->outputs[0].shape;
    const uint8_t *condition = run->inputs[0].data;
    size_t size = qn_dtype_size(run->outputs[0].dtype);
    int64_t strides[3][QN_RANK_MAX], count = qn_shape_count(shape);
    for (int i = 0; i < 3; i++)
        qn_op_strides(&run->inputs[i].shape, shape, strides[i]);
    for (int64_t i = 0; i < count; i++) {
        int from = condition[qn_op_offset(shape, strides[0], i)] ? 1 : 2;
        int64_t at = qn_op_offset(shape, strides[from], i);
        memcpy((char *)run->outputs[0].data + (size_t)i * size,
               (const char *)run->inputs[from].data + (size_t)at * size, size);
    }
}

static qn_value to_input(const qn_op_vjp *in, int input, qn_value grad)
{
    return qn_op_reduce_to(in->graph, grad, &in->types->inputs[input]);
}

static qn_value scalar(const qn_op_vjp *in, double value)
{
    return qn_graph_scalar(in->graph, qn_op_vjp_dtype(in, 0), value);
}

static void add_vjp(const qn_op_vjp *in, qn_value *ret)
{
    for (int i = 0; i < in->types->inputs_count; i++)
        ret[i] = to_input(in, i, in->grads[0]);
}

static void mean_vjp(const qn_op_vjp *in, qn_value *ret)
{
    qn_value share = qn_op_scale(in, in->grads[0], 1.0 / (double)in->types->inputs_count);
    for (int i = 0; i < in->types->inputs_count; i++)
        ret[i] = to_input(in, i, share);
}

static void sub_vjp(const qn_op_vjp *in, qn_value *ret)
{
    ret[0] = to_input(in, 0, in->grads[0]);
    ret[1] = qn_graph_op1(in->graph, "Neg", to_input(in, 1, in->grads[0]));
}

static void mul_vjp(const qn_op_vjp *in, qn_value *ret)
{
    for (int i = 0; i < 2; i++)
        ret[i] = to_input(in, i, qn_op_mul(in, in->grads[0], in->inputs[1 - i]));
}

static void div_vjp(const qn_op_vjp *in, qn_value *ret)
{
    qn_value over = qn_op_div(in, in->grads[0], in->inputs[1]);
    ret[0] = to_input(in, 0, over);
    qn_value second = qn_op_mul(in, over, in->outputs[0]);
    ret[1] = qn_graph_op1(in->graph, "Neg", to_input(in, 1, second));
}

/* To the first input that is the result; a result of NaN gives nobody a gradient but the last. */
static void extreme_vjp(const qn_op_vjp *in, qn_value *ret)
{
    qn_value zero = scalar(in, 0), taken = QN_NONE;
    int last = in->types->inputs_count - 1;
    for (int i = 0; i < last; i++) {
        qn_value wins = qn_graph_op2(in->graph, "Equal", in->inputs[i], in->outputs[0]);
        qn_value share = qn_op_pick(in, wins, in->grads[0], zero);
        ret[i] = to_input(in, i, taken == QN_NONE ? share : qn_op_pick(in, taken, zero, share));
        taken = taken == QN_NONE ? wins : qn_graph_op2(in->graph, "Or", taken, wins);
    }
    qn_value rest = taken == QN_NONE ? in->grads[0] : qn_op_pick(in, taken, zero, in->grads[0]);
    ret[last] = to_input(in, last, rest);
}

/* d/da a^b = b a^(b - 1);  d/db a^b = a^b log a, taken as 0 where a <= 0. */
static void pow_vjp(const qn_op_vjp *in, qn_value *ret)
{
    qn_graph *graph = in->graph;
    qn_value a = in->inputs[0], b = in->inputs[1], dy = in->grads[0];
    qn_attr to = QN_ATTR_S("to", qn_dtype_name(qn_op_vjp_dtype(in, 0)));
    if (qn_op_vjp_dtype(in, 1) != qn_op_vjp_dtype(in, 0))
        b = qn_graph_node(graph, "Cast", &b, 1, &to, 1);
    qn_value lower = qn_graph_op2(graph, "Pow", a, qn_op_shift(in, b, -1));
    ret[0] = to_input(in, 0, qn_op_mul(in, dy, qn_op_mul(in, b, lower)));
    if (qn_op_vjp_dtype(in, 1) != qn_op_vjp_dtype(in, 0))
        return;
    qn_value rate = qn_op_mul(in, in->outputs[0], qn_graph_op1(graph, "Log", a));
    qn_value positive = qn_graph_op2(graph, "Greater", a, scalar(in, 0));
    ret[1] = to_input(in, 1, qn_op_mul(in, dy, qn_op_pick(in, positive, rate, scalar(in, 0))));
}

/* a mod b = a - b * whole, where whole does not move. */
static void mod_vjp(const qn_op_vjp *in, qn_value *ret)
{
    qn_value rest = qn_graph_op2(in->graph, "Sub", in->outputs[0], in->inputs[0]);
    ret[0] = to_input(in, 0, in->grads[0]);
    ret[1] = to_input(in, 1, qn_op_mul(in, in->grads[0], qn_op_div(in, rest, in->inputs[1])));
}

static void prelu_vjp(const qn_op_vjp *in, qn_value *ret)
{
    qn_value negative = qn_graph_op2(in->graph, "Less", in->inputs[0], scalar(in, 0));
    qn_value sloped = qn_op_mul(in, in->grads[0], in->inputs[1]);
    qn_value product = qn_op_mul(in, in->grads[0], in->inputs[0]);
    ret[0] = qn_op_pick(in, negative, sloped, in->grads[0]);
    ret[1] = to_input(in, 1, qn_op_pick(in, negative, product, scalar(in, 0)));
}

static void where_vjp(const qn_op_vjp *in, qn_value *ret)
{
    if (!qn_op_vjp_wants(in, 1))
        return;
    qn_value zero = qn_graph_scalar(in->graph, qn_op_vjp_dtype(in, 1), 0);
    qn_value condition = in->inputs[0], dy = in->grads[0];
    ret[1] = to_input(in, 1, qn_op_pick(in, condition, dy, zero));
    ret[2] = to_input(in, 2, qn_op_pick(in, condition, zero, dy));
}

static const qn_attr_spec mod_attrs[] = {
    {.name = "fmod", .kind = QN_ATTR_INT, .high = 1},
    {0},
};
static const qn_attr_spec shift_attrs[] = {
    {.name = "direction", .kind = QN_ATTR_STRING, .required = true, .choices = "LEFT RIGHT"},
    {0},
};

#define PAIR(a, b, from, to)                                                                       \
    {                                                                                              \
        .inputs_count = 2, .inputs = {a, b}, .low = (from), .high = (to)                           \
    }
#define PAIR_WITH(a, b, from, to, attr)                                                            \
    {                                                                                              \
        .inputs_count = 2, .inputs = {a, b}, .low = (from), .high = (to), .attrs_count = 1,        \
        .attrs = {                                                                                 \
            attr                                                                                   \
        }                                                                                          \
    }
static const qn_op_sample samples[] = {
    PAIR(OP_F64(3, 4), OP_F64(3, 4), -2, 2),    PAIR(OP_F64(2, 3, 4), OP_F64(4), -2, 2),
    PAIR(OP_F64(3, 1), OP_F64(2, 1, 4), -2, 2), PAIR(OP_F64_SCALAR, OP_F64(5), -2, 2),
    PAIR(OP_I32(3, 5), OP_I32(5), 0, 9),        PAIR(OP_U8(300), OP_U8(300), 0, 200),
    PAIR(OP_F64(0, 4), OP_F64(4), -2, 2),
};
static const qn_op_sample prelu_samples[] = {
    {.inputs_count = 2,
     .inputs = {OP_F64(2, 3, 4), OP_F64(4)},
     .low = -2,
     .high = 2,
     .avoid_kink = true},
};
static const qn_op_sample many_samples[] = {
    {.inputs_count = 3, .inputs = {OP_F64(2, 3), OP_F64(3), OP_F64(2, 1)}, .low = -2, .high = 2},
    {.inputs_count = 1, .inputs = {OP_F64(2, 3)}, .low = -2, .high = 2},
    {.inputs_count = 4,
     .inputs = {OP_F64_SCALAR, OP_F64(2, 1, 3), OP_F64(4, 1), OP_F64(2, 4, 3)},
     .low = -2,
     .high = 2},
    PAIR(OP_F64(3, 4), OP_F64(3, 4), -2, 2),
    PAIR(OP_F64(2, 3, 4), OP_F64(4), -2, 2),
};
static const qn_op_sample positive_samples[] = {
    PAIR(OP_F64(3, 4), OP_F64(3, 4), 0.3, 2),
    PAIR(OP_F64(2, 3, 4), OP_F64(4), 0.3, 2),
    PAIR(OP_F64(3, 1), OP_F64_SCALAR, 0.3, 2),
    PAIR(OP_I32(3, 5), OP_I32(5), 0, 9),
};
static const qn_op_sample pow_samples[] = {
    PAIR(OP_F64(3, 4), OP_F64(3, 4), 0.3, 2),  PAIR(OP_F64(2, 3, 4), OP_F64(4), 0.3, 2),
    PAIR(OP_F64(3, 1), OP_F64_SCALAR, 0.3, 2), PAIR(OP_F64(3, 5), OP_I64(5), 1, 4),
    PAIR(OP_I32(3, 5), OP_I32(5), 0, 4),
};
static const qn_op_sample mod_samples[] = {
    PAIR_WITH(OP_F64(3, 4), OP_F64(4), 0.3, 2, OP_AI("fmod", 1)),
    PAIR_WITH(OP_I32(30), OP_I32(30), 0, 9, OP_AI("fmod", 0)),
};
static const qn_op_sample compare_samples[] = {
    PAIR(OP_F64(3, 4), OP_F64(4), -2, 2),
    PAIR(OP_I64(6, 1), OP_I64(6), 0, 3),
    PAIR(OP_U8(6, 1), OP_U8(6), 0, 3),
};
static const qn_op_sample logic_samples[] = {
    PAIR(OP_BOOL(3, 4), OP_BOOL(4), 0, 2),
    PAIR(OP_BOOL(40), OP_BOOL(40), 0, 2),
};
static const qn_op_sample bit_samples[] = {
    PAIR(OP_I32(3, 4), OP_I32(4), 0, 1000),
    PAIR(OP_U8(3, 4), OP_U8(4), 0, 200),
};
static const qn_op_sample shift_samples[] = {
    PAIR_WITH(OP_U8(40), OP_U8(40), 0, 9, OP_AS("direction", "LEFT")),
    PAIR_WITH(OP_U8(40), OP_U8(40), 0, 9, OP_AS("direction", "RIGHT")),
    PAIR_WITH(OP_I32(40), OP_I32(40), -9, 40, OP_AS("direction", "RIGHT")),
};
static const qn_op_sample where_samples[] = {
    {.inputs_count = 3,
     .inputs = {OP_BOOL(3, 4), OP_F64(3, 4), OP_F64(3, 4)},
     .low = -2,
     .high = 2},
    {.inputs_count = 3, .inputs = {OP_BOOL(3, 1), OP_F64(4), OP_F64_SCALAR}, .low = -2, .high = 2},
};

#define ROW(op_name, stem, most, infer_fn, flag_bits, list, vjp_fn, table)                         \
    {                                                                                              \
        .name = (op_name), .inputs_min = (most) == 2 ? 2 : 1, .inputs_max = (most),                \
        .outputs_count = 1, .flags = (flag_bits), .attrs = (list), .infer = infer_fn##_infer,      \
        .vjp = (vjp_fn), .ref = stem##_ref, OP_SAMPLES(table)                                      \
    }
#define SMOOTH QN_OP_ELEMENTWISE
#define WHOLE  (QN_OP_ELEMENTWISE | QN_OP_NO_GRADIENT)
#define ANY    QN_OP_VARIADIC_MAX

const qn_op qn_ops_binary[] = {
    ROW("Add", add, 2, arithmetic, SMOOTH, NULL, add_vjp, samples),
    ROW("Sub", sub, 2, arithmetic, SMOOTH, NULL, sub_vjp, samples),
    ROW("Mul", mul, 2, arithmetic, SMOOTH, NULL, mul_vjp, samples),
    ROW("Div", div, 2, arithmetic, SMOOTH, NULL, div_vjp, positive_samples),
    ROW("Mod", mod, 2, arithmetic, SMOOTH, mod_attrs, mod_vjp, mod_samples),
    ROW("Pow", pow, 2, pow, SMOOTH, NULL, pow_vjp, pow_samples),
    ROW("PRelu", prelu, 2, prelu, SMOOTH, NULL, prelu_vjp, prelu_samples),
    ROW("Min", min, ANY, arithmetic, SMOOTH, NULL, extreme_vjp, many_samples),
    ROW("Max", max, ANY, arithmetic, SMOOTH, NULL, extreme_vjp, many_samples),
    ROW("Sum", add, ANY, mean, SMOOTH, NULL, add_vjp, many_samples),
    ROW("Mean", mean, ANY, mean, SMOOTH, NULL, mean_vjp, many_samples),
    ROW("Equal", equal, 2, compare, QN_OP_NO_GRADIENT, NULL, NULL, compare_samples),
    ROW("Less", less, 2, compare, QN_OP_NO_GRADIENT, NULL, NULL, compare_samples),
    ROW("Greater", greater, 2, compare, QN_OP_NO_GRADIENT, NULL, NULL, compare_samples),
    ROW("LessOrEqual", less_or_equal, 2, compare, QN_OP_NO_GRADIENT, NULL, NULL, compare_samples),
    ROW("GreaterOrEqual", greater_or_equal, 2, compare, QN_OP_NO_GRADIENT, NULL, NULL,
        compare_samples),
    ROW("And", and, 2, logic, WHOLE, NULL, NULL, logic_samples),
    ROW("Or", or, 2, logic, WHOLE, NULL, NULL, logic_samples),
    ROW("Xor", xor, 2, logic, WHOLE, NULL, NULL, logic_samples),
    ROW("BitwiseAnd", bit_and, 2, bits, WHOLE, NULL, NULL, bit_samples),
    ROW("BitwiseOr", bit_or, 2, bits, WHOLE, NULL, NULL, bit_samples),
    ROW("BitwiseXor", bit_xor, 2, bits, WHOLE, NULL, NULL, bit_samples),
    ROW("BitShift", shift, 2, shift, WHOLE, shift_attrs, NULL, shift_samples),
    {.name = "Where",
     .inputs_min = 3,
     .inputs_max = 3,
     .outputs_count = 1,
     .infer = where_infer,
     .vjp = where_vjp,
     .ref = where_ref,
     OP_SAMPLES(where_samples)},
    {0},
};
