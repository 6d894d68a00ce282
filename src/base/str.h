/*
 * String views: a pointer and a length, never owning, not terminated. UTF-8 unless said otherwise.
 */
#ifndef QN_BASE_STR_H
#define QN_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct {
    const char *data;
    size_t size;
} qn_str;

#define QN_STR(literal)  ((qn_str){(literal), sizeof(literal) - 1})
#define QN_STR_ARG(view) ((int)(view).size), (view).data /* for "%.*s" */

static inline qn_str qn_str_from(const char *text)
{
    return (qn_str){text, text ? strlen(text) : 0};
}
static inline bool qn_str_equal(qn_str a, qn_str b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}
static inline bool qn_str_is(qn_str a, const char *b)
{
    return qn_str_equal(a, qn_str_from(b));
}
bool qn_str_starts(qn_str text, const char *prefix);
bool qn_str_ends(qn_str text, const char *suffix);
bool qn_str_equal_nocase(qn_str a, qn_str b);                          /* ASCII case only */
qn_str qn_str_trim(qn_str text);                                       /* ASCII white space */
bool qn_utf8_check(const char *data, size_t size, size_t *ret_bad_at); /* strict, no surrogates */

/* Puts '?' for control characters, in place. Whatever quotes outside data and ends on a terminal or in a
 * log passes here: controls could forge lines or drive the terminal. */
void qn_text_hide_controls(char *text);

/* Numbers in C locale, whole view or nothing; false = not a number (or out of range). Decimal and
 * exponent forms; NaN/Infinity words only where `qn_str_to_f64` is told to. */
bool qn_str_to_i64(qn_str text, int64_t *ret);
bool qn_str_to_f64(qn_str text, bool allow_words, double *ret); /* correctly rounded, fast path */
/* "2GiB", "512MB", "1024" -> bytes; "30s", "10m", "2h", "1.5" -> seconds. */
bool qn_str_to_bytes(qn_str text, int64_t *ret);
bool qn_str_to_seconds(qn_str text, double *ret);

/* Shortest decimal that reads back exactly; returns length written (<= 32), no terminator counted.
 * f32 gives the shortest that reads back as the same float. Integral values have no ".0". */
int qn_f64_to_text(double value, char dst[32]);
/* For people: five digits, without an exponent where a reader would not want one: "145060", "0.5", "2.796e+09". */
const char *qn_f64_to_brief(double value, char dst[32]);
int qn_f32_to_text(float value, char dst[32]);

#endif
