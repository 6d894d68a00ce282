/*
 * The server put together: models, the connection layer, the compute thread; and the step from a request to its
 * route, where host and origin, method, path and encoding are judged before anything else is read.
 */
#include "serve/server.h"

#include <stdio.h>

#include "base/alloc.h"
#include "base/error.h"
#include "os/clock.h"
#include "os/pool.h"
#include "serve_priv.h"

bool qn_serve_ready(const qn_serve *serve)
{
    return !qn_net_is_draining(serve->net);
}

/* ---- from a request to its route ---- */

static void refuse(qn_call *call, int http, int grpc, const char *why, const char *allow)
{
    if (call->request->kind == QN_NET_GRPC) {
        qn_call_finish(call, grpc, qn_str_from(why));
        return;
    }
    qn_header header = {QN_STR("allow"), qn_str_from(allow)};
    qn_json_writer w = qn_call_json(call);
    qn_json_object_begin(&w);
    qn_json_put_text(&w, "error", why);
    qn_json_object_end(&w);
    qn_call_reply(call, http, QN_STR("application/json"), &header, allow != NULL);
}

static void refuse_unrouted(qn_call *call, const char *allow)
{
    qn_request *request = call->request;
    qn_arena *arena = request->arena;
    int path = request->path.size > 200 ? 200 : (int)request->path.size;
    const char *why;
    if (request->kind == QN_NET_GRPC || !allow)
        why = qn_arena_printf(arena, "there is no '%.*s' here%s", path, request->path.data,
                              request->kind == QN_NET_GRPC ? ""
                                                           : "; /openapi.json lists what there is");
    else
        why = qn_arena_printf(arena, "'%.*s' does not take %.*s, but %s", path, request->path.data,
                              QN_STR_ARG(request->method), allow);
    refuse(call, allow ? 405 : 404, QN_GRPC_UNIMPLEMENTED, why ? why : "not found", allow);
}

/* Without keys everybody who reaches the port may do everything; a class unknown here may do nothing. */
static bool allowed(qn_auth auth)
{
    return auth == QN_AUTH_PUBLIC || auth == QN_AUTH_INFER || auth == QN_AUTH_METRICS ||
           auth == QN_AUTH_ADMIN;
}

static bool encoded(const qn_request *request)
{
    qn_str encoding = qn_request_header(request, "content-encoding");
    return encoding.size && !qn_str_equal_nocase(encoding, QN_STR("identity"));
}

/* false = refused */
static bool admit(qn_call *call)
{
    qn_request *request = call->request;
    const char *why;
    const char *allow;
    if (!qn_host_allowed(call->serve, request, &why)) {
        refuse(call, 403, QN_GRPC_PERMISSION_DENIED, why, NULL);
        return false;
    }
    call->route = qn_route_find(request, request->arena, call->params, &allow);
    if (!call->route) {
        refuse_unrouted(call, allow);
        return false;
    }
    if (!allowed(call->route->auth)) {
        refuse(call, 403, QN_GRPC_PERMISSION_DENIED, "not allowed", NULL);
        return false;
    }
    if (encoded(request)) {
        refuse(call, 415, QN_GRPC_UNIMPLEMENTED,
               "compressed bodies are not taken (content-encoding)", NULL);
        return false;
    }
    return true;
}

/* false = refused */
static bool begin_stream(qn_call *call)
{
    qn_serve *serve = call->serve;
    if (serve->streams_count >= serve->limits.streams_idle_max) {
        refuse(call, 503, QN_GRPC_UNAVAILABLE, "too many open streams", NULL);
        return false;
    }
    call->streaming = true;
    qn_arena_init(&call->message_arena, 0);
    call->next = serve->streams;
    if (serve->streams)
        serve->streams->prev = call;
    serve->streams = call;
    serve->streams_count++;
    return true;
}

static qn_net_mode on_head(void *context, qn_request *request)
{
    qn_serve *serve = context;
    qn_call *call = QN_NEW(request->arena, qn_call, 1);
    if (!call) {
        static const qn_reply busy = {.status = 503};
        if (request->kind == QN_NET_GRPC)
            qn_grpc_finish(request, QN_GRPC_UNAVAILABLE, QN_STR("out of memory"));
        else
            qn_request_reply(request, &busy);
        return QN_NET_WHOLE;
    }
    request->user = call;
    call->request = request;
    call->serve = serve;
    call->start_ns = qn_now_ns();
    if (!admit(call) || !call->route->message)
        return QN_NET_WHOLE;
    begin_stream(call);
    return QN_NET_STREAM;
}

static void on_request(void *context, qn_request *request)
{
    (void)context;
    qn_call *call = request->user;
    call->route->run(call);
}

static void on_message(void *context, qn_request *request, qn_str message)
{
    (void)context;
    qn_call *call = request->user;
    qn_arena_reset(&call->message_arena);
    call->route->message(call, message);
}

static void on_end(void *context, qn_request *request)
{
    (void)context;
    qn_call *call = request->user;
    call->ended = true;
    call->route->end(call);
}

/* Queued work is dropped; running work answers into nothing when it is done. */
static void on_cancel(void *context, qn_request *request)
{
    qn_serve *serve = context;
    qn_call *call = request->user;
    bool running = call->infer.done != NULL;
    if (running && !qn_compute_remove(&serve->compute, &call->infer))
        return;
    if (request->kind == QN_NET_GRPC) {
        qn_call_finish(call, QN_GRPC_CANCELLED, QN_STR("cancelled"));
        return;
    }
    qn_error err = {0};
    qn_call_fail(call, qn_error_set(&err, QN_ERR_CANCELLED, NULL, "cancelled"), &err);
}

/* Open streams that do nothing would hold up the drain. */
static void on_drain(void *context)
{
    qn_serve *serve = context;
    qn_call *next;
    for (qn_call *call = serve->streams; call; call = next) {
        next = call->next;
        if (!call->infer.done)
            qn_call_finish(call, QN_GRPC_UNAVAILABLE, QN_STR("the server is shutting down"));
    }
}

/* ---- life ---- */

static qn_status check_host(const qn_serve_options *options, bool *ret_loopback, qn_error *err)
{
    const char *host = options->host ? options->host : "127.0.0.1";
    *ret_loopback = qn_host_is_loopback(qn_str_from(host));
    if (*ret_loopback || options->insecure_no_auth)
        return QN_OK;
    qn_status status =
        qn_error_set(err, QN_ERR_ARG, "--host",
                     "other machines reach '%s', and this server has no keys yet", host);
    return qn_error_hint(err, status,
                         "listen on 127.0.0.1, or say --insecure-no-auth to let everybody in");
}

static qn_status open_net(qn_serve *serve, const qn_serve_options *options, qn_error *err)
{
    qn_net_options net = {
        .host = options->host,
        .port = options->port,
        .drain_ms = options->drain_ms ? options->drain_ms : 30000,
        .limits = qn_net_limits_default(),
        .handler = {serve, on_head, on_request, on_message, on_end, on_cancel, on_drain}};
    if (options->body_bytes)
        net.limits.body_bytes = options->body_bytes;
    QN_TRY(qn_net_server_create(&net, &serve->net, err));
    const char *host = options->host ? options->host : "127.0.0.1";
    bool colons = strchr(host, ':') != NULL; /* an IPv6 address */
    serve->url = qn_arena_printf(&serve->load, "http://%s%s%s:%d", colons ? "[" : "", host,
                                 colons ? "]" : "", qn_net_port(serve->net));
    return serve->url ? QN_OK : qn_error_set(err, QN_ERR_MEMORY, NULL, "out of memory");
}

qn_status qn_serve_create(const qn_serve_options *options, qn_serve **ret, qn_error *err)
{
    bool loopback;
    QN_TRY(check_host(options, &loopback, err));
    qn_serve *serve = qn_alloc_zero(1, sizeof(*serve));
    if (!serve)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    *serve = (qn_serve){.ignore_unknown = options->ignore_unknown,
                        .loopback = loopback,
                        .threads = options->threads,
                        .started_s = qn_wall_s()};
#define X(name, value, reason) serve->limits.name = (value);
    QN_SERVE_LIMITS(X)
#undef X
    if (options->queue_max)
        serve->limits.queue_max = options->queue_max;
    qn_arena_init(&serve->load, 0);
    qn_buf_init(&serve->openapi, 0);
    serve->routes = QN_NEW(&serve->load, qn_route_stats, qn_route_count());
    qn_status status = qn_compute_init(&serve->compute, serve, err);
    if (status == QN_OK && !serve->routes)
        status = qn_error_set(err, QN_ERR_MEMORY, NULL, "out of memory");
    if (status == QN_OK)
        status = qn_models_open(serve, options, err);
    if (status == QN_OK)
        status = open_net(serve, options, err);
    if (status != QN_OK) {
        qn_serve_destroy(serve);
        return status;
    }
    *ret = serve;
    return QN_OK;
}

const char *qn_serve_url(const qn_serve *serve)
{
    return serve->url;
}

qn_status qn_serve_run(qn_serve *serve, qn_error *err)
{
    qn_flush_denormals();
    return qn_net_run(serve->net, err);
}

void qn_serve_stop(qn_serve *serve)
{
    qn_net_stop(serve->net);
}

void qn_serve_destroy(qn_serve *serve)
{
    if (!serve)
        return;
    qn_compute_stop(&serve->compute); /* first: its answers go through net */
    qn_net_server_destroy(serve->net);
    qn_compute_deinit(&serve->compute);
    qn_models_close(serve);
    qn_pool_destroy(serve->pool);
    qn_buf_deinit(&serve->openapi);
    qn_arena_deinit(&serve->load);
    qn_free(serve);
}
