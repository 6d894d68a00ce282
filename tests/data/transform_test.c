/*
 * Transforms: fitted on the training rows only, the same for one row as for many, the same after a round trip through
 * JSON, and clear about cells that do not fit.
 */
#include "data_testing.h"

#include <math.h>

#include "base/alloc.h"
#include "data/transform.h"

static const char table[] = "age,city,sex,seen,y\n"
                            "20,Oslo,m,2026-01-01,no\n"
                            "30,Bergen,f,2026-02-10,yes\n"
                            ",Oslo,f,2026-03-20,no\n"
                            "50,,m,,yes\n"
                            "1000,Rome,m,2027-01-01,no\n";

typedef struct {
    qn_dataset *dataset;
    qn_schema schema;
    qn_transforms *transforms;
} fitted;

static fitted fit_table(fixture *f, const char *text, int64_t rows,
                        const qn_column_options *columns, int64_t count)
{
    fitted result = {.dataset = open_table(f, put_file(f, "t.csv", text), "y")};
    qn_schema_options options = {.target = "y", .columns = columns, .columns_count = count};
    const qn_frame *frame = &result.dataset->frame;
    assert_ok(
        qn_schema_infer(frame, NULL, frame->rows, &options, &f->arena, &result.schema, &f->err),
        &f->err);
    assert_ok(qn_transforms_fit(&result.schema, frame, NULL, rows, NULL, &f->arena,
                                &result.transforms, &f->err),
              &f->err);
    return result;
}

static float *apply(fixture *f, const qn_transforms *transforms, const qn_frame *frame)
{
    int64_t count;
    const qn_feature_tensor *outputs = qn_transforms_outputs(transforms, &count);
    assert_int_equal(count, 1);
    assert_true(qn_str_is(outputs[0].name, "x"));
    float *x = QN_NEW(&f->arena, float, outputs[0].count * frame->rows);
    assert_ok(qn_transforms_apply(transforms, frame, NULL, frame->rows, (void *[]){x}, NULL,
                                  &f->arena, &f->err),
              &f->err);
    return x;
}

static int64_t feature(const qn_transforms *transforms, const char *name)
{
    int64_t count;
    const qn_feature *features = qn_transforms_features(transforms, &count);
    for (int64_t i = 0; i < count; i++)
        if (qn_str_is(features[i].name, name))
            return i;
    fail_msg("no feature '%s'", name);
    return -1;
}

static void transform_fits_on_the_given_rows_only(void **state)
{
    fixture *f = *state;
    fitted t = fit_table(f, table, 4, NULL, 0);
    float *x = apply(f, t.transforms, &t.dataset->frame);
    int64_t width, age = feature(t.transforms, "age");
    qn_transforms_features(t.transforms, &width);
    /* 20, 30, 50: mean 100/3, deviation 12.472; the fifth row's 1000 plays no part. */
    assert_near((double)x[age], (20 - 100 / 3.0) / 12.4721912892, 1e-5);
    assert_near((double)x[2 * width + age], (30 - 100 / 3.0) / 12.4721912892,
                1e-5); /* missing: the median */
    assert_near((double)x[2 * width + feature(t.transforms, "age is missing")], 1, 0);
    assert_near((double)x[4 * width + age], (1000 - 100 / 3.0) / 12.4721912892, 1e-3);
    assert_near((double)x[feature(t.transforms, "city = Oslo")], 1, 0);
    assert_near((double)x[width + feature(t.transforms, "city = Oslo")], 0, 0);
    assert_near((double)x[3 * width + feature(t.transforms, "city is missing")], 1, 0);
    for (int64_t i = 0; i < width; i++) /* Rome was not seen: no level of city is set */
        if (strncmp(qn_transforms_features(t.transforms, &width)[i].name.data, "city", 4) == 0)
            assert_near((double)x[4 * width + i], 0, 0);
    assert_near((double)x[width + feature(t.transforms, "sex = m")], 0, 0);
    qn_dataset_close(t.dataset);
}

static void transform_gives_one_row_the_bits_it_gives_many(void **state)
{
    fixture *f = *state;
    fitted t = fit_table(f, table, 5, NULL, 0);
    int64_t width;
    qn_transforms_features(t.transforms, &width);
    float *all = apply(f, t.transforms, &t.dataset->frame);
    for (int64_t row = 0; row < 5; row++) {
        qn_frame one;
        assert_ok(qn_frame_rows(&t.dataset->frame, row, 1, &f->arena, &one, &f->err), &f->err);
        assert_memory_equal(apply(f, t.transforms, &one), all + row * width,
                            (size_t)width * sizeof(float));
    }
    qn_dataset_close(t.dataset);
}

static void transform_survives_a_round_trip_through_json(void **state)
{
    fixture *f = *state;
    fitted t = fit_table(f, table, 5, NULL, 0);
    qn_buf json;
    qn_json_writer w;
    qn_json tree;
    qn_transforms *back;
    int64_t width, labels;
    qn_buf_init(&json, 0);
    qn_json_write_init(&w, &json);
    qn_transforms_write_json(t.transforms, &w);
    assert_ok(qn_json_read(qn_buf_view(&json), NULL, &f->arena, &tree, &f->err), &f->err);
    assert_ok(qn_transforms_read_json(&tree, &f->arena, &back, &f->err), &f->err);
    qn_transforms_features(back, &width);
    assert_memory_equal(apply(f, back, &t.dataset->frame),
                        apply(f, t.transforms, &t.dataset->frame),
                        (size_t)(5 * width) * sizeof(float));
    assert_int_equal(qn_transforms_task(back), QN_TASK_BINARY);
    assert_true(qn_str_is(qn_transforms_labels(back, &labels)[1], "yes"));
    assert_non_null(qn_transforms_shares(back));
    assert_near(qn_transforms_shares(back)[0] + qn_transforms_shares(back)[1], 1, 1e-12);
    assert_near(qn_transforms_shares(back)[1], qn_transforms_shares(t.transforms)[1], 0);
    /* Each byte changed or cut: an error or a valid reading, never a crash. */
    for (size_t at = 0; at < json.size; at++) {
        qn_arena arena;
        qn_arena_init(&arena, 16 << 20);
        char held = json.data[at];
        json.data[at] = held == '9' ? '1' : '9';
        if (qn_json_read(qn_buf_view(&json), NULL, &arena, &tree, NULL) == QN_OK)
            (void)(qn_transforms_read_json(&tree, &arena, &back, NULL) == QN_OK);
        json.data[at] = held;
        qn_arena_deinit(&arena);
    }
    qn_buf_deinit(&json);
    qn_dataset_close(t.dataset);
}

static void transform_refuses_json_that_lies(void **state)
{
    fixture *f = *state;
#define HEAD                                                                                       \
    "{\"version\":1,\"task\":\"binary\",\"target\":\"y\",\"labels\":[\"a\",\"b\"],\"target_"       \
    "mean\":0,"                                                                                    \
    "\"target_deviation\":1,\"ignored\":[],\"file_columns\":[],\"columns\":["
#define NUMBERS(shape, blank, loss)                                                                \
    "{\"version\":1,\"task\":\"regression\",\"target\":\"y\",\"labels\":[],\"target_mean\":0,"     \
    "\"target_deviation\":1,\"ignored\":[],\"file_columns\":[],\"columns\":[],"                    \
    "\"target_array\":{\"shape\":" shape ",\"blank\":" blank ",\"loss\":" loss "}}"
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"{}", "version"},
        {"{\"version\":2}", "version 2"},
        {HEAD "]}", "'columns' is not"},
        {HEAD "],\"label_shares\":[1]}", "'label_shares' is not one number per label"},
        {HEAD "],\"label_shares\":[2,-1]}", "'label_shares' is not a list of shares"},
        {HEAD "{\"name\":\"a\",\"type\":\"drop\",\"kind\":\"number\"}]}",
         "one that is transformed"},
        {HEAD "{\"name\":\"a\",\"type\":\"number\",\"kind\":\"number\"}]}", "fill"},
        {HEAD
         "{\"name\":\"a\",\"type\":\"number\",\"kind\":\"number\",\"fill\":0,\"edges\":[2,1]}]}",
         "rising"},
        {HEAD "{\"name\":\"a\",\"type\":\"number\",\"kind\":\"number\",\"fill\":0,\"edges\":[1]}]}",
         "'edges'"},
        {HEAD
         "{\"name\":\"a\",\"type\":\"category\",\"kind\":\"string\",\"levels\":[\"p\",\"p\"]}]}",
         "without repeats"},
        {HEAD "{\"name\":\"a\",\"type\":\"category\",\"kind\":\"string\",\"levels\":[1]}]}",
         "a list of texts"},
        {HEAD "{\"name\":\"a\",\"type\":\"category\",\"kind\":\"string\",\"levels\":[],\"embed\":"
              "true}]}",
         "'other'"},
        {HEAD "{\"name\":\"a\",\"type\":\"binary\",\"kind\":\"string\",\"levels\":[\"p\"],"
              "\"share\":0}]}",
         "two texts"},
        {HEAD "{\"name\":\"a\",\"type\":\"date\",\"kind\":\"string\",\"order\":9,\"parts\":1}]}",
         "order or parts"},
        {HEAD "{\"name\":\"a\",\"type\":\"image\",\"kind\":\"array\",\"shape\":[28,28,2]}]}",
         "1 or 3"},
        {HEAD "{\"name\":\"a\",\"type\":\"image\",\"kind\":\"array\",\"shape\":[60000,60000,3]}]}",
         "'shape'"},
        {HEAD "{\"name\":\"a\",\"type\":\"tensor\",\"kind\":\"array\",\"dtype\":\"f99\",\"shape\":["
              "1]}]}",
         "'dtype'"},
        {HEAD "],\"target_array\":{\"shape\":[3],\"blank\":0}}", "only there for tasks"},
        {NUMBERS("[3]", "-1", "\"kl\""), "'target_array.blank'"},
        {NUMBERS("[]", "0", "\"kl\""), "'target_array.shape'"},
        {NUMBERS("[0]", "0", "\"kl\""), "'shape'"},
        {NUMBERS("[3]", "0", "\"ce\""), "'target_array.loss'"},
        {NUMBERS("[3]", "0", "\"ctc\""), "'target_array.loss'"},
        {NUMBERS("[3]", "0", "7"), "'target_array.loss'"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        qn_json tree;
        qn_transforms *back;
        assert_ok(qn_json_read(qn_str_from(cases[i].text), NULL, &f->arena, &tree, &f->err),
                  &f->err);
        assert_int_not_equal(qn_transforms_read_json(&tree, &f->arena, &back, &f->err), QN_OK);
        if (!strstr(f->err.text, cases[i].says))
            fail_msg("case %zu: \"%s\"", i, f->err.text);
    }
}

static void transform_takes_what_requests_send(void **state)
{
    fixture *f = *state;
    fitted t =
        fit_table(f, "n,code,flag,y\n1,1,True,a\n2,2,False,b\n3,3,True,a\n4,1,False,b\n", 4,
                  (qn_column_options[]){{.name = QN_STR("code"), .type = QN_TYPE_CATEGORY}}, 1);
    qn_frame frame;
    assert_ok(qn_frame_init(&frame, &f->arena, 3, 2, &f->err), &f->err);
    qn_str *n = qn_frame_strings(&frame, QN_STR("n"), &f->arena); /* a number as text */
    n[0] = QN_STR(" 2.0 ");
    n[1] = QN_STR("NA");
    qn_str *code =
        qn_frame_strings(&frame, QN_STR("code"), &f->arena); /* a level spelled otherwise */
    code[0] = QN_STR("2.0");
    code[1] = QN_STR("9");
    qn_column *flag = qn_frame_add(&frame, QN_STR("flag"), QN_COLUMN_NUMBER,
                                   &f->arena); /* JSON's true and false */
    flag->boolean = true;
    flag->numbers[0] = 1;
    float *x = apply(f, t.transforms, &frame);
    int64_t width;
    qn_transforms_features(t.transforms, &width);
    assert_near((double)x[feature(t.transforms, "n")], -0.4472136, 1e-5);
    assert_near((double)x[width + feature(t.transforms, "n")], 0, 1e-6);
    assert_near((double)x[feature(t.transforms, "code = 2")], 1, 0);
    assert_near((double)x[width + feature(t.transforms, "code = 2")], 0, 0);
    assert_near((double)x[feature(t.transforms, "flag = True")], 1, 0);
    assert_near((double)x[width + feature(t.transforms, "flag = True")], 0, 0);
    qn_dataset_close(t.dataset);
}

static void transform_says_which_cell_is_wrong(void **state)
{
    fixture *f = *state;
    fitted t = fit_table(f, table, 5, NULL, 0);
    qn_frame frame;
    float x[64];
    assert_ok(qn_frame_init(&frame, &f->arena, 1, 2, &f->err), &f->err);
    qn_str *age = qn_frame_strings(&frame, QN_STR("age"), &f->arena);
    age[0] = QN_STR("3");
    age[1] = QN_STR("abc");
    assert_int_equal(
        qn_transforms_apply(t.transforms, &frame, NULL, 2, (void *[]){x}, NULL, &f->arena, &f->err),
        QN_ERR_DATA);
    assert_string_equal(f->err.text, "expected a number, got 'abc'");
    assert_string_equal(f->err.where, "instance 1, column 'age'");
    frame.columns[0].name = QN_STR("seen");
    assert_int_equal(
        qn_transforms_apply(t.transforms, &frame, NULL, 2, (void *[]){x}, NULL, &f->arena, &f->err),
        QN_ERR_DATA);
    assert_text(&f->err, "expected a date such as 2026-01-31, got '3'");
    qn_dataset_close(t.dataset);
}

static void transform_checks_column_names(void **state)
{
    fixture *f = *state;
    fitted t = fit_table(f, table, 5, NULL, 0);
    qn_frame frame;
    assert_ok(qn_transforms_check(t.transforms, &t.dataset->frame, false, &f->err), &f->err);
    assert_ok(qn_frame_init(&frame, &f->arena, 2, 1, &f->err), &f->err);
    assert_non_null(qn_frame_numbers(&frame, QN_STR("age"), &f->arena));
    assert_non_null(qn_frame_numbers(&frame, QN_STR("citty"), &f->arena));
    assert_int_equal(qn_transforms_check(t.transforms, &frame, false, &f->err), QN_ERR_DATA);
    assert_text(&f->err, "column 'citty'");
    assert_string_equal(f->err.hint, "did you mean 'city'?");
    assert_ok(qn_transforms_check(t.transforms, &frame, true, &f->err), &f->err);
    frame.columns[0].name = QN_STR("else");
    assert_int_equal(qn_transforms_check(t.transforms, &frame, true, &f->err), QN_ERR_DATA);
    assert_text(&f->err, "none of the model's");
    qn_dataset_close(t.dataset);
}

static void transform_reads_labels_and_numbers(void **state)
{
    fixture *f = *state;
    fitted t = fit_table(f, table, 5, NULL, 0);
    int64_t classes[5];
    assert_ok(qn_transforms_classes(t.transforms, &t.dataset->frame, NULL, 5, classes, &f->err),
              &f->err);
    assert_int_equal(classes[0], 0);
    assert_int_equal(classes[1], 1);
    qn_str *labels = qn_frame_find(&t.dataset->frame, QN_STR("y"))->strings;
    labels[2] = QN_STR("yes.");
    assert_ok(qn_transforms_classes(t.transforms, &t.dataset->frame, NULL, 5, classes, &f->err),
              &f->err);
    assert_int_equal(classes[2], 1);
    labels[3] = QN_STR("perhaps");
    assert_int_equal(
        qn_transforms_classes(t.transforms, &t.dataset->frame, NULL, 5, classes, &f->err),
        QN_ERR_DATA);
    assert_text(&f->err, "label 'perhaps' is not one of 'no', 'yes'");
    assert_non_null(strstr(f->err.where, "row 5, column 5 'y'"));
    qn_dataset_close(t.dataset);
}

static void transform_embeds_and_clips_when_asked(void **state)
{
    fixture *f = *state;
    qn_column_options columns[] = {
        {.name = QN_STR("city"), .encode = QN_ENCODE_EMBED},
        {.name = QN_STR("age"), .clip = true, .clip_low = 0, .clip_high = 50}};
    fitted t = fit_table(f, table, 5, columns, 2);
    int64_t count, index[5];
    const qn_feature_tensor *outputs = qn_transforms_outputs(t.transforms, &count);
    assert_int_equal(count, 2);
    assert_true(qn_str_is(outputs[1].name, "index"));
    assert_int_equal(outputs[1].levels[0], 5); /* Oslo, Bergen, Rome, other, missing */
    float *x = QN_NEW(&f->arena, float, outputs[0].count * 5);
    assert_ok(qn_transforms_apply(t.transforms, &t.dataset->frame, NULL, 5, (void *[]){x, index},
                                  NULL, &f->arena, &f->err),
              &f->err);
    assert_int_equal(index[0], 0);
    assert_int_equal(index[3], 4);
    int64_t age = feature(t.transforms, "age"), width = outputs[0].count;
    assert_true(x[3 * width + age] ==
                x[4 * width + age]); /* 50 and 1000 meet below the median of the present ones */
    qn_dataset_close(t.dataset);
}

static void transform_bends_skewed_columns(void **state)
{
    fixture *f = *state;
    qn_buf text;
    qn_buf_init(&text, 0);
    qn_buf_text(&text, "gain,y\n");
    for (int i = 0; i < 2000; i++)
        qn_buf_printf(&text, "%d,%s\n", i % 10 ? 0 : 100 + i * i, i % 3 ? "a" : "b");
    qn_dataset *dataset = open_table(f, put_bytes(f, "t.csv", text.data, text.size), "y");
    qn_schema schema = infer_schema(f, dataset);
    qn_transforms *transforms;
    assert_ok(qn_transforms_fit(&schema, &dataset->frame, NULL, 2000, NULL, &f->arena, &transforms,
                                &f->err),
              &f->err);
    int64_t width, step = feature(transforms, "gain in 0..100");
    qn_transforms_features(transforms, &width);
    assert_int_equal(feature(transforms, "log gain"), 0);
    float *x = apply(f, transforms, &dataset->frame);
    for (int64_t row = 0; row < 2000; row++) {
        assert_near((double)x[row * width + step], row % 10 ? 0 : 1, 0);
        for (int64_t i = 1; i < width; i++)
            assert_true(x[row * width + i] >= 0 && x[row * width + i] <= 1);
    }
    qn_dataset_close(dataset);
    qn_buf_deinit(&text);
}

static void transform_survives_every_failed_allocation(void **state)
{
    fixture *f = *state;
    qn_dataset *dataset = open_table(f, put_file(f, "t.csv", table), "y");
    qn_schema_options options = {.target = "y"};
    for (int64_t nth = 1; nth < 60; nth++) {
        qn_arena arena;
        qn_schema schema;
        qn_transforms *transforms;
        float x[64 * 5];
        qn_arena_init(&arena, 0);
        qn_alloc_fail_at(nth);
        qn_status status =
            qn_schema_infer(&dataset->frame, NULL, 5, &options, &arena, &schema, NULL);
        if (status == QN_OK)
            status = qn_transforms_fit(&schema, &dataset->frame, NULL, 5, NULL, &arena, &transforms,
                                       NULL);
        if (status == QN_OK)
            status = qn_transforms_apply(transforms, &dataset->frame, NULL, 5, (void *[]){x}, NULL,
                                         &arena, NULL);
        qn_alloc_fail_at(0);
        assert_true(status == QN_OK || status == QN_ERR_MEMORY);
        qn_arena_deinit(&arena);
    }
    qn_dataset_close(dataset);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(transform_fits_on_the_given_rows_only),
        TEST(transform_gives_one_row_the_bits_it_gives_many),
        TEST(transform_survives_a_round_trip_through_json),
        TEST(transform_refuses_json_that_lies),
        TEST(transform_takes_what_requests_send),
        TEST(transform_says_which_cell_is_wrong),
        TEST(transform_checks_column_names),
        TEST(transform_reads_labels_and_numbers),
        TEST(transform_embeds_and_clips_when_asked),
        TEST(transform_bends_skewed_columns),
        TEST(transform_survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
