/*
 * The CSV reader: what people write is understood, what is broken is said with file, row and column.
 */
#include "testing.h"

#include <math.h>
#include <stdio.h>

#include "base/alloc.h"
#include "format/csv.h"

static qn_status read_text(const char *text, const qn_csv_options *options, qn_arena *arena,
                           qn_csv *ret, qn_error *err)
{
    qn_csv_options with_file = options ? *options : (qn_csv_options){0};
    with_file.file = "t.csv";
    return qn_csv_read(qn_str_from(text), &with_file, arena, ret, err);
}

static void check_cell(const qn_csv *table, int64_t column, int64_t row, const char *expected)
{
    assert_false(table->columns[column].numeric);
    qn_str cell = table->columns[column].texts[row];
    if (!qn_str_is(cell, expected))
        fail_msg("column %d row %d: got \"%.*s\", expected \"%s\"", (int)column, (int)row,
                 QN_STR_ARG(cell), expected);
}

static void csv_reads_numbers_and_texts(void **state)
{
    (void)state;
    qn_arena arena;
    qn_error err = {0};
    qn_csv table;
    qn_arena_init(&arena, 0);
    assert_ok(
        read_text("age,city\n39,Oslo\n-1.5e3,\"New York, NY\"\n,?\n", NULL, &arena, &table, &err),
        &err);
    assert_true(table.header);
    assert_int_equal(table.delimiter, ',');
    assert_int_equal(table.columns_count, 2);
    assert_int_equal(table.rows, 3);
    assert_true(qn_str_is(table.columns[0].name, "age"));
    assert_true(table.columns[0].numeric);
    assert_true(table.columns[0].numbers[0] == 39.0);
    assert_true(table.columns[0].numbers[1] == -1500.0);
    assert_true(isnan(table.columns[0].numbers[2]));
    assert_int_equal(table.columns[0].missing[2], 1);
    assert_int_equal(table.columns[0].missing_count, 1);
    check_cell(&table, 1, 0, "Oslo");
    check_cell(&table, 1, 1, "New York, NY");
    assert_int_equal(table.columns[1].missing[2], 1);
    qn_arena_deinit(&arena);
}

static void csv_accepts_what_people_write(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        char delimiter;
        int header;
        int columns, rows;
        const char *cell; /* of the last column, first row; NULL = a number column */
    } cases[] = {
        {"\xEF\xBB\xBF"
         "a,b\r\n1,x\r\n2,y\r\n",
         ',', 1, 2, 2, "x"},
        {"a;b\n1;x\n2;y", ';', 1, 2, 2, "x"},
        {"a\tb\n1\tx y\n", '\t', 1, 2, 1, "x y"},
        {"a|b\n1|x\n", '|', 1, 2, 1, "x"},
        {"a,b\n1,\"say \"\"hi\"\"\"\n", ',', 1, 2, 1, "say \"hi\""},
        {"a,b\n1,\"two\nlines\"\n2,z\n", ',', 1, 2, 2, "two\nlines"},
        {"a,b\n\n1,x\n\n\n2,y\n\n", ',', 1, 2, 2, "x"},
        {"39, State-gov, 5\n50, Private, 6\n", ',', 0, 3, 2, NULL},
        {"a, b\n1,  spaced  \n", ',', 1, 2, 1, "spaced"},
        {"a,b\n1, \"quoted\" \n", ',', 1, 2, 1, "quoted"},
        {"a,b\r1,x\r2,y\r", ',', 1, 2, 2, "x"},
        {"ham\tGo now \"ok\nspam\tFree\nham\tx\n", '\t', 0, 2, 3, "Go now \"ok"},
        {"ham\t\"unclosed\nspam\tFree\nham\tx\n", '\t', 0, 2, 3, "\"unclosed"},
        {"zip,n\n01234,1\n05678,2\n", ',', 1, 2, 2, NULL},
        {"one\n1\n2\n", ',', 1, 1, 2, NULL},
        {"1,2\n3,4\n", ',', 0, 2, 2, NULL},
        {"id,b\n9007199254740993,x\n9007199254740992,y\n", ',', 1, 2, 2, "x"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        qn_arena arena;
        qn_error err = {0};
        qn_csv table;
        qn_arena_init(&arena, 0);
        if (read_text(cases[i].text, NULL, &arena, &table, &err) != QN_OK)
            fail_msg("case %zu: %s: %s", i, err.where, err.text);
        if (table.delimiter != cases[i].delimiter || table.header != cases[i].header ||
            table.columns_count != cases[i].columns || table.rows != cases[i].rows)
            fail_msg("case %zu: delimiter '%c' header %d columns %d rows %d", i, table.delimiter,
                     table.header, (int)table.columns_count, (int)table.rows);
        if (cases[i].cell)
            check_cell(&table, table.columns_count - 1, 0, cases[i].cell);
        else
            assert_true(table.columns[table.columns_count - 1].numeric);
        qn_arena_deinit(&arena);
    }
}

static void csv_keeps_keys_that_numbers_would_merge(void **state)
{
    (void)state;
    qn_arena arena;
    qn_error err = {0};
    qn_csv table;
    qn_arena_init(&arena, 0);
    assert_ok(read_text("zip,key\n01234,9007199254740993\n1234,9007199254740992\n", NULL, &arena,
                        &table, &err),
              &err);
    check_cell(&table, 0, 0, "01234");
    check_cell(&table, 1, 0, "9007199254740993");
    qn_arena_deinit(&arena);
}

static void csv_demotes_a_column_that_turns_out_text(void **state)
{
    (void)state;
    qn_arena arena;
    qn_error err = {0};
    qn_csv table;
    qn_buf text;
    qn_arena_init(&arena, 0);
    qn_buf_init(&text, 0);
    qn_buf_text(&text, "n,m\n");
    for (int i = 0; i < 3000; i++)
        qn_buf_printf(&text, "%d,%d\n", i, i);
    qn_buf_text(&text, "late,7\n");
    assert_ok(qn_csv_read(qn_buf_view(&text), NULL, &arena, &table, &err), &err);
    assert_int_equal(table.rows, 3001);
    check_cell(&table, 0, 0, "0");
    check_cell(&table, 0, 3000, "late");
    assert_true(table.columns[1].numeric);
    assert_true(table.columns[1].numbers[2999] == 2999.0);
    qn_buf_deinit(&text);
    qn_arena_deinit(&arena);
}

static void csv_obeys_its_options(void **state)
{
    (void)state;
    qn_arena arena;
    qn_error err = {0};
    qn_csv table;
    qn_arena_init(&arena, 0);
    qn_str names[] = {QN_STR("x"), QN_STR("y")}, texts[] = {QN_STR("y")},
           missing[] = {QN_STR("-1")};
    qn_csv_options options = {.header = QN_CSV_HEADER_NO,
                              .names = names,
                              .names_count = 2,
                              .texts = texts,
                              .texts_count = 1,
                              .missing = missing,
                              .missing_count = 1,
                              .rows_max = 2};
    assert_ok(read_text("1,0\n-1,1.0\n3,1\n", &options, &arena, &table, &err), &err);
    assert_int_equal(table.rows, 2);
    assert_true(qn_str_is(table.columns[1].name, "y"));
    check_cell(&table, 1, 1, "1.0");
    assert_int_equal(table.columns[0].missing[1], 1);
    qn_arena_deinit(&arena);
}

static void csv_says_where_it_is_broken(void **state)
{
    (void)state;
    static const struct {
        const char *text, *where, *says;
    } cases[] = {
        {"", "t.csv", "no rows"},
        {"\n\n", "t.csv", "no rows"},
        {"a,b\n1,2\n3\n", "t.csv, row 3", "1 cells, expected 2"},
        {"a,b\n1,2\n3,4,5\n", "t.csv, row 3", "at least 3 cells, expected 2"},
        {"a,b\n1,\"open\n2,x\n", "t.csv, row 2, column 2", "never closes"},
        {"a,b\n1,\"x\"y\n", "t.csv, row 2, column 2", "after the closing quote, got 'y'"},
        {"a,b\n1,2\n3,\xff\n", "t.csv, row 3", "0xff is not valid UTF-8"},
        {"\x1f\x8b\x08", "t.csv", "gzip-compressed"},
        {"PAR1....", "t.csv", "a Parquet file"},
        {"PK\x03\x04", "t.csv", "a ZIP archive or a spreadsheet"},
        {"a,a\n1,2\n", "t.csv", "columns 1 and 2 are both named 'a'"},
        {"\xFF\xFE"
         "a",
         "t.csv", "UTF-16"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        qn_arena arena;
        qn_error err = {0};
        qn_csv table;
        qn_arena_init(&arena, 0);
        assert_int_equal(read_text(cases[i].text, NULL, &arena, &table, &err), QN_ERR_DATA);
        if (strcmp(err.where, cases[i].where) != 0 || !strstr(err.text, cases[i].says))
            fail_msg("case %zu: \"%s\" at \"%s\"", i, err.text, err.where);
        qn_arena_deinit(&arena);
    }
}

static void csv_refuses_zero_bytes(void **state)
{
    (void)state;
    qn_arena arena;
    qn_error err = {0};
    qn_csv table;
    qn_csv_options options = {.file = "t.csv"};
    qn_arena_init(&arena, 0);
    assert_int_equal(qn_csv_read(QN_STR("a,b\n1,2\n3,\0\n"), &options, &arena, &table, &err),
                     QN_ERR_DATA);
    assert_text(&err, "zero byte");
    assert_string_equal(err.where, "t.csv, row 3");
    qn_arena_deinit(&arena);
}

static void csv_survives_every_failed_allocation(void **state)
{
    (void)state;
    const char *text = "n,t,q\n1,x,\"a\"\"b\"\nlate,,\"c\"\"d\"\n";
    for (int64_t nth = 1; nth < 40; nth++) {
        qn_arena arena;
        qn_error err = {0};
        qn_csv table;
        qn_arena_init(&arena, 0);
        qn_alloc_fail_at(nth);
        qn_status status = read_text(text, NULL, &arena, &table, &err);
        qn_alloc_fail_at(0);
        assert_true(status == QN_OK || status == QN_ERR_MEMORY);
        qn_arena_deinit(&arena);
    }
}

static void csv_respects_the_arena_limit(void **state)
{
    (void)state;
    qn_arena arena;
    qn_error err = {0};
    qn_csv table;
    qn_buf text;
    qn_buf_init(&text, 0);
    qn_buf_text(&text, "n,m\n");
    for (int i = 0; i < 100000; i++)
        qn_buf_text(&text, "1,2\n");
    qn_arena_init(&arena, 200000);
    assert_int_equal(qn_csv_read(qn_buf_view(&text), NULL, &arena, &table, &err), QN_ERR_BUDGET);
    assert_text(&err, "more memory than its budget");
    qn_arena_deinit(&arena);
    qn_buf_deinit(&text);
}

static void csv_writes_cells_that_read_back(void **state)
{
    (void)state;
    static const char *const cells[] = {"plain", "a,b", "say \"x\"", "two\nlines", " outer ", ""};
    qn_buf text;
    qn_arena arena;
    qn_csv table;
    qn_error err = {0};
    qn_buf_init(&text, 0);
    qn_arena_init(&arena, 0);
    qn_buf_text(&text, "n,cell\n");
    for (size_t i = 0; i < 6; i++) {
        qn_buf_text(&text, "1,");
        qn_csv_write_cell(&text, qn_str_from(cells[i]), ',');
        qn_buf_byte(&text, '\n');
    }
    assert_ok(qn_csv_read(qn_buf_view(&text), NULL, &arena, &table, &err), &err);
    assert_int_equal(table.rows, 6);
    for (int i = 0; i < 6; i++)
        check_cell(&table, 1, i, cells[i]);
    qn_arena_deinit(&arena);
    qn_buf_deinit(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(csv_reads_numbers_and_texts),
        cmocka_unit_test(csv_accepts_what_people_write),
        cmocka_unit_test(csv_keeps_keys_that_numbers_would_merge),
        cmocka_unit_test(csv_demotes_a_column_that_turns_out_text),
        cmocka_unit_test(csv_obeys_its_options),
        cmocka_unit_test(csv_says_where_it_is_broken),
        cmocka_unit_test(csv_refuses_zero_bytes),
        cmocka_unit_test(csv_survives_every_failed_allocation),
        cmocka_unit_test(csv_respects_the_arena_limit),
        cmocka_unit_test(csv_writes_cells_that_read_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
