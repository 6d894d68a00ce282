/*
 * Optimisers as pieces of the training graph: clipping, weight decay and update nodes over states.
 *
 * The learning rate is the graph input "train.lr" (f32 scalar); the step counter is the state
 * "train.step" (i64 scalar, 1 at the first update). Moments are states "adam_m.NAME",
 * "velocity.NAME" and so on, so that a checkpoint of the state is a checkpoint of the optimiser.
 */
#ifndef QN_NN_OPTIMIZERS_H
#define QN_NN_OPTIMIZERS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "graph/graph.h"

typedef enum {
    QN_NN_SGD,
    QN_NN_ADAM,
    QN_NN_ADAMW,
    QN_NN_ADAGRAD,
    QN_NN_RMSPROP,
    QN_NN_ADADELTA,
    QN_NN_NADAM,
    QN_NN_LION,
    QN_NN_LAMB,
    QN_NN_ADAFACTOR,
    QN_NN_MUON, /* matrices of dense layers and convolutions; everything else by ADAMW */
    QN_NN_OPTIMIZER_COUNT
} qn_nn_optimizer_kind;
const char *qn_nn_optimizer_name(qn_nn_optimizer_kind kind); /* "adamw" */
bool qn_nn_optimizer_find(const char *name, qn_nn_optimizer_kind *ret);

/* Parameters that are treated apart: those whose names match `pattern`, in which * stands for any text; a pattern without one
 * also matches everything below it ("layers.0" is "layers.0.weight" and "layers.0.bias"). The first group that matches counts. */
typedef struct {
    const char *pattern;
    double rate;         /* factor of the learning rate; 0 = 1 */
    double weight_decay; /* negative = the optimiser's */
    bool frozen;         /* not trained at all */
} qn_nn_group;
bool qn_nn_pattern_matches(const char *pattern, const char *name);

/* Fields that a kind does not name are not read by it. */
typedef struct {
    qn_nn_optimizer_kind kind;
    double momentum;       /* SGD, RMSPROP, MUON */
    bool nesterov;         /* SGD, MUON */
    double beta1, beta2;   /* ADAM, ADAMW, NADAM, LION, LAMB, MUON's rest */
    double rho;            /* RMSPROP (PyTorch's alpha), ADADELTA: what the mean of squares keeps */
    bool centered;         /* RMSPROP */
    double lr_decay;       /* ADAGRAD: lr / (1 + (step - 1) lr_decay) */
    double momentum_decay; /* NADAM */
    double beta2_decay;    /* ADAFACTOR: exponent of the step */
    /* ADAFACTOR: the least rms of a weight that counts; all others: under the fraction, > 0 */
    double eps;
    /* decoupled in ADAMW, LION, LAMB, ADAFACTOR and MUON; in the others L2 added to the gradient */
    double weight_decay;
    /* only states of rank >= 2 decay, not biases and norms; by default all do, as in Keras and PyTorch */
    bool decay_matrices;
    /* MUON: 0.2 sqrt(max(in, out)) lr, so that a rate of ADAMW serves; else sqrt(max(1, out / in)) lr */
    bool match_adam;
    double clip_norm;  /* global norm over all gradients; 0 = off */
    double clip_value; /* each element into [-v, v], before clip_norm; 0 = off */
    const qn_nn_group *groups;
    int groups_count;
} qn_nn_optimizer;

/* The usual numbers of each kind, as PyTorch has them (LION and LAMB: their papers). Keras differs: eps 1e-7, RMSPROP rho 0.9. */
qn_nn_optimizer qn_nn_optimizer_default(qn_nn_optimizer_kind kind);
double qn_nn_optimizer_lr(qn_nn_optimizer_kind kind); /* a usual learning rate */

/* The options by name, as recipes spell them: "beta1", "rho", "centered" (0 or 1). NULL past the end. */
const char *qn_nn_optimizer_option_at(int index);
/* Does this kind read it? */
bool qn_nn_optimizer_takes(qn_nn_optimizer_kind kind, const char *option);
/* ERR_ARG when the kind does not take the option (naming those it takes), or the value is out of range. */
QN_MUST_USE qn_status qn_nn_optimizer_set(qn_nn_optimizer *optimizer, const char *option,
                                          double value, qn_error *err);

/* The group of a parameter; NULL = none. */
const qn_nn_group *qn_nn_group_find(const qn_nn_optimizer *optimizer, const char *name);

/* Adds clipping and updates of `params` (trainable states) from `grads`, and the assigns. With
 * clip_norm the graph also gets the output "train.grad_norm". */
QN_MUST_USE qn_status qn_nn_optimizer_add(qn_graph *graph, const qn_nn_optimizer *optimizer,
                                          const qn_value *params, const qn_value *grads, int count,
                                          qn_error *err);

#endif
