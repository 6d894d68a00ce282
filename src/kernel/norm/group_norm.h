/*
 * Group normalisation, channels last, f32: statistics of each image's groups of channels. One
 * channel per group is instance normalisation.
 */
#ifndef QN_KERNEL_GROUP_NORM_H
#define QN_KERNEL_GROUP_NORM_H

#include <stddef.h>
#include <stdint.h>

#include "os/pool.h"

/* x is [images, rows, groups, width]; scale and shift are [groups * width]. */
typedef struct {
    int64_t images, rows, groups, width;
} qn_group_norm_shape;

size_t qn_group_norm_scratch_bytes(const qn_group_norm_shape *shape);

/* mean and rstd, [images, groups], are kept for the backward. */
typedef struct {
    qn_group_norm_shape shape;
    const float *x, *scale, *shift;
    float *y, *mean, *rstd;
    float eps;
} qn_group_norm;
void qn_group_norm_f32(qn_pool *pool, const qn_group_norm *io, void *scratch);

/* dscale and dshift may be NULL. */
typedef struct {
    qn_group_norm_shape shape;
    const float *dy, *x, *scale, *mean, *rstd;
    float *dx, *dscale, *dshift;
} qn_group_norm_grad;
void qn_group_norm_grad_f32(qn_pool *pool, const qn_group_norm_grad *io, void *scratch);

#endif
