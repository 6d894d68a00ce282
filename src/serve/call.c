/*
 * A call: a request with its route, and the ways to answer it. Every answer passes here once, where it is counted.
 */
#include "serve_priv.h"

#include "base/error.h"
#include "os/clock.h"

static qn_route_stats *stats_of(qn_call *call)
{
    if (!call->route)
        return &call->serve->unrouted;
    return &call->serve->routes[call->route - qn_route_at(0)];
}

static void unlink_stream(qn_call *call)
{
    if (!call->streaming)
        return;
    if (call->prev)
        call->prev->next = call->next;
    else
        call->serve->streams = call->next;
    if (call->next)
        call->next->prev = call->prev;
    call->serve->streams_count--;
    qn_arena_deinit(&call->message_arena);
    call->streaming = false;
}

qn_str qn_error_line(const qn_error *err, qn_arena *arena)
{
    const char *text =
        qn_arena_printf(arena, "%s%s%s%s%s%s", err->where, err->where[0] ? ": " : "", err->text,
                        err->hint[0] ? " (" : "", err->hint, err->hint[0] ? ")" : "");
    return text ? qn_str_from(text) : QN_STR("out of memory");
}

void qn_call_reply(qn_call *call, int status, qn_str content_type, const qn_header *headers,
                   int64_t headers_count)
{
    qn_request *request = call->request;
    qn_reply reply = {.status = status,
                      .content_type = content_type,
                      .headers = headers,
                      .headers_count = headers_count,
                      .body = qn_buf_view(request->out)};
    if (request->out->failed) {
        static const qn_header retry = {{"retry-after", 11}, {"1", 1}};
        reply = (qn_reply){.status = 503,
                           .content_type = QN_STR("application/json"),
                           .headers = &retry,
                           .headers_count = 1,
                           .body = QN_STR("{\"error\":\"the answer does not fit into memory\"}")};
    }
    qn_metrics_answer(stats_of(call), reply.status, qn_now_ns() - call->start_ns);
    qn_request_reply(request, &reply);
}

void qn_call_reply_json(qn_call *call, int status)
{
    qn_call_reply(call, status, QN_STR("application/json"), NULL, 0);
}

qn_json_writer qn_call_json(qn_call *call)
{
    qn_json_writer writer;
    qn_buf_reset(call->request->out);
    qn_json_write_init(&writer, call->request->out);
    return writer;
}

/* HTTP status of a failure; what a client sent is never a 500. */
static void fail_http(qn_call *call, qn_status status, const qn_error *err)
{
    static const qn_header retry = {{"retry-after", 11}, {"1", 1}};
    int http = qn_status_http(status);
    qn_json_writer w = qn_call_json(call);
    qn_json_object_begin(&w);
    qn_json_key(&w, "error");
    qn_json_str(&w, qn_error_line(err, call->request->arena));
    qn_json_object_end(&w);
    qn_call_reply(call, http, QN_STR("application/json"), &retry, http == 503);
}

void qn_call_fail(qn_call *call, qn_status status, const qn_error *err)
{
    if (call->request->kind == QN_NET_GRPC)
        qn_call_finish(call, qn_status_grpc(status), qn_error_line(err, call->request->arena));
    else
        fail_http(call, status, err);
}

/* HTTP statuses that stand for gRPC codes in the counters. */
static int http_of_grpc(int code)
{
    switch (code) {
    case QN_GRPC_OK:
        return 200;
    case QN_GRPC_INVALID_ARGUMENT:
        return 400;
    case QN_GRPC_CANCELLED:
        return 499;
    case QN_GRPC_DEADLINE_EXCEEDED:
        return 504;
    case QN_GRPC_NOT_FOUND:
        return 404;
    case QN_GRPC_PERMISSION_DENIED:
        return 403;
    case QN_GRPC_RESOURCE_EXHAUSTED:
        return 413;
    case QN_GRPC_UNIMPLEMENTED:
        return 501;
    case QN_GRPC_UNAVAILABLE:
        return 503;
    default:
        return 500;
    }
}

void qn_call_finish(qn_call *call, int grpc_status, qn_str message)
{
    qn_metrics_answer(stats_of(call), http_of_grpc(grpc_status), qn_now_ns() - call->start_ns);
    unlink_stream(call);
    qn_grpc_finish(call->request, grpc_status, message);
}

void qn_call_stream(qn_call *call, const ProtobufCMessage *message)
{
    qn_buf *out = qn_grpc_begin(call->request);
    size_t size = protobuf_c_message_get_packed_size(message);
    char *room = qn_buf_reserve(out, size);
    if (room)
        out->size += protobuf_c_message_pack(message, (uint8_t *)room);
    qn_grpc_end(call->request);
}

void qn_call_send(qn_call *call, const ProtobufCMessage *message)
{
    qn_call_stream(call, message);
    qn_call_finish(call, QN_GRPC_OK, (qn_str){NULL, 0});
}

/* ---- protobuf in an arena ---- */

/* Unpacking may cost this many bytes for each byte of a message, besides a base for its structs: a packed integer of one
 * byte becomes eight. An empty submessage takes two bytes on the wire and over a hundred here; a message made of
 * those is refused before it is large. */
enum { UNPACK_FACTOR = 9, UNPACK_BASE = 4 << 20 };

typedef struct {
    qn_arena *arena;
    size_t left;
} bounded;

static void *bounded_alloc(void *data, size_t size)
{
    bounded *memory = data;
    if (size > memory->left)
        return NULL;
    memory->left -= size;
    return qn_arena_alloc(memory->arena, size);
}

static void bounded_free(void *data, void *pointer)
{
    (void)data;
    (void)pointer; /* dies with the arena */
}

void *qn_unpack(const ProtobufCMessageDescriptor *descriptor, qn_str message, qn_arena *arena)
{
    bounded memory = {arena, UNPACK_BASE + message.size * UNPACK_FACTOR};
    ProtobufCAllocator allocator = {bounded_alloc, bounded_free, &memory};
    return protobuf_c_message_unpack(descriptor, &allocator, message.size,
                                     (const uint8_t *)message.data);
}

void *qn_call_unpack(qn_call *call, const ProtobufCMessageDescriptor *descriptor, qn_str message,
                     qn_arena *arena)
{
    void *unpacked = qn_unpack(descriptor, message, arena);
    if (!unpacked)
        qn_call_finish(call, QN_GRPC_INVALID_ARGUMENT,
                       QN_STR("the message is not of the method's request type"));
    return unpacked;
}
