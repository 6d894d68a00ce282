/*
 * Batch normalisation, channels last, f32: x is [rows, channels], statistics run over the rows.
 */
#ifndef QN_KERNEL_NORM_H
#define QN_KERNEL_NORM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "os/pool.h"

size_t qn_batch_norm_scratch_bytes(int64_t rows, int64_t channels);

/* y = (x - mean) * rstd * scale + shift with the batch's own mean and population variance, in f64
 * across blocks. running = (1 - momentum) * running + momentum * batch (variance with n - 1 when
 * `unbiased`); NULL = not kept. save_mean, save_rstd [channels]: for the backward. scale, shift may
 * be NULL (1 and 0). */
typedef struct {
    int64_t rows, channels;
    const float *x, *scale, *shift;
    float *y, *save_mean, *save_rstd, *running_mean, *running_var;
    float eps, momentum;
    bool unbiased;
} qn_batch_norm;
void qn_batch_norm_train_f32(qn_pool *pool, const qn_batch_norm *io, void *scratch);

/* dx, dscale, dshift (each NULL = not wanted) from dy and what the forward saved. */
typedef struct {
    int64_t rows, channels;
    const float *dy, *x, *scale, *save_mean, *save_rstd;
    float *dx, *dscale, *dshift;
} qn_batch_norm_grad;
void qn_batch_norm_grad_f32(qn_pool *pool, const qn_batch_norm_grad *io, void *scratch);

/* y = x * factor + offset per channel with factor = scale / sqrt(var + eps), offset = shift - mean
 * * factor. */
typedef struct {
    int64_t rows, channels;
    const float *x, *scale, *shift, *mean, *var;
    float *y;
    float eps;
} qn_batch_norm_infer;
void qn_batch_norm_infer_f32(qn_pool *pool, const qn_batch_norm_infer *io, void *scratch);

#endif
