/*
 * From a forward graph to a training graph: loss, gradients, clipping and update in one graph, so
 * that a training step is one run of one plan.
 */
#ifndef QN_NN_TRAINING_H
#define QN_NN_TRAINING_H

#include <stdbool.h>

#include "base/error.h"
#include "graph/graph.h"
#include "nn/losses.h"
#include "nn/optimizers.h"

typedef struct {
    qn_nn_loss loss;
    qn_nn_optimizer optimizer;
    int accumulate; /* micro-batches per update; 0 = 1 */
    bool weighted;  /* adds the input "train.weight", one f32 per row (not with CE) */
    /* computes inner values of blocks again for the gradients: less memory, same bits */
    bool recompute;
    bool loss_only; /* no gradients and no update: evaluation, or L-BFGS with `gradients` */
    bool gradients; /* with loss_only: gradients as outputs "grad.NAME" for every trainable state */
} qn_nn_training;

/*
 * Extends `graph`, whose `predictions` come from its own inputs, with the input "train.target" (and
 * "train.weight"), the output "train.loss" and the rest as asked. Evaluation uses the same graph: a
 * plan with `training` false and `outputs` naming what it wants runs no update.
 *
 * accumulate > 1: each run of `graph` adds its gradients divided by `accumulate` to the states
 * "accum.NAME"; *ret_apply is then a second graph over the same state (own it, destroy it) to run
 * after every `accumulate` runs: it clips, updates and clears. Otherwise *ret_apply is NULL.
 */
QN_MUST_USE qn_status qn_nn_training_add(qn_graph *graph, qn_value predictions,
                                         const qn_nn_training *training, qn_graph **ret_apply,
                                         qn_error *err);

#endif
