/*
 * Losses: one fused node each, which gives the scalar and its own gradient in the same pass.
 */
#ifndef QN_NN_LOSSES_H
#define QN_NN_LOSSES_H

#include <stdbool.h>
#include <stdint.h>

#include "graph/graph.h"

typedef enum {
    QN_NN_LOSS_MSE,   /* (p - t)^2 */
    QN_NN_LOSS_MAE,   /* |p - t| */
    QN_NN_LOSS_HUBER, /* d^2 / 2 within delta, else delta (|d| - delta / 2) */
    QN_NN_LOSS_BCE,   /* on logits: log(1 + exp(p)) - t p */
    QN_NN_LOSS_CE,    /* on logits [B, C] with labels i64 [B] */
    QN_NN_LOSS_COUNT
} qn_nn_loss_kind;
const char *qn_nn_loss_name(qn_nn_loss_kind kind); /* as the recipe spells it: "mse" */
bool qn_nn_loss_find(const char *name, qn_nn_loss_kind *ret);

enum { QN_NN_IGNORE_INDEX = -100 }; /* labels of this value count nothing (PyTorch's default) */

typedef struct {
    qn_nn_loss_kind kind;
    double delta;                /* HUBER; 0 = 1 */
    double label_smoothing;      /* CE */
    double pos_weight;           /* BCE; 0 = 1 */
    const double *class_weights; /* CE: one per class, or NULL */
} qn_nn_loss;

/*
 * The mean loss as a scalar. Shapes: predictions and targets alike (CE: logits [..., C], targets
 * i64
 * [...]). weights: one per element, or one per row of the batch ([B]), or QN_NONE; not with CE (use
 * class weights or ignored labels). The mean divides by the count of elements; CE divides by the
 * sum of the weights of the labels. Errors: sticky, naming both shapes.
 */
qn_value qn_nn_loss_add(qn_graph *graph, const qn_nn_loss *loss, qn_value predictions,
                        qn_value targets, qn_value weights);
/* The type of the targets that `loss` wants for these predictions: what a loader must fill. */
qn_type qn_nn_loss_target(const qn_nn_loss *loss, const qn_type *predictions);

#endif
