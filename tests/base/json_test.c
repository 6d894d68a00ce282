/* JSON: what is read, what is refused and how it is told, typed access, and writing. */
#include "testing.h"

#include <math.h>
#include <stdio.h>

#include "base/alloc.h"
#include "base/json.h"

typedef struct {
    qn_arena arena;
    qn_error err;
    qn_json root;
} fixture;

static int setup(void **state)
{
    static fixture f;
    qn_arena_init(&f.arena, 0);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    qn_arena_deinit(&f->arena);
    return 0;
}

static qn_status parse(fixture *f, const char *text)
{
    return qn_json_read(qn_str_from(text), NULL, &f->arena, &f->root, &f->err);
}

static void json_reads_every_kind(void **state)
{
    fixture *f = *state;
    assert_ok(parse(f, " {\"a\":null,\"b\":true,\"c\":-12,\"d\":0.5,\"e\":\"x\",\"f\":[],"
                       "\"g\":[1,\"y\"],\"h\":[1,2],\"i\":{\"j\":[1.5,2]}}\n"),
              &f->err);
    assert_int_equal(f->root.count, 9);
    assert_int_equal(qn_json_find(&f->root, "a")->kind, QN_JSON_NULL);
    assert_true(qn_json_find(&f->root, "b")->boolean);
    assert_int_equal(qn_json_find(&f->root, "c")->integer, -12);
    assert_true(qn_json_find(&f->root, "d")->number == 0.5);
    assert_true(qn_str_is(qn_json_find(&f->root, "e")->string, "x"));
    assert_int_equal(qn_json_length(qn_json_find(&f->root, "f")), 0);
    const qn_json *mixed = qn_json_find(&f->root, "g");
    assert_int_equal(mixed->kind, QN_JSON_ARRAY);
    assert_true(qn_str_is(qn_json_at(mixed, 1).string, "y"));
    const qn_json *ints = qn_json_find(&f->root, "h");
    assert_int_equal(ints->kind, QN_JSON_NUMBERS);
    assert_true(ints->all_int);
    assert_int_equal(ints->ints[1], 2);
    const qn_json *floats = qn_json_find(qn_json_find(&f->root, "i"), "j");
    assert_false(floats->all_int);
    assert_true(floats->floats[0] == 1.5 && floats->floats[1] == 2);
    assert_null(qn_json_find(&f->root, "z"));
    assert_null(qn_json_find(ints, "z"));
    assert_int_equal(qn_json_length(&f->root), -1);
}

static void json_keeps_integers_exact(void **state)
{
    fixture *f = *state;
    assert_ok(parse(f, "[9223372036854775807,-9223372036854775808]"), &f->err);
    assert_true(f->root.all_int && f->root.ints[0] == INT64_MAX && f->root.ints[1] == INT64_MIN);
    assert_ok(parse(f, "[9007199254740993,0.5]"), &f->err); /* 2^53 + 1 is no double */
    assert_int_equal(f->root.kind, QN_JSON_ARRAY);
    assert_int_equal(qn_json_at(&f->root, 0).integer, INT64_C(9007199254740993));
    assert_ok(parse(f, "[0.5,9007199254740993]"), &f->err);
    assert_int_equal(f->root.kind, QN_JSON_ARRAY);
    assert_ok(parse(f, "18446744073709551615"), &f->err);
    assert_int_equal(f->root.kind, QN_JSON_FLOAT);
}

static void json_decodes_escapes(void **state)
{
    fixture *f = *state;
    assert_ok(parse(f, "\"a\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\\u00e9\\u20ac\\ud83d\\ude00\""),
              &f->err);
    assert_true(qn_str_is(f->root.string, "a\"\\/\b\f\n\r\tA\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80"));
    assert_ok(parse(f, "\"\\u0000x\""), &f->err);
    assert_int_equal(f->root.string.size, 2);
}

static void json_strings_without_escapes_point_into_the_text(void **state)
{
    fixture *f = *state;
    const char *text = "\"a plain string of more than eight bytes\"";
    assert_ok(parse(f, text), &f->err);
    assert_ptr_equal(f->root.string.data, text + 1);
}

typedef struct {
    const char *text;
    const char *where;
    const char *message;
} bad_case;

static void json_refuses_and_says_where(void **state)
{
    fixture *f = *state;
    static const bad_case cases[] = {
        {"", "1:1", "end of the text"},
        {"[1,2,]", "1:6", "expected a value, got ']'"},
        {"[1\n 2]", "2:2", "expected ',' or ']'"},
        {"{\"a\":1,}", "1:8", "expected a key in quotes"},
        {"{\"a\" 1}", "1:6", "expected ':'"},
        {"{a:1}", "1:2", "expected a key in quotes"},
        {"{\"a\":1,\"a\":2}", "1:1", "the key \"a\" stands twice"},
        {"01", "1:1", "not a number"},
        {"1.", "1:1", "not a number"},
        {".5", "1:1", "expected a value"},
        {"+1", "1:1", "expected a value"},
        {"[1e400]", "1:2", "largest double"},
        {"NaN", "1:1", "expected a value"},
        {"tru", "1:1", "expected a value"},
        {"'a'", "1:1", "expected a value"},
        {"\"a", "1:1", "no end"},
        {"\"a\\", "1:1", "no end"},
        {"\"\\x\"", "1:2", "escape"},
        {"\"\\ud800\"", "1:2", "surrogate"},
        {"\"\\ude00\"", "1:2", "surrogate"},
        {"\"\\ud800\\u0041\"", "1:2", "surrogate"},
        {"\"\\u12\"", "1:2", "escape"},
        {"\"a\nb\"", "1:3", "control character"},
        {"\"\xFF\"", "1:2", "UTF-8"},
        {"\"\xED\xA0\x80\"", "1:2", "UTF-8"},
        {"1 2", "1:3", "end of the text"},
        {"[1]]", "1:4", "end of the text"},
        {"/**/1", "1:1", "expected a value"},
        {"\x01", "1:1", "byte 0x01"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(parse(f, cases[i].text), QN_ERR_DATA);
        assert_text(&f->err, cases[i].message);
        assert_string_equal(f->err.where, cases[i].where);
    }
}

static void json_finds_duplicates_in_large_objects(void **state)
{
    fixture *f = *state;
    qn_buf buf;
    qn_buf_init(&buf, 0);
    qn_buf_byte(&buf, '{');
    for (int i = 0; i < 1000; i++)
        qn_buf_printf(&buf, "\"k%d\":%d,", i, i);
    size_t size = buf.size;
    qn_buf_text(&buf, "\"last\":0}");
    assert_ok(qn_json_read(qn_buf_view(&buf), NULL, &f->arena, &f->root, &f->err), &f->err);
    buf.size = size;
    qn_buf_text(&buf, "\"k500\":0}");
    assert_int_equal(qn_json_read(qn_buf_view(&buf), NULL, &f->arena, &f->root, &f->err),
                     QN_ERR_DATA);
    assert_text(&f->err, "k500");
    qn_buf_deinit(&buf);
}

static void json_keeps_its_limits(void **state)
{
    fixture *f = *state;
    const qn_json_limits limits = {.depth_max = 3, .values_max = 5, .allow_nonfinite = true};
    qn_json *root = &f->root;
    assert_ok(qn_json_read(QN_STR("[[[1]]]"), &limits, &f->arena, root, &f->err), &f->err);
    assert_int_equal(qn_json_read(QN_STR("[[[[1]]]]"), &limits, &f->arena, root, &f->err),
                     QN_ERR_BUDGET);
    assert_text(&f->err, "deeper than 3");
    assert_ok(qn_json_read(QN_STR("[1,2,3,4,5,6,7]"), &limits, &f->arena, root, &f->err), &f->err);
    assert_int_equal(qn_json_read(QN_STR("[\"\",2,3,4,5,6,7]"), &limits, &f->arena, root, &f->err),
                     QN_ERR_BUDGET);
    assert_text(&f->err, "more than 5 values");
    assert_ok(qn_json_read(QN_STR("[NaN,Infinity,-Infinity]"), &limits, &f->arena, root, &f->err),
              &f->err);
    assert_true(isnan(root->floats[0]) && isinf(root->floats[2]));
    char deep[200];
    memset(deep, '[', sizeof deep);
    assert_int_equal(qn_json_read((qn_str){deep, sizeof deep}, NULL, &f->arena, root, &f->err),
                     QN_ERR_BUDGET);
}

static void json_survives_every_failed_allocation(void **state)
{
    (void)state;
    const char *text = "{\"a\":[1,2,3],\"b\":[\"x\",{\"c\":\"\\n\"}],\"d\":{}}";
    for (int k = 1; k < 20; k++) {
        qn_arena arena;
        qn_json root = {.kind = QN_JSON_BOOL};
        qn_error err = {0};
        qn_arena_init(&arena, 0);
        qn_alloc_fail_at(k);
        qn_status status = qn_json_read(qn_str_from(text), NULL, &arena, &root, &err);
        qn_alloc_fail_at(0);
        assert_true(status == QN_OK || status == QN_ERR_MEMORY);
        if (status != QN_OK)
            assert_int_equal(root.kind, QN_JSON_BOOL);
        qn_arena_deinit(&arena);
    }
}

static void json_get_names_key_value_and_expectation(void **state)
{
    fixture *f = *state;
    int64_t integer = 7;
    double number = 7;
    bool boolean = false;
    qn_str string = QN_STR("old");
    assert_ok(parse(f, "{\"i\":3,\"f\":3.0,\"h\":0.5,\"s\":\"x\",\"b\":true,\"n\":null,"
                       "\"big\":9007199254740993}"),
              &f->err);
    assert_ok(qn_json_get_i64(&f->root, "f", true, &integer, &f->err), &f->err);
    assert_int_equal(integer, 3);
    assert_int_equal(qn_json_get_i64(&f->root, "h", true, &integer, &f->err), QN_ERR_DATA);
    assert_string_equal(f->err.text, "\"h\" is 0.5; expected an integer");
    assert_int_equal(integer, 3);
    assert_ok(qn_json_get_f64(&f->root, "i", true, &number, &f->err), &f->err);
    assert_true(number == 3);
    assert_int_equal(qn_json_get_f64(&f->root, "big", true, &number, &f->err), QN_ERR_DATA);
    assert_int_equal(qn_json_get_str(&f->root, "i", true, &string, &f->err), QN_ERR_DATA);
    assert_string_equal(f->err.text, "\"i\" is 3; expected a string");
    assert_int_equal(qn_json_get_bool(&f->root, "s", true, &boolean, &f->err), QN_ERR_DATA);
    assert_string_equal(f->err.text, "\"s\" is the string \"x\"; expected true or false");
    assert_int_equal(qn_json_get_str(&f->root, "zz", true, &string, &f->err), QN_ERR_DATA);
    assert_string_equal(f->err.text, "\"zz\" is missing; expected a string");
    assert_ok(qn_json_get_str(&f->root, "n", false, &string, &f->err), &f->err);
    assert_true(qn_str_is(string, "old"));
    assert_ok(qn_json_get_bool(&f->root, "b", true, &boolean, &f->err), &f->err);
    assert_true(boolean);
}

static void json_writes_what_it_reads(void **state)
{
    fixture *f = *state;
    static const char text[] = "{\"a\":[1,2.5,-3e-9],\"b\":[1,\"x\\u0001\\\"\\\\\\n\xC3\xA9\"],"
                               "\"c\":{\"d\":[[1],[2]],\"e\":[]},\"f\":null,\"g\":true,\"h\":{}}";
    qn_buf buf;
    qn_json_writer w;
    qn_buf_init(&buf, 0);
    qn_json_write_init(&w, &buf);
    assert_ok(parse(f, text), &f->err);
    qn_json_value(&w, &f->root);
    assert_true(qn_str_is(qn_buf_view(&buf), text));
    qn_buf_reset(&buf);
    qn_json_write_init(&w, &buf);
    w.pretty = true;
    qn_json_value(&w, &f->root);
    assert_true(qn_str_starts(qn_buf_view(&buf), "{\n  \"a\": [1,2.5,-3e-9],\n  \"b\": [\n    1,"));
    assert_true(qn_str_ends(qn_buf_view(&buf), "\"h\": {}\n}"));
    qn_buf_deinit(&buf);
}

static void json_writes_numbers_and_broken_text_safely(void **state)
{
    (void)state;
    qn_buf buf;
    qn_json_writer w;
    qn_buf_init(&buf, 0);
    qn_json_write_init(&w, &buf);
    const float values[] = {0.1f, NAN, 3};
    qn_json_array_begin(&w);
    qn_json_f32_array(&w, values, 3);
    qn_json_i64(&w, INT64_MIN);
    qn_json_f64(&w, -(double)INFINITY);
    w.nonfinite_words = true;
    qn_json_f32(&w, NAN);
    qn_json_text(&w, NULL);
    qn_json_str(&w, (qn_str){"a\xFF\xC3", 3});
    qn_json_str(&w, (qn_str){NULL, 0});
    qn_json_array_end(&w);
    assert_true(qn_str_is(qn_buf_view(&buf), "[[0.1,null,3],-9223372036854775808,null,NaN,null,"
                                             "\"a\xEF\xBF\xBD\xEF\xBF\xBD\",\"\"]"));
    qn_buf_deinit(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_reads_every_kind),
        cmocka_unit_test(json_keeps_integers_exact),
        cmocka_unit_test(json_decodes_escapes),
        cmocka_unit_test(json_strings_without_escapes_point_into_the_text),
        cmocka_unit_test(json_refuses_and_says_where),
        cmocka_unit_test(json_finds_duplicates_in_large_objects),
        cmocka_unit_test(json_keeps_its_limits),
        cmocka_unit_test(json_survives_every_failed_allocation),
        cmocka_unit_test(json_get_names_key_value_and_expectation),
        cmocka_unit_test(json_writes_what_it_reads),
        cmocka_unit_test(json_writes_numbers_and_broken_text_safely),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
