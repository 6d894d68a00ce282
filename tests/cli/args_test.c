/* Words of the command line against a verb's row, and the texts made from the rows. */
#include "testing.h"

#include <stdlib.h>

#include "cli/verb.h"

static const qn_flag flags[] = {
    {"target", "COLUMN", NULL, "what to predict"}, {"keep", NULL, NULL, "keeps"}, {0}};
static qn_status run_nothing(qn_cli *cli, qn_error *err)
{
    (void)cli, (void)err;
    return QN_OK;
}
static const qn_verb verb = {.name = "train",
                             .arguments = "DATA",
                             .summary = "trains",
                             .about = "Trains.",
                             .arguments_min = 1,
                             .arguments_max = 1,
                             .flags = flags,
                             .common = QN_FLAG_SET | QN_FLAG_THREADS | QN_FLAG_MEM | QN_FLAG_TIME,
                             .examples = {"a", "b", "c", "d"},
                             .run = run_nothing};

static qn_status parse(qn_cli *cli, int count, const char **words, qn_error *err)
{
    *cli = (qn_cli){0};
    qn_arena_init(&cli->arena, 0);
    char *copy[16];
    for (int i = 0; i < count; i++)
        copy[i] = (char *)(uintptr_t)words[i];
    return qn_cli_parse(cli, &verb, count, copy, err);
}

static void flags_stand_anywhere(void **state)
{
    (void)state;
    qn_cli cli;
    qn_error err = {0};
    assert_ok(parse(&cli, 4, (const char *[]){"--target", "y", "a.csv", "--keep"}, &err), &err);
    assert_string_equal(qn_cli_text(&cli, "target"), "y");
    assert_true(qn_cli_has(&cli, "keep"));
    assert_int_equal(cli.arguments_count, 1);
    assert_string_equal(cli.arguments[0], "a.csv");
    qn_arena_deinit(&cli.arena);
}

static void equals_sign_gives_the_value(void **state)
{
    (void)state;
    qn_cli cli;
    qn_error err = {0};
    assert_ok(parse(&cli, 2, (const char *[]){"--target=a=b", "a.csv"}, &err), &err);
    assert_string_equal(qn_cli_text(&cli, "target"), "a=b");
    qn_arena_deinit(&cli.arena);
}

static void two_dashes_end_flags(void **state)
{
    (void)state;
    qn_cli cli;
    qn_error err = {0};
    assert_ok(parse(&cli, 2, (const char *[]){"--", "--target"}, &err), &err);
    assert_string_equal(cli.arguments[0], "--target");
    assert_false(qn_cli_has(&cli, "target"));
    qn_arena_deinit(&cli.arena);
}

static void repeated_flags_keep_their_order(void **state)
{
    (void)state;
    qn_cli cli;
    qn_error err = {0};
    const char *const *values;
    int count;
    assert_ok(parse(&cli, 4, (const char *[]){"--set", "a=1", "--set=b=2", "x"}, &err), &err);
    assert_ok(qn_cli_all(&cli, "set", &values, &count, &err), &err);
    assert_int_equal(count, 2);
    assert_string_equal(values[0], "a=1");
    assert_string_equal(values[1], "b=2");
    qn_arena_deinit(&cli.arena);
}

static void wrong_words_are_named(void **state)
{
    (void)state;
    static const struct {
        int count;
        const char *words[4];
        const char *text, *hint;
    } rows[] = {
        {2, {"a.csv", "--targt"}, "unknown flag '--targt'", "did you mean --target?"},
        {2, {"a.csv", "-x"}, "unknown flag '-x'", ""},
        {2, {"a.csv", "--target"}, "flag --target needs a value", ""},
        {2, {"a.csv", "--keep=1"}, "flag --keep takes no value, got '1'", ""},
        {2, {"a.csv", "b.csv"}, "unexpected argument 'b.csv'", "usage: quern train DATA"},
        {0, {NULL}, "'quern train' needs DATA", ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        qn_cli cli;
        qn_error err = {0};
        const char *words[4];
        memcpy(words, rows[i].words, sizeof words);
        assert_int_equal(parse(&cli, rows[i].count, words, &err), QN_ERR_ARG);
        assert_text(&err, rows[i].text);
        assert_non_null(strstr(err.hint, rows[i].hint));
        qn_arena_deinit(&cli.arena);
    }
}

static void numbers_are_checked(void **state)
{
    (void)state;
    qn_cli cli;
    qn_error err = {0};
    int64_t threads = 7, bytes = 7;
    double seconds = 7;
    assert_ok(parse(&cli, 7,
                    (const char *[]){"x", "--threads", "0", "--mem", "2GiB", "--time", "10m"},
                    &err),
              &err);
    assert_int_equal(qn_cli_i64(&cli, "threads", 1, 256, &threads, &err), QN_ERR_ARG);
    assert_text(&err, "from 1 to 256, got '0'");
    assert_int_equal(threads, 7);
    assert_ok(qn_cli_bytes(&cli, "mem", &bytes, &err), &err);
    assert_true(bytes == (int64_t)2 << 30);
    assert_ok(qn_cli_seconds(&cli, "time", &seconds, &err), &err);
    assert_true(seconds == 600);
    qn_arena_deinit(&cli.arena);
}

static void environment_stands_below_flags(void **state)
{
    (void)state;
    qn_cli cli;
    qn_error err = {0};
    int64_t threads = 0;
    setenv("QUERN_THREADS", "3", 1);
    assert_ok(parse(&cli, 1, (const char *[]){"x"}, &err), &err);
    assert_ok(qn_cli_i64(&cli, "threads", 1, 256, &threads, &err), &err);
    assert_int_equal(threads, 3);
    qn_arena_deinit(&cli.arena);
    assert_ok(parse(&cli, 3, (const char *[]){"x", "--threads", "5"}, &err), &err);
    assert_ok(qn_cli_i64(&cli, "threads", 1, 256, &threads, &err), &err);
    assert_int_equal(threads, 5);
    unsetenv("QUERN_THREADS");
    qn_arena_deinit(&cli.arena);
}

static void every_verb_documents_itself(void **state)
{
    (void)state;
    for (int i = 0; qn_verb_at(i); i++) {
        const qn_verb *row = qn_verb_at(i);
        assert_non_null(row->run);
        assert_non_null(row->examples[3]);
        for (int f = 0; qn_verb_flag(row, f); f++)
            assert_non_null(qn_verb_flag(row, f)->doc);
        qn_buf help;
        qn_buf_init(&help, 0);
        qn_help_verb(row, &help);
        qn_help_man(row, &help);
        qn_buf_byte(&help, 0);
        assert_false(help.failed);
        assert_non_null(strstr(help.data, row->examples[0]));
        qn_buf_deinit(&help);
    }
}

static void completion_knows_three_shells(void **state)
{
    (void)state;
    qn_error err = {0};
    qn_buf text;
    static const char *const shells[] = {"bash", "zsh", "fish"};
    for (int i = 0; i < 3; i++) {
        qn_buf_init(&text, 0);
        assert_ok(qn_help_completion(shells[i], &text, &err), &err);
        qn_buf_byte(&text, 0);
        assert_non_null(strstr(text.data, "train"));
        qn_buf_deinit(&text);
    }
    qn_buf_init(&text, 0);
    assert_int_equal(qn_help_completion("csh", &text, &err), QN_ERR_ARG);
    qn_buf_deinit(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flags_stand_anywhere),
        cmocka_unit_test(equals_sign_gives_the_value),
        cmocka_unit_test(two_dashes_end_flags),
        cmocka_unit_test(repeated_flags_keep_their_order),
        cmocka_unit_test(wrong_words_are_named),
        cmocka_unit_test(numbers_are_checked),
        cmocka_unit_test(environment_stands_below_flags),
        cmocka_unit_test(every_verb_documents_itself),
        cmocka_unit_test(completion_knows_three_shells),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
