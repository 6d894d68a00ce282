/*
 * Interpolation along one axis, f32: each output line is a sum of some input lines with weights. Several axes are several
 * passes.
 */
#ifndef QN_KERNEL_RESIZE_H
#define QN_KERNEL_RESIZE_H

#include <stdint.h>

#include "os/pool.h"

/* Shapes: x [outer, in, inner], y [outer, out, inner], contiguous. Output o is the sum over t < taps of weight[o * taps + t]
 * times input index[o * taps + t], which is in [0, in). A weight of 0 drops its line, whatever it holds. */
typedef struct {
    int64_t outer, in, out, inner, taps;
    const int64_t *index;
    const float *weight;
} qn_resize_pass;

void qn_resize_f32(qn_pool *pool, const qn_resize_pass *pass, float *y, const float *x);
/* dx is overwritten. */
void qn_resize_grad_f32(qn_pool *pool, const qn_resize_pass *pass, float *dx, const float *dy);

#endif
