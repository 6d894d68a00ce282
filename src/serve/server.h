/*
 * The server: models behind one port. Made, run and stopped by the `serve` verb and by tests.
 *
 *     qn_serve *serve;
 *     QN_TRY(qn_serve_create(&options, &serve, err));      // models are open, the port is bound
 *     printf("%s\n", qn_serve_url(serve));
 *     status = qn_serve_run(serve, err);                   // until qn_serve_stop, then drains
 *     qn_serve_destroy(serve);
 */
#ifndef QN_SERVE_SERVER_H
#define QN_SERVE_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/*    name               default    reason */
#define QN_SERVE_LIMITS(X)                                                                         \
    X(queue_max, 512, "requests waiting for the compute thread; beyond it 503")                    \
    X(batch_max, 256, "rows of one run: where the kernels stop gaining")                           \
    X(inline_us, 50, "estimated cost up to which the loop thread computes itself")                 \
    X(inputs_max, 4096, "inputs or columns of a request")                                          \
    X(rows_max, 1 << 20, "rows of a request")                                                      \
    X(json_depth, 32, "nesting of a JSON body; a tensor has at most 8 levels")                     \
    X(streams_idle_max, 1024, "open gRPC streams of all connections together")

typedef struct {
#define X(name, value, reason) int64_t name;
    QN_SERVE_LIMITS(X)
#undef X
} qn_serve_limits;

typedef struct {
    const char *const *models; /* model folders, or NAME=FOLDER: served under that name */
    int64_t models_count;
    const char *repo;      /* a folder of model folders; NULL = none */
    const char *host;      /* NULL = 127.0.0.1 */
    int port;              /* 0 = any free one */
    bool insecure_no_auth; /* allows a host that other machines reach */
    bool ignore_unknown;   /* unknown columns of a row are left out instead of refused */
    int64_t drain_ms;      /* 0 = 30 s */
    int64_t body_bytes;    /* largest request; 0 = 64 MiB */
    int64_t queue_max;     /* requests that may wait for the compute thread; 0 = 512 */
    int threads;           /* of the pool that large models share; 0 = what is granted */
} qn_serve_options;

typedef struct qn_serve qn_serve;

/* Opens the models and binds the port: from here on the system queues connections. Errors: ERR_ARG for a host that
 * needs --insecure-no-auth, two models of one name, no model; what qn_predictor_open and the bind say. */
QN_MUST_USE qn_status qn_serve_create(const qn_serve_options *options, qn_serve **ret,
                                      qn_error *err);
/* "http://127.0.0.1:8080" */
const char *qn_serve_url(const qn_serve *serve);
/* Answers until qn_serve_stop; then lets requests in flight finish, at most drain_ms. Threads: one. */
QN_MUST_USE qn_status qn_serve_run(qn_serve *serve, qn_error *err);
/* Threads: any, and signal handlers. */
void qn_serve_stop(qn_serve *serve);
void qn_serve_destroy(qn_serve *serve);

#endif
