/*
 * The JSON writer: commas, indentation and escapes; numbers in their shortest exact form.
 */
#include <math.h>

#include "base/json.h"

enum { DEPTH_MAX = 63, INDENT = 2, NUMBER_BYTES = 32 };

void qn_json_write_init(qn_json_writer *w, qn_buf *buf)
{
    *w = (qn_json_writer){.buf = buf};
}

static void new_line(qn_json_writer *w)
{
    size_t size = (size_t)w->depth * INDENT + 1;
    char *at = qn_buf_reserve(w->buf, size);
    if (!at)
        return;
    at[0] = '\n';
    memset(at + 1, ' ', size - 1);
    w->buf->size += size;
}

/* What must stand before a key, or a value without one. */
static void before_element(qn_json_writer *w)
{
    uint64_t bit = UINT64_C(1) << w->depth;
    if (w->filled & bit)
        qn_buf_byte(w->buf, ',');
    w->filled |= bit;
    if (w->pretty && w->depth > 0)
        new_line(w);
}

static void before_value(qn_json_writer *w)
{
    if (!w->after_key)
        before_element(w);
    w->after_key = false;
}

static void open_nested(qn_json_writer *w, char bracket)
{
    before_value(w);
    qn_buf_byte(w->buf, bracket);
    QN_ASSERT(w->depth < DEPTH_MAX);
    w->depth++;
    w->filled &= ~(UINT64_C(1) << w->depth);
}

static void close_nested(qn_json_writer *w, char bracket)
{
    QN_ASSERT(w->depth > 0 && !w->after_key);
    bool filled = w->filled >> w->depth & 1;
    w->depth--;
    if (w->pretty && filled)
        new_line(w);
    qn_buf_byte(w->buf, bracket);
}

void qn_json_object_begin(qn_json_writer *w)
{
    open_nested(w, '{');
}

void qn_json_object_end(qn_json_writer *w)
{
    close_nested(w, '}');
}

void qn_json_array_begin(qn_json_writer *w)
{
    open_nested(w, '[');
}

void qn_json_array_end(qn_json_writer *w)
{
    close_nested(w, ']');
}

static void write_escape(qn_buf *buf, unsigned char c)
{
    static const char plain[] = "\"\\\b\f\n\r\t";
    static const char letters[] = "\"\\bfnrt";
    const char *found = memchr(plain, c, sizeof plain - 1);
    if (found) {
        qn_buf_byte(buf, '\\');
        qn_buf_byte(buf, letters[found - plain]);
    } else {
        qn_buf_printf(buf, "\\u%04x", (unsigned)c);
    }
}

/* One valid run, then one byte that must be escaped or, in broken UTF-8, becomes U+FFFD. */
static void write_quoted(qn_buf *buf, qn_str text)
{
    if (text.size == 0) {
        qn_buf_text(buf, "\"\"");
        return;
    }
    qn_buf_byte(buf, '"');
    size_t valid = text.size;
    qn_utf8_check(text.data, text.size, &valid);
    size_t from = 0;
    for (size_t at = 0; at < text.size; at++) {
        unsigned char c = (unsigned char)text.data[at];
        bool broken = at == valid;
        if (!broken && c >= 0x20 && c != '"' && c != '\\')
            continue;
        qn_buf_append(buf, text.data + from, at - from);
        from = at + 1;
        if (!broken) {
            write_escape(buf, c);
            continue;
        }
        qn_buf_text(buf, "\xEF\xBF\xBD");
        size_t next = text.size - from;
        qn_utf8_check(text.data + from, text.size - from, &next);
        valid = from + next;
    }
    qn_buf_append(buf, text.data + from, text.size - from);
    qn_buf_byte(buf, '"');
}

void qn_json_key_str(qn_json_writer *w, qn_str key)
{
    QN_ASSERT(!w->after_key && w->depth > 0);
    before_element(w);
    write_quoted(w->buf, key);
    qn_buf_byte(w->buf, ':');
    if (w->pretty)
        qn_buf_byte(w->buf, ' ');
    w->after_key = true;
}

void qn_json_key(qn_json_writer *w, const char *key)
{
    qn_json_key_str(w, qn_str_from(key));
}

void qn_json_str(qn_json_writer *w, qn_str value)
{
    before_value(w);
    write_quoted(w->buf, value);
}

void qn_json_text(qn_json_writer *w, const char *value)
{
    if (value)
        qn_json_str(w, qn_str_from(value));
    else
        qn_json_null(w);
}

static int i64_to_text(int64_t value, char dst[NUMBER_BYTES])
{
    char digits[NUMBER_BYTES];
    int count = 0;
    uint64_t left = value < 0 ? -(uint64_t)value : (uint64_t)value;
    do {
        digits[count++] = (char)('0' + left % 10);
        left /= 10;
    } while (left);
    int size = 0;
    if (value < 0)
        dst[size++] = '-';
    while (count > 0)
        dst[size++] = digits[--count];
    return size;
}

void qn_json_i64(qn_json_writer *w, int64_t value)
{
    before_value(w);
    char *at = qn_buf_reserve(w->buf, NUMBER_BYTES);
    if (at)
        w->buf->size += (size_t)i64_to_text(value, at);
}

/* Non-finite numbers have no JSON form. */
static bool write_nonfinite(qn_json_writer *w, double value)
{
    if (isfinite(value) || w->nonfinite_words)
        return false;
    qn_buf_text(w->buf, "null");
    return true;
}

void qn_json_f64(qn_json_writer *w, double value)
{
    before_value(w);
    if (write_nonfinite(w, value))
        return;
    char *at = qn_buf_reserve(w->buf, NUMBER_BYTES);
    if (at)
        w->buf->size += (size_t)qn_f64_to_text(value, at);
}

void qn_json_f32(qn_json_writer *w, float value)
{
    before_value(w);
    if (write_nonfinite(w, (double)value))
        return;
    char *at = qn_buf_reserve(w->buf, NUMBER_BYTES);
    if (at)
        w->buf->size += (size_t)qn_f32_to_text(value, at);
}

void qn_json_bool(qn_json_writer *w, bool value)
{
    before_value(w);
    qn_buf_text(w->buf, value ? "true" : "false");
}

void qn_json_null(qn_json_writer *w)
{
    before_value(w);
    qn_buf_text(w->buf, "null");
}

/* On one line also when pretty: nobody reads a thousand lines of one number each. */
void qn_json_f32_array(qn_json_writer *w, const float *values, int64_t count)
{
    before_value(w);
    qn_buf_byte(w->buf, '[');
    for (int64_t i = 0; i < count; i++) {
        if (i > 0)
            qn_buf_byte(w->buf, ',');
        if (write_nonfinite(w, (double)values[i]))
            continue;
        char *at = qn_buf_reserve(w->buf, NUMBER_BYTES);
        if (!at)
            return;
        w->buf->size += (size_t)qn_f32_to_text(values[i], at);
    }
    qn_buf_byte(w->buf, ']');
}

static void write_numbers(qn_json_writer *w, const qn_json *array)
{
    bool pretty = w->pretty;
    qn_json_array_begin(w);
    w->pretty = false;
    for (int64_t i = 0; i < array->count; i++) {
        if (array->all_int)
            qn_json_i64(w, array->ints[i]);
        else
            qn_json_f64(w, array->floats[i]);
    }
    qn_json_array_end(w);
    w->pretty = pretty;
}

static void write_object(qn_json_writer *w, const qn_json *object)
{
    qn_json_object_begin(w);
    for (int64_t i = 0; i < object->count; i++) {
        qn_json_key_str(w, object->keys[i]);
        qn_json_value(w, &object->items[i]);
    }
    qn_json_object_end(w);
}

static void write_array(qn_json_writer *w, const qn_json *array)
{
    qn_json_array_begin(w);
    for (int64_t i = 0; i < array->count; i++)
        qn_json_value(w, &array->items[i]);
    qn_json_array_end(w);
}

void qn_json_value(qn_json_writer *w, const qn_json *value)
{
    switch (value->kind) {
    case QN_JSON_NULL:
        qn_json_null(w);
        break;
    case QN_JSON_BOOL:
        qn_json_bool(w, value->boolean);
        break;
    case QN_JSON_INT:
        qn_json_i64(w, value->integer);
        break;
    case QN_JSON_FLOAT:
        qn_json_f64(w, value->number);
        break;
    case QN_JSON_STRING:
        qn_json_str(w, value->string);
        break;
    case QN_JSON_ARRAY:
        write_array(w, value);
        break;
    case QN_JSON_NUMBERS:
        write_numbers(w, value);
        break;
    case QN_JSON_OBJECT:
        write_object(w, value);
        break;
    }
}

void qn_json_put_text(qn_json_writer *w, const char *key, const char *value)
{
    qn_json_key(w, key);
    qn_json_text(w, value);
}

void qn_json_put_i64(qn_json_writer *w, const char *key, int64_t value)
{
    qn_json_key(w, key);
    qn_json_i64(w, value);
}

void qn_json_put_f64(qn_json_writer *w, const char *key, double value)
{
    qn_json_key(w, key);
    qn_json_f64(w, value);
}

void qn_json_put_bool(qn_json_writer *w, const char *key, bool value)
{
    qn_json_key(w, key);
    qn_json_bool(w, value);
}
