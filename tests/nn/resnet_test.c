/* ResNet-18 of the recipe: it builds for small and large pictures, and learns a handful of pictures by heart. */
#include "testing.h"

#include <math.h>
#include <stdio.h>

#include "base/rng.h"
#include "graph/plan.h"
#include "graph/state.h"
#include "nn/layers.h"
#include "nn/training.h"

static qn_error err;

enum { TEXT_MAX = 1 << 14 };

/* The list of examples/recipes/resnet18.yaml as JSON. */
static const char *resnet18(void)
{
    static char text[TEXT_MAX];
    size_t at = 0;
#define ADD(...) at += (size_t)snprintf(text + at, sizeof text - at, __VA_ARGS__)
    ADD("[{\"conv2d\":{\"filters\":64,\"kernel\":7,\"stride\":2,\"padding\":3,\"bias\":false,"
        "\"init\":\"he_normal\"}},\"batch_norm\",{\"activation\":{\"name\":\"relu\"}},"
        "{\"max_pool2d\":{\"size\":3,\"stride\":2,\"padding\":1}}");
    for (int block = 0; block < 8; block++) {
        int filters = 64 << block / 2, stride = block > 0 && block % 2 == 0 ? 2 : 1;
        ADD(",{\"residual\":{\"layers\":[{\"conv2d\":{\"filters\":%d,\"kernel\":3,\"stride\":%d,"
            "\"padding\":1,\"bias\":false,\"init\":\"he_normal\"}},\"batch_norm\","
            "{\"activation\":{\"name\":\"relu\"}},{\"conv2d\":{\"filters\":%d,\"kernel\":3,"
            "\"padding\":1,\"bias\":false,\"init\":\"he_normal\"}},\"batch_norm\"],",
            filters, stride, filters);
        if (stride == 2)
            ADD("\"shortcut\":[{\"conv2d\":{\"filters\":%d,\"kernel\":1,\"stride\":2,"
                "\"bias\":false}},\"batch_norm\"],",
                filters);
        ADD("\"activation\":\"relu\"}}");
    }
    ADD(",\"global_avg_pool2d\",{\"dense\":{\"units\":\"auto\"}}]");
#undef ADD
    assert_true(at < sizeof text);
    return text;
}

static qn_value build(qn_graph *graph, qn_shape shape)
{
    qn_arena arena;
    qn_json json;
    qn_value y = QN_NONE;
    qn_arena_init(&arena, 0);
    assert_ok(qn_json_read(qn_str_from(resnet18()), NULL, &arena, &json, &err), &err);
    qn_value x = qn_graph_input(graph, "x", QN_DTYPE_F32, shape);
    assert_ok(qn_nn_layers_build(graph, x, &json, &(qn_nn_layers_options){.units_auto = 10}, &y,
                                 NULL, &err),
              &err);
    qn_arena_deinit(&arena);
    return y;
}

static void it_builds_for_pictures_of_any_size(void **unused)
{
    (void)unused;
    static const int64_t sides[] = {28, 32, 224};
    for (int i = 0; i < 3; i++) {
        qn_graph *graph = qn_graph_create();
        qn_value y = build(graph, QN_SHAPE(QN_DIM_BATCH, sides[i], sides[i], 3));
        assert_int_equal(qn_graph_type(graph, y)->shape.dims[1], 10);
        int64_t numbers = 0;
        qn_value weights[128];
        int count = qn_graph_trainable(graph, weights, 128);
        for (int k = 0; k < count; k++)
            numbers += qn_shape_count(&qn_graph_type(graph, weights[k])->shape);
        assert_int_equal(numbers, 11181642); /* torchvision's, with ten classes */
        qn_graph_destroy(graph);
    }
}

/* Eight pictures of noise with labels: after a few steps of Adam the loss is a fraction of the first. */
static void it_learns_a_few_pictures_by_heart(void **unused)
{
    (void)unused;
    enum { BATCH = 8, SIDE = 28, STEPS = 8 };
    qn_graph *graph = qn_graph_create();
    qn_state *state = NULL;
    qn_plan *plan = NULL;
    qn_pool *pool = NULL;
    qn_value y = build(graph, QN_SHAPE(QN_DIM_BATCH, SIDE, SIDE, 1));
    qn_nn_training training = {.loss = {.kind = QN_NN_LOSS_CE},
                               .optimizer = qn_nn_optimizer_default(QN_NN_ADAM)};
    assert_ok(qn_nn_training_add(graph, y, &training, NULL, &err), &err);
    assert_ok(qn_state_create(&state, &err), &err);
    assert_ok(qn_state_add_graph(state, graph, 3, &err), &err);
    assert_ok(qn_pool_create(2, &pool, &err), &err);
    assert_ok(qn_plan_create(graph, state,
                             &(qn_plan_options){.batch = BATCH, .training = true, .pool = pool},
                             &plan, &err),
              &err);
    float *x = qn_plan_input(plan, "x")->data;
    int64_t *labels = qn_plan_input(plan, "train.target")->data;
    for (int i = 0; i < BATCH * SIDE * SIDE; i++)
        x[i] = (float)qn_rng_normal((qn_rng){.seed = 7}, (uint64_t)i);
    for (int i = 0; i < BATCH; i++)
        labels[i] = i % 10;
    *(float *)qn_plan_input(plan, "train.lr")->data = 0.001F;
    float first = 0, last = 0;
    for (uint32_t step = 0; step < STEPS; step++) {
        qn_plan_run(plan, step);
        last = *(const float *)qn_plan_output(plan, "train.loss")->data;
        first = step == 0 ? last : first;
    }
    if (!(first > 1.5F && last < 0.25F * first))
        fail_msg("the loss went from %g to %g", (double)first, (double)last);
    qn_plan_destroy(plan);
    qn_pool_destroy(pool);
    qn_state_destroy(state);
    qn_graph_destroy(graph);
}

/* Weights that stay may be folded and packed: the answers are those of the graph as it was built, for any threads. */
static void frozen_plans_answer_alike(void **unused)
{
    (void)unused;
    enum { BATCH = 2, SIDE = 32, PLANS = 5 };
    static const struct {
        bool frozen, reference;
        int threads;
    } kinds[PLANS] = {
        {false, true, 1}, {false, false, 1}, {true, false, 1}, {true, false, 2}, {true, false, 7}};
    qn_graph *graph = qn_graph_create();
    qn_state *state = NULL;
    const char *outputs[] = {"y"};
    float answers[PLANS][BATCH * 10];
    qn_graph_output(graph, "y", build(graph, QN_SHAPE(QN_DIM_BATCH, SIDE, SIDE, 1)));
    assert_ok(qn_state_create(&state, &err), &err);
    assert_ok(qn_state_add_graph(state, graph, 3, &err), &err);
    for (int i = 0; i < qn_state_count(state);
         i++) { /* running statistics and shifts as after training */
        const qn_named_tensor *at = qn_state_at(state, i);
        float *values = at->tensor.data;
        bool variance = strstr(at->name, "_var") || strstr(at->name, "scale");
        for (int64_t k = 0; at->tensor.shape.rank == 1 && k < qn_shape_count(&at->tensor.shape);
             k++)
            values[k] = (variance ? 0.5F : -0.1F) +
                        0.2F * qn_rng_uniform((qn_rng){.seed = (uint64_t)i}, (uint64_t)k);
    }
    for (int p = 0; p < PLANS; p++) {
        qn_plan *plan = NULL;
        qn_pool *pool = NULL;
        assert_ok(qn_pool_create(kinds[p].threads, &pool, &err), &err);
        qn_plan_options options = {.batch = BATCH,
                                   .frozen = kinds[p].frozen,
                                   .reference = kinds[p].reference,
                                   .pool = pool,
                                   .outputs = outputs,
                                   .outputs_count = 1};
        assert_ok(qn_plan_create(graph, state, &options, &plan, &err), &err);
        float *x = qn_plan_input(plan, "x")->data;
        for (int i = 0; i < BATCH * SIDE * SIDE; i++)
            x[i] = (float)qn_rng_normal((qn_rng){.seed = 7}, (uint64_t)i);
        for (uint32_t step = 0; step < 2; step++)
            qn_plan_run(plan, step);
        memcpy(answers[p], qn_plan_output(plan, "y")->data, sizeof answers[p]);
        qn_plan_destroy(plan);
        qn_pool_destroy(pool);
        for (int i = 0; i < BATCH * 10; i++)
            assert_near((double)answers[p][i], (double)answers[0][i],
                        2e-4 * (1 + fabs((double)answers[0][i])));
    }
    assert_memory_equal(answers[3], answers[2], sizeof answers[2]);
    assert_memory_equal(answers[4], answers[2], sizeof answers[2]);
    qn_state_destroy(state);
    qn_graph_destroy(graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_builds_for_pictures_of_any_size),
        cmocka_unit_test(it_learns_a_few_pictures_by_heart),
        cmocka_unit_test(frozen_plans_answer_alike),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
