/*
 * From a recipe's `model` section to a graph: linear, logistic, mlp, cnn, lists of layers and
 * networks from ONNX files, over the tensors that the transforms give.
 *
 * Every kind becomes a list of layers (nn/layers.h), so there is one way to build. The graph gives
 * raw scores, for the loss, and the answer in the user's terms: probabilities, or numbers in raw
 * units. Training extends that graph; the model folder keeps the part that the answer needs.
 */
#ifndef QN_MODEL_ARCHITECTURE_H
#define QN_MODEL_ARCHITECTURE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/json.h"
#include "data/transform.h"
#include "graph/graph.h"
#include "graph/state.h"

typedef enum {
    QN_MODEL_AUTO, /* only in recipes: candidates are tried */
    QN_MODEL_LINEAR,
    QN_MODEL_LOGISTIC,
    QN_MODEL_MLP,
    QN_MODEL_CNN,
    QN_MODEL_LAYERS,
    QN_MODEL_FILE, /* a network from an ONNX file, and layers behind it */
    QN_MODEL_RNN,  /* this and the following: over sequences [T, features] */
    QN_MODEL_LSTM,
    QN_MODEL_GRU,
    QN_MODEL_TRANSFORMER,
    QN_MODEL_TYPES
} qn_model_type;
const char *qn_model_type_name(qn_model_type type); /* "mlp" */
bool qn_model_type_find(qn_str name, qn_model_type *ret);

enum { QN_HIDDEN_MAX = 16 };

typedef struct {
    qn_model_type type;        /* not AUTO */
    const qn_json *layers;     /* LAYERS: the recipe's list; FILE: what follows, may be empty */
    const char *file;          /* FILE: path of the ONNX file */
    const char *file_output;   /* FILE: where it ends; NULL = at its output */
    const char *const *frozen; /* FILE: patterns of weights that stay as they are */
    int64_t frozen_count;
    int64_t hidden[QN_HIDDEN_MAX]; /* MLP: units of each hidden layer */
    int hidden_count;              /* 0 = chosen from rows */
    double dropout;                /* MLP, CNN and those of sequences, before the last layer */
    qn_task task;                  /* AUTO: the last layer stands as it is (quern/net.h) */
    int64_t classes;               /* of BINARY (2), MULTICLASS and TRANSCRIBE */
    qn_shape target;               /* of one row, where it is an array; rank 0 = one value */
    const qn_feature_tensor *sources;
    int64_t sources_count;
    double target_mean, target_deviation; /* REGRESSION: raw = score * deviation + mean */
    /* REGRESSION: raw = exp(score), and scores begin at the logarithm of target_mean */
    bool counts;
    /* REGRESSION of arrays: answers are the softmax or the sigmoid of the scores; NULL = as above */
    const char *closing;
    bool keep_closing; /* the loss works on the last activation itself (pointwise losses) */
    int64_t rows;      /* training rows: sizes are chosen from them */
} qn_architecture;

typedef struct {
    qn_value
        scores; /* [B, K]: K = 1 for regression and for binary tasks with one score; [B, target...] of
                            arrays, [B, T, classes] of TRANSCRIBE */
    qn_value answer;     /* QN_NONE unless asked for; then the graph's output `output` */
    const char *output;  /* "probability" [B, C], "prediction" [B, 1], or "output" (task AUTO) */
    const char *closing; /* activation between scores and answer of a task AUTO: "softmax", ... */
    const char *text;    /* "conv2d 32 3 relu, max_pool2d 2, flatten, dense 10": for reports */
    qn_state *weights;   /* FILE: what the states of these names begin with. The caller destroys it;
                            NULL = nothing */
} qn_network;

/* Adds inputs (named as the sources) and layers to `graph` and, `with_answer`, the named output:
 * training wants the scores alone. Memory: texts in `arena`. Errors: ERR_ARG naming the layer and
 * the shapes. */
QN_MUST_USE qn_status qn_architecture_build(const qn_architecture *architecture, qn_graph *graph,
                                            bool with_answer, qn_arena *arena, qn_network *ret,
                                            qn_error *err);
/* Units of the hidden layers of an MLP, given or chosen; returns how many. */
int qn_architecture_hidden(const qn_architecture *architecture, int64_t dst[QN_HIDDEN_MAX]);
/* The list of layers that `type` stands for, as a recipe would write it. */
QN_MUST_USE qn_status qn_architecture_layers(const qn_architecture *architecture, qn_arena *arena,
                                             qn_json *ret, qn_error *err);

#endif
