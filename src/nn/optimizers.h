/*
 * Optimisers as pieces of the training graph: clipping, weight decay and update nodes over states.
 *
 * The learning rate is the graph input "train.lr" (f32 scalar); the step counter is the state
 * "train.step" (i64 scalar, 1 at the first update). Moments are states "adam_m.NAME",
 * "adam_v.NAME", "velocity.NAME", so that a checkpoint of the state is a checkpoint of the optimiser.
 */
#ifndef QN_NN_OPTIMIZERS_H
#define QN_NN_OPTIMIZERS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "graph/graph.h"

typedef enum { QN_NN_SGD, QN_NN_ADAM, QN_NN_ADAMW, QN_NN_OPTIMIZER_COUNT } qn_nn_optimizer_kind;
const char *qn_nn_optimizer_name(qn_nn_optimizer_kind kind); /* "adamw" */
bool qn_nn_optimizer_find(const char *name, qn_nn_optimizer_kind *ret);

typedef struct {
    qn_nn_optimizer_kind kind;
    double momentum; /* SGD */
    bool nesterov;   /* SGD */
    double beta1, beta2, eps;
    double weight_decay; /* ADAMW: decoupled; SGD and ADAM: L2 added to the gradient */
    bool
        decay_matrices; /* only states of rank >= 2 decay, not biases and norms; by default all do, as in Keras and PyTorch */
    double clip_norm;   /* global norm over all gradients; 0 = off */
    double clip_value;  /* each element into [-v, v], before clip_norm; 0 = off */
} qn_nn_optimizer;

/* The usual numbers of each kind: betas 0.9 and 0.999, eps 1e-8 (Keras says 1e-7), ADAMW decay
 * 0.01. */
qn_nn_optimizer qn_nn_optimizer_default(qn_nn_optimizer_kind kind);
double
qn_nn_optimizer_lr(qn_nn_optimizer_kind kind); /* a usual learning rate: 0.01, 0.001, 0.001 */

/* Adds clipping and updates of `params` (trainable states) from `grads`, and the assigns. With
 * clip_norm the graph also gets the output "train.grad_norm". */
QN_MUST_USE qn_status qn_nn_optimizer_add(qn_graph *graph, const qn_nn_optimizer *optimizer,
                                          const qn_value *params, const qn_value *grads, int count,
                                          qn_error *err);

#endif
