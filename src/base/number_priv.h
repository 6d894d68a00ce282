/*
 * Decimal numbers as text: the scanner that str.c and json.c share, and the conversion to double.
 */
#ifndef QN_BASE_NUMBER_PRIV_H
#define QN_BASE_NUMBER_PRIV_H

#include <stdbool.h>
#include <stdint.h>

/* value = (negative ? -1 : 1) * mantissa * 10^exponent, mantissa holding the first 19 significant
 * digits. */
typedef struct {
    uint64_t mantissa;
    int64_t exponent;
    bool negative;
    bool integer;   /* written without fraction and exponent */
    bool truncated; /* a non-zero digit did not fit the mantissa */
} qn_decimal;

/* Reads one number at `at` as far as it goes; returns its end, or NULL when there is none. `json`
 * keeps to JSON's grammar; otherwise "+1", ".5", "5." and leading zeros are numbers too. */
const char *qn_decimal_scan(const char *at, const char *end, bool json, qn_decimal *ret);
/* Correctly rounded. `text` .. `end` is what was scanned. false = beyond the largest double. */
bool qn_decimal_to_f64(const qn_decimal *decimal, const char *text, const char *end, double *ret);
/* false = not an integer or it does not fit. */
bool qn_decimal_to_i64(const qn_decimal *decimal, int64_t *ret);

#endif
