/*
 * Image files to pixels and back: PNG (libpng). Decoding is bounded before it starts: sizes, not
 * the file, decide memory.
 */
#ifndef QN_FORMAT_IMAGE_H
#define QN_FORMAT_IMAGE_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/str.h"

typedef struct {
    int64_t height, width, channels; /* channels 1 (grey) or 3 (RGB); alpha is laid over white */
    uint8_t *pixels;                 /* [height, width, channels] */
} qn_image;

bool qn_image_is_known(qn_str bytes); /* by its magic */
/* channels: 1 or 3 converts, 0 keeps. Errors: ERR_DATA, ERR_BUDGET over 64 Mpixel, ERR_MEMORY.
 * Threads: any. */
QN_MUST_USE qn_status qn_image_read(qn_str bytes, const char *name, int64_t channels,
                                    qn_arena *arena, qn_image *ret, qn_error *err);
/* Size without decoding. */
QN_MUST_USE qn_status qn_image_peek(qn_str bytes, const char *name, int64_t *ret_height,
                                    int64_t *ret_width, int64_t *ret_channels, qn_error *err);
QN_MUST_USE qn_status qn_image_write_png(qn_buf *dst, const qn_image *image, qn_error *err);
/* Area average down, bilinear up, into dst [height, width, channels of src]. */
void qn_image_resize(uint8_t *dst, int64_t height, int64_t width, const qn_image *src);

#endif
