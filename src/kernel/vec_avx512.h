/*
 * Sixteen f32 lanes under the names that the shared kernel bodies use; vec_avx2.h has the same
 * names for eight. Only *_avx512.c files include it. Everything is static: no copy built for this
 * ISA can reach other objects.
 *
 * vf_min and vf_max return their second operand when either is NaN (the x86 rule): write the value
 * whose NaN must survive second.
 */
#ifndef QN_KERNEL_VEC_AVX512_H
#define QN_KERNEL_VEC_AVX512_H

#include <immintrin.h>
#include <stdint.h>

#include "kernel/unroll.h"

#define VL 16
typedef __m512 vf;
typedef __m512i vi;   /* 16 x i32 */
typedef __mmask16 vm; /* a choice per lane */

#define VEC static inline __attribute__((always_inline))

VEC vf vf_zero(void)
{
    return _mm512_setzero_ps();
}
VEC vf vf_set(float x)
{
    return _mm512_set1_ps(x);
}
VEC vf vf_load(const float *p)
{
    return _mm512_loadu_ps(p);
}
VEC void vf_store(float *p, vf x)
{
    _mm512_storeu_ps(p, x);
}
/* The first n lanes, n in 0..16; the others are zero and their memory is not touched. */
VEC vm vm_first(int n)
{
    return (vm)((1u << n) - 1u);
}
VEC vf vf_load_mask(const float *p, vm m)
{
    return _mm512_maskz_loadu_ps(m, p);
}
VEC void vf_store_mask(float *p, vf x, vm m)
{
    _mm512_mask_storeu_ps(p, m, x);
}
VEC vf vf_add(vf a, vf b)
{
    return _mm512_add_ps(a, b);
}
VEC vf vf_sub(vf a, vf b)
{
    return _mm512_sub_ps(a, b);
}
VEC vf vf_mul(vf a, vf b)
{
    return _mm512_mul_ps(a, b);
}
VEC vf vf_div(vf a, vf b)
{
    return _mm512_div_ps(a, b);
}
VEC vf vf_fma(vf a, vf b, vf c) /* a * b + c */
{
    return _mm512_fmadd_ps(a, b, c);
}
VEC vf vf_fnma(vf a, vf b, vf c) /* c - a * b */
{
    return _mm512_fnmadd_ps(a, b, c);
}
VEC vf vf_sqrt(vf x)
{
    return _mm512_sqrt_ps(x);
}
VEC vf vf_min(vf a, vf b)
{
    return _mm512_min_ps(a, b);
}
VEC vf vf_max(vf a, vf b)
{
    return _mm512_max_ps(a, b);
}
VEC vf vf_abs(vf x)
{
    return _mm512_abs_ps(x);
}
VEC vf vf_neg(vf x)
{
    return _mm512_xor_ps(x, _mm512_set1_ps(-0.0f));
}
VEC vf vf_copysign(vf magnitude, vf sign)
{
    const vf bit = _mm512_set1_ps(-0.0f);
    return _mm512_or_ps(_mm512_andnot_ps(bit, magnitude), _mm512_and_ps(bit, sign));
}
VEC vf vf_floor(vf x)
{
    return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
}
VEC vf vf_ceil(vf x)
{
    return _mm512_roundscale_ps(x, _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC);
}
VEC vf vf_round(vf x)
{
    return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
#define vf_scale(x, n) _mm512_scalef_ps((x), (n)) /* x * 2^n for whole n */
VEC vm vf_lt(vf a, vf b)
{
    return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ);
}
VEC vm vf_le(vf a, vf b)
{
    return _mm512_cmp_ps_mask(a, b, _CMP_LE_OQ);
}
VEC vm vf_eq(vf a, vf b)
{
    return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ);
}
VEC vm vf_ne(vf a, vf b) /* true when either is NaN */
{
    return _mm512_cmp_ps_mask(a, b, _CMP_NEQ_UQ);
}
VEC vm vf_isnan(vf x)
{
    return _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
}
VEC vm vm_and(vm a, vm b)
{
    return (vm)(a & b);
}
VEC vm vm_or(vm a, vm b)
{
    return (vm)(a | b);
}
VEC int vm_bits(vm m)
{
    return (int)m;
}
VEC vf vf_pick(vm m, vf yes, vf no)
{
    return _mm512_mask_blend_ps(m, no, yes);
}
/* x where m, else zero */
VEC vf vf_keep(vm m, vf x)
{
    return _mm512_maskz_mov_ps(m, x);
}
VEC vi vi_set(int32_t x)
{
    return _mm512_set1_epi32(x);
}
VEC vi vi_load(const void *p)
{
    return _mm512_loadu_si512(p);
}
VEC void vi_store(void *p, vi x)
{
    _mm512_storeu_si512(p, x);
}
VEC vi vi_add(vi a, vi b)
{
    return _mm512_add_epi32(a, b);
}
VEC vi vi_sub(vi a, vi b)
{
    return _mm512_sub_epi32(a, b);
}
VEC vi vi_and(vi a, vi b)
{
    return _mm512_and_si512(a, b);
}
VEC vi vi_or(vi a, vi b)
{
    return _mm512_or_si512(a, b);
}
VEC vi vi_xor(vi a, vi b)
{
    return _mm512_xor_si512(a, b);
}
#define vi_shl(x, n) _mm512_slli_epi32((x), (n))
#define vi_shr(x, n) _mm512_srli_epi32((x), (n)) /* zeros come in */
#define vi_sar(x, n) _mm512_srai_epi32((x), (n)) /* the sign comes in */
VEC vi vi_pick(vm m, vi yes, vi no)
{
    return _mm512_mask_blend_epi32(m, no, yes);
}
VEC vm vi_eq(vi a, vi b)
{
    return _mm512_cmpeq_epi32_mask(a, b);
}
VEC vi vi_bits(vf x)
{
    return _mm512_castps_si512(x);
}
VEC vf vf_bits(vi x)
{
    return _mm512_castsi512_ps(x);
}
VEC vi vi_from_f32(vf x) /* to nearest even */
{
    return _mm512_cvtps_epi32(x);
}
VEC vf vf_from_i32(vi x)
{
    return _mm512_cvtepi32_ps(x);
}
VEC vf vf_from_u8(const uint8_t *p) /* 16 bytes */
{
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)p)));
}
/* The low byte of each lane, 16 bytes. */
VEC void vi_store_u8(uint8_t *p, vi x)
{
    _mm_storeu_si128((__m128i *)p, _mm512_cvtepi32_epi8(x));
}
VEC vi vi_load_u8(const uint8_t *p)
{
    return _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)p));
}
/* One byte 0 or 1 per lane. */
VEC void vm_store_u8(uint8_t *p, vm m)
{
    _mm_storeu_si128((__m128i *)p, _mm_maskz_set1_epi8(m, 1));
}
/* Lanes where the byte is not zero. */
VEC vm vm_load_u8(const uint8_t *p)
{
    return _mm_test_epi8_mask(_mm_loadu_si128((const __m128i *)p), _mm_set1_epi8(-1));
}
/* Joins the lanes in a fixed tree: halves, quarters, ... */
VEC float vf_sum(vf x)
{
    __m256 h = _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
    __m128 q = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
    q = _mm_add_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_add_ss(q, _mm_movehdup_ps(q)));
}
VEC float vf_max_lanes(vf x)
{
    return _mm512_reduce_max_ps(x);
}
VEC float vf_min_lanes(vf x)
{
    return _mm512_reduce_min_ps(x);
}

#endif
