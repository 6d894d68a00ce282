/* Building graphs: what is refused and how it is said. */
#include "testing.h"

#include "graph/graph.h"
#include "graph/graph_priv.h"

static qn_error err;

static qn_value input(qn_graph *graph, const char *name, qn_shape shape)
{
    return qn_graph_input(graph, name, QN_DTYPE_F32, shape);
}

/* The graph has failed, with these words. */
static void assert_failed(qn_graph *graph, qn_status code, const char *part)
{
    err = (qn_error){0};
    assert_int_equal(qn_graph_check(graph, &err), code);
    assert_text(&err, part);
    qn_graph_destroy(graph);
}

static void first_error_sticks(void **state)
{
    (void)state;
    qn_graph *graph = qn_graph_create();
    qn_graph_scope(graph, "layers[2] dense");
    qn_value a = input(graph, "a", QN_SHAPE(QN_DIM_BATCH, 3));
    qn_value b = input(graph, "b", QN_SHAPE(QN_DIM_BATCH, 4));
    qn_value sum = qn_graph_op2(graph, "Add", a, b);
    assert_int_equal(sum, QN_NONE);
    assert_int_equal(qn_graph_op1(graph, "Nonsense", sum), QN_NONE);
    assert_int_equal(input(graph, "c", QN_SCALAR), QN_NONE);
    assert_int_equal(qn_graph_type(graph, sum)->shape.rank, 0);
    assert_int_equal(qn_graph_check(graph, &err), QN_ERR_ARG);
    assert_string_equal(err.where, "layers[2] dense");
    assert_text(&err, "[B, 3]");
    assert_failed(graph, QN_ERR_ARG, "Add of f32 [B, 3], f32 [B, 4]");
}

static void names_are_one_space(void **state)
{
    (void)state;
    qn_graph *graph = qn_graph_create();
    input(graph, "x", QN_SCALAR);
    qn_graph_state(graph, "x", QN_DTYPE_F32, QN_SCALAR, (qn_init){0}, true);
    assert_failed(graph, QN_ERR_ARG, "already has an input or state 'x'");
    graph = qn_graph_create();
    input(graph, "", QN_SCALAR);
    assert_failed(graph, QN_ERR_ARG, "needs a name");
    graph = qn_graph_create();
    qn_value x = input(graph, "x", QN_SCALAR);
    qn_graph_output(graph, "y", x);
    qn_graph_output(graph, "y", x);
    assert_failed(graph, QN_ERR_ARG, "already has an output 'y'");
}

static void states_are_concrete_and_float_to_train(void **state)
{
    (void)state;
    qn_graph *graph = qn_graph_create();
    qn_graph_state(graph, "w", QN_DTYPE_F32, QN_SHAPE(QN_DIM_BATCH), (qn_init){0}, true);
    assert_failed(graph, QN_ERR_ARG, "concrete");
    graph = qn_graph_create();
    qn_graph_state(graph, "w", QN_DTYPE_I64, QN_SHAPE(2), (qn_init){0}, true);
    assert_failed(graph, QN_ERR_ARG, "cannot be trained");
    graph = qn_graph_create();
    qn_graph_state(graph, "w", QN_DTYPE_F32, QN_SHAPE(1LL << 40, 1LL << 40), (qn_init){0}, true);
    assert_failed(graph, QN_ERR_ARG, "too large");
}

static void arity_and_attributes_are_checked(void **state)
{
    (void)state;
    struct {
        const char *op;
        int inputs;
        qn_attr attr;
        const char *text;
    } cases[] = {
        {"Add", 1, {0}, "takes 2 to 2 inputs, not 1"},
        {"Relu", 1, QN_ATTR_I("alpha", 1), "Relu has no attribute 'alpha'"},
        {"MatMul", 2, QN_ATTR_I("transA", 2), "'transA' is 2; it must lie in 0 to 1"},
        {"MatMul", 2, QN_ATTR_F("transA", 1), "'transA' must be an integer"},
        {"Gemm", 2, QN_ATTR_S("activation", "softplus"), "'softplus'; it must be one of"},
        {"Reshape", 1, {0}, "needs the attribute 'shape'"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        qn_graph *graph = qn_graph_create();
        qn_value x = input(graph, "x", QN_SHAPE(3, 3));
        qn_value inputs[] = {x, x};
        qn_graph_node(graph, cases[i].op, inputs, cases[i].inputs, &cases[i].attr,
                      cases[i].attr.name ? 1 : 0);
        assert_failed(graph, QN_ERR_ARG, cases[i].text);
    }
    qn_graph *graph = qn_graph_create();
    qn_graph_node(graph, "Add", (qn_value[]){5, 6}, 2, NULL, 0);
    assert_failed(graph, QN_ERR_ARG, "not a value of the graph");
}

static void defaults_are_filled_and_integers_pass_for_floats(void **state)
{
    (void)state;
    qn_graph *graph = qn_graph_create();
    qn_value x = input(graph, "x", QN_SHAPE(3, 3));
    qn_attr attr = QN_ATTR_I("alpha", 2);
    qn_value y = qn_graph_node(graph, "Gemm", (qn_value[]){x, x, QN_NONE}, 3, &attr, 1);
    assert_ok(qn_graph_check(graph, &err), &err);
    const qn_node *node = &graph->nodes[graph->values[y].node];
    assert_int_equal(node->inputs_count, 2); /* the absent last input is not counted */
    qn_node_types types;
    assert_true(qn_node_types_init(&types, graph, node));
    assert_true(qn_op_attr_f(&types.types, "alpha") == 2);
    assert_true(qn_op_attr_f(&types.types, "beta") == 1);
    assert_string_equal(qn_op_attr_s(&types.types, "activation"), "none");
    qn_node_types_deinit(&types);
    qn_graph_destroy(graph);
}

static void assignments_want_states_of_the_same_type(void **state)
{
    (void)state;
    qn_graph *graph = qn_graph_create();
    qn_value w = qn_graph_state(graph, "w", QN_DTYPE_F32, QN_SHAPE(2), (qn_init){0}, true);
    qn_graph_assign(graph, w, input(graph, "x", QN_SHAPE(3)));
    assert_failed(graph, QN_ERR_ARG, "cannot assign f32 [3] to state 'w' of f32 [2]");
    graph = qn_graph_create();
    w = qn_graph_state(graph, "w", QN_DTYPE_F32, QN_SHAPE(2), (qn_init){0}, true);
    qn_graph_assign(graph, w, w);
    qn_graph_assign(graph, w, w);
    assert_failed(graph, QN_ERR_ARG, "assigned to twice");
    graph = qn_graph_create();
    qn_value x = input(graph, "x", QN_SHAPE(3));
    qn_graph_assign(graph, x, x);
    assert_failed(graph, QN_ERR_ARG, "only states");
}

static void graph_is_read_back(void **state)
{
    (void)state;
    qn_graph *graph = qn_graph_create();
    qn_value x = input(graph, "x", QN_SHAPE(QN_DIM_BATCH, 2));
    qn_value w = qn_graph_state(graph, "w", QN_DTYPE_F32, QN_SHAPE(2), (qn_init){0}, true);
    qn_value m = qn_graph_state_like(graph, w, "m");
    qn_value y = qn_graph_op2(graph, "Mul", x, w);
    qn_graph_output(graph, "y", y);
    assert_int_equal(qn_graph_find(graph, "x"), x);
    assert_int_equal(qn_graph_find(graph, "m.w"), m);
    assert_int_equal(qn_graph_find(graph, "y"), y);
    assert_int_equal(qn_graph_find(graph, "z"), QN_NONE);
    assert_int_equal(qn_graph_kind(graph, m), QN_VALUE_STATE);
    assert_string_equal(qn_graph_name(graph, w), "w");
    qn_value trainable[2];
    assert_int_equal(qn_graph_trainable(graph, trainable, 2), 1);
    assert_int_equal(trainable[0], w);
    assert_int_equal(qn_graph_values_count(graph), 4);
    qn_graph_destroy(graph);
}

static void extract_keeps_the_inference_part(void **state)
{
    (void)state;
    qn_graph *graph = qn_graph_create(), *part = NULL;
    qn_value x = input(graph, "x", QN_SHAPE(QN_DIM_BATCH, 2));
    qn_value t = input(graph, "t", QN_SHAPE(QN_DIM_BATCH, 2));
    qn_value w = qn_graph_state(graph, "w", QN_DTYPE_F32, QN_SHAPE(2), (qn_init){0}, true);
    qn_value y = qn_graph_op2(graph, "Mul", x, w);
    qn_graph_output(graph, "y", y);
    qn_graph_output(graph, "loss", qn_graph_op2(graph, "Sub", y, t));
    qn_graph_assign(graph, w, w);
    const char *names[] = {"y"}, *wrong[] = {"z"};
    assert_ok(qn_graph_extract(graph, names, 1, &part, &err), &err);
    assert_int_equal(part->nodes_count, 1);
    assert_int_equal(part->assigns_count, 0);
    assert_int_equal(qn_graph_find(part, "t"), QN_NONE);
    assert_true(qn_graph_find(part, "y") != QN_NONE);
    qn_graph_destroy(part);
    assert_int_equal(qn_graph_extract(graph, wrong, 1, &part, &err), QN_ERR_ARG);
    assert_text(&err, "no output 'z'");
    qn_graph_destroy(graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_error_sticks),
        cmocka_unit_test(names_are_one_space),
        cmocka_unit_test(states_are_concrete_and_float_to_train),
        cmocka_unit_test(arity_and_attributes_are_checked),
        cmocka_unit_test(defaults_are_filled_and_integers_pass_for_floats),
        cmocka_unit_test(assignments_want_states_of_the_same_type),
        cmocka_unit_test(graph_is_read_back),
        cmocka_unit_test(extract_keeps_the_inference_part),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
