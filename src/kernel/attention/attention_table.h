/* What each ISA provides for attention.h beside the matrix micro-kernel: passes over a row of scores. */
#ifndef QN_KERNEL_ATTENTION_TABLE_H
#define QN_KERNEL_ATTENTION_TABLE_H

#include <stdint.h>

/* How a product becomes a score: scale, then the cap (0 = none), then bias (NULL = none). */
typedef struct {
    float scale, cap;
    const float *bias;
} qn_attention_score;

typedef struct {
    /* s becomes exp(score - max). max and sum hold those of earlier blocks and are moved on; returns what earlier
     * sums and results must be multiplied by. */
    float (*soften)(float *s, int64_t count, const qn_attention_score *how, float *max, float *sum);
    /* s becomes p = exp(score - lse), dp becomes ds = p * (dp - delta) * dscore/ds. */
    void (*slopes)(float *s, float *dp, int64_t count, const qn_attention_score *how, float lse,
                   float delta);
    void (*multiply)(float *dst, const float *src, int64_t count,
                     float factor); /* dst may be src */
} qn_attention_kernels;

extern const qn_attention_kernels qn_attention_f32_ref, qn_attention_f32_neon,
    qn_attention_f32_avx2, qn_attention_f32_avx512;

#endif
