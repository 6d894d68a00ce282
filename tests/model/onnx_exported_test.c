/*
 * Networks as PyTorch and Keras export them (tests/model/exported, with the scripts that wrote them): each gives the answers of
 * its maker, learns on, and gives the same answers when it is written again.
 */
#include "testing.h"

#include <math.h>
#include <stdio.h>

#include "format/npy.h"
#include "graph/plan.h"
#include "model/onnx_export.h"
#include "model/onnx_import.h"
#include "nn/training.h"
#include "os/file.h"

enum { STEPS = 60, ARRAYS_MAX = 8 };

static const char *const names[] = {
    "torch_cnn",     "torch_cnn_new",     "torch_resnet", "torch_mobilenet", "torch_efficientnet",
    "torch_unet",    "torch_vit",         "torch_lstm",   "torch_lstm_deep", "torch_gru",
    "torch_gru_new", "torch_packed",      "torch_bert",   "torch_encoder",   "torch_encoder_new",
    "torch_gpt",     "torch_bert_new",    "torch_llama",  "keras_cnn",       "keras_upsampling",
    "keras_lstm",    "keras_transformer", "keras_bilstm", "keras_gru",       "keras_tokens",
};

static const char expected_prefix[] = "expected ";

/* What a file's maker gives: its inputs by name, and one output. */
typedef struct {
    qn_arena arena;
    qn_named_tensor arrays[ARRAYS_MAX];
    int count, expected; /* index of the output */
    const char *output;
    int64_t rows;
} golden;

typedef struct {
    qn_onnx_model file;
    qn_graph *graph;
    qn_state *state;
} network;

static qn_error err;

static void read_golden(const char *name, golden *ret)
{
    char path[256];
    qn_str bytes;
    qn_named_tensor *arrays;
    int64_t count;
    qn_arena_init(&ret->arena, 0);
    (void)snprintf(path, sizeof path, "%s/tests/model/exported/%s.npz", QN_TEST_SOURCE_ROOT, name);
    assert_ok(qn_file_read(path, 1 << 20, &ret->arena, &bytes, &err), &err);
    assert_ok(qn_npz_read(bytes, path, 1 << 20, &ret->arena, &arrays, &count, &err), &err);
    assert_true(count >= 2 && count <= ARRAYS_MAX);
    ret->count = (int)count;
    for (int i = 0; i < ret->count; i++) {
        ret->arrays[i] = arrays[i];
        if (strncmp(arrays[i].name, expected_prefix, sizeof expected_prefix - 1) == 0)
            ret->expected = i;
    }
    ret->output = ret->arrays[ret->expected].name + sizeof expected_prefix - 1;
    ret->rows = ret->arrays[ret->expected].tensor.shape.dims[0];
}

static void open_file(const char *name, golden *g, bool training, network *ret)
{
    char path[256];
    const qn_onnx_training all = {0};
    const qn_onnx_import_options options = {.training = training ? &all : NULL};
    (void)snprintf(path, sizeof path, "%s/tests/model/exported/%s.onnx", QN_TEST_SOURCE_ROOT, name);
    assert_ok(qn_onnx_open(path, &g->arena, &ret->file, &err), &err);
    qn_status status = qn_onnx_import(&ret->file, &options, &ret->graph, &ret->state, &err);
    if (status != QN_OK)
        fail_msg("%s: %s", name, err.text);
}

static void close_network(network *n)
{
    qn_graph_destroy(n->graph);
    qn_state_destroy(n->state);
    qn_onnx_close(&n->file);
}

static void fill_inputs(qn_plan *plan, const golden *g)
{
    for (int i = 0; i < g->count; i++) {
        const qn_tensor *input = qn_plan_input(plan, g->arrays[i].name);
        if (input)
            memcpy(input->data, g->arrays[i].tensor.data, qn_tensor_bytes(input));
    }
}

/* The open graph, planned for the rows that there are, against the maker's answers. */
static void check_answers(const char *name, const char *form, const network *n, const golden *g)
{
    qn_plan *plan;
    const qn_plan_options options = {.batch = g->rows};
    assert_ok(qn_plan_create(n->graph, n->state, &options, &plan, &err), &err);
    fill_inputs(plan, g);
    qn_plan_run(plan, 0);
    const qn_tensor *output = qn_plan_output(plan, g->output);
    const qn_tensor *expected = &g->arrays[g->expected].tensor;
    assert_non_null(output);
    assert_true(qn_shape_equal(&output->shape, &expected->shape));
    const float *got = output->data, *want = expected->data;
    for (int64_t i = 0; i < qn_shape_count(&output->shape); i++)
        if (!(fabsf(got[i] - want[i]) < 1e-4F))
            fail_msg("%s, %s: element %lld is %g, expected %g", name, form, (long long)i,
                     (double)got[i], (double)want[i]);
    qn_plan_destroy(plan);
}

static void exported_networks_give_the_answers_of_their_makers(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        golden g = {0};
        network n;
        read_golden(names[i], &g);
        open_file(names[i], &g, false, &n);
        check_answers(names[i], "as read", &n, &g);
        close_network(&n);
        qn_arena_deinit(&g.arena);
    }
}

static void exported_networks_are_written_again(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        golden g = {0};
        network first, second;
        qn_buf bytes;
        qn_buf_init(&bytes, 0);
        read_golden(names[i], &g);
        open_file(names[i], &g, false, &first);
        if (qn_onnx_export(&bytes, first.graph, first.state, names[i], &err) != QN_OK)
            fail_msg("%s: %s", names[i], err.text);
        assert_ok(qn_onnx_read(qn_buf_view(&bytes), names[i], NULL, &g.arena, &second.file, &err),
                  &err);
        if (qn_onnx_import(&second.file, NULL, &second.graph, &second.state, &err) != QN_OK)
            fail_msg("%s, written again: %s", names[i], err.text);
        check_answers(names[i], "written again", &second, &g);
        close_network(&first);
        close_network(&second);
        qn_buf_deinit(&bytes);
        qn_arena_deinit(&g.arena);
    }
}

/* Learns numbers that are not its own; returns the last loss by the first. */
static double learn(network *n, const golden *g)
{
    qn_graph *apply;
    qn_plan *plan;
    const qn_nn_training training = {
        .loss = {.kind = QN_NN_LOSS_MSE},
        .optimizer = {.kind = QN_NN_ADAM, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8}};
    assert_ok(
        qn_nn_training_add(n->graph, qn_graph_find(n->graph, g->output), &training, &apply, &err),
        &err);
    assert_ok(qn_state_add_graph(n->state, n->graph, 1, &err), &err);
    const qn_plan_options options = {.batch = g->rows, .training = true};
    assert_ok(qn_plan_create(n->graph, n->state, &options, &plan, &err), &err);
    fill_inputs(plan, g);
    const qn_tensor *target = qn_plan_input(plan, "train.target");
    for (int64_t i = 0; i < qn_shape_count(&target->shape); i++)
        ((float *)target->data)[i] = i % 3 == 1 ? 0.6F : 0.2F;
    *(float *)qn_plan_input(plan, "train.lr")->data = 0.01F;
    double first = 0, last = 0;
    for (int step = 0; step < STEPS; step++) {
        qn_plan_run(plan, (uint32_t)step);
        last = (double)*(const float *)qn_plan_output(plan, "train.loss")->data;
        first = step == 0 ? last : first;
    }
    qn_plan_destroy(plan);
    qn_graph_destroy(apply);
    return last / first;
}

static void exported_networks_learn_on(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        golden g = {0};
        network n;
        read_golden(names[i], &g);
        open_file(names[i], &g, true, &n);
        double share = learn(&n, &g);
        if (!(share < 0.5))
            fail_msg("%s: the loss fell to %g of the first only", names[i], share);
        close_network(&n);
        qn_arena_deinit(&g.arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exported_networks_give_the_answers_of_their_makers),
        cmocka_unit_test(exported_networks_are_written_again),
        cmocka_unit_test(exported_networks_learn_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
