/*
 * HTTP/1.1 messages as bytes (RFC 9112), strictly: whatever two parsers could read in two ways is refused,
 * because that is how requests are smuggled past a proxy. Pure functions over buffers; no sockets.
 *
 * Refused: Content-Length with Transfer-Encoding, repeated Content-Length, a space before the colon, folded lines,
 * a bare LF or CR, no or two Host lines, codings other than `chunked`.
 */
#ifndef QN_NET_HTTP1_H
#define QN_NET_HTTP1_H

#include "base/arena.h"
#include "net/server.h"

/* 0 = go on; otherwise the HTTP status of the refusal and why. */
typedef struct {
    int status;
    const char *why;
} qn_http1_refusal;

/* Looks for the end of the head (the empty line). *scanned is kept between calls, 0 at first, so that a head that
 * arrives byte by byte is scanned once. Returns the head's size with its empty line, or 0 = more bytes needed. */
size_t qn_http1_find_end(const char *data, size_t size, size_t *scanned,
                         const qn_net_limits *limits, qn_http1_refusal *ret);

typedef struct {
    qn_str method, path, query, host;
    qn_header *headers; /* names in lower case */
    int64_t headers_count;
    int64_t content_length; /* -1 = none */
    bool chunked;
    bool keep_alive;
    bool expect_continue;
    int minor; /* HTTP/1.minor */
} qn_http1_head;

/* Reads a whole head. `head` is changed (names become lower case) and the views point into it; the header table
 * is made in `request_arena`. ret->status is 503 when memory is short. */
void qn_http1_parse_head(char *head, size_t size, const qn_net_limits *limits,
                         qn_arena *request_arena, qn_http1_head *ret_head, qn_http1_refusal *ret);

/* A chunked body, fed as it arrives. Zeroed at the start. */
typedef struct {
    int state; /* private */
    int64_t left;
    int64_t line_bytes;
} qn_http1_chunks;

/* Consumes some of `data`, at least one byte if there is any and the body is not done. ret_data is a run of body
 * bytes inside `data` (maybe empty). Returns bytes consumed; *ret_done after the last chunk and trailers. */
size_t qn_http1_chunks_feed(qn_http1_chunks *chunks, const char *data, size_t size,
                            const qn_net_limits *limits, qn_str *ret_data, bool *ret_done,
                            qn_http1_refusal *ret);

/* Every byte may stand in a request target; shared with HTTP/2. */
bool qn_http1_target_ok(qn_str target);
/* "/a?b" -> "/a" and "b" */
void qn_http1_split_target(qn_str target, qn_str *ret_path, qn_str *ret_query);

#endif
