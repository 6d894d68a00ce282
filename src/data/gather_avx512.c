/* Pixels to floats, 16 at a time. */
#include <immintrin.h>

#include "data/gather_priv.h"

void qn_widen_pixels_avx512(float *dst, const uint8_t *src, int64_t count, float scale)
{
    const __m512 by = _mm512_set1_ps(scale);
    int64_t i = 0;
    for (; i + 16 <= count; i += 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(src + i));
        _mm512_storeu_ps(dst + i,
                         _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes)), by));
    }
    for (; i < count; i++)
        dst[i] = (float)src[i] * scale;
}
