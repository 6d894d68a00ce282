/*
 * Pixels as a picture inside a text: a PNG in a data URI, for reports.
 */
#ifndef QN_MODEL_PICTURE_H
#define QN_MODEL_PICTURE_H

#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"

enum { QN_PICTURE_SIDE_MAX = 128 }; /* larger pictures are made smaller */

/* Appends "data:image/png;base64,...". Shapes: pixels [height, width, channels], channels 1 or 3. */
QN_MUST_USE qn_status qn_picture_write(qn_buf *dst, const uint8_t *pixels, int64_t height,
                                       int64_t width, int64_t channels, qn_error *err);

#endif
