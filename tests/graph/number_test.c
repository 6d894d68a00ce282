/*
 * What rows make of integers, of short floats and of special values: numbers that numpy gives too,
 * and where C leaves a result open (a zero divisor, a shift beyond the width) the ones op/README.md
 * promises.
 */
#include "testing.h"

#include <math.h>

#include "graph/plan.h"
#include "graph/state.h"

static qn_error err;

enum { NUMBERS = 8 };

/* A row of numbers. */
typedef struct {
    qn_dtype dtype;
    int count;
    double values[NUMBERS];
} numbers;

typedef struct {
    const char *op;
    numbers inputs[3], want; /* inputs end with a count of 0 */
    qn_attr attrs[3];        /* and attributes with a name of NULL */
} number_case;

#define HUGE_U64 0x1p63 /* above every int64 */
#define F32(...)                                                                                   \
    {                                                                                              \
        QN_DTYPE_F32, (int)(sizeof((double[]){__VA_ARGS__}) / sizeof(double)),                     \
        {                                                                                          \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }
#define OF(tag, ...)                                                                               \
    {                                                                                              \
        QN_DTYPE_##tag, (int)(sizeof((double[]){__VA_ARGS__}) / sizeof(double)),                   \
        {                                                                                          \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }
#define INT(key, v)                                                                                \
    {                                                                                              \
        .name = (key), .kind = QN_ATTR_INT, .i = (v)                                               \
    }
#define FLOAT(key, v)                                                                              \
    {                                                                                              \
        .name = (key), .kind = QN_ATTR_FLOAT, .f = (v)                                             \
    }
#define WORD(key, v)                                                                               \
    {                                                                                              \
        .name = (key), .kind = QN_ATTR_STRING, .s = (v)                                            \
    }
#define NO_INPUT                                                                                   \
    {                                                                                              \
        QN_DTYPE_F32, 0,                                                                           \
        {                                                                                          \
            0                                                                                      \
        }                                                                                          \
    }

/* clang-format off */
static const number_case cases[] = {
    {"Add", {OF(U8, 200, 1), OF(U8, 100, 2)}, OF(U8, 44, 3), {{0}}},
    {"Sub", {OF(U8, 1), OF(U8, 2)}, OF(U8, 255), {{0}}},
    {"Mul", {OF(I8, 100), OF(I8, 2)}, OF(I8, -56), {{0}}},
    {"Div", {OF(I32, -7, 7, 5, -0x1p31), OF(I32, 2, -2, 0, -1)}, OF(I32, -3, -3, 0, -0x1p31), {{0}}},
    {"Div", {OF(U64, HUGE_U64, 9), OF(U64, 2, 0)}, OF(U64, 0x1p62, 0), {{0}}},
    {"Mod", {OF(I32, -7, 7, -7, 7, 7), OF(I32, 3, -3, -3, 3, 0)}, OF(I32, 2, -2, -1, 1, 0), {{0}}},
    {"Mod", {OF(I32, -7, 7, -7, 7), OF(I32, 3, -3, -3, 3)}, OF(I32, -1, 1, -1, 1), {INT("fmod", 1)}},
    {"Mod", {F32(-5.5, 5.5), F32(2, -2)}, F32(-1.5, 1.5), {INT("fmod", 1)}},
    {"Mod", {F32(-5.5, 5.5), F32(2, -2)}, F32(0.5, -0.5), {{0}}},
    {"Pow", {OF(I32, 2, -3, -1, -1, 5), OF(I32, 10, 3, -3, -2, -1)}, OF(I32, 1024, -27, -1, 1, 0), {{0}}},
    {"Pow", {OF(I32, 2, 3), F32(3, 0.5)}, OF(I32, 8, 1), {{0}}},
    {"Pow", {F32(2, -4, NAN, 0), F32(2)}, F32(4, 16, NAN, 0), {{0}}},
    {"Pow", {F32(2, -4, 0.5), F32(3)}, F32(8, -64, 0.125), {{0}}},
    {"Pow", {F32(2, 4, 9), F32(0.5)}, F32(1.4142135623730951, 2, 3), {{0}}},
    {"TopK", {OF(I32, 4, 9, -2, 9, 7, 4)}, OF(I32, 9, 9, 7, 4, 4, -2), {INT("k", 6)}},
    {"TopK", {OF(I32, 4, 9, -2, 9, 7, 4)}, OF(I32, -2, 4, 4, 7), {INT("k", 4), INT("largest", 0)}},
    {"Pow", {F32(2, 4), OF(I64, 3, -1)}, F32(8, 0.25), {{0}}},
    {"Max", {OF(U64, HUGE_U64, 3), OF(U64, 5, 4)}, OF(U64, HUGE_U64, 4), {{0}}},
    {"Min", {OF(I8, -4, 7), OF(I8, 3, 4), OF(I8, -9, 5)}, OF(I8, -9, 4), {{0}}},
    {"Max", {F32(NAN, 1), F32(2, NAN)}, F32(NAN, NAN), {{0}}},
    {"Mean", {F32(1, 2), F32(2, 4), F32(6, 0)}, F32(3, 2), {{0}}},
    {"Less", {OF(U64, HUGE_U64, 3), OF(U64, 5, 4)}, OF(BOOL, 0, 1), {{0}}},
    {"GreaterOrEqual", {F32(1, NAN, 2), F32(1, 1, 3)}, OF(BOOL, 1, 0, 0), {{0}}},
    {"Equal", {OF(BOOL, 0, 1), OF(BOOL, 1, 1)}, OF(BOOL, 0, 1), {{0}}},
    {"BitShift", {OF(U8, 1, 255, 3), OF(U8, 7, 4, 64)}, OF(U8, 128, 240, 0), {WORD("direction", "LEFT")}},
    {"BitShift", {OF(U16, 4096, 255), OF(U16, 4, 80)}, OF(U16, 256, 0), {WORD("direction", "RIGHT")}},
    {"BitwiseNot", {OF(I8, 0, 5, -1)}, OF(I8, -1, -6, 0), {{0}}},
    {"BitwiseXor", {OF(U16, 65535, 12), OF(U16, 1, 10)}, OF(U16, 65534, 6), {{0}}},
    {"Not", {OF(BOOL, 0, 1)}, OF(BOOL, 1, 0), {{0}}},
    {"Xor", {OF(BOOL, 0, 1, 1), OF(BOOL, 1, 1, 0)}, OF(BOOL, 1, 0, 1), {{0}}},
    {"Neg", {OF(I8, -128, 5)}, OF(I8, -128, -5), {{0}}},
    {"Abs", {OF(I8, -128, -5)}, OF(I8, -128, 5), {{0}}},
    {"Abs", {OF(U64, HUGE_U64)}, OF(U64, HUGE_U64), {{0}}},
    {"Sign", {OF(I16, -3, 0, 9)}, OF(I16, -1, 0, 1), {{0}}},
    {"Round", {F32(0.5, 1.5, 2.5, -0.5, -2.5)}, F32(0, 2, 2, 0, -2), {{0}}},
    {"IsInf", {F32(INFINITY, -INFINITY, NAN, 1)}, OF(BOOL, 1, 1, 0, 0), {{0}}},
    {"IsInf", {F32(INFINITY, -INFINITY, NAN, 1)}, OF(BOOL, 0, 1, 0, 0), {INT("detect_positive", 0)}},
    {"IsNaN", {F32(INFINITY, NAN)}, OF(BOOL, 0, 1), {{0}}},
    {"Clip", {OF(U64, HUGE_U64, 3)}, OF(U64, HUGE_U64, 5), {FLOAT("min", 5)}},
    {"Clip", {F32(-2, 0, 6, NAN)}, F32(1, 1, 1, NAN), {FLOAT("min", 2), FLOAT("max", 1)}},
    {"PRelu", {OF(I32, -3, 4), OF(I32, 5, 5)}, OF(I32, -15, 4), {{0}}},
    {"Shrink", {OF(I32, -3, -1, 2, 5)}, OF(I32, -2, 0, 0, 4), {FLOAT("lambd", 2), FLOAT("bias", 1)}},
    {"Cast", {F32(300, -300, NAN, 1.9, -1.9)}, OF(I8, 127, -128, 0, 1, -1), {WORD("to", "i8")}},
    {"Cast", {OF(I32, 300, -1)}, OF(U8, 44, 255), {WORD("to", "u8")}},
    {"Cast", {F32(2049, 2051, 70000, 1e-8)}, OF(F16, 2048, 2052, INFINITY, 0), {WORD("to", "f16")}},
    {"Cast", {F32(257, 259)}, OF(BF16, 256, 260), {WORD("to", "bf16")}},
    {"Cast", {F32(0, -0.5, NAN)}, OF(BOOL, 0, 1, 1), {WORD("to", "bool")}},
    {"Add", {OF(F16, 2048, 1), OF(F16, 1, 2)}, OF(F16, 2048, 3), {{0}}},
    {"ReduceMax", {OF(U64, 3, HUGE_U64, 5)}, OF(U64, HUGE_U64), {INT("keepdims", 1)}},
    {"ReduceMin", {OF(I8, 3, -7, 5)}, OF(I8, -7), {INT("keepdims", 1)}},
    {"ReduceMax", {OF(BOOL, 0, 1, 0)}, OF(BOOL, 1), {INT("keepdims", 1)}},
    {"ReduceSum", {OF(U8, 200, 100)}, OF(U8, 44), {INT("keepdims", 1)}},
    {"ReduceMean", {OF(I32, 1, 2, 4)}, OF(I32, 2), {INT("keepdims", 1)}},
    {"ReduceL1", {OF(I32, -1, 2, -4)}, OF(I32, 7), {INT("keepdims", 1)}},
    {"ReduceLogSumExp", {F32(INFINITY, 2)}, F32(INFINITY), {INT("keepdims", 1)}},
    {"ArgMin", {F32(3, 1, 2, 1)}, OF(I64, 1), {INT("keepdims", 1)}},
    {"ArgMin", {F32(3, 1, 2, 1)}, OF(I64, 3), {INT("select_last_index", 1)}},
    {"ArgMin", {F32(3, NAN, 2, NAN)}, OF(I64, 1), {INT("keepdims", 1)}},
    {"ArgMax", {OF(U64, 3, HUGE_U64)}, OF(I64, 1), {INT("keepdims", 1)}},
    {"Hardmax", {F32(1, 5, 5)}, F32(0, 1, 0), {{0}}},
    {"TopK", {OF(I32, 4, 9, -2, 9, 7)}, OF(I32, 9, 9, 7), {INT("k", 3)}},
    {"TopK", {F32(4, NAN, -2, 9)}, F32(NAN, 9), {INT("k", 2)}},
    {"CumSum", {OF(I32, 1, 2, 3)}, OF(I32, 6, 5, 3), {INT("axis", 0), INT("reverse", 1)}},
    {"CumSum", {F32(1, 2, 3)}, F32(0, 1, 3), {INT("axis", 0), INT("exclusive", 1)}},
    {"CumProd", {F32(2, 0, 3)}, F32(2, 0, 0), {INT("axis", 0)}},
    {"Gather", {F32(1, 2, 3), OF(I32, -1, 0, 3)}, F32(3, 1, 0), {{0}}},
    {"GatherElements", {OF(U8, 1, 2, 3), OF(I64, -1, 0, 1)}, OF(U8, 3, 1, 2), {{0}}},
    {"ScatterElements", {OF(I32, 1, 2, 3), OF(I64, -1, -1), OF(I32, 5, 6)}, OF(I32, 1, 2, 14), {WORD("reduction", "add")}},
    {"ScatterElements", {F32(1, 2, 3), OF(I64, 1, 7), F32(5, 6)}, F32(1, 5, 3), {{0}}},
    {"OneHot", {OF(I64, -1)}, F32(0, 0, 1), {INT("depth", 3)}},
    {"QuantizeLinear", {F32(0.5, 1.5, 300, -9), F32(1), OF(U8, 2)}, OF(U8, 2, 4, 255, 0), {{0}}},
    {"DequantizeLinear", {OF(I8, -3, 5), F32(0.5), OF(I8, 1)}, F32(-2, 2), {{0}}},
    {"DynamicQuantizeLinear", {F32(0, 2, -3)}, OF(U8, 153, 255, 0), {{0}}},
    {"Range", {NO_INPUT}, OF(I16, 7, 5, 3), {FLOAT("start", 7), FLOAT("limit", 2), FLOAT("delta", -2)}},
    {"BitCast", {F32(1)}, OF(I32, 1065353216), {WORD("to", "i32")}},
    {"LpNormalization", {F32(0, 0)}, F32(0, 0), {{0}}},
    {"BlackmanWindow", {NO_INPUT}, F32(0, 0.34, 1, 0.34), {INT("size", 4)}},
};
/* clang-format on */

static int attrs_of(const number_case *c, qn_attr attrs[4])
{
    int count = 0;
    while (count < 3 && c->attrs[count].name) {
        attrs[count] = c->attrs[count];
        count++;
    }
    if (strcmp(c->op, "Range") == 0)
        attrs[count++] = QN_ATTR_S("dtype", qn_dtype_name(c->want.dtype));
    return count;
}

static qn_value build(qn_graph *graph, const number_case *c)
{
    static const char *const names[] = {"x0", "x1", "x2"};
    qn_value inputs[3];
    qn_attr attrs[4];
    int count = 0;
    for (; count < 3 && c->inputs[count].count > 0; count++) {
        bool scalar = strstr(c->op, "quantizeLinear") != NULL && count > 0;
        scalar = scalar || (strcmp(c->op, "QuantizeLinear") == 0 && count > 0);
        inputs[count] = qn_graph_input(graph, names[count], c->inputs[count].dtype,
                                       scalar ? QN_SCALAR : QN_SHAPE(c->inputs[count].count));
    }
    return qn_graph_node(graph, c->op, inputs, count, attrs, attrs_of(c, attrs));
}

static bool same(double a, double b)
{
    return (isnan(a) && isnan(b)) || a == b || fabs(a - b) <= 1e-12 + 1e-6 * fabs(b);
}

static void check(const number_case *c, bool reference)
{
    static const char *const names[] = {"x0", "x1", "x2"};
    qn_graph *graph = qn_graph_create();
    qn_state *state = NULL;
    qn_plan *plan = NULL;
    qn_graph_output(graph, "y", build(graph, c));
    qn_plan_options options = {.batch = 1, .reference = reference};
    assert_ok(qn_state_create(&state, &err), &err);
    if (qn_plan_create(graph, state, &options, &plan, &err) != QN_OK)
        fail_msg("%s: %s", c->op, err.text);
    for (int i = 0; i < 3 && c->inputs[i].count > 0; i++) {
        const qn_tensor *x = qn_plan_input(plan, names[i]);
        qn_dtype_write_f64(x->data, x->dtype, c->inputs[i].values, c->inputs[i].count);
    }
    qn_plan_run(plan, 0);
    const qn_tensor *y = qn_plan_output(plan, "y");
    if (y->dtype != c->want.dtype || qn_shape_count(&y->shape) != c->want.count)
        fail_msg("%s gives %d of %s", c->op, (int)qn_shape_count(&y->shape),
                 qn_dtype_name(y->dtype));
    for (int i = 0; i < c->want.count; i++)
        if (!same(qn_tensor_f64_at(y, i), c->want.values[i]))
            fail_msg("%s of %s [%d] is %.17g, expected %.17g (%s)", c->op,
                     qn_dtype_name(c->inputs[0].dtype), i, qn_tensor_f64_at(y, i),
                     c->want.values[i], reference ? "reference" : "kernel");
    qn_plan_destroy(plan);
    qn_state_destroy(state);
    qn_graph_destroy(graph);
}

static void numbers_are_those_of_numpy(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        check(&cases[i], true);
        check(&cases[i], false);
    }
}

/* A dying input gives its memory to the result, also where it is added more than once. */
static void sums_of_one_value_are_right(void **unused)
{
    (void)unused;
    qn_graph *graph = qn_graph_create();
    qn_state *state = NULL;
    qn_plan *plan = NULL;
    qn_value x = qn_graph_input(graph, "x", QN_DTYPE_F32, QN_SHAPE(3));
    qn_value z = qn_graph_op1(graph, "Neg", x), u = qn_graph_op1(graph, "Exp", x);
    qn_value all[] = {z, z, u, z};
    qn_graph_output(graph, "y", qn_graph_node(graph, "Sum", all, 4, NULL, 0));
    qn_value some[] = {x, u, qn_graph_op1(graph, "Square", x)};
    qn_graph_output(graph, "m", qn_graph_node(graph, "Mean", some, 3, NULL, 0));
    assert_ok(qn_state_create(&state, &err), &err);
    assert_ok(qn_plan_create(graph, state, &(qn_plan_options){.batch = 1}, &plan, &err), &err);
    float *values = qn_plan_input(plan, "x")->data;
    for (int i = 0; i < 3; i++)
        values[i] = (float)i;
    qn_plan_run(plan, 0);
    for (int i = 0; i < 3; i++) {
        double e = exp(i);
        assert_true(fabs(qn_tensor_f64_at(qn_plan_output(plan, "y"), i) - (e - 3 * i)) < 1e-5);
        assert_true(fabs(qn_tensor_f64_at(qn_plan_output(plan, "m"), i) - (i + e + i * i) / 3) <
                    1e-5);
    }
    qn_plan_destroy(plan);
    qn_state_destroy(state);
    qn_graph_destroy(graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_those_of_numpy),
        cmocka_unit_test(sums_of_one_value_are_right),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
