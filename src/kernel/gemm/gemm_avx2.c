/*
 * AVX2 micro-kernel: 6 x 16 register tiles, 12 accumulators, 2 vectors of B, a broadcast of A and
 * the tail's mask in 16 registers.
 */
#include "kernel/vec_avx2.h"

#define TILE_ROWS    6
#define TILE_VECS    2
#define TILE_KERNELS qn_tile_f32_avx2
#define TRANSPOSE    8

VEC void transpose_block(float *dst, int64_t ldd, const float *src, int64_t lds)
{
    __m256 r[8], t[8];
    UNROLL for (int64_t i = 0; i < 4; i++)
    {
        r[2 * i] = _mm256_loadu_ps(src + 2 * i * lds);
        r[2 * i + 1] = _mm256_loadu_ps(src + (2 * i + 1) * lds);
        t[2 * i] = _mm256_unpacklo_ps(r[2 * i], r[2 * i + 1]);
        t[2 * i + 1] = _mm256_unpackhi_ps(r[2 * i], r[2 * i + 1]);
    }
    UNROLL for (int64_t i = 0; i < 2; i++)
    {
        r[4 * i] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0x44);
        r[4 * i + 1] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0xee);
        r[4 * i + 2] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0x44);
        r[4 * i + 3] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0xee);
    }
    UNROLL for (int64_t i = 0; i < 4; i++)
    {
        _mm256_storeu_ps(dst + i * ldd, _mm256_permute2f128_ps(r[i], r[i + 4], 0x20));
        _mm256_storeu_ps(dst + (i + 4) * ldd, _mm256_permute2f128_ps(r[i], r[i + 4], 0x31));
    }
}

#include "kernel/gemm/tile_body.h"
