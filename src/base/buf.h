/*
 * A growing byte buffer with a limit. The first failure sticks (`failed`), later appends do
 * nothing, so that a writer checks once at the end.
 */
#ifndef QN_BASE_BUF_H
#define QN_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

typedef struct {
    char *data;
    size_t size;
    size_t capacity;
    size_t limit_bytes; /* 0 = none */
    bool failed;        /* memory or the limit was short */
} qn_buf;

void qn_buf_init(qn_buf *buf, size_t limit_bytes);
void qn_buf_deinit(qn_buf *buf);
void qn_buf_reset(qn_buf *buf); /* empty, keep capacity, clear `failed` */
/* `count` writable bytes at the end, not yet counted in size; NULL on failure. */
char *qn_buf_reserve(qn_buf *buf, size_t count);
void qn_buf_append(qn_buf *buf, const void *data, size_t size);
void qn_buf_byte(qn_buf *buf, char byte);
void qn_buf_str(qn_buf *buf, qn_str text);
void qn_buf_text(qn_buf *buf, const char *text);
void qn_buf_printf(qn_buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));
void qn_buf_consume(qn_buf *buf, size_t count); /* drop bytes from the front */
static inline qn_str qn_buf_view(const qn_buf *buf)
{
    return (qn_str){buf->data, buf->size};
}

#endif
