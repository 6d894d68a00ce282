/*
 * Models of a few nodes (tests/model/onnx/cases, by cases.py): what once went wrong, and what ONNX's own cases do not cover.
 * Each is opened as a served file is and gives the outputs beside it. One called open_... keeps its batch open: its requests
 * may be joined.
 */
#include "testing.h"

#include <math.h>
#include <stdio.h>

#include "format/npy.h"
#include "model/onnx_session.h"
#include "os/file.h"

#define CASES QN_TEST_SOURCE_ROOT "/tests/model/onnx/cases"

static const char expected_prefix[] = "expected ";

typedef struct {
    qn_arena arena;
    const char *path;
    qn_named_tensor *arrays;
    int64_t count;
} onnx_case;

static qn_error err;

static bool is_expected(const char *name)
{
    return strncmp(name, expected_prefix, sizeof expected_prefix - 1) == 0;
}

static void compare(const onnx_case *c, const qn_named_tensor *want, const qn_tensor *came)
{
    char a[128], b[128];
    if (came->dtype != want->tensor.dtype || !qn_shape_equal(&came->shape, &want->tensor.shape))
        fail_msg("%s: %s is %s %s, not %s %s", c->path, want->name, qn_dtype_name(came->dtype),
                 qn_shape_text(&came->shape, a), qn_dtype_name(want->tensor.dtype),
                 qn_shape_text(&want->tensor.shape, b));
    for (int64_t i = 0; i < qn_shape_count(&came->shape); i++) {
        double got = qn_tensor_f64_at(came, i), right = qn_tensor_f64_at(&want->tensor, i);
        if (!(fabs(got - right) <= 1e-6 + 1e-5 * fabs(right)))
            fail_msg("%s: %s[%lld] is %g, not %g", c->path, want->name, (long long)i, got, right);
    }
}

static void run_case(onnx_case *c)
{
    qn_onnx_session *session;
    qn_signature signature = {0};
    qn_named_tensor inputs[8], outputs[8];
    int count = 0;
    if (qn_onnx_session_open(c->path, NULL, 0, &session, &err) != QN_OK)
        fail_msg("%s: %s", c->path, err.text);
    qn_onnx_session_describe(session, &signature);
    if (strstr(c->path, "/open_") && signature.apart)
        fail_msg("%s: its batch did not stay open", c->path);
    for (int64_t i = 0; i < c->count; i++)
        if (!is_expected(c->arrays[i].name))
            inputs[count++] = c->arrays[i];
    if (qn_onnx_session_run(session, inputs, count, &c->arena, outputs, &err) != QN_OK)
        fail_msg("%s: %s", c->path, err.text);
    for (int64_t i = 0; i < c->count; i++)
        for (int k = 0; k < signature.outputs_count && is_expected(c->arrays[i].name); k++)
            if (strcmp(outputs[k].name, c->arrays[i].name + sizeof expected_prefix - 1) == 0)
                compare(c, &c->arrays[i], &outputs[k].tensor);
    qn_onnx_session_close(session);
}

static void small_models_give_what_is_expected(void **state)
{
    (void)state;
    char **names;
    int64_t count, run = 0;
    qn_arena list;
    qn_arena_init(&list, 0);
    assert_ok(qn_folder_list(CASES, &list, &names, &count, &err), &err);
    for (int64_t i = 0; i < count; i++) {
        char *end = strstr(names[i], ".npz");
        qn_str bytes;
        onnx_case c = {0};
        if (!end)
            continue;
        qn_arena_init(&c.arena, 0);
        const char *arrays = qn_path_join(&c.arena, CASES, names[i]);
        *end = 0;
        c.path = qn_arena_printf(&c.arena, "%s/%s.onnx", CASES, names[i]);
        assert_ok(qn_file_read(arrays, 1 << 20, &c.arena, &bytes, &err), &err);
        assert_ok(qn_npz_read(bytes, arrays, 1 << 20, &c.arena, &c.arrays, &c.count, &err), &err);
        run_case(&c);
        run++;
        qn_arena_deinit(&c.arena);
    }
    assert_true(run > 0);
    qn_arena_deinit(&list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(small_models_give_what_is_expected)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
