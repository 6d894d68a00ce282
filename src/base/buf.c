/*
 * The growing byte buffer: capacity doubles up to the limit, the first failure sticks.
 */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"

enum { CAPACITY_FIRST = 256 };

void qn_buf_init(qn_buf *buf, size_t limit_bytes)
{
    *buf = (qn_buf){.limit_bytes = limit_bytes};
}

void qn_buf_deinit(qn_buf *buf)
{
    qn_free(buf->data);
    *buf = (qn_buf){.limit_bytes = buf->limit_bytes};
}

void qn_buf_reset(qn_buf *buf)
{
    buf->size = 0;
    buf->failed = false;
}

static bool grow(qn_buf *buf, size_t need)
{
    size_t capacity = buf->capacity ? buf->capacity : CAPACITY_FIRST;
    while (capacity < need)
        if (!qn_mul_size(capacity, 2, &capacity))
            return false;
    if (buf->limit_bytes && capacity > buf->limit_bytes)
        capacity = need; /* near the limit: exactly what is asked */
    char *data = qn_realloc(buf->data, capacity);
    if (!data)
        return false;
    buf->data = data;
    buf->capacity = capacity;
    return true;
}

char *qn_buf_reserve(qn_buf *buf, size_t count)
{
    size_t need;
    if (buf->failed)
        return NULL;
    if (!qn_add_size(buf->size, count, &need) || (buf->limit_bytes && need > buf->limit_bytes) ||
        ((need > buf->capacity || !buf->data) && !grow(buf, need))) {
        buf->failed = true;
        return NULL;
    }
    return buf->data + buf->size;
}

void qn_buf_append(qn_buf *buf, const void *data, size_t size)
{
    if (size == 0)
        return;
    char *at = qn_buf_reserve(buf, size);
    if (!at)
        return;
    memcpy(at, data, size);
    buf->size += size;
}

void qn_buf_byte(qn_buf *buf, char byte)
{
    if (!buf->failed && buf->size < buf->capacity) {
        buf->data[buf->size++] = byte;
        return;
    }
    qn_buf_append(buf, &byte, 1);
}

void qn_buf_str(qn_buf *buf, qn_str text)
{
    qn_buf_append(buf, text.data, text.size);
}

void qn_buf_text(qn_buf *buf, const char *text)
{
    qn_buf_append(buf, text, strlen(text));
}

void qn_buf_printf(qn_buf *buf, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    va_list again;
    va_copy(again, list);
    int size = vsnprintf(NULL, 0, format, list);
    va_end(list);
    char *at = size < 0 ? NULL : qn_buf_reserve(buf, (size_t)size + 1);
    if (at) {
        vsnprintf(at, (size_t)size + 1, format, again);
        buf->size += (size_t)size;
    }
    va_end(again);
}

void qn_buf_consume(qn_buf *buf, size_t count)
{
    if (count >= buf->size) {
        buf->size = 0;
        return;
    }
    memmove(buf->data, buf->data + count, buf->size - count);
    buf->size -= count;
}
