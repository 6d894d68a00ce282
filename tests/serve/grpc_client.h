/*
 * A small blocking gRPC client on nghttp2, for the tests: several calls on one connection, bodies as given, so that
 * malformed frames and messages can be sent too.
 */
#ifndef QN_GRPC_CLIENT_H
#define QN_GRPC_CLIENT_H

#include <nghttp2/nghttp2.h>
#include <poll.h>

#include "serve_fixture.h"

typedef struct {
    const char *path, *content_type, *timeout, *authority; /* NULL = the usual */
    const char *body;
    size_t body_size, sent;
    bool open; /* the client does not end its side */
    /* out: */
    int http_status, grpc_status; /* -1 = none came */
    char message[512];
    char reply[1 << 16];
    size_t reply_size;
    bool closed;
} call;

typedef struct {
    int fd;
    nghttp2_session *session;
} client;

static call *call_of(nghttp2_session *session, int32_t id)
{
    return nghttp2_session_get_stream_user_data(session, id);
}

static int client_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                         size_t name_size, const uint8_t *value, size_t value_size, uint8_t flags,
                         void *user)
{
    (void)flags;
    (void)user;
    call *c = call_of(session, frame->hd.stream_id);
    qn_str key = {(const char *)name, name_size};
    char text[512];
    snprintf(text, sizeof(text), "%.*s", (int)value_size, (const char *)value);
    if (c && qn_str_is(key, ":status"))
        c->http_status = (int)strtol(text, NULL, 10);
    else if (c && qn_str_is(key, "grpc-status"))
        c->grpc_status = (int)strtol(text, NULL, 10);
    else if (c && qn_str_is(key, "grpc-message"))
        snprintf(c->message, sizeof(c->message), "%s", text);
    return 0;
}

static int client_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
                       size_t size, void *user)
{
    (void)flags;
    (void)user;
    call *c = call_of(session, id);
    if (c && c->reply_size + size <= sizeof(c->reply)) {
        memcpy(c->reply + c->reply_size, data, size);
        c->reply_size += size;
    }
    return 0;
}

static int client_close(nghttp2_session *session, int32_t id, uint32_t code, void *user)
{
    (void)code;
    (void)user;
    call *c = call_of(session, id);
    if (c)
        c->closed = true;
    return 0;
}

static ssize_t client_body(nghttp2_session *session, int32_t id, uint8_t *dst, size_t room,
                           uint32_t *flags, nghttp2_data_source *source, void *user)
{
    (void)session;
    (void)id;
    (void)user;
    call *c = source->ptr;
    size_t take = c->body_size - c->sent < room ? c->body_size - c->sent : room;
    if (take == 0 && c->open)
        return NGHTTP2_ERR_DEFERRED;
    memcpy(dst, c->body + c->sent, take);
    c->sent += take;
    if (c->sent == c->body_size && !c->open)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)take;
}

static void client_open(client *c, const fixture *f)
{
    nghttp2_session_callbacks *callbacks;
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, client_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, client_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, client_close);
    nghttp2_session_client_new(&c->session, callbacks, c);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, NULL, 0);
    c->fd = dial(f);
}

static void client_shut(client *c)
{
    nghttp2_session_del(c->session);
    close(c->fd);
}

static nghttp2_nv client_field(const char *name, const char *value)
{
    return (nghttp2_nv){(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, strlen(name),
                        strlen(value), NGHTTP2_NV_FLAG_NONE};
}

static int32_t client_start(client *c, call *one)
{
    nghttp2_nv fields[8] = {
        client_field(":method", "POST"),
        client_field(":scheme", "http"),
        client_field(":path", one->path),
        client_field(":authority", one->authority ? one->authority : "localhost"),
        client_field("te", "trailers"),
        client_field("content-type", one->content_type ? one->content_type : "application/grpc"),
        client_field("grpc-timeout", one->timeout ? one->timeout : "10S"),
    };
    one->http_status = one->grpc_status = -1;
    nghttp2_data_provider provider = {{.ptr = one}, client_body};
    return nghttp2_submit_request(c->session, NULL, fields, 7, &provider, one);
}

static void client_flush(client *c)
{
    const uint8_t *data;
    ssize_t size;
    while ((size = nghttp2_session_mem_send(c->session, &data)) > 0)
        for (ssize_t sent = 0, n; sent < size; sent += n)
            if ((n = send(c->fd, data + sent, (size_t)(size - sent), MSG_NOSIGNAL)) <= 0)
                return;
}

/* Exchanges frames until `one` is closed, or `ms` have passed, or the connection ends. */
static void client_run(client *c, call *one, int ms)
{
    static uint8_t buffer[1 << 16];
    int64_t end = qn_now_ns() + (int64_t)ms * 1000000;
    while (!one->closed && qn_now_ns() < end) {
        client_flush(c);
        struct pollfd poll_fd = {c->fd, POLLIN, 0};
        if (poll(&poll_fd, 1, 50) <= 0)
            continue;
        ssize_t got = recv(c->fd, buffer, sizeof(buffer), 0);
        if (got <= 0 || nghttp2_session_mem_recv(c->session, buffer, (size_t)got) < 0)
            break;
    }
    client_flush(c);
}

/* One call on a connection of its own. */
static void call_once(const fixture *f, call *one)
{
    client c;
    client_open(&c, f);
    client_start(&c, one);
    client_run(&c, one, 5000);
    client_shut(&c);
}

#endif
