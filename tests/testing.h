/*
 * What every test file includes first: cmocka with the headers it needs, in the order it needs
 * them, and the few assertions cmocka lacks.
 */
#ifndef QN_TESTING_H
#define QN_TESTING_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "quern/error.h"

/* 1 under AddressSanitizer, which keeps freed memory on purpose (gcc and clang say so differently). */
#if defined(__has_feature)
#define QN_TEST_ASAN __has_feature(address_sanitizer)
#elif defined(__SANITIZE_ADDRESS__)
#define QN_TEST_ASAN 1
#else
#define QN_TEST_ASAN 0
#endif

/* The call succeeds; otherwise the test fails with the error's own words. */
#define assert_ok(call, err)                                                                       \
    do {                                                                                           \
        if ((call) != QN_OK)                                                                       \
            fail_msg("%s: %s %s", #call, (err)->where, (err)->text);                               \
    } while (0)

/* The error's text contains `part`. */
#define assert_text(err, part)                                                                     \
    do {                                                                                           \
        if (!strstr((err)->text, (part)))                                                          \
            fail_msg("expected \"%s\" in \"%s\"", (part), (err)->text);                            \
    } while (0)

/* Doubles within `tolerance` (cmocka's own comparison is in float). */
#define assert_near(value, expected, tolerance)                                                    \
    do {                                                                                           \
        double near_value_ = (value), near_expected_ = (expected);                                 \
        if (!(near_value_ >= near_expected_ - (tolerance) &&                                       \
              near_value_ <= near_expected_ + (tolerance)))                                        \
            fail_msg("%s is %.17g, expected %.17g", #value, near_value_, near_expected_);          \
    } while (0)

#endif
