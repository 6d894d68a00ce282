/*
 * Same bits: networks of every family, in f32 and with factors of bf16, trained for some steps on 1, 2, 3 and 8 threads,
 * and stopped in the middle and taken up again by another plan over a copy of the states. Sizes are such that kernels do
 * cut their work; dropout and the optimiser's moments take part.
 */
#include "testing.h"

#include "base/alloc.h"
#include "base/json.h"
#include "base/rng.h"
#include "graph/plan.h"
#include "graph/state.h"
#include "nn/layers.h"
#include "nn/training.h"
#include "nn/transformer.h"

enum { STEPS = 4, HALF = 2, BATCH = 24, KINDS = 4 };

typedef struct {
    const char *name;
    const char *layers; /* NULL = encoder and decoder */
    qn_shape input;
} family;

static const family families[] = {
    {"cnn",
     "[{\"conv2d\": {\"filters\": 16, \"kernel\": 3, \"activation\": \"relu\"}}, \"max_pool2d\", "
     "{\"conv2d\": {\"filters\": 24, \"kernel\": 3}}, \"batch_norm\", {\"activation\": {\"name\": "
     "\"relu\"}}, \"flatten\", "
     "{\"dropout\": {\"rate\": 0.3}}, {\"dense\": {\"units\": 4}}]",
     {4, {QN_DIM_BATCH, 16, 16, 3}}},
    {"residual",
     "[{\"conv2d\": {\"filters\": 16, \"kernel\": 3, \"padding\": 1}}, {\"residual\": "
     "{\"layers\": [{\"conv2d\": {\"filters\": 16, \"kernel\": 3, \"padding\": 1}}, "
     "\"batch_norm\"], \"activation\": \"relu\"}}, \"global_avg_pool2d\", {\"dense\": {\"units\": "
     "4}}]",
     {4, {QN_DIM_BATCH, 12, 12, 3}}},
    {"lstm",
     "[{\"lstm\": {\"units\": 48, \"layers\": 2, \"dropout\": 0.2, \"bidirectional\": true}}, "
     "{\"dense\": {\"units\": 4}}]",
     {3, {QN_DIM_BATCH, 20, 16}}},
    {"gru",
     "[{\"gru\": {\"units\": 48, \"layers\": 2, \"dropout\": 0.2}}, {\"dense\": {\"units\": 4}}]",
     {3, {QN_DIM_BATCH, 20, 16}}},
    {"encoder",
     "[{\"dense\": {\"units\": 64}}, \"positions\", {\"transformer\": {\"heads\": 4, \"units\": "
     "128, "
     "\"dropout\": 0.1}}, \"global_avg_pool1d\", {\"dense\": {\"units\": 4}}]",
     {3, {QN_DIM_BATCH, 32, 16}}},
    {"decoder",
     "[{\"dense\": {\"units\": 64}}, {\"transformer\": {\"heads\": 4, \"kv_heads\": 2, \"units\": "
     "128, "
     "\"causal\": true, \"rotary\": true, \"norm\": \"rms\", \"activation\": \"swiglu\"}}, "
     "\"global_avg_pool1d\", {\"dense\": {\"units\": 4}}]",
     {3, {QN_DIM_BATCH, 32, 16}}},
    {"encoder-decoder", NULL, {3, {QN_DIM_BATCH, 32, 16}}},
};

static qn_error err;

static qn_value build_both(qn_graph *graph, qn_value x)
{
    qn_nn_transformer_options options = {.attention = {.heads = 4}, .blocks = 1, .units = 128};
    qn_nn_scope first = {.graph = graph, .name = "first"};
    qn_nn_scope encoder = {.graph = graph, .name = "encoder"};
    qn_nn_scope decoder = {.graph = graph, .name = "decoder"};
    qn_nn_scope head = {.graph = graph, .name = "head"};
    x = qn_nn_dense(&first, x, &(qn_nn_dense_options){.units = 64});
    qn_nn_memory memory = {qn_nn_transformer(&encoder, x, QN_NONE, &options), QN_NONE, QN_NONE};
    x = qn_nn_transformer_decoder(&decoder, x, &memory, NULL, &options);
    qn_attr attrs[] = {QN_ATTR_I("keepdims", 0),
                       {.name = "axes", .kind = QN_ATTR_INTS, .count = 1, .ints = {1}}};
    x = qn_graph_node(graph, "ReduceMean", &x, 1, attrs, 2);
    return qn_nn_dense(&head, x, &(qn_nn_dense_options){.units = KINDS});
}

static qn_graph *graph_of(const family *f)
{
    qn_graph *graph = qn_graph_create();
    qn_value x = qn_graph_input(graph, "x", QN_DTYPE_F32, f->input), y = QN_NONE;
    qn_nn_training training = {.loss = {.kind = QN_NN_LOSS_CE},
                               .optimizer = qn_nn_optimizer_default(QN_NN_ADAM)};
    training.optimizer.clip_norm = 1;
    if (f->layers) {
        qn_arena arena;
        qn_json list;
        qn_nn_layers_options options = {0};
        qn_arena_init(&arena, 0);
        assert_ok(qn_json_read(qn_str_from(f->layers), NULL, &arena, &list, &err), &err);
        assert_ok(qn_nn_layers_build(graph, x, &list, &options, &y, NULL, &err), &err);
        qn_arena_deinit(&arena);
    } else {
        y = build_both(graph, x);
    }
    assert_ok(qn_nn_training_add(graph, y, &training, NULL, &err), &err);
    return graph;
}

static qn_plan *plan_of(const qn_graph *graph, qn_state *state, qn_pool *pool, bool bf16)
{
    qn_plan *plan = NULL;
    qn_plan_options options = {
        .batch = BATCH, .seed = 5, .pool = pool, .training = true, .bf16 = bf16};
    assert_ok(qn_plan_create(graph, state, &options, &plan, &err), &err);
    return plan;
}

/* Another batch for every step. */
static void run_step(qn_plan *plan, uint32_t step)
{
    const qn_tensor *x = qn_plan_input(plan, "x");
    qn_rng rng = {.seed = 9, .step = step};
    for (int64_t i = 0; i < qn_shape_count(&x->shape); i++)
        ((float *)x->data)[i] = 2 * qn_rng_uniform(rng, (uint64_t)i) - 1;
    for (int i = 0; i < BATCH; i++)
        ((int64_t *)qn_plan_input(plan, "train.target")->data)[i] = (i + (int)step) % KINDS;
    *(float *)qn_plan_input(plan, "train.lr")->data = 0.01F;
    qn_plan_run(plan, step);
    assert_false(qn_plan_stopped(plan));
}

static qn_state *state_of(const qn_graph *graph)
{
    qn_state *state = NULL;
    assert_ok(qn_state_create(&state, &err), &err);
    assert_ok(qn_state_add_graph(state, graph, 1, &err), &err);
    return state;
}

static qn_state *train(const qn_graph *graph, int threads, bool bf16)
{
    qn_pool *pool = NULL;
    qn_state *state = state_of(graph);
    assert_ok(qn_pool_create(threads, &pool, &err), &err);
    qn_plan *plan = plan_of(graph, state, pool, bf16);
    for (uint32_t step = 0; step < STEPS; step++)
        run_step(plan, step);
    qn_plan_destroy(plan);
    qn_pool_destroy(pool);
    return state;
}

/* The second half by another plan, on other threads, over states that were copied. */
static qn_state *train_in_halves(const qn_graph *graph, bool bf16)
{
    qn_pool *pool = NULL;
    qn_state *first = state_of(graph), *second = state_of(graph);
    qn_plan *plan = plan_of(graph, first, NULL, bf16);
    for (uint32_t step = 0; step < HALF; step++)
        run_step(plan, step);
    for (int i = 0; i < qn_state_count(first); i++)
        assert_ok(
            qn_state_set(second, qn_state_at(first, i)->name, &qn_state_at(first, i)->tensor, &err),
            &err);
    qn_plan_destroy(plan);
    qn_state_destroy(first);
    assert_ok(qn_pool_create(3, &pool, &err), &err);
    plan = plan_of(graph, second, pool, bf16);
    for (uint32_t step = HALF; step < STEPS; step++)
        run_step(plan, step);
    qn_plan_destroy(plan);
    qn_pool_destroy(pool);
    return second;
}

static void assert_same(const family *f, const qn_state *a, qn_state *b, const char *what)
{
    for (int i = 0; i < qn_state_count(a); i++) {
        const qn_tensor *x = &qn_state_at(a, i)->tensor, *y = &qn_state_at(b, i)->tensor;
        if (memcmp(x->data, y->data, qn_tensor_bytes(x)) != 0)
            fail_msg("%s, %s: %s differs", f->name, what, qn_state_at(a, i)->name);
    }
    qn_state_destroy(b);
}

static void check(const family *f, bool bf16)
{
    static const struct {
        int threads;
        const char *what;
    } runs[] = {{2, "2 threads"}, {3, "3 threads"}, {8, "8 threads"}};
    qn_graph *graph = graph_of(f);
    qn_state *one = train(graph, 1, bf16);
    for (size_t i = 0; i < sizeof runs / sizeof runs[0]; i++)
        assert_same(f, one, train(graph, runs[i].threads, bf16), runs[i].what);
    assert_same(f, one, train_in_halves(graph, bf16), "taken up again");
    qn_state_destroy(one);
    qn_graph_destroy(graph);
}

static void networks_end_with_the_same_bits(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++)
        check(&families[i], false);
}

static void networks_of_bf16_end_with_the_same_bits(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++)
        check(&families[i], true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(networks_end_with_the_same_bits),
        cmocka_unit_test(networks_of_bf16_end_with_the_same_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
