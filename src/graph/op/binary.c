/*
 * Arithmetic of two tensors with broadcasting, comparisons, and Where. A gradient is summed back over what was
 * broadcast.
 */
#include "graph/op/common.h"

#include <math.h>
#include <string.h>

#define OP_BODY "graph/op/binary_body.h"
#include "graph/op/typed.h"
#define T        int64_t
#define FN(name) name##_i64
#include "graph/op/binary_body.h"
#undef T
#undef FN

/* What differs between floats and integers, or needs libm. NaN wins, as numpy's minimum. */
#define FLOAT_FUNCTIONS(T, suffix)                                                                 \
    static T div_##suffix(T a, T b)                                                                \
    {                                                                                              \
        return a / b;                                                                              \
    }                                                                                              \
    static T min_##suffix(T a, T b)                                                                \
    {                                                                                              \
        return a < b || a != a ? a : b;                                                            \
    }                                                                                              \
    static T max_##suffix(T a, T b)                                                                \
    {                                                                                              \
        return a > b || a != a ? a : b;                                                            \
    }                                                                                              \
    static T pow_##suffix(T a, T b)                                                                \
    {                                                                                              \
        return (T)pow((double)a, (double)b);                                                       \
    }
FLOAT_FUNCTIONS(float, f32)
FLOAT_FUNCTIONS(double, f64)

/* As the kernels: a zero divisor gives 0, and the one overflow wraps. */
static int64_t div_i64(int64_t a, int64_t b)
{
    if (b == 0)
        return 0;
    return b == -1 ? (int64_t)(0 - (uint64_t)a) : a / b;
}
static int64_t min_i64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}
static int64_t max_i64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static bool number(qn_dtype dtype)
{
    return dtype == QN_DTYPE_F32 || dtype == QN_DTYPE_F64 || dtype == QN_DTYPE_I64;
}

static qn_status broadcast_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    qn_dtype dtype = types->inputs[0].dtype;
    if (!number(dtype))
        QN_FAIL(err, QN_ERR_ARG, "input 0 is %s, expected f32, f64 or i64", qn_dtype_name(dtype));
    QN_TRY(qn_op_want_dtype(types, 1, dtype, err));
    qn_shape shape;
    QN_TRY(qn_shape_broadcast(&types->inputs[0].shape, &types->inputs[1].shape, &shape, err));
    ret_outputs[0] = (qn_type){dtype, shape};
    return QN_OK;
}

static qn_status pow_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    QN_TRY(qn_op_want_float(types, 0, err));
    return broadcast_infer(types, ret_outputs, err);
}

static qn_status compare_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    QN_TRY(broadcast_infer(types, ret_outputs, err));
    ret_outputs[0].dtype = QN_DTYPE_BOOL;
    return QN_OK;
}

static qn_status where_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    QN_TRY(qn_op_want_dtype(types, 0, QN_DTYPE_BOOL, err));
    QN_TRY(qn_op_want_dtype(types, 2, types->inputs[1].dtype, err));
    qn_shape shape;
    QN_TRY(qn_shape_broadcast(&types->inputs[1].shape, &types->inputs[2].shape, &shape, err));
    QN_TRY(qn_shape_broadcast(&types->inputs[0].shape, &shape, &shape, err));
    ret_outputs[0] = (qn_type){types->inputs[1].dtype, shape};
    return QN_OK;
}

#define ARITHMETIC(name)                                                                           \
    static void name##_ref(const qn_op_run *run)                                                   \
    {                                                                                              \
        if (run->inputs[0].dtype == QN_DTYPE_I64)                                                  \
            zip_i64(run, name##_i64);                                                              \
        else if (run->inputs[0].dtype == QN_DTYPE_F64)                                             \
            zip_f64(run, name##_f64);                                                              \
        else                                                                                       \
            zip_f32(run, name##_f32);                                                              \
    }
ARITHMETIC(add)
ARITHMETIC(sub)
ARITHMETIC(mul)
ARITHMETIC(div)
ARITHMETIC(min)
ARITHMETIC(max)

static void pow_ref(const qn_op_run *run)
{
    if (run->inputs[0].dtype == QN_DTYPE_F64)
        zip_f64(run, pow_f64);
    else
        zip_f32(run, pow_f32);
}

/* sign: 0 equal, -1 less, 1 greater */
static void compare_ref(const qn_op_run *run, int sign)
{
    if (run->inputs[0].dtype == QN_DTYPE_I64)
        compare_i64(run, sign);
    else
        OP_FLOAT_CALL(run->inputs[0].dtype, compare, run, sign);
}
static void equal_ref(const qn_op_run *run)
{
    compare_ref(run, 0);
}
static void less_ref(const qn_op_run *run)
{
    compare_ref(run, -1);
}
static void greater_ref(const qn_op_run *run)
{
    compare_ref(run, 1);
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

static void add_vjp(const qn_op_vjp *in, qn_value *ret)
{
    ret[0] = to_input(in, 0, in->grads[0]);
    ret[1] = to_input(in, 1, in->grads[0]);
}

static void sub_vjp(const qn_op_vjp *in, qn_value *ret)
{
    ret[0] = to_input(in, 0, in->grads[0]);
    ret[1] = qn_graph_op1(in->graph, "Neg", to_input(in, 1, in->grads[0]));
}

static void mul_vjp(const qn_op_vjp *in, qn_value *ret)
{
    for (int i = 0; i < 2; i++)
        ret[i] = to_input(in, i, qn_graph_op2(in->graph, "Mul", in->grads[0], in->inputs[1 - i]));
}

static void div_vjp(const qn_op_vjp *in, qn_value *ret)
{
    qn_value over = qn_graph_op2(in->graph, "Div", in->grads[0], in->inputs[1]);
    ret[0] = to_input(in, 0, over);
    qn_value second = qn_graph_op2(in->graph, "Mul", over, in->outputs[0]);
    ret[1] = qn_graph_op1(in->graph, "Neg", to_input(in, 1, second));
}

/* At a tie the gradient goes to the first input. */
static void extreme_vjp(const qn_op_vjp *in, const char *other_wins, qn_value *ret)
{
    qn_value second = qn_graph_op2(in->graph, other_wins, in->inputs[0], in->inputs[1]);
    qn_value zero = qn_graph_scalar(in->graph, qn_op_vjp_dtype(in, 0), 0), dy = in->grads[0];
    qn_value first = qn_graph_node(in->graph, "Where", (qn_value[]){second, zero, dy}, 3, NULL, 0);
    qn_value rest = qn_graph_node(in->graph, "Where", (qn_value[]){second, dy, zero}, 3, NULL, 0);
    ret[0] = to_input(in, 0, first);
    ret[1] = to_input(in, 1, rest);
}
static void min_vjp(const qn_op_vjp *in, qn_value *ret)
{
    extreme_vjp(in, "Greater", ret);
}
static void max_vjp(const qn_op_vjp *in, qn_value *ret)
{
    extreme_vjp(in, "Less", ret);
}

/* d/da a^b = b a^(b - 1);  d/db a^b = a^b log a, taken as 0 where a <= 0. */
static void pow_vjp(const qn_op_vjp *in, qn_value *ret)
{
    qn_graph *graph = in->graph;
    qn_value a = in->inputs[0], b = in->inputs[1], dy = in->grads[0];
    qn_value one = qn_graph_scalar(graph, qn_op_vjp_dtype(in, 0), 1);
    qn_value zero = qn_graph_scalar(graph, qn_op_vjp_dtype(in, 0), 0);
    qn_value lower = qn_graph_op2(graph, "Pow", a, qn_graph_op2(graph, "Sub", b, one));
    qn_value slope = qn_graph_op2(graph, "Mul", b, lower);
    ret[0] = to_input(in, 0, qn_graph_op2(graph, "Mul", dy, slope));
    qn_value rate = qn_graph_op2(graph, "Mul", in->outputs[0], qn_graph_op1(graph, "Log", a));
    qn_value positive = qn_graph_op2(graph, "Greater", a, zero);
    rate = qn_graph_node(graph, "Where", (qn_value[]){positive, rate, zero}, 3, NULL, 0);
    ret[1] = to_input(in, 1, qn_graph_op2(graph, "Mul", dy, rate));
}

static void where_vjp(const qn_op_vjp *in, qn_value *ret)
{
    if (!qn_op_vjp_wants(in, 1))
        return;
    qn_value zero = qn_graph_scalar(in->graph, qn_op_vjp_dtype(in, 1), 0);
    qn_value condition = in->inputs[0], dy = in->grads[0];
    qn_value yes = qn_graph_node(in->graph, "Where", (qn_value[]){condition, dy, zero}, 3, NULL, 0);
    qn_value no = qn_graph_node(in->graph, "Where", (qn_value[]){condition, zero, dy}, 3, NULL, 0);
    ret[1] = to_input(in, 1, yes);
    ret[2] = to_input(in, 2, no);
}

static const qn_op_sample samples[] = {
    {.inputs_count = 2, .inputs = {OP_F64(3, 4), OP_F64(3, 4)}, .low = -2, .high = 2},
    {.inputs_count = 2, .inputs = {OP_F64(2, 3, 4), OP_F64(4)}, .low = -2, .high = 2},
    {.inputs_count = 2, .inputs = {OP_F64(3, 1), OP_F64(2, 1, 4)}, .low = -2, .high = 2},
    {.inputs_count = 2, .inputs = {OP_F64_SCALAR, OP_F64(5)}, .low = -2, .high = 2},
};
static const qn_op_sample positive_samples[] = {
    {.inputs_count = 2, .inputs = {OP_F64(3, 4), OP_F64(3, 4)}, .low = 0.3, .high = 2},
    {.inputs_count = 2, .inputs = {OP_F64(2, 3, 4), OP_F64(4)}, .low = 0.3, .high = 2},
    {.inputs_count = 2, .inputs = {OP_F64(3, 1), OP_F64_SCALAR}, .low = 0.3, .high = 2},
};
static const qn_op_sample integer_samples[] = {
    {.inputs_count = 2, .inputs = {OP_F64(3, 4), OP_F64(4)}, .low = -2, .high = 2},
    {.inputs_count = 2, .inputs = {OP_I64(6, 1), OP_I64(6)}, .low = 0, .high = 3},
};
static const qn_op_sample where_samples[] = {
    {.inputs_count = 3,
     .inputs = {OP_BOOL(3, 4), OP_F64(3, 4), OP_F64(3, 4)},
     .low = -2,
     .high = 2},
    {.inputs_count = 3, .inputs = {OP_BOOL(3, 1), OP_F64(4), OP_F64_SCALAR}, .low = -2, .high = 2},
};

#define ROW(op_name, stem, infer_fn, flag_bits, vjp_fn, table)                                     \
    {                                                                                              \
        .name = (op_name), .inputs_min = 2, .inputs_max = 2, .outputs_count = 1,                   \
        .flags = (flag_bits), .infer = (infer_fn), .vjp = (vjp_fn), .ref = stem##_ref,             \
        OP_SAMPLES(table)                                                                          \
    }

const qn_op qn_ops_binary[] = {
    ROW("Add", add, broadcast_infer, QN_OP_ELEMENTWISE, add_vjp, samples),
    ROW("Sub", sub, broadcast_infer, QN_OP_ELEMENTWISE, sub_vjp, samples),
    ROW("Mul", mul, broadcast_infer, QN_OP_ELEMENTWISE, mul_vjp, samples),
    ROW("Div", div, broadcast_infer, QN_OP_ELEMENTWISE, div_vjp, positive_samples),
    ROW("Min", min, broadcast_infer, QN_OP_ELEMENTWISE, min_vjp, samples),
    ROW("Max", max, broadcast_infer, QN_OP_ELEMENTWISE, max_vjp, samples),
    ROW("Pow", pow, pow_infer, QN_OP_ELEMENTWISE, pow_vjp, positive_samples),
    ROW("Equal", equal, compare_infer, QN_OP_NO_GRADIENT, NULL, integer_samples),
    ROW("Less", less, compare_infer, QN_OP_NO_GRADIENT, NULL, integer_samples),
    ROW("Greater", greater, compare_infer, QN_OP_NO_GRADIENT, NULL, integer_samples),
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
