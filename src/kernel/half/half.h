/*
 * The two 16-bit floats in memory: bf16 (the upper half of an f32) and f16 (IEEE 754 binary16). Numbers are stored so
 * and computed with as f32. Bits travel as uint16_t.
 */
#ifndef QN_KERNEL_HALF_H
#define QN_KERNEL_HALF_H

#include <stdint.h>

#include "os/pool.h"

/* Rounds to nearest, ties to even; what is too large becomes infinity, NaN stays NaN. Denormal results are kept. */
void qn_bf16_of_f32(qn_pool *pool, uint16_t *dst, const float *src, int64_t count);
void qn_f16_of_f32(qn_pool *pool, uint16_t *dst, const float *src, int64_t count);
/* dst = src rounded as qn_bf16_of_f32 does, still f32. dst may be src. */
void qn_f32_round_bf16(qn_pool *pool, float *dst, const float *src, int64_t count);
/* Exact. */
void qn_f32_of_bf16(qn_pool *pool, float *dst, const uint16_t *src, int64_t count);
void qn_f32_of_f16(qn_pool *pool, float *dst, const uint16_t *src, int64_t count);

#endif
