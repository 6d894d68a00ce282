/*
 * What the tests of the engine use of cmocka, for builds for another processor, where no package has cmocka for it.
 * A failed assertion leaves its test by longjmp; results are printed as TAP lines, as cmocka prints them.
 */
#ifndef QN_CROSS_CMOCKA_H
#define QN_CROSS_CMOCKA_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

struct CMUnitTest {
    const char *name;
    void (*run)(void **state);
    int (*setup)(void **state);
    int (*teardown)(void **state);
};

typedef struct {
    jmp_buf back;
    char text[1000];
} cross_failure;

static cross_failure cross_failed;

#define cmocka_unit_test(f)             cmocka_unit_test_setup_teardown(f, NULL, NULL)
#define cmocka_unit_test_setup(f, s)    cmocka_unit_test_setup_teardown(f, s, NULL)
#define cmocka_unit_test_teardown(f, t) cmocka_unit_test_setup_teardown(f, NULL, t)
#define cmocka_unit_test_setup_teardown(f, s, t)                                                   \
    {                                                                                              \
        .name = #f, .run = (f), .setup = (s), .teardown = (t)                                      \
    }

__attribute__((noreturn, format(printf, 3, 4))) static inline void
cross_fail(const char *file, int line, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    int at = snprintf(cross_failed.text, sizeof cross_failed.text, "%s:%d: ", file, line);
    vsnprintf(cross_failed.text + at, sizeof cross_failed.text - (size_t)at, format, list);
    va_end(list);
    longjmp(cross_failed.back, 1);
}

#define fail_msg(...) cross_fail(__FILE__, __LINE__, __VA_ARGS__)
#define fail()        fail_msg("failed")
#define assert_true(x)                                                                             \
    do {                                                                                           \
        if (!(x))                                                                                  \
            fail_msg("%s", #x);                                                                    \
    } while (0)
#define assert_false(x)    assert_true(!(x))
#define assert_null(x)     assert_true((x) == NULL)
#define assert_non_null(x) assert_true((x) != NULL)
#define assert_int_equal(a, b)                                                                     \
    do {                                                                                           \
        long long int_a_ = (long long)(a), int_b_ = (long long)(b);                                \
        if (int_a_ != int_b_)                                                                      \
            fail_msg("%s is %lld, not %lld", #a, int_a_, int_b_);                                  \
    } while (0)
#define assert_int_not_equal(a, b) assert_true((long long)(a) != (long long)(b))
#define assert_in_range(x, low, high)                                                              \
    assert_true((long long)(x) >= (long long)(low) && (long long)(x) <= (long long)(high))
#define assert_ptr_equal(a, b) assert_true((const void *)(a) == (const void *)(b))
#define assert_string_equal(a, b)                                                                  \
    do {                                                                                           \
        const char *text_a_ = (a), *text_b_ = (b);                                                 \
        if (strcmp(text_a_, text_b_) != 0)                                                         \
            fail_msg("%s is \"%s\", not \"%s\"", #a, text_a_, text_b_);                            \
    } while (0)
#define assert_memory_equal(a, b, n)     assert_true(memcmp((a), (b), (n)) == 0)
#define assert_memory_not_equal(a, b, n) assert_true(memcmp((a), (b), (n)) != 0)
#define assert_float_equal(a, b, e)      assert_true(fabs((double)(a) - (double)(b)) <= (double)(e))

typedef int cross_fixture(void **state);

static inline int cross_run_one(const struct CMUnitTest *test, void *state)
{
    int failed = setjmp(cross_failed.back);
    if (!failed) {
        if (test->setup && test->setup(&state) != 0)
            fail_msg("setup failed");
        test->run(&state);
    }
    if (test->teardown && !failed && test->teardown(&state) != 0)
        failed = 1;
    return failed;
}

static inline int cross_run(const struct CMUnitTest *tests, int count, cross_fixture *setup,
                            cross_fixture *teardown)
{
    void *state = NULL;
    int bad = setup && setup(&state) != 0;
    printf("1..%d\n", count);
    for (int i = 0; i < count; i++) {
        int failed = cross_run_one(&tests[i], state);
        bad += failed;
        printf("%s %d - %s\n", failed ? "not ok" : "ok", i + 1, tests[i].name);
        if (failed)
            printf("# %s\n", cross_failed.text);
        fflush(stdout);
    }
    return teardown && teardown(&state) != 0 ? bad + 1 : bad;
}

#define cmocka_run_group_tests(tests, setup, teardown)                                             \
    cross_run((tests), (int)(sizeof(tests) / sizeof(tests)[0]), (setup), (teardown))

#endif
