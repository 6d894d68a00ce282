/*
 * Memory: what a plan states is what the process grows by, within 2 %, and a step adds nothing to it. In a process of its own,
 * so that nothing that was freed before is used again.
 */
#include "testing.h"

#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/json.h"
#include "graph/plan.h"
#include "graph/state.h"
#include "nn/layers.h"
#include "nn/training.h"
#include "os/clock.h"

enum { STEPS = 4 };

typedef struct {
    const char *layers;
    qn_shape input;
    int64_t batch;
} network;

/* 2 %, and at most 1 MiB for the graph and the passes over it, which are not of the step. */
static bool fits(int64_t grown, int64_t stated)
{
    return grown <= stated + stated / 50 + 1048576 && grown >= stated - stated / 50;
}

/* Trains for some steps; 0, or what went wrong. `counted`: growth and allocations are looked at. */
static int measure(const network *n, bool bf16, bool counted)
{
    qn_error err;
    qn_arena arena;
    qn_json list;
    qn_value y = QN_NONE;
    qn_state *state = NULL;
    qn_plan *plan = NULL;
    qn_nn_layers_options options = {0};
    qn_nn_training training = {.loss = {.kind = QN_NN_LOSS_MSE},
                               .optimizer = qn_nn_optimizer_default(QN_NN_ADAM)};
    qn_plan_options sizes = {.batch = n->batch, .training = true, .bf16 = bf16};
    int64_t before = qn_rss_bytes(), stated = 0;
    qn_arena_init(&arena, 0);
    qn_graph *graph = qn_graph_create();
    qn_value x = qn_graph_input(graph, "x", QN_DTYPE_F32, n->input);
    if (qn_json_read(qn_str_from(n->layers), NULL, &arena, &list, &err) != QN_OK ||
        qn_nn_layers_build(graph, x, &list, &options, &y, NULL, &err) != QN_OK ||
        qn_nn_training_add(graph, y, &training, NULL, &err) != QN_OK ||
        qn_state_create(&state, &err) != QN_OK ||
        qn_state_add_graph(state, graph, 1, &err) != QN_OK ||
        qn_plan_create(graph, state, &sizes, &plan, &err) != QN_OK)
        return 1;
    stated = qn_plan_bytes(plan);
    for (int i = 0; i < qn_state_count(state); i++)
        stated += (int64_t)qn_tensor_bytes(&qn_state_at(state, i)->tensor);
    int64_t allocations = qn_alloc_count();
    for (uint32_t step = 0; step < STEPS; step++)
        qn_plan_run(plan, step);
    if (qn_alloc_count() != allocations)
        return 2;
    int64_t grown = qn_rss_bytes() - before;
    qn_plan_destroy(plan);
    qn_state_destroy(state);
    qn_graph_destroy(graph);
    qn_arena_deinit(&arena);
    if (!counted)
        return 0;
    printf("# %lld bytes stated, %lld grown\n", (long long)stated, (long long)grown);
    fflush(stdout);
    return fits(grown, stated) ? 0 : 3;
}

/* First with one row, so that the code has been loaded. */
static int measure_warm(const network *n, bool bf16)
{
    network one = *n;
    one.batch = 1;
    int wrong = measure(&one, bf16, false);
    return wrong ? wrong : measure(n, bf16, true);
}

static void steps_take_what_the_plan_states(void **unused)
{
    (void)unused;
    static const network networks[] = {
        {"[{\"dense\": {\"units\": 1024, \"activation\": \"relu\"}}, {\"dense\": {\"units\": 1024, "
         "\"activation\": \"relu\"}}, {\"dense\": {\"units\": 10}}]",
         {2, {QN_DIM_BATCH, 784}},
         512},
        {"[{\"conv2d\": {\"filters\": 32, \"kernel\": 3, \"activation\": \"relu\"}}, "
         "\"max_pool2d\","
         "{\"conv2d\": {\"filters\": 64, \"kernel\": 3, \"activation\": \"relu\"}}, \"max_pool2d\","
         "\"flatten\", {\"dense\": {\"units\": 128}}, {\"dense\": {\"units\": 10}}]",
         {4, {QN_DIM_BATCH, 28, 28, 1}},
         128},
        {"[{\"transformer\": {\"heads\": 8, \"units\": 1024}}, \"global_avg_pool1d\", {\"dense\": "
         "{\"units\": 10}}]",
         {3, {QN_DIM_BATCH, 128, 256}},
         16},
        {"[{\"lstm\": {\"units\": 256, \"layers\": 2}}, {\"dense\": {\"units\": 10}}]",
         {3, {QN_DIM_BATCH, 100, 64}},
         32},
        {"[{\"transformer\": {\"heads\": 8, \"blocks\": 4, \"units\": 1024, \"causal\": true}}, "
         "{\"dense\": "
         "{\"units\": 2048}}]",
         {3, {QN_DIM_BATCH, 64, 256}},
         4},
    };
    for (size_t i = 0; i < 2 * sizeof networks / sizeof networks[0] && !QN_TEST_ASAN; i++) {
        int status = 0;
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0)
            _exit(measure_warm(&networks[i / 2], i % 2));
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
    }
}

/* A plan for a smaller batch lives in the memory of the larger one, and both go on giving what they give alone. */
static void plans_of_two_batches_share_memory(void **unused)
{
    (void)unused;
    qn_error err;
    qn_graph *graph = qn_graph_create();
    qn_value x = qn_graph_input(graph, "x", QN_DTYPE_F32, QN_SHAPE(QN_DIM_BATCH, 3));
    qn_nn_scope at = {.graph = graph, .name = "only"};
    qn_value y = qn_nn_dense(&at, x, &(qn_nn_dense_options){.units = 5});
    qn_nn_training training = {.loss = {.kind = QN_NN_LOSS_MSE},
                               .optimizer = qn_nn_optimizer_default(QN_NN_ADAM)};
    training.optimizer.clip_norm = 0.1; /* reads the zeros between gradients */
    assert_ok(qn_nn_training_add(graph, y, &training, NULL, &err), &err);
    float *ends[2];
    int64_t bytes[2];
    qn_state *states[2];
    for (int shared = 0; shared < 2; shared++) {
        qn_plan *large = NULL, *small = NULL;
        assert_ok(qn_state_create(&states[shared], &err), &err);
        assert_ok(qn_state_add_graph(states[shared], graph, 1, &err), &err);
        qn_plan_options options = {.batch = 7, .training = true};
        assert_ok(qn_plan_create(graph, states[shared], &options, &large, &err), &err);
        options.batch = 2;
        options.memory_of = shared ? large : NULL;
        assert_ok(qn_plan_create(graph, states[shared], &options, &small, &err), &err);
        bytes[shared] = qn_plan_bytes(small);
        for (uint32_t step = 0; step < 6; step++) {
            qn_plan *plan = step % 2 ? small : large;
            float *in = qn_plan_input(plan, "x")->data;
            float *target = qn_plan_input(plan, "train.target")->data;
            for (int i = 0; i < (step % 2 ? 2 : 7) * 3; i++)
                in[i] = (float)(i % 5) - (float)step;
            for (int i = 0; i < (step % 2 ? 2 : 7) * 5; i++)
                target[i] = (float)(i % 3);
            *(float *)qn_plan_input(plan, "train.lr")->data = 0.05F;
            qn_plan_run(plan, step);
        }
        ends[shared] = qn_state_find(states[shared], "only.weight")->tensor.data;
        qn_plan_destroy(small);
        qn_plan_destroy(large);
    }
    assert_true(bytes[1] < bytes[0]); /* tables alone */
    assert_memory_equal(ends[0], ends[1], 15 * sizeof(float));
    qn_state_destroy(states[0]);
    qn_state_destroy(states[1]);
    qn_graph_destroy(graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_take_what_the_plan_states),
        cmocka_unit_test(plans_of_two_batches_share_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
