/*
 * HTTP/1.1 on a connection: one request at a time, so that pipelined answers are in order by construction. What
 * follows a running request waits in conn->in, and beyond limits.input_bytes in the client.
 */
#include "net_priv.h"

#include <stdio.h>

/* ---- answers ---- */

static void write_status_line(qn_buf *out, int status)
{
    if (status == 200) {
        qn_buf_str(out, QN_STR("HTTP/1.1 200 OK\r\n"));
        return;
    }
    qn_buf_printf(out, "HTTP/1.1 %d %s\r\n", status, qn_http_reason(status));
}

static void write_field(qn_buf *out, qn_str name, qn_str value)
{
    qn_buf_str(out, name);
    qn_buf_str(out, QN_STR(": "));
    qn_buf_str(out, value);
    qn_buf_str(out, QN_STR("\r\n"));
}

static void write_length(qn_buf *out, size_t length)
{
    char digits[24];
    size_t at = sizeof(digits);
    do {
        digits[--at] = (char)('0' + length % 10);
        length /= 10;
    } while (length);
    write_field(out, QN_STR("content-length"), (qn_str){digits + at, sizeof(digits) - at});
}

static void write_head(qn_net_conn *conn, const qn_reply *reply)
{
    qn_buf *out = &conn->out;
    write_status_line(out, reply->status);
    write_field(out, QN_STR("date"), qn_server_date(conn->server));
    if (reply->content_type.size)
        write_field(out, QN_STR("content-type"), reply->content_type);
    if (reply->status != 204)
        write_length(out, reply->body.size);
    for (int64_t i = 0; i < reply->headers_count; i++)
        write_field(out, reply->headers[i].name, reply->headers[i].value);
    if (!conn->h1.keep_alive)
        qn_buf_str(out, QN_STR("connection: close\r\n"));
    else if (conn->h1.says_keep_alive)
        qn_buf_str(out, QN_STR("connection: keep-alive\r\n"));
    qn_buf_str(out, QN_STR("\r\n"));
}

/* The next request may begin, or the connection ends. */
static void next_request(qn_net_conn *conn)
{
    qn_h1 *h1 = &conn->h1;
    h1->current = NULL;
    if (!h1->keep_alive) {
        qn_conn_linger(conn);
        return;
    }
    h1->phase = h1->discarding ? QN_H1_BODY : QN_H1_HEAD;
    h1->scanned = 0;
    conn->phase_ms = qn_server_now_ms(conn->server);
}

/* Answered before its body was read: small bodies are read and dropped, others end the connection. */
static void settle_unread_body(qn_h1 *h1)
{
    if (h1->phase != QN_H1_BODY)
        return;
    bool small = !h1->chunked && h1->body_left <= QN_NET_DISCARD_BYTES;
    if (small && !h1->continue_owed)
        h1->discarding = true;
    else
        h1->keep_alive = false;
}

void qn_h1_reply(qn_exchange *x, const qn_reply *reply)
{
    qn_net_conn *conn = x->conn;
    qn_h1 *h1 = &conn->h1;
    if (reply->close || conn->server->draining)
        h1->keep_alive = false;
    settle_unread_body(h1);
    bool bare = qn_str_is(x->request.method, "HEAD") || reply->status == 204;
    bool separate = !bare && reply->body.size > QN_NET_COPY_BYTES;
    write_head(conn, reply);
    if (!bare && !separate)
        qn_buf_str(&conn->out, reply->body);
    if (conn->out.failed) {
        x->attached = false;
        x->conn = NULL;
        h1->current = NULL;
        qn_exchange_give(x);
        qn_conn_close(conn);
        return;
    }
    qn_conn_dirty(conn);
    if (separate) {
        conn->tail = reply->body;
        h1->phase = QN_H1_SENDING;
        qn_exchange_give(x);
        return;
    }
    x->attached = false;
    x->conn = NULL;
    next_request(conn);
    qn_exchange_give(x);
}

void qn_h1_sent(qn_net_conn *conn)
{
    qn_exchange *x = conn->h1.current;
    next_request(conn);
    if (x)
        qn_exchange_detach(x);
}

void qn_h1_refuse(qn_net_conn *conn, int status, const char *why)
{
    char body[256];
    int size = snprintf(body, sizeof(body), "{\"error\":\"%s\"}", why);
    static const qn_header retry = {{"retry-after", 11}, {"1", 1}};
    qn_reply reply = {.status = status,
                      .content_type = QN_STR("application/json"),
                      .headers = &retry,
                      .headers_count = status == 503,
                      .body = {body, (size_t)size}};
    conn->h1.keep_alive = false;
    write_head(conn, &reply);
    qn_buf_append(&conn->out, body, (size_t)size);
    conn->server->stats.requests_bad++;
    qn_exchange *x = conn->h1.current;
    conn->h1.current = NULL;
    if (x)
        qn_exchange_detach(x);
    qn_conn_linger(conn);
}

/* ---- requests ---- */

static void fill_request(qn_exchange *x, const qn_http1_head *head)
{
    x->request.kind = QN_NET_HTTP1;
    x->request.method = head->method;
    x->request.path = head->path;
    x->request.query = head->query;
    x->request.host = head->host;
    x->request.headers = head->headers;
    x->request.headers_count = head->headers_count;
}

static void run(qn_net_conn *conn)
{
    qn_exchange *x = conn->h1.current;
    conn->h1.phase = QN_H1_RUNNING;
    x->request.body = qn_buf_view(&x->body);
    const qn_net_handler *handler = &conn->server->handler;
    handler->on_request(handler->context, &x->request);
}

static void begin_body(qn_net_conn *conn, const qn_http1_head *head, bool more_is_here)
{
    qn_h1 *h1 = &conn->h1;
    h1->chunked = head->chunked;
    h1->chunks = (qn_http1_chunks){0};
    h1->body_left = head->content_length > 0 ? head->content_length : 0;
    h1->discarding = false;
    h1->keep_alive = head->keep_alive;
    h1->says_keep_alive = head->keep_alive && head->minor == 0;
    h1->continue_owed = head->expect_continue && !more_is_here;
    h1->phase = head->chunked || h1->body_left ? QN_H1_BODY : QN_H1_RUNNING;
    conn->phase_ms = qn_server_now_ms(conn->server);
}

static void begin_request(qn_net_conn *conn, const qn_http1_head *head, bool more_is_here)
{
    qn_net_server *server = conn->server;
    qn_exchange *x = conn->h1.current;
    fill_request(x, head);
    if (head->content_length > server->limits.body_bytes) {
        qn_h1_refuse(conn, 413, "the body is larger than the limit");
        return;
    }
    server->stats.requests_http1++;
    begin_body(conn, head, more_is_here);
    qn_exchange_hold(x);
    server->handler.on_head(server->handler.context, &x->request);
    if (conn->state != QN_CONN_HTTP1 || conn->h1.current != x || x->answered)
        return;
    if (conn->h1.phase == QN_H1_RUNNING) {
        run(conn);
    } else if (conn->h1.continue_owed) {
        conn->h1.continue_owed = false;
        qn_buf_str(&conn->out, QN_STR("HTTP/1.1 100 Continue\r\n\r\n"));
    }
}

static size_t read_head(qn_net_conn *conn, const char *data, size_t size)
{
    qn_http1_refusal refusal;
    const qn_net_limits *limits = &conn->server->limits;
    size_t head_size = qn_http1_find_end(data, size, &conn->h1.scanned, limits, &refusal);
    if (refusal.status) {
        qn_h1_refuse(conn, refusal.status, refusal.why);
        return 0;
    }
    if (!head_size)
        return 0;
    qn_exchange *x = qn_exchange_get(conn);
    char *copy = x ? qn_arena_strndup(&x->arena, data, head_size) : NULL;
    conn->h1.current = x;
    if (!copy) {
        qn_h1_refuse(conn, 503, "out of memory");
        return 0;
    }
    qn_http1_head head;
    qn_http1_parse_head(copy, head_size, limits, &x->arena, &head, &refusal);
    if (refusal.status)
        qn_h1_refuse(conn, refusal.status, refusal.why);
    else
        begin_request(conn, &head, size > head_size);
    return head_size;
}

/* ---- bodies ---- */

static void body_done(qn_net_conn *conn)
{
    qn_h1 *h1 = &conn->h1;
    if (!h1->discarding) {
        run(conn);
        return;
    }
    h1->discarding = false;
    h1->phase = QN_H1_HEAD;
    h1->scanned = 0;
}

/* false = refused */
static bool keep(qn_net_conn *conn, qn_str data)
{
    qn_exchange *x = conn->h1.current;
    if (conn->h1.discarding || data.size == 0)
        return true;
    int64_t limit = conn->server->limits.body_bytes;
    if ((int64_t)(x->body.size + data.size) > limit) {
        qn_h1_refuse(conn, 413, "the body is larger than the limit");
        return false;
    }
    if (!qn_exchange_store(x, data.data, data.size)) {
        qn_h1_refuse(conn, 503, "bodies under way fill the server's memory");
        return false;
    }
    return true;
}

static size_t read_sized_body(qn_net_conn *conn, const char *data, size_t size)
{
    qn_h1 *h1 = &conn->h1;
    size_t take = (int64_t)size > h1->body_left ? (size_t)h1->body_left : size;
    if (!keep(conn, (qn_str){data, take}))
        return take;
    h1->body_left -= (int64_t)take;
    if (h1->body_left == 0)
        body_done(conn);
    return take;
}

static size_t read_chunked_body(qn_net_conn *conn, const char *data, size_t size)
{
    qn_h1 *h1 = &conn->h1;
    qn_http1_refusal refusal;
    qn_str run_of_body;
    bool done;
    size_t used = qn_http1_chunks_feed(&h1->chunks, data, size, &conn->server->limits, &run_of_body,
                                       &done, &refusal);
    if (refusal.status)
        qn_h1_refuse(conn, refusal.status, refusal.why);
    else if (keep(conn, run_of_body) && done)
        body_done(conn);
    return used;
}

size_t qn_h1_feed(qn_net_conn *conn, const char *data, size_t size)
{
    qn_h1 *h1 = &conn->h1;
    size_t at = 0;
    while (at < size && conn->state == QN_CONN_HTTP1 && h1->phase < QN_H1_RUNNING) {
        if ((int64_t)(conn->out.size - conn->out_at) > conn->server->limits.output_bytes)
            break;
        size_t used;
        if (h1->phase == QN_H1_HEAD)
            used = read_head(conn, data + at, size - at);
        else if (h1->chunked)
            used = read_chunked_body(conn, data + at, size - at);
        else
            used = read_sized_body(conn, data + at, size - at);
        if (used == 0)
            break;
        at += used;
    }
    return at;
}

void qn_h1_gone(qn_net_conn *conn)
{
    qn_exchange *x = conn->h1.current;
    conn->h1.current = NULL;
    if (x)
        qn_exchange_detach(x);
}

void qn_h1_tick(qn_net_conn *conn, int64_t now_ms)
{
    const qn_net_limits *limits = &conn->server->limits;
    int64_t age = now_ms - conn->phase_ms;
    switch (conn->h1.phase) {
    case QN_H1_HEAD:
        if (conn->in.size == 0 && age > limits->idle_ms)
            qn_conn_linger(conn);
        else if (conn->in.size && age > limits->header_ms)
            qn_h1_refuse(conn, 408, "the header did not arrive in time");
        break;
    case QN_H1_BODY: {
        qn_exchange *x = conn->h1.current;
        int64_t got = x ? (int64_t)x->body.size : 0;
        if (age > limits->body_ms + got * 1000 / limits->rate_min)
            qn_h1_refuse(conn, 408, "the body did not arrive in time");
        break;
    }
    default:
        break;
    }
}
