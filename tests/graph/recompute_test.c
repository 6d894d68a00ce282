/* Gradient checkpointing: the same bits with less memory, whatever lies in the blocks. */
#include "testing.h"

#include "base/json.h"
#include "base/rng.h"
#include "graph/plan.h"
#include "graph/state.h"
#include "nn/layers.h"
#include "nn/training.h"

enum { STEPS = 3 };

static qn_error err;

typedef struct {
    qn_graph *graph;
    qn_state *state;
    qn_plan *plan;
} session;

/* Trains the list for a few steps on drawn numbers. */
static session train(const char *layers, qn_shape input, int64_t batch, bool recompute)
{
    session s = {.graph = qn_graph_create()};
    qn_arena arena;
    qn_json list;
    qn_value y = QN_NONE;
    qn_arena_init(&arena, 0);
    assert_ok(qn_json_read(qn_str_from(layers), NULL, &arena, &list, &err), &err);
    qn_value x = qn_graph_input(s.graph, "x", QN_DTYPE_F32, input);
    qn_nn_layers_options options = {0};
    assert_ok(qn_nn_layers_build(s.graph, x, &list, &options, &y, NULL, &err), &err);
    qn_nn_training training = {.loss = {.kind = QN_NN_LOSS_MSE},
                               .optimizer = qn_nn_optimizer_default(QN_NN_ADAM),
                               .recompute = recompute};
    assert_ok(qn_nn_training_add(s.graph, y, &training, NULL, &err), &err);
    assert_ok(qn_state_create(&s.state, &err), &err);
    assert_ok(qn_state_add_graph(s.state, s.graph, 3, &err), &err);
    qn_plan_options plan = {.batch = batch, .training = true, .seed = 5};
    assert_ok(qn_plan_create(s.graph, s.state, &plan, &s.plan, &err), &err);
    const qn_tensor *into[2] = {qn_plan_input(s.plan, "x"), qn_plan_input(s.plan, "train.target")};
    for (int k = 0; k < 2; k++)
        for (int64_t i = 0; i < qn_shape_count(&into[k]->shape); i++)
            ((float *)into[k]->data)[i] =
                qn_rng_uniform((qn_rng){.seed = (uint64_t)k}, (uint64_t)i) - 0.5F;
    *(float *)qn_plan_input(s.plan, "train.lr")->data = 0.01F;
    for (uint32_t step = 0; step < STEPS; step++)
        qn_plan_run(s.plan, step);
    qn_arena_deinit(&arena);
    return s;
}

static void close_session(session *s)
{
    qn_plan_destroy(s->plan);
    qn_state_destroy(s->state);
    qn_graph_destroy(s->graph);
}

/* Trains both ways; gives the memory of checkpointing as a share of the other's. */
static double compare(const char *layers, qn_shape input, int64_t batch)
{
    session kept = train(layers, input, batch, false), again = train(layers, input, batch, true);
    for (int i = 0; i < qn_state_count(kept.state); i++) {
        const qn_named_tensor *a = qn_state_at(kept.state, i),
                              *b = qn_state_find(again.state, a->name);
        assert_non_null(b);
        if (memcmp(a->tensor.data, b->tensor.data, qn_tensor_bytes(&a->tensor)) != 0)
            fail_msg("%s differs", a->name);
    }
    assert_memory_equal(qn_plan_output(kept.plan, "train.loss")->data,
                        qn_plan_output(again.plan, "train.loss")->data, sizeof(float));
    double share = (double)qn_plan_bytes(again.plan) / (double)qn_plan_bytes(kept.plan);
    close_session(&kept);
    close_session(&again);
    return share;
}

static void a_deep_transformer_needs_a_fraction(void **unused)
{
    (void)unused;
    static const char layers[] =
        "[{\"transformer\": {\"heads\": 2, \"blocks\": 16, \"units\": 32, \"dropout\": 0.1}},"
        "\"global_avg_pool1d\", {\"dense\": {\"units\": 2}}]";
    double share = compare(layers, QN_SHAPE(QN_DIM_BATCH, 32, 16), 64);
    if (!(share < 0.5))
        fail_msg("checkpointing takes %g of the memory", share);
}

/* Convolutions with their batch statistics, pooling with its choices, dropout, residual reuse of values across blocks. */
static void every_kind_of_block_gives_the_same_bits(void **unused)
{
    (void)unused;
    static const char images[] =
        "[{\"conv2d\": {\"filters\": 8, \"kernel\": 3, \"padding\": \"same\"}}, \"batch_norm\","
        "{\"activation\": {\"name\": \"gelu\"}}, {\"dropout\": {\"rate\": 0.3}}, \"max_pool2d\","
        "{\"conv2d\": {\"filters\": 8, \"kernel\": 3, \"activation\": \"relu\"}}, \"max_pool2d\","
        "\"flatten\", {\"dense\": {\"units\": 9, \"activation\": \"silu\"}},"
        "{\"dense\": {\"units\": 3}}]";
    static const char steps[] = "[{\"lstm\": {\"units\": 6, \"return_sequences\": true}},"
                                "{\"gru\": {\"units\": 6, \"return_sequences\": true}},"
                                "\"layer_norm\", {\"rnn\": {\"units\": 5}},"
                                "{\"dense\": {\"units\": 2}}]";
    (void)compare(images, QN_SHAPE(QN_DIM_BATCH, 12, 12, 2), 5);
    (void)compare(steps, QN_SHAPE(QN_DIM_BATCH, 7, 4), 5);
    (void)compare("[{\"dense\": {\"units\": 2}}]", QN_SHAPE(QN_DIM_BATCH, 3), 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_deep_transformer_needs_a_fraction),
        cmocka_unit_test(every_kind_of_block_gives_the_same_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
