/*
 * What the files of this folder share: the server with its loop, a connection with its two protocols, and an
 * exchange (one request and its answer). Everything here lives in the loop thread but `jobs` and `cancelled`,
 * which the server's lock guards.
 */
#ifndef QN_NET_PRIV_H
#define QN_NET_PRIV_H

#include <nghttp2/nghttp2.h>
#include <sys/uio.h>
#include <uv.h>

#include "net/grpc.h"
#include "net/http1.h"
#include "net/server.h"

typedef struct qn_net_conn qn_net_conn;
typedef struct qn_exchange qn_exchange;

enum {
    QN_NET_TICK_MS = 100,         /* grain of every deadline */
    QN_NET_READ_BYTES = 64 << 10, /* one read; all connections share the buffer */
    QN_NET_KEEP_BYTES = 64 << 10, /* buffers above this are not kept for the next request */
    QN_NET_COPY_BYTES =
        16 << 10, /* bodies up to this are copied behind their head, larger ones are not */
    QN_NET_DISCARD_BYTES = 256 << 10, /* of an unwanted body read to keep the connection */
    QN_NET_EXCHANGES_IDLE = 64        /* kept for reuse */
};

/* One request and its answer. */
struct qn_exchange {
    qn_request request; /* first: the handler's pointer is ours */
    qn_net_server *server;
    qn_net_conn *conn;                /* NULL once the connection or stream has gone */
    qn_exchange *prev, *next;         /* the connection's list, or the idle list */
    qn_exchange *all_prev, *all_next; /* every exchange of the server */
    qn_arena arena;
    qn_buf body, out;
    int64_t charged_bytes; /* counted in server->memory_bytes */
    int64_t start_ms;
    int64_t early_ms; /* HTTP/2: when an answer was sent before the request's end; 0 = it was not */
    bool held;        /* the handler has not given it back */
    bool attached;    /* the connection still needs it */
    bool answered;    /* the answer is complete */
    bool cancelled;   /* guarded by server->lock */
    /* HTTP/2 only */
    int32_t stream_id;
    bool streaming, wants, delivering, ended, end_told, head_done, head_large, submitted, deferred;
    qn_header *table;
    int64_t table_capacity;
    int64_t header_bytes;
    qn_str scheme;
    size_t body_at, out_at,
        message_at;           /* consumed of body; sent of out; begin of the open message */
    int64_t unconsumed_bytes; /* of the stream's window, while the handler is busy */
    qn_str send;              /* HTTP answer's body, what is left of it */
    int grpc_status;
    qn_buf grpc_message;
};

typedef enum {
    QN_CONN_CHOOSING, /* too few bytes to tell the protocol */
    QN_CONN_HTTP1,
    QN_CONN_HTTP2,
    QN_CONN_LINGERING, /* answered for the last time; what still comes is thrown away */
    QN_CONN_CLOSED
} qn_conn_state;

typedef enum {
    QN_H1_HEAD,
    QN_H1_BODY,
    QN_H1_RUNNING, /* the handler has the request */
    QN_H1_SENDING  /* a large body goes out from its exchange */
} qn_h1_phase;

typedef struct {
    qn_h1_phase phase;
    qn_exchange *current;
    size_t scanned;
    int64_t body_left;
    qn_http1_chunks chunks;
    bool chunked, keep_alive, discarding, continue_owed;
    bool says_keep_alive; /* HTTP/1.0 clients have to be told */
} qn_h1;

typedef struct {
    nghttp2_session *session;
    qn_exchange *first;
    int64_t streams;
    int64_t headers_since_ms; /* a header block is open; 0 = none */
    int64_t heard_ms, ping_ms;
    bool blocked; /* a stream's handler waits for the client to read */
    int goaway;   /* 0 no, 1 notice given, 2 sent */
} qn_h2;

/* How bytes reach the peer. TLS is another pair of these. Both return -1 with errno as read and writev do. */
typedef struct {
    ssize_t (*read)(qn_net_conn *conn, void *dst, size_t size);
    ssize_t (*write)(qn_net_conn *conn, const struct iovec *parts, int count);
} qn_transport;

struct qn_net_conn {
    qn_net_server *server;
    qn_net_conn *prev, *next;
    qn_net_conn *dirty_next;
    bool dirty, eof, shut;
    const qn_transport *transport;
    uv_poll_t poll;
    int fd;
    int events; /* polled now */
    qn_conn_state state;
    qn_buf in;  /* bytes not consumed yet */
    qn_buf out; /* bytes to send from out_at on */
    size_t out_at;
    qn_str tail;         /* goes out after `out`; lies in the current exchange */
    int64_t phase_ms;    /* when the state or phase began */
    int64_t write_ms;    /* when output began to wait; 0 = none waits */
    int64_t write_bytes; /* sent since then */
    qn_h1 h1;
    qn_h2 h2;
};

struct qn_net_server {
    uv_loop_t loop;
    uv_poll_t listener;
    uv_timer_t tick;
    uv_async_t wake, stop;
    uv_mutex_t lock;
    qn_net_job *jobs, **jobs_end; /* guarded by lock */
    bool jobs_closed;             /* guarded by lock */
    int fd, port;
    bool listening, draining, finished;
    int64_t drain_due_ms;
    int64_t drain_ms;
    qn_net_limits limits;
    qn_net_handler handler;
    qn_net_conn *conns;
    qn_net_conn *dirty;
    qn_exchange *idle, *all;
    int64_t idle_count, held_count;
    int64_t memory_bytes;
    qn_net_stats stats;
    nghttp2_session_callbacks *h2_callbacks;
    nghttp2_option *h2_options;
    int64_t date_s;
    char date[40];
    char *read_buffer;
};

/* server.c */
int64_t qn_server_now_ms(const qn_net_server *server);
qn_str qn_server_date(qn_net_server *server); /* "Sun, 06 Nov 1994 08:49:37 GMT" */
void qn_server_flush(qn_net_server *server);  /* writes what the dirty connections have */

/* conn.c */
void qn_conn_open(qn_net_server *server, int fd);
void qn_conn_close(qn_net_conn *conn);
void qn_conn_linger(qn_net_conn *conn); /* no more requests; close once the output is out */
void qn_conn_dirty(qn_net_conn *conn);
void qn_conn_flush(qn_net_conn *conn);
void qn_conn_tick(qn_net_conn *conn, int64_t now_ms);
void qn_conn_drain(qn_net_conn *conn);
bool qn_conn_output_waits(const qn_net_conn *conn);

/* h1.c */
size_t qn_h1_feed(qn_net_conn *conn, const char *data, size_t size); /* returns bytes consumed */
void qn_h1_refuse(qn_net_conn *conn, int status, const char *why);
void qn_h1_reply(qn_exchange *x, const qn_reply *reply);
void qn_h1_sent(qn_net_conn *conn); /* the tail has gone out */
void qn_h1_gone(qn_net_conn *conn);
void qn_h1_tick(qn_net_conn *conn, int64_t now_ms);

/* h2.c */
qn_status qn_h2_setup(qn_net_server *server); /* callbacks and options, once */
bool qn_h2_start(qn_net_conn *conn);
void qn_h2_feed(qn_net_conn *conn, const char *data, size_t size);
void qn_h2_fill(qn_net_conn *conn); /* frames into conn->out */
void qn_h2_gone(qn_net_conn *conn);
void qn_h2_tick(qn_net_conn *conn, int64_t now_ms);
void qn_h2_drain(qn_net_conn *conn);
void qn_h2_reply(qn_exchange *x, const qn_reply *reply);
void qn_h2_grpc_wake(qn_exchange *x); /* messages or the status are ready to send */
void qn_h2_deliver(qn_exchange *x);   /* hands on the next message, if one is whole and wanted */

/* request.c */
qn_exchange *qn_exchange_get(qn_net_conn *conn); /* NULL = memory */
void qn_exchange_hold(qn_exchange *x);           /* before the first callback */
void qn_exchange_give(qn_exchange *x);           /* the handler gave it back */
void qn_exchange_detach(
    qn_exchange *x); /* the connection needs it no more; cancels an unanswered one */
void qn_exchange_cancel(qn_exchange *x);
bool qn_exchange_store(qn_exchange *x, const char *data,
                       size_t size); /* into body; false = over memory_bytes */
void qn_exchange_free_all(qn_net_server *server);

#endif
