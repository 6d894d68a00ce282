/*
 * Reductions over the middle of [outer, reduce, inner], contiguous. Sums run in blocks of fixed
 * size whose partial results are joined in a fixed order, so the bits depend on the shape alone.
 */
#ifndef QN_KERNEL_REDUCE_H
#define QN_KERNEL_REDUCE_H

#include <stddef.h>
#include <stdint.h>

#include "os/pool.h"

typedef enum {
    QN_REDUCE_SUM,
    QN_REDUCE_MEAN,
    QN_REDUCE_MAX, /* NaN wins */
    QN_REDUCE_MIN,
    QN_REDUCE_PROD,
    QN_REDUCE_SUM_SQUARE,
    QN_REDUCE_SUM_ABS,
    QN_REDUCE_LOGSUMEXP,
    QN_REDUCE_COUNT
} qn_reduce;

/* Empty reductions (reduce = 0): sums 0, product 1, max -inf, min inf, mean NaN, logsumexp -inf. */
typedef struct {
    int64_t outer, reduce, inner;
} qn_reduce_shape;

size_t qn_reduce_f32_scratch_bytes(const qn_reduce_shape *shape);
/* Shapes: src [outer, reduce, inner], dst [outer, inner]. Accuracy: sums as a blocked summation,
 * relative error of the sum of absolute values <= 600 eps for any length up to 2^31. */
void qn_reduce_f32(qn_pool *pool, qn_reduce op, float *dst, const float *src,
                   const qn_reduce_shape *shape, void *scratch);
/* Place of the largest (first of equals; the first NaN wins). dst [outer, inner]; reduce >= 1. */
void qn_argmax_f32(qn_pool *pool, int64_t *dst, const float *src, const qn_reduce_shape *shape);
void qn_argmin_f32(qn_pool *pool, int64_t *dst, const float *src, const qn_reduce_shape *shape);
/* Gradient of SUM or MEAN: dx[o, r, i] = scale * dy[o, i]. */
void qn_reduce_spread_f32(qn_pool *pool, float *dx, const float *dy, const qn_reduce_shape *shape,
                          float scale);
/* *dst = sum a[i] * b[i], in fixed blocks; scratch as for {1, count, 1}. */
void qn_dot_f32(qn_pool *pool, float *dst, const float *a, const float *b, int64_t count,
                void *scratch);

#endif
