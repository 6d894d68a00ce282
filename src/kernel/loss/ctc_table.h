/* What each ISA provides for ctc.h. */
#ifndef QN_KERNEL_CTC_TABLE_H
#define QN_KERNEL_CTC_TABLE_H

#include <stdint.h>

/* No path: far below every sum of logarithms, and finite, so that differences are numbers. */
#define QN_CTC_LOW (-1e30f)

typedef struct {
    float (*log_sum)(const float *x, int64_t count); /* log sum exp; NaN if any is */
    /* dst = scale * exp(x - lse) */
    void (*softmax)(float *dst, const float *x, int64_t count, float lse, float scale);
    /* dst = emit + log(e^from[s] + e^from[s-1] + e^(from[s-2] + skip[s])); from[-2] and from[-1] are
     * LOW. Takes off the largest, which is returned. */
    float (*advance)(float *dst, const float *from, const float *emit, const float *skip,
                     int64_t count);
    /* dst = exp(alpha + beta - emit - the largest of these); gives the sum. */
    float (*posterior)(float *dst, const float *alpha, const float *beta, const float *emit,
                       int64_t count);
} qn_ctc_kernels;

extern const qn_ctc_kernels qn_ctc_f32_ref, qn_ctc_f32_neon, qn_ctc_f32_avx2, qn_ctc_f32_avx512;

#endif
