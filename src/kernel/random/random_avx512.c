/* Random vectors, AVX-512: eight Philox blocks at once. */
#include "kernel/vec_avx512.h"

typedef __m512i wide;

VEC wide wide_set(uint32_t x)
{
    return _mm512_set1_epi64((int64_t)x);
}
VEC wide wide_count(uint64_t first)
{
    return _mm512_add_epi64(_mm512_set1_epi64((int64_t)first),
                            _mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7));
}
VEC wide wide_mul(wide a, wide b)
{
    return _mm512_mul_epu32(a, b);
}
VEC wide wide_high(wide a)
{
    return _mm512_srli_epi64(a, 32);
}
VEC wide wide_xor(wide a, wide b)
{
    return _mm512_xor_si512(a, b);
}
VEC wide wide_pair(wide low, wide high)
{
    return _mm512_mask_blend_epi32(0xaaaa, low, _mm512_slli_epi64(high, 32));
}
VEC void wide_interleave(wide a, wide b, vi *ret_low, vi *ret_high)
{
    *ret_low = _mm512_permutex2var_epi64(a, _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11), b);
    *ret_high = _mm512_permutex2var_epi64(a, _mm512_setr_epi64(4, 12, 5, 13, 6, 14, 7, 15), b);
}

#include "kernel/random/random_body.h"

const qn_random_kernels qn_random_f32_avx512 = RANDOM_TABLE;
