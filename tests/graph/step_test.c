/* Whole training steps: kernels against references, one update call, the same bits for any number of threads. */
#include "testing.h"

#include <math.h>

#include "base/alloc.h"
#include "graph/plan_priv.h"
#include "nn/convolution.h"
#include "nn/layers.h"
#include "nn/training.h"

static qn_error err;

typedef struct {
    qn_nn_optimizer_kind kind;
    double clip_norm, clip_value, weight_decay, momentum;
    bool conv, plain; /* plain: no batch norm between convolution and pool */
    int64_t units;
} recipe;

static qn_value conv_part(qn_graph *graph, qn_value x, bool plain)
{
    qn_nn_scope at = {graph, "c", NULL}, norm = {graph, "n", NULL};
    qn_nn_conv_options conv = {
        .filters = 6, .kernel = {.size = {3, 3}, .padding = QN_NN_PAD_SAME}, .activation = "relu"};
    x = qn_nn_conv(&at, x, 2, &conv);
    if (!plain)
        x = qn_nn_batch_norm(&norm, x, &(qn_nn_batch_norm_options){0});
    x = qn_nn_max_pool(&at, x, 2, &(qn_nn_window){.size = {2, 2}});
    return qn_nn_dropout(&at, qn_nn_flatten(&at, x), 0.25);
}

static qn_graph *training_graph(const recipe *r)
{
    qn_graph *graph = qn_graph_create();
    qn_nn_scope first = {graph, "d0", NULL}, last = {graph, "d1", NULL};
    qn_value x = r->conv ? qn_graph_input(graph, "x", QN_DTYPE_F32, QN_SHAPE(QN_DIM_BATCH, 8, 8, 3))
                         : qn_graph_input(graph, "x", QN_DTYPE_F32, QN_SHAPE(QN_DIM_BATCH, 192));
    if (r->conv)
        x = conv_part(graph, x, r->plain);
    x = qn_nn_dense(&first, x, &(qn_nn_dense_options){.units = r->units, .activation = "tanh"});
    x = qn_nn_dense(&last, x, &(qn_nn_dense_options){.units = 5});
    qn_graph_output(graph, "logits", x);
    qn_nn_training training = {.loss = {.kind = QN_NN_LOSS_CE},
                               .optimizer = qn_nn_optimizer_default(r->kind)};
    training.optimizer.clip_norm = r->clip_norm;
    training.optimizer.clip_value = r->clip_value;
    training.optimizer.weight_decay = r->weight_decay;
    training.optimizer.momentum = r->momentum;
    assert_ok(qn_nn_training_add(graph, x, &training, NULL, &err), &err);
    return graph;
}

/* Trains `steps` steps at batch size `batch`; gives the state. */
static qn_state *train(const recipe *r, bool reference, int threads, int64_t batch, uint32_t steps)
{
    qn_graph *graph = training_graph(r);
    qn_state *state = NULL;
    qn_pool *pool = NULL;
    qn_plan *plan = NULL;
    assert_ok(qn_state_create(&state, &err), &err);
    assert_ok(qn_state_add_graph(state, graph, 3, &err), &err);
    assert_ok(qn_pool_create(threads, &pool, &err), &err);
    const char *guard = "train.loss";
    qn_plan_options options = {.batch = batch,
                               .seed = 11,
                               .pool = pool,
                               .reference = reference,
                               .training = true,
                               .guards = &guard,
                               .guards_count = 1};
    assert_ok(qn_plan_create(graph, state, &options, &plan, &err), &err);
    float *x = qn_plan_input(plan, "x")->data;
    int64_t *labels = qn_plan_input(plan, "train.target")->data;
    *(float *)qn_plan_input(plan, "train.lr")->data = 0.01f;
    for (uint32_t step = 0; step < steps; step++) {
        for (int64_t i = 0; i < batch * 192; i++)
            x[i] = qn_rng_uniform((qn_rng){.seed = 1, .step = step}, (uint64_t)i) - 0.5f;
        for (int64_t i = 0; i < batch; i++)
            labels[i] = x[i * 192] > 0 ? 1 : 3;
        qn_plan_run(plan, step);
        assert_false(qn_plan_stopped(plan));
    }
    qn_plan_destroy(plan);
    qn_pool_destroy(pool);
    qn_graph_destroy(graph);
    return state;
}

static const recipe recipes[] = {
    {.kind = QN_NN_SGD, .units = 7},
    {.kind = QN_NN_SGD, .units = 16, .momentum = 0.9, .clip_norm = 0.1},
    {.kind = QN_NN_ADAM, .units = 7, .weight_decay = 0.01},
    {.kind = QN_NN_ADAMW, .units = 33, .weight_decay = 0.1, .clip_norm = 0.05, .clip_value = 0.01},
    {.kind = QN_NN_ADAM, .units = 20, .conv = true, .clip_norm = 1},
    {.kind = QN_NN_SGD, .units = 20, .conv = true, .plain = true},
};
enum { RECIPES = sizeof recipes / sizeof recipes[0] };

static void steps_agree_with_references(void **unused)
{
    (void)unused;
    for (int r = 0; r < RECIPES; r++) {
        qn_state *fast = train(&recipes[r], false, 2, 9, 5),
                 *plain = train(&recipes[r], true, 1, 9, 5);
        for (int s = 0; s < qn_state_count(fast); s++) {
            const qn_tensor *a = &qn_state_at(fast, s)->tensor, *b = &qn_state_at(plain, s)->tensor;
            for (int64_t i = 0; i < qn_shape_count(&a->shape); i++) {
                double x = qn_tensor_f64_at(a, i), y = qn_tensor_f64_at(b, i);
                if (!(fabs(x - y) <= 2e-4 + 1e-3 * fabs(y)))
                    fail_msg("recipe %d: %s[%d] is %g, reference %g", r, qn_state_at(fast, s)->name,
                             (int)i, x, y);
            }
        }
        qn_state_destroy(fast);
        qn_state_destroy(plain);
    }
}

static void assert_same_bits(const qn_state *a, const qn_state *b)
{
    assert_int_equal(qn_state_count(a), qn_state_count(b));
    for (int s = 0; s < qn_state_count(a); s++) {
        const qn_named_tensor *x = qn_state_at(a, s), *y = qn_state_at(b, s);
        if (memcmp(x->tensor.data, y->tensor.data, qn_tensor_bytes(&x->tensor)) != 0)
            fail_msg("%s differs", x->name);
    }
}

/* Large enough that every kernel of the step uses the pool. */
static void threads_do_not_change_bits(void **unused)
{
    (void)unused;
    for (int r = 0; r < RECIPES; r++) {
        recipe large = recipes[r];
        large.units = 300;
        qn_state *one = train(&large, false, 1, 128, 3);
        for (int threads = 2; threads <= 7; threads += 5) {
            qn_state *many = train(&large, false, threads, 128, 3);
            assert_same_bits(one, many);
            qn_state_destroy(many);
        }
        qn_state_destroy(one);
    }
}

static int count_calls(const qn_plan *plan, const char *op)
{
    int count = 0;
    for (int i = 0; i < plan->calls_count; i++)
        count += strcmp(plan->steps[i].types.op->name, op) == 0;
    return count;
}

static void updates_join_into_one_call(void **unused)
{
    (void)unused;
    recipe r = {.kind = QN_NN_ADAM, .units = 7, .clip_norm = 1};
    qn_graph *graph = training_graph(&r);
    qn_state *state = NULL;
    qn_plan *plan = NULL;
    assert_ok(qn_state_create(&state, &err), &err);
    assert_ok(qn_state_add_graph(state, graph, 3, &err), &err);
    assert_ok(
        qn_plan_create(graph, state, &(qn_plan_options){.batch = 4, .training = true}, &plan, &err),
        &err);
    assert_int_equal(count_calls(plan, "AdamUpdate"), 1);
    assert_int_equal(count_calls(plan, "Copy"), 1); /* the step counter, which the update reads */
    int norm = 0;
    while (strcmp(plan->steps[norm].types.op->name, "GlobalNorm") != 0)
        norm++;
    const qn_plan_step *step = &plan->steps[norm];
    for (int i = 0; i < step->types.inputs_count; i++) {
        uintptr_t at = (uintptr_t)step->inputs[i].data, flat = (uintptr_t)plan->context.flat;
        assert_true(at >= flat && at < flat + plan->context.flat_bytes);
    }
    for (int i = 0; i < plan->calls_count; i++)
        if (strcmp(plan->steps[i].bound.kernel, "reference") == 0 &&
            strcmp(plan->steps[i].types.op->name, "ClipScale") != 0)
            fail_msg("%s has no kernel", plan->steps[i].types.op->name);
    qn_plan_destroy(plan);
    qn_state_destroy(state);
    qn_graph_destroy(graph);
}

/* Accumulating two micro-batches and applying equals one step on gradients averaged over both. */
static void accumulation_applies_once(void **unused)
{
    (void)unused;
    qn_graph *graph = qn_graph_create(), *apply = NULL;
    qn_nn_scope at = {graph, "d", NULL};
    qn_value x = qn_graph_input(graph, "x", QN_DTYPE_F32, QN_SHAPE(QN_DIM_BATCH, 2));
    x = qn_nn_dense(&at, x, &(qn_nn_dense_options){.units = 1});
    qn_nn_training training = {.loss = {.kind = QN_NN_LOSS_MSE},
                               .optimizer = qn_nn_optimizer_default(QN_NN_SGD),
                               .accumulate = 2};
    training.optimizer.momentum = 0;
    assert_ok(qn_nn_training_add(graph, x, &training, &apply, &err), &err);
    qn_state *state = NULL;
    qn_plan *run = NULL, *update = NULL;
    assert_ok(qn_state_create(&state, &err), &err);
    assert_ok(qn_state_add_graph(state, graph, 3, &err), &err);
    assert_ok(qn_state_add_graph(state, apply, 3, &err), &err);
    qn_plan_options options = {.batch = 1, .training = true};
    assert_ok(qn_plan_create(graph, state, &options, &run, &err), &err);
    assert_ok(qn_plan_create(apply, state, &options, &update, &err), &err);
    float *weight = qn_state_find(state, "d.weight")->tensor.data, before = weight[0];
    float *in = qn_plan_input(run, "x")->data, *target = qn_plan_input(run, "train.target")->data;
    *(float *)qn_plan_input(update, "train.lr")->data = 0.5f;
    double want = 0;
    for (int batch = 0; batch < 2; batch++) {
        in[0] = (float)(batch + 1), in[1] = 0, target[0] = 3;
        qn_plan_run(run, 0);
        want += 2 * ((double)before * (batch + 1) - 3) * (batch + 1) / 2;
    }
    assert_true(weight[0] == before);
    qn_plan_run(update, 0);
    assert_true(fabs((double)weight[0] - ((double)before - 0.5 * want)) < 1e-5);
    assert_true(((float *)qn_state_find(state, "accum.d.weight")->tensor.data)[0] == 0);
    qn_plan_destroy(run);
    qn_plan_destroy(update);
    qn_state_destroy(state);
    qn_graph_destroy(graph);
    qn_graph_destroy(apply);
}

/* What kernels keep of their own: taps of a resize, more than the arena's blocks hold beside other things; and an LSTM,
 * whose backward has a spare output. */
static qn_value recurrent(qn_graph *graph)
{
    qn_attr sizes[] = {
        {.name = "sizes", .kind = QN_ATTR_INTS, .count = 3, .ints = {9000, QN_DIM_BATCH, 4}}};
    qn_init init = {QN_INIT_UNIFORM, 0.5};
    qn_value x = qn_graph_input(graph, "x", QN_DTYPE_F32, QN_SHAPE(3, QN_DIM_BATCH, 4));
    qn_value inputs[] = {qn_graph_node(graph, "Resize", &x, 1, sizes, 1),
                         qn_graph_state(graph, "w", QN_DTYPE_F32, QN_SHAPE(1, 12, 4), init, true),
                         qn_graph_state(graph, "r", QN_DTYPE_F32, QN_SHAPE(1, 12, 3), init, true)};
    qn_value states = qn_graph_node(graph, "LSTM", inputs, 3, NULL, 0);
    qn_attr shape = {.name = "shape", .kind = QN_ATTR_INTS, .count = 2, .ints = {QN_DIM_BATCH, 3}};
    return qn_graph_node(graph, "Reshape", (qn_value[]){states + 1}, 1, &shape, 1);
}

/* Builds, plans and runs; every handle is released whatever failed. */
static qn_status whole_life(bool with_recurrence)
{
    qn_graph *graph = qn_graph_create();
    if (!graph)
        return QN_ERR_MEMORY;
    qn_nn_scope at = {graph, "d", NULL};
    qn_value x = with_recurrence
                     ? recurrent(graph)
                     : qn_graph_input(graph, "x", QN_DTYPE_F32, QN_SHAPE(QN_DIM_BATCH, 4));
    x = qn_nn_dense(&at, x, &(qn_nn_dense_options){.units = 3, .activation = "relu"});
    qn_nn_training training = {.loss = {.kind = QN_NN_LOSS_CE},
                               .optimizer = qn_nn_optimizer_default(QN_NN_ADAM)};
    training.optimizer.clip_norm = 1;
    qn_state *state = NULL, *kept = NULL;
    qn_plan *plan = NULL;
    qn_status status = qn_nn_training_add(graph, x, &training, NULL, &err);
    if (status == QN_OK)
        status = qn_state_create(&state, &err);
    if (status == QN_OK)
        status = qn_state_add_graph(state, graph, 3, &err);
    if (status == QN_OK)
        status = qn_state_snapshot(state, &kept, &err);
    if (status == QN_OK)
        status = qn_plan_create(graph, state, &(qn_plan_options){.batch = 2, .training = true},
                                &plan, &err);
    if (status == QN_OK)
        qn_plan_run(plan, 0);
    qn_plan_destroy(plan);
    qn_state_destroy(kept);
    qn_state_destroy(state);
    qn_graph_destroy(graph);
    return status;
}

static void every_failed_allocation_is_an_error(void **unused)
{
    (void)unused;
    for (int with_recurrence = 0; with_recurrence < 2; with_recurrence++) {
        int64_t start = qn_alloc_count();
        assert_int_equal(whole_life(with_recurrence), QN_OK);
        int64_t allocations = qn_alloc_count() - start;
        for (int64_t nth = 1; nth <= allocations; nth++) {
            qn_alloc_fail_at(nth);
            assert_int_equal(whole_life(with_recurrence), QN_ERR_MEMORY);
        }
        qn_alloc_fail_at(0);
        assert_int_equal(whole_life(with_recurrence), QN_OK);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_agree_with_references),
        cmocka_unit_test(threads_do_not_change_bits),
        cmocka_unit_test(updates_join_into_one_call),
        cmocka_unit_test(accumulation_applies_once),
        cmocka_unit_test(every_failed_allocation_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
