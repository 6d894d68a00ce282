/* What an importer owes a hostile ONNX file: an error that says why, and no more memory than was granted. */
#include "testing.h"

#include <string.h>

#include "model/onnx_import.h"
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

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(computed_constants_are_bounded)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
