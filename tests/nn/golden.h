/*
 * Golden runs: a network with weights from a file against PyTorch's logits, loss, every gradient, and ten steps of an
 * optimiser (golden.py says how the files are made; the files name the version). A test gives the file's name and, where a
 * list of layers does not describe the network, a function that builds it.
 *
 *     golden_check("encoder_pre", NULL);
 *     golden_check("decoder", build_decoder);
 *
 * Each case runs twice: in f64 by the rows' references, which must agree to all the digits that the file keeps, and in f32
 * by the kernels.
 */
#ifndef QN_TESTS_NN_GOLDEN_H
#define QN_TESTS_NN_GOLDEN_H

#include "testing.h"

#include <math.h>
#include <stdio.h>

#include "base/json.h"
#include "graph/plan.h"
#include "graph/state.h"
#include "nn/layers.h"
#include "nn/training.h"
#include "os/file.h"

enum { GOLDEN_INPUTS_MAX = 4, GOLDEN_STEPS = 10, GOLDEN_NAME = 160 };

typedef struct golden_case {
    qn_arena arena;
    qn_json root;
    const char *name;
    qn_dtype dtype;         /* of what floats */
    double tolerance;       /* of a tensor's largest element */
    double first_tolerance; /* the same of the first step's logits and gradients */
} golden_case;

/* Builds the network over the file's inputs, in the file's order; gives what the loss reads. */
typedef qn_value (*golden_build)(const golden_case *golden, qn_graph *graph,
                                 const qn_value *inputs);

static const qn_json *golden_find(const qn_json *object, const char *key)
{
    const qn_json *found = qn_json_find(object, key);
    if (!found)
        fail_msg("the golden file has no \"%s\"", key);
    return found;
}

static const char *golden_text(golden_case *g, const qn_json *object, const char *key)
{
    qn_str text = golden_find(object, key)->string;
    return qn_arena_strndup(&g->arena, text.data, text.size);
}

static double golden_number(const qn_json *object, const char *key, double fallback)
{
    qn_error err = {0};
    const qn_json *found = qn_json_find(object, key);
    if (found && found->kind == QN_JSON_BOOL) /* a switch of an optimiser */
        return found->boolean;
    assert_ok(qn_json_get_f64(object, key, false, &fallback, &err), &err);
    return fallback;
}

static double golden_at(const qn_json *numbers, int64_t i)
{
    double value = 0;
    qn_json item = qn_json_at(numbers, i);
    assert_true(qn_json_as_f64(&item, &value));
    return value;
}

/* {"shape": [...], "data": [...]}: of the case's float type unless "dtype" says i64. */
static qn_tensor golden_tensor(golden_case *g, const qn_json *value)
{
    const qn_json *shape = golden_find(value, "shape"), *data = golden_find(value, "data");
    qn_dtype dtype = qn_json_find(value, "dtype") ? QN_DTYPE_I64 : g->dtype;
    qn_shape dims = {.rank = (int)qn_json_length(shape)};
    for (int d = 0; d < dims.rank; d++)
        dims.dims[d] = (int64_t)golden_at(shape, d);
    int64_t count = qn_shape_count(&dims);
    assert_int_equal(count, qn_json_length(data));
    void *memory = qn_arena_zero(&g->arena, count + 1, qn_dtype_size(dtype));
    assert_non_null(memory);
    for (int64_t i = 0; i < count; i++) {
        double x = golden_at(data, i);
        if (dtype == QN_DTYPE_I64)
            ((int64_t *)memory)[i] = (int64_t)x;
        else if (dtype == QN_DTYPE_F64)
            ((double *)memory)[i] = x;
        else
            ((float *)memory)[i] = (float)x;
    }
    return qn_tensor_of(memory, dtype, dims);
}

static void golden_open(golden_case *g, const char *name, qn_dtype dtype, double tolerance)
{
    qn_error err = {0};
    char path[512];
    *g = (golden_case){
        .name = name, .dtype = dtype, .tolerance = tolerance, .first_tolerance = tolerance};
    qn_arena_init(&g->arena, 0);
    snprintf(path, sizeof path, "%s/tests/nn/golden/%s.json", QN_TEST_SOURCE_ROOT, name);
    qn_str text;
    assert_ok(qn_file_read(path, 1 << 20, &g->arena, &text, &err), &err);
    assert_ok(qn_json_read(text, NULL, &g->arena, &g->root, &err), &err);
}

static void golden_close(golden_case *g)
{
    qn_arena_deinit(&g->arena);
}

/* Every element within the tolerance of the tensor's largest one. */
static void golden_near(golden_case *g, const char *what, const qn_tensor *got,
                        const qn_json *value, double tolerance)
{
    const qn_json *want = golden_find(value, "data");
    int64_t count = qn_shape_count(&got->shape);
    double largest = 1e-3;
    assert_int_equal(count, qn_json_length(want));
    for (int64_t i = 0; i < count; i++)
        largest = fmax(largest, fabs(golden_at(want, i)));
    for (int64_t i = 0; i < count; i++) {
        double have = qn_tensor_f64_at(got, i), wanted = golden_at(want, i);
        if (!(fabs(have - wanted) <= tolerance * largest))
            fail_msg("%s (%s): %s[%lld] is %.10g, PyTorch has %.10g", g->name,
                     qn_dtype_name(g->dtype), what, (long long)i, have, wanted);
    }
}

static void golden_set_options(const qn_json *from, qn_nn_optimizer *o)
{
    qn_error err = {0};
    const char *name;
    o->weight_decay = golden_number(from, "weight_decay", o->weight_decay);
    o->clip_norm = golden_number(from, "clip_norm", o->clip_norm);
    for (int i = 0; (name = qn_nn_optimizer_option_at(i)); i++)
        if (qn_json_find(from, name))
            assert_ok(qn_nn_optimizer_set(o, name, golden_number(from, name, 0), &err), &err);
}

static void golden_set_loss(golden_case *g, qn_nn_loss *loss)
{
    const qn_json *from = qn_json_find(&g->root, "loss_options");
    if (loss->kind == QN_NN_LOSS_CTC)
        loss->labels_max = golden_tensor(g, golden_find(&g->root, "target")).shape.dims[1];
    if (!from)
        return;
    loss->quantile = golden_number(from, "quantile", 0);
    loss->has_margin = qn_json_find(from, "margin") != NULL;
    loss->margin = golden_number(from, "margin", 0);
    loss->blank = (int64_t)golden_number(from, "blank", 0);
}

static qn_nn_training golden_training(golden_case *g)
{
    const qn_json *optimizer = golden_find(&g->root, "optimizer");
    qn_nn_optimizer_kind kind = QN_NN_SGD;
    qn_nn_training training = {.gradients = true};
    if (!qn_nn_optimizer_find(golden_text(g, optimizer, "name"), &kind) ||
        !qn_nn_loss_find(golden_text(g, &g->root, "loss"), &training.loss.kind))
        fail_msg("%s: unknown optimizer or loss", g->name);
    golden_set_loss(g, &training.loss);
    training.optimizer = qn_nn_optimizer_default(kind);
    golden_set_options(optimizer, &training.optimizer);
    return training;
}

static qn_value golden_build_layers(const golden_case *g, qn_graph *graph, const qn_value *inputs)
{
    qn_error err = {0};
    qn_value out = QN_NONE;
    qn_nn_layers_options options = {0};
    assert_ok(qn_nn_layers_build(graph, inputs[0], golden_find(&g->root, "layers"), &options, &out,
                                 NULL, &err),
              &err);
    return out;
}

typedef struct {
    qn_graph *graph;
    qn_state *state;
    qn_plan *plan;
} golden_session;

static void golden_set_states(golden_case *g, qn_state *state, const qn_json *from)
{
    qn_error err = {0};
    for (int64_t i = 0; i < from->count; i++) {
        const char *name = qn_arena_strndup(&g->arena, from->keys[i].data, from->keys[i].size);
        qn_tensor values = golden_tensor(g, &from->items[i]);
        assert_ok(qn_state_set(state, name, &values, &err), &err);
    }
}

static void golden_near_states(golden_case *g, const qn_state *state, const qn_json *want)
{
    for (int64_t i = 0; i < want->count; i++) {
        const char *name = qn_arena_strndup(&g->arena, want->keys[i].data, want->keys[i].size);
        golden_near(g, name, &qn_state_find(state, name)->tensor, &want->items[i], g->tolerance);
    }
}

/* The training graph with the file's weights in place and its inputs filled. */
static golden_session golden_start(golden_case *g, golden_build build)
{
    qn_error err = {0};
    golden_session s = {.graph = qn_graph_create()};
    const qn_json *inputs = golden_find(&g->root, "inputs");
    qn_tensor tensors[GOLDEN_INPUTS_MAX];
    qn_value values[GOLDEN_INPUTS_MAX];
    const char *names[GOLDEN_INPUTS_MAX];
    assert_true(inputs->count <= GOLDEN_INPUTS_MAX);
    for (int64_t i = 0; i < inputs->count; i++) {
        names[i] = qn_arena_strndup(&g->arena, inputs->keys[i].data, inputs->keys[i].size);
        tensors[i] = golden_tensor(g, &inputs->items[i]);
        qn_shape shape = tensors[i].shape;
        shape.dims[0] = QN_DIM_BATCH;
        values[i] = qn_graph_input(s.graph, names[i], tensors[i].dtype, shape);
    }
    qn_value logits = (build ? build : golden_build_layers)(g, s.graph, values);
    assert_ok(qn_graph_check(s.graph, &err), &err);
    qn_graph_output(s.graph, "logits", logits);
    qn_nn_training training = golden_training(g);
    assert_ok(qn_nn_training_add(s.graph, logits, &training, NULL, &err), &err);
    assert_ok(qn_state_create(&s.state, &err), &err);
    assert_ok(qn_state_add_graph(s.state, s.graph, 1, &err), &err);
    golden_set_states(g, s.state, golden_find(&g->root, "states"));
    if (qn_json_find(&g->root, "buffers"))
        golden_set_states(g, s.state, qn_json_find(&g->root, "buffers"));
    qn_plan_options options = {
        .batch = tensors[0].shape.dims[0], .training = true, .reference = g->dtype == QN_DTYPE_F64};
    assert_ok(qn_plan_create(s.graph, s.state, &options, &s.plan, &err), &err);
    for (int64_t i = 0; i < inputs->count; i++)
        memcpy(qn_plan_input(s.plan, names[i])->data, tensors[i].data,
               qn_tensor_bytes(&tensors[i]));
    if (qn_plan_input(s.plan, "train.target")) {
        qn_tensor target = golden_tensor(g, golden_find(&g->root, "target"));
        memcpy(qn_plan_input(s.plan, "train.target")->data, target.data, qn_tensor_bytes(&target));
    }
    return s;
}

/* The file names every trainable state of the network, so that none goes unchecked. */
static void golden_names_all(golden_case *g, const golden_session *s)
{
    assert_int_equal(qn_graph_trainable(s->graph, NULL, 0), golden_find(&g->root, "states")->count);
}

static void golden_first_step(golden_case *g, const golden_session *s)
{
    golden_near(g, "logits", qn_plan_output(s->plan, "logits"), golden_find(&g->root, "logits"),
                g->first_tolerance);
    const qn_json *grads = golden_find(&g->root, "grads");
    for (int64_t i = 0; i < grads->count; i++) {
        char name[GOLDEN_NAME];
        snprintf(name, sizeof name, "grad.%.*s", (int)grads->keys[i].size, grads->keys[i].data);
        const qn_tensor *got = qn_plan_output(s->plan, name);
        if (!got)
            fail_msg("%s: the network has no output %s", g->name, name);
        golden_near(g, name, got, &grads->items[i], g->first_tolerance);
    }
}

static void golden_run(golden_case *g, golden_build build)
{
    golden_session s = golden_start(g, build);
    golden_names_all(g, &s);
    double rate = golden_number(golden_find(&g->root, "optimizer"), "rate", 0);
    const qn_tensor *lr = qn_plan_input(s.plan, "train.lr");
    qn_tensor from = qn_tensor_of(&rate, QN_DTYPE_F64, QN_SCALAR);
    qn_tensor_convert(lr->data, lr->dtype, &from);
    const qn_json *losses = golden_find(&g->root, "losses"),
                  *after = golden_find(&g->root, "after");
    for (uint32_t step = 0; step < GOLDEN_STEPS; step++) {
        qn_plan_run(s.plan, step);
        double loss = qn_tensor_f64_at(qn_plan_output(s.plan, "train.loss"), 0);
        double want = golden_at(losses, step);
        if (!(fabs(loss - want) <= g->tolerance * fmax(1, fabs(want))))
            fail_msg("%s (%s): loss of step %u is %.10g, PyTorch has %.10g", g->name,
                     qn_dtype_name(g->dtype), step + 1, loss, want);
        if (step == 0)
            golden_first_step(g, &s);
    }
    golden_near_states(g, s.state, after);
    if (qn_json_find(&g->root, "buffers_after"))
        golden_near_states(g, s.state, qn_json_find(&g->root, "buffers_after"));
    qn_plan_destroy(s.plan);
    qn_state_destroy(s.state);
    qn_graph_destroy(s.graph);
}

static void golden_check(const char *name, golden_build build)
{
    golden_case g;
    golden_open(&g, name, QN_DTYPE_F64, 2e-8);
    golden_run(&g, build);
    golden_close(&g);
    /* f32 rounds at 6e-8; the sums of these networks and ten divisions by small moments cost three digits */
    golden_open(&g, name, QN_DTYPE_F32, 1e-4);
    g.first_tolerance = 2e-5; /* before any division: what is 0 in f64 is 1e-8 in f32 */
    golden_run(&g, build);
    golden_close(&g);
}

#endif
