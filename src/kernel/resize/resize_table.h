/* What each ISA provides for resize.h. */
#ifndef QN_KERNEL_RESIZE_TABLE_H
#define QN_KERNEL_RESIZE_TABLE_H

#include <stdint.h>

typedef struct {
    /* dst[i] = weight * src[i], or that added to it; one fused multiply-add each. */
    void (*line)(float *dst, const float *src, float weight, int64_t count, int add);
} qn_resize_kernels;

extern const qn_resize_kernels qn_resize_f32_ref, qn_resize_f32_avx2, qn_resize_f32_avx512,
    qn_resize_f32_neon;

#endif
