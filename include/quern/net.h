/*
 * Networks written in C: layers stacked one call each, then fit, evaluate, predict, save and load.
 *
 * Building calls chain without a check after each: the first error sticks to the net and comes out
 * of the first call that returns a status. A NULL net (memory was short) is accepted everywhere
 * and reported likewise. Networks read from a recipe, and models trained from files, are in
 * quern/model.h.
 *
 * Threads: one at a time per net.
 */
#ifndef QUERN_NET_H
#define QUERN_NET_H

#include <stdbool.h>
#include <stdint.h>

#include "quern/error.h"
#include "quern/view.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct qn_net qn_net;

/* Shape of one sample. QN_INPUT(2) or QN_INPUT(28, 28, 1): images are height, width, channels. */
typedef struct {
    int rank;
    int64_t dims[QN_VIEW_RANK_MAX - 1];
} qn_input;
#ifndef __cplusplus
#define QN_INPUT(...)                                                                              \
    ((qn_input){(int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), {__VA_ARGS__}})
#endif

typedef enum {
    QN_LINEAR,
    QN_RELU,
    QN_LEAKY_RELU,
    QN_SIGMOID,
    QN_TANH,
    QN_GELU,
    QN_SILU,
    QN_SOFTMAX, /* of the last layer only: predictions are probabilities */
    QN_ELU,
    QN_SELU,
    QN_CELU,
    QN_SOFTPLUS,
    QN_SOFTSIGN,
    QN_MISH,
    QN_RELU6,
    QN_HARD_SIGMOID, /* x / 6 + 1 / 2 between 0 and 1 */
    QN_HARD_SWISH,
    QN_HARD_TANH, /* x between -1 and 1 */
} qn_activation;

/* NULL when memory is short or the input shape is wrong; the error says which. */
QN_API qn_net *qn_net_create(qn_input input, qn_error *err);
QN_API void qn_net_destroy(qn_net *net);

/* Layers, in order. Shapes: images are [batch, height, width, channels]. */
QN_API void qn_net_dense(qn_net *net, int64_t units, qn_activation activation);

/* Zero in `stride`, `dilation` or `groups` means 1. */
typedef struct {
    int64_t stride;
    int64_t dilation;
    int64_t groups;
    bool same; /* pad so that the size is kept (stride 1); otherwise no padding */
} qn_conv_options;
/* A square kernel. `options` may be NULL. */
QN_API void qn_net_conv2d(qn_net *net, int64_t filters, int64_t kernel, qn_activation activation,
                          const qn_conv_options *options);
/* Square windows side by side. */
QN_API void qn_net_max_pool2d(qn_net *net, int64_t size);
QN_API void qn_net_average_pool2d(qn_net *net, int64_t size);
QN_API void qn_net_global_average_pool(qn_net *net);
QN_API void qn_net_flatten(qn_net *net);
QN_API void qn_net_dropout(qn_net *net, float rate);
QN_API void qn_net_batch_norm(qn_net *net);
QN_API void qn_net_activation(qn_net *net, qn_activation activation);
/* What comes between the two is a branch, whose result is added to its input; then the activation.
 * The branch must keep the shape, or the layers after qn_net_shortcut bring the input to its shape.
 * Branches may stand in branches. */
QN_API void qn_net_residual_begin(qn_net *net);
QN_API void qn_net_shortcut(qn_net *net);
QN_API void qn_net_residual_end(qn_net *net, qn_activation activation);
/* Any layer of a recipe by its name, with its attributes as JSON, NULL for none:
 * qn_net_layer(net, "conv1d", "{\"filters\": 32, \"kernel\": 5}"). `quern schema layers` lists
 * them. */
QN_API void qn_net_layer(qn_net *net, const char *name, const char *attributes);

/* The weights of the layer that was just added are made of others while the net runs: by a direction and a gain for each output
 * (PyTorch parametrizations.weight_norm), or divided by their largest singular value (parametrizations.spectral_norm, Keras
 * SpectralNormalization). For dense, convolution (transposed and depthwise too) and recurrent layers. */
typedef enum { QN_WEIGHT_NORM, QN_SPECTRAL_NORM } qn_reparametrization;
QN_API void qn_net_reparametrize(qn_net *net, qn_reparametrization kind);

/* The sticky error, for those who want it before fit. */
QN_MUST_USE QN_API qn_status qn_net_check(const qn_net *net, qn_error *err);

typedef enum {
    QN_LOSS_MSE,
    QN_LOSS_MAE,
    QN_LOSS_HUBER,
    QN_LOSS_BCE,           /* targets 0 or 1 */
    QN_LOSS_CROSS_ENTROPY, /* targets: one integer label a sample, or one-hot rows of floats */
    QN_LOSS_KL,            /* targets: a distribution like the output */
    QN_LOSS_HINGE,         /* targets 0 or 1, or -1 or 1: max(0, margin - s y) */
    QN_LOSS_SQUARED_HINGE,
    QN_LOSS_POISSON,  /* targets: counts; the output is the logarithm of a rate */
    QN_LOSS_QUANTILE, /* the output is a quantile of the target */
    QN_LOSS_COSINE,   /* outputs [2, D], a pair; targets [samples]: 1 same, 0 or -1 different */
    QN_LOSS_TRIPLET,  /* outputs [3, D]: anchor, same, different; no targets (a view of rank 0) */
    QN_LOSS_CTC,      /* outputs [T, classes]; targets [samples, S]: labels, filled up with -1 */
    QN_LOSS_FOCAL, /* CROSS_ENTROPY that counts (1 - p)^focus for what is right at p; of one output: BCE */
} qn_loss;

/* Made by the functions below. */
typedef struct {
    int kind;
    float rate;
    float momentum;
    bool nesterov;
    float beta1;
    float beta2;
    float epsilon;
    float weight_decay;
    float rho; /* of rmsprop and adadelta: what the mean of squares keeps */
    bool centered;
} qn_optimizer;
QN_API qn_optimizer qn_sgd(float rate);
QN_API qn_optimizer qn_momentum(float rate, float momentum);
QN_API qn_optimizer qn_adam(float rate);
QN_API qn_optimizer qn_adamw(float rate, float weight_decay);
/* Quasi-Newton steps over all samples at once, for small smooth networks without dropout: no rate and no
 * batches; an epoch is an iteration, 200 at most unless `epochs` says. Ends early at the minimum.
 * `weight_decay` times half the squares of matrices is added to the loss. */
QN_API qn_optimizer qn_lbfgs(float weight_decay);
QN_API qn_optimizer qn_adagrad(float rate);
QN_API qn_optimizer qn_rmsprop(float rate, float rho);
QN_API qn_optimizer qn_adadelta(float rate);
QN_API qn_optimizer qn_nadam(float rate);
QN_API qn_optimizer qn_lion(float rate, float weight_decay);
QN_API qn_optimizer qn_lamb(float rate, float weight_decay);
QN_API qn_optimizer qn_adafactor(float rate);
/* Matrices by Muon, the rest by AdamW, both at a rate that suits AdamW. */
QN_API qn_optimizer qn_muon(float rate, float weight_decay);

/* Weights that learn apart: those whose names match, the first group that does. The weights of the first layer are
 * "layers.0.weight" and "layers.0.bias". */
typedef struct {
    const char *names;  /* "layers.0", or with * for any text: "*.bias" */
    float rate;         /* factor of the optimizer's rate; 0 = 1 */
    float weight_decay; /* theirs; 0 = none */
    bool frozen;        /* they stay as they are */
} qn_group;

/* How the learning rate moves between the first step and the last. */
typedef enum {
    QN_RATE_CONSTANT,
    QN_RATE_STEP,
    QN_RATE_COSINE,
    QN_RATE_LINEAR,
    QN_RATE_PLATEAU,      /* lower when the loss (of validation, if there is any) falls no more */
    QN_RATE_EXPONENTIAL,  /* times gamma every step_epochs, smoothly */
    QN_RATE_POLYNOMIAL,   /* (1 - part done)^power */
    QN_RATE_INVERSE_SQRT, /* sqrt(warm-up / step) */
    QN_RATE_ONE_CYCLE,    /* up over the warm-up (30 % without one) and down to almost nothing */
    QN_RATE_RESTARTS, /* cosine over step_epochs, then anew, each period `growth` times as long */
} qn_rate_kind;
typedef struct {
    qn_rate_kind kind;
    float rate_min;  /* reached at the last step, or never below */
    float warmup;    /* share of all steps, 0 to 1, in which the rate rises from zero */
    int step_epochs; /* STEP: epochs between steps; 0 = 1 */
    float gamma;     /* factor of STEP and PLATEAU, 0 = 0.1; of EXPONENTIAL, 0 = 0.9 */
    int patience;    /* PLATEAU: epochs without a lower loss before a step; 0 = 10 */
    float power;     /* POLYNOMIAL; 0 = 1 */
    float growth;    /* RESTARTS; 0 = 1 */
} qn_rate_schedule;

typedef struct {
    int epoch; /* from 1 */
    int epochs;
    double loss;       /* mean over the epoch's training samples */
    double accuracy;   /* of training samples; NaN unless the loss is one of classes */
    double valid_loss; /* NaN without validation data */
    double valid_accuracy;
    double seconds; /* since fit began */
} qn_epoch;

/* Zero in a field means its default. */
typedef struct {
    qn_loss loss;              /* QN_LOSS_MSE */
    qn_optimizer optimizer;    /* Adam at 0.001 */
    int epochs;                /* 1 */
    qn_rate_schedule schedule; /* constant */
    float clip_norm;           /* gradients of a larger global norm are scaled to it; 0 = off */
    float clip_value;          /* each gradient into [-v, v]; 0 = off */
    int accumulate;            /* batches per update; 1 */
    bool recompute; /* less memory for more time, the same bits: inner values are made again */
    float label_smoothing;  /* CROSS_ENTROPY, BCE: 0 to 1 */
    float focus;            /* FOCAL: 0 = 2 */
    float quantile;         /* QUANTILE: 0 to 1; 0 = 0.5 */
    float margin;           /* HINGE, SQUARED_HINGE, TRIPLET: 0 = 1; COSINE */
    int64_t blank;          /* CTC: the class that is no label */
    const qn_group *groups; /* NULL = all weights alike */
    int groups_count;
    /* the net ends with a running average of its weights that keeps this share at each step; 0 = off */
    float ema;
    /* the net ends with the mean of its weights at the ends of this last share of the epochs; 0 = off */
    float swa;
    /* CROSS_ENTROPY, FOCAL: one per class; BCE, hinges, FOCAL of one output: of 0 and of 1. NULL = all 1 */
    const double *class_weights;
    int64_t batch;        /* 32 samples */
    bool bf16;            /* products read 16-bit numbers; sums, weights and answers are f32 */
    uint64_t seed;        /* 1 */
    int threads;          /* what the machine grants */
    bool in_order;        /* do not shuffle */
    qn_view valid_inputs; /* rank 0: no validation */
    qn_view valid_targets;
    /* After each epoch; a result other than 0 stops. */
    int (*on_epoch)(void *context, const qn_epoch *epoch);
    void *context;
} qn_fit_options;

/* Trains on samples inputs[i] -> targets[i]. Starts at the net's present weights.
 * Shapes: inputs [samples, input...]; targets [samples, output...] or [samples] of labels.
 * Errors: ERR_ARG names the dimension that was expected and the one that came; ERR_NUMERIC names
 * the step and the first layer that gave NaN or infinity. */
QN_MUST_USE QN_API qn_status qn_net_fit(qn_net *net, qn_view inputs, qn_view targets,
                                        const qn_fit_options *options, qn_error *err);

/* A training step in words, one line per call of its plan: operation, shapes, kernel, bytes; then the sums.
 * `options` as for fit (its data is not looked at); NULL = a prediction of `batch` samples. The
 * text lives until the next call for this net. */
QN_MUST_USE QN_API qn_status qn_net_plan(qn_net *net, int64_t batch, const qn_fit_options *options,
                                         const char **ret_text, qn_error *err);

/* Fills `outputs`, f32, [samples, output...]. A sample's answer does not depend on its batch. */
QN_MUST_USE QN_API qn_status qn_net_predict(qn_net *net, qn_view inputs, qn_view_out outputs,
                                            qn_error *err);

typedef struct {
    double loss;
    double accuracy; /* NaN unless the loss is BCE or CROSS_ENTROPY */
} qn_evaluation;
/* With the loss of the last fit. */
QN_MUST_USE QN_API qn_status qn_net_evaluate(qn_net *net, qn_view inputs, qn_view targets,
                                             qn_evaluation *ret, qn_error *err);

/* A model folder FOLDER/1, FOLDER/2, ... that `quern predict` and `quern serve` read. */
QN_MUST_USE QN_API qn_status qn_net_save(const qn_net *net, const char *folder, qn_error *err);
/* The newest version in `folder`, or a version's own folder. NULL = error. */
QN_API qn_net *qn_net_load(const char *folder, qn_error *err);

#ifdef __cplusplus
}
#endif
#endif
