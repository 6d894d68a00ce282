/*
 * Strips of pairs of bf16 (gemm/tile.h) by tiles, over the operations of gemm/amx_tiles.h or gemm/soft_tiles.h: what the
 * drivers of convolution run where the machine has tiles. The unit is 32 x 32 of C, as in gemm/amx_body.h.
 *
 * A tile of A is 16 rows of 16 words that follow each other. It is read in place where the rows are equally far apart and
 * the words of each lie side by side (forward, to x); turned, where the rows lie side by side instead (to the
 * weights); else gathered. What a block lacks to whole tiles is zeros.
 */
#include <string.h>

#include "base/checked.h"
#include "kernel/conv/conv_bf16_table.h"

enum { SIDE = 16, UNIT = 32 };

typedef struct {
    _Alignas(64) float a[SIDE * SIDE]; /* one tile of A, made */
    float b[SIDE * UNIT], c[UNIT * UNIT];
} tile_room;

/* 16 rows of A, or fewer. */
typedef struct {
    const float *a;
    const int64_t *row;
    int rows;
    int64_t pitch; /* between equally spaced rows of a step of 1; 0 = they are not */
    bool turned;   /* rows follow each other word by word */
} tile_rows;

static tile_rows rows_of(const qn_strip *s, int64_t first)
{
    tile_rows r = {.a = s->a, .row = s->row + first};
    r.rows = (int)qn_min_i64(qn_max_i64(s->rows - first, 0), SIDE);
    int64_t gap = r.rows > 1 ? r.row[1] - r.row[0] : 1;
    bool even = true;
    for (int i = 1; i < r.rows; i++)
        even = even && r.row[i] - r.row[0] == i * gap;
    r.turned = even && gap == 1;
    r.pitch = even && r.rows == SIDE && s->step == 1 && gap > 0 ? gap : 0;
    return r;
}

/* The tile of words [at, at + depth) of these rows; *ret_bytes is from one to the next. */
static const float *tile_of_a(const qn_strip *s, const tile_rows *r, int64_t at, int depth,
                              float *room, int64_t *ret_bytes)
{
    *ret_bytes = (r->pitch && depth == SIDE ? r->pitch : SIDE) * (int64_t)sizeof(float);
    if (r->pitch && depth == SIDE)
        return r->a + r->row[0] + at;
    if (depth < SIDE || r->rows < SIDE)
        memset(room, 0, SIDE * SIDE * sizeof *room);
    if (r->turned)
        qn_tile_f32()->transpose(room, SIDE, r->a + r->row[0] + at, s->step, r->rows, depth);
    for (int i = 0; !r->turned && i < r->rows; i++) {
        const float *words = r->a + r->row[i] + at;
        for (int k = 0; k < depth; k++)
            memcpy(room + i * SIDE + k, words + k * s->step, sizeof *room);
    }
    return room;
}

/* Rows of B from b on: 16 of 32 words. */
static const float *tiles_of_b(const qn_strip *s, const float *b, int depth, float *room,
                               int64_t *ret_bytes)
{
    *ret_bytes = s->ldb * (int64_t)sizeof *b;
    if (depth == SIDE && s->cols == UNIT)
        return b;
    *ret_bytes = UNIT * sizeof *b;
    memset(room, 0, SIDE * UNIT * sizeof *room);
    for (int k = 0; k < depth; k++)
        memcpy(room + k * UNIT, b + k * s->ldb, (size_t)s->cols * sizeof *b);
    return room;
}

/* The sums of one unit into room->c, from what lies there. */
static void unit_sum(const qn_strip *s, int64_t first, tile_room *room)
{
    enum { C_BYTES = UNIT * sizeof(float) };
    tile_rows high = rows_of(s, first), low = rows_of(s, first + SIDE);
    const float *b = s->b;
    float *c_low = room->c + SIDE * UNIT;
    TILES;
    TILE_LOAD(0, room->c, C_BYTES);
    TILE_LOAD(1, room->c + SIDE, C_BYTES);
    TILE_LOAD(2, c_low, C_BYTES);
    TILE_LOAD(3, c_low + SIDE, C_BYTES);
    for (int64_t seg = 0; seg < s->segs; seg++) {
        for (int64_t k = 0; k < s->seg_len; k += SIDE) {
            int depth = (int)qn_min_i64(s->seg_len - k, SIDE);
            int64_t at = s->seg[seg] + k * s->step, bytes;
            const float *from = tiles_of_b(s, b, depth, room->b, &bytes);
            TILES_WROTE;
            TILE_LOAD(6, from, bytes);
            TILE_LOAD(7, from + SIDE, bytes);
            from = tile_of_a(s, &high, at, depth, room->a, &bytes);
            TILES_WROTE;
            TILE_LOAD(4, from, bytes);
            TILE_DP(0, 4, 6);
            TILE_DP(1, 4, 7);
            b += depth * s->ldb;
            if (low.rows == 0)
                continue;
            from = tile_of_a(s, &low, at, depth, room->a, &bytes);
            TILES_WROTE;
            TILE_LOAD(5, from, bytes);
            TILE_DP(2, 5, 6);
            TILE_DP(3, 5, 7);
        }
    }
    TILE_STORE(0, room->c, C_BYTES);
    TILE_STORE(1, room->c + SIDE, C_BYTES);
    TILE_STORE(2, c_low, C_BYTES);
    TILE_STORE(3, c_low + SIDE, C_BYTES);
}

/* As the micro-kernel ends: bias, what is added, relu; a NaN stays. */
static float finished(const qn_strip *s, float sum, int64_t at, int col)
{
    if (s->bias)
        sum += s->bias[col];
    if (s->added)
        sum += s->added[at];
    return s->relu && sum < 0 ? 0 : sum;
}

static void tile_strip(const qn_strip *s)
{
    tile_room room;
    memset(&room, 0, sizeof room);
    tiles_begin();
    for (int64_t first = 0; first < s->rows; first += UNIT) {
        int64_t rows = qn_min_i64(s->rows - first, UNIT);
        memset(room.c, 0, sizeof room.c);
        for (int64_t i = 0; s->add && i < rows; i++)
            memcpy(room.c + i * UNIT, s->c + (first + i) * s->ldc,
                   (size_t)s->cols * sizeof *room.c);
        unit_sum(s, first, &room);
        for (int64_t i = 0; i < rows; i++)
            for (int j = 0; j < s->cols; j++) {
                int64_t at = (first + i) * s->ldc + j;
                s->c[at] = finished(s, room.c[i * UNIT + j], at, j);
            }
    }
    tiles_end();
}

static void tile_transpose(float *dst, int64_t ldd, const float *src, int64_t lds, int64_t depth,
                           int64_t cols)
{
    qn_tile_f32()->transpose(dst, ldd, src, lds, depth, cols);
}

static void tile_activate(float *c, int64_t ldc, int64_t rows, int64_t cols, qn_act act,
                          float slope)
{
    qn_tile_f32()->activate(c, ldc, rows, cols, act, slope);
}

static const qn_tile_kernels tile_kernels = {.lanes = SIDE,
                                             .vecs_max = UNIT / SIDE,
                                             .strip = tile_strip,
                                             .transpose = tile_transpose,
                                             .activate = tile_activate};
