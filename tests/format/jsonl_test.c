/*
 * The JSON Lines reader: objects become the columns that the same rows would be as CSV; what is broken is said with
 * line and column.
 */
#include "testing.h"

#include <math.h>

#include "base/alloc.h"
#include "format/jsonl.h"

static qn_status read_text(const char *text, qn_arena *arena, qn_csv *ret, qn_error *err)
{
    const qn_str texts[] = {QN_STR("y")};
    qn_csv_options options = {
        .file = "t.jsonl", .texts = texts, .texts_count = 1, .columns_max = 8};
    return qn_jsonl_read(qn_str_from(text), &options, arena, ret, err);
}

static void jsonl_reads_columns_of_objects(void **state)
{
    (void)state;
    qn_arena arena;
    qn_error err = {0};
    qn_csv table;
    qn_arena_init(&arena, 0);
    assert_ok(read_text("{\"age\": 39, \"city\": \"Oslo\", \"y\": 1}\r\n"
                        "\n"
                        "{\"city\": null, \"age\": -1.5e3, \"y\": 0, \"owns\": true}\n"
                        "{\"city\": \"S\\u00e3o \\\"Paulo\\\"\", \"y\": 1}",
                        &arena, &table, &err),
              &err);
    assert_int_equal(table.columns_count, 4);
    assert_int_equal(table.rows, 3);
    assert_int_equal(table.row_first, 1);
    assert_true(table.columns[0].numeric);
    assert_true(table.columns[0].numbers[1] == -1500.0);
    assert_true(isnan(table.columns[0].numbers[2]));
    assert_int_equal(table.columns[0].missing_count, 1);
    assert_int_equal(table.columns[1].missing[1], 1);
    assert_true(qn_str_is(table.columns[1].texts[2], "S\xc3\xa3o \"Paulo\""));
    assert_false(table.columns[2].numeric); /* named in texts */
    assert_true(qn_str_is(table.columns[2].texts[1], "0"));
    assert_true(qn_str_is(table.columns[3].name, "owns"));
    assert_true(qn_str_is(table.columns[3].texts[1], "true"));
    assert_int_equal(table.columns[3].missing_count, 2);
    qn_arena_deinit(&arena);
}

static void jsonl_mixes_become_text(void **state)
{
    (void)state;
    qn_arena arena;
    qn_error err = {0};
    qn_csv table;
    qn_arena_init(&arena, 0);
    assert_ok(read_text("{\"a\": 1.50, \"b\": 9007199254740993}\n{\"a\": \"x\", \"b\": 1}\n",
                        &arena, &table, &err),
              &err);
    assert_true(qn_str_is(table.columns[0].texts[0], "1.5"));
    assert_true(qn_str_is(table.columns[1].texts[0], "9007199254740993")); /* exact */
    qn_arena_deinit(&arena);
}

static void jsonl_says_line_and_column(void **state)
{
    (void)state;
    static const struct {
        const char *text, *error, *where;
    } cases[] = {
        {"", "holds no rows", "t.jsonl"},
        {" \n\n", "holds no rows", "t.jsonl"},
        {"{\"a\": 1}\n{\"a\": }\n", "expected a value", "t.jsonl:2:7"},
        {"{\"a\": 1}\n[1, 2]\n", "an array of numbers, expected an object", "t.jsonl:2"},
        {"{\"a\": 1}\n{\"a\": [1]}\n", "'a' is an array of numbers; a cell is", "t.jsonl:2"},
        {"{\"a\": {\"b\": 1}}\n", "'a' is an object", "t.jsonl:1"},
        {"{\n\"a\": 1}\n", "", "t.jsonl:1"},
        {"{\"a\": 1, \"a\": 2}\n", "stands twice", "t.jsonl:1"},
        {"{\"a\": \"x\\u0000y\"}\n", "zero character", "t.jsonl:1"},
        {"{\"a\": \"\xff\"}\n", "", "t.jsonl:1"},
        {"{\"a\": 1} {\"a\": 2}\n", "", "t.jsonl:1:10"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        qn_arena arena;
        qn_error err = {0};
        qn_csv table;
        qn_arena_init(&arena, 0);
        assert_int_equal(read_text(cases[i].text, &arena, &table, &err), QN_ERR_DATA);
        assert_text(&err, cases[i].error);
        if (strncmp(err.where, cases[i].where, strlen(cases[i].where)) != 0)
            fail_msg("case %d: where is \"%s\", expected \"%s\"", (int)i, err.where,
                     cases[i].where);
        qn_arena_deinit(&arena);
    }
}

static void jsonl_limits_columns(void **state)
{
    (void)state;
    qn_arena arena;
    qn_error err = {0};
    qn_csv table;
    qn_arena_init(&arena, 0);
    assert_int_equal(read_text("{\"a\":1,\"b\":1,\"c\":1,\"d\":1,\"e\":1}\n"
                               "{\"f\":1,\"g\":1,\"h\":1,\"i\":1}\n",
                               &arena, &table, &err),
                     QN_ERR_BUDGET);
    assert_text(&err, "more than 8 columns");
    qn_arena_deinit(&arena);
}

static void jsonl_survives_every_failed_allocation(void **state)
{
    (void)state;
    qn_status status = QN_ERR_MEMORY;
    for (int64_t k = 1; status != QN_OK && k < 1000; k++) {
        qn_arena arena;
        qn_error err = {0};
        qn_csv table;
        qn_arena_init(&arena, 0);
        qn_alloc_fail_at(k);
        status =
            read_text("{\"a\": 1, \"b\": \"x\\n\"}\n{\"a\": 2, \"c\": 3}\n", &arena, &table, &err);
        qn_alloc_fail_at(0);
        assert_true(status == QN_OK || status == QN_ERR_MEMORY);
        qn_arena_deinit(&arena);
    }
    assert_int_equal(status, QN_OK);
}

static void jsonl_is_known_by_its_beginning(void **state)
{
    (void)state;
    assert_true(qn_jsonl_is(QN_STR(" {\"a\": 1}\n")));
    assert_true(qn_jsonl_is(QN_STR("{ }")));
    assert_false(qn_jsonl_is(QN_STR("")));
    assert_false(qn_jsonl_is(QN_STR("{")));
    assert_false(qn_jsonl_is(QN_STR("a,b\n1,2\n")));
    assert_false(qn_jsonl_is(QN_STR("{a},b\n")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(jsonl_reads_columns_of_objects),
        cmocka_unit_test(jsonl_mixes_become_text),
        cmocka_unit_test(jsonl_says_line_and_column),
        cmocka_unit_test(jsonl_limits_columns),
        cmocka_unit_test(jsonl_survives_every_failed_allocation),
        cmocka_unit_test(jsonl_is_known_by_its_beginning),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
