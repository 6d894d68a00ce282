/*
 * Layer and root-mean-square normalisation, f32: each row of [rows, cols] by its own statistics.
 */
#ifndef QN_KERNEL_LAYER_NORM_H
#define QN_KERNEL_LAYER_NORM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "os/pool.h"

/* y = (x - mean) * rstd * scale + shift with rstd = 1 / sqrt(mean((x - mean)^2) + eps). Not
 * `centred`: mean is 0 (RMSNorm). shift, mean and rstd (both [rows]) may be NULL. y may be x.
 * Accuracy: two passes, so a mean far from zero costs eps * |mean| * rstd and no more. */
typedef struct {
    int64_t rows, cols;
    const float *x, *scale, *shift;
    float *y, *mean, *rstd;
    float eps;
    bool centred;
} qn_layer_norm;
void qn_layer_norm_f32(qn_pool *pool, const qn_layer_norm *io);

/* dx, dscale, dshift from dy and what the forward kept. mean is not read when not centred; dscale
 * and dshift may be NULL. Sums over rows run in fixed blocks: the same bits for any number of
 * threads. */
typedef struct {
    int64_t rows, cols;
    const float *dy, *x, *scale, *mean, *rstd;
    float *dx, *dscale, *dshift;
    bool centred;
} qn_layer_norm_grad;
size_t qn_layer_norm_grad_scratch_bytes(int64_t rows, int64_t cols);
void qn_layer_norm_grad_f32(qn_pool *pool, const qn_layer_norm_grad *io, void *scratch);

#endif
