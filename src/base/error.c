/*
 * The status table and the setting of errors. Formatting cuts long texts instead of failing: an
 * error about an error helps nobody.
 */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

typedef struct {
    const char *name;
    int exit_code;
    int http;
    int grpc;
    const char *text;
} status_row;

static const status_row status_rows[] = {
#define X(code, exit_code, http, grpc, text) {#code, exit_code, http, grpc, text},
    QN_STATUS_MAP(X)
#undef X
};

/* A status from a corrupt source reads as a fault of ours instead of a wild pointer. */
static const status_row *row_of(qn_status status)
{
    return &status_rows[(unsigned)status < QN_STATUS_COUNT ? status : QN_ERR_INTERNAL];
}

const char *qn_status_name(qn_status status)
{
    return row_of(status)->name;
}

const char *qn_status_text(qn_status status)
{
    return row_of(status)->text;
}

int qn_status_exit(qn_status status)
{
    return row_of(status)->exit_code;
}

int qn_status_http(qn_status status)
{
    return row_of(status)->http;
}

int qn_status_grpc(qn_status status)
{
    return row_of(status)->grpc;
}

/* Cutting may have split a UTF-8 sequence: the torn tail is dropped. */
static void make_printable(char *text, size_t capacity)
{
    size_t size = strlen(text);
    qn_text_hide_controls(text);
    if (size + 1 < capacity)
        return;
    size_t start = size;
    while (start > 0 && ((unsigned char)text[start - 1] & 0xC0) == 0x80)
        start--;
    if (start > 0 && ((unsigned char)text[start - 1] & 0xC0) == 0xC0)
        text[start - 1] = '\0';
}

static void set_text(qn_error *err, qn_status code, int os_errno, const char *where)
{
    err->code = code;
    err->os_errno = os_errno;
    err->hint[0] = '\0';
    snprintf(err->where, sizeof err->where, "%s", where ? where : "");
    make_printable(err->where, sizeof err->where);
}

qn_status qn_error_set(qn_error *err, qn_status code, const char *where, const char *format, ...)
{
    if (!err)
        return code;
    char text[sizeof err->text]; /* the arguments may point into *err */
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    set_text(err, code, 0, where);
    memcpy(err->text, text, sizeof text);
    make_printable(err->text, sizeof err->text);
    return code;
}

qn_status qn_error_set_os(qn_error *err, qn_status code, int os_errno, const char *where,
                          const char *format, ...)
{
    if (!err)
        return code;
    char text[sizeof err->text / 2];
    char words[128];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    set_text(err, code, os_errno, where);
    snprintf(err->text, sizeof err->text, "%s: %s", text,
             strerror_r(os_errno, words, sizeof words));
    make_printable(err->text, sizeof err->text);
    return code;
}

qn_status qn_error_hint(qn_error *err, qn_status code, const char *format, ...)
{
    if (!err)
        return code;
    va_list list;
    va_start(list, format);
    vsnprintf(err->hint, sizeof err->hint, format, list);
    va_end(list);
    make_printable(err->hint, sizeof err->hint);
    return err->code;
}

qn_status qn_error_at(qn_error *err, qn_status code, const char *format, ...)
{
    if (!err)
        return code;
    char prefix[sizeof err->where];
    char old[sizeof err->where];
    va_list list;
    va_start(list, format);
    vsnprintf(prefix, sizeof prefix, format, list);
    va_end(list);
    memcpy(old, err->where, sizeof old);
    int used = snprintf(err->where, sizeof err->where, "%s", prefix);
    if (old[0] && used >= 0 && (size_t)used + 2 < sizeof err->where)
        snprintf(err->where + used, sizeof err->where - (size_t)used, ":%s", old);
    make_printable(err->where, sizeof err->where);
    return err->code;
}

enum { NEAREST_LENGTH_MAX = 63, NEAREST_DISTANCE_MAX = 2 };

static int smallest(int a, int b, int c)
{
    int least = a < b ? a : b;
    return least < c ? least : c;
}

/* Damerau-Levenshtein (adjacent swaps count once) with three rows; words longer than 63 bytes never
 * match. */
static int edit_distance(const char *a, const char *b)
{
    int rows[3][NEAREST_LENGTH_MAX + 1];
    size_t a_size = strlen(a);
    size_t b_size = strlen(b);
    if (a_size > NEAREST_LENGTH_MAX || b_size > NEAREST_LENGTH_MAX)
        return NEAREST_DISTANCE_MAX + 1;
    for (size_t j = 0; j <= b_size; j++)
        rows[0][j] = (int)j;
    for (size_t i = 1; i <= a_size; i++) {
        int *now = rows[i % 3];
        const int *last = rows[(i - 1) % 3];
        now[0] = (int)i;
        for (size_t j = 1; j <= b_size; j++) {
            int cost = a[i - 1] != b[j - 1];
            now[j] = smallest(last[j] + 1, now[j - 1] + 1, last[j - 1] + cost);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                now[j] = smallest(now[j], rows[(i - 2) % 3][j - 2] + 1, now[j]);
        }
    }
    return rows[a_size % 3][b_size];
}

const char *qn_error_nearest(const char *word, const char *const *names, int names_count)
{
    const char *best = NULL;
    int best_distance = NEAREST_DISTANCE_MAX + 1;
    for (int i = 0; i < names_count; i++) {
        int distance = edit_distance(word, names[i]);
        /* Two edits turn any two-letter word into any other: the word must keep more than it loses.
         */
        if (distance < best_distance && (size_t)distance * 2 <= strlen(names[i])) {
            best = names[i];
            best_distance = distance;
        }
    }
    return best;
}

_Noreturn void qn_assert_fail(const char *file, int line, const char *expression)
{
    fprintf(stderr, "quern: fault: %s does not hold (%s:%d)\n", expression, file, line);
    abort();
}
