/*
 * Exchanges: taking them from the pool, giving them back, and the handler's functions that do not depend on
 * the protocol. An exchange lives while the handler holds it or the connection is attached to it.
 */
#include "net_priv.h"

#include "base/alloc.h"

static qn_exchange *exchange_create(qn_net_server *server)
{
    qn_exchange *x = qn_alloc_zero(1, sizeof(*x));
    if (!x)
        return NULL;
    x->server = server;
    qn_arena_init(&x->arena, 0);
    qn_buf_init(&x->body, 0);
    qn_buf_init(&x->out, 0);
    qn_buf_init(&x->grpc_message, 0);
    x->all_next = server->all;
    if (server->all)
        server->all->all_prev = x;
    server->all = x;
    return x;
}

static void exchange_destroy(qn_exchange *x)
{
    if (x->all_prev)
        x->all_prev->all_next = x->all_next;
    else
        x->server->all = x->all_next;
    if (x->all_next)
        x->all_next->all_prev = x->all_prev;
    qn_arena_deinit(&x->arena);
    qn_buf_deinit(&x->body);
    qn_buf_deinit(&x->out);
    qn_buf_deinit(&x->grpc_message);
    qn_free(x);
}

qn_exchange *qn_exchange_get(qn_net_conn *conn)
{
    qn_net_server *server = conn->server;
    qn_exchange *x = server->idle;
    if (x) {
        server->idle = x->next;
        server->idle_count--;
        x->next = NULL;
    } else {
        x = exchange_create(server);
        if (!x)
            return NULL;
    }
    x->conn = conn;
    x->attached = true;
    x->start_ms = qn_server_now_ms(server);
    x->request.arena = &x->arena;
    x->request.out = &x->out;
    return x;
}

static void trim(qn_buf *buf)
{
    if (buf->capacity > QN_NET_KEEP_BYTES)
        qn_buf_deinit(buf);
    else
        qn_buf_reset(buf);
}

/* Back to the pool, with its small buffers. */
static void recycle(qn_exchange *x)
{
    qn_net_server *server = x->server;
    server->memory_bytes -= x->charged_bytes;
    if (server->idle_count >= QN_NET_EXCHANGES_IDLE) {
        exchange_destroy(x);
        return;
    }
    if (x->arena.used_bytes > QN_NET_KEEP_BYTES)
        qn_arena_deinit(&x->arena);
    else
        qn_arena_reset(&x->arena);
    trim(&x->body);
    trim(&x->out);
    trim(&x->grpc_message);
    qn_exchange kept = *x;
    *x = (qn_exchange){.server = server,
                       .arena = kept.arena,
                       .body = kept.body,
                       .out = kept.out,
                       .grpc_message = kept.grpc_message,
                       .all_prev = kept.all_prev,
                       .all_next = kept.all_next,
                       .next = server->idle};
    server->idle = x;
    server->idle_count++;
}

void qn_exchange_hold(qn_exchange *x)
{
    x->held = true;
    x->server->held_count++;
}

void qn_exchange_give(qn_exchange *x)
{
    if (x->held)
        x->server->held_count--;
    x->held = false;
    if (!x->attached)
        recycle(x);
}

void qn_exchange_cancel(qn_exchange *x)
{
    uv_mutex_lock(&x->server->lock);
    bool before = x->cancelled;
    x->cancelled = true;
    uv_mutex_unlock(&x->server->lock);
    if (!before && x->held && x->server->handler.on_cancel)
        x->server->handler.on_cancel(x->server->handler.context, &x->request);
}

void qn_exchange_detach(qn_exchange *x)
{
    x->attached = false;
    x->conn = NULL;
    if (x->held)
        qn_exchange_cancel(x); /* may give it back, and so recycle it */
    else
        recycle(x);
}

bool qn_exchange_store(qn_exchange *x, const char *data, size_t size)
{
    qn_net_server *server = x->server;
    if (server->memory_bytes + (int64_t)size > server->limits.memory_bytes)
        return false;
    qn_buf_append(&x->body, data, size);
    if (x->body.failed)
        return false;
    server->memory_bytes += (int64_t)size;
    x->charged_bytes += (int64_t)size;
    return true;
}

void qn_exchange_free_all(qn_net_server *server)
{
    while (server->all)
        exchange_destroy(server->all);
    server->idle = NULL;
}

/* ---- the handler's side ---- */

qn_str qn_request_header(const qn_request *request, const char *name)
{
    qn_str wanted = qn_str_from(name);
    for (int64_t i = 0; i < request->headers_count; i++)
        if (qn_str_equal(request->headers[i].name, wanted))
            return request->headers[i].value;
    return (qn_str){NULL, 0};
}

bool qn_request_is_cancelled(const qn_request *request)
{
    const qn_exchange *x = (const qn_exchange *)request;
    uv_mutex_lock(&x->server->lock);
    bool cancelled = x->cancelled;
    uv_mutex_unlock(&x->server->lock);
    return cancelled;
}

void qn_request_reply(qn_request *request, const qn_reply *reply)
{
    qn_exchange *x = (qn_exchange *)request;
    QN_ASSERT(x->held && request->kind != QN_NET_GRPC);
    if (x->conn && !x->answered) {
        x->answered = true;
        if (request->kind == QN_NET_HTTP1) {
            qn_h1_reply(x, reply);
            return;
        }
        qn_h2_reply(x, reply);
    }
    qn_exchange_give(x);
}

qn_buf *qn_grpc_begin(qn_request *request)
{
    qn_exchange *x = (qn_exchange *)request;
    x->message_at = x->out.size;
    qn_buf_append(&x->out, "\0\0\0\0", QN_GRPC_PREFIX);
    return &x->out;
}

void qn_grpc_end(qn_request *request)
{
    qn_exchange *x = (qn_exchange *)request;
    size_t size = x->out.size - x->message_at - QN_GRPC_PREFIX;
    if (x->out.failed || size > UINT32_MAX)
        return; /* the finish that follows says so */
    qn_grpc_frame_prefix(x->out.data + x->message_at, (uint32_t)size);
    if (!x->conn || x->answered)
        qn_buf_reset(&x->out);
    else
        qn_h2_grpc_wake(x);
}

void qn_grpc_next(qn_request *request)
{
    qn_exchange *x = (qn_exchange *)request;
    x->wants = true;
    if (x->conn && !x->delivering)
        qn_h2_deliver(x);
}

void qn_grpc_finish(qn_request *request, int status, qn_str message)
{
    qn_exchange *x = (qn_exchange *)request;
    QN_ASSERT(x->held && request->kind == QN_NET_GRPC);
    if (x->conn && !x->answered) {
        x->answered = true;
        x->grpc_status = status;
        if (x->out.failed && status == QN_GRPC_OK) {
            x->grpc_status = QN_GRPC_RESOURCE_EXHAUSTED;
            message = QN_STR("the answer does not fit into memory");
        }
        qn_grpc_message_write(&x->grpc_message, message);
        qn_h2_grpc_wake(x);
    }
    qn_exchange_give(x);
}

const char *qn_http_reason(int status)
{
    static const struct {
        int status;
        const char *text;
    } rows[] = {{200, "OK"},
                {204, "No Content"},
                {400, "Bad Request"},
                {401, "Unauthorized"},
                {403, "Forbidden"},
                {404, "Not Found"},
                {405, "Method Not Allowed"},
                {408, "Request Timeout"},
                {409, "Conflict"},
                {413, "Content Too Large"},
                {414, "URI Too Long"},
                {415, "Unsupported Media Type"},
                {417, "Expectation Failed"},
                {421, "Misdirected Request"},
                {429, "Too Many Requests"},
                {431, "Request Header Fields Too Large"},
                {499, "Client Closed Request"},
                {500, "Internal Server Error"},
                {501, "Not Implemented"},
                {503, "Service Unavailable"},
                {504, "Gateway Timeout"},
                {505, "HTTP Version Not Supported"}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (rows[i].status == status)
            return rows[i].text;
    return "Status";
}
