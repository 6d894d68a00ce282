/* What each ISA provides for half.h: the same without a pool, for kernels that widen what they pack. */
#ifndef QN_KERNEL_HALF_TABLE_H
#define QN_KERNEL_HALF_TABLE_H

#include <stdint.h>

typedef struct {
    void (*bf16_of_f32)(uint16_t *dst, const float *src, int64_t count);
    void (*f16_of_f32)(uint16_t *dst, const float *src, int64_t count);
    void (*f32_of_bf16)(float *dst, const uint16_t *src, int64_t count);
    void (*f32_of_f16)(float *dst, const uint16_t *src, int64_t count);
} qn_half_kernels;

extern const qn_half_kernels qn_half_ref, qn_half_neon, qn_half_avx2, qn_half_avx512;
/* Those of the CPU level in force. */
const qn_half_kernels *qn_half(void);

#endif
