/*
 * Eight f32 lanes under the names that the shared kernel bodies use; see vec_avx512.h for what they
 * mean. Only *_avx2.c files include it.
 */
#ifndef QN_KERNEL_VEC_AVX2_H
#define QN_KERNEL_VEC_AVX2_H

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#include "kernel/unroll.h"

#define VL 8
typedef __m256 vf;
typedef __m256i vi;
typedef __m256 vm; /* all bits of a lane set or clear */

#define VEC static inline __attribute__((always_inline))

VEC vf vf_zero(void)
{
    return _mm256_setzero_ps();
}
VEC vf vf_set(float x)
{
    return _mm256_set1_ps(x);
}
VEC vf vf_load(const float *p)
{
    return _mm256_loadu_ps(p);
}
VEC void vf_store(float *p, vf x)
{
    _mm256_storeu_ps(p, x);
}
VEC vm vm_first(int n)
{
    const vi lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_castsi256_ps(_mm256_cmpgt_epi32(_mm256_set1_epi32(n), lane));
}
VEC vf vf_load_mask(const float *p, vm m)
{
    return _mm256_maskload_ps(p, _mm256_castps_si256(m));
}
VEC void vf_store_mask(float *p, vf x, vm m)
{
    _mm256_maskstore_ps(p, _mm256_castps_si256(m), x);
}
VEC vf vf_add(vf a, vf b)
{
    return _mm256_add_ps(a, b);
}
VEC vf vf_sub(vf a, vf b)
{
    return _mm256_sub_ps(a, b);
}
VEC vf vf_mul(vf a, vf b)
{
    return _mm256_mul_ps(a, b);
}
VEC vf vf_div(vf a, vf b)
{
    return _mm256_div_ps(a, b);
}
VEC vf vf_fma(vf a, vf b, vf c)
{
    return _mm256_fmadd_ps(a, b, c);
}
VEC vf vf_fnma(vf a, vf b, vf c)
{
    return _mm256_fnmadd_ps(a, b, c);
}
VEC vf vf_sqrt(vf x)
{
    return _mm256_sqrt_ps(x);
}
VEC vf vf_min(vf a, vf b)
{
    return _mm256_min_ps(a, b);
}
VEC vf vf_max(vf a, vf b)
{
    return _mm256_max_ps(a, b);
}
VEC vf vf_abs(vf x)
{
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x);
}
VEC vf vf_neg(vf x)
{
    return _mm256_xor_ps(x, _mm256_set1_ps(-0.0f));
}
VEC vf vf_copysign(vf magnitude, vf sign)
{
    const vf bit = _mm256_set1_ps(-0.0f);
    return _mm256_or_ps(_mm256_andnot_ps(bit, magnitude), _mm256_and_ps(bit, sign));
}
VEC vf vf_floor(vf x)
{
    return _mm256_floor_ps(x);
}
VEC vf vf_ceil(vf x)
{
    return _mm256_ceil_ps(x);
}
VEC vf vf_round(vf x)
{
    return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
VEC vm vf_lt(vf a, vf b)
{
    return _mm256_cmp_ps(a, b, _CMP_LT_OQ);
}
VEC vm vf_le(vf a, vf b)
{
    return _mm256_cmp_ps(a, b, _CMP_LE_OQ);
}
VEC vm vf_eq(vf a, vf b)
{
    return _mm256_cmp_ps(a, b, _CMP_EQ_OQ);
}
VEC vm vf_ne(vf a, vf b)
{
    return _mm256_cmp_ps(a, b, _CMP_NEQ_UQ);
}
VEC vm vf_isnan(vf x)
{
    return _mm256_cmp_ps(x, x, _CMP_UNORD_Q);
}
VEC vm vm_and(vm a, vm b)
{
    return _mm256_and_ps(a, b);
}
VEC vm vm_or(vm a, vm b)
{
    return _mm256_or_ps(a, b);
}
VEC int vm_bits(vm m)
{
    return _mm256_movemask_ps(m);
}
VEC vf vf_pick(vm m, vf yes, vf no)
{
    return _mm256_blendv_ps(no, yes, m);
}
VEC vf vf_keep(vm m, vf x)
{
    return _mm256_and_ps(m, x);
}
VEC vi vi_set(int32_t x)
{
    return _mm256_set1_epi32(x);
}
VEC vi vi_load(const void *p)
{
    return _mm256_loadu_si256((const __m256i *)p);
}
VEC void vi_store(void *p, vi x)
{
    _mm256_storeu_si256((__m256i *)p, x);
}
VEC vi vi_add(vi a, vi b)
{
    return _mm256_add_epi32(a, b);
}
VEC vi vi_sub(vi a, vi b)
{
    return _mm256_sub_epi32(a, b);
}
VEC vi vi_and(vi a, vi b)
{
    return _mm256_and_si256(a, b);
}
VEC vi vi_or(vi a, vi b)
{
    return _mm256_or_si256(a, b);
}
VEC vi vi_xor(vi a, vi b)
{
    return _mm256_xor_si256(a, b);
}
#define vi_shl(x, n) _mm256_slli_epi32((x), (n))
#define vi_shr(x, n) _mm256_srli_epi32((x), (n))
#define vi_sar(x, n) _mm256_srai_epi32((x), (n))
VEC vi vi_pick(vm m, vi yes, vi no)
{
    return _mm256_blendv_epi8(no, yes, _mm256_castps_si256(m));
}
VEC vm vi_eq(vi a, vi b)
{
    return _mm256_castsi256_ps(_mm256_cmpeq_epi32(a, b));
}
VEC vi vi_bits(vf x)
{
    return _mm256_castps_si256(x);
}
VEC vf vf_bits(vi x)
{
    return _mm256_castsi256_ps(x);
}
VEC vi vi_from_f32(vf x)
{
    return _mm256_cvtps_epi32(x);
}
VEC vf vf_from_i32(vi x)
{
    return _mm256_cvtepi32_ps(x);
}
VEC vi vi_load_u8(const uint8_t *p)
{
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p));
}
VEC vf vf_from_u8(const uint8_t *p)
{
    return _mm256_cvtepi32_ps(vi_load_u8(p));
}
VEC void vi_store_u8(uint8_t *p, vi x)
{
    const vi low = _mm256_setr_epi8(0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 0,
                                    4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1);
    vi packed = _mm256_shuffle_epi8(x, low);
    int32_t halves[2] = {_mm256_extract_epi32(packed, 0), _mm256_extract_epi32(packed, 4)};
    memcpy(p, halves, sizeof halves);
}
VEC void vm_store_u8(uint8_t *p, vm m)
{
    vi_store_u8(p, _mm256_and_si256(_mm256_castps_si256(m), _mm256_set1_epi32(1)));
}
VEC vm vm_load_u8(const uint8_t *p)
{
    vi x = vi_load_u8(p);
    vi zero = _mm256_cmpeq_epi32(x, _mm256_setzero_si256());
    return _mm256_castsi256_ps(_mm256_xor_si256(zero, _mm256_set1_epi32(-1)));
}
VEC float vf_sum(vf x)
{
    __m128 q = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    q = _mm_add_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_add_ss(q, _mm_movehdup_ps(q)));
}
VEC float vf_max_lanes(vf x)
{
    __m128 q = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    q = _mm_max_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_max_ss(q, _mm_movehdup_ps(q)));
}
VEC float vf_min_lanes(vf x)
{
    __m128 q = _mm_min_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    q = _mm_min_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_min_ss(q, _mm_movehdup_ps(q)));
}

#endif
