/* States: where they lie, how they begin, snapshots. */
#include "testing.h"

#include <math.h>

#include "graph/state.h"
#include "graph/state_priv.h"

static qn_error err;

static qn_graph *two_layers(void)
{
    qn_graph *graph = qn_graph_create();
    qn_init uniform = {QN_INIT_UNIFORM, 0.5}, normal = {QN_INIT_NORMAL, 2};
    qn_value a = qn_graph_state(graph, "a", QN_DTYPE_F32, QN_SHAPE(5, 3), uniform, true);
    qn_value b = qn_graph_state(graph, "b", QN_DTYPE_F32, QN_SHAPE(1000), normal, true);
    qn_graph_state(graph, "mean", QN_DTYPE_F32, QN_SHAPE(3), (qn_init){QN_INIT_ONE, 0}, false);
    qn_graph_state(graph, "step", QN_DTYPE_I64, QN_SCALAR, (qn_init){QN_INIT_CONST, 7}, false);
    qn_graph_state_like(graph, b, "m"); /* not in the parameters' order */
    qn_graph_state_like(graph, a, "m");
    assert_ok(qn_graph_check(graph, &err), &err);
    return graph;
}

static qn_state *state_of(const qn_graph *graph, uint64_t seed)
{
    qn_state *state = NULL;
    assert_ok(qn_state_create(&state, &err), &err);
    assert_ok(qn_state_add_graph(state, graph, seed, &err), &err);
    return state;
}

static void roles_mirror_their_parameters(void **unused)
{
    (void)unused;
    qn_graph *graph = two_layers();
    qn_state *state = state_of(graph, 1);
    qn_state_place a, b, ma, mb;
    assert_true(qn_state_find_place(state, "a", &a) && qn_state_find_place(state, "b", &b));
    assert_true(qn_state_find_place(state, "m.a", &ma) && qn_state_find_place(state, "m.b", &mb));
    assert_false(qn_state_find_place(state, "c", &a));
    assert_int_equal(a.block, b.block);
    assert_int_equal(ma.block, mb.block);
    assert_int_not_equal(a.block, ma.block);
    assert_int_equal(a.offset, ma.offset);
    assert_int_equal(b.offset, mb.offset);
    qn_tensor flat;
    assert_true(qn_state_flat(state, &flat));
    assert_int_equal(qn_shape_count(&flat.shape), 16 + 1008);
    const float *data = flat.data;
    assert_ptr_equal(data + a.offset / 4, qn_state_find(state, "a")->tensor.data);
    assert_true(data[15] == 0); /* between the tensors */
    qn_state_destroy(state);
    qn_graph_destroy(graph);
}

static void values_follow_seed_and_name_alone(void **unused)
{
    (void)unused;
    qn_graph *graph = two_layers(), *other = qn_graph_create();
    qn_init uniform = {QN_INIT_UNIFORM, 0.5};
    qn_graph_state(other, "z", QN_DTYPE_F32, QN_SHAPE(50), uniform, true);
    qn_graph_state(other, "a", QN_DTYPE_F32, QN_SHAPE(5, 3), uniform, true);
    qn_state *one = state_of(graph, 1), *same = state_of(other, 1), *two = state_of(graph, 2);
    const float *a = qn_state_find(one, "a")->tensor.data;
    assert_memory_equal(a, qn_state_find(same, "a")->tensor.data, 60);
    assert_memory_not_equal(a, qn_state_find(two, "a")->tensor.data, 60);
    assert_memory_not_equal(a, qn_state_find(same, "z")->tensor.data, 60);
    for (int i = 0; i < 15; i++)
        assert_true(a[i] >= -0.5f && a[i] < 0.5f);
    const float *b = qn_state_find(one, "b")->tensor.data;
    double sum = 0, squares = 0;
    for (int i = 0; i < 1000; i++) {
        sum += (double)b[i];
        squares += (double)b[i] * (double)b[i];
    }
    assert_true(fabs(sum / 1000) < 0.3 && fabs(sqrt(squares / 1000) - 2) < 0.2);
    assert_int_equal(*(int64_t *)qn_state_find(one, "step")->tensor.data, 7);
    assert_true(((float *)qn_state_find(one, "mean")->tensor.data)[2] == 1);
    qn_state_destroy(one);
    qn_state_destroy(same);
    qn_state_destroy(two);
    qn_graph_destroy(graph);
    qn_graph_destroy(other);
}

static void adding_again_keeps_values_and_checks_types(void **unused)
{
    (void)unused;
    qn_graph *graph = two_layers();
    qn_state *state = state_of(graph, 1);
    const qn_named_tensor *a = qn_state_find(state, "a");
    ((float *)a->tensor.data)[0] = 42;
    assert_ok(qn_state_add_graph(state, graph, 9, &err), &err);
    assert_int_equal(qn_state_count(state), 6);
    assert_ptr_equal(a, qn_state_find(state, "a"));
    assert_true(((float *)a->tensor.data)[0] == 42);
    qn_graph *wrong = qn_graph_create();
    qn_graph_state(wrong, "new", QN_DTYPE_F32, QN_SHAPE(2), (qn_init){0}, true);
    qn_graph_state(wrong, "a", QN_DTYPE_F32, QN_SHAPE(4), (qn_init){0}, true);
    assert_int_equal(qn_state_add_graph(state, wrong, 1, &err), QN_ERR_ARG);
    assert_text(&err, "state 'a' is f32 [5, 3], not f32 [4]");
    assert_null(qn_state_find(state, "new"));
    qn_graph_destroy(wrong);
    qn_state_destroy(state);
    qn_graph_destroy(graph);
}

static void set_and_snapshot(void **unused)
{
    (void)unused;
    qn_graph *graph = two_layers();
    qn_state *state = state_of(graph, 1), *kept = NULL;
    float values[3] = {1, 2, 3};
    qn_tensor tensor = qn_tensor_of(values, QN_DTYPE_F32, QN_SHAPE(3));
    assert_ok(qn_state_set(state, "mean", &tensor, &err), &err);
    assert_ok(qn_state_snapshot(state, &kept, &err), &err);
    float *mean = qn_state_find(state, "mean")->tensor.data;
    assert_true(mean[1] == 2);
    mean[1] = 9;
    assert_true(((float *)qn_state_find(kept, "mean")->tensor.data)[1] == 2);
    assert_int_equal(qn_state_count(kept), qn_state_count(state));
    for (int i = 0; i < qn_state_count(state); i++)
        assert_string_equal(qn_state_at(kept, i)->name, qn_state_at(state, i)->name);
    qn_state_restore(state, kept);
    assert_true(mean[1] == 2);
    assert_int_equal(qn_state_set(state, "a", &tensor, &err), QN_ERR_ARG);
    assert_int_equal(qn_state_set(state, "q", &tensor, &err), QN_ERR_NOT_FOUND);
    qn_state_destroy(kept);
    qn_state_destroy(state);
    qn_graph_destroy(graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(roles_mirror_their_parameters),
        cmocka_unit_test(values_follow_seed_and_name_alone),
        cmocka_unit_test(adding_again_keeps_values_and_checks_types),
        cmocka_unit_test(set_and_snapshot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
