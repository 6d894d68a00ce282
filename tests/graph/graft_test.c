/*
 * A graph made elsewhere as a part of another: values, states, assignments, and what is refused.
 */
#include "testing.h"

#include "graph/plan.h"
#include "graph/state.h"

static qn_error err;

/* y = x * w; other = x + w, and w holds `other` after a run. */
static qn_graph *make_part(void)
{
    qn_graph *part = qn_graph_create();
    qn_init two = {.kind = QN_INIT_CONST, .value = 2};
    qn_value x = qn_graph_input(part, "x", QN_DTYPE_F32, QN_SHAPE(QN_DIM_BATCH, 3));
    qn_value w = qn_graph_state(part, "w", QN_DTYPE_F32, QN_SHAPE(3), two, true);
    qn_value unused = qn_graph_state(part, "unused", QN_DTYPE_F32, QN_SHAPE(3), two, true);
    qn_graph_output(part, "y", qn_graph_op2(part, "Mul", x, w));
    qn_graph_output(part, "other", qn_graph_op2(part, "Add", x, unused));
    qn_graph_assign(part, w, qn_graph_op2(part, "Add", w, w));
    assert_ok(qn_graph_check(part, &err), &err);
    return part;
}

static void graft_feeds_inputs_and_brings_what_the_output_needs(void **unused)
{
    (void)unused;
    qn_graph *part = make_part(), *graph = qn_graph_create();
    qn_value rows = qn_graph_input(graph, "rows", QN_DTYPE_F32, QN_SHAPE(QN_DIM_BATCH, 3));
    qn_graph_feed feed = {"x", qn_graph_op1(graph, "Neg", rows)};
    qn_value y = qn_graph_graft(graph, part, "y", &feed, 1);
    qn_graph_output(graph, "y", y);
    qn_graph_destroy(part);
    assert_ok(qn_graph_check(graph, &err), &err);
    assert_int_equal(qn_graph_trainable(graph, NULL, 0), 1);
    assert_int_equal(qn_graph_find(graph, "unused"), QN_NONE);
    qn_state *state;
    qn_plan *plan;
    assert_ok(qn_state_create(&state, &err), &err);
    assert_ok(qn_state_add_graph(state, graph, 1, &err), &err);
    assert_ok(qn_plan_create(graph, state, &(qn_plan_options){.batch = 1}, &plan, &err), &err);
    float *in = qn_plan_input(plan, "rows")->data;
    for (int i = 0; i < 3; i++)
        in[i] = (float)(i + 1);
    qn_plan_run(plan, 0);
    const float *out = qn_plan_output(plan, "y")->data;
    for (int i = 0; i < 3; i++)
        assert_true(out[i] == -2.0F * (float)(i + 1));
    qn_plan_destroy(plan);
    qn_state_destroy(state);
    qn_graph_destroy(graph);
}

/* A graph with an input x of this type, and a state w where it is asked for. */
static qn_graph *make_host(qn_dtype dtype, int64_t width, bool with_state, qn_value *ret)
{
    qn_graph *graph = qn_graph_create();
    *ret = qn_graph_input(graph, "x", dtype, QN_SHAPE(QN_DIM_BATCH, width));
    if (with_state)
        (void)qn_graph_state(graph, "w", QN_DTYPE_F32, QN_SHAPE(3), (qn_init){0}, true);
    return graph;
}

static void graft_refuses_what_does_not_fit(void **unused)
{
    (void)unused;
    static const struct {
        qn_dtype dtype;
        int64_t width;
        bool with_state, fed;
        const char *output, *text;
    } cases[] = {
        {QN_DTYPE_F32, 4, false, true, "y", "input 'x' takes f32"},
        {QN_DTYPE_F64, 3, false, true, "y", "input 'x' takes f32"},
        {QN_DTYPE_F32, 3, true, true, "y", "the name 'w'"},
        {QN_DTYPE_F32, 3, false, false, "y", "nothing is given for input 'x'"},
        {QN_DTYPE_F32, 3, false, true, "z", "no output 'z'"},
    };
    qn_graph *part = make_part();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        qn_value x;
        qn_graph *graph = make_host(cases[i].dtype, cases[i].width, cases[i].with_state, &x);
        qn_graph_feed feed = {"x", x};
        qn_value y = qn_graph_graft(graph, part, cases[i].output, &feed, cases[i].fed);
        assert_int_equal(y, QN_NONE);
        assert_int_equal(qn_graph_check(graph, &err), QN_ERR_ARG);
        assert_non_null(strstr(err.text, cases[i].text));
        qn_graph_destroy(graph);
    }
    qn_graph_destroy(part);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(graft_feeds_inputs_and_brings_what_the_output_needs),
        cmocka_unit_test(graft_refuses_what_does_not_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
