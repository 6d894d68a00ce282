/*
 * What the files of this folder share. Everything lives in the loop thread, but a qn_infer between
 * qn_infer_submit and its `done`, which belongs to the compute thread while it is queued.
 *
 *     routes.c: path -> row -> run(call) -> oip_*.c | tfs.c decode into a qn_infer
 *     infer.c: at once, or batch.c: queue -> compute thread -> done(infer) -> encode -> answer
 */
#ifndef QN_SERVE_PRIV_H
#define QN_SERVE_PRIV_H

#include <protobuf-c/protobuf-c.h>
#include <uv.h>

#include "base/json.h"
#include "data/frame.h"
#include "model/predictor.h"
#include "net/grpc.h"
#include "net/server.h"
#include "serve/server.h"

typedef struct qn_served qn_served;
typedef struct qn_call qn_call;
typedef struct qn_infer qn_infer;

/* ---- figures (metrics.c) ---- */

typedef struct {
    int64_t count, ns;
} qn_duration;

enum { QN_BUCKETS = 18, QN_CODES = 20 };
typedef struct {
    int64_t buckets[QN_BUCKETS + 1]; /* the last one: above every bound */
    int64_t sum_ns;
} qn_histogram;

void qn_duration_add(qn_duration *duration, int64_t ns);
void qn_histogram_add(qn_histogram *histogram, int64_t ns);

typedef struct {
    int64_t codes[QN_CODES]; /* answers by status; see metrics.c for which index is which */
    qn_histogram seconds;
} qn_route_stats;

/* ---- models (models.c) ---- */

enum { QN_BATCH_SIZES = 10 }; /* 1, 2, 4 ... 512 rows */

/* One version of a model. */
struct qn_served {
    const char *name, *folder;
    int64_t version;
    char version_text[24];
    qn_predictor *predictor; /* NULL until the version is asked for */
    const qn_signature *signature;
    int64_t run_ns, row_ns; /* estimate of a run: fixed part and each row */
    bool pooled;            /* large: runs on the compute thread, with the pool */
    uv_mutex_t lock;        /* held while the predictor runs */
    int64_t last_ms, rows, executions, bytes;
    qn_duration success, fail, queue, input, infer, output;
    qn_duration batches[QN_BATCH_SIZES];
    qn_histogram queue_seconds, infer_seconds;
};

typedef struct {
    const char *name;
    const char *folder_name; /* found by this too, where no model has it as its name */
    qn_served *versions;     /* ascending */
    int64_t versions_count;
    int64_t created_s;
} qn_model;

/* ---- an inference (infer.c, batch.c) ---- */

struct qn_infer {
    qn_infer *next; /* in the queue */
    qn_net_job job;
    qn_serve *serve;
    qn_served *served;
    qn_arena *arena; /* lifetime: request (or one message of a stream) */
    bool tensors;    /* the tensor signature */
    bool queued;
    qn_frame frame;
    qn_named_tensor *inputs;
    int inputs_count;
    int64_t rows;
    qn_status status;
    qn_error err;
    qn_predictions predictions;
    qn_named_tensor *outputs;
    int64_t start_ns, begin_ns, end_ns; /* asked; run began, ended */
    int64_t run_rows;              /* rows of the whole run; 0 for all but one of its members */
    void (*done)(qn_infer *infer); /* loop thread */
    qn_call *call;
};

typedef struct {
    uv_thread_t thread;
    uv_mutex_t lock;
    uv_cond_t wake;
    qn_infer *head, **tail;
    int64_t waiting;
    bool started, stop;
    qn_serve *serve;
    qn_arena scratch;
} qn_compute;

QN_MUST_USE qn_status qn_compute_init(qn_compute *compute, qn_serve *serve, qn_error *err);
void qn_compute_stop(qn_compute *compute); /* ends the thread after its run */
void qn_compute_deinit(qn_compute *compute);
/* ERR_BUSY when the queue is full. */
QN_MUST_USE qn_status qn_compute_push(qn_compute *compute, qn_infer *infer, qn_error *err);
/* true = it was still waiting and will not run. */
bool qn_compute_remove(qn_compute *compute, qn_infer *infer);

/* Runs it now or later; `done` follows in the loop thread, with infer->status. */
void qn_infer_submit(qn_infer *infer);
/* One predictor call for this inference alone. */
void qn_infer_run(qn_infer *infer);
/* After encoding: statistics of the served version. */
void qn_infer_count(qn_infer *infer, int64_t encoded_ns);

/* ---- routes and calls ---- */

typedef enum { QN_AUTH_PUBLIC, QN_AUTH_INFER, QN_AUTH_ADMIN, QN_AUTH_METRICS } qn_auth;

enum { QN_PARAMS_MAX = 2 };

typedef struct {
    const char *method;  /* GET (HEAD too), POST, or GRPC: POST of a gRPC call */
    const char *pattern; /* "/v2/models/{m}/infer", "/v1/models/{m}:predict" */
    qn_auth auth;
    void (*run)(qn_call *call);
    /* Streams only: each message, and the client's end. `run` is then unused. */
    void (*message)(qn_call *call, qn_str message);
    void (*end)(qn_call *call);
    const char *summary;
} qn_route;

const qn_route *qn_route_at(int index); /* NULL past the end */
int qn_route_count(void);
/* The row for a request and its path parameters (decoded, in `arena`). NULL: *ret_allow is NULL (no such path) or the
 * methods that the path has. */
const qn_route *qn_route_find(const qn_request *request, qn_arena *arena,
                              qn_str params[QN_PARAMS_MAX], const char **ret_allow);

struct qn_call {
    qn_request *request;
    qn_serve *serve;
    const qn_route *route;
    qn_str params[QN_PARAMS_MAX];
    int64_t start_ns;
    qn_infer infer;
    void *protocol; /* the decoder's own, in the request's arena */
    /* Streams: */
    qn_call *prev, *next;
    qn_arena message_arena; /* lifetime: one message */
    bool streaming, ended, running;
};

/* The error goes out in the protocol's own shape, JSON or gRPC status, and the call is over. */
void qn_call_fail(qn_call *call, qn_status status, const qn_error *err);
/* What an error says to a client: where, text and hint in one line. */
qn_str qn_error_line(const qn_error *err, qn_arena *arena);
/* Body: what was written to call->request->out. */
void qn_call_reply(qn_call *call, int status, qn_str content_type, const qn_header *headers,
                   int64_t headers_count);
void qn_call_reply_json(qn_call *call, int status);
/* Starts the JSON body. */
qn_json_writer qn_call_json(qn_call *call);
/* One gRPC message and OK. */
void qn_call_send(qn_call *call, const ProtobufCMessage *message);
/* Streams: one message. */
void qn_call_stream(qn_call *call, const ProtobufCMessage *message);
void qn_call_finish(qn_call *call, int grpc_status, qn_str message);
/* Reads a message of the call into `arena`. NULL = the call has been failed. */
void *qn_call_unpack(qn_call *call, const ProtobufCMessageDescriptor *descriptor, qn_str message,
                     qn_arena *arena);
/* Unpacks with memory bounded by the message's size. NULL = malformed or over the bound. */
void *qn_unpack(const ProtobufCMessageDescriptor *descriptor, qn_str message, qn_arena *arena);

/* ---- the server ---- */

struct qn_serve {
    qn_serve_limits limits;
    bool ignore_unknown, loopback;
    int threads;
    qn_net_server *net;
    qn_pool *pool; /* made with the first large model */
    qn_compute compute;
    qn_arena load;
    qn_model *models;
    int64_t models_count;
    qn_route_stats *routes;
    qn_route_stats unrouted;
    qn_call *streams;
    int64_t streams_count;
    int64_t started_s;
    const char *url;
    qn_buf openapi; /* made when first asked for */
};

QN_MUST_USE qn_status qn_models_open(qn_serve *serve, const qn_serve_options *options,
                                     qn_error *err);
void qn_models_close(qn_serve *serve);
qn_model *qn_models_find(const qn_serve *serve, qn_str name); /* NULL = absent */
/* Version empty = the newest. Opens it when it was not yet. Errors: ERR_NOT_FOUND names what there is. */
QN_MUST_USE qn_status qn_models_get(qn_serve *serve, qn_str name, qn_str version, qn_served **ret,
                                    qn_error *err);
/* Host and Origin against DNS rebinding (host.c). */
bool qn_host_allowed(const qn_serve *serve, const qn_request *request, const char **ret_why);
bool qn_host_is_loopback(qn_str host); /* "localhost:80", "127.0.0.1", "[::1]:80" */

void qn_metrics_answer(qn_route_stats *stats, int http_status, int64_t ns);

/* base64 of RFC 4648, padded or not; NULL = not base64 or memory */
const char *qn_b64_decode(qn_str text, qn_arena *arena, size_t *ret_size);

/* Is the server taking work? */
bool qn_serve_ready(const qn_serve *serve);

#endif
