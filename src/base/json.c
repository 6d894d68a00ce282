/*
 * The JSON reader: one pass over the text, recursion bounded by depth_max. Elements of an open array or
 * object lie on a scratch stack and move to the arena, in their final size, when it closes.
 *
 * An array is first tried as packed numbers; the first element that is none sends it back to be read as
 * nodes. What was read twice is a run of numbers of that array alone, so reading stays linear.
 */
#include "base/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/number_priv.h"

/* The writer counts nesting in the bits of one word: what is read can always be written. */
enum { DEPTH_MAX = 63, VALUES_MAX = 16 << 20, OBJECT_SCAN_MAX = 16 };

typedef struct {
    const char *text;
    const char *at;
    const char *end;
    qn_json_limits limits;
    int depth;
    int64_t values;
    qn_arena *arena;
    qn_buf stack; /* elements of open arrays and objects, packed numbers being read */
    qn_error *err;
} reader;

typedef struct {
    qn_str key;
    qn_json value;
} member;

/* Line and column (in bytes, from 1) of `at`. */
static qn_status fail_at(reader *r, const char *at, const char *format, const char *argument)
{
    int64_t line = 1;
    const char *line_start = r->text;
    for (const char *p = r->text; p < at; p++) {
        if (*p == '\n') {
            line++;
            line_start = p + 1;
        }
    }
    char where[64];
    snprintf(where, sizeof where, "%lld:%lld", (long long)line, (long long)(at - line_start) + 1);
    char text[256];
    snprintf(text, sizeof text, format, argument);
    return qn_error_set(r->err, QN_ERR_DATA, where, "%s", text);
}

static qn_status fail_memory(reader *r)
{
    if (r->arena->limit_bytes)
        QN_FAIL(r->err, QN_ERR_BUDGET,
                "the JSON text needs more than its limit of %zu bytes of memory",
                r->arena->limit_bytes);
    QN_FAIL(r->err, QN_ERR_MEMORY, "no memory to read a JSON text of %zu bytes",
            (size_t)(r->end - r->text));
}

/* What stands at `at`, for "expected a value, got ...". */
static qn_status fail_expected(reader *r, const char *expected)
{
    char got[160];
    unsigned char byte = r->at < r->end ? (unsigned char)*r->at : 0;
    if (r->at >= r->end)
        snprintf(got, sizeof got, "expected %s, got the end of the text", expected);
    else if (byte < 0x20 || byte >= 0x7F)
        snprintf(got, sizeof got, "expected %s, got byte 0x%02x", expected, (unsigned)byte);
    else
        snprintf(got, sizeof got, "expected %s, got '%c'", expected, byte);
    return fail_at(r, r->at, "%s", got);
}

static void skip_space(reader *r)
{
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\n' || *r->at == '\t' || *r->at == '\r'))
        r->at++;
}

static bool accept(reader *r, char c)
{
    if (r->at >= r->end || *r->at != c)
        return false;
    r->at++;
    return true;
}

static bool accept_word(reader *r, const char *word)
{
    size_t size = strlen(word);
    if ((size_t)(r->end - r->at) < size || memcmp(r->at, word, size) != 0)
        return false;
    r->at += size;
    return true;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* Four hexadecimal digits; -1 when they are not. */
static int read_hex4(const char *at, const char *end)
{
    int value = 0;
    if (end - at < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        int digit = hex_digit(at[i]);
        if (digit < 0)
            return -1;
        value = value * 16 + digit;
    }
    return value;
}

static int put_utf8(int point, char *dst)
{
    if (point < 0x80) {
        dst[0] = (char)point;
        return 1;
    }
    if (point < 0x800) {
        dst[0] = (char)(0xC0 | point >> 6);
        dst[1] = (char)(0x80 | (point & 0x3F));
        return 2;
    }
    if (point < 0x10000) {
        dst[0] = (char)(0xE0 | point >> 12);
        dst[1] = (char)(0x80 | (point >> 6 & 0x3F));
        dst[2] = (char)(0x80 | (point & 0x3F));
        return 3;
    }
    dst[0] = (char)(0xF0 | point >> 18);
    dst[1] = (char)(0x80 | (point >> 12 & 0x3F));
    dst[2] = (char)(0x80 | (point >> 6 & 0x3F));
    dst[3] = (char)(0x80 | (point & 0x3F));
    return 4;
}

/* After "\u": one code point, joining a surrogate pair; -1 when it is none. Moves *at. */
static int read_code_point(const char **at, const char *end)
{
    int point = read_hex4(*at, end);
    if (point < 0 || (point >= 0xDC00 && point <= 0xDFFF))
        return -1;
    *at += 4;
    if (point < 0xD800 || point > 0xDBFF)
        return point;
    if (end - *at < 6 || (*at)[0] != '\\' || (*at)[1] != 'u')
        return -1;
    int low = read_hex4(*at + 2, end);
    if (low < 0xDC00 || low > 0xDFFF)
        return -1;
    *at += 6;
    return 0x10000 + (point - 0xD800) * 0x400 + (low - 0xDC00);
}

/* Bytes [from, to) of a string with escapes, decoded; never longer than it was. */
static qn_status decode_string(reader *r, const char *from, const char *to, qn_str *ret)
{
    static const char letters[] = "\"\\/bfnrt";
    static const char meanings[] = "\"\\/\b\f\n\r\t";
    char *dst = qn_arena_alloc(r->arena, (size_t)(to - from));
    size_t size = 0;
    if (!dst)
        return fail_memory(r);
    for (const char *at = from; at < to;) {
        if (*at != '\\') {
            dst[size++] = *at++;
            continue;
        }
        const char *escape = at++;
        const char *letter = memchr(letters, *at, sizeof letters - 1);
        if (letter) {
            dst[size++] = meanings[letter - letters];
            at++;
            continue;
        }
        int point = -1;
        if (*at == 'u') {
            at++;
            point = read_code_point(&at, to);
        }
        if (point < 0)
            return fail_at(r, escape, "%s",
                           "not an escape that JSON knows, or half of a surrogate pair");
        size += (size_t)put_utf8(point, dst + size);
    }
    *ret = (qn_str){dst, size};
    return QN_OK;
}

/* Eight bytes at a time while none is a quote, a backslash, below 0x20 or above 0x7F. */
static const char *skip_words(const char *at, const char *end)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    const uint64_t tops = UINT64_C(0x8080808080808080);
    for (; end - at >= 8; at += 8) {
        uint64_t word;
        memcpy(&word, at, sizeof word);
        uint64_t quote = word ^ ones * '"';
        uint64_t slash = word ^ ones * '\\';
        uint64_t stop =
            ((quote - ones) & ~quote) | ((slash - ones) & ~slash) | (word - ones * 0x20);
        if ((stop | word) & tops)
            break;
    }
    return at;
}

/* Plain bytes of a string, to its quote, a backslash, a control character or the end of the text. */
static const char *skip_plain(const char *at, const char *end, bool *ret_high)
{
    while (at < end) {
        at = skip_words(at, end);
        for (int i = 0; i < 8 && at < end; i++, at++) {
            if (*at == '"' || *at == '\\' || (unsigned char)*at < 0x20)
                return at;
            *ret_high |= (unsigned char)*at >= 0x80;
        }
    }
    return at;
}

/* After the opening quote. */
static qn_status read_string(reader *r, qn_str *ret)
{
    const char *from = r->at;
    bool escaped = false;
    bool high = false;
    const char *at = skip_plain(from, r->end, &high);
    while (r->end - at >= 2 && *at == '\\') {
        escaped = true;
        at = skip_plain(at + 2, r->end, &high);
    }
    if (at >= r->end || *at == '\\')
        return fail_at(r, from - 1, "%s", "this string has no end");
    if (*at != '"')
        return fail_at(r, at, "%s", "a control character must be escaped in a string");
    size_t bad_at = 0;
    if (high && !qn_utf8_check(from, (size_t)(at - from), &bad_at))
        return fail_at(r, from + bad_at, "%s", "the string is not valid UTF-8");
    r->at = at + 1;
    if (escaped)
        return decode_string(r, from, at, ret);
    *ret = (qn_str){from, (size_t)(at - from)};
    return QN_OK;
}

/* NaN, Infinity, -Infinity where they are allowed. */
static bool read_word_number(reader *r, double *ret)
{
    if (!r->limits.allow_nonfinite)
        return false;
    if (accept_word(r, "NaN"))
        *ret = (double)NAN;
    else if (accept_word(r, "Infinity"))
        *ret = (double)INFINITY;
    else if (accept_word(r, "-Infinity"))
        *ret = -(double)INFINITY;
    else
        return false;
    return true;
}

typedef enum { NUMBER_NONE, NUMBER_INT, NUMBER_FLOAT, NUMBER_TOO_LARGE } number_kind;

/* A number at r->at, passed over when there is one. */
static number_kind scan_number(reader *r, int64_t *ret_int, double *ret_float)
{
    qn_decimal decimal;
    const char *after = qn_decimal_scan(r->at, r->end, true, &decimal);
    if (!after)
        return read_word_number(r, ret_float) ? NUMBER_FLOAT : NUMBER_NONE;
    if (qn_decimal_to_i64(&decimal, ret_int)) {
        r->at = after;
        return NUMBER_INT;
    }
    if (!qn_decimal_to_f64(&decimal, r->at, after, ret_float))
        return NUMBER_TOO_LARGE;
    r->at = after;
    return NUMBER_FLOAT;
}

static bool starts_number(reader *r)
{
    return r->at < r->end && (*r->at == '-' || (*r->at >= '0' && *r->at <= '9') ||
                              (r->limits.allow_nonfinite && (*r->at == 'N' || *r->at == 'I')));
}

static qn_status read_number(reader *r, qn_json *ret)
{
    const char *start = r->at;
    int64_t integer = 0;
    double number = 0;
    switch (scan_number(r, &integer, &number)) {
    case NUMBER_INT:
        ret->kind = QN_JSON_INT;
        ret->integer = integer;
        return QN_OK;
    case NUMBER_FLOAT:
        ret->kind = QN_JSON_FLOAT;
        ret->number = number;
        return QN_OK;
    case NUMBER_TOO_LARGE:
        return fail_at(r, start, "%s", "the number is beyond the largest double, 1.8e308");
    case NUMBER_NONE:
    default:
        if (starts_number(r))
            return fail_at(r, start, "%s", "this is not a number as JSON writes them");
        return fail_expected(r, "a value");
    }
}

/* The packed integers at `start` of the stack as doubles; false when one is not exact as a double. */
static bool ints_to_floats(reader *r, size_t start)
{
    for (size_t at = start; at < r->stack.size; at += sizeof(double)) {
        int64_t integer;
        memcpy(&integer, r->stack.data + at, sizeof integer);
        double number = (double)integer;
        if (number >= 0x1p63 || (int64_t)number != integer)
            return false;
        memcpy(r->stack.data + at, &number, sizeof number);
    }
    return true;
}

/* One number onto the stack; false when the array cannot be packed (or memory is short). */
static bool push_number(reader *r, size_t start, bool *all_int)
{
    int64_t integer = 0;
    double number = 0;
    number_kind kind = scan_number(r, &integer, &number);
    if (kind != NUMBER_INT && kind != NUMBER_FLOAT)
        return false;
    if (kind == NUMBER_FLOAT && *all_int) {
        if (!ints_to_floats(r, start))
            return false;
        *all_int = false;
    }
    if (kind == NUMBER_INT && !*all_int) {
        number = (double)integer;
        if (number >= 0x1p63 || (int64_t)number != integer)
            return false;
    }
    char *slot = qn_buf_reserve(&r->stack, sizeof number);
    if (!slot)
        return false;
    if (*all_int)
        memcpy(slot, &integer, sizeof integer);
    else
        memcpy(slot, &number, sizeof number);
    r->stack.size += sizeof number;
    return true;
}

/* After '[': the whole array as packed numbers. QN_OK with ret->count 0: it is not one, nothing was read. */
static qn_status read_packed(reader *r, qn_json *ret)
{
    const char *start_at = r->at;
    size_t start = r->stack.size;
    bool all_int = true;
    bool closed = false;
    ret->count = 0;
    while (!closed) {
        skip_space(r);
        if (!push_number(r, start, &all_int))
            break;
        skip_space(r);
        closed = accept(r, ']');
        if (!closed && !accept(r, ','))
            break;
    }
    size_t bytes = r->stack.size - start;
    r->stack.size = start;
    if (r->stack.failed)
        return fail_memory(r);
    if (!closed) {
        r->at = start_at;
        return QN_OK;
    }
    double *numbers = qn_arena_alloc(r->arena, bytes);
    if (!numbers)
        return fail_memory(r);
    memcpy(numbers, r->stack.data + start, bytes);
    ret->kind = QN_JSON_NUMBERS;
    ret->all_int = all_int;
    ret->count = (int64_t)(bytes / sizeof *numbers);
    ret->floats = numbers;
    return QN_OK;
}

static qn_status read_value(reader *r, qn_json *ret);

static qn_status read_items(reader *r, qn_json *ret)
{
    size_t start = r->stack.size;
    ret->kind = QN_JSON_ARRAY;
    do {
        qn_json item = {0};
        skip_space(r);
        QN_TRY(read_value(r, &item));
        qn_buf_append(&r->stack, &item, sizeof item);
        skip_space(r);
    } while (accept(r, ','));
    if (!accept(r, ']'))
        return fail_expected(r, "',' or ']'");
    size_t bytes = r->stack.size - start;
    ret->items = r->stack.failed ? NULL : qn_arena_alloc(r->arena, bytes);
    if (!ret->items)
        return fail_memory(r);
    memcpy(ret->items, r->stack.data + start, bytes);
    ret->count = (int64_t)(bytes / sizeof *ret->items);
    r->stack.size = start;
    return QN_OK;
}

static qn_status read_array(reader *r, qn_json *ret)
{
    skip_space(r);
    if (accept(r, ']')) {
        ret->kind = QN_JSON_ARRAY;
        ret->count = 0;
        ret->items = NULL;
        return QN_OK;
    }
    if (starts_number(r)) {
        QN_TRY(read_packed(r, ret));
        if (ret->count > 0)
            return QN_OK;
    }
    return read_items(r, ret);
}

static int compare_keys(const void *a, const void *b)
{
    const qn_str *x = *(const qn_str *const *)a;
    const qn_str *y = *(const qn_str *const *)b;
    if (x->size != y->size)
        return x->size < y->size ? -1 : 1;
    return x->size ? memcmp(x->data, y->data, x->size) : 0;
}

static qn_status fail_duplicate(reader *r, const qn_json *object, const qn_str *key)
{
    char name[64];
    snprintf(name, sizeof name, "%.*s", key->size > 48 ? 48 : (int)key->size, key->data);
    return fail_at(r, r->text + object->offset, "the key \"%s\" stands twice in this object", name);
}

/* Small objects pair by pair; large ones sorted, so that no choice of keys makes it slow. */
static qn_status check_duplicates(reader *r, const qn_json *object)
{
    const qn_str *keys = object->keys;
    for (int64_t i = 0; object->count <= OBJECT_SCAN_MAX && i < object->count; i++)
        for (int64_t j = 0; j < i; j++)
            if (qn_str_equal(keys[i], keys[j]))
                return fail_duplicate(r, object, &keys[i]);
    if (object->count <= OBJECT_SCAN_MAX)
        return QN_OK;
    const qn_str **sorted = QN_NEW(r->arena, const qn_str *, object->count);
    if (!sorted)
        return fail_memory(r);
    for (int64_t i = 0; i < object->count; i++)
        sorted[i] = &keys[i];
    qsort(sorted, (size_t)object->count, sizeof *sorted, compare_keys);
    for (int64_t i = 1; i < object->count; i++)
        if (compare_keys(&sorted[i - 1], &sorted[i]) == 0)
            return fail_duplicate(r, object, sorted[i]);
    return QN_OK;
}

/* The members on the stack from `start` become the object's arrays. */
static qn_status close_object(reader *r, size_t start, qn_json *ret)
{
    size_t count = (r->stack.size - start) / sizeof(member);
    ret->keys = QN_NEW(r->arena, qn_str, (int64_t)count);
    ret->items = QN_NEW(r->arena, qn_json, (int64_t)count);
    if (r->stack.failed || !ret->keys || !ret->items)
        return fail_memory(r);
    for (size_t i = 0; i < count; i++) {
        member one;
        memcpy(&one, r->stack.data + start + i * sizeof one, sizeof one);
        ret->keys[i] = one.key;
        ret->items[i] = one.value;
    }
    ret->count = (int64_t)count;
    r->stack.size = start;
    return check_duplicates(r, ret);
}

static qn_status read_object(reader *r, qn_json *ret)
{
    size_t start = r->stack.size;
    ret->kind = QN_JSON_OBJECT;
    skip_space(r);
    if (accept(r, '}'))
        return QN_OK;
    do {
        member one = {0};
        skip_space(r);
        if (!accept(r, '"'))
            return fail_expected(r, "a key in quotes");
        QN_TRY(read_string(r, &one.key));
        skip_space(r);
        if (!accept(r, ':'))
            return fail_expected(r, "':' after the key");
        skip_space(r);
        QN_TRY(read_value(r, &one.value));
        qn_buf_append(&r->stack, &one, sizeof one);
        skip_space(r);
    } while (accept(r, ','));
    if (!accept(r, '}'))
        return fail_expected(r, "',' or '}'");
    return close_object(r, start, ret);
}

static qn_status read_nested(reader *r, qn_json *ret)
{
    bool object = *r->at == '{';
    if (r->depth == r->limits.depth_max)
        QN_FAIL(r->err, QN_ERR_BUDGET, "the JSON text nests deeper than %d", r->limits.depth_max);
    r->depth++;
    r->at++;
    QN_TRY(object ? read_object(r, ret) : read_array(r, ret));
    r->depth--;
    return QN_OK;
}

static qn_status read_value(reader *r, qn_json *ret)
{
    ret->offset = r->at - r->text;
    if (++r->values > r->limits.values_max)
        QN_FAIL(r->err, QN_ERR_BUDGET, "the JSON text has more than %lld values",
                (long long)r->limits.values_max);
    if (r->at >= r->end)
        return fail_expected(r, "a value");
    switch (*r->at) {
    case '{':
    case '[':
        return read_nested(r, ret);
    case '"':
        r->at++;
        ret->kind = QN_JSON_STRING;
        return read_string(r, &ret->string);
    case 't':
    case 'f':
        ret->kind = QN_JSON_BOOL;
        ret->boolean = *r->at == 't';
        return accept_word(r, ret->boolean ? "true" : "false") ? QN_OK
                                                               : fail_expected(r, "a value");
    case 'n':
        ret->kind = QN_JSON_NULL;
        return accept_word(r, "null") ? QN_OK : fail_expected(r, "a value");
    default:
        return read_number(r, ret);
    }
}

static qn_status read_text(reader *r, qn_json *ret)
{
    skip_space(r);
    QN_TRY(read_value(r, ret));
    skip_space(r);
    if (r->at < r->end)
        return fail_expected(r, "the end of the text");
    return QN_OK;
}

qn_status qn_json_read(qn_str text, const qn_json_limits *limits, qn_arena *arena, qn_json *ret,
                       qn_error *err)
{
    if (!text.data)
        text = QN_STR("");
    reader r = {.text = text.data, .at = text.data, .end = text.data + text.size};
    r.arena = arena;
    r.err = err;
    if (limits)
        r.limits = *limits;
    if (r.limits.depth_max <= 0 || r.limits.depth_max > DEPTH_MAX)
        r.limits.depth_max = DEPTH_MAX;
    if (r.limits.values_max <= 0)
        r.limits.values_max = VALUES_MAX;
    qn_buf_init(&r.stack, 0);
    qn_json value = {0};
    qn_status status = read_text(&r, &value);
    qn_buf_deinit(&r.stack);
    if (status == QN_OK)
        *ret = value;
    return status;
}
