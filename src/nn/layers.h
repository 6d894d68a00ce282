/*
 * Layers: plain functions that add a piece of network to a graph, and the table from which a
 * recipe's `model.layers` is built.
 *
 * A layer keeps nothing of its own: its parameters are states of the graph, named "NAME.weight" and
 * so on, and its shape rules are checked here, where the message can name the layer. Building calls
 * chain: a failed one sticks to the graph and the next return QN_NONE.
 */
#ifndef QN_NN_LAYERS_H
#define QN_NN_LAYERS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/json.h"
#include "graph/graph.h"

/* Where a layer is built: the graph, the prefix of its states, and what messages call it. */
typedef struct {
    qn_graph *graph;
    const char *name;  /* "layers.0": states are "layers.0.weight", ... */
    const char *label; /* "layers[0] conv2d"; NULL = name */
} qn_nn_scope;

/* How weights begin. Keras' default for dense and convolution is GLOROT_UNIFORM; biases begin at 0.
 * Source: Glorot and Bengio 2010; He et al. 2015; LeCun et al. 1998. */
typedef enum {
    QN_NN_INIT_GLOROT_UNIFORM,
    QN_NN_INIT_GLOROT_NORMAL,
    QN_NN_INIT_HE_UNIFORM,
    QN_NN_INIT_HE_NORMAL,
    QN_NN_INIT_LECUN_UNIFORM,
    QN_NN_INIT_LECUN_NORMAL,
    QN_NN_INIT_ZERO,
    QN_NN_INIT_COUNT
} qn_nn_init;
const char *qn_nn_init_name(qn_nn_init init);            /* "glorot_uniform" */
bool qn_nn_init_find(const char *name, qn_nn_init *ret); /* false = unknown */
qn_init qn_nn_init_of(qn_nn_init init, int64_t fan_in, int64_t fan_out);

/* By the names of docs/guide/recipes.md (relu, gelu, softmax, ...); NULL = linear. An unknown name is
 * a sticky error with the nearest one. */
qn_value qn_nn_activation(const qn_nn_scope *at, qn_value x, const char *activation);
/* With its number in place of PyTorch's default: the slope of leaky_relu and hard_sigmoid, the scale of elu and celu,
 * the threshold of the shrinks. A sticky error for one that has none. */
qn_value qn_nn_activation_with(const qn_nn_scope *at, qn_value x, const char *activation,
                               double alpha);

/* Weights made of others while the graph runs (reparam.c): by direction and gain, or divided by the largest singular value.
 * States: NAME.gain; NAME.spectral_u and NAME.spectral_v (not trained); of recurrent layers also NAME.recurrent_gain, ... Source: Salimans and Kingma 2016; Miyato et al. 2018. */
typedef enum { QN_NN_REPARAM_NONE, QN_NN_REPARAM_WEIGHT, QN_NN_REPARAM_SPECTRAL } qn_nn_reparam;

/* y = activation(x weight + bias). Shapes: x [..., in], weight [in, units], bias [units]. */
typedef struct {
    int64_t units;
    const char *activation;
    qn_nn_init init;
    bool no_bias;
    qn_nn_reparam reparam;
} qn_nn_dense_options;
qn_value qn_nn_dense(const qn_nn_scope *at, qn_value x, const qn_nn_dense_options *options);

/* Over the last dimension. running = momentum * running + (1 - momentum) * batch, as Keras (0.99
 * there; 0.9 is PyTorch's default). States: scale, shift, running_mean, running_var. In a plan that
 * does not train the running statistics are used. Source: Ioffe and Szegedy 2015. */
typedef struct {
    double momentum; /* 0 = 0.9 */
    double eps;      /* 0 = 1e-5 */
} qn_nn_batch_norm_options;
qn_value qn_nn_batch_norm(const qn_nn_scope *at, qn_value x,
                          const qn_nn_batch_norm_options *options);

/* Each sample by its own statistics. layer_norm and rms_norm: over the last dimension (states scale,
 * and shift of layer_norm). group_norm: channels-last, over pixels and a group's channels; as many
 * groups as channels is instance norm (torch.nn.InstanceNorm2d with affine). eps: 0 = 1e-5.
 * Source: Ba et al. 2016; Zhang and Sennrich 2019; Wu and He 2018. */
qn_value qn_nn_layer_norm(const qn_nn_scope *at, qn_value x, double eps);
qn_value qn_nn_rms_norm(const qn_nn_scope *at, qn_value x, double eps);
qn_value qn_nn_group_norm(const qn_nn_scope *at, qn_value x, int64_t groups, double eps);

/* Identity in a plan that does not train. The stream of its random numbers is keyed by the name. */
qn_value qn_nn_dropout(const qn_nn_scope *at, qn_value x, double rate);
qn_value qn_nn_flatten(const qn_nn_scope *at, qn_value x); /* [B, ...] -> [B, product] */
/* dims without the batch; one of them may be -1. */
qn_value qn_nn_reshape(const qn_nn_scope *at, qn_value x, const int64_t *dims, int count);
/* The dimensions of a sample, counted from 1, in another order. */
qn_value qn_nn_permute(const qn_nn_scope *at, qn_value x, const int64_t *order, int count);
qn_value qn_nn_repeat(const qn_nn_scope *at, qn_value x,
                      int64_t count); /* [B, F] -> [B, count, F] */
/* Shapes: x [...] of [0, count) -> f32 [..., count]. Floats are cut to integers; what is outside gives zeros. */
qn_value qn_nn_one_hot(const qn_nn_scope *at, qn_value x, int64_t count);
qn_value qn_nn_unit_norm(const qn_nn_scope *at, qn_value x); /* rows of length 1, or 0 */
/* x, times a trained slope of its channel where it is below 0. Shapes: slope [C]. */
qn_value qn_nn_prelu(const qn_nn_scope *at, qn_value x);
/* Shapes: x [...] of [0, count) -> [..., size]; weight [count, size], which begins as `init`. Floats are cut to integers;
 * what is outside gives zeros. */
qn_value qn_nn_embedding(const qn_nn_scope *at, qn_value x, int64_t count, int64_t size,
                         qn_init init);
/* How it may begin: as PyTorch has it, for tokens; as Keras has it, for columns beside others. */
#define QN_NN_EMBEDDING_NORMAL  ((qn_init){.kind = QN_INIT_NORMAL, .value = 1})
#define QN_NN_EMBEDDING_UNIFORM ((qn_init){.kind = QN_INIT_UNIFORM, .value = 0.05})

/* How deep lists of layers may stand in each other (residual). */
enum { QN_NN_LISTS_MAX = 8 };

/*
 * The table behind `model.layers`: a list of {name: {attribute: value}} or of bare names.
 */
typedef enum {
    QN_NN_ATTR_INT,
    QN_NN_ATTR_FLOAT, /* or one of the words in `choices` */
    QN_NN_ATTR_BOOL,
    QN_NN_ATTR_CHOICE,  /* one of the words in `choices` */
    QN_NN_ATTR_TEXT,    /* up to 63 bytes */
    QN_NN_ATTR_PAIR,    /* an integer for both directions, or [height, width] */
    QN_NN_ATTR_TRIPLE,  /* an integer for all, or [depth, height, width] */
    QN_NN_ATTR_PADDING, /* "valid", "same", an integer, one for each dimension, or all begins and
                           all ends: [top, left, bottom, right] */
    QN_NN_ATTR_INTS,    /* a list of up to 8 integers */
    QN_NN_ATTR_INDICES, /* a list of up to 65536 integers */
    QN_NN_ATTR_UNITS,   /* an integer >= 1, or "auto" */
    QN_NN_ATTR_LAYERS,  /* a list of layers, or one of the words in `choices` */
    QN_NN_ATTR_ROWS     /* lists of 0 and 1 in a list, or one of the words in `choices` */
} qn_nn_attr_kind;

typedef struct {
    const char *name;
    qn_nn_attr_kind kind;
    bool required;
    double low, high;     /* of numbers, inclusive; both 0 = any */
    const char *fallback; /* the default, as the recipe would write it */
    const char *choices;  /* words, space between */
    const char *doc;
} qn_nn_attr;

typedef struct qn_nn_layer {
    const char *name;
    const char *doc;
    const qn_nn_attr *attrs; /* ended by a NULL name */
} qn_nn_layer;

/* The table; NULL past the end: the recipe's schema, the documentation and the tests walk it. */
const qn_nn_layer *qn_nn_layer_at(int index);
const qn_nn_layer *qn_nn_layer_find(const char *name);

typedef struct {
    int64_t units_auto; /* what `units: auto` stands for: classes, or 1 */
    bool logits; /* leave out a closing softmax, log_softmax or sigmoid: the loss has its own */
    const char *path;  /* how messages name the list; NULL = "layers" */
    const char *scope; /* the states are "SCOPE.0.weight", ...; NULL = "layers" */
} qn_nn_layers_options;

/*
 * Builds the list on `input`; *ret is the last layer's output, *ret_closing (may be NULL) the
 * closing activation that `logits` left out, or "linear". Errors: ERR_ARG naming layer index,
 * attribute, value and what was expected, with the nearest name for an unknown layer or attribute:
 * "layers[0] conv2d expects input of 3 dimensions [H, W, C], got [4]".
 */
QN_MUST_USE qn_status qn_nn_layers_build(qn_graph *graph, qn_value input, const qn_json *layers,
                                         const qn_nn_layers_options *options, qn_value *ret,
                                         const char **ret_closing, qn_error *err);

#endif
