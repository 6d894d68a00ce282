/*
 * From a recipe's `model` section to graphs: linear, logistic, mlp, cnn and lists of layers, over
 * the tensors that the transforms give.
 *
 * One description builds two graphs that share their states by name: the training graph (dropout
 * and batch statistics act, the output is the raw scores) and the inference graph (probabilities,
 * or numbers in raw units).
 */
#ifndef QN_MODEL_ARCHITECTURE_H
#define QN_MODEL_ARCHITECTURE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "data/transform.h"
#include "graph/graph.h"

typedef enum {
    QN_MODEL_AUTO, /* only in recipes: candidates are tried */
    QN_MODEL_LINEAR,
    QN_MODEL_LOGISTIC,
    QN_MODEL_MLP,
    QN_MODEL_CNN,
    QN_MODEL_LAYERS,
} qn_model_type;

enum { QN_LAYERS_MAX = 256 };

/* One layer of `model.layers`, as a flat record: fields that a kind does not use are zero. */
typedef enum {
    QN_LAYER_DENSE,
    QN_LAYER_CONV2D,
    QN_LAYER_MAX_POOL2D,
    QN_LAYER_AVERAGE_POOL2D,
    QN_LAYER_GLOBAL_AVERAGE_POOL,
    QN_LAYER_BATCH_NORM,
    QN_LAYER_DROPOUT,
    QN_LAYER_FLATTEN,
    QN_LAYER_RESHAPE,
    QN_LAYER_ACTIVATION,
    QN_LAYER_KINDS
} qn_layer_kind;
typedef struct {
    qn_layer_kind kind;
    int64_t units;       /* DENSE units, CONV2D filters; 0 = auto: classes, or 1 */
    int64_t kernel[2];   /* CONV2D, pools (their size) */
    int64_t stride[2];   /* 0 = 1, for pools their size */
    int64_t dilation[2]; /* 0 = 1 */
    int64_t groups;      /* 0 = 1 */
    bool same;           /* padding */
    bool no_bias;
    const char *activation; /* "relu"; NULL = none */
    double rate;            /* DROPOUT, leaky slope */
    qn_shape shape;         /* RESHAPE, without the batch */
} qn_layer;
const char *qn_layer_name(qn_layer_kind kind); /* "max_pool2d" */
bool qn_layer_find(qn_str name, qn_layer_kind *ret);

/* A tensor the network starts from. */
typedef struct {
    const char *name;
    qn_dtype dtype;
    qn_shape shape;        /* of one row, without the batch */
    const int64_t *levels; /* "index": levels of each column */
} qn_source;

typedef struct {
    qn_model_type type;     /* not AUTO */
    const qn_layer *layers; /* LAYERS, CNN (empty = the default), MLP (empty = the default) */
    int layers_count;
    const int64_t *hidden; /* MLP: units of each hidden layer; count 0 = chosen from the data */
    int hidden_count;
    double dropout;  /* of MLP and CNN between layers */
    qn_task task;    /* AUTO: the last layer stands as it is (quern/net.h) */
    int64_t classes; /* of BINARY (2) and MULTICLASS */
    const qn_source *sources;
    int sources_count;
    double target_mean, target_deviation; /* REGRESSION */
    bool probabilities; /* task AUTO: the answer is the softmax of the last layer */
    bool sigmoid;       /* task AUTO: the answer is its sigmoid */
    int64_t rows;       /* training rows: sizes chosen from the data */
} qn_architecture;

/* What the inference graph calls its output: "probability", "prediction" or "output". */
const char *qn_architecture_output(const qn_architecture *architecture);

/* Adds the network to `graph` as inputs and layers and returns its raw scores [B, K] (K = 1 for
 * binary tasks and regression). `training` is only about which nodes are built; QN_NONE with the
 * error sticking to the graph, naming the layer: "layers[3] conv2d: ...". */
qn_value qn_architecture_scores(const qn_architecture *architecture, qn_graph *graph);
/* The whole inference graph with its named output. */
QN_MUST_USE qn_status qn_architecture_inference(const qn_architecture *architecture, qn_graph **ret,
                                                qn_error *err);
/* "conv2d 32 3x3 relu - max_pool2d 2 - flatten - dense 10": for reports. */
const char *qn_architecture_text(const qn_architecture *architecture, qn_arena *arena);

#endif
