/*
 * The micro-kernel over pairs of bf16 by AVX512_BF16: where that of f32 multiplies, vdpbf16ps adds two products to each
 * sum, at the same rate on Zen 5. It takes denormals as 0 and gives none, whatever the control register says. And
 * the packing of pairs (pairs.h).
 */
#define TILE_MULTIPLY(a, b, sum) _mm512_dpbf16_ps(sum, (__m512bh)(a), (__m512bh)(b))
#define TILE_KERNELS             qn_tile_bf16_avx512bf16
#include "kernel/gemm/tile_avx512.h"

#include "kernel/gemm/pairs.h"

enum { HALVES = 2 * VL }; /* of a vector */

/* Up to 32 numbers as 32 halves, zeros behind `count`. */
VEC vi halves_of_f32(const void *src, int64_t at, int64_t count)
{
    const float *p = (const float *)src + at;
    int low = count < VL ? (int)count : VL, high = count < VL ? 0 : (int)(count - VL);
    return (vi)_mm512_cvtne2ps_pbh(vf_load_mask(p + VL, vm_first(high)),
                                   vf_load_mask(p, vm_first(low)));
}
VEC vi halves_of_bf16(const void *src, int64_t at, int64_t count)
{
    __mmask32 m = count < HALVES ? (1U << count) - 1 : UINT32_MAX;
    return _mm512_maskz_loadu_epi16(m, (const uint16_t *)src + at);
}

/* Two lines of 16 numbers as 16 pairs. */
VEC vi pairs_of_f32(const void *src, int64_t low, int64_t high, vm m, bool both)
{
    const float *p = src;
    vf second = both ? vf_load_mask(p + high, m) : vf_zero();
    vi halves = (vi)_mm512_cvtne2ps_pbh(second, vf_load_mask(p + low, m));
    const vi order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8,
                                      23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    return _mm512_permutexvar_epi16(order, halves);
}
VEC vi pairs_of_bf16(const void *src, int64_t low, int64_t high, vm m, bool both)
{
    const uint16_t *p = src;
    vi first = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(m, p + low));
    if (!both)
        return first;
    vi second = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(m, p + high));
    return vi_or(first, vi_shl(second, 16));
}

/* 16 lines of 16 pairs, turned; `pairs` lines of `cols` of them are stored. */
VEC void turn_block(uint32_t *dst, int64_t ldd, const vi line[VL], int64_t pairs, int64_t cols)
{
    uint32_t block[VL * VL], turned[VL * VL];
    UNROLL for (int64_t i = 0; i < VL; i++) vi_store(block + i * VL, line[i]);
    if (pairs == VL && cols == VL) {
        transpose_block((float *)(void *)dst, ldd, (const float *)(const void *)block, VL);
        return;
    }
    transpose_block((float *)(void *)turned, VL, (const float *)(const void *)block, VL);
    for (int64_t i = 0; i < pairs; i++)
        _mm512_mask_storeu_epi32(dst + i * ldd, vm_first((int)cols), vi_load(turned + i * VL));
}

#define PACK(type)                                                                                 \
    static void line_##type(uint32_t *dst, const void *src, int64_t depth)                         \
    {                                                                                              \
        int64_t k = 0;                                                                             \
        for (; k + HALVES <= depth; k += HALVES)                                                   \
            vi_store(dst + k / 2, halves_of_##type(src, k, HALVES));                               \
        if (k < depth)                                                                             \
            _mm512_mask_storeu_epi32(dst + k / 2, vm_first((int)(depth - k + 1) / 2),              \
                                     halves_of_##type(src, k, depth - k));                         \
    }                                                                                              \
    static void join_##type(uint32_t *dst, int64_t ldd, const void *src, int64_t lds,              \
                            int64_t depth, int64_t cols)                                           \
    {                                                                                              \
        for (int64_t k = 0; k < depth; k += 2, dst += ldd) {                                       \
            int64_t j = 0, low = k * lds;                                                          \
            bool both = k + 1 < depth;                                                             \
            for (; j + VL <= cols; j += VL)                                                        \
                vi_store(dst + j, pairs_of_##type(src, low + j, low + lds + j, (vm)0xffff, both)); \
            vm m = vm_first((int)(cols - j));                                                      \
            if (j < cols)                                                                          \
                _mm512_mask_storeu_epi32(dst + j, m,                                               \
                                         pairs_of_##type(src, low + j, low + lds + j, m, both));   \
        }                                                                                          \
    }                                                                                              \
    static void turn_##type(uint32_t *dst, int64_t ldd, const void *src, int64_t lds,              \
                            int64_t depth, int64_t cols)                                           \
    {                                                                                              \
        for (int64_t j = 0; j < cols; j += VL)                                                     \
            for (int64_t k = 0; k < depth; k += HALVES) {                                          \
                int64_t left = depth - k < HALVES ? depth - k : HALVES;                            \
                int64_t wide = cols - j < VL ? cols - j : VL;                                      \
                vi line[VL];                                                                       \
                for (int64_t i = 0; i < VL; i++)                                                   \
                    line[i] = i < wide ? halves_of_##type(src, (j + i) * lds + k, left)            \
                                       : _mm512_setzero_si512();                                   \
                turn_block(dst + k / 2 * ldd + j, ldd, line, (left + 1) / 2, wide);                \
            }                                                                                      \
    }
PACK(f32)
PACK(bf16)

const qn_pairs_kernels qn_pairs_avx512bf16 = {
    .tile = &qn_tile_bf16_avx512bf16,
    .of_f32 = {line_f32, join_f32, turn_f32},
    .of_bf16 = {line_bf16, join_bf16, turn_bf16},
};
const qn_pairs_kernels qn_pairs_amx = {
    .tile = &qn_tile_bf16_amx,
    .of_f32 = {line_f32, join_f32, turn_f32},
    .of_bf16 = {line_bf16, join_bf16, turn_bf16},
};
