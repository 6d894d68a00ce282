/*
 * Model folders: versions, what is read back, and that nothing read is trusted.
 */
#include "testing.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/rng.h"
#include "model/folder.h"
#include "model/predictor.h"
#include "os/file.h"
#include "quern/net.h"

static char folder[64];

/* A small net fitted on four samples, saved. */
static void save_net(void)
{
    static const float inputs[4][2] = {{1, 2}, {3, 4}, {5, 6}, {7, 8}};
    static const float targets[4][1] = {{1}, {2}, {3}, {4}};
    qn_error err = {0};
    qn_net *net = qn_net_create(QN_INPUT(2), &err);
    qn_net_dense(net, 4, QN_TANH);
    qn_net_dense(net, 1, QN_LINEAR);
    qn_fit_options fit = {.epochs = 3};
    assert_ok(qn_net_fit(net, QN_VIEW(inputs), QN_VIEW(targets), &fit, &err), &err);
    assert_ok(qn_net_save(net, folder, &err), &err);
    qn_net_destroy(net);
}

static int setup(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/quern-folder-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    save_net();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    (void)!qn_folder_remove(folder, NULL);
    return 0;
}

static qn_status open_version(const char *path, int64_t version, qn_error *err)
{
    qn_predictor *predictor;
    qn_status status = qn_predictor_open(path, version, NULL, &predictor, err);
    if (status == QN_OK)
        qn_predictor_close(predictor);
    return status;
}

static void versions_count_up_and_the_newest_is_taken(void **state)
{
    (void)state;
    qn_arena arena;
    qn_error err;
    const char *path;
    int64_t version, *versions, count;
    qn_arena_init(&arena, 0);
    save_net();
    assert_ok(qn_folder_versions(folder, &arena, &versions, &count, &err), &err);
    assert_int_equal(count, 2);
    assert_ok(qn_folder_find(folder, 0, &arena, &path, &version, &err), &err);
    assert_int_equal(version, 2);
    assert_ok(qn_folder_find(folder, 1, &arena, &path, &version, &err), &err);
    assert_int_equal(version, 1);
    assert_int_equal(qn_folder_find(folder, 9, &arena, &path, &version, &err), QN_ERR_NOT_FOUND);
    assert_text(&err, "the newest is 2");
    assert_int_equal(open_version("/tmp/no/such/model", 0, &err), QN_ERR_NOT_FOUND);
    qn_arena_deinit(&arena);
}

static void half_written_versions_are_not_seen(void **state)
{
    (void)state;
    qn_arena arena;
    qn_error err;
    int64_t *versions, count;
    qn_arena_init(&arena, 0);
    const char *half = qn_path_join(&arena, folder, "77");
    assert_ok(qn_folder_make(half, &err), &err);
    assert_ok(qn_folder_make(qn_path_join(&arena, folder, ".writing-1"), &err), &err);
    assert_ok(qn_folder_make(qn_path_join(&arena, folder, "007"), &err), &err);
    assert_ok(qn_folder_versions(folder, &arena, &versions, &count, &err), &err);
    assert_true(count >= 1 && versions[count - 1] < 77);
    assert_ok(qn_folder_remove(half, &err), &err);
    qn_arena_deinit(&arena);
}

static void verify_finds_a_changed_file(void **state)
{
    (void)state;
    qn_arena arena;
    qn_error err;
    qn_str bytes;
    qn_arena_init(&arena, 0);
    assert_ok(qn_folder_verify(folder, 1, &arena, &err), &err);
    const char *path = qn_arena_printf(&arena, "%s/1/model.safetensors", folder);
    assert_ok(qn_file_read(path, 0, &arena, &bytes, &err), &err);
    char *changed = qn_arena_strndup(&arena, bytes.data, bytes.size);
    changed[bytes.size - 1] ^= 1; /* a weight: still a good file */
    assert_ok(qn_file_replace(path, changed, bytes.size, &err), &err);
    assert_int_equal(qn_folder_verify(folder, 1, &arena, &err), QN_ERR_NEGATIVE);
    assert_text(&err, "differs");
    assert_int_equal(open_version(folder, 1, &err),
                     QN_ERR_DATA); /* no answers from other weights */
    assert_text(&err, "differs");
    assert_ok(qn_file_replace(path, bytes.data, bytes.size, &err), &err);
    assert_ok(qn_folder_verify(folder, 1, &arena, &err), &err);
    qn_arena_deinit(&arena);
}

/* Every description with some bytes changed or cut off either opens or gives an error. */
static void damaged_descriptions_are_errors(void **state)
{
    (void)state;
    qn_arena arena;
    qn_error err;
    qn_str bytes;
    qn_arena_init(&arena, 0);
    const char *path = qn_arena_printf(&arena, "%s/1/quern.json", folder);
    assert_ok(qn_file_read(path, 0, &arena, &bytes, &err), &err);
    char *changed = qn_arena_strndup(&arena, bytes.data, bytes.size);
    qn_rng rng = {.seed = 11};
    int failed = 0;
    for (uint64_t round = 0; round < 300; round++) {
        memcpy(changed, bytes.data, bytes.size);
        size_t size = bytes.size;
        uint64_t at = qn_rng_below(rng, 3 * round, bytes.size);
        if (round % 3 == 0)
            size = at;
        else
            changed[at] = (char)qn_rng_below(rng, 3 * round + 1, 128);
        assert_ok(qn_file_replace(path, changed, size, &err), &err);
        failed += open_version(folder, 1, &err) != QN_OK;
    }
    assert_true(failed > 100);
    assert_ok(qn_file_replace(path, bytes.data, bytes.size, &err), &err);
    assert_ok(open_version(folder, 1, &err), &err);
    qn_arena_deinit(&arena);
}

static void newer_format_says_so(void **state)
{
    (void)state;
    qn_arena arena;
    qn_error err;
    qn_arena_init(&arena, 0);
    const char *version = qn_path_join(&arena, folder, "50");
    assert_ok(qn_folder_make(version, &err), &err);
    static const char text[] = "{\"quern\": 2, \"name\": \"x\", \"task\": \"auto\"}";
    assert_ok(
        qn_file_replace(qn_path_join(&arena, version, "quern.json"), text, sizeof text - 1, &err),
        &err);
    assert_int_equal(open_version(folder, 50, &err), QN_ERR_DATA);
    assert_text(&err, "format 2");
    assert_ok(qn_folder_remove(version, &err), &err);
    qn_arena_deinit(&arena);
}

static void wrong_tensors_name_what_was_expected(void **state)
{
    (void)state;
    qn_arena arena;
    qn_error err;
    qn_predictor *predictor;
    float data[6] = {0};
    qn_named_tensor output;
    qn_arena_init(&arena, 0);
    assert_ok(qn_predictor_open(folder, 1, NULL, &predictor, &err), &err);
    qn_named_tensor wrong = {"input", qn_tensor_of(data, QN_DTYPE_F32, QN_SHAPE(2, 3))};
    assert_int_equal(qn_predictor_tensors(predictor, &wrong, 1, &arena, &output, &err), QN_ERR_ARG);
    assert_text(&err, "input 'input' expects shape [B, 2], got [2, 3]");
    wrong.name = "other";
    assert_int_equal(qn_predictor_tensors(predictor, &wrong, 1, &arena, &output, &err), QN_ERR_ARG);
    assert_text(&err, "input 'input' of shape [B, 2] is missing");
    qn_named_tensor good = {"input", qn_tensor_of(data, QN_DTYPE_F32, QN_SHAPE(3, 2))};
    assert_ok(qn_predictor_tensors(predictor, &good, 1, &arena, &output, &err), &err);
    assert_int_equal(output.tensor.shape.dims[0], 3);
    qn_named_tensor none = {"input", qn_tensor_of(data, QN_DTYPE_F32, QN_SHAPE(0, 2))};
    assert_ok(qn_predictor_tensors(predictor, &none, 1, &arena, &output, &err), &err);
    assert_int_equal(output.tensor.shape.dims[0], 0);
    qn_frame frame;
    qn_predictions answers;
    assert_ok(qn_frame_init(&frame, &arena, 1, 1, &err), &err);
    assert_int_equal(qn_predictor_rows(predictor, &frame, false, &arena, &answers, &err),
                     QN_ERR_ARG);
    qn_predictor_close(predictor);
    qn_arena_deinit(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(versions_count_up_and_the_newest_is_taken),
        cmocka_unit_test(half_written_versions_are_not_seen),
        cmocka_unit_test(verify_finds_a_changed_file),
        cmocka_unit_test(damaged_descriptions_are_errors),
        cmocka_unit_test(newer_format_says_so),
        cmocka_unit_test(wrong_tensors_name_what_was_expected),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
