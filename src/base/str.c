/*
 * String views: comparison, trimming, UTF-8, and quantities with units. Numbers are in number.c.
 */
#include "base/str.h"

#include <math.h>

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

bool qn_str_starts(qn_str text, const char *prefix)
{
    size_t size = strlen(prefix);
    return text.size >= size && memcmp(text.data, prefix, size) == 0;
}

bool qn_str_ends(qn_str text, const char *suffix)
{
    size_t size = strlen(suffix);
    return text.size >= size && memcmp(text.data + text.size - size, suffix, size) == 0;
}

bool qn_str_equal_nocase(qn_str a, qn_str b)
{
    if (a.size != b.size)
        return false;
    for (size_t i = 0; i < a.size; i++)
        if (lower(a.data[i]) != lower(b.data[i]))
            return false;
    return true;
}

qn_str qn_str_trim(qn_str text)
{
    while (text.size > 0 && is_space(text.data[0])) {
        text.data++;
        text.size--;
    }
    while (text.size > 0 && is_space(text.data[text.size - 1]))
        text.size--;
    return text;
}

/* Length of the sequence at `p`, 0 when it is not one. The second byte's range excludes overlong
 * forms, surrogates and what is beyond U+10FFFF (Unicode 15, table 3-7). */
static size_t utf8_sequence(const unsigned char *p, size_t left)
{
    unsigned char low = 0x80;
    unsigned char high = 0xBF;
    size_t size;
    if (p[0] >= 0xC2 && p[0] <= 0xDF) {
        size = 2;
    } else if ((p[0] & 0xF0) == 0xE0) {
        size = 3;
        low = p[0] == 0xE0 ? 0xA0 : 0x80;
        high = p[0] == 0xED ? 0x9F : 0xBF;
    } else if (p[0] >= 0xF0 && p[0] <= 0xF4) {
        size = 4;
        low = p[0] == 0xF0 ? 0x90 : 0x80;
        high = p[0] == 0xF4 ? 0x8F : 0xBF;
    } else {
        return 0;
    }
    if (left < size || p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < size; i++)
        if ((p[i] & 0xC0) != 0x80)
            return 0;
    return size;
}

bool qn_utf8_check(const char *data, size_t size, size_t *ret_bad_at)
{
    const unsigned char *p = (const unsigned char *)data;
    size_t at = 0;
    while (at < size) {
        uint64_t word;
        if (size - at >= sizeof word) {
            memcpy(&word, p + at, sizeof word);
            if ((word & UINT64_C(0x8080808080808080)) == 0) {
                at += sizeof word;
                continue;
            }
        }
        size_t step = p[at] < 0x80 ? 1 : utf8_sequence(p + at, size - at);
        if (step == 0) {
            if (ret_bad_at)
                *ret_bad_at = at;
            return false;
        }
        at += step;
    }
    return true;
}

void qn_text_hide_controls(char *text)
{
    for (unsigned char *at = (unsigned char *)text; *at; at++) {
        bool wide = at[0] == 0xC2 && at[1] >= 0x80 && at[1] < 0xA0; /* C1 in UTF-8 */
        if (wide)
            *at++ = '?';
        if (wide || *at < 0x20 || *at == 0x7F)
            *at = '?';
    }
}

typedef struct {
    const char *name;
    double factor;
} unit_row;

/* A number and one of the units; without a unit, factor 1. */
static bool quantity(qn_str text, const unit_row *units, int units_count, double *ret)
{
    size_t number = text.size;
    while (number > 0 && !(text.data[number - 1] >= '0' && text.data[number - 1] <= '9') &&
           text.data[number - 1] != '.')
        number--;
    double value;
    qn_str unit = qn_str_trim((qn_str){text.data + number, text.size - number});
    if (!qn_str_to_f64((qn_str){text.data, number}, false, &value) || value < 0)
        return false;
    if (unit.size == 0) {
        *ret = value;
        return true;
    }
    for (int i = 0; i < units_count; i++) {
        if (qn_str_equal_nocase(unit, qn_str_from(units[i].name))) {
            *ret = value * units[i].factor;
            return true;
        }
    }
    return false;
}

bool qn_str_to_bytes(qn_str text, int64_t *ret)
{
    /* A bare letter means the power of two, as in `ulimit`, `docker -m` and `dd`. */
    static const unit_row units[] = {
        {"B", 1},        {"KB", 1e3},     {"MB", 1e6},     {"GB", 1e9},   {"TB", 1e12},
        {"K", 0x1p10},   {"M", 0x1p20},   {"G", 0x1p30},   {"T", 0x1p40}, {"KiB", 0x1p10},
        {"MiB", 0x1p20}, {"GiB", 0x1p30}, {"TiB", 0x1p40},
    };
    double bytes;
    if (!quantity(text, units, (int)(sizeof units / sizeof units[0]), &bytes) || bytes >= 0x1p63)
        return false;
    *ret = (int64_t)bytes;
    return true;
}

bool qn_str_to_seconds(qn_str text, double *ret)
{
    static const unit_row units[] = {
        {"ms", 1e-3}, {"s", 1}, {"m", 60}, {"min", 60}, {"h", 3600}, {"d", 86400},
    };
    return quantity(text, units, (int)(sizeof units / sizeof units[0]), ret);
}
