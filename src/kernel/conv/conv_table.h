/* What each ISA provides for conv.h beside the matrix micro-kernel. */
#ifndef QN_KERNEL_CONV_TABLE_H
#define QN_KERNEL_CONV_TABLE_H

#include <stdint.h>

#include "kernel/gemm/tile.h"

typedef struct {
    /* As the matrix strip, but column c of C meets column c of A only (one channel per group):
     * C[i, c] = sum over s, k of a[row[i] + seg[s] + k * step + c] * b[(s * seg_len + k) * ldb + c]. Any number of cols. */
    void (*depthwise)(const qn_strip *strip);
    /* One row of a 2x2 pool with stride 2: `count` outputs of `channels`, from rows top and bottom. */
    void (*pool)(float *y, uint8_t *choice, const float *top, const float *bottom, int64_t count,
                 int64_t channels);
    /* Its backward, through a ReLU when y is given (dy passes where y > 0): writes 2 * count pixels of both rows. */
    void (*unpool)(float *top, float *bottom, const float *dy, const float *y,
                   const uint8_t *choice, int64_t count, int64_t channels);
} qn_conv_kernels;

extern const qn_conv_kernels qn_conv_f32_ref, qn_conv_f32_neon, qn_conv_f32_avx2,
    qn_conv_f32_avx512;
const qn_conv_kernels *qn_conv_f32_kernels(void);

#endif
