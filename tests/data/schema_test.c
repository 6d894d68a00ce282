/*
 * Types, tasks and findings, on small tables and on real ones.
 */
#include "data_testing.h"

#include <sys/resource.h>

#include "data/profile.h"

static qn_column_type type_of(const qn_schema *schema, const char *name)
{
    const qn_schema_column *column = qn_schema_find(schema, qn_str_from(name));
    assert_non_null(column);
    assert_non_null(column->reason);
    return column->type;
}

static void schema_infers_types_with_reasons(void **state)
{
    fixture *f = *state;
    qn_buf text;
    qn_buf_init(&text, 0);
    qn_buf_text(&text, "id,amount,colour,flag,when,note,constant,nothing,code,customer_id,y\n");
    for (int i = 0; i < 60; i++)
        qn_buf_printf(
            &text,
            "%d,%d.5,%s,%s,2026-01-%02d,this is sentence number %d of many,same,,K%d,%d,%d\n",
            i + 100, i % 7, (const char *[]){"red", "green", "blue"}[i % 3], i % 2 ? "yes" : "no",
            i % 28 + 1, i, i * 37, i * 91, i % 2);
    const char *path = put_bytes(f, "t.csv", text.data, text.size);
    qn_dataset *dataset = open_table(f, path, "y");
    qn_schema schema = infer_schema(f, dataset);
    static const struct {
        const char *name;
        qn_column_type type;
    } cases[] = {
        {"id", QN_TYPE_DROP},          {"amount", QN_TYPE_NUMBER}, {"colour", QN_TYPE_CATEGORY},
        {"flag", QN_TYPE_BINARY},      {"when", QN_TYPE_DATE},     {"note", QN_TYPE_TEXT},
        {"constant", QN_TYPE_DROP},    {"nothing", QN_TYPE_DROP},  {"code", QN_TYPE_DROP},
        {"customer_id", QN_TYPE_DROP}, {"y", QN_TYPE_BINARY}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (type_of(&schema, cases[i].name) != cases[i].type)
            fail_msg("%s: %s (%s)", cases[i].name, qn_type_name(type_of(&schema, cases[i].name)),
                     qn_schema_find(&schema, qn_str_from(cases[i].name))->reason);
    assert_true(has_finding(&schema.findings, "TEXT_LEFT_OUT"));
    assert_true(has_finding(&schema.findings, "DROPPED"));
    const qn_column_stats *amount = &qn_schema_find(&schema, QN_STR("amount"))->stats;
    assert_int_equal(amount->distinct, 7);
    assert_near(amount->minimum, 0.5, 0);
    assert_near(amount->maximum, 6.5, 0);
    assert_near(amount->quantiles[10], 3.5, 1);
    qn_dataset_close(dataset);
    qn_buf_deinit(&text);
}

static void schema_chooses_the_task(void **state)
{
    fixture *f = *state;
    static const struct {
        const char *format;
        int modulus;
        qn_task task;
    } cases[] = {{"%d,no%d\n", 2, QN_TASK_BINARY},     {"%d,%d\n", 2, QN_TASK_BINARY},
                 {"%d,c%d\n", 4, QN_TASK_MULTICLASS},  {"%d,%d\n", 5, QN_TASK_MULTICLASS},
                 {"%d,%d.5\n", 5, QN_TASK_REGRESSION}, {"%d,%d\n", 90, QN_TASK_REGRESSION}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        qn_buf text;
        qn_buf_init(&text, 0);
        qn_buf_text(&text, "x,y\n");
        for (int row = 0; row < 200; row++) {
            char line[64];
            if (cases[i].format[3] == '%')
                snprintf(line, sizeof line, "%d,%d%s\n", row, row % cases[i].modulus,
                         strstr(cases[i].format, ".5") ? ".5" : "");
            else
                snprintf(line, sizeof line, "%d,c%d\n", row, row % cases[i].modulus);
            qn_buf_text(&text, line);
        }
        qn_dataset *dataset = open_table(f, put_bytes(f, "t.csv", text.data, text.size), "y");
        qn_schema schema = infer_schema(f, dataset);
        if (schema.task != cases[i].task)
            fail_msg("case %zu: %s (%s)", i, qn_task_name(schema.task), schema.task_reason);
        qn_dataset_close(dataset);
        qn_buf_deinit(&text);
    }
}

static void schema_orders_labels_and_keeps_their_spelling(void **state)
{
    fixture *f = *state;
    qn_dataset *dataset =
        open_table(f, put_file(f, "t.csv", "x,y\n1,10\n2,2\n3,010\n4,2\n5,10\n"), "y");
    qn_schema_options options = {.target = "y", .task = QN_TASK_MULTICLASS};
    qn_schema schema;
    assert_ok(qn_schema_infer(&dataset->frame, NULL, 5, &options, &f->arena, &schema, &f->err),
              &f->err);
    assert_int_equal(schema.labels_count, 3);
    assert_true(qn_str_is(schema.labels[0], "2"));
    assert_true(qn_str_is(schema.labels[1], "010"));
    assert_true(qn_str_is(schema.labels[2], "10"));
    qn_dataset_close(dataset);
}

static void schema_refuses_targets_that_teach_nothing(void **state)
{
    fixture *f = *state;
    static const struct {
        const char *text;
        qn_task task;
        const char *says;
    } cases[] = {
        {"x,y\n1,a\n2,a\n", QN_TASK_AUTO, "always 'a'"},
        {"x,y\n1,\n2,\n", QN_TASK_AUTO, "every cell of the target 'y' is missing"},
        {"x,y\n1,a\n2,b\n", QN_TASK_REGRESSION, "expected numbers for a regression"},
        {"x,y\n1,a\n2,b\n3,c\n", QN_TASK_BINARY, "3 distinct values, a binary task needs 2"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        qn_schema schema;
        qn_dataset *dataset = open_table(f, put_file(f, "t.csv", cases[i].text), "y");
        qn_schema_options options = {.target = "y", .task = cases[i].task};
        assert_int_equal(qn_schema_infer(&dataset->frame, NULL, dataset->rows_main, &options,
                                         &f->arena, &schema, &f->err),
                         QN_ERR_DATA);
        assert_text(&f->err, cases[i].says);
        qn_dataset_close(dataset);
    }
}

static void schema_names_the_nearest_column(void **state)
{
    fixture *f = *state;
    qn_schema schema;
    qn_dataset *dataset = open_table(f, put_file(f, "t.csv", "age,churn\n1,a\n2,b\n"), NULL);
    qn_schema_options options = {.target = "chrun"};
    assert_int_equal(
        qn_schema_infer(&dataset->frame, NULL, 2, &options, &f->arena, &schema, &f->err),
        QN_ERR_ARG);
    assert_text(&f->err, "target 'chrun' is not a column of");
    assert_string_equal(f->err.hint, "did you mean 'churn'?");
    qn_dataset_close(dataset);
}

static void schema_obeys_the_recipe(void **state)
{
    fixture *f = *state;
    qn_schema schema;
    qn_dataset *dataset =
        open_table(f, put_file(f, "t.csv", "a,b,c,y\n1,2,3,p\n2,3,4,q\n3,4,5,p\n"), "y");
    qn_column_options columns[] = {{.name = QN_STR("a"), .type = QN_TYPE_CATEGORY},
                                   {.name = QN_STR("b"), .drop = true}};
    qn_schema_options options = {.target = "y", .id = "c", .columns = columns, .columns_count = 2};
    assert_ok(qn_schema_infer(&dataset->frame, NULL, 3, &options, &f->arena, &schema, &f->err),
              &f->err);
    assert_int_equal(type_of(&schema, "a"), QN_TYPE_CATEGORY);
    assert_int_equal(type_of(&schema, "b"), QN_TYPE_DROP);
    assert_int_equal(type_of(&schema, "c"), QN_TYPE_DROP);
    qn_dataset_close(dataset);
}

/* Two thousand columns: what is looked at takes memory for one column at a time. */
static void schema_looks_for_leaks_in_small_memory(void **state)
{
    fixture *f = *state;
    enum { COLUMNS = 2000, ROWS = 60 };
    qn_buf text;
    qn_buf_init(&text, 0);
    for (int i = 0; i < COLUMNS; i++)
        qn_buf_printf(&text, "column%d,", i);
    qn_buf_text(&text, "y\n");
    for (int row = 0; row < ROWS; row++) {
        for (int i = 0; i < COLUMNS; i++)
            qn_buf_printf(&text, "%d,", (i + 1) * (row + 3) % 89);
        qn_buf_printf(&text, "%d\n", row % 2);
    }
    qn_dataset *dataset = open_table(f, put_bytes(f, "t.csv", text.data, text.size), "y");
    qn_schema schema = infer_schema(f, dataset);
    struct rusage before, after;
    getrusage(RUSAGE_SELF, &before);
    assert_ok(qn_schema_find_leaks(&schema, &dataset->frame, NULL, dataset->rows_main, &f->err),
              &f->err);
    getrusage(RUSAGE_SELF, &after);
    assert_true(after.ru_maxrss - before.ru_maxrss < 64 << 10); /* kB */
    qn_buf_deinit(&text);
    qn_dataset_close(dataset);
}

static void schema_finds_leaks(void **state)
{
    fixture *f = *state;
    qn_buf text;
    qn_buf_init(&text, 0);
    qn_buf_text(&text, "score,status,honest,churn_date,churn\n");
    for (int i = 0; i < 400; i++) {
        int y = i * 7 % 5 < 2;
        qn_buf_printf(&text, "%d,%s,%d,2026-01-%02d,%s\n", y * 1000 + i, y ? "closed" : "open",
                      i * 31 % 97, i % 28 + 1, y ? "yes" : "no");
    }
    qn_dataset *dataset = open_table(f, put_bytes(f, "t.csv", text.data, text.size), "churn");
    qn_schema schema = infer_schema(f, dataset);
    assert_ok(qn_schema_find_leaks(&schema, &dataset->frame, NULL, dataset->rows_main, &f->err),
              &f->err);
    int leaks = 0, names = 0;
    for (int64_t i = 0; i < schema.findings.count; i++) {
        const qn_finding *finding = &schema.findings.items[i];
        leaks += strcmp(finding->code, "TARGET_LEAK") == 0;
        names += strcmp(finding->code, "TARGET_NAME") == 0;
        assert_false(qn_str_is(finding->column, "honest"));
    }
    assert_int_equal(leaks, 2);
    assert_true(names <= 1);
    qn_dataset_close(dataset);
    qn_buf_deinit(&text);
}

static void schema_leaves_ambiguous_dates_to_people(void **state)
{
    fixture *f = *state;
    qn_dataset *dataset = open_table(
        f, put_file(f, "t.csv", "d,e\n01/02/2026,31.01.2026\n03/04/2026,01.02.2026\n"), NULL);
    qn_schema schema = infer_schema(f, dataset);
    assert_int_equal(type_of(&schema, "d"), QN_TYPE_DROP);
    assert_int_equal(type_of(&schema, "e"), QN_TYPE_DATE);
    assert_true(has_finding(&schema.findings, "AMBIGUOUS_DATE"));
    qn_dataset_close(dataset);
}

/* Real tables: what a person would say. */
static void schema_reads_titanic_as_people_do(void **state)
{
    fixture *f = *state;
    const char *path = QN_TEST_SOURCE_ROOT "/../shared/data/titanic/titanic.csv";
    if (!qn_path_exists(path))
        skip();
    qn_dataset *dataset = open_table(f, path, "survived");
    qn_schema schema = infer_schema(f, dataset);
    assert_int_equal(schema.task, QN_TASK_BINARY);
    assert_int_equal(type_of(&schema, "name"), QN_TYPE_TEXT);
    assert_int_equal(type_of(&schema, "ticket"), QN_TYPE_DROP);
    assert_int_equal(type_of(&schema, "sex"), QN_TYPE_BINARY);
    assert_int_equal(type_of(&schema, "cabin"), QN_TYPE_CATEGORY);
    assert_int_equal(type_of(&schema, "age"), QN_TYPE_NUMBER);
    qn_dataset_close(dataset);
}

static void schema_tells_what_keeps_a_column_from_being_numbers(void **state)
{
    fixture *f = *state;
    qn_buf text;
    qn_buf_init(&text, 0);
    qn_buf_text(&text, "near;comma;day;y\n");
    for (int i = 0; i < 60; i++)
        qn_buf_printf(&text, "%s%d;%d,5;2026-01-%02d;%d\n", i == 7 ? "oops" : "", i * 37, i * 31,
                      i % 28 + 1, i % 2);
    qn_dataset *dataset = open_table(f, put_bytes(f, "t.csv", text.data, text.size), "y");
    qn_schema schema = infer_schema(f, dataset);
    assert_true(has_finding(&schema.findings, "ALMOST_NUMBERS"));
    assert_true(has_finding(&schema.findings, "NUMBER_COMMA"));
    for (int64_t i = 0; i < schema.findings.count; i++)
        if (strcmp(schema.findings.items[i].code, "ALMOST_NUMBERS") == 0)
            assert_non_null(strstr(schema.findings.items[i].text, "row 9, column 1 'near'"));
    qn_look look;
    qn_schema_options options = {.target = "y"};
    assert_ok(qn_look_make(dataset, &options, &f->arena, &look, &f->err), &f->err);
    text.size = 0;
    qn_look_write_text(&look, 200, &text);
    qn_buf_byte(&text, 0);
    assert_non_null(strstr(text.data, "2026-01-01 .. 2026-01-28, median 2026-01-1"));
    qn_buf_deinit(&text);
    qn_dataset_close(dataset);
}

/* The sample of a long table misses the one row that differs; what is said of constants and pairs must not. */
static void schema_counts_constants_and_pairs_of_long_tables_exactly(void **state)
{
    fixture *f = *state;
    enum { ROWS = 400003 };
    qn_buf text;
    qn_buf_init(&text, 0);
    qn_buf_text(&text, "nearly,pair,three,y\n");
    for (int i = 0; i < ROWS; i++)
        qn_buf_printf(&text, "%d,%d,%d,%d\n", i == 5, i % 3 == 0, i == 7 ? 2 : i % 2, i % 2);
    qn_dataset *dataset = open_table(f, put_bytes(f, "t.csv", text.data, text.size), "y");
    qn_schema schema = infer_schema(f, dataset);
    assert_int_equal(type_of(&schema, "nearly"), QN_TYPE_BINARY);
    assert_int_equal(type_of(&schema, "pair"), QN_TYPE_BINARY);
    assert_int_equal(qn_schema_find(&schema, QN_STR("pair"))->stats.top[0].count, 266668);
    assert_int_equal(type_of(&schema, "three"), QN_TYPE_NUMBER);
    qn_buf_deinit(&text);
    qn_dataset_close(dataset);
}

static void look_prints_and_writes_json(void **state)
{
    fixture *f = *state;
    qn_look look;
    qn_buf text, json;
    qn_json_writer w;
    qn_json back;
    qn_dataset *dataset =
        open_table(f, put_file(f, "t.csv", "a,b,y\n1,x,no\n2,,yes\n2,,yes\n4,z,no\n"), "y");
    qn_schema_options options = {.target = "y"};
    assert_ok(qn_look_make(dataset, &options, &f->arena, &look, &f->err), &f->err);
    assert_int_equal(look.rows, 4);
    assert_int_equal(look.cells_missing, 2);
    assert_int_equal(look.duplicates, 1);
    qn_buf_init(&text, 0);
    qn_buf_init(&json, 0);
    qn_look_write_text(&look, 80, &text);
    qn_buf_byte(&text, 0);
    assert_non_null(strstr(text.data, "task: binary (two distinct values, 'no' and 'yes')"));
    assert_non_null(strstr(text.data, "1 rows equal an earlier one"));
    qn_json_write_init(&w, &json);
    qn_look_write_json(&look, &w);
    assert_ok(qn_json_read(qn_buf_view(&json), NULL, &f->arena, &back, &f->err), &f->err);
    assert_int_equal(qn_json_find(&back, "rows")->integer, 4);
    qn_buf_deinit(&text);
    qn_buf_deinit(&json);
    qn_dataset_close(dataset);
}

static void look_shows_no_bytes_that_drive_a_terminal(void **state)
{
    fixture *f = *state;
    qn_look look;
    qn_buf text;
    qn_dataset *dataset = open_table(
        f, put_file(f, "t.csv", "a,b,y\n\033[31mred,1,2.5\nblue,2,3.5\nblue,1,1.5\n"), "y");
    qn_schema_options options = {.target = "y", .task = QN_TASK_REGRESSION};
    assert_ok(qn_look_make(dataset, &options, &f->arena, &look, &f->err), &f->err);
    qn_buf_init(&text, 0);
    qn_look_write_text(&look, 200, &text);
    qn_buf_byte(&text, 0);
    assert_null(strchr(text.data, '\033'));
    assert_non_null(strstr(text.data, "?[31mred"));
    assert_non_null(strstr(text.data, "1.5 .. 3.5, median 2.5")); /* the target's amounts too */
    qn_buf_deinit(&text);
    qn_dataset_close(dataset);
}

static void look_describes_image_files_by_their_size(void **state)
{
    /* A PNG of 1 x 1 grey pixel. */
    static const unsigned char png[] = {
        0x89, 'P',  'N',  'G',  '\r', '\n', 0x1a, '\n', 0,    0,    0,    13,   'I',  'H',
        'D',  'R',  0,    0,    0,    1,    0,    0,    0,    1,    8,    0,    0,    0,
        0,    0x3a, 0x7e, 0x9b, 0x55, 0,    0,    0,    10,   'I',  'D',  'A',  'T',  0x78,
        0x9c, 0x63, 0x60, 0,    0,    0,    2,    0,    1,    0x48, 0xaf, 0xa4, 0x71, 0,
        0,    0,    0,    'I',  'E',  'N',  'D',  0xae, 0x42, 0x60, 0x82};
    fixture *f = *state;
    qn_look look;
    qn_buf text;
    put_bytes(f, "p.png", png, sizeof png);
    qn_dataset *dataset =
        open_table(f, put_file(f, "t.csv", "photo,y\np.png,a\np.png,b\np.png,a\n"), "y");
    qn_schema_options options = {.target = "y"};
    assert_ok(qn_look_make(dataset, &options, &f->arena, &look, &f->err), &f->err);
    qn_buf_init(&text, 0);
    qn_look_write_text(&look, 200, &text);
    qn_buf_byte(&text, 0);
    assert_non_null(strstr(text.data, "image files, the first of 1 x 1 pixels"));
    assert_null(strstr(text.data, "PNG"));
    qn_buf_deinit(&text);
    qn_dataset_close(dataset);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(schema_infers_types_with_reasons),
        TEST(schema_chooses_the_task),
        TEST(schema_orders_labels_and_keeps_their_spelling),
        TEST(schema_refuses_targets_that_teach_nothing),
        TEST(schema_names_the_nearest_column),
        TEST(schema_obeys_the_recipe),
        TEST(schema_finds_leaks),
        TEST(schema_looks_for_leaks_in_small_memory),
        TEST(schema_leaves_ambiguous_dates_to_people),
        TEST(schema_reads_titanic_as_people_do),
        TEST(schema_tells_what_keeps_a_column_from_being_numbers),
        TEST(schema_counts_constants_and_pairs_of_long_tables_exactly),
        TEST(look_prints_and_writes_json),
        TEST(look_shows_no_bytes_that_drive_a_terminal),
        TEST(look_describes_image_files_by_their_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
