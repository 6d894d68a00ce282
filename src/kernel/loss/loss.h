/*
 * Losses with their gradients in the same pass, f32. Each writes the scalar loss (in f32, summed in
 * a fixed order) and, where asked, the gradient to its input for an upstream gradient of 1.
 */
#ifndef QN_KERNEL_LOSS_H
#define QN_KERNEL_LOSS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "os/pool.h"

typedef enum {
    QN_LOSS_MEAN,
    QN_LOSS_SUM,
    QN_LOSS_BATCH_MEAN, /* of pointwise losses: the sum divided by `rows` */
} qn_loss_reduction;

/*
 * Softmax with cross-entropy over [rows, classes] logits, as PyTorch's cross_entropy: with weights
 * w, smoothing s, label t and log-probabilities p, row = -(1 - s) w[t] p[t] - s / classes * sum_c
 * w[c] p[c];   MEAN divides the sum of rows by sum of w[t]. Labels i64 or i32 (one of the two
 * pointers), or, with `targets`, a distribution per row: row = -sum_c w[c] q[c] p[c] with q = (1 -
 * s) targets + s / classes;   MEAN divides by rows. A label equal to `ignore` (with has_ignore)
 * counts nothing and has zero gradient. Any other label outside [0, classes) makes its row's loss
 * NaN: check labels when they are read.
 */
typedef struct {
    int64_t rows, classes;
    const float *logits;
    const int64_t *labels;
    const int32_t *labels_i32;
    const float *targets;       /* [rows, classes] */
    const float *class_weights; /* [classes] or NULL */
    float smoothing;
    bool has_ignore;
    int64_t ignore;
    qn_loss_reduction reduction;
    float *loss;      /* scalar, or NULL */
    float *row_loss;  /* [rows] unreduced, or NULL */
    float *dlogits;   /* [rows, classes], or NULL; may be logits */
    int64_t *correct; /* rows whose first largest logit is the label, or NULL (labels only) */
} qn_cross_entropy;

size_t qn_cross_entropy_scratch_bytes(int64_t rows, int64_t classes);
void qn_cross_entropy_f32(qn_pool *pool, const qn_cross_entropy *io, void *scratch);

typedef enum {
    QN_LOSS_MSE,        /* (x - t)^2 */
    QN_LOSS_MAE,        /* |x - t|; gradient 0 at 0 */
    QN_LOSS_HUBER,      /* d^2 / 2 within p, else p (|d| - p / 2) */
    QN_LOSS_BCE_LOGITS, /* log(1 + exp(x)) - t x, with weight p on the t part */
    QN_LOSS_POISSON,    /* exp(x) - t x */
    QN_LOSS_QUANTILE,   /* p (t - x) where t > x, else (1 - p) (x - t) */
    QN_LOSS_HINGE,      /* max(0, p - s x), s = 1 where t > 0, else -1 */
    QN_LOSS_SQUARED_HINGE,
    QN_LOSS_KL, /* t (log t - x), 0 where t is 0 */
    QN_LOSS_KINDS
} qn_loss_kind;

/* Pointwise losses over [count] predictions x and targets t. weights: [count] or NULL; MEAN divides
 * by count. */
typedef struct {
    int64_t count;
    const float *predictions, *targets, *weights;
    /* p: HUBER's bound, BCE_LOGITS' weight (1 = none), QUANTILE's share, a hinge's margin */
    float option;
    qn_loss_reduction reduction;
    int64_t rows;        /* of BATCH_MEAN */
    float *loss;         /* scalar, or NULL */
    float *element_loss; /* [count] unreduced, or NULL */
    float *dpredictions; /* [count], or NULL; may be predictions */
} qn_pointwise_loss;

size_t qn_pointwise_loss_scratch_bytes(int64_t count);
void qn_pointwise_loss_f32(qn_pool *pool, qn_loss_kind kind, const qn_pointwise_loss *io,
                           void *scratch);

#endif
