/*
 * Health, for people, load balancers and gRPC clients. While the server drains it is alive and not ready.
 */
#include "handlers_priv.h"

#include "health.pb-c.h"

static void answer_flag(qn_call *call, const char *key, bool value)
{
    qn_json_writer w = qn_call_json(call);
    qn_json_object_begin(&w);
    qn_json_put_bool(&w, key, value);
    qn_json_object_end(&w);
    qn_call_reply_json(call, value ? 200 : 503);
}

void qn_answer_health(qn_call *call)
{
    bool ready = qn_serve_ready(call->serve);
    qn_json_writer w = qn_call_json(call);
    qn_json_object_begin(&w);
    qn_json_put_text(&w, "status", ready ? "ok" : "shutting down");
    qn_json_object_end(&w);
    qn_call_reply_json(call, ready ? 200 : 503);
}

void qn_answer_live(qn_call *call)
{
    answer_flag(call, "live", true);
}

void qn_answer_ready(qn_call *call)
{
    answer_flag(call, "ready", qn_serve_ready(call->serve));
}

/* ---- grpc.health.v1 ---- */

typedef Grpc__Health__V1__HealthCheckResponse__ServingStatus serving;
#define SERVING         GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING
#define NOT_SERVING     GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING
#define SERVICE_UNKNOWN GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVICE_UNKNOWN

static const char *const services[] = {"", "inference.GRPCInferenceService",
                                       "grpc.health.v1.Health"};
enum { SERVICES = (int)(sizeof(services) / sizeof(services[0])) };

static serving status_of(const qn_serve *serve, const char *service)
{
    bool known = qn_models_find(serve, qn_str_from(service)) != NULL;
    for (int i = 0; i < SERVICES; i++)
        known = known || strcmp(service, services[i]) == 0;
    if (!known)
        return SERVICE_UNKNOWN;
    return qn_serve_ready(serve) ? SERVING : NOT_SERVING;
}

static Grpc__Health__V1__HealthCheckRequest *read_request(qn_call *call, qn_str message)
{
    return qn_call_unpack(call, &grpc__health__v1__health_check_request__descriptor, message,
                          call->request->arena);
}

void qn_answer_grpc_check(qn_call *call)
{
    const Grpc__Health__V1__HealthCheckRequest *asked = read_request(call, call->request->body);
    if (!asked)
        return;
    serving status = status_of(call->serve, asked->service);
    if (status == SERVICE_UNKNOWN) {
        qn_call_finish(call, QN_GRPC_NOT_FOUND, QN_STR("unknown service"));
        return;
    }
    Grpc__Health__V1__HealthCheckResponse answer;
    grpc__health__v1__health_check_response__init(&answer);
    answer.status = status;
    qn_call_send(call, &answer.base);
}

void qn_answer_grpc_list(qn_call *call)
{
    typedef Grpc__Health__V1__HealthListResponse__StatusesEntry entry;
    qn_serve *serve = call->serve;
    Grpc__Health__V1__HealthCheckResponse status;
    grpc__health__v1__health_check_response__init(&status);
    status.status = status_of(serve, "");
    int64_t count = SERVICES + serve->models_count;
    entry *entries = QN_NEW(call->request->arena, entry, count);
    entry **pointers = QN_NEW(call->request->arena, entry *, count);
    for (int64_t i = 0; entries && pointers && i < count; i++) {
        grpc__health__v1__health_list_response__statuses_entry__init(&entries[i]);
        const char *name = i < SERVICES ? services[i] : serve->models[i - SERVICES].name;
        entries[i].key = (char *)(uintptr_t)name;
        entries[i].value = &status;
        pointers[i] = &entries[i];
    }
    Grpc__Health__V1__HealthListResponse answer;
    grpc__health__v1__health_list_response__init(&answer);
    answer.n_statuses = entries && pointers ? (size_t)count : 0;
    answer.statuses = pointers;
    qn_call_send(call, &answer.base);
}

/* The state does not change but by the drain, which ends the stream: one message, then the stream stays open. */
void qn_stream_watch(qn_call *call, qn_str message)
{
    const Grpc__Health__V1__HealthCheckRequest *asked = read_request(call, message);
    if (!asked)
        return;
    Grpc__Health__V1__HealthCheckResponse answer;
    grpc__health__v1__health_check_response__init(&answer);
    answer.status = status_of(call->serve, asked->service);
    qn_call_stream(call, &answer.base);
    qn_grpc_next(call->request);
}

void qn_stream_watch_end(qn_call *call)
{
    (void)call; /* the client has nothing more to say, and goes on listening */
}
