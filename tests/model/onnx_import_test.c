/* What an importer owes a hostile ONNX file: an error that says why, and no more memory than was granted; and what a served file owes
 * its callers: answers of their own. */
#include "testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/onnx_export.h"
#include "model/onnx_import.h"
#include "model/predictor.h"
#include "os/file.h"

/* A pad of 218 million places, in a file of 380 bytes. */
static void computed_constants_are_bounded(void **state)
{
    (void)state;
    qn_arena arena;
    qn_onnx_model model;
    qn_error err = {0};
    qn_str bytes;
    qn_arena_init(&arena, 0);
    assert_int_equal(qn_file_read(QN_TEST_SOURCE_ROOT "/tests/fuzz/corpus/onnx/pad_huge", 1 << 20,
                                  &arena, &bytes, &err),
                     QN_OK);
    assert_int_equal(qn_onnx_read(bytes, "f", NULL, &arena, &model, &err), QN_OK);
    qn_onnx_import_options options = {.open_size = 1, .constants_max = 1 << 20};
    qn_graph *graph = NULL;
    qn_state *weights = NULL;
    assert_int_equal(qn_onnx_import(&model, &options, &graph, &weights, &err), QN_ERR_BUDGET);
    assert_non_null(strstr(err.text, "constants may take"));
    assert_null(graph);
    qn_onnx_close(&model);
    qn_arena_deinit(&arena);
}

/* Short files that ask for much: a function that calls itself twice, fifteen that each call the next four times, six that
 * bring 4 KiB of constants to 1,024 places; a number where a graph is wanted; and references to no attribute. */
static void hostile_bodies_are_refused(void **state)
{
    static const struct {
        const char *file, *text;
        int64_t constants_max; /* 0 = the default */
    } cases[] = {
        {"function_of_itself", "nest deeper than", 0},
        {"functions_without_end", "too many nodes", 0},
        {"functions_of_constants", "functions and branches take 4096 bytes more", 1 << 20},
        {"score_mod_is_a_number", "attribute 'score_mod' is no graph", 0},
        {"reference_of_the_graph", "expected one attribute with the value", 0},
        {"reference_of_a_default", "expected one attribute with the value", 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        qn_onnx_import_options options = {.constants_max = cases[i].constants_max};
        char path[256];
        qn_arena arena;
        qn_onnx_model model;
        qn_error err = {0};
        qn_graph *graph;
        qn_state *weights;
        (void)snprintf(path, sizeof path, "%s/tests/fuzz/corpus/onnx/%s", QN_TEST_SOURCE_ROOT,
                       cases[i].file);
        qn_arena_init(&arena, 0);
        assert_int_equal(qn_onnx_open(path, &arena, &model, &err), QN_OK);
        assert_int_not_equal(qn_onnx_import(&model, &options, &graph, &weights, &err), QN_OK);
        if (!strstr(err.text, cases[i].text))
            fail_msg("%s: %s", cases[i].file, err.text);
        qn_onnx_close(&model);
        qn_arena_deinit(&arena);
    }
}

/* x [B, 8] -> y [B, 8], or [4 B, 2] where rows are `split`; may requests of several callers run as one? */
static bool runs_apart(bool split)
{
    char folder[] = "/tmp/quern-onnx-XXXXXX", path[64];
    qn_error err = {0};
    qn_buf bytes;
    qn_state *state;
    qn_predictor *predictor;
    qn_graph *graph = qn_graph_create();
    qn_attr shape = {.name = "shape", .kind = QN_ATTR_INTS, .count = 2, .ints = {-1, 2}};
    qn_value x = qn_graph_input(graph, "x", QN_DTYPE_F32, QN_SHAPE(QN_DIM_BATCH, 8));
    x = split ? qn_graph_node(graph, "Reshape", &x, 1, &shape, 1) : qn_graph_op1(graph, "Relu", x);
    qn_graph_output(graph, "y", x);
    qn_buf_init(&bytes, 0);
    assert_non_null(mkdtemp(folder));
    (void)snprintf(path, sizeof path, "%s/m.onnx", folder);
    assert_int_equal(qn_state_create(&state, &err), QN_OK);
    assert_int_equal(qn_onnx_export(&bytes, graph, state, "m", &err), QN_OK);
    assert_int_equal(qn_file_replace(path, bytes.data, bytes.size, &err), QN_OK);
    assert_int_equal(qn_predictor_open(path, 0, NULL, &predictor, &err), QN_OK);
    bool apart = qn_predictor_signature(predictor)->apart;
    qn_predictor_close(predictor);
    assert_int_equal(qn_folder_remove(folder, &err), QN_OK);
    qn_buf_deinit(&bytes);
    qn_state_destroy(state);
    qn_graph_destroy(graph);
    return apart;
}

static void requests_join_only_where_a_row_gives_a_row(void **state)
{
    (void)state;
    assert_false(runs_apart(false));
    assert_true(runs_apart(true));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(computed_constants_are_bounded),
        cmocka_unit_test(hostile_bodies_are_refused),
        cmocka_unit_test(requests_join_only_where_a_row_gives_a_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
