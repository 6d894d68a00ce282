/*
 * The tile operations of amx_tiles.h in plain C, for machines without them: the same body can be tested everywhere.
 * Source: Intel 64 and IA-32 Architectures Software Developer's Manual, TDPBF16PS: even and odd products are summed
 * apart, each in rising order by fma, and meet before they are added to the sum. Denormals count as 0 there; here that is left to
 * the control register, which workers set.
 */
#ifndef QN_KERNEL_SOFT_TILES_H
#define QN_KERNEL_SOFT_TILES_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/error.h"

typedef union {
    float f32[16][16];
    uint16_t bf16[16][32];
} soft_tile;

#define TILE_PAIRS                           qn_pairs_ref
#define TILES                                soft_tile tiles[8]
#define TILES_WROTE                          ((void)0)
#define TILE_ZERO(tile)                      memset(&tiles[tile], 0, sizeof(soft_tile))
#define TILE_LOAD(tile, address, row_bytes)  soft_load(&tiles[tile], (address), (row_bytes))
#define TILE_STORE(tile, address, row_bytes) soft_store(&tiles[tile], (address), (row_bytes))
#define TILE_DP(c, a, b)                     soft_dp(&tiles[c], &tiles[a], &tiles[b])

static void tiles_begin(void) {}

static void tiles_end(void) {}

static inline void tile_line(float *dst, const float *src, int words)
{
    QN_ASSERT(words >= 0 && words <= 16); /* a mask of the instructions has no more */
    memset(dst, 0, 16 * sizeof *dst);
    memcpy(dst, src, (size_t)words * sizeof *dst);
}

static inline void tile_end_line(float *dst, const float *src, int words, const float *bias,
                                 const float *added, bool relu)
{
    QN_ASSERT(words > 0 && words <= 16);
    for (int j = 0; j < words; j++) {
        float x = bias ? src[j] + bias[j] : src[j];
        x = added ? x + added[j] : x;
        dst[j] = relu && x < 0 ? 0 : x;
    }
}

static void soft_load(soft_tile *tile, const void *address, int64_t row_bytes)
{
    for (int i = 0; i < 16; i++)
        memcpy(tile->bf16[i], (const char *)address + i * row_bytes, sizeof tile->bf16[i]);
}

static void soft_store(const soft_tile *tile, void *address, int64_t row_bytes)
{
    for (int i = 0; i < 16; i++)
        memcpy((char *)address + i * row_bytes, tile->f32[i], sizeof tile->f32[i]);
}

static float soft_wide(uint16_t half)
{
    uint32_t bits = (uint32_t)half << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* A product of two bf16 is exact in f32, so plain multiplication and addition are the fma. */
static void soft_dp(soft_tile *c, const soft_tile *a, const soft_tile *b)
{
    for (int m = 0; m < 16; m++)
        for (int n = 0; n < 16; n++) {
            float even = 0, odd = 0;
            for (int k = 0; k < 16; k++) {
                even += soft_wide(a->bf16[m][2 * k]) * soft_wide(b->bf16[k][2 * n]);
                odd += soft_wide(a->bf16[m][2 * k + 1]) * soft_wide(b->bf16[k][2 * n + 1]);
            }
            c->f32[m][n] += even + odd;
        }
}

#endif
