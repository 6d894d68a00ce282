/*
 * gRPC over HTTP/2 as bytes: message framing, timeouts, status text. Pure functions; the streams are in h2.c.
 * Source: grpc/grpc doc/PROTOCOL-HTTP2.md
 */
#ifndef QN_NET_GRPC_H
#define QN_NET_GRPC_H

#include "base/buf.h"
#include "base/str.h"

/* The gRPC codes that this program uses (values are the wire's). */
typedef enum {
    QN_GRPC_OK = 0,
    QN_GRPC_CANCELLED = 1,
    QN_GRPC_INVALID_ARGUMENT = 3,
    QN_GRPC_DEADLINE_EXCEEDED = 4,
    QN_GRPC_NOT_FOUND = 5,
    QN_GRPC_PERMISSION_DENIED = 7,
    QN_GRPC_RESOURCE_EXHAUSTED = 8,
    QN_GRPC_UNIMPLEMENTED = 12,
    QN_GRPC_INTERNAL = 13,
    QN_GRPC_UNAVAILABLE = 14,
    QN_GRPC_UNAUTHENTICATED = 16
} qn_grpc_code;

enum { QN_GRPC_PREFIX = 5 }; /* compressed flag, 32-bit big-endian length */

typedef enum {
    QN_GRPC_FRAME_OK,
    QN_GRPC_FRAME_MORE,       /* the message is not whole yet */
    QN_GRPC_FRAME_TOO_LARGE,  /* its length is over the limit */
    QN_GRPC_FRAME_COMPRESSED, /* no message encoding was negotiated */
} qn_grpc_frame;

/* The first message in `data`; on OK *ret_message points behind the prefix. */
qn_grpc_frame qn_grpc_frame_read(qn_str data, int64_t limit_bytes, qn_str *ret_message);
/* Writes the five prefix bytes for a message of `size` bytes. */
void qn_grpc_frame_prefix(char dst[5], uint32_t size);
/* "100m" -> nanoseconds (at most 99,999,999 hours, capped to fit). false = not a timeout. */
bool qn_grpc_timeout_read(qn_str text, int64_t *ret_ns);
/* Appends `message` percent-encoded: bytes outside 0x20..0x7e and '%'. */
void qn_grpc_message_write(qn_buf *dst, qn_str message);

#endif
