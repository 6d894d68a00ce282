/* Numbers as text: reading against strtod, writing shortest, closest and exact. */
#include "testing.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/rng.h"
#include "base/str.h"

enum { ROUNDS = 200000 };

static const qn_rng rng = {.seed = 7};

static uint64_t random_bits(uint64_t i)
{
    return (uint64_t)qn_rng_u32(rng, 2 * i) << 32 | qn_rng_u32(rng, 2 * i + 1);
}

static const char *text_of(double value)
{
    static char text[33];
    text[qn_f64_to_text(value, text)] = '\0';
    return text;
}

static const char *text_of_float(float value)
{
    static char text[33];
    text[qn_f32_to_text(value, text)] = '\0';
    return text;
}

static void f64_reads_as_strtod_does(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < ROUNDS; i++) {
        char text[64];
        int size = 0;
        int digits = 1 + (int)(random_bits(2 * i) % 24);
        for (int d = 0; d < digits; d++)
            text[size++] = (char)('0' + random_bits(i * 31 + (uint64_t)d) % 10);
        size += snprintf(text + size, 16, "e%d", (int)(random_bits(2 * i + 1) % 700) - 360);
        double expected = strtod(text, NULL);
        double got = -1;
        bool read = qn_str_to_f64((qn_str){text, (size_t)size}, false, &got);
        if (read != (bool)isfinite(expected) || (read && got != expected))
            fail_msg("%s: %a, expected %a", text, got, expected);
    }
}

/* Half way between two doubles, and just above it by a digit far to the right. */
static void f64_reads_ties_to_even(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < ROUNDS / 10; i++) {
        uint64_t odd = 2 * (random_bits(i) >> 11 | UINT64_C(1) << 52) + 1;
        char text[160];
        double got = -1;
        int size = snprintf(text, sizeof text, "%llu", (unsigned long long)odd);
        assert_true(qn_str_to_f64((qn_str){text, (size_t)size}, false, &got));
        assert_true(got == strtod(text, NULL));
        size += snprintf(text + size, 100, ".%0*d1", 1 + (int)(i % 60), 0);
        assert_true(qn_str_to_f64((qn_str){text, (size_t)size}, false, &got));
        assert_true(got == strtod(text, NULL));
    }
}

/* A tie whose decision stands behind more digits than are copied for strtod. */
static void f64_reads_very_long_texts(void **state)
{
    (void)state;
    char text[1400];
    double got = 0;
    int size = snprintf(text, sizeof text, "9007199254740993.%01200d", 0);
    assert_true(qn_str_to_f64((qn_str){text, (size_t)size}, false, &got));
    assert_true(got == 9007199254740992.0);
    text[size - 1] = '1';
    assert_true(qn_str_to_f64((qn_str){text, (size_t)size}, false, &got));
    assert_true(got == 9007199254740994.0);
    memset(text, '9', 1200);
    assert_false(qn_str_to_f64((qn_str){text, 1200}, false, &got));
}

static void f64_reads_the_edges(void **state)
{
    (void)state;
    double got = 1;
    assert_true(qn_str_to_f64(QN_STR("4.9e-324"), false, &got));
    assert_true(got == 4.9e-324);
    assert_true(qn_str_to_f64(QN_STR("2.4703282292062327e-324"), false, &got));
    assert_true(got == 0);
    assert_true(qn_str_to_f64(QN_STR("1.7976931348623157e308"), false, &got));
    assert_true(got == 1.7976931348623157e308);
    assert_false(qn_str_to_f64(QN_STR("1.7976931348623159e308"), false, &got));
    assert_true(qn_str_to_f64(QN_STR("-0"), false, &got));
    assert_true(got == 0 && signbit(got));
    assert_true(qn_str_to_f64(QN_STR("0e99999999999"), false, &got));
    assert_true(qn_str_to_f64(QN_STR("1e-99999999999"), false, &got));
    assert_true(got == 0);
}

static void f64_rejects_what_is_no_number(void **state)
{
    (void)state;
    static const char *const bad[] = {"",   "-",  ".",   "e5",  "1e",  "1e+", "1.2.3", "0x10",
                                      "1 ", " 1", "1,5", "--1", "1_0", "nan", "inf",   "infinite"};
    double got = 5;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(qn_str_to_f64(qn_str_from(bad[i]), false, &got));
    assert_true(got == 5);
    assert_true(qn_str_to_f64(QN_STR("NaN"), true, &got) && isnan(got));
    assert_true(qn_str_to_f64(QN_STR("-Infinity"), true, &got) && isinf(got) && got < 0);
    assert_true(qn_str_to_f64(QN_STR("+1.e0"), false, &got) && got == 1);
}

static void i64_reads_the_whole_range_and_no_more(void **state)
{
    (void)state;
    int64_t got = 5;
    assert_true(qn_str_to_i64(QN_STR("-9223372036854775808"), &got));
    assert_true(got == INT64_MIN);
    assert_true(qn_str_to_i64(QN_STR("9223372036854775807"), &got));
    assert_true(got == INT64_MAX);
    assert_false(qn_str_to_i64(QN_STR("9223372036854775808"), &got));
    assert_false(qn_str_to_i64(QN_STR("99999999999999999999"), &got));
    assert_false(qn_str_to_i64(QN_STR("1.0"), &got));
    assert_false(qn_str_to_i64(QN_STR("1e3"), &got));
    assert_false(qn_str_to_i64(QN_STR("12a"), &got));
    assert_true(qn_str_to_i64(QN_STR("007"), &got));
    assert_int_equal(got, 7);
}

/* Significant digits of a text without those that only hold places. */
static int significant(const char *text)
{
    int digits = 0;
    int zeros = 0;
    for (; *text && *text != 'e'; text++) {
        if (*text < '0' || *text > '9' || (digits == 0 && *text == '0'))
            continue;
        digits++;
        zeros = *text == '0' ? zeros + 1 : 0;
    }
    return digits - zeros;
}

static void f64_writes_exact_and_shortest(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < ROUNDS; i++) {
        uint64_t bits = random_bits(i);
        double value;
        memcpy(&value, &bits, sizeof value);
        if (i % 3 == 0)
            value = (double)(int64_t)(bits >> 20) / 1000;
        if (!isfinite(value))
            continue;
        const char *text = text_of(value);
        double back = strtod(text, NULL);
        assert_memory_equal(&back, &value, sizeof value);
        if (i % 20 || (value == floor(value) && fabs(value) < 0x1p53))
            continue;
        char shorter[64];
        int precision = 1;
        do
            snprintf(shorter, sizeof shorter, "%.*e", precision++ - 1, value);
        while (strtod(shorter, NULL) != value);
        if (significant(text) > significant(shorter))
            fail_msg("%s is longer than %s", text, shorter);
    }
}

static void f32_writes_exact_and_shortest(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < ROUNDS; i++) {
        uint32_t bits = qn_rng_u32(rng, i);
        float value;
        memcpy(&value, &bits, sizeof value);
        if (!isfinite(value))
            continue;
        const char *text = text_of_float(value);
        float back = strtof(text, NULL);
        assert_memory_equal(&back, &value, sizeof value);
        if (i % 20 || (value == floorf(value) && fabsf(value) < 0x1p24f))
            continue;
        char shorter[64];
        int precision = 1;
        do
            snprintf(shorter, sizeof shorter, "%.*e", precision++ - 1, (double)value);
        while (strtof(shorter, NULL) != value);
        if (significant(text) > significant(shorter))
            fail_msg("%s is longer than %s", text, shorter);
    }
}

static void numbers_are_written_for_people(void **state)
{
    (void)state;
    assert_string_equal(text_of(0), "0");
    assert_string_equal(text_of(-0.0), "-0.0");
    assert_string_equal(text_of(1), "1");
    assert_string_equal(text_of(-1.5), "-1.5");
    assert_string_equal(text_of(100), "100");
    assert_string_equal(text_of(0.1), "0.1");
    assert_string_equal(text_of(0.00001), "0.00001");
    assert_string_equal(text_of(1e-7), "1e-7");
    assert_string_equal(text_of(1.5e-10), "1.5e-10");
    assert_string_equal(text_of(1e16), "10000000000000000");
    assert_string_equal(text_of(1e22), "1e22");
    assert_string_equal(text_of(5e-324), "5e-324");
    assert_string_equal(text_of(1.7976931348623157e308), "1.7976931348623157e308");
    assert_string_equal(text_of((double)NAN), "NaN");
    assert_string_equal(text_of(-(double)INFINITY), "-Infinity");
    assert_string_equal(text_of_float(0.1f), "0.1");
    assert_string_equal(text_of_float(16777216.0f), "16777216");
    assert_string_equal(text_of_float(3.4028235e38f), "3.4028235e38");
    assert_string_equal(text_of_float(1e-45f), "1e-45");
}

static void brief_numbers_have_five_digits(void **state)
{
    (void)state;
    static const struct {
        double value;
        const char *text;
    } rows[] = {{0, "0"},
                {145060, "145060"},
                {52874.53, "52875"},
                {1234.56, "1234.6"},
                {0.5, "0.5"},
                {-2.5, "-2.5"},
                {100, "100"},
                {0.1 + 0.2, "0.3"},
                {0.98551, "0.9855"},
                {2795716928, "2.796e+09"},
                {0.00001, "1e-05"},
                {9999999, "9999999"},
                {12.3, "12.3"},
                {INFINITY, "inf"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[32];
        assert_string_equal(qn_f64_to_brief(rows[i].value, text), rows[i].text);
    }
    char text[32];
    assert_string_equal(qn_f64_to_brief(NAN, text), "nan");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(f64_reads_as_strtod_does),
        cmocka_unit_test(f64_reads_ties_to_even),
        cmocka_unit_test(f64_reads_very_long_texts),
        cmocka_unit_test(f64_reads_the_edges),
        cmocka_unit_test(f64_rejects_what_is_no_number),
        cmocka_unit_test(i64_reads_the_whole_range_and_no_more),
        cmocka_unit_test(f64_writes_exact_and_shortest),
        cmocka_unit_test(f32_writes_exact_and_shortest),
        cmocka_unit_test(numbers_are_written_for_people),
        cmocka_unit_test(brief_numbers_have_five_digits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
