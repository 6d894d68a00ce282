/*
 * The tile operations that amx_body.h and strip_amx_body.h are written in, as AMX instructions: eight tiles of 16 rows of
 * 64 bytes. soft_tiles.h has the same in plain C. Tile numbers stand without parentheses: GCC pastes them into register names.
 */
#ifndef QN_KERNEL_AMX_TILES_H
#define QN_KERNEL_AMX_TILES_H

#include <immintrin.h>
#include <stdbool.h>
#include <stdint.h>

#include "os/cpu.h"

/* Every CPU with tiles has these instructions, too. */
#define TILE_PAIRS qn_pairs_avx512bf16
/* GCC 12 does not say that a tile load reads memory: what was packed must be written before the first one. */
#define TILES                                __asm__ volatile("" ::: "memory")
#define TILES_WROTE                          __asm__ volatile("" ::: "memory") /* and so must what is packed later */
#define TILE_ZERO(tile)                      _tile_zero(tile)
#define TILE_LOAD(tile, address, row_bytes)  _tile_loadd(tile, (address), (size_t)(row_bytes))
#define TILE_STORE(tile, address, row_bytes) _tile_stored(tile, (address), (size_t)(row_bytes))
/* c += a b: a is [16][16 pairs], b is [16 pairs][16] with the two rows of a pair beside each other. */
#define TILE_DP(c, a, b) _tile_dpbf16ps(c, a, b)

/* A constant table and a barrier: GCC 12 drops the stores into a table on the stack. Linux gives tiles to a process on
 * request; asking again in each thread costs a system call once. */
static void tiles_begin(void)
{
    static const _Alignas(64)
        uint8_t config[64] = {[0] = 1,   [16] = 64, [18] = 64, [20] = 64, [22] = 64, [24] = 64,
                              [26] = 64, [28] = 64, [30] = 64, [48] = 16, [49] = 16, [50] = 16,
                              [51] = 16, [52] = 16, [53] = 16, [54] = 16, [55] = 16};
    static _Thread_local bool allowed;
    if (!allowed)
        allowed = qn_cpu_allow_tiles();
    __asm__ volatile("" ::: "memory");
    _tile_loadconfig(config);
}

static void tiles_end(void)
{
    _tile_release();
}

static inline __mmask16 tile_first(int words)
{
    return (__mmask16)((1U << words) - 1);
}

/* A line of a tile in the making: `words` of src, zeros behind them. */
static inline void tile_line(float *dst, const float *src, int words)
{
    _mm512_storeu_ps(dst, _mm512_maskz_loadu_ps(tile_first(words), src));
}

/* As a strip ends (tile.h): up to 16 sums to C. dst may be src; NULL = none to add. */
static inline void tile_end_line(float *dst, const float *src, int words, const float *bias,
                                 const float *added, bool relu)
{
    __mmask16 m = tile_first(words);
    __m512 x = _mm512_maskz_loadu_ps(m, src);
    if (bias)
        x = _mm512_add_ps(x, _mm512_maskz_loadu_ps(m, bias));
    if (added)
        x = _mm512_add_ps(x, _mm512_maskz_loadu_ps(m, added));
    if (relu) /* NaN, as the second operand, stays */
        x = _mm512_max_ps(_mm512_setzero_ps(), x);
    _mm512_mask_storeu_ps(dst, m, x);
}

#endif
