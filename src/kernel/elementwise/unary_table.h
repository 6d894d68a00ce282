/* What each ISA provides for unary.h: loops over contiguous memory. */
#ifndef QN_KERNEL_UNARY_TABLE_H
#define QN_KERNEL_UNARY_TABLE_H

#include "kernel/elementwise/unary.h"

typedef struct {
    void (*forward[QN_UNARY_COUNT])(float *dst, const float *src, int64_t count, float alpha);
    void (*backward[QN_UNARY_COUNT])(float *dx, const float *dy, const float *saved, int64_t count,
                                     float alpha);
    void (*clamp)(float *dst, const float *src, int64_t count, float low, float high);
    void (*clamp_grad)(float *dx, const float *dy, const float *x, int64_t count, float low,
                       float high);
    void (*affine)(float *dst, const float *src, int64_t count, float scale, float shift);
    void (*axpy)(float *dst, const float *src, int64_t count, float scale);
} qn_unary_kernels;

extern const qn_unary_kernels qn_unary_f32_ref, qn_unary_f32_neon, qn_unary_f32_avx2,
    qn_unary_f32_avx512;

#endif
