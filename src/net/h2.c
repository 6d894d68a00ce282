/*
 * HTTP/2 and gRPC on a connection: nghttp2 does frames, HPACK and flow control; this file turns its events into
 * exchanges and exchanges into frames.
 *
 * Windows: a stream's bytes are given back to the client as they are stored, since bodies have a limit. Only a
 * gRPC stream whose handler is busy keeps them, so a fast client waits for a slow model.
 */
#include "net_priv.h"

#include <stdio.h>

#include "os/clock.h"

enum {
    STREAM_WINDOW = 1 << 20, /* a 784-float batch of 256 rows in one flight */
    CONNECTION_WINDOW = 4 << 20,
    REPLY_HEADERS_MAX = 12,
    FILL_BYTES = 64 << 10 /* frames made before a write */
};

static qn_net_conn *conn_of(void *user)
{
    return user;
}

static qn_exchange *stream_of(nghttp2_session *session, int32_t id)
{
    return nghttp2_session_get_stream_user_data(session, id);
}

/* ---- answers ---- */

static nghttp2_nv field(const char *name, qn_str value)
{
    return (nghttp2_nv){(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value.data, strlen(name),
                        value.size, NGHTTP2_NV_FLAG_NO_COPY_NAME};
}

static int grpc_trailers(const qn_exchange *x, char digits[12], nghttp2_nv *dst)
{
    int size = snprintf(digits, 12, "%d", x->grpc_status);
    dst[0] = field("grpc-status", (qn_str){digits, (size_t)size});
    dst[1] = field("grpc-message", qn_buf_view(&x->grpc_message));
    return x->grpc_message.size ? 2 : 1;
}

static void submit_trailers(nghttp2_session *session, qn_exchange *x)
{
    char digits[12];
    nghttp2_nv fields[2];
    int count = grpc_trailers(x, digits, fields);
    nghttp2_submit_trailer(session, x->stream_id, fields, (size_t)count);
}

static ssize_t send_body(qn_exchange *x, uint8_t *dst, size_t room, uint32_t *flags)
{
    size_t take = x->send.size < room ? x->send.size : room;
    if (take)
        memcpy(dst, x->send.data, take);
    x->send = (qn_str){x->send.data + take, x->send.size - take};
    if (x->send.size == 0)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)take;
}

static ssize_t send_messages(nghttp2_session *session, qn_exchange *x, uint8_t *dst, size_t room,
                             uint32_t *flags)
{
    size_t waiting = x->out.size - x->out_at;
    if (!waiting && !x->answered) {
        x->deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    size_t take = waiting < room ? waiting : room;
    if (take)
        memcpy(dst, x->out.data + x->out_at, take);
    x->out_at += take;
    if (x->out_at == x->out.size) {
        x->out_at = 0;
        qn_buf_reset(&x->out);
        if (x->answered) {
            *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
            submit_trailers(session, x);
        }
    }
    return (ssize_t)take;
}

static ssize_t on_send(nghttp2_session *session, int32_t id, uint8_t *dst, size_t room,
                       uint32_t *flags, nghttp2_data_source *source, void *user)
{
    (void)id;
    (void)user;
    qn_exchange *x = source->ptr;
    return x->request.kind == QN_NET_GRPC ? send_messages(session, x, dst, room, flags)
                                          : send_body(x, dst, room, flags);
}

static void submit_http(qn_exchange *x, const qn_reply *reply)
{
    nghttp2_nv fields[REPLY_HEADERS_MAX + 4];
    char status[12], length[24];
    int status_size = snprintf(status, sizeof(status), "%d", reply->status);
    int length_size = snprintf(length, sizeof(length), "%zu", reply->body.size);
    size_t count = 0;
    fields[count++] = field(":status", (qn_str){status, (size_t)status_size});
    fields[count++] = field("date", qn_server_date(x->server));
    if (reply->content_type.size)
        fields[count++] = field("content-type", reply->content_type);
    if (reply->status != 204)
        fields[count++] = field("content-length", (qn_str){length, (size_t)length_size});
    QN_ASSERT(reply->headers_count <= REPLY_HEADERS_MAX);
    for (int64_t i = 0; i < reply->headers_count; i++) {
        const qn_header *header = &reply->headers[i];
        fields[count++] = (nghttp2_nv){(uint8_t *)(uintptr_t)header->name.data,
                                       (uint8_t *)(uintptr_t)header->value.data, header->name.size,
                                       header->value.size, NGHTTP2_NV_FLAG_NONE};
    }
    bool bare = qn_str_is(x->request.method, "HEAD") || reply->body.size == 0;
    nghttp2_data_provider provider = {{.ptr = x}, on_send};
    x->send = reply->body;
    nghttp2_submit_response(x->conn->h2.session, x->stream_id, fields, count,
                            bare ? NULL : &provider);
}

void qn_h2_reply(qn_exchange *x, const qn_reply *reply)
{
    submit_http(x, reply);
    qn_conn_dirty(x->conn);
}

static void submit_grpc(qn_exchange *x)
{
    nghttp2_nv fields[5];
    char digits[12];
    size_t count = 0;
    fields[count++] = field(":status", QN_STR("200"));
    fields[count++] = field("content-type", QN_STR("application/grpc"));
    bool bare = x->answered && x->out.size == 0;
    if (bare)
        count += (size_t)grpc_trailers(x, digits, fields + count);
    nghttp2_data_provider provider = {{.ptr = x}, on_send};
    nghttp2_submit_response(x->conn->h2.session, x->stream_id, fields, count,
                            bare ? NULL : &provider);
    x->submitted = true;
}

void qn_h2_grpc_wake(qn_exchange *x)
{
    if (!x->submitted)
        submit_grpc(x);
    else if (x->deferred)
        nghttp2_session_resume_data(x->conn->h2.session, x->stream_id);
    x->deferred = false;
    qn_conn_dirty(x->conn);
}

/* Answers for the handler, or before it has seen the request. */
static void refuse(qn_exchange *x, int http_status, int grpc_status, const char *why)
{
    if (x->answered)
        return;
    x->answered = true;
    x->server->stats.requests_bad++;
    if (x->request.kind == QN_NET_GRPC) {
        qn_buf_reset(&x->out);
        x->grpc_status = grpc_status;
        qn_grpc_message_write(&x->grpc_message, qn_str_from(why));
        qn_h2_grpc_wake(x);
    } else {
        qn_buf_reset(&x->out);
        qn_buf_printf(&x->out, "{\"error\":\"%s\"}", why);
        qn_reply reply = {.status = http_status,
                          .content_type = QN_STR("application/json"),
                          .body = qn_buf_view(&x->out)};
        qn_h2_reply(x, &reply);
    }
    if (x->held)
        qn_exchange_cancel(x);
}

/* ---- a request's head ---- */

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    qn_net_conn *conn = conn_of(user);
    conn->h2.headers_since_ms = qn_server_now_ms(conn->server);
    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    if (conn->h2.streams >= conn->server->limits.streams_max)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    qn_exchange *x = qn_exchange_get(conn);
    if (!x)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    x->stream_id = frame->hd.stream_id;
    x->request.kind = QN_NET_HTTP2;
    x->next = conn->h2.first;
    if (conn->h2.first)
        conn->h2.first->prev = x;
    conn->h2.first = x;
    conn->h2.streams++;
    nghttp2_session_set_stream_user_data(session, x->stream_id, x);
    return 0;
}

/* Room for one more header; NULL = memory. */
static qn_header *next_header(qn_exchange *x)
{
    if (x->request.headers_count == x->table_capacity) {
        int64_t capacity = x->table_capacity ? x->table_capacity * 2 : 16;
        qn_header *table = qn_arena_alloc(&x->arena, (size_t)capacity * sizeof(*table));
        if (!table)
            return NULL;
        if (x->table_capacity)
            memcpy(table, x->table, (size_t)x->table_capacity * sizeof(*table));
        x->table = table;
        x->table_capacity = capacity;
        x->request.headers = table;
    }
    return &x->table[x->request.headers_count];
}

static void take_pseudo(qn_request *request, qn_str name, qn_str value)
{
    if (qn_str_is(name, ":method"))
        request->method = value;
    else if (qn_str_is(name, ":path"))
        request->path = value;
    else if (qn_str_is(name, ":authority"))
        request->host = value;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_size, const uint8_t *value, size_t value_size, uint8_t flags,
                     void *user)
{
    (void)flags;
    (void)user;
    qn_exchange *x = stream_of(session, frame->hd.stream_id);
    if (!x || x->head_done)
        return 0; /* trailers mean nothing here */
    const qn_net_limits *limits = &x->server->limits;
    x->header_bytes += (int64_t)(name_size + value_size);
    bool pseudo = name_size && name[0] == ':';
    if (x->header_bytes > limits->header_bytes + limits->url_bytes ||
        (!pseudo && x->request.headers_count >= limits->headers_max))
        x->head_large = true;
    if (x->head_large)
        return 0;
    qn_header *header = pseudo ? NULL : next_header(x);
    char *copy = qn_arena_alloc(&x->arena, name_size + value_size + 1);
    if (!copy || (!pseudo && !header))
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    memcpy(copy, name, name_size);
    if (value_size)
        memcpy(copy + name_size, value, value_size);
    qn_str key = {copy, name_size}, text = {copy + name_size, value_size};
    if (pseudo) {
        take_pseudo(&x->request, key, text);
    } else {
        *header = (qn_header){key, text};
        x->request.headers_count++;
    }
    return 0;
}

static bool is_grpc(const qn_request *request)
{
    qn_str type = qn_request_header(request, "content-type");
    size_t size = sizeof("application/grpc") - 1;
    if (!qn_str_is(request->method, "POST") || !qn_str_starts(type, "application/grpc"))
        return false;
    return type.size == size || type.data[size] == '+' || type.data[size] == ';';
}

/* false = answered */
static bool check_head(qn_exchange *x)
{
    qn_request *request = &x->request;
    const qn_net_limits *limits = &x->server->limits;
    if (x->head_large) {
        refuse(x, 431, QN_GRPC_RESOURCE_EXHAUSTED, "the header is larger than the limit");
        return false;
    }
    if ((int64_t)request->path.size > limits->url_bytes) {
        refuse(x, 414, QN_GRPC_INVALID_ARGUMENT, "the request target is longer than the limit");
        return false;
    }
    if (!qn_http1_target_ok(request->path)) {
        refuse(x, 400, QN_GRPC_INVALID_ARGUMENT, "the path has a byte that is not allowed there");
        return false;
    }
    return true;
}

/* false = answered */
static bool take_timeout(qn_exchange *x)
{
    qn_str timeout = qn_request_header(&x->request, "grpc-timeout");
    int64_t timeout_ns;
    if (!timeout.data)
        return true;
    if (!qn_grpc_timeout_read(timeout, &timeout_ns)) {
        refuse(x, 400, QN_GRPC_INVALID_ARGUMENT, "grpc-timeout is not 1 to 8 digits and a unit");
        return false;
    }
    x->request.deadline_ns = qn_now_ns() + timeout_ns;
    return true;
}

static void head_done(qn_exchange *x)
{
    qn_net_server *server = x->server;
    x->head_done = true;
    if (is_grpc(&x->request))
        x->request.kind = QN_NET_GRPC;
    bool grpc = x->request.kind == QN_NET_GRPC;
    if (!check_head(x) || (grpc && !take_timeout(x)))
        return;
    if (x->request.host.size == 0)
        x->request.host = qn_request_header(&x->request, "host");
    qn_http1_split_target(x->request.path, &x->request.path, &x->request.query);
    if (grpc)
        server->stats.requests_grpc++;
    else
        server->stats.requests_http2++;
    qn_exchange_hold(x);
    qn_net_mode mode = server->handler.on_head(server->handler.context, &x->request);
    x->streaming = grpc && mode == QN_NET_STREAM;
    x->wants = true;
}

/* ---- bodies and messages ---- */

static void finish_whole(qn_exchange *x)
{
    qn_str message = {0};
    if (x->request.kind == QN_NET_GRPC) {
        qn_grpc_frame frame = qn_grpc_frame_read(qn_buf_view(&x->body), INT64_MAX, &message);
        if (frame != QN_GRPC_FRAME_OK || message.size + QN_GRPC_PREFIX != x->body.size) {
            refuse(x, 400, QN_GRPC_INVALID_ARGUMENT, "the call has not exactly one whole message");
            return;
        }
        x->request.body = message;
    } else {
        x->request.body = qn_buf_view(&x->body);
    }
    x->server->handler.on_request(x->server->handler.context, &x->request);
}

static void request_ended(qn_exchange *x)
{
    x->ended = true;
    if (x->answered)
        return;
    if (x->streaming)
        qn_h2_deliver(x);
    else
        finish_whole(x);
}

/* Refuses a message that cannot be taken, from its first bytes on. false = refused */
static bool check_frame(qn_exchange *x, qn_grpc_frame frame)
{
    if (frame == QN_GRPC_FRAME_TOO_LARGE)
        refuse(x, 413, QN_GRPC_RESOURCE_EXHAUSTED, "the message is larger than the limit");
    else if (frame == QN_GRPC_FRAME_COMPRESSED)
        refuse(x, 415, QN_GRPC_UNIMPLEMENTED, "compressed messages are not taken: use identity");
    return frame == QN_GRPC_FRAME_OK || frame == QN_GRPC_FRAME_MORE;
}

static void give_window_back(qn_exchange *x)
{
    if (x->unconsumed_bytes && x->conn)
        nghttp2_session_consume_stream(x->conn->h2.session, x->stream_id,
                                       (size_t)x->unconsumed_bytes);
    x->unconsumed_bytes = 0;
}

static void end_stream(qn_exchange *x)
{
    if (x->end_told)
        return;
    x->end_told = true;
    if (x->body.size > x->body_at)
        refuse(x, 400, QN_GRPC_INVALID_ARGUMENT, "the stream ends inside a message");
    else
        x->server->handler.on_end(x->server->handler.context, &x->request);
}

void qn_h2_deliver(qn_exchange *x)
{
    const qn_net_handler *handler = &x->server->handler;
    x->delivering = true;
    while (x->wants && !x->answered && x->conn) {
        if ((int64_t)(x->out.size - x->out_at) > x->server->limits.output_bytes) {
            x->conn->h2.blocked = true; /* goes on when the client has read */
            break;
        }
        qn_str rest = {x->body.data + x->body_at, x->body.size - x->body_at};
        qn_str message;
        qn_grpc_frame frame = qn_grpc_frame_read(rest, x->server->limits.body_bytes, &message);
        if (!check_frame(x, frame))
            break;
        if (frame == QN_GRPC_FRAME_MORE) {
            give_window_back(x);
            if (x->ended)
                end_stream(x);
            break;
        }
        x->wants = false;
        x->body_at += QN_GRPC_PREFIX + message.size;
        handler->on_message(handler->context, &x->request, message);
    }
    x->delivering = false;
    if (x->conn && x->body_at) {
        qn_buf_consume(&x->body, x->body_at);
        x->server->memory_bytes -= (int64_t)x->body_at;
        x->charged_bytes -= (int64_t)x->body_at;
        x->body_at = 0;
    }
}

static void take_data(qn_exchange *x, const char *data, size_t size)
{
    int64_t limit = x->server->limits.body_bytes;
    bool grpc = x->request.kind == QN_NET_GRPC;
    if (!x->streaming && (int64_t)(x->body.size + size) > limit + (grpc ? QN_GRPC_PREFIX : 0)) {
        refuse(x, 413, QN_GRPC_RESOURCE_EXHAUSTED, "the body is larger than the limit");
        return;
    }
    if (!qn_exchange_store(x, data, size)) {
        refuse(x, 503, QN_GRPC_UNAVAILABLE, "bodies under way fill the server's memory");
        return;
    }
    if (x->streaming) {
        qn_h2_deliver(x);
    } else if (grpc) {
        qn_str ignored;
        check_frame(x, qn_grpc_frame_read(qn_buf_view(&x->body), limit, &ignored));
    }
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
                   size_t size, void *user)
{
    (void)flags;
    (void)user;
    qn_exchange *x = stream_of(session, id);
    nghttp2_session_consume_connection(session, size);
    if (!x || x->answered) {
        nghttp2_session_consume_stream(session, id, size);
        return 0;
    }
    x->unconsumed_bytes += (int64_t)size;
    take_data(x, (const char *)data, size);
    if (!x->streaming || x->wants)
        give_window_back(x);
    return 0;
}

/* ---- frames and streams ---- */

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    qn_net_conn *conn = conn_of(user);
    if (frame->hd.type == NGHTTP2_PING && (frame->hd.flags & NGHTTP2_FLAG_ACK))
        conn->h2.ping_ms = 0;
    if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA)
        return 0;
    conn->h2.headers_since_ms = 0;
    qn_exchange *x = stream_of(session, frame->hd.stream_id);
    if (!x)
        return 0;
    if (frame->hd.type == NGHTTP2_HEADERS && !x->head_done)
        head_done(x);
    if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
        request_ended(x);
    return 0;
}

/* An answer that came before the request's end: the client may finish its sentence for a while.
 * RFC 9113 8.1 allows a reset at once, but curl 7.88 then throws the answer away. */
static int on_frame_sent(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    bool answer = frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA;
    qn_exchange *x = answer ? stream_of(session, frame->hd.stream_id) : NULL;
    if (x && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) &&
        nghttp2_session_get_stream_remote_close(session, frame->hd.stream_id) == 0)
        x->early_ms = qn_server_now_ms(conn_of(user)->server);
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *user)
{
    (void)code;
    qn_net_conn *conn = conn_of(user);
    qn_exchange *x = stream_of(session, id);
    if (!x)
        return 0;
    if (x->prev)
        x->prev->next = x->next;
    else
        conn->h2.first = x->next;
    if (x->next)
        x->next->prev = x->prev;
    x->prev = x->next = NULL;
    conn->h2.streams--;
    conn->phase_ms = qn_server_now_ms(conn->server);
    qn_exchange_detach(x);
    return 0;
}

/* ---- the connection ---- */

qn_status qn_h2_setup(qn_net_server *server)
{
    if (nghttp2_session_callbacks_new(&server->h2_callbacks) != 0 ||
        nghttp2_option_new(&server->h2_options) != 0)
        return QN_ERR_MEMORY;
    nghttp2_session_callbacks *callbacks = server->h2_callbacks;
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_sent);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    nghttp2_option *options = server->h2_options;
    const qn_net_limits *limits = &server->limits;
    nghttp2_option_set_no_auto_window_update(options, 1);
    nghttp2_option_set_no_closed_streams(options, 1);
    nghttp2_option_set_max_continuations(options, (size_t)limits->continuations_max);
    nghttp2_option_set_stream_reset_rate_limit(options, (uint64_t)limits->resets_burst,
                                               (uint64_t)limits->resets_rate);
    return QN_OK;
}

bool qn_h2_start(qn_net_conn *conn)
{
    const qn_net_limits *limits = &conn->server->limits;
    conn->h2.heard_ms = qn_server_now_ms(conn->server);
    if (nghttp2_session_server_new2(&conn->h2.session, conn->server->h2_callbacks, conn,
                                    conn->server->h2_options) != 0)
        return false;
    nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, (uint32_t)limits->streams_max},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, (uint32_t)limits->header_bytes},
    };
    nghttp2_submit_settings(conn->h2.session, NGHTTP2_FLAG_NONE, settings,
                            sizeof(settings) / sizeof(settings[0]));
    nghttp2_session_set_local_window_size(conn->h2.session, NGHTTP2_FLAG_NONE, 0,
                                          CONNECTION_WINDOW);
    return true;
}

void qn_h2_feed(qn_net_conn *conn, const char *data, size_t size)
{
    conn->h2.heard_ms = qn_server_now_ms(conn->server);
    ssize_t used = nghttp2_session_mem_recv(conn->h2.session, (const uint8_t *)data, size);
    if (used < 0) {
        conn->server->stats.requests_bad++;
        qn_conn_close(conn);
        return;
    }
    qn_conn_dirty(conn);
}

/* Streams whose handlers waited for the client to read. */
static void deliver_waiting(qn_net_conn *conn)
{
    conn->h2.blocked = false;
    for (qn_exchange *x = conn->h2.first; x; x = x->next)
        if (x->streaming && x->wants && !x->delivering && x->body.size)
            qn_h2_deliver(x);
}

void qn_h2_fill(qn_net_conn *conn)
{
    nghttp2_session *session = conn->h2.session;
    if (conn->h2.blocked)
        deliver_waiting(conn);
    while (conn->out.size - conn->out_at < FILL_BYTES) {
        const uint8_t *data;
        ssize_t size = nghttp2_session_mem_send(session, &data);
        if (size < 0) {
            qn_conn_close(conn);
            return;
        }
        if (size == 0)
            break;
        qn_buf_append(&conn->out, data, (size_t)size);
        if (conn->out.failed) {
            qn_conn_close(conn);
            return;
        }
    }
    if (!nghttp2_session_want_read(session) && !nghttp2_session_want_write(session))
        qn_conn_linger(conn);
}

void qn_h2_gone(qn_net_conn *conn)
{
    while (conn->h2.first) {
        qn_exchange *x = conn->h2.first;
        conn->h2.first = x->next;
        x->prev = x->next = NULL;
        conn->h2.streams--;
        qn_exchange_detach(x);
    }
    nghttp2_session_del(conn->h2.session);
    conn->h2.session = NULL;
}

void qn_h2_drain(qn_net_conn *conn)
{
    if (conn->h2.goaway == 0)
        nghttp2_submit_shutdown_notice(conn->h2.session);
    else if (conn->h2.goaway == 1)
        nghttp2_submit_goaway(conn->h2.session, NGHTTP2_FLAG_NONE,
                              nghttp2_session_get_last_proc_stream_id(conn->h2.session),
                              NGHTTP2_NO_ERROR, NULL, 0);
    else
        return;
    conn->h2.goaway++;
    qn_conn_dirty(conn);
}

/* ---- deadlines ---- */

static void tick_stream(qn_exchange *x, int64_t now_ms, int64_t now_ns)
{
    const qn_net_limits *limits = &x->server->limits;
    if (x->early_ms && now_ms - x->early_ms > limits->linger_ms) {
        nghttp2_submit_rst_stream(x->conn->h2.session, NGHTTP2_FLAG_NONE, x->stream_id,
                                  NGHTTP2_NO_ERROR);
        x->early_ms = 0;
        qn_conn_dirty(x->conn);
    }
    if (x->answered)
        return;
    if (x->request.deadline_ns && now_ns > x->request.deadline_ns) {
        refuse(x, 504, QN_GRPC_DEADLINE_EXCEEDED, "the deadline passed");
        return;
    }
    bool slow =
        now_ms - x->start_ms > limits->body_ms + (int64_t)x->body.size * 1000 / limits->rate_min;
    if (!x->ended && !x->streaming && slow)
        refuse(x, 408, QN_GRPC_DEADLINE_EXCEEDED, "the body did not arrive in time");
}

/* Silent with streams open: ask whether anybody is there. Silent without: say goodbye. */
static void tick_silence(qn_net_conn *conn, int64_t now_ms)
{
    const qn_net_limits *limits = &conn->server->limits;
    qn_h2 *h2 = &conn->h2;
    if (h2->ping_ms && now_ms - h2->ping_ms > limits->header_ms) {
        qn_conn_close(conn);
        return;
    }
    if (now_ms - h2->heard_ms <= limits->idle_ms || h2->ping_ms)
        return;
    if (h2->streams) {
        nghttp2_submit_ping(h2->session, NGHTTP2_FLAG_NONE, NULL);
        h2->ping_ms = now_ms;
    } else if (now_ms - conn->phase_ms > limits->idle_ms) {
        nghttp2_session_terminate_session(h2->session, NGHTTP2_NO_ERROR);
    }
    qn_conn_dirty(conn);
}

void qn_h2_tick(qn_net_conn *conn, int64_t now_ms)
{
    qn_h2 *h2 = &conn->h2;
    if (h2->headers_since_ms && now_ms - h2->headers_since_ms > conn->server->limits.header_ms) {
        conn->server->stats.requests_bad++;
        qn_conn_close(conn);
        return;
    }
    int64_t now_ns = qn_now_ns();
    qn_exchange *next;
    for (qn_exchange *x = h2->first; x; x = next) {
        next = x->next;
        tick_stream(x, now_ms, now_ns);
    }
    if (conn->server->draining)
        qn_h2_drain(conn);
    tick_silence(conn, now_ms);
}
