/*
 * Plans with factors in bf16: the step of kernels that read them so against that of references on the same numbers, and
 * which kernels those are.
 */
#include "testing.h"

#include <math.h>
#include <stdio.h>

#include "base/json.h"
#include "graph/plan_priv.h"
#include "graph/state.h"
#include "kernel/conv/conv_bf16.h"
#include "kernel/gemm/pairs.h"
#include "nn/layers.h"
#include "nn/training.h"
#include "os/cpu.h"

enum { BATCH = 7, SIDE = 12, CHANNELS = 3, UNITS = 5 };

/* Every row of convolution: fused with ReLU and pool, with another activation, strided, transposed, grouped. */
static const char layers[] =
    "[{\"conv2d\": {\"filters\": 6, \"kernel\": 3, \"padding\": \"same\", \"activation\": "
    "\"relu\"}}, "
    "\"max_pool2d\", {\"conv2d\": {\"filters\": 8, \"kernel\": 3, \"activation\": \"relu\"}}, "
    "\"max_pool2d\", {\"conv2d_transpose\": {\"filters\": 6, \"kernel\": 3, \"stride\": 2}}, "
    "{\"conv2d\": {\"filters\": 10, \"kernel\": 3, \"stride\": 2, \"activation\": \"tanh\"}}, "
    "{\"conv2d\": {\"filters\": 4, \"kernel\": 1, \"groups\": 2}}, "
    "\"flatten\", {\"dense\": {\"units\": 5}}]";

typedef struct {
    qn_graph *graph;
    qn_state *state;
    qn_pool *pool;
    qn_plan *plan;
} run;

/* They begin as zeros, which would not be missed. */
static void fill_bias(const qn_named_tensor *state)
{
    float *bias = state->tensor.data;
    for (int64_t i = 0; strstr(state->name, "bias") && i < qn_shape_count(&state->tensor.shape);
         i++)
        bias[i] = qn_rng_uniform((qn_rng){.seed = 4}, (uint64_t)i) - 0.5F;
}

static run run_make_of(const char *text, qn_shape input, bool reference, int threads)
{
    qn_error err;
    qn_arena arena;
    qn_json list;
    run r = {.graph = qn_graph_create()};
    qn_nn_layers_options options = {0};
    qn_nn_training training = {.loss = {.kind = QN_NN_LOSS_MSE},
                               .optimizer = qn_nn_optimizer_default(QN_NN_SGD)};
    training.optimizer.momentum = 0;
    qn_value y = QN_NONE, x = qn_graph_input(r.graph, "x", QN_DTYPE_F32, input);
    qn_arena_init(&arena, 0);
    assert_ok(qn_json_read(qn_str_from(text), NULL, &arena, &list, &err), &err);
    assert_ok(qn_nn_layers_build(r.graph, x, &list, &options, &y, NULL, &err), &err);
    assert_ok(qn_nn_training_add(r.graph, y, &training, NULL, &err), &err);
    assert_ok(qn_state_create(&r.state, &err), &err);
    assert_ok(qn_state_add_graph(r.state, r.graph, 3, &err), &err);
    for (int s = 0; s < qn_state_count(r.state); s++)
        fill_bias(qn_state_at(r.state, s));
    assert_ok(qn_pool_create(threads, &r.pool, &err), &err);
    qn_plan_options plan = {
        .batch = BATCH, .pool = r.pool, .reference = reference, .training = true, .bf16 = true};
    assert_ok(qn_plan_create(r.graph, r.state, &plan, &r.plan, &err), &err);
    qn_arena_deinit(&arena);
    return r;
}

static run run_make(bool reference, int threads)
{
    return run_make_of(layers, QN_SHAPE(QN_DIM_BATCH, SIDE, SIDE, CHANNELS), reference, threads);
}

static void run_step(const run *r)
{
    float *x = qn_plan_input(r->plan, "x")->data,
          *target = qn_plan_input(r->plan, "train.target")->data;
    for (int64_t i = 0; i < BATCH * SIDE * SIDE * CHANNELS; i++)
        x[i] = qn_rng_uniform((qn_rng){.seed = 1}, (uint64_t)i) - 0.5F;
    for (int64_t i = 0; i < BATCH * UNITS; i++)
        target[i] = qn_rng_uniform((qn_rng){.seed = 2}, (uint64_t)i);
    *(float *)qn_plan_input(r->plan, "train.lr")->data = 1.0F;
    qn_plan_run(r->plan, 0);
}

static void run_free(run *r)
{
    qn_plan_destroy(r->plan);
    qn_pool_destroy(r->pool);
    qn_state_destroy(r->state);
    qn_graph_destroy(r->graph);
}

/* What the step did to each weight, as vectors. Where sums end up on either side of a rounding to bf16 they part by 2^-9 of
 * an element; a wrong kernel parts by the whole. */
static void convolutions_step_as_references_do(void **unused)
{
    (void)unused;
    run fast = run_make(false, 2), plain = run_make(true, 1), before = run_make(true, 1);
    run_step(&fast);
    run_step(&plain);
    for (int s = 0; s < qn_state_count(fast.state); s++) {
        const qn_tensor *a = &qn_state_at(fast.state, s)->tensor,
                        *b = &qn_state_at(plain.state, s)->tensor,
                        *c = &qn_state_at(before.state, s)->tensor;
        double apart = 0, moved = 0;
        for (int64_t i = 0; i < qn_shape_count(&a->shape); i++) {
            double x = qn_tensor_f64_at(a, i), y = qn_tensor_f64_at(b, i),
                   z = qn_tensor_f64_at(c, i);
            apart += (x - y) * (x - y);
            moved += (y - z) * (y - z);
        }
        if (!(sqrt(apart) <= 5e-3 * sqrt(moved)))
            fail_msg("%s: %g apart, moved %g", qn_state_at(fast.state, s)->name, sqrt(apart),
                     sqrt(moved));
    }
    run_free(&fast);
    run_free(&plain);
    run_free(&before);
}

static void threads_do_not_change_bits(void **unused)
{
    (void)unused;
    static const int threads[] = {1, 2, 3, 8};
    run one = run_make(false, threads[0]);
    run_step(&one);
    for (int i = 1; i < 4; i++) {
        run many = run_make(false, threads[i]);
        run_step(&many);
        for (int s = 0; s < qn_state_count(one.state); s++) {
            const qn_tensor *a = &qn_state_at(one.state, s)->tensor,
                            *b = &qn_state_at(many.state, s)->tensor;
            assert_memory_equal(a->data, b->data, qn_tensor_bytes(a));
        }
        run_free(&many);
    }
    run_free(&one);
}

static bool ends_in_bf16(const char *kernel)
{
    size_t size = strlen(kernel);
    return size > 4 && strcmp(kernel + size - 4, "bf16") == 0;
}

/* Of thirteen steps of convolution, those of the grouped layer are widened; all are where the CPU has no pairs. */
static void convolutions_read_bf16_where_they_gain(void **unused)
{
    (void)unused;
    run r = run_make(false, 1);
    int all = 0, narrow = 0;
    for (int i = 0; i < r.plan->calls_count; i++) {
        const qn_plan_step *step = &r.plan->steps[i];
        if (strncmp(step->types.op->name, "Conv", 4) != 0)
            continue;
        all++;
        narrow += ends_in_bf16(step->bound.kernel);
        assert_true(strcmp(step->bound.kernel, "reference") != 0);
    }
    assert_int_equal(all, 13);
    assert_int_equal(narrow, qn_pairs() ? 10 : 0);
    run_free(&r);
}

/* Behind the widening of their factors, they make pairs of them. */
static void recurrence_multiplies_pairs(void **unused)
{
    (void)unused;
    static const char *const kinds[] = {"rnn", "lstm", "gru"};
    for (int k = 0; k < 3; k++) {
        char text[64];
        snprintf(text, sizeof text, "[{\"%s\": {\"units\": 6}}]", kinds[k]);
        run r = run_make_of(text, QN_SHAPE(QN_DIM_BATCH, SIDE, CHANNELS), false, 1);
        int seen = 0;
        for (int i = 0; i < r.plan->calls_count; i++) {
            const char *kernel = r.plan->steps[i].bound.kernel;
            if (strncmp(kernel, "recurrent", 9) != 0)
                continue;
            seen++;
            assert_int_equal(ends_in_bf16(kernel), qn_pairs() != NULL);
        }
        assert_int_equal(seen, 2);
        run_free(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(convolutions_step_as_references_do),
        cmocka_unit_test(threads_do_not_change_bits),
        cmocka_unit_test(convolutions_read_bf16_where_they_gain),
        cmocka_unit_test(recurrence_multiplies_pairs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
