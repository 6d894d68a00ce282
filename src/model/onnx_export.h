/*
 * Graphs as ONNX models: the inference graph of a trained model, with its weights, for other programs.
 */
#ifndef QN_MODEL_ONNX_EXPORT_H
#define QN_MODEL_ONNX_EXPORT_H

#include "base/buf.h"
#include "base/error.h"
#include "graph/graph.h"
#include "graph/state.h"

enum { QN_ONNX_EXPORT_OPSET = 21 };

/* Appends a ModelProto: inputs and outputs under their names, sizes that are open as `batch` and `time`. What runs channels
 * last here is turned where it must be. Errors: ERR_UNSUPPORTED names the op that ONNX has no form for; ERR_BUDGET
 * beyond 2 GiB. */
QN_MUST_USE qn_status qn_onnx_export(qn_buf *dst, const qn_graph *graph, const qn_state *state,
                                     const char *name, qn_error *err);

#endif
