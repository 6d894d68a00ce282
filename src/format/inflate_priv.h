/*
 * Bounded decompression for idx and npz: the caller says how many bytes it wants, never "all there are".
 */
#ifndef QN_FORMAT_INFLATE_PRIV_H
#define QN_FORMAT_INFLATE_PRIV_H

#include <zlib.h>

#include "base/error.h"
#include "base/str.h"

/* One byte of deflate makes at most this many (zlib's technical notes): a promise beyond it is a bomb or a lie. */
enum { QN_INFLATE_RATIO_MAX = 1032 };

typedef enum { QN_INFLATE_GZIP, QN_INFLATE_RAW } qn_inflate_form;

typedef struct {
    z_stream stream;
    qn_str left; /* input not yet handed to zlib, which counts in 32 bits */
    const char *file;
    bool ended;
} qn_inflate;

bool qn_inflate_is_gzip(qn_str bytes);
QN_MUST_USE qn_status qn_inflate_open(qn_inflate *in, qn_str bytes, qn_inflate_form form,
                                      const char *file, qn_error *err);
/* Exactly `size` bytes, or ERR_DATA saying how many there were. */
QN_MUST_USE qn_status qn_inflate_read(qn_inflate *in, void *dst, size_t size, qn_error *err);
/* Nothing may follow, and the checksum must be right. */
QN_MUST_USE qn_status qn_inflate_finish(qn_inflate *in, qn_error *err);
void qn_inflate_close(qn_inflate *in);

#endif
