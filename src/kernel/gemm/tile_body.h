/*
 * The micro-kernel's body for any vector width: the including file sets TILE_ROWS (6 or 8) and
 * TILE_VECS (2 or 3), the register tile, and TILE_KERNELS, the name of the result, after a vec_*.h
 * header. One always-inlined function takes the tile's size as constants; a table holds its copies.
 * TILE_MULTIPLY, set before, is what joins two vectors and a sum.
 */
#include "kernel/gemm/tile.h"
#include "kernel/gemm/tile_sum.h"
#include "kernel/vec_math.h"

typedef void tile_fn(const qn_strip *s, int64_t first, vm tail);

/* Rows [first, first + R) of the strip, V vectors wide, the last vector masked by `tail`. */
VEC void tile(const int R, const int V, const qn_strip *s, int64_t first, vm tail)
{
    vf acc[TILE_ROWS][TILE_VECS];
    float *c = s->c + first * s->ldc;
    UNROLL for (int i = 0; i < R; i++)
    {
        UNROLL for (int j = 0; j < V; j++) acc[i][j] = vf_zero();
    }
    if (s->add) {
        UNROLL for (int i = 0; i < R; i++)
        {
            UNROLL for (int j = 0; j < V - 1; j++) acc[i][j] = vf_load(c + i * s->ldc + j * VL);
            acc[i][V - 1] = vf_load_mask(c + i * s->ldc + (V - 1) * VL, tail);
        }
    }
    if (s->next) {
        const float *next = first + R < s->rows ? c + R * s->ldc : s->next;
        UNROLL for (int i = 0; i < R; i++)
        {
            UNROLL for (int j = 0; j < V; j++) __builtin_prefetch(next + i * s->ldc + j * VL, 1, 3);
        }
    }
    tile_sum(R, V, acc, s, first, tail);
    if (s->bias) {
        UNROLL for (int j = 0; j < V; j++)
        {
            vf y = j < V - 1 ? vf_load(s->bias + j * VL) : vf_load_mask(s->bias + j * VL, tail);
            UNROLL for (int i = 0; i < R; i++) acc[i][j] = vf_add(acc[i][j], y);
        }
    }
    if (s->added) {
        const float *added = s->added + first * s->ldc;
        UNROLL for (int i = 0; i < R; i++)
        {
            UNROLL for (int j = 0; j < V; j++)
            {
                const float *at = added + i * s->ldc + j * VL;
                acc[i][j] = vf_add(acc[i][j], j < V - 1 ? vf_load(at) : vf_load_mask(at, tail));
            }
        }
    }
    if (s->relu) {
        UNROLL for (int i = 0; i < R; i++)
        {
            UNROLL for (int j = 0; j < V; j++) acc[i][j] = vf_max(vf_zero(), acc[i][j]);
        }
    }
    UNROLL for (int i = 0; i < R; i++)
    {
        UNROLL for (int j = 0; j < V - 1; j++) vf_store(c + i * s->ldc + j * VL, acc[i][j]);
        vf_store_mask(c + i * s->ldc + (V - 1) * VL, acc[i][V - 1], tail);
    }
}

#define TILE_COPY(R, V)                                                                            \
    static void tile_##R##x##V(const qn_strip *s, int64_t first, vm tail)                          \
    {                                                                                              \
        tile(R, V, s, first, tail);                                                                \
    }
#if TILE_VECS == 3
#define ROW_COPIES(R) TILE_COPY(R, 1) TILE_COPY(R, 2) TILE_COPY(R, 3)
#define ROW_NAMES(R)  {tile_##R##x1, tile_##R##x2, tile_##R##x3},
#else
#define ROW_COPIES(R) TILE_COPY(R, 1) TILE_COPY(R, 2)
#define ROW_NAMES(R)  {tile_##R##x1, tile_##R##x2},
#endif
#if TILE_ROWS == 8
#define EACH_ROW(row) row(1) row(2) row(3) row(4) row(5) row(6) row(7) row(8)
#else
#define EACH_ROW(row) row(1) row(2) row(3) row(4) row(5) row(6)
#endif

EACH_ROW(ROW_COPIES)
static tile_fn *const tiles[TILE_ROWS][TILE_VECS] = {EACH_ROW(ROW_NAMES)};

/* Rows of the next tile when `left` remain: whole tiles, the last two of equal height. */
static int64_t tile_height(int64_t left)
{
    if (left >= 2 * TILE_ROWS || left <= TILE_ROWS)
        return left < TILE_ROWS ? left : TILE_ROWS;
    return (left + 1) / 2;
}

static void strip(const qn_strip *s)
{
    int vecs = (s->cols + VL - 1) / VL;
    vm tail = vm_first(s->cols - (vecs - 1) * VL);
    for (int64_t first = 0; first < s->rows;) {
        int64_t height = tile_height(s->rows - first);
        tiles[height - 1][vecs - 1](s, first, tail);
        first += height;
    }
}

enum { LINE_VECS = 64 / VL < 8 ? 64 / VL : 8 }; /* sums at a time: their latencies overlap */

VEC void line_vecs(const int V, const qn_strip *s, int64_t col, vm tail)
{
    vf acc[LINE_VECS];
    const float *a = s->a + s->row[0], *b = s->b + col;
    float *c = s->c + col;
    UNROLL for (int j = 0; j < V; j++) acc[j] = s->add ? vf_load_mask(c + j * VL, tail) : vf_zero();
    for (int64_t seg = 0; seg < s->segs; seg++) {
        const float *p = a + s->seg[seg];
        for (int64_t k = s->seg_len; k > 0; k--, p += s->step, b += s->ldb) {
            vf y = vf_set(*p);
            UNROLL for (int j = 0; j < V; j++) acc[j] =
                TILE_MULTIPLY(y, vf_load_mask(b + j * VL, tail), acc[j]);
        }
    }
    UNROLL for (int j = 0; j < V; j++)
    {
        if (s->bias)
            acc[j] = vf_add(acc[j], vf_load_mask(s->bias + col + j * VL, tail));
        if (s->added)
            acc[j] = vf_add(acc[j], vf_load_mask(s->added + col + j * VL, tail));
        vf_store_mask(c + j * VL, s->relu ? vf_max(vf_zero(), acc[j]) : acc[j], tail);
    }
}

static void tile_line(const qn_strip *s)
{
    int col = 0;
    for (; col + LINE_VECS * VL <= s->cols; col += LINE_VECS * VL)
        line_vecs(LINE_VECS, s, col, vm_first(VL));
    for (; col < s->cols; col += VL)
        line_vecs(1, s, col, vm_first(s->cols - col < VL ? s->cols - col : VL));
}

VEC vf act_apply(qn_act act, vf x, vf slope)
{
    switch (act) {
    case QN_ACT_RELU:
        return vf_max(vf_zero(), x);
    case QN_ACT_LEAKY:
        return vf_pick(vf_lt(vf_zero(), x), x, vf_mul(slope, x));
    case QN_ACT_SIGMOID:
        return math_sigmoid(x);
    case QN_ACT_TANH:
        return math_tanh(x);
    case QN_ACT_GELU:
        return math_gelu(x);
    case QN_ACT_GELU_TANH:
        return math_gelu_tanh(x);
    case QN_ACT_SILU:
        return math_silu(x);
    default:
        return x;
    }
}

VEC void activate_rows(qn_act act, float *c, int64_t ldc, int64_t rows, int64_t cols, float slope)
{
    const vf slopes = vf_set(slope);
    for (int64_t i = 0; i < rows; i++) {
        float *p = c + i * ldc;
        int64_t j = 0;
        for (; j + VL <= cols; j += VL)
            vf_store(p + j, act_apply(act, vf_load(p + j), slopes));
        if (j < cols) {
            vm m = vm_first((int)(cols - j));
            vf_store_mask(p + j, act_apply(act, vf_load_mask(p + j, m), slopes), m);
        }
    }
}

static void tile_activate(float *c, int64_t ldc, int64_t rows, int64_t cols, qn_act act,
                          float slope)
{
    switch (act) {
#define ROWS(name)                                                                                 \
    case name:                                                                                     \
        activate_rows(name, c, ldc, rows, cols, slope);                                            \
        break;
        ROWS(QN_ACT_RELU)
        ROWS(QN_ACT_LEAKY)
        ROWS(QN_ACT_SIGMOID)
        ROWS(QN_ACT_TANH)
        ROWS(QN_ACT_GELU)
        ROWS(QN_ACT_GELU_TANH)
        ROWS(QN_ACT_SILU)
#undef ROWS
    default:
        break;
    }
}

static void tile_transpose(float *dst, int64_t ldd, const float *src, int64_t lds, int64_t depth,
                           int64_t cols)
{
    int64_t k = 0;
    for (; k + TRANSPOSE <= depth; k += TRANSPOSE) {
        int64_t j = 0;
        for (; j + TRANSPOSE <= cols; j += TRANSPOSE)
            transpose_block(dst + k * ldd + j, ldd, src + j * lds + k, lds);
        for (; j < cols; j++)
            for (int i = 0; i < TRANSPOSE; i++)
                dst[(k + i) * ldd + j] = src[j * lds + k + i];
    }
    for (; k < depth; k++)
        for (int64_t j = 0; j < cols; j++)
            dst[k * ldd + j] = src[j * lds + k];
}

const qn_tile_kernels TILE_KERNELS = {
    .lanes = VL,
    .vecs_max = TILE_VECS,
    .strip = strip,
    .line = tile_line,
    .transpose = tile_transpose,
    .activate = tile_activate,
};
