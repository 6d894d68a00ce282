/* What each ISA provides for loss.h. */
#ifndef QN_KERNEL_LOSS_TABLE_H
#define QN_KERNEL_LOSS_TABLE_H

#include "kernel/loss/loss.h"

/* One row of cross-entropy against a distribution u: u[c] = weights[c] * (keep * targets[c] + uniform), where targets
 * may be a single label. loss = sum u (log_sum - x), dx = scale * (softmax * sum(u) - u). */
typedef struct {
    const float *targets; /* [cols], or NULL: `label` */
    int64_t label;
    const float *weights; /* [cols], or NULL: 1 */
    float keep, uniform;
    float scale;
} qn_cross_entropy_row;

/* Elements of a pointwise loss: `p` is the option. dx, each and weights may be NULL. Returns the sum. */
typedef struct {
    const float *x, *t, *weights;
    float *each, *dx;
    int64_t count;
    float p, scale;
} qn_pointwise_block;

typedef struct {
    float (*cross_entropy)(float *dx, const float *x, int64_t cols,
                           const qn_cross_entropy_row *row);
    int64_t (*first_largest)(const float *x, int64_t cols); /* -1 when there is a NaN */
    float (*pointwise[QN_LOSS_KINDS])(const qn_pointwise_block *block);
} qn_loss_kernels;

extern const qn_loss_kernels qn_loss_f32_ref, qn_loss_f32_neon, qn_loss_f32_avx2,
    qn_loss_f32_avx512;

#endif
