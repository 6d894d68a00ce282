/*
 * One port for HTTP/1.1, HTTP/2 and gRPC: bytes become requests, answers become bytes.
 *
 * The first bytes of a connection choose the protocol. A request reaches the handler whole (REST
 * and unary gRPC) or message by message (gRPC streams), and the answer may come at once or later.
 * This folder knows nothing of models or routes.
 *
 *     client ---- bytes ---> connection ---> on_head ---> on_request | on_message ... on_end
 *            <--- bytes ----            <--- qn_request_reply | qn_grpc_finish
 *
 * Life of a request: from on_head until the handler answers it (qn_request_reply or
 * qn_grpc_finish), whatever happens to the client meanwhile. Every request is answered exactly once
 * and is not touched afterwards. All callbacks and all functions that take a qn_request run in the
 * loop thread, unless their comment says otherwise; other threads come back through qn_net_post.
 */
#ifndef QN_NET_SERVER_H
#define QN_NET_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/str.h"

/*    name               default      reason */
#define QN_NET_LIMITS(X)                                                                           \
    X(header_bytes, 16 << 10, "all header lines of a request; twice what browsers and gRPC send")  \
    X(headers_max, 100, "header lines of a request")                                               \
    X(url_bytes, 8 << 10, "request target; RFC 9110 asks for 8000")                                \
    X(body_bytes, 64 << 20, "one request body or gRPC message: a batch of 80 photos as floats")    \
    X(memory_bytes, 1 << 30, "bodies of all requests together; beyond it 503")                     \
    X(connections_max, 1024, "open connections; beyond it 503 at once")                            \
    X(streams_max, 128, "HTTP/2 streams of a connection; nghttp2 and gRPC clients use 100")        \
    X(resets_burst, 200, "HTTP/2 stream resets at once (rapid reset, CVE-2023-44487)")             \
    X(resets_rate, 50, "HTTP/2 stream resets a second after the burst")                            \
    X(continuations_max, 8, "CONTINUATION frames of a header block (CVE-2024-28182)")              \
    X(input_bytes, 64 << 10, "pipelined bytes held for a connection while a request runs")         \
    X(output_bytes, 1 << 20, "answers waiting for a slow reader before its input is paused")       \
    X(header_ms, 10000, "a whole header, however slowly it drips")                                 \
    X(body_ms, 30000, "a body, besides the time its bytes may take at rate_min")                   \
    X(write_ms, 30000, "an answer, besides the time its bytes may take at rate_min")               \
    X(rate_min, 4096, "bytes a second of the slowest client worth keeping")                        \
    X(idle_ms, 75000, "a kept connection without a request; just over common proxies' 60 s")       \
    X(linger_ms, 2000, "after a refusal, time for the client to read it before the close")

typedef struct {
#define X(name, value, reason) int64_t name;
    QN_NET_LIMITS(X)
#undef X
} qn_net_limits;

qn_net_limits qn_net_limits_default(void);

typedef enum { QN_NET_HTTP1, QN_NET_HTTP2, QN_NET_GRPC } qn_net_kind;

typedef struct {
    qn_str name; /* lower case */
    qn_str value;
} qn_header;

typedef struct qn_net_server qn_net_server;
typedef struct qn_request qn_request;

/* Work handed to the loop thread by another one; embed it in what it is about. */
typedef struct qn_net_job qn_net_job;
struct qn_net_job {
    qn_net_job *next; /* private */
    void (*run)(qn_net_job *job);
};

struct qn_request {
    qn_net_kind kind;
    qn_str method;
    qn_str path;  /* as sent, before '?', percent-encoding untouched */
    qn_str query; /* after '?', without it */
    qn_str host;  /* Host or :authority */
    const qn_header *headers;
    int64_t headers_count;
    qn_str body;         /* whole body or the one gRPC message; set from on_request on */
    qn_arena *arena;     /* lifetime: request */
    qn_buf *out;         /* for the answer's body, empty at first; lifetime: request */
    int64_t deadline_ns; /* qn_now_ns clock; 0 = none */
    qn_net_job job;      /* free for the handler's qn_net_post */
    void *user;          /* the handler's */
};

typedef enum {
    QN_NET_WHOLE, /* collect the body, then on_request (gRPC: exactly one message) */
    QN_NET_STREAM /* gRPC only: on_message for each message, one at a time, then on_end */
} qn_net_mode;

typedef struct {
    void *context;
    /* The header is here, the body may not be. Answering now refuses the request without reading
     * on. */
    qn_net_mode (*on_head)(void *context, qn_request *request);
    void (*on_request)(void *context, qn_request *request);
    /* `message` is valid during the call. The next one comes after qn_grpc_next. */
    void (*on_message)(void *context, qn_request *request, qn_str message);
    void (*on_end)(void *context, qn_request *request);
    /* The client has gone or its deadline has passed: stop what can be stopped. The request stays
     * valid and still has to be answered; the answer goes nowhere. */
    void (*on_cancel)(void *context, qn_request *request);
    void (*on_drain)(
        void *context); /* the drain begins: end what would wait for ever. May be NULL */
} qn_net_handler;

typedef struct {
    const char *host; /* NULL = 127.0.0.1 */
    int port;         /* 0 = any free one */
    int64_t drain_ms; /* requests in flight may take so long after qn_net_stop */
    qn_net_limits limits;
    qn_net_handler handler;
} qn_net_options;

/* Counters since the start; read in the loop thread. */
typedef struct {
    int64_t connections_open, connections_total, connections_refused;
    int64_t requests_http1, requests_http2, requests_grpc;
    int64_t requests_bad; /* refused by this folder: malformed, over a limit, too slow */
    int64_t bytes_in, bytes_out;
} qn_net_stats;

/* Binds and listens. Errors: ERR_IO naming address and port; ERR_ARG for a host that has no
 * address. */
QN_MUST_USE qn_status qn_net_server_create(const qn_net_options *options, qn_net_server **ret,
                                           qn_error *err);
void qn_net_server_destroy(qn_net_server *server);
int qn_net_port(const qn_net_server *server);
const qn_net_stats *qn_net_stats_of(const qn_net_server *server);
/* Serves until qn_net_stop and the drain that follows it. Threads: one. */
QN_MUST_USE qn_status qn_net_run(qn_net_server *server, qn_error *err);
/* Begins the drain: no new connections or requests, those in flight finish. Threads: any, and
 * signal handlers. */
void qn_net_stop(qn_net_server *server);
bool qn_net_is_draining(const qn_net_server *server);
/* Runs `job->run(job)` soon in the loop thread. Threads: any. */
void qn_net_post(qn_net_server *server, qn_net_job *job);

/* Value of a header by lower-case name; {NULL, 0} = absent. */
qn_str qn_request_header(const qn_request *request, const char *name);
/* The client has gone or its deadline has passed. Threads: any. */
bool qn_request_is_cancelled(const qn_request *request);

typedef struct {
    int status;
    qn_str content_type;      /* empty = none */
    const qn_header *headers; /* besides content-type, content-length, date, connection */
    int64_t headers_count;
    qn_str body; /* in request->out, request->arena or static memory */
    bool close;  /* HTTP/1.1: end the connection after this answer */
} qn_reply;

/* Answers an HTTP request, and gives it back. */
void qn_request_reply(qn_request *request, const qn_reply *reply);

/* gRPC answers: messages, then a status. A message is written between begin and end into the buffer
 * that begin returns (request->out). */
qn_buf *qn_grpc_begin(qn_request *request);
void qn_grpc_end(qn_request *request);
/* Streams: wants the next message (on_message) or the end (on_end); may be called inside
 * on_message. */
void qn_grpc_next(qn_request *request);
/* Sends `status` (0 = OK) and gives the request back. Without a message before it, a trailers-only
 * answer. */
void qn_grpc_finish(qn_request *request, int status, qn_str message);

const char *qn_http_reason(int status); /* "Not Found" */

#endif
