/* 16-bit floats, AVX-512: the moves, and the shared body at this width. */
#include "kernel/vec_avx512.h"

VEC vi load_bits(const uint16_t *p)
{
    return _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)p));
}
VEC void store_bits(uint16_t *p, vi x)
{
    _mm256_storeu_si256((__m256i *)(void *)p, _mm512_cvtepi32_epi16(x));
}
VEC vf load_f16(const uint16_t *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p));
}
VEC void store_f16(uint16_t *p, vf x)
{
    _mm256_storeu_si256((__m256i *)(void *)p,
                        _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

#include "kernel/half/half_body.h"

const qn_half_kernels qn_half_avx512 = HALF_TABLE;
