/* Pixels to floats, 8 at a time. */
#include <immintrin.h>

#include "data/gather_priv.h"

void qn_widen_pixels_avx2(float *dst, const uint8_t *src, int64_t count, float scale)
{
    const __m256 by = _mm256_set1_ps(scale);
    int64_t i = 0;
    for (; i + 8 <= count; i += 8) {
        __m128i bytes = _mm_loadl_epi64((const __m128i *)(const void *)(src + i));
        _mm256_storeu_ps(dst + i,
                         _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes)), by));
    }
    for (; i < count; i++)
        dst[i] = (float)src[i] * scale;
}
