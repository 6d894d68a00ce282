/*
 * A model folder opened for answers: rows in raw terms or named tensors in, predictions out, the
 * same code for `predict`, `eval` and the server.
 *
 * A predictor keeps the inference graph's weights once and a few plans, one per batch size. A
 * row's answer does not depend on the rows beside it: the same bits come at any batch size.
 *
 *     qn_predictor *predictor;
 *     QN_TRY(qn_predictor_open("models/churn", 0, NULL, &predictor, err));
 *     qn_predictions answers;
 *     status = qn_predictor_rows(predictor, &frame, false, &request, &answers, err);
 */
#ifndef QN_MODEL_PREDICTOR_H
#define QN_MODEL_PREDICTOR_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/json.h"
#include "data/frame.h"
#include "data/transform.h"
#include "graph/graph.h"
#include "graph/state.h"
#include "os/pool.h"
#include "tensor/tensor.h"

/* A tensor of the signature; dims[0] is -1, the batch. */
typedef struct {
    const char *name;
    qn_dtype dtype;
    qn_shape shape;
} qn_tensor_spec;

/* What a model takes and gives, in raw terms and in tensor terms. A model made from tensors alone
 * (quern/net.h) has columns_count 0; one learned from an NPZ has columns of type TENSOR. */
typedef struct {
    const char *name;
    int64_t version;
    qn_task task;       /* AUTO: a model of tensors without a task */
    const char *target; /* name of the predicted column; NULL = none */
    const qn_raw_input *columns;
    int64_t columns_count;
    const qn_tensor_spec *inputs;
    int inputs_count;
    const qn_tensor_spec *outputs; /* "probability" [-1, C], or "prediction" [-1, 1] */
    int outputs_count;
    const qn_str *labels; /* classes in the order of "probability" */
    int64_t labels_count;
    bool has_rows; /* answers single cells to rows of columns, beside tensors to tensors */
    bool apart;    /* some tensor has no batch in front: requests cannot be joined */
} qn_signature;

typedef struct {
    int64_t rows;
    /* Classes: */
    const qn_str *labels; /* [classes] */
    int64_t classes;      /* 0 for regression */
    int64_t *choice;      /* [rows] index of the most probable label (ties: the lower index) */
    float *probability;   /* [rows, classes] */
    /* Regression: */
    double *number; /* [rows], raw units */
} qn_predictions;

typedef struct qn_predictor qn_predictor;

typedef struct {
    qn_pool *pool;     /* NULL = serial */
    int plans_max;     /* plans kept, least recently used go first; 0 = 8 */
    int64_t batch_max; /* rows of one plan run; more are cut into several. 0 = 256 */
} qn_predictor_options;

/* `folder` holds versions (version 0 = the newest), or is a version's own folder, or an ONNX file (tensors only).
 * A small model opens in a few milliseconds. Errors: ERR_NOT_FOUND, ERR_IO, ERR_DATA naming the file and what is
 * wrong with it. Threads: one caller at a time per predictor. */
QN_MUST_USE qn_status qn_predictor_open(const char *folder, int64_t version,
                                        const qn_predictor_options *options, qn_predictor **ret,
                                        qn_error *err);
void qn_predictor_close(qn_predictor *predictor);

const qn_signature *qn_predictor_signature(const qn_predictor *predictor);
const qn_transforms *
qn_predictor_transforms(const qn_predictor *predictor);         /* NULL: tensors only */
const char *qn_predictor_folder(const qn_predictor *predictor); /* the version's own folder */
/* Digest over the folder's file digests: what `models/.../config` and logs call this model. */
const char *qn_predictor_digest(const qn_predictor *predictor); /* 64 hexadecimal digits */
int64_t qn_predictor_bytes(const qn_predictor *predictor);      /* weights and plans held now */
/* Estimated time of one run of `rows` rows on one thread: decides inline or worker. Before the first run the weights
 * stand for the work, unless it was measured: a plan for one row is made for that and dropped. */
QN_MUST_USE qn_status qn_predictor_measure(qn_predictor *predictor, qn_error *err);
int64_t qn_predictor_cost_ns(const qn_predictor *predictor, int64_t rows);

/* One prediction per row, in order. Missing columns are missing values; unknown ones are ERR_DATA
 * unless `ignore_unknown`. Memory: results in `request`. Errors: ERR_ARG for a model of tensors,
 * ERR_DATA naming the row and column. */
QN_MUST_USE qn_status qn_predictor_rows(qn_predictor *predictor, const qn_frame *rows,
                                        bool ignore_unknown, qn_arena *request, qn_predictions *ret,
                                        qn_error *err);

/* Named tensors in, the signature's outputs out (ret_outputs[outputs_count], data in `request`).
 * Every signature input must be there once, of its dtype (other number types convert when exact
 * widths allow: f64, integers -> f32) and shape, all with the same first dimension; contiguous.
 * Errors: ERR_ARG names the input, the shape received and the one expected. */
QN_MUST_USE qn_status qn_predictor_tensors(qn_predictor *predictor, const qn_named_tensor *inputs,
                                           int inputs_count, qn_arena *request,
                                           qn_named_tensor *ret_outputs, qn_error *err);

/* The signature as JSON, for quern.json, `models show` and the servers' metadata. */
void qn_signature_write_json(const qn_signature *signature, qn_json_writer *w);

/* A predictor over a graph and weights in memory (no folder): the evaluation of training uses it.
 * `graph` and `state` must outlive it; the signature's tensors come from the graph. */
QN_MUST_USE qn_status qn_predictor_wrap(const qn_graph *graph, qn_state *state,
                                        const qn_transforms *transforms,
                                        const qn_predictor_options *options, qn_predictor **ret,
                                        qn_error *err);

#endif
