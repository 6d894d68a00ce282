/*
 * Softmax and log-softmax over the last dimension, f32.
 */
#ifndef QN_KERNEL_SOFTMAX_H
#define QN_KERNEL_SOFTMAX_H

#include <stdint.h>

#include "os/pool.h"

/* Shapes: [rows, cols] contiguous; y may be x. A row holding +inf or NaN, or only -inf, becomes
 * NaN. */
void qn_softmax_f32(qn_pool *pool, float *y, const float *x, int64_t rows, int64_t cols);
void qn_log_softmax_f32(qn_pool *pool, float *y, const float *x, int64_t rows, int64_t cols);
/* dx = (dy - sum(dy * y)) * y; dx may be dy. */
void qn_softmax_grad_f32(qn_pool *pool, float *dx, const float *dy, const float *y, int64_t rows,
                         int64_t cols);
/* dx = dy - exp(y) * sum(dy), y the log-probabilities; dx may be dy. */
void qn_log_softmax_grad_f32(qn_pool *pool, float *dx, const float *dy, const float *y,
                             int64_t rows, int64_t cols);

#endif
