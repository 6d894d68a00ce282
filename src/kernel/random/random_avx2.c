/* Random vectors, AVX2: four Philox blocks at once. */
#include "kernel/vec_avx2.h"

typedef __m256i wide;

VEC wide wide_set(uint32_t x)
{
    return _mm256_set1_epi64x((int64_t)x);
}
VEC wide wide_count(uint64_t first)
{
    return _mm256_add_epi64(_mm256_set1_epi64x((int64_t)first), _mm256_setr_epi64x(0, 1, 2, 3));
}
VEC wide wide_mul(wide a, wide b)
{
    return _mm256_mul_epu32(a, b);
}
VEC wide wide_high(wide a)
{
    return _mm256_srli_epi64(a, 32);
}
VEC wide wide_xor(wide a, wide b)
{
    return _mm256_xor_si256(a, b);
}
VEC wide wide_pair(wide low, wide high)
{
    return _mm256_blend_epi32(low, _mm256_slli_epi64(high, 32), 0xaa);
}
VEC void wide_interleave(wide a, wide b, vi *ret_low, vi *ret_high)
{
    wide even = _mm256_unpacklo_epi64(a, b), odd = _mm256_unpackhi_epi64(a, b);
    *ret_low = _mm256_permute2x128_si256(even, odd, 0x20);
    *ret_high = _mm256_permute2x128_si256(even, odd, 0x31);
}

#include "kernel/random/random_body.h"

const qn_random_kernels qn_random_f32_avx2 = RANDOM_TABLE;
