/*
 * Splits: disjoint, complete, of the asked sizes, the same for the same seed, and honest about what they cannot do.
 */
#include "data_testing.h"

enum { ROWS = 1000 };

static const char *put_rows(fixture *f)
{
    qn_buf text;
    qn_buf_init(&text, 0);
    qn_buf_text(&text, "n,who,when,part,y\n");
    for (int i = 0; i < ROWS; i++)
        qn_buf_printf(&text, "%d,u%d,2026-%02d-%02d,%s,%s\n", i * 7 % 1000, i % 50, i % 12 + 1,
                      i % 28 + 1,
                      i % 10 < 6   ? "train"
                      : i % 10 < 8 ? "val"
                                   : "test",
                      i % 10 == 0 ? "rare" : "often");
    const char *path = put_bytes(f, "t.csv", text.data, text.size);
    qn_buf_deinit(&text);
    return path;
}

static qn_split make_split(fixture *f, const qn_dataset *dataset, const qn_schema *schema,
                           qn_split_options options)
{
    qn_split split;
    assert_ok(qn_split_make(dataset, schema, &options, &f->arena, &split, NULL, &f->err), &f->err);
    return split;
}

/* Every row in exactly one part; returns which. */
static uint8_t *check_cover(fixture *f, const qn_split *split, int64_t rows)
{
    uint8_t *part = QN_NEW(&f->arena, uint8_t, rows);
    const int64_t *lists[] = {split->train, split->valid, split->test};
    const int64_t counts[] = {split->train_count, split->valid_count, split->test_count};
    for (int p = 0; p < 3; p++)
        for (int64_t i = 0; i < counts[p]; i++) {
            assert_true(i == 0 || lists[p][i - 1] < lists[p][i]);
            assert_int_equal(part[lists[p][i]], 0);
            part[lists[p][i]] = (uint8_t)(p + 1);
        }
    for (int64_t i = 0; i < rows; i++)
        assert_int_not_equal(part[i], 0);
    return part;
}

static void split_stratifies_classes_by_default(void **state)
{
    fixture *f = *state;
    qn_dataset *dataset = open_table(f, put_rows(f), "y");
    qn_schema schema = infer_schema(f, dataset);
    qn_split split = make_split(f, dataset, &schema, (qn_split_options){.seed = 1});
    uint8_t *part = check_cover(f, &split, ROWS);
    assert_int_equal(split.by, QN_SPLIT_STRATIFIED);
    assert_int_equal(split.train_count, 700);
    assert_int_equal(split.valid_count, 100);
    assert_int_equal(split.test_count, 200);
    int rare[4] = {0};
    for (int64_t i = 0; i < ROWS; i += 10)
        rare[part[i]]++;
    assert_int_equal(rare[1], 70);
    assert_int_equal(rare[2], 10);
    assert_int_equal(rare[3], 20);
    assert_string_equal(split.text, "70/10/20 stratified, seed 1");
    qn_dataset_close(dataset);
}

static void split_depends_on_the_seed_alone(void **state)
{
    fixture *f = *state;
    qn_dataset *dataset = open_table(f, put_rows(f), "y");
    qn_schema schema = infer_schema(f, dataset);
    qn_split a =
        make_split(f, dataset, &schema, (qn_split_options){.seed = 5, .by = QN_SPLIT_RANDOM});
    qn_split b =
        make_split(f, dataset, &schema, (qn_split_options){.seed = 5, .by = QN_SPLIT_RANDOM});
    qn_split c =
        make_split(f, dataset, &schema, (qn_split_options){.seed = 6, .by = QN_SPLIT_RANDOM});
    assert_memory_equal(a.train, b.train, (size_t)a.train_count * sizeof(int64_t));
    assert_memory_not_equal(a.train, c.train, (size_t)a.train_count * sizeof(int64_t));
    check_cover(f, &c, ROWS);
    qn_dataset_close(dataset);
}

static void split_keeps_groups_whole(void **state)
{
    fixture *f = *state;
    qn_dataset *dataset = open_table(f, put_rows(f), "y");
    qn_schema schema = infer_schema(f, dataset);
    static const qn_split_by ways[] = {QN_SPLIT_GROUP, QN_SPLIT_HASH};
    for (int way = 0; way < 2; way++) {
        qn_split split = make_split(f, dataset, &schema,
                                    (qn_split_options){.seed = 1, .by = ways[way], .key = "who"});
        uint8_t *part = check_cover(f, &split, ROWS);
        for (int64_t i = 50; i < ROWS; i++)
            assert_int_equal(part[i], part[i % 50]);
        assert_in_range(split.test_count, 100, 300);
    }
    qn_dataset_close(dataset);
}

static void split_by_time_tests_on_the_newest(void **state)
{
    fixture *f = *state;
    qn_dataset *dataset = open_table(f, put_rows(f), "y");
    qn_schema schema = infer_schema(f, dataset);
    qn_split split =
        make_split(f, dataset, &schema, (qn_split_options){.by = QN_SPLIT_TIME, .key = "n"});
    check_cover(f, &split, ROWS);
    const double *n = qn_frame_find(&dataset->frame, QN_STR("n"))->numbers;
    for (int64_t i = 0; i < split.train_count; i++)
        assert_true(n[split.train[i]] < 700);
    for (int64_t i = 0; i < split.test_count; i++)
        assert_true(n[split.test[i]] >= 800);
    split = make_split(f, dataset, &schema, (qn_split_options){.by = QN_SPLIT_TIME, .key = "when"});
    check_cover(f, &split, ROWS);
    qn_dataset_close(dataset);
}

static void split_by_column_obeys_the_column(void **state)
{
    fixture *f = *state;
    qn_dataset *dataset = open_table(f, put_rows(f), "y");
    qn_schema schema = infer_schema(f, dataset);
    qn_split split =
        make_split(f, dataset, &schema, (qn_split_options){.by = QN_SPLIT_COLUMN, .key = "part"});
    uint8_t *part = check_cover(f, &split, ROWS);
    for (int64_t i = 0; i < ROWS; i++)
        assert_int_equal(part[i], i % 10 < 6 ? 1 : i % 10 < 8 ? 2 : 3);
    qn_split_options wrong = {.by = QN_SPLIT_COLUMN, .key = "who"};
    assert_int_equal(qn_split_make(dataset, &schema, &wrong, &f->arena, &split, NULL, &f->err),
                     QN_ERR_DATA);
    assert_text(&f->err, "'u0' is not train, valid or test");
    qn_dataset_close(dataset);
}

static void split_refuses_wrong_options(void **state)
{
    fixture *f = *state;
    qn_dataset *dataset = open_table(f, put_rows(f), "y");
    qn_schema schema = infer_schema(f, dataset);
    qn_split split;
    static const struct {
        qn_split_options options;
        const char *says;
    } cases[] = {
        {{.parts = {0.5, 0.1, 0.1}}, "expected shares that sum to 1"},
        {{.parts = {0, 0.5, 0.5}}, "the first above 0"},
        {{.parts = {1.5, -0.5, 0}}, "expected shares"},
        {{.by = QN_SPLIT_GROUP}, "needs a key column"},
        {{.by = QN_SPLIT_HASH, .key = "whoo"}, "'whoo' is not a column"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(
            qn_split_make(dataset, &schema, &cases[i].options, &f->arena, &split, NULL, &f->err),
            QN_ERR_ARG);
        assert_text(&f->err, cases[i].says);
    }
    qn_dataset_close(dataset);
}

static void split_leaves_out_rows_without_a_target(void **state)
{
    fixture *f = *state;
    qn_dataset *dataset = open_table(f, put_file(f, "t.csv", "x,y\n1,a\n2,\n3,b\n4,a\n5,b\n"), "y");
    qn_schema schema = infer_schema(f, dataset);
    qn_findings findings = {.arena = &f->arena};
    qn_split split;
    qn_split_options options = {.parts = {1, 0, 0}};
    assert_ok(qn_split_make(dataset, &schema, &options, &f->arena, &split, &findings, &f->err),
              &f->err);
    assert_int_equal(split.train_count, 4);
    assert_int_equal(split.train[1], 2);
    assert_true(has_finding(&findings, "EMPTY_PART"));
    assert_true(has_finding(&schema.findings, "TARGET_MISSING"));
    qn_dataset_close(dataset);
}

static void split_keeps_a_given_test_part(void **state)
{
    fixture *f = *state;
    qn_dataset *dataset;
    const char *path = put_rows(f);
    qn_dataset_options options = {.paths = &path, .paths_count = 1, .target = "y", .test = path};
    assert_ok(qn_dataset_open(&options, &dataset, &f->err), &f->err);
    qn_schema schema = infer_schema(f, dataset);
    qn_split split = make_split(f, dataset, &schema, (qn_split_options){.seed = 1});
    check_cover(f, &split, 2 * ROWS);
    assert_int_equal(split.test_count, ROWS);
    assert_int_equal(split.test[0], ROWS);
    assert_int_equal(split.valid_count, 100);
    qn_findings findings = {.arena = &f->arena};
    assert_ok(qn_split_find_duplicates(dataset, &split, &f->arena, &findings, &f->err), &f->err);
    assert_true(has_finding(&findings, "CROSS_SPLIT_DUPLICATES"));
    assert_non_null(strstr(findings.items[findings.count - 1].text, "900 of 1000 test rows"));
    qn_dataset_close(dataset);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(split_stratifies_classes_by_default),
        TEST(split_depends_on_the_seed_alone),
        TEST(split_keeps_groups_whole),
        TEST(split_by_time_tests_on_the_newest),
        TEST(split_by_column_obeys_the_column),
        TEST(split_refuses_wrong_options),
        TEST(split_leaves_out_rows_without_a_target),
        TEST(split_keeps_a_given_test_part),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
