/*
 * Products of bf16 by tiles, over the operations of amx_tiles.h or soft_tiles.h.
 *
 * The unit is 32 x 32 of C: four tiles of sums, two of A, two of B, so that four products need four loads.
 *
 *                    B panel: [k / 2][32 columns][2], pairs of rows beside each other
 *                    +----+----+
 *                    | 6  | 7  |
 *   A: [32][k]       +----+----+
 *   +----+           +----+----+
 *   | 4  |           | 0  | 1  |      C, in place where all 32 x 32 of it exist, else in a block of its own
 *   +----+           +----+----+
 *   | 5  |           | 2  | 3  |
 *   +----+           +----+----+
 *
 * A is read in place where it is whole tiles of rows; otherwise, and always transposed, it is packed with zeros around.
 */
#include <string.h>

#include "base/checked.h"
#include "kernel/gemm/gemm_bf16_table.h"

enum {
    UNIT = 32,       /* of rows, columns and k */
    DEPTH_MAX = 1024 /* of k at once: a packed panel of B is 64 KiB, a packed block of A 512 KiB */
};

typedef struct {
    const qn_bf16_block *block;
    uint16_t *packed_a, *panel;
    uint32_t *pairs; /* of A transposed, before they are turned */
    float *corner;   /* 32 x 32 sums at the edges */
} amx_work;

static int64_t round_up(int64_t size)
{
    return (size + UNIT - 1) / UNIT * UNIT;
}

static int64_t deepest(const qn_gemm *gemm)
{
    return round_up(qn_min_i64(gemm->k, DEPTH_MAX));
}

static size_t amx_scratch_bytes(const qn_bf16_product *product)
{
    const qn_gemm *gemm = product->gemm;
    int64_t depth = deepest(gemm), rows = round_up(qn_min_i64(gemm->m, QN_BF16_ROWS_MAX));
    int64_t halves = (rows + UNIT) * depth + depth * (gemm->trans_a ? rows : 0);
    return (size_t)halves * sizeof(uint16_t) + UNIT * UNIT * sizeof(float);
}

/* 32 x 32 sums over `depth`, a multiple of 32. */
static void amx_unit(const uint16_t *a, int64_t a_bytes, const uint16_t *b, int64_t depth, float *c,
                     int64_t c_bytes, bool add)
{
    enum { B_BYTES = UNIT * 2 * sizeof(uint16_t) };
    TILES;
    const char *a_low = (const char *)a + 16 * a_bytes;
    char *c_low = (char *)c + 16 * c_bytes;
    if (add) {
        TILE_LOAD(0, c, c_bytes);
        TILE_LOAD(1, (char *)c + 64, c_bytes);
        TILE_LOAD(2, c_low, c_bytes);
        TILE_LOAD(3, c_low + 64, c_bytes);
    } else {
        TILE_ZERO(0);
        TILE_ZERO(1);
        TILE_ZERO(2);
        TILE_ZERO(3);
    }
    for (int64_t k = 0; k < depth; k += UNIT) {
        const char *rows = (const char *)b + k / 2 * B_BYTES;
        TILE_LOAD(6, rows, B_BYTES);
        TILE_LOAD(7, rows + 64, B_BYTES);
        TILE_LOAD(4, (const char *)a + k * 2, a_bytes);
        TILE_DP(0, 4, 6);
        TILE_DP(1, 4, 7);
        TILE_LOAD(5, a_low + k * 2, a_bytes);
        TILE_DP(2, 5, 6);
        TILE_DP(3, 5, 7);
    }
    TILE_STORE(0, c, c_bytes);
    TILE_STORE(1, (char *)c + 64, c_bytes);
    TILE_STORE(2, c_low, c_bytes);
    TILE_STORE(3, c_low + 64, c_bytes);
}

/* Rows of op(A) from k on, zeros behind `depth` and below the last row. */
static void pack_a(const amx_work *w, int64_t k, int64_t depth)
{
    const qn_bf16_block *b = w->block;
    const qn_pairs_pack *pack = b->wide_a ? &TILE_PAIRS.of_f32 : &TILE_PAIRS.of_bf16;
    int64_t lda = b->gemm->lda, wide = round_up(depth), rows = round_up(b->rows);
    uint32_t *dst = (uint32_t *)(void *)w->packed_a;
    if (rows > b->rows || wide > depth)
        memset(dst, 0, (size_t)(rows * wide) * sizeof *w->packed_a);
    if (!b->gemm->trans_a) {
        for (int64_t i = 0; i < b->rows; i++)
            pack->line(dst + i * wide / 2, qn_bf16_at(b->a, b->wide_a, i * lda + k), depth);
        return;
    }
    pack->join(w->pairs, b->rows, qn_bf16_at(b->a, b->wide_a, k * lda), lda, depth, b->rows);
    /* Pairs are turned as if they were floats: only their bits move. */
    b->f32->transpose((float *)(void *)dst, wide / 2, (const float *)(const void *)w->pairs,
                      b->rows, b->rows, (depth + 1) / 2);
}

/* Columns [col, col + cols) of op(B) as a panel. */
static void pack_b(const amx_work *w, int64_t k, int64_t depth, int64_t col, int64_t cols)
{
    const qn_bf16_block *b = w->block;
    const qn_pairs_pack *pack = b->wide_b ? &TILE_PAIRS.of_f32 : &TILE_PAIRS.of_bf16;
    int64_t ldb = b->gemm->ldb, wide = round_up(depth);
    uint32_t *dst = (uint32_t *)(void *)w->panel;
    if (cols < UNIT || wide > depth)
        memset(dst, 0, (size_t)(wide * UNIT) * sizeof *w->panel);
    if (b->gemm->trans_b)
        pack->turn(dst, UNIT, qn_bf16_at(b->b, b->wide_b, col * ldb + k), ldb, depth, cols);
    else
        pack->join(dst, UNIT, qn_bf16_at(b->b, b->wide_b, k * ldb + col), ldb, depth, cols);
}

/* One unit of C at (row, col) of the block. */
static void amx_place(const amx_work *w, const uint16_t *a, int64_t a_bytes, int64_t depth,
                      int64_t row, int64_t col, bool add)
{
    const qn_bf16_block *b = w->block;
    int64_t ldc = b->gemm->ldc, rows = qn_min_i64(UNIT, b->rows - row),
            cols = qn_min_i64(UNIT, b->cols - col);
    float *c = b->c + row * ldc + col;
    if (rows == UNIT && cols == UNIT) {
        amx_unit(a, a_bytes, w->panel, depth, c, ldc * (int64_t)sizeof *c, add);
        return;
    }
    size_t line = (size_t)cols * sizeof *c;
    for (int64_t i = 0; add && i < rows; i++)
        memcpy(w->corner + i * UNIT, c + i * ldc, line);
    amx_unit(a, a_bytes, w->panel, depth, w->corner, UNIT * sizeof *c, add);
    for (int64_t i = 0; i < rows; i++)
        memcpy(c + i * ldc, w->corner + i * UNIT, line);
}

static void amx_depth(const amx_work *w, int64_t k, int64_t depth)
{
    const qn_bf16_block *b = w->block;
    const qn_gemm *g = b->gemm;
    bool in_place = !g->trans_a && !b->wide_a && b->rows % UNIT == 0 && depth % UNIT == 0;
    int64_t wide = round_up(depth), pitch = in_place ? g->lda : wide;
    const uint16_t *a = in_place ? (const uint16_t *)(const void *)b->a + k : w->packed_a;
    if (!in_place)
        pack_a(w, k, depth);
    for (int64_t col = 0; col < b->cols; col += UNIT) {
        pack_b(w, k, depth, col, qn_min_i64(UNIT, b->cols - col));
        for (int64_t row = 0; row < b->rows; row += UNIT)
            amx_place(w, a + row * pitch, pitch * (int64_t)sizeof *a, wide, row, col,
                      k > 0 || g->beta != 0);
    }
}

static void amx_block(const qn_bf16_block *block)
{
    const qn_gemm *g = block->gemm;
    int64_t depth = deepest(g), rows = round_up(qn_min_i64(g->m, QN_BF16_ROWS_MAX));
    amx_work w = {.block = block, .corner = block->scratch};
    w.packed_a = (uint16_t *)(void *)(w.corner + UNIT * UNIT);
    w.panel = w.packed_a + rows * depth;
    w.pairs = (uint32_t *)(void *)(w.panel + UNIT * depth);
    memset(w.corner, 0, UNIT * UNIT * sizeof *w.corner);
    tiles_begin();
    int64_t k = 0;
    do {
        int64_t part = qn_min_i64(DEPTH_MAX, g->k - k);
        amx_depth(&w, k, part);
        k += part;
    } while (k < g->k);
    tiles_end();
    for (int64_t i = 0; block->bias && i < block->rows; i++)
        for (int64_t j = 0; j < block->cols; j++)
            block->c[i * g->ldc + j] += block->bias[j];
}
