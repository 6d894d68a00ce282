/*
 * A connection: reading, the choice of protocol, writing in one call per turn of the loop, closing without losing
 * the last answer, and the deadlines of both directions.
 */
#include "net_priv.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"

static ssize_t plain_read(qn_net_conn *conn, void *dst, size_t size)
{
    return recv(conn->fd, dst, size, 0);
}

static ssize_t plain_write(qn_net_conn *conn, const struct iovec *parts, int count)
{
    struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)parts,
                             .msg_iovlen = (size_t)count};
    return sendmsg(conn->fd, &message, MSG_NOSIGNAL);
}

static const qn_transport plain = {plain_read, plain_write};

/* ---- closing ---- */

static void on_closed(uv_handle_t *handle)
{
    qn_net_conn *conn = handle->data;
    qn_buf_deinit(&conn->in);
    qn_buf_deinit(&conn->out);
    qn_free(conn);
}

static void unlink_conn(qn_net_conn *conn)
{
    qn_net_server *server = conn->server;
    if (conn->prev)
        conn->prev->next = conn->next;
    else
        server->conns = conn->next;
    if (conn->next)
        conn->next->prev = conn->prev;
    server->stats.connections_open--;
}

void qn_conn_close(qn_net_conn *conn)
{
    if (conn->state == QN_CONN_CLOSED)
        return;
    qn_conn_state before = conn->state;
    conn->state = QN_CONN_CLOSED;
    conn->tail = (qn_str){0};
    if (before == QN_CONN_HTTP2)
        qn_h2_gone(conn);
    else
        qn_h1_gone(conn);
    unlink_conn(conn);
    uv_close((uv_handle_t *)&conn->poll, on_closed);
    close(conn->fd);
    conn->fd = -1;
}

bool qn_conn_output_waits(const qn_net_conn *conn)
{
    return conn->out_at < conn->out.size || conn->tail.size > 0;
}

void qn_conn_linger(qn_net_conn *conn)
{
    if (conn->state >= QN_CONN_LINGERING)
        return;
    if (conn->state == QN_CONN_HTTP2)
        qn_h2_gone(conn);
    conn->state = QN_CONN_LINGERING;
    conn->phase_ms = qn_server_now_ms(conn->server);
    qn_buf_deinit(&conn->in);
    qn_conn_dirty(conn);
}

/* ---- which events to wait for ---- */

static bool wants_input(const qn_net_conn *conn)
{
    if (conn->eof)
        return false;
    bool running = conn->state == QN_CONN_HTTP1 && conn->h1.phase >= QN_H1_RUNNING;
    if (running && (int64_t)conn->in.size >= conn->server->limits.input_bytes)
        return false;
    return (int64_t)(conn->out.size - conn->out_at) < conn->server->limits.output_bytes;
}

static void on_poll(uv_poll_t *handle, int status, int events);

static void poll_again(qn_net_conn *conn)
{
    int events = wants_input(conn) ? UV_READABLE : 0;
    if (!events && !conn->eof)
        events = UV_DISCONNECT;
    if (qn_conn_output_waits(conn))
        events |= UV_WRITABLE;
    if (events == conn->events)
        return;
    conn->events = events;
    if (events)
        uv_poll_start(&conn->poll, events, on_poll);
    else
        uv_poll_stop(&conn->poll);
}

/* ---- writing ---- */

void qn_conn_dirty(qn_net_conn *conn)
{
    if (conn->dirty || conn->state == QN_CONN_CLOSED)
        return;
    conn->dirty = true;
    conn->dirty_next = conn->server->dirty;
    conn->server->dirty = conn;
}

static void drop_sent(qn_net_conn *conn, size_t sent)
{
    size_t head = conn->out.size - conn->out_at;
    size_t of_head = sent < head ? sent : head;
    conn->out_at += of_head;
    sent -= of_head;
    if (conn->out_at == conn->out.size) {
        conn->out_at = 0;
        if (conn->out.capacity > QN_NET_KEEP_BYTES)
            qn_buf_deinit(&conn->out);
        else
            qn_buf_reset(&conn->out);
    }
    if (sent > 0) { /* the tail may be absent, its pointer NULL */
        conn->tail.data += sent;
        conn->tail.size -= sent;
    }
}

/* One writev. false = nothing more can go now, or the connection was closed. */
static bool write_once(qn_net_conn *conn)
{
    struct iovec parts[2] = {
        {conn->out.size ? conn->out.data + conn->out_at : NULL, conn->out.size - conn->out_at},
        {(void *)(uintptr_t)conn->tail.data, conn->tail.size}};
    int first = parts[0].iov_len ? 0 : 1;
    int count = (parts[1].iov_len ? 2 : 1) - first;
    ssize_t sent = conn->transport->write(conn, parts + first, count);
    if (sent < 0) {
        if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)
            qn_conn_close(conn);
        return false;
    }
    conn->server->stats.bytes_out += sent;
    conn->write_bytes += sent;
    bool had_tail = conn->tail.size > 0;
    drop_sent(conn, (size_t)sent);
    if (had_tail && conn->tail.size == 0)
        qn_h1_sent(conn);
    return true;
}

static void after_write(qn_net_conn *conn)
{
    if (qn_conn_output_waits(conn)) {
        if (!conn->write_ms) {
            conn->write_ms = qn_server_now_ms(conn->server);
            conn->write_bytes = 0;
        }
    } else {
        conn->write_ms = 0;
        bool asking = conn->state == QN_CONN_HTTP1 && conn->h1.phase >= QN_H1_RUNNING;
        if (conn->eof && !asking) {
            qn_conn_close(conn);
            return;
        }
        if (conn->state == QN_CONN_LINGERING && !conn->shut) {
            conn->shut = true;
            conn->phase_ms = qn_server_now_ms(conn->server);
            shutdown(conn->fd, SHUT_WR);
        }
    }
    poll_again(conn);
}

/* Requests that waited behind the one just answered. */
static void feed_waiting(qn_net_conn *conn)
{
    if (conn->state != QN_CONN_HTTP1 || conn->in.size == 0 || conn->h1.phase >= QN_H1_RUNNING)
        return;
    size_t used = qn_h1_feed(conn, conn->in.data, conn->in.size);
    if (conn->state == QN_CONN_HTTP1)
        qn_buf_consume(&conn->in, used);
}

void qn_conn_flush(qn_net_conn *conn)
{
    if (conn->state == QN_CONN_CLOSED)
        return;
    for (;;) {
        feed_waiting(conn);
        if (conn->state == QN_CONN_HTTP2)
            qn_h2_fill(conn);
        if (conn->state == QN_CONN_CLOSED || !qn_conn_output_waits(conn) || !write_once(conn))
            break;
    }
    if (conn->state != QN_CONN_CLOSED)
        after_write(conn);
}

/* ---- reading ---- */

/* The client preface of HTTP/2 (RFC 9113 3.4); no HTTP/1.1 request starts so. */
static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/* Chooses by the first bytes; stays CHOOSING while they are a part of the preface. */
static void choose(qn_net_conn *conn)
{
    size_t whole = sizeof(preface) - 1;
    size_t compare = conn->in.size < whole ? conn->in.size : whole;
    if (memcmp(conn->in.data, preface, compare) != 0)
        conn->state = QN_CONN_HTTP1;
    else if (compare == whole)
        conn->state = QN_CONN_HTTP2;
    if (conn->state == QN_CONN_HTTP2 && !qn_h2_start(conn))
        qn_conn_close(conn);
}

static void feed_choosing(qn_net_conn *conn, const char *data, size_t size)
{
    if (conn->in.size == 0)
        conn->phase_ms = qn_server_now_ms(conn->server);
    qn_buf_append(&conn->in, data, size);
    if (conn->in.failed) {
        qn_conn_close(conn);
        return;
    }
    choose(conn);
    if (conn->state == QN_CONN_HTTP2) {
        qn_h2_feed(conn, conn->in.data, conn->in.size);
        qn_buf_deinit(&conn->in);
    } else {
        feed_waiting(conn);
    }
}

static void feed_http1(qn_net_conn *conn, const char *data, size_t size)
{
    bool fresh = conn->in.size == 0;
    size_t used = fresh && conn->h1.phase < QN_H1_RUNNING ? qn_h1_feed(conn, data, size) : 0;
    if (conn->state != QN_CONN_HTTP1 || used == size)
        return;
    if (fresh && conn->h1.phase == QN_H1_HEAD)
        conn->phase_ms =
            qn_server_now_ms(conn->server); /* the header's clock starts with its first byte */
    qn_buf_append(&conn->in, data + used, size - used);
    if (conn->in.failed)
        qn_conn_close(conn);
    else if (!fresh)
        feed_waiting(conn);
}

static void feed(qn_net_conn *conn, const char *data, size_t size)
{
    switch (conn->state) {
    case QN_CONN_CHOOSING:
        feed_choosing(conn, data, size);
        break;
    case QN_CONN_HTTP1:
        feed_http1(conn, data, size);
        break;
    case QN_CONN_HTTP2:
        qn_h2_feed(conn, data, size);
        break;
    default:
        break; /* lingering: thrown away */
    }
}

/* The client sends no more. What it asked is still answered (it may have closed one direction only), but work
 * that has not begun may be dropped: most clients that end here have gone. */
static void on_eof(qn_net_conn *conn)
{
    conn->eof = true;
    if (conn->state == QN_CONN_HTTP2 || conn->state == QN_CONN_CHOOSING) {
        qn_conn_close(conn);
        return;
    }
    qn_exchange *x = conn->h1.current;
    if (conn->state == QN_CONN_HTTP1 && conn->h1.phase == QN_H1_RUNNING && x && x->held)
        qn_exchange_cancel(x);
}

static void read_some(qn_net_conn *conn)
{
    qn_net_server *server = conn->server;
    ssize_t got = conn->transport->read(conn, server->read_buffer, QN_NET_READ_BYTES);
    if (got > 0) {
        server->stats.bytes_in += got;
        feed(conn, server->read_buffer, (size_t)got);
    } else if (got == 0) {
        on_eof(conn);
    } else if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
        qn_conn_close(conn);
        return;
    }
    qn_conn_dirty(conn);
}

static void on_poll(uv_poll_t *handle, int status, int events)
{
    qn_net_conn *conn = handle->data;
    qn_net_server *server = conn->server;
    if (status < 0)
        qn_conn_close(conn);
    if (conn->state != QN_CONN_CLOSED && (events & UV_READABLE))
        read_some(conn);
    else if (conn->state != QN_CONN_CLOSED && (events & UV_DISCONNECT))
        on_eof(conn);
    qn_conn_dirty(conn);
    qn_server_flush(server);
}

void qn_conn_open(qn_net_server *server, int fd)
{
    qn_net_conn *conn = qn_alloc_zero(1, sizeof(*conn));
    if (!conn || uv_poll_init(&server->loop, &conn->poll, fd) != 0) {
        qn_free(conn);
        close(fd);
        return;
    }
    conn->server = server;
    conn->fd = fd;
    conn->transport = &plain;
    conn->poll.data = conn;
    conn->phase_ms = qn_server_now_ms(server);
    qn_buf_init(&conn->in, 0);
    qn_buf_init(&conn->out, 0);
    conn->next = server->conns;
    if (server->conns)
        server->conns->prev = conn;
    server->conns = conn;
    server->stats.connections_open++;
    server->stats.connections_total++;
    poll_again(conn);
}

/* ---- deadlines ---- */

static bool writes_too_slowly(const qn_net_conn *conn, int64_t now_ms)
{
    const qn_net_limits *limits = &conn->server->limits;
    int64_t allowed = limits->write_ms + conn->write_bytes * 1000 / limits->rate_min;
    return conn->write_ms && now_ms - conn->write_ms > allowed;
}

void qn_conn_tick(qn_net_conn *conn, int64_t now_ms)
{
    const qn_net_limits *limits = &conn->server->limits;
    if (writes_too_slowly(conn, now_ms)) {
        conn->server->stats.requests_bad++;
        qn_conn_close(conn);
        return;
    }
    int64_t age = now_ms - conn->phase_ms;
    switch (conn->state) {
    case QN_CONN_CHOOSING:
        if (age > (conn->in.size ? limits->header_ms : limits->idle_ms))
            qn_conn_close(conn);
        break;
    case QN_CONN_HTTP1:
        qn_h1_tick(conn, now_ms);
        break;
    case QN_CONN_HTTP2:
        qn_h2_tick(conn, now_ms);
        break;
    case QN_CONN_LINGERING:
        if (conn->shut && age > limits->linger_ms)
            qn_conn_close(conn);
        break;
    default:
        break;
    }
}

static bool is_idle(const qn_net_conn *conn)
{
    return conn->in.size == 0 && (conn->state == QN_CONN_CHOOSING ||
                                  (conn->state == QN_CONN_HTTP1 && conn->h1.phase == QN_H1_HEAD));
}

/* A request that had been sent when the drain began is still answered. */
void qn_conn_drain(qn_net_conn *conn)
{
    if (is_idle(conn))
        read_some(conn);
    if (conn->state == QN_CONN_HTTP2)
        qn_h2_drain(conn);
    else if (conn->state == QN_CONN_CHOOSING && conn->in.size == 0)
        qn_conn_close(conn);
    else if (conn->state == QN_CONN_HTTP1 && conn->h1.phase == QN_H1_HEAD && conn->in.size == 0)
        qn_conn_linger(conn);
    qn_conn_dirty(conn);
}
