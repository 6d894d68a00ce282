/*
 * Losses: one fused node each, which gives the scalar and its own gradient in the same pass; focal loss is made of ordinary nodes.
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
    QN_NN_LOSS_KL, /* on logits [B, ..., C] with probabilities: sum t (log t - log softmax(p)) / B */
    QN_NN_LOSS_HINGE, /* max(0, margin - s p), s = 1 where t > 0, else -1 */
    QN_NN_LOSS_SQUARED_HINGE,
    QN_NN_LOSS_POISSON,  /* p the logarithm of a rate, t a count: exp(p) - t p */
    QN_NN_LOSS_QUANTILE, /* q (t - p) where t > p, else (1 - q) (p - t) */
    QN_NN_LOSS_COSINE, /* pairs [B, 2, D] with sides [B]: 1 - cos where t > 0, else max(0, cos - margin) */
    QN_NN_LOSS_TRIPLET, /* anchor, positive, negative [B, 3, D], no target: max(0, |a - p| - |a - n| + margin) */
    QN_NN_LOSS_CTC, /* on logits [B, T, C] with labels i64 [B, S], filled up with -1 */
    QN_NN_LOSS_FOCAL, /* on logits: CE's labels of 2 classes or more, BCE's numbers of 1: -(1 - p)^focus log p */
    QN_NN_LOSS_NLL, /* on log-probabilities [B, C] with labels i64 [B] */
    QN_NN_LOSS_COUNT
} qn_nn_loss_kind;
const char *qn_nn_loss_name(qn_nn_loss_kind kind); /* as the recipe spells it: "mse" */
bool qn_nn_loss_find(const char *name, qn_nn_loss_kind *ret);

enum { QN_NN_IGNORE_INDEX = -100 }; /* labels of this value count nothing (PyTorch's default) */

typedef struct {
    qn_nn_loss_kind kind;
    double delta;           /* HUBER; 0 = 1 */
    double label_smoothing; /* CE, BCE */
    double focus;           /* FOCAL: exponent, 0 or more */
    /* one per class, or NULL. BCE, the hinges and FOCAL of one score: of 0 and of 1, both above 0; their ratio counts */
    const double *class_weights;
    double quantile; /* QUANTILE; 0 = 0.5 */
    bool has_margin; /* otherwise: HINGE and TRIPLET 1, COSINE 0 */
    double margin;
    int64_t blank;      /* CTC: the class that is no label */
    int64_t labels_max; /* CTC: S */
} qn_nn_loss;

/*
 * The mean loss as a scalar. Shapes: predictions and targets alike, but for CE, NLL and FOCAL (logits [..., C],
 * targets i64 [...]), COSINE, TRIPLET (targets QN_NONE) and CTC. weights: one per element, or one per
 * row of the batch ([B]), or QN_NONE; of losses that look at one number at a time only (with CE use class
 * weights or ignored labels). The mean divides by the count of elements; CE, NLL and FOCAL
 * divide by the sum of the weights of the labels, KL by the rows, CTC each row by its labels and then by the rows.
 * Errors: sticky, naming both shapes.
 */
qn_value qn_nn_loss_add(qn_graph *graph, const qn_nn_loss *loss, qn_value predictions,
                        qn_value targets, qn_value weights);
/* Does it look at one prediction and its target at a time? */
bool qn_nn_loss_pointwise(qn_nn_loss_kind kind);
/* Does it compare with a target at all? TRIPLET does not. */
bool qn_nn_loss_has_target(qn_nn_loss_kind kind);
/* Does it take the numbers 0 and 1 (or -1 and 1), one side each, for predictions [..., scores]? */
bool qn_nn_loss_takes_sides(qn_nn_loss_kind kind, int64_t scores);
/* Does it put a softmax of its own behind the predictions (CE, KL, CTC, FOCAL; a sigmoid: BCE)? */
bool qn_nn_loss_takes_logits(qn_nn_loss_kind kind);
/* The type of the targets that `loss` wants for these predictions: what a loader must fill. */
qn_type qn_nn_loss_target(const qn_nn_loss *loss, const qn_type *predictions);

#endif
