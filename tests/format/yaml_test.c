/* YAML and JSON trees: texts stay texts, places are right, what is unsafe is refused. */
#include "testing.h"

#include "format/yaml.h"

typedef struct {
    qn_arena arena;
    qn_error err;
    qn_yaml root;
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
    qn_arena_deinit(&((fixture *)*state)->arena);
    return 0;
}

static qn_status parse(fixture *f, const char *text, const char *file)
{
    return qn_yaml_read(qn_str_from(text), file, &f->arena, &f->root, &f->err);
}

static void yaml_keeps_texts_and_places(void **state)
{
    fixture *f = *state;
    assert_ok(parse(f, "a: no\nb:\n  - 007\n  - \"x\\u00e9\"\n  - {c: null, d: ~}\ne:\n", "r.yaml"),
              &f->err);
    assert_int_equal(f->root.kind, QN_YAML_MAP);
    const qn_yaml *a = qn_yaml_find(&f->root, "a");
    assert_string_equal(a->text.data, "no");
    assert_int_equal(a->line, 1);
    assert_int_equal(a->column, 4);
    const qn_yaml *b = qn_yaml_find(&f->root, "b");
    assert_int_equal(b->count, 3);
    assert_string_equal(b->items[0].text.data, "007");
    assert_false(b->items[0].quoted);
    assert_string_equal(b->items[1].text.data, "x\xC3\xA9");
    assert_true(b->items[1].quoted);
    assert_int_equal(b->items[1].line, 4);
    assert_true(qn_yaml_is_null(qn_yaml_find(&b->items[2], "c")));
    assert_true(qn_yaml_is_null(qn_yaml_find(&b->items[2], "d")));
    assert_true(qn_yaml_is_null(qn_yaml_find(&f->root, "e")));
    assert_null(qn_yaml_find(&f->root, "z"));
    assert_null(qn_yaml_find(a, "z"));
}

static void json_gives_the_same_tree(void **state)
{
    fixture *f = *state;
    assert_ok(
        parse(f, "{\"a\": true,\n\t\"b\": [1, 2.5, \"\\ud83d\\ude00\"], \"c\": [3, 4]}", "r.json"),
        &f->err);
    assert_string_equal(qn_yaml_find(&f->root, "a")->text.data, "true");
    const qn_yaml *b = qn_yaml_find(&f->root, "b");
    assert_int_equal(b->line, 2);
    assert_int_equal(b->column, 7);
    assert_string_equal(b->items[1].text.data, "2.5");
    assert_string_equal(b->items[2].text.data, "\xF0\x9F\x98\x80");
    assert_true(b->items[2].quoted);
    assert_string_equal(qn_yaml_find(&f->root, "c")->items[1].text.data, "4");
}

typedef struct {
    const char *text;
    const char *file;
    const char *where;
    const char *message;
} bad_case;

static void yaml_refuses_and_says_where(void **state)
{
    fixture *f = *state;
    static const bad_case cases[] = {
        {"a: 1\nb: 2\na: 3\n", "r.yaml", "r.yaml:3:1", "the key 'a' stands here and in line 1"},
        {"a: &x 1\n", "r.yaml", "r.yaml:1:4", "anchors"},
        {"a: &x [1]\n", "r.yaml", "r.yaml:1:4", "anchors"},
        {"a: *x\n", "r.yaml", "r.yaml:1:4", "aliases"},
        {"a: !!int 1\n", "r.yaml", "r.yaml:1:4", "tags"},
        {"a: !x {b: 1}\n", "r.yaml", "r.yaml:1:4", "tags"},
        {"a: 1\n---\nb: 2\n", "r.yaml", "r.yaml:2:1", "second document"},
        {"", "r.yaml", "r.yaml:1:1", "empty"},
        {"# only a comment\n", "r.yaml", "r.yaml:1:1", "empty"},
        {"a: [1, 2\n", "r.yaml", "r.yaml:2:1", "not valid YAML"},
        {"a:\n\tb: 1\n", "r.yaml", "r.yaml:2:1", "not valid YAML"},
        {"{[1]: 2}\n", "r.yaml", "r.yaml:1:2", "expected a key"},
        {"a: \"x\\0y\"\n", "r.yaml", "r.yaml:1:4", "zero byte"},
        {"\xFF", "r.yaml", "r.yaml", "not UTF-8 at byte 0"},
        {"{\"a\": 1,}", "r.json", "r.json:1:9", "expected a key in quotes"},
        {"{\"a\": \"\\u0000\"}", "r.json", "r.json", "zero byte"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(parse(f, cases[i].text, cases[i].file), QN_ERR_ARG);
        assert_text(&f->err, cases[i].message);
        assert_string_equal(f->err.where, cases[i].where);
    }
}

static void yaml_keeps_its_limits(void **state)
{
    fixture *f = *state;
    char deep[200];
    memset(deep, '[', sizeof deep - 1);
    deep[sizeof deep - 1] = '\0';
    assert_int_equal(parse(f, deep, "r.yaml"), QN_ERR_BUDGET);
    assert_text(&f->err, "deeper than 32");
    assert_int_equal(parse(f, deep, "r.json"), QN_ERR_BUDGET);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(yaml_keeps_texts_and_places),
        cmocka_unit_test(json_gives_the_same_tree),
        cmocka_unit_test(yaml_refuses_and_says_where),
        cmocka_unit_test(yaml_keeps_its_limits),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
