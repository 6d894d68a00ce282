/*
 * Numbers between text and binary: correctly rounded reading, shortest exact writing.
 *
 * Reading w * 10^q: when w and 10^|q| are exact doubles, one multiplication or division rounds once
 * (Clinger, "How to read floating point numbers accurately", 1990). Otherwise the 64 bits of w
 * times the top 128 bits of 10^q decide the rounding (Lemire, "Number parsing at a gigabyte per
 * second", 2021; Mushtak and Lemire, "Fast number parsing without fallback", 2023). Only texts of
 * more than 19 digits whose tail matters go through strtod.
 *
 * Writing: Schubfach (Giulietti, "The Schubfach way to render doubles", 2020). Of the decimals
 * inside the rounding interval of the value it takes the shortest, and of those the closest, from
 * three products with the same table. Floats use it with their own, wider interval.
 */
#include "base/number_priv.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

__extension__ typedef unsigned __int128 wide;

typedef struct {
    uint64_t high;
    uint64_t low;
} pow10_bits;

enum { POW10_LEAST = -342, POW10_MOST = 324, POW10_EXACT_MOST = 55 };

static const pow10_bits pow10_table[] = {
#include "base/pow10.inc"
};

enum {
    MANTISSA_DIGITS = 19, /* any 19 digits fit 64 bits */
    EXPONENT_CLAMP = 100000,
    STRTOD_DIGITS = 800 /* no double has more than 767 significant digits at a tie */
};

static bool is_digit(char c)
{
    return (unsigned char)(c - '0') < 10;
}

/* Digits into the mantissa while they fit; `point` -1 counts them as fraction. */
static const char *scan_digits(const char *at, const char *end, int point, int *digits,
                               qn_decimal *ret)
{
    uint64_t mantissa = ret->mantissa;
    int count = *digits;
    int64_t exponent = ret->exponent;
    for (; at < end && is_digit(*at); at++) {
        if (count < MANTISSA_DIGITS) {
            mantissa = mantissa * 10 + (uint64_t)(*at - '0');
            count += mantissa != 0; /* leading zeros take no room */
            exponent += point;
        } else {
            ret->truncated |= *at != '0';
            exponent += point + 1;
        }
    }
    ret->mantissa = mantissa;
    ret->exponent = exponent;
    *digits = count;
    return at;
}

static const char *scan_exponent(const char *at, const char *end, qn_decimal *ret)
{
    const char *start = at++;
    bool negative = at < end && *at == '-';
    at += at < end && (*at == '-' || *at == '+');
    if (at == end || !is_digit(*at))
        return start;
    int64_t exponent = 0;
    for (; at < end && is_digit(*at); at++)
        if (exponent < EXPONENT_CLAMP)
            exponent = exponent * 10 + (*at - '0');
    ret->exponent += negative ? -exponent : exponent;
    ret->integer = false;
    return at;
}

const char *qn_decimal_scan(const char *at, const char *end, bool json, qn_decimal *ret)
{
    *ret = (qn_decimal){.integer = true};
    int digits = 0;
    ret->negative = at < end && *at == '-';
    at += at < end && (*at == '-' || (!json && *at == '+'));
    const char *first = at;
    at = scan_digits(at, end, 0, &digits, ret);
    bool whole = at > first;
    if (json && (!whole || (*first == '0' && at > first + 1)))
        return NULL;
    if (at < end && *at == '.') {
        const char *fraction = at + 1;
        const char *after = scan_digits(fraction, end, -1, &digits, ret);
        if (after == fraction && (json || !whole))
            return NULL;
        whole = true;
        ret->integer = false;
        at = after;
    }
    if (!whole)
        return NULL;
    if (at < end && (*at == 'e' || *at == 'E')) {
        const char *after = scan_exponent(at, end, ret);
        return after == at ? NULL : after;
    }
    return at;
}

bool qn_decimal_to_i64(const qn_decimal *decimal, int64_t *ret)
{
    uint64_t most = (uint64_t)INT64_MAX + decimal->negative;
    if (!decimal->integer || decimal->exponent != 0 || decimal->mantissa > most)
        return false;
    *ret = (int64_t)(decimal->negative ? -decimal->mantissa : decimal->mantissa);
    return true;
}

static double double_of_bits(uint64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Bits of the double nearest to w * 10^q, w > 0; infinity's bits when it is beyond the largest. */
static uint64_t nearest_bits(uint64_t w, int64_t q)
{
    enum { BITS = 52, BIAS = 1023, INFINITE = 0x7FF };
    if (q < POW10_LEAST)
        return 0;
    if (q > 308)
        return (uint64_t)INFINITE << BITS;
    const pow10_bits *power = &pow10_table[q - POW10_LEAST];
    int zeros = __builtin_clzll(w);
    w <<= zeros;
    wide product = (wide)w * power->high;
    const uint64_t undecided = UINT64_MAX >> (BITS + 3);
    if (((uint64_t)(product >> 64) & undecided) == undecided)
        product += (wide)w * power->low >> 64;
    uint64_t high = (uint64_t)(product >> 64);
    int upper = (int)(high >> 63);
    int shift = upper + 64 - BITS - 3;
    uint64_t mantissa = high >> shift;
    /* 217706 / 2^16 is log2(10): the exponent of 10^q */
    int64_t exponent = ((217706 * q) >> 16) + 63 + upper - zeros + BIAS;
    if (exponent <= 0) {
        if (exponent <= -63)
            return 0;
        mantissa >>= 1 - exponent;
        return (mantissa + (mantissa & 1)) >> 1; /* a carry into the exponent is the least normal */
    }
    /* Exactly half way, which 128 bits can only be for these q: to even instead of up. */
    if ((uint64_t)product <= 1 && q >= -4 && q <= 23 && (mantissa & 3) == 1 &&
        mantissa << shift == high)
        mantissa &= ~UINT64_C(1);
    mantissa = (mantissa + (mantissa & 1)) >> 1;
    if (mantissa >> (BITS + 1)) {
        mantissa >>= 1;
        exponent++;
    }
    if (exponent >= INFINITE)
        return (uint64_t)INFINITE << BITS;
    return (uint64_t)exponent << BITS | (mantissa & ((UINT64_C(1) << BITS) - 1));
}

/* Every significant digit that can matter, without a decimal point, so that no locale is asked. */
static double by_strtod(const qn_decimal *decimal, const char *text, const char *end)
{
    char digits[STRTOD_DIGITS + 32];
    int count = 0;
    bool more = false; /* digits beyond every tie: only that they are not all zero matters */
    for (const char *at = text; at < end && *at != 'e' && *at != 'E'; at++) {
        if (!is_digit(*at) || (count == 0 && *at == '0'))
            continue;
        if (count < STRTOD_DIGITS)
            digits[count++] = *at;
        else
            more |= *at != '0';
    }
    if (more)
        digits[count++] = '1';
    /* decimal->exponent is that of the first 19 digits */
    long long exponent = (long long)decimal->exponent - (count - MANTISSA_DIGITS);
    snprintf(digits + count, 32, "e%lld", exponent);
    return strtod(digits, NULL);
}

bool qn_decimal_to_f64(const qn_decimal *decimal, const char *text, const char *end, double *ret)
{
    static const double exact[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                   1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                   1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    uint64_t w = decimal->mantissa;
    int64_t q = decimal->exponent;
    double value;
    if (w == 0) {
        value = 0;
    } else if (!decimal->truncated && w <= UINT64_C(1) << 53 && q >= -22 && q <= 22) {
        value = q < 0 ? (double)w / exact[-q] : (double)w * exact[q];
    } else {
        uint64_t bits = nearest_bits(w, q);
        value = double_of_bits(bits);
        if (decimal->truncated && bits != nearest_bits(w + 1, q))
            value = by_strtod(decimal, text, end);
    }
    if (isinf(value))
        return false;
    *ret = decimal->negative ? -value : value;
    return true;
}

bool qn_str_to_i64(qn_str text, int64_t *ret)
{
    qn_decimal decimal;
    const char *end = text.data + text.size;
    if (text.size == 0 || qn_decimal_scan(text.data, end, false, &decimal) != end)
        return false;
    return qn_decimal_to_i64(&decimal, ret);
}

static bool nonfinite_word(qn_str text, double *ret)
{
    bool negative = text.data[0] == '-';
    qn_str word = {text.data + negative, text.size - negative};
    if (qn_str_equal_nocase(word, QN_STR("nan")))
        *ret = (double)NAN;
    else if (qn_str_equal_nocase(word, QN_STR("infinity")) ||
             qn_str_equal_nocase(word, QN_STR("inf")))
        *ret = negative ? -(double)INFINITY : (double)INFINITY;
    else
        return false;
    return true;
}

bool qn_str_to_f64(qn_str text, bool allow_words, double *ret)
{
    qn_decimal decimal;
    const char *end = text.data + text.size;
    if (text.size == 0)
        return false;
    if (qn_decimal_scan(text.data, end, false, &decimal) != end)
        return allow_words && nonfinite_word(text, ret);
    return qn_decimal_to_f64(&decimal, text.data, end, ret);
}

typedef struct {
    uint64_t digits;
    int exponent;
} shortest;

/* Top 64 bits of g * c, the last bit standing for everything below it ("round to odd"). */
static uint64_t product_to_odd(pow10_bits g, uint64_t c)
{
    wide sum = (wide)c * g.high + ((wide)c * g.low >> 64);
    return (uint64_t)(sum >> 64) | ((uint64_t)sum > 1);
}

static pow10_bits pow10_upper(int q)
{
    pow10_bits g = pow10_table[q - POW10_LEAST];
    if (q > POW10_EXACT_MOST)
        g.high += ++g.low == 0;
    return g;
}

/* The value is c * 2^q; its neighbours below are half as far when `closer`. */
static shortest find_shortest(uint64_t c, int q, bool closer)
{
    uint64_t odd = c & 1; /* reading rounds ties to even: an odd value does not own its bounds */
    int k =
        (q * 1262611 - (closer ? 524031 : 0)) >> 22; /* floor(log10(2^q)), of 3/4 * 2^q if closer */
    int h = q + ((-k * 1741647) >> 19) + 1;          /* floor(log2(10^-k)) */
    pow10_bits g = pow10_upper(-k);
    uint64_t lower = product_to_odd(g, (4 * c - 2 + closer) << h) + odd;
    uint64_t value = product_to_odd(g, (4 * c) << h);
    uint64_t upper = product_to_odd(g, (4 * c + 2) << h) - odd;
    uint64_t s = value / 4;
    if (s >= 10) {
        uint64_t tenth = s / 10;
        bool under = lower <= 40 * tenth;
        bool over = 40 * tenth + 40 <= upper;
        if (under != over)
            return (shortest){tenth + over, k + 1};
    }
    bool under = lower <= 4 * s;
    bool over = 4 * s + 4 <= upper;
    if (under != over)
        return (shortest){s + over, k};
    uint64_t middle = 4 * s + 2;
    bool up = value > middle || (value == middle && (s & 1));
    return (shortest){s + up, k};
}

/* Decimal digits of `value` at `dst`; returns how many (at most 20). */
static int write_digits(uint64_t value, char *dst)
{
    static const char pairs[] =
        "00010203040506070809101112131415161718192021222324252627282930313233"
        "34353637383940414243444546474849505152535455565758596061626364656667"
        "6869707172737475767778798081828384858687888990919293949596979899";
    char text[20];
    int at = sizeof text;
    for (; value >= 100; value /= 100) {
        at -= 2;
        memcpy(text + at, pairs + 2 * (value % 100), 2);
    }
    if (value >= 10) {
        at -= 2;
        memcpy(text + at, pairs + 2 * value, 2);
    } else {
        text[--at] = (char)('0' + value);
    }
    int count = (int)sizeof text - at;
    memcpy(dst, text + at, (size_t)count);
    return count;
}

static int write_exponent(int exponent, char *dst)
{
    dst[0] = 'e';
    int size = 1;
    if (exponent < 0)
        dst[size++] = '-';
    return size + write_digits((uint64_t)(exponent < 0 ? -exponent : exponent), dst + size);
}

/* Plain digits where they stay readable (as JavaScript does, but at most 17 before the point). */
static int layout(shortest s, char *dst)
{
    enum { POINT_LEAST = -5, POINT_MOST = 17 };
    while (s.digits % 10 == 0) {
        s.digits /= 10;
        s.exponent++;
    }
    char digits[20];
    int count = write_digits(s.digits, digits);
    int point = count + s.exponent; /* digits before the decimal point */
    if (point <= POINT_LEAST || point > POINT_MOST) {
        dst[0] = digits[0];
        int size = 1;
        if (count > 1) {
            dst[size++] = '.';
            memcpy(dst + size, digits + 1, (size_t)count - 1);
            size += count - 1;
        }
        return size + write_exponent(point - 1, dst + size);
    }
    if (point <= 0) {
        memcpy(dst, "0.00000", 7);
        memcpy(dst + 2 - point, digits, (size_t)count);
        return 2 - point + count;
    }
    if (point >= count) {
        memcpy(dst, digits, (size_t)count);
        memset(dst + count, '0', (size_t)(point - count));
        return point;
    }
    memcpy(dst, digits, (size_t)point);
    dst[point] = '.';
    memcpy(dst + point + 1, digits + point, (size_t)(count - point));
    return count + 1;
}

static int write_special(bool negative, bool nan, bool zero, char dst[32])
{
    const char *word = nan ? "NaN" : negative ? "-Infinity" : "Infinity";
    if (zero)
        word = negative ? "-0.0" : "0"; /* "-0" would read back as the integer 0 */
    size_t size = strlen(word);
    memcpy(dst, word, size);
    return (int)size;
}

/* mantissa_bits: 52 or 23; bias: of the exponent, the mantissa taken as an integer. */
static int write_parts(bool negative, uint64_t fraction, int exponent, int mantissa_bits, int bias,
                       char dst[32])
{
    uint64_t c = exponent ? fraction | UINT64_C(1) << mantissa_bits : fraction;
    int q = (exponent ? exponent : 1) - bias;
    int sign = negative;
    dst[0] = '-';
    if (q <= 0 && -q <= mantissa_bits && (c & ((UINT64_C(1) << -q) - 1)) == 0)
        return sign + write_digits(c >> -q, dst + sign); /* an integer with every digit exact */
    shortest s = find_shortest(c, q, fraction == 0 && exponent > 1);
    return sign + layout(s, dst + sign);
}

int qn_f64_to_text(double value, char dst[32])
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    bool negative = bits >> 63;
    uint64_t fraction = bits & ((UINT64_C(1) << 52) - 1);
    int exponent = (int)(bits >> 52 & 0x7FF);
    if (exponent == 0x7FF || (bits << 1) == 0)
        return write_special(negative, fraction != 0, exponent == 0, dst);
    return write_parts(negative, fraction, exponent, 52, 1075, dst);
}

int qn_f32_to_text(float value, char dst[32])
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    bool negative = bits >> 31;
    uint32_t fraction = bits & 0x7FFFFF;
    int exponent = (int)(bits >> 23 & 0xFF);
    if (exponent == 0xFF || (bits << 1) == 0)
        return write_special(negative, fraction != 0, exponent == 0, dst);
    return write_parts(negative, fraction, exponent, 23, 150, dst);
}

const char *qn_f64_to_brief(double value, char dst[32])
{
    double size = fabs(value);
    if (size != 0 && !(size >= 1e-4 && size < 1e7)) {
        (void)snprintf(dst, 32, "%.4g", value);
        return dst;
    }
    int before = size < 1 ? 1 : (int)floor(log10(size)) + 1;
    (void)snprintf(dst, 32, "%.*f", before < 5 ? 5 - before : 0, value);
    char *end = dst + strlen(dst) - 1;
    while (strchr(dst, '.') && (*end == '0' || *end == '.')) {
        bool point = *end == '.';
        *end-- = '\0';
        if (point)
            break;
    }
    return dst;
}
