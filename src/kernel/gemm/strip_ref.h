/*
 * What the portable strips of f32 and of pairs share: a row of sums begins with what is there, and ends as the strip says.
 * Static: for gemm_ref.c and pairs_ref.c.
 */
#ifndef QN_KERNEL_GEMM_STRIP_REF_H
#define QN_KERNEL_GEMM_STRIP_REF_H

#include "kernel/gemm/tile.h"

static inline void strip_begin(const qn_strip *s, int64_t row, float *acc)
{
    for (int j = 0; j < s->cols; j++)
        acc[j] = s->add ? s->c[row * s->ldc + j] : 0;
}

static inline void strip_end(const qn_strip *s, int64_t row, const float *acc)
{
    for (int j = 0; j < s->cols; j++) {
        float x = s->bias ? acc[j] + s->bias[j] : acc[j];
        x = s->added ? x + s->added[row * s->ldc + j] : x;
        s->c[row * s->ldc + j] = s->relu && x < 0 ? 0 : x;
    }
}

#endif
