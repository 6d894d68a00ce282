/* Reverse-mode differentiation of small composites against central differences in f64. */
#include "testing.h"

#include <math.h>

#include "graph/plan.h"

static qn_error err;

enum { SIZE = 6 };

/* Builds a scalar loss from x [2, 3] and w [3]. */
typedef qn_value (*build_fn)(qn_graph *graph, qn_value x, qn_value w);

static qn_value sum_all(qn_graph *graph, qn_value x)
{
    qn_attr keep = QN_ATTR_I("keepdims", 0);
    return qn_graph_node(graph, "ReduceSum", &x, 1, &keep, 1);
}

/* x is read four times, w through a broadcast. */
static qn_value many_uses(qn_graph *graph, qn_value x, qn_value w)
{
    qn_value a = qn_graph_op2(graph, "Mul", x, w);
    qn_value b = qn_graph_op2(graph, "Mul", qn_graph_op1(graph, "Tanh", x), a);
    return sum_all(graph, qn_graph_op2(graph, "Add", b, qn_graph_op2(graph, "Mul", x, x)));
}

static qn_value branches_meet(qn_graph *graph, qn_value x, qn_value w)
{
    qn_attr trans = QN_ATTR_I("transB", 1), axis = QN_ATTR_I("axis", 0);
    qn_value product = qn_graph_node(graph, "MatMul", (qn_value[]){x, x}, 2, &trans, 1);
    qn_value scaled = qn_graph_op1(graph, "Sigmoid", qn_graph_op2(graph, "Sub", x, w));
    qn_attr flat = {.name = "shape", .kind = QN_ATTR_INTS, .count = 1, .ints = {-1}};
    qn_value parts[] = {qn_graph_node(graph, "Reshape", &product, 1, &flat, 1),
                        qn_graph_node(graph, "Reshape", &scaled, 1, &flat, 1)};
    qn_value joined = qn_graph_node(graph, "Concat", parts, 2, &axis, 1);
    return sum_all(graph, qn_graph_op1(graph, "Square", joined));
}

/* The comparison has no gradient; what it selects has. */
static qn_value through_integers(qn_graph *graph, qn_value x, qn_value w)
{
    qn_value larger = qn_graph_op2(graph, "Greater", x, w);
    qn_value inputs[] = {larger, qn_graph_op1(graph, "Exp", x), w};
    return sum_all(graph, qn_graph_node(graph, "Where", inputs, 3, NULL, 0));
}

static qn_value softmax_entropy(qn_graph *graph, qn_value x, qn_value w)
{
    qn_value logits = qn_graph_op2(graph, "Mul", x, w);
    qn_value p = qn_graph_op1(graph, "LogSoftmax", logits);
    qn_value q = qn_graph_op1(graph, "Softmax", x);
    return sum_all(graph, qn_graph_op2(graph, "Mul", p, q));
}

typedef struct {
    qn_graph *graph;
    qn_state *state;
    qn_plan *plan;
} setup;

static setup make(build_fn build)
{
    setup s = {.graph = qn_graph_create()};
    qn_value x = qn_graph_input(s.graph, "x", QN_DTYPE_F64, QN_SHAPE(2, 3));
    qn_value w = qn_graph_input(s.graph, "w", QN_DTYPE_F64, QN_SHAPE(3));
    qn_value loss = build(s.graph, x, w), grads[2];
    qn_graph_output(s.graph, "loss", loss);
    assert_ok(qn_graph_grad(s.graph, loss, (qn_value[]){x, w}, 2, grads, &err), &err);
    qn_graph_output(s.graph, "x.grad", grads[0]);
    qn_graph_output(s.graph, "w.grad", grads[1]);
    assert_ok(qn_state_create(&s.state, &err), &err);
    assert_ok(qn_plan_create(s.graph, s.state, &(qn_plan_options){.batch = 2}, &s.plan, &err),
              &err);
    double *xs = qn_plan_input(s.plan, "x")->data, *ws = qn_plan_input(s.plan, "w")->data;
    for (int i = 0; i < SIZE; i++)
        xs[i] = 0.3 * i - 0.7;
    for (int i = 0; i < 3; i++)
        ws[i] = 0.5 - 0.4 * i;
    return s;
}

static double loss_at(const setup *s, double *at, double value)
{
    double old = *at;
    *at = value;
    qn_plan_run(s->plan, 0);
    *at = old;
    return *(double *)qn_plan_output(s->plan, "loss")->data;
}

static void compare(const setup *s, const char *input, const char *output, int count)
{
    double *at = qn_plan_input(s->plan, input)->data, grads[SIZE], step = 1e-6;
    qn_plan_run(s->plan, 0);
    memcpy(grads, qn_plan_output(s->plan, output)->data, (size_t)count * sizeof *grads);
    for (int i = 0; i < count; i++) {
        double high = loss_at(s, &at[i], at[i] + step), low = loss_at(s, &at[i], at[i] - step);
        double want = (high - low) / (2 * step);
        if (!(fabs(grads[i] - want) <= 1e-5 + 1e-3 * fabs(want)))
            fail_msg("%s[%d] is %g, by differences %g", output, i, grads[i], want);
    }
}

static void composites_agree_with_differences(void **state)
{
    (void)state;
    static const build_fn builds[] = {many_uses, branches_meet, through_integers, softmax_entropy};
    for (size_t i = 0; i < sizeof builds / sizeof builds[0]; i++) {
        setup s = make(builds[i]);
        compare(&s, "x", "x.grad", SIZE);
        compare(&s, "w", "w.grad", 3);
        qn_plan_destroy(s.plan);
        qn_state_destroy(s.state);
        qn_graph_destroy(s.graph);
    }
}

static void unrelated_values_get_zeros(void **unused)
{
    (void)unused;
    qn_graph *graph = qn_graph_create();
    qn_value x = qn_graph_input(graph, "x", QN_DTYPE_F32, QN_SHAPE(QN_DIM_BATCH, 2));
    qn_value y = qn_graph_input(graph, "y", QN_DTYPE_F32, QN_SHAPE(QN_DIM_BATCH, 2));
    qn_value loss = sum_all(graph, x), grads[3];
    assert_ok(qn_graph_grad(graph, loss, (qn_value[]){y, x, loss}, 3, grads, &err), &err);
    qn_graph_output(graph, "zero", grads[0]);
    qn_graph_output(graph, "one", grads[1]);
    qn_graph_output(graph, "self", grads[2]);
    qn_state *state = NULL;
    qn_plan *plan = NULL;
    assert_ok(qn_state_create(&state, &err), &err);
    assert_ok(qn_plan_create(graph, state, &(qn_plan_options){.batch = 3}, &plan, &err), &err);
    ((float *)qn_plan_input(plan, "y")->data)[0] = NAN;
    qn_plan_run(plan, 0);
    for (int i = 0; i < 6; i++) {
        assert_true(((float *)qn_plan_output(plan, "zero")->data)[i] == 0);
        assert_true(((float *)qn_plan_output(plan, "one")->data)[i] == 1);
    }
    assert_true(*(float *)qn_plan_output(plan, "self")->data == 1);
    qn_plan_destroy(plan);
    qn_state_destroy(state);
    qn_graph_destroy(graph);
}

static void grad_refuses_what_has_none(void **state)
{
    (void)state;
    qn_value grad;
    qn_graph *graph = qn_graph_create();
    qn_value x = qn_graph_input(graph, "x", QN_DTYPE_F32, QN_SHAPE(2));
    assert_int_equal(qn_graph_grad(graph, x, &x, 1, &grad, &err), QN_ERR_ARG);
    assert_text(&err, "one floating-point number, not f32 [2]");
    qn_graph_destroy(graph);
    graph = qn_graph_create();
    x = qn_graph_input(graph, "x", QN_DTYPE_F32, QN_SCALAR);
    qn_value n = qn_graph_input(graph, "n", QN_DTYPE_I64, QN_SCALAR);
    assert_int_equal(qn_graph_grad(graph, x, &n, 1, &grad, &err), QN_ERR_ARG);
    assert_text(&err, "no gradient exists to a value of i64");
    qn_graph_destroy(graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(composites_agree_with_differences),
        cmocka_unit_test(unrelated_values_get_zeros),
        cmocka_unit_test(grad_refuses_what_has_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
