/*
 * The CSV scanner: cuts one cell after another out of the bytes, undoes nothing and copies nothing. Its two loops (over
 * a plain cell, over a number's digits) are where reading time goes; everything else runs once a row.
 */
#include <stdarg.h>
#include <stdio.h>

#include "format/csv_priv.h"

qn_status qn_csv_scan_fail(const qn_csv_scan *scan, qn_error *err, const char *format, ...)
{
    char text[400], where[160];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    snprintf(where, sizeof where, "%.100s, row %lld, column %lld", scan->file,
             (long long)scan->record, (long long)scan->column + 1);
    return qn_error_set(err, QN_ERR_DATA, where, "%s", text);
}

static bool is_line_end(const qn_csv_scan *scan, const char *at)
{
    return *at == scan->line_end || (*at == '\r' && at + 1 < scan->end && at[1] == scan->line_end);
}

static bool is_terminator(const qn_csv_scan *scan, const char *at)
{
    return at == scan->end || *at == scan->delimiter || is_line_end(scan, at);
}

static bool is_blank(const qn_csv_scan *scan, char byte)
{
    return byte == ' ' || (byte == '\t' && scan->delimiter != '\t');
}

/* Steps over "\n", "\r\n" or a file's lone "\r". */
static void skip_line_end(qn_csv_scan *scan)
{
    scan->at += *scan->at == scan->line_end ? 1 : 2;
    scan->record++;
    scan->column = 0;
}

bool qn_csv_scan_row(qn_csv_scan *scan)
{
    for (;;) {
        const char *at = scan->at;
        while (at < scan->end && is_blank(scan, *at))
            at++;
        if (at == scan->end) {
            scan->at = at;
            return false;
        }
        if (!is_line_end(scan, at))
            return true;
        scan->at = at;
        skip_line_end(scan);
    }
}

bool qn_csv_scan_next(qn_csv_scan *scan)
{
    if (scan->at == scan->end)
        return false;
    if (*scan->at == scan->delimiter) {
        scan->at++;
        scan->column++;
        return true;
    }
    skip_line_end(scan);
    return false;
}

/* From behind the opening quote to behind the closing one. */
static qn_status scan_quoted(qn_csv_scan *scan, const char *begin, qn_csv_cell *ret, qn_error *err)
{
    const char *at = begin;
    bool doubled = false;
    for (;;) {
        at = memchr(at, '"', (size_t)(scan->end - at));
        if (!at)
            return qn_csv_scan_fail(scan, err, "a quote opens here and never closes");
        if (at + 1 == scan->end || at[1] != '"')
            break;
        doubled = true;
        at += 2;
    }
    const char *after = at + 1;
    while (after < scan->end && is_blank(scan, *after))
        after++;
    if (!is_terminator(scan, after))
        return qn_csv_scan_fail(
            scan, err, "expected '%c' or the end of the line after the closing quote, got '%c'",
            scan->delimiter, *after);
    *ret = (qn_csv_cell){{begin, (size_t)(at - begin)}, true, doubled};
    scan->at = after;
    return QN_OK;
}

qn_status qn_csv_scan_cell(qn_csv_scan *scan, qn_csv_cell *ret, qn_error *err)
{
    const char *at = scan->at, *end = scan->end;
    const char delimiter = scan->delimiter, line_end = scan->line_end;
    while (at < end && is_blank(scan, *at))
        at++;
    const char *begin = at;
    if (scan->quotes && at < end && *at == '"')
        return scan_quoted(scan, at + 1, ret, err);
    while (at < end && *at != delimiter && *at != line_end)
        at++;
    scan->at = at;
    if (at < end && at > begin && *at == line_end && at[-1] == '\r')
        scan->at = --at;
    while (at > begin && is_blank(scan, at[-1]))
        at--;
    *ret = (qn_csv_cell){{begin, (size_t)(at - begin)}, false, false};
    return QN_OK;
}

/* Powers of ten that doubles hold exactly: a mantissa below 2^53 divided by one rounds once, so the result is the
 * correctly rounded one (Clinger, PLDI 1990). */
static const double power_of_ten[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                      1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                      1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

bool qn_csv_scan_number(qn_csv_scan *scan, double *ret)
{
    const char *at = scan->at, *end = scan->end;
    while (at < end && *at == ' ')
        at++;
    bool negative = at < end && *at == '-';
    at += negative;
    const char *begin = at;
    uint64_t mantissa = 0;
    while (at < end && (unsigned char)(*at - '0') <= 9)
        mantissa = mantissa * 10 + (uint64_t)(*at++ - '0');
    ptrdiff_t digits = at - begin, fraction = 0;
    if (digits == 0 || (*begin == '0' && digits > 1))
        return false;
    if (at < end && *at == '.') {
        const char *point = ++at;
        while (at < end && (unsigned char)(*at - '0') <= 9)
            mantissa = mantissa * 10 + (uint64_t)(*at++ - '0');
        fraction = at - point;
    }
    if (digits + fraction > 18 || mantissa > (UINT64_C(1) << 53) || !is_terminator(scan, at))
        return false;
    double value = (double)mantissa;
    if (fraction > 0)
        value /= power_of_ten[fraction];
    *ret = negative ? -value : value;
    scan->at = at;
    return true;
}

bool qn_csv_number(qn_str text, double *ret)
{
    if (text.size == 0)
        return false;
    qn_str digits = text;
    if (*digits.data == '-' || *digits.data == '+') {
        digits.data++;
        digits.size--;
    }
    bool plain = digits.size > 0;
    for (size_t i = 0; i < digits.size && plain; i++)
        plain = (unsigned char)(digits.data[i] - '0') <= 9;
    if (plain && ((digits.size > 1 && digits.data[0] == '0') || digits.size > 15))
        return false;
    if (*text.data == '+')
        text = digits;
    return qn_str_to_f64(text, true, ret);
}

qn_str qn_csv_unquote(qn_str text, qn_arena *arena)
{
    char *dst = qn_arena_alloc(arena, text.size + 1);
    if (!dst)
        return (qn_str){NULL, 0};
    size_t size = 0;
    for (size_t i = 0; i < text.size; i++) {
        dst[size++] = text.data[i];
        if (text.data[i] == '"') /* the scanner saw that its twin follows */
            i++;
    }
    return (qn_str){dst, size};
}
