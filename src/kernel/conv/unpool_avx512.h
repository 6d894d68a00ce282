/*
 * The unpooling of bf16, AVX-512: 32 halves or 16 words at a time, tails masked.
 * Everything is static; only ISA files include it.
 */
#ifndef QN_KERNEL_UNPOOL_AVX512_H
#define QN_KERNEL_UNPOOL_AVX512_H

#include <immintrin.h>

#include "base/checked.h"
#include "kernel/conv/conv_table.h"

static __m512i widened(const uint16_t *src, __mmask16 m)
{
    return _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(m, src));
}

static __mmask16 positive(const float *y, __mmask16 m)
{
    return _mm512_mask_cmp_ps_mask(m, _mm512_setzero_ps(), _mm512_maskz_loadu_ps(m, y), _CMP_LT_OQ);
}

/* Up to 32 channels of one pixel. */
static void unpool_bf16_lanes(uint16_t *top, uint16_t *bottom, const qn_pooled_row *row, int64_t at,
                              int64_t channels, __mmask32 m)
{
    uint32_t passes = positive(row->y + at, (__mmask16)m);
    if (m >> 16)
        passes |= (uint32_t)positive(row->y + at + 16, (__mmask16)(m >> 16)) << 16;
    __m512i g = _mm512_maskz_loadu_epi16(passes, row->dy + at);
    __m256i place = _mm256_maskz_loadu_epi8(m, row->choice + at);
    uint16_t *to[4] = {top, top + channels, bottom, bottom + channels};
    for (char i = 0; i < 4; i++) {
        __mmask32 here = _mm256_cmpeq_epi8_mask(place, _mm256_set1_epi8(i));
        _mm512_mask_storeu_epi16(to[(int)i], m, _mm512_maskz_mov_epi16(here, g));
    }
}

static void unpool_bf16(uint16_t *top, uint16_t *bottom, const qn_pooled_row *row, int64_t count,
                        int64_t channels)
{
    for (int64_t p = 0; p < count; p++)
        for (int64_t c = 0; c < channels; c += 32) {
            int64_t left = qn_min_i64(channels - c, 32);
            __mmask32 m = (__mmask32)((1ull << left) - 1u);
            unpool_bf16_lanes(top + 2 * p * channels + c, bottom + 2 * p * channels + c, row,
                              p * channels + c, channels, m);
        }
}

/* Up to 16 channels of one pixel of one image: what passes, and to which place. */
static __m512i passed_lanes(const qn_pooled_row *row, int64_t at, __mmask16 m, __m512i *ret_place)
{
    *ret_place = _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(m, row->choice + at));
    return widened(row->dy + at, positive(row->y + at, m));
}

static void unpool_pair_lanes(uint32_t *top, uint32_t *bottom, const qn_pooled_row rows[2],
                              int64_t at, int64_t channels, __mmask16 m)
{
    __m512i low_place, high_place = _mm512_setzero_si512(), high = high_place;
    __m512i low = passed_lanes(&rows[0], at, m, &low_place);
    if (rows[1].dy)
        high = _mm512_slli_epi32(passed_lanes(&rows[1], at, m, &high_place), 16);
    uint32_t *to[4] = {top, top + channels, bottom, bottom + channels};
    for (int i = 0; i < 4; i++) {
        __m512i place = _mm512_set1_epi32(i);
        __m512i a = _mm512_maskz_mov_epi32(_mm512_cmpeq_epi32_mask(low_place, place), low);
        __m512i b = _mm512_maskz_mov_epi32(_mm512_cmpeq_epi32_mask(high_place, place), high);
        _mm512_mask_storeu_epi32(to[i], m, _mm512_or_si512(a, b));
    }
}

static void unpool_pairs(uint32_t *top, uint32_t *bottom, const qn_pooled_row rows[2],
                         int64_t count, int64_t channels)
{
    for (int64_t p = 0; p < count; p++)
        for (int64_t c = 0; c < channels; c += 16) {
            __mmask16 m = (__mmask16)((1u << qn_min_i64(channels - c, 16)) - 1u);
            unpool_pair_lanes(top + 2 * p * channels + c, bottom + 2 * p * channels + c, rows,
                              p * channels + c, channels, m);
        }
}

#endif
