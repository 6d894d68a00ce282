/*
 * Networks that came as ONNX files learn on: imported, extended by a loss and an optimiser, they fit random targets. The
 * files are written by onnx/make.py in the form of PyTorch's exporter.
 */
#include "testing.h"

#include <math.h>
#include <stdio.h>

#include "graph/plan.h"
#include "model/onnx_import.h"
#include "nn/training.h"

enum { BATCH = 16, STEPS = 150 };

/* Numbers that every run has alike. */
static void fill(const qn_tensor *tensor, double step)
{
    float *numbers = tensor->data;
    int64_t count = qn_shape_count(&tensor->shape);
    for (int64_t i = 0; i < count; i++)
        numbers[i] = (float)sin(step * (double)(i + 1) * (double)(i % 7 + 1));
}

static void learn(const char *name)
{
    char path[256];
    qn_arena arena;
    qn_onnx_model model;
    qn_graph *graph, *apply;
    qn_state *state;
    qn_plan *plan;
    qn_error err = {0};
    qn_arena_init(&arena, 0);
    (void)snprintf(path, sizeof path, "%s/tests/model/onnx/%s.onnx", QN_TEST_SOURCE_ROOT, name);
    assert_ok(qn_onnx_open(path, &arena, &model, &err), &err);
    assert_ok(qn_onnx_import(&model, NULL, &graph, &state, &err), &err);
    qn_nn_training training = {
        .loss = {.kind = QN_NN_LOSS_MSE},
        .optimizer = {.kind = QN_NN_ADAM, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8}};
    assert_ok(qn_nn_training_add(graph, qn_graph_find(graph, "y"), &training, &apply, &err), &err);
    assert_ok(qn_state_add_graph(state, graph, 1, &err), &err);
    qn_plan_options options = {.batch = BATCH, .training = true};
    assert_ok(qn_plan_create(graph, state, &options, &plan, &err), &err);
    fill(qn_plan_input(plan, "x"), 0.37);
    fill(qn_plan_input(plan, "train.target"), 0.91);
    *(float *)qn_plan_input(plan, "train.lr")->data = 0.02F;
    double first = 0, last = 0;
    for (int step = 0; step < STEPS; step++) {
        qn_plan_run(plan, (uint32_t)step);
        last = (double)*(const float *)qn_plan_output(plan, "train.loss")->data;
        first = step == 0 ? last : first;
    }
    if (!(last < 0.3 * first))
        fail_msg("%s: the loss went from %g to %g", name, first, last);
    qn_plan_destroy(plan);
    qn_state_destroy(state);
    qn_graph_destroy(graph);
    qn_graph_destroy(apply);
    qn_onnx_close(&model);
    qn_arena_deinit(&arena);
}

static void onnx_networks_learn_on(void **state)
{
    static const char *const names[] = {"cnn", "lstm", "transformer"};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        learn(names[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(onnx_networks_learn_on)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
