/*
 * Strips of pairs of bf16 (tile.h) by tiles, over the operations of amx_tiles.h or soft_tiles.h: the micro-kernel of pairs.h
 * where the machine has tiles. Whole products of matrices have blocks of their own (amx_body.h).
 *
 *                   B: [pair][64 columns], as it lies
 *                   +----+----+----+----+
 *                   | 5  | 6  | 7  | 5  |      16 pairs at a time
 *                   +----+----+----+----+
 *      +----+       +----+----+----+----+
 *      | 4  |       | 0  | 1  | 2  | 3  |      C: 16 rows; four sums, so that the latency of a product (52 cycles, one
 *      +----+       +----+----+----+----+      starts every 16) is hidden even where there are no more rows
 *   A: [row][16 pairs]
 *
 * A is read in place where 16 rows are equally far apart and the pairs of each lie side by side; else a tile of it is made:
 * line by line, turned where the rows lie side by side instead (to the weights), or pair by pair. What A, B or C lack to
 * whole tiles is zeros in a copy of that tile alone.
 *
 * Tiles always: by the throughput of the instructions they keep up with vectors even where there is a single row, and only
 * sums of fewer than four pairs lose. So the number of rows decides nothing, and no row's bits depend on those beside it.
 */
#include <string.h>

#include "base/checked.h"
#include "kernel/gemm/pairs.h"

enum { SIDE = 16, VECS = 4, WIDE = SIDE * VECS, LINE_BYTES = SIDE * sizeof(float) };

/* One tile of A or of B, made; the sums where C lacks rows or columns to whole tiles. */
typedef struct {
    _Alignas(64) float a[SIDE * SIDE];
    float b[SIDE * SIDE], c[SIDE * WIDE];
} strip_room;

/* Up to 16 rows. */
typedef struct {
    const int64_t *row;
    int rows;
    int64_t gap; /* from each to the next; 0 = not always the same */
} strip_rows;

static strip_rows rows_from(const qn_strip *s, int64_t first)
{
    strip_rows r = {.row = s->row + first, .rows = (int)qn_min_i64(s->rows - first, SIDE)};
    r.gap = r.rows > 1 ? r.row[1] - r.row[0] : 1;
    for (int i = 1; i < r.rows; i++)
        if (r.row[i] - r.row[0] != i * r.gap)
            r.gap = 0;
    return r;
}

/* The tile of pairs [at, at + depth) of these rows; *ret_bytes is from one to the next. */
static const float *tile_of_a(const qn_strip *s, const strip_rows *r, int64_t at, int depth,
                              float *room, int64_t *ret_bytes)
{
    const float *a = s->a + at;
    bool whole = r->rows == SIDE && depth == SIDE, side_by_side = s->step == 1;
    if (side_by_side && whole && r->gap) {
        *ret_bytes = r->gap * (int64_t)sizeof *a;
        return a + r->row[0];
    }
    *ret_bytes = LINE_BYTES;
    if (side_by_side) {
        for (int i = 0; i < SIDE; i++)
            tile_line(room + i * SIDE, i < r->rows ? a + r->row[i] : a, i < r->rows ? depth : 0);
        return room;
    }
    if (!whole)
        memset(room, 0, SIDE * SIDE * sizeof *room);
    if (r->gap == 1)
        TILE_PAIRS.tile->transpose(room, SIDE, a + r->row[0], s->step, r->rows, depth);
    for (int i = 0; r->gap != 1 && i < r->rows; i++)
        for (int k = 0; k < depth; k++)
            memcpy(room + i * SIDE + k, a + r->row[i] + k * s->step, sizeof *room);
    return room;
}

/* The tile of rows [0, depth) of b and up to 16 columns, of which there are `cols`. */
static const float *tile_of_b(const qn_strip *s, const float *b, int depth, int cols, float *room,
                              int64_t *ret_bytes)
{
    *ret_bytes = s->ldb * (int64_t)sizeof *b;
    if (depth == SIDE && cols >= SIDE)
        return b;
    *ret_bytes = LINE_BYTES;
    cols = cols < SIDE ? cols : SIDE;
    for (int k = 0; k < SIDE; k++)
        tile_line(room + k * SIDE, k < depth ? b + k * s->ldb : b, k < depth ? cols : 0);
    return room;
}

/* GCC takes a tile load for no reading: what a room holds is written before it, and the next content after it. */
#define LOAD_MADE(tile, from, bytes)                                                               \
    do {                                                                                           \
        TILES_WROTE;                                                                               \
        TILE_LOAD(tile, from, bytes);                                                              \
        TILES_WROTE;                                                                               \
    } while (0)

/* Sums of 16 rows and up to 64 columns into whole tiles of c, from 0 or what lies there. */
static void unit_sum(const qn_strip *s, const strip_rows *r, float *c, int64_t c_bytes,
                     strip_room *room)
{
    const int vecs = (s->cols + SIDE - 1) / SIDE;
    const float *b = s->b, *from;
    int64_t bytes;
    TILES;
#define EACH_VEC(work) work(0, 5) work(1, 6) work(2, 7) work(3, 5)
#define BEGIN(v, tile)                                                                             \
    if (v < vecs && s->add)                                                                        \
        TILE_LOAD(v, c + v * SIDE, c_bytes);                                                       \
    else                                                                                           \
        TILE_ZERO(v);
#define MULTIPLY(v, tile)                                                                          \
    if (v < vecs) {                                                                                \
        from = tile_of_b(s, b + v * SIDE, depth, s->cols - v * SIDE, room->b, &bytes);             \
        LOAD_MADE(tile, from, bytes);                                                              \
        TILE_DP(v, 4, tile);                                                                       \
    }
#define END(v, tile)                                                                               \
    if (v < vecs)                                                                                  \
        TILE_STORE(v, c + v * SIDE, c_bytes);
    EACH_VEC(BEGIN)
    for (int64_t seg = 0; seg < s->segs; seg++)
        for (int64_t k = 0; k < s->seg_len; k += SIDE) {
            int depth = (int)qn_min_i64(s->seg_len - k, SIDE);
            from = tile_of_a(s, r, s->seg[seg] + k * s->step, depth, room->a, &bytes);
            LOAD_MADE(4, from, bytes);
            EACH_VEC(MULTIPLY)
            b += depth * s->ldb;
        }
    EACH_VEC(END)
#undef END
#undef MULTIPLY
#undef BEGIN
#undef EACH_VEC
}

/* Runs of up to 16 columns of the rows from `first` on. */
static void room_fill(const qn_strip *s, int64_t first, int rows, float *room)
{
    for (int i = 0; i < SIDE; i++)
        for (int j = 0; j < WIDE; j += SIDE) {
            bool there = i < rows && j < s->cols;
            tile_line(room + i * WIDE + j, there ? s->c + (first + i) * s->ldc + j : s->c,
                      there ? (int)qn_min_i64(s->cols - j, SIDE) : 0);
        }
}

static void unit_end(const qn_strip *s, int64_t first, int rows, const float *sums, int64_t pitch)
{
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < s->cols; j += SIDE) {
            int64_t at = (first + i) * s->ldc + j;
            tile_end_line(s->c + at, sums + i * pitch + j, (int)qn_min_i64(s->cols - j, SIDE),
                          s->bias ? s->bias + j : NULL, s->added ? s->added + at : NULL, s->relu);
        }
}

/* How often this thread has begun and not ended. */
static int *begun(void)
{
    static _Thread_local int count;
    return &count;
}

static void strips_begin(void)
{
    if ((*begun())++ == 0)
        tiles_begin();
}

static void strips_end(void)
{
    if (--*begun() == 0)
        tiles_end();
}

static void strip(const qn_strip *s)
{
    strip_room room;
    strips_begin();
    for (int64_t first = 0; first < s->rows; first += SIDE) {
        strip_rows r = rows_from(s, first);
        bool whole = r.rows == SIDE && s->cols % SIDE == 0;
        float *c = whole ? s->c + first * s->ldc : room.c;
        int64_t pitch = whole ? s->ldc : WIDE;
        if (!whole && s->add)
            room_fill(s, first, r.rows, room.c);
        unit_sum(s, &r, c, pitch * (int64_t)sizeof *c, &room);
        if (!whole || s->bias || s->added || s->relu)
            unit_end(s, first, r.rows, c, pitch);
    }
    strips_end();
}

static void transpose(float *dst, int64_t ldd, const float *src, int64_t lds, int64_t depth,
                      int64_t cols)
{
    TILE_PAIRS.tile->transpose(dst, ldd, src, lds, depth, cols);
}

static void activate(float *c, int64_t ldc, int64_t rows, int64_t cols, qn_act act, float slope)
{
    TILE_PAIRS.tile->activate(c, ldc, rows, cols, act, slope);
}

#define STRIP_TILES                                                                                \
    {                                                                                              \
        .lanes = SIDE, .vecs_max = VECS, .strip = strip, .transpose = transpose,                   \
        .activate = activate, .begin = strips_begin, .end = strips_end,                            \
    }
