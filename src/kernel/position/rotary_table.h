/* What each ISA provides for rotary.h: one head. */
#ifndef QN_KERNEL_ROTARY_TABLE_H
#define QN_KERNEL_ROTARY_TABLE_H

#include <stdint.h>

/* (a, b) -> (a c - b s, b c + a s) for `half` pairs, the b at a distance of `half`. y may be x. */
typedef void qn_rotary_head(float *y, const float *x, const float *cosine, const float *sine,
                            int64_t half);

extern qn_rotary_head qn_rotary_f32_ref, qn_rotary_f32_neon, qn_rotary_f32_avx2,
    qn_rotary_f32_avx512;

#endif
