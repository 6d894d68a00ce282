/* String views, UTF-8 and quantities with units. */
#include "testing.h"

#include "base/str.h"

static void str_compares_and_trims(void **state)
{
    (void)state;
    assert_true(qn_str_is(QN_STR("abc"), "abc"));
    assert_false(qn_str_is(QN_STR("abc"), "abcd"));
    assert_true(qn_str_equal((qn_str){NULL, 0}, QN_STR("")));
    assert_true(qn_str_starts(QN_STR("abc"), "ab"));
    assert_false(qn_str_starts(QN_STR("a"), "ab"));
    assert_true(qn_str_ends(QN_STR("x.csv"), ".csv"));
    assert_true(qn_str_equal_nocase(QN_STR("NaN"), QN_STR("nan")));
    assert_false(qn_str_equal_nocase(QN_STR("NaN"), QN_STR("nab")));
    assert_true(qn_str_is(qn_str_trim(QN_STR(" \t x y \r\n")), "x y"));
    assert_int_equal(qn_str_trim(QN_STR("   ")).size, 0);
}

static void utf8_accepts_what_unicode_allows(void **state)
{
    (void)state;
    static const char *const good[] = {"",
                                       "plain ascii text, long enough",
                                       "\xC2\x80",
                                       "\xDF\xBF",
                                       "\xE0\xA0\x80",
                                       "\xED\x9F\xBF",
                                       "\xEE\x80\x80",
                                       "\xF0\x90\x80\x80",
                                       "\xF4\x8F\xBF\xBF"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_true(qn_utf8_check(good[i], strlen(good[i]), NULL));
}

static void utf8_rejects_overlong_surrogate_and_cut_forms(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "\x80",         "\xC0\x80",         "\xC1\xBF",         "\xE0\x9F\xBF",
        "\xED\xA0\x80", "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80",
        "\xC3",         "\xE2\x82",         "\xF0\x9F\x98",     "\xFF"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char text[32] = "12345678";
        size_t bad_at = 99;
        memcpy(text + 8, bad[i], strlen(bad[i]) + 1);
        assert_false(qn_utf8_check(text, strlen(text), &bad_at));
        assert_int_equal(bad_at, 8);
    }
}

static void bytes_and_seconds_read_units(void **state)
{
    (void)state;
    int64_t bytes;
    double seconds;
    assert_true(qn_str_to_bytes(QN_STR("2GiB"), &bytes));
    assert_int_equal(bytes, INT64_C(2) << 30);
    assert_true(qn_str_to_bytes(QN_STR("1.5 MB"), &bytes));
    assert_int_equal(bytes, 1500000);
    assert_true(qn_str_to_bytes(QN_STR("512"), &bytes));
    assert_int_equal(bytes, 512);
    assert_false(qn_str_to_bytes(QN_STR("2 apples"), &bytes));
    assert_false(qn_str_to_bytes(QN_STR("-1"), &bytes));
    assert_false(qn_str_to_bytes(QN_STR("99999999999TiB"), &bytes));
    assert_false(qn_str_to_bytes(QN_STR(""), &bytes));
    assert_false(qn_str_to_bytes(QN_STR("GiB"), &bytes));
    assert_true(qn_str_to_seconds(QN_STR("10m"), &seconds));
    assert_true(seconds == 600);
    assert_true(qn_str_to_seconds(QN_STR("250ms"), &seconds));
    assert_true(seconds == 0.25);
    assert_true(qn_str_to_seconds(QN_STR("1.5"), &seconds));
    assert_true(seconds == 1.5);
    assert_false(qn_str_to_seconds(QN_STR("soon"), &seconds));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(str_compares_and_trims),
        cmocka_unit_test(utf8_accepts_what_unicode_allows),
        cmocka_unit_test(utf8_rejects_overlong_surrogate_and_cut_forms),
        cmocka_unit_test(bytes_and_seconds_read_units),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
