/* What each ISA provides for softmax.h: one row at a time. */
#ifndef QN_KERNEL_SOFTMAX_TABLE_H
#define QN_KERNEL_SOFTMAX_TABLE_H

#include <stdint.h>

typedef struct {
    void (*softmax)(float *y, const float *x, int64_t cols);
    void (*log_softmax)(float *y, const float *x, int64_t cols);
    void (*softmax_grad)(float *dx, const float *dy, const float *y, int64_t cols);
    void (*log_softmax_grad)(float *dx, const float *dy, const float *y, int64_t cols);
} qn_softmax_kernels;

extern const qn_softmax_kernels qn_softmax_f32_ref, qn_softmax_f32_neon, qn_softmax_f32_avx2,
    qn_softmax_f32_avx512;

#endif
