/*
 * An ONNX file opened for answers: named tensors in, named tensors out, as the file declares them.
 *
 * Where the graph can be built with its batch and length open, it is built once and plans are kept by sizes. Where it
 * cannot (a shape that is computed from both, say), it is built again for each combination of input shapes.
 */
#ifndef QN_MODEL_ONNX_SESSION_H
#define QN_MODEL_ONNX_SESSION_H

#include "base/arena.h"
#include "base/error.h"
#include "model/predictor.h"
#include "os/pool.h"

typedef struct qn_onnx_session qn_onnx_session;

/* Errors: ERR_NOT_FOUND, ERR_IO, ERR_DATA; ERR_UNSUPPORTED names the node that cannot be built. Threads: one caller at a
 * time per session. */
QN_MUST_USE qn_status qn_onnx_session_open(const char *path, qn_pool *pool, int plans_max,
                                           qn_onnx_session **ret, qn_error *err);
void qn_onnx_session_close(qn_onnx_session *session);

/* Inputs and outputs with -1 for open sizes; `joins` when all have the batch in front. They live with the session. */
void qn_onnx_session_describe(const qn_onnx_session *session, qn_signature *dst);
int64_t qn_onnx_session_bytes(const qn_onnx_session *session); /* weights and plans */
int64_t qn_onnx_session_flops(
    const qn_onnx_session *session); /* of the last new plan; before it an estimate */

/* ret_outputs has room for the signature's outputs, data in `request`. Errors: ERR_ARG names the input, the shape
 * received and the one expected. */
QN_MUST_USE qn_status qn_onnx_session_run(qn_onnx_session *session, const qn_named_tensor *inputs,
                                          int inputs_count, qn_arena *request,
                                          qn_named_tensor *ret_outputs, qn_error *err);

#endif
