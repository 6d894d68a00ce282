/*
 * quern/model.h end to end, on a table with a category too large for one-hot columns: train, open, ask
 * by CSV, JSON and tensors. A row's answer has the same bits alone and among others.
 */
#include "testing.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/rng.h"
#include "model/predictor.h"
#include "os/file.h"
#include "quern/model.h"

enum { ROWS = 2500, CITIES = 120, ASKED = 40 };

static char folder[64], table[96], out[96], version[128];
static int events;

static int count_event(void *context, const char *json)
{
    (void)context;
    events += strncmp(json, "{\"event\":", 9) == 0;
    return 0;
}

/* The class hangs on the city (its number's parity) and the size. */
static qn_status write_table(void)
{
    qn_buf text;
    qn_rng rng = {.seed = 2};
    qn_buf_init(&text, 0);
    qn_buf_text(&text, "city,size,kind\n");
    for (uint64_t row = 0; row < ROWS; row++) {
        int city = (int)qn_rng_below(rng, 3 * row, CITIES);
        double size = qn_rng_normal(rng, 3 * row + 1);
        bool large = size + (city % 2 ? 1.5 : -1.5) > 0;
        qn_buf_printf(&text, "town %c%c,%.3f,%s\n", 'a' + city / 26, 'a' + city % 26, size,
                      large ? "large" : "small");
    }
    qn_status status = qn_file_replace(table, text.data, text.size, NULL);
    qn_buf_deinit(&text);
    return status;
}

static int setup(void **state)
{
    (void)state;
    qn_error err;
    (void)snprintf(folder, sizeof folder, "/tmp/quern-api-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    (void)snprintf(table, sizeof table, "%s/table.csv", folder);
    (void)snprintf(out, sizeof out, "%s/model", folder);
    if (write_table() != QN_OK)
        return -1;
    static const char *const set[] = {"model.type=mlp", "train.epochs=8"};
    qn_train_options options = {
        .out = out, .target = "kind", .set = set, .set_count = 2, .on_event = count_event};
    return qn_train(table, &options, version, sizeof version, &err) == QN_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    (void)!qn_folder_remove(folder, NULL);
    return 0;
}

static void training_names_its_folder_and_reports(void **state)
{
    (void)state;
    assert_non_null(strstr(version, "/model/1"));
    assert_true(events > 10);
    char small[4];
    qn_error err;
    static const char *const set[] = {"train.epochs=1"};
    qn_train_options options = {.out = out, .target = "kind", .set = set, .set_count = 1};
    assert_int_equal(qn_train(table, &options, small, sizeof small, &err), QN_ERR_ARG);
    options.set = (const char *const[]){"train.epoch=1"};
    assert_int_equal(qn_train(table, &options, NULL, 0, &err), QN_ERR_ARG);
    assert_text(&err, "did you mean 'epochs'");
}

static void csv_and_json_rows_agree(void **state)
{
    (void)state;
    static const char csv[] = "size,city\n0.5,town ab\n,town aa\n-2,\n";
    static const char json[] =
        "[{\"size\":0.5,\"city\":\"town ab\"},{\"city\":\"town aa\"},{\"size\":-2,\"city\":null}]";
    qn_error err;
    const char *answer;
    char first[1024];
    qn_model *model = qn_model_open(version, &err);
    assert_non_null(model);
    assert_non_null(strstr(qn_model_signature(model), "\"target\":\"kind\""));
    assert_ok(qn_model_predict_csv(model, csv, sizeof csv - 1, &answer, &err), &err);
    assert_true(strlen(answer) < sizeof first);
    memcpy(first, answer, strlen(answer) + 1);
    assert_ok(qn_model_predict_json(model, json, sizeof json - 1, &answer, &err), &err);
    assert_string_equal(first, answer);
    assert_non_null(strstr(first, "[{\"prediction\":\"large\",\"probability\":{\"large\":"));
    qn_model_close(model);
}

static void wrong_rows_are_errors(void **state)
{
    (void)state;
    static const char unknown[] = "[{\"siez\":1}]", odd[] = "[{\"size\":[1]}]", none[] = "{}";
    static const char word[] = "size,city\nbig,town aa\n";
    qn_error err;
    const char *answer;
    qn_model *model = qn_model_open(version, &err);
    assert_non_null(model);
    assert_int_equal(qn_model_predict_json(model, unknown, sizeof unknown - 1, &answer, &err),
                     QN_ERR_DATA);
    assert_text(&err, "siez");
    assert_int_equal(qn_model_predict_json(model, odd, sizeof odd - 1, &answer, &err), QN_ERR_ARG);
    assert_int_equal(qn_model_predict_json(model, none, sizeof none - 1, &answer, &err),
                     QN_ERR_ARG);
    assert_int_equal(qn_model_predict_csv(model, word, sizeof word - 1, &answer, &err),
                     QN_ERR_DATA);
    qn_model_close(model);
    assert_null(qn_model_open(folder, &err));
}

/* ASKED rows, or row `only` of them alone. */
static void ask(qn_predictor *predictor, int only, qn_arena *arena, qn_predictions *ret)
{
    qn_error err;
    qn_frame frame;
    qn_rng rng = {.seed = 8};
    int count = only < 0 ? ASKED : 1;
    assert_ok(qn_frame_init(&frame, arena, 2, count, &err), &err);
    double *size = qn_frame_numbers(&frame, QN_STR("size"), arena);
    qn_str *city = qn_frame_strings(&frame, QN_STR("city"), arena);
    for (int i = 0; i < count; i++) {
        int row = only < 0 ? i : only;
        size[i] = qn_rng_normal(rng, (uint64_t)row);
        city[i] = qn_str_from(
            qn_arena_printf(arena, "town %c%c", 'a' + row * 3 / 26, 'a' + row * 3 % 26));
    }
    assert_ok(qn_predictor_rows(predictor, &frame, false, arena, ret, &err), &err);
}

static void rows_do_not_depend_on_their_batch(void **state)
{
    (void)state;
    qn_arena arena;
    qn_error err;
    qn_predictor *predictor;
    qn_predictions together, alone;
    qn_arena_init(&arena, 0);
    assert_ok(qn_predictor_open(version, 0, NULL, &predictor, &err), &err);
    assert_int_equal(qn_predictor_signature(predictor)->inputs_count, 2); /* "x" and "index" */
    ask(predictor, -1, &arena, &together);
    for (int i = 0; i < ASKED; i++) {
        ask(predictor, i, &arena, &alone);
        assert_int_equal(alone.choice[0], together.choice[i]);
        assert_memory_equal(alone.probability, together.probability + 2 * i, 2 * sizeof(float));
    }
    qn_predictor_close(predictor);
    qn_arena_deinit(&arena);
}

static void levels_outside_the_table_are_refused(void **state)
{
    (void)state;
    qn_arena arena;
    qn_error err;
    qn_predictor *predictor;
    qn_named_tensor inputs[2], output;
    qn_arena_init(&arena, 0);
    assert_ok(qn_predictor_open(version, 0, NULL, &predictor, &err), &err);
    const qn_signature *signature = qn_predictor_signature(predictor);
    for (int i = 0; i < 2; i++) {
        qn_shape shape = signature->inputs[i].shape;
        shape.dims[0] = 1;
        void *data = qn_arena_zero(&arena, qn_shape_count(&shape), 8);
        if (signature->inputs[i].dtype == QN_DTYPE_I64)
            *(int64_t *)data = 1000000;
        inputs[i] = (qn_named_tensor){signature->inputs[i].name,
                                      qn_tensor_of(data, signature->inputs[i].dtype, shape)};
    }
    assert_int_equal(qn_predictor_tensors(predictor, inputs, 2, &arena, &output, &err), QN_ERR_ARG);
    assert_text(&err, "1000000 is not a level of 'city'");
    qn_predictor_close(predictor);
    qn_arena_deinit(&arena);
}

static void embeddings_learn(void **state)
{
    (void)state;
    qn_arena arena;
    qn_error err;
    qn_str text;
    qn_json metrics;
    double value = 0;
    qn_arena_init(&arena, 0);
    const char *path = qn_path_join(&arena, version, "metrics.json");
    assert_ok(qn_file_read(path, 0, &arena, &text, &err), &err);
    assert_ok(qn_json_read(text, NULL, &arena, &metrics, &err), &err);
    const qn_json *auroc = qn_json_find(qn_json_find(&metrics, "test"), "auroc");
    assert_ok(qn_json_get_f64(auroc, "value", true, &value, &err), &err);
    assert_true(value > 0.9); /* the size alone reaches about 0.8 */
    qn_arena_deinit(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(training_names_its_folder_and_reports),
        cmocka_unit_test(csv_and_json_rows_agree),
        cmocka_unit_test(wrong_rows_are_errors),
        cmocka_unit_test(rows_do_not_depend_on_their_batch),
        cmocka_unit_test(levels_outside_the_table_are_refused),
        cmocka_unit_test(embeddings_learn),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
