/*
 * The AVX-512 micro-kernel, for f32 and for pairs of bf16: 8 x 48 register tiles, 24 accumulators, 3 vectors of B and one
 * broadcast of A in 32 registers. A step takes 12 cycles of two multipliers and 11 loads of the 24 that fit: the
 * arithmetic is the limit. Everything but TILE_KERNELS, whose name the including file sets, is static; only ISA files include it.
 */
#ifndef QN_KERNEL_TILE_AVX512_H
#define QN_KERNEL_TILE_AVX512_H
#include "kernel/vec_avx512.h"

#define TILE_ROWS 8
#define TILE_VECS 3
#define TRANSPOSE 16

/* 16 x 16: pairs, quads, then 128-bit quarters. */
VEC void transpose_block(float *dst, int64_t ldd, const float *src, int64_t lds)
{
    __m512 r[16], t[16];
    UNROLL for (int64_t i = 0; i < 8; i++)
    {
        r[2 * i] = _mm512_loadu_ps(src + 2 * i * lds);
        r[2 * i + 1] = _mm512_loadu_ps(src + (2 * i + 1) * lds);
        t[2 * i] = _mm512_unpacklo_ps(r[2 * i], r[2 * i + 1]);
        t[2 * i + 1] = _mm512_unpackhi_ps(r[2 * i], r[2 * i + 1]);
    }
    UNROLL for (int64_t i = 0; i < 4; i++)
    {
        __m512d a = _mm512_castps_pd(t[4 * i]), b = _mm512_castps_pd(t[4 * i + 1]);
        __m512d c = _mm512_castps_pd(t[4 * i + 2]), d = _mm512_castps_pd(t[4 * i + 3]);
        r[4 * i] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, c));
        r[4 * i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, c));
        r[4 * i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(b, d));
        r[4 * i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(b, d));
    }
    UNROLL for (int64_t i = 0; i < 4; i++)
    {
        __m512 a = _mm512_shuffle_f32x4(r[i], r[i + 4], 0x88);
        __m512 b = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], 0x88);
        __m512 c = _mm512_shuffle_f32x4(r[i], r[i + 4], 0xdd);
        __m512 d = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], 0xdd);
        _mm512_storeu_ps(dst + i * ldd, _mm512_shuffle_f32x4(a, b, 0x88));
        _mm512_storeu_ps(dst + (i + 8) * ldd, _mm512_shuffle_f32x4(a, b, 0xdd));
        _mm512_storeu_ps(dst + (i + 4) * ldd, _mm512_shuffle_f32x4(c, d, 0x88));
        _mm512_storeu_ps(dst + (i + 12) * ldd, _mm512_shuffle_f32x4(c, d, 0xdd));
    }
}

#include "kernel/gemm/tile_body.h"

#endif
