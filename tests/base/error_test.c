/* Errors: the table, cutting, hints, places and the nearest name. */
#include "testing.h"

#include <errno.h>
#include <stdio.h>

#include "base/error.h"
#include "base/log.h"

static void status_names_match_the_table(void **state)
{
    (void)state;
    assert_string_equal(qn_status_name(QN_ERR_DATA), "ERR_DATA");
    assert_int_equal(qn_status_exit(QN_OK), 0);
    assert_int_equal(qn_status_exit(QN_ERR_ARG), 2);
    assert_int_equal(qn_status_http(QN_ERR_NOT_FOUND), 404);
    assert_int_equal(qn_status_grpc(QN_ERR_TIMEOUT), 4);
    assert_string_equal(qn_status_text(QN_OK), "ok");
    assert_string_equal(qn_status_name((qn_status)1000), "ERR_INTERNAL");
}

static qn_status fails(int value, qn_error *err)
{
    QN_FAIL(err, QN_ERR_ARG, "%d is odd", value);
}

static qn_status passes_on(qn_error *err)
{
    QN_TRY(fails(3, err));
    return QN_OK;
}

static void error_is_set_once_and_passed_up(void **state)
{
    (void)state;
    qn_error err = {0};
    assert_int_equal(passes_on(&err), QN_ERR_ARG);
    assert_string_equal(err.text, "3 is odd");
    assert_string_equal(err.where, "");
    assert_int_equal(passes_on(NULL), QN_ERR_ARG);
}

static void error_text_may_quote_itself(void **state)
{
    (void)state;
    qn_error err = {0};
    qn_error_set(&err, QN_ERR_DATA, NULL, "first");
    qn_error_set(&err, QN_ERR_IO, NULL, "then: %s", err.text);
    assert_string_equal(err.text, "then: first");
}

static void error_cuts_long_texts_between_characters(void **state)
{
    (void)state;
    qn_error err = {0};
    char text[1024];
    for (size_t i = 0; i + 2 < sizeof text; i += 2)
        memcpy(text + i, "\xC3\xA9", 3);
    qn_error_set(&err, QN_ERR_DATA, text, "x%s", text);
    size_t size = strlen(err.text);
    assert_true(size >= sizeof err.text - 3);
    assert_int_equal((unsigned char)err.text[size - 1], 0xA9);
    size = strlen(err.where);
    assert_int_equal((unsigned char)err.where[size - 1], 0xA9);
}

static void error_texts_drive_no_terminal(void **state)
{
    (void)state;
    qn_error err = {0};
    qn_error_set(&err, QN_ERR_DATA, "a\nb", "label '%s'", "\x1b[31mred\r\x7F");
    assert_string_equal(err.text, "label '?[31mred?"
                                  "?'");
    assert_string_equal(err.where, "a?b");
}

static void error_adds_hint_place_and_system_words(void **state)
{
    (void)state;
    qn_error err = {0};
    assert_int_equal(qn_error_set_os(&err, QN_ERR_IO, ENOSPC, "3:1", "cannot write %s", "x"),
                     QN_ERR_IO);
    assert_int_equal(err.os_errno, ENOSPC);
    assert_text(&err, "cannot write x: No space left");
    assert_int_equal(qn_error_hint(&err, QN_ERR_IO, "free %d MB", 3), QN_ERR_IO);
    assert_string_equal(err.hint, "free 3 MB");
    assert_int_equal(qn_error_at(&err, QN_ERR_IO, "file.csv"), QN_ERR_IO);
    assert_string_equal(err.where, "file.csv:3:1");
    assert_int_equal(qn_error_at(NULL, QN_ERR_IO, "file.csv"), QN_ERR_IO);
}

static void nearest_finds_small_slips_only(void **state)
{
    (void)state;
    static const char *const names[] = {"age", "city", "epochs", "learning_rate"};
    assert_string_equal(qn_error_nearest("agee", names, 4), "age");
    assert_string_equal(qn_error_nearest("epcohs", names, 4), "epochs");
    assert_string_equal(qn_error_nearest("citty", names, 4), "city");
    assert_null(qn_error_nearest("zzz", names, 4));
    assert_null(qn_error_nearest("", names, 4));
    assert_null(qn_error_nearest("age", names, 0));
}

static void keep_line(void *context, qn_log_level level, const char *line)
{
    snprintf(context, 64, "%d %s", (int)level, line);
}

static void log_sink_receives_lines_from_its_level(void **state)
{
    (void)state;
    char last[64] = "";
    qn_log_set(keep_line, last, QN_LOG_WARN);
    qn_log(QN_LOG_INFO, "quiet");
    assert_string_equal(last, "");
    qn_log(QN_LOG_ERROR, "loud %d", 7);
    assert_string_equal(last, "3 loud 7");
    qn_log_set(NULL, NULL, QN_LOG_INFO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(status_names_match_the_table),
        cmocka_unit_test(error_is_set_once_and_passed_up),
        cmocka_unit_test(error_text_may_quote_itself),
        cmocka_unit_test(error_cuts_long_texts_between_characters),
        cmocka_unit_test(error_texts_drive_no_terminal),
        cmocka_unit_test(error_adds_hint_place_and_system_words),
        cmocka_unit_test(nearest_finds_small_slips_only),
        cmocka_unit_test(log_sink_receives_lines_from_its_level),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
