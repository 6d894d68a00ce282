/*
 * Products of bf16: the choice of kernels, the cut of C into blocks for the pool, and the way without tiles.
 *
 * A block takes all of k, so its sums are one chain and do not depend on the number of threads. Widening a block of A
 * serves up to 192 columns, widening a panel of B up to 256 rows: a sixteenth of the arithmetic at most where the
 * product is large.
 */
#include "kernel/gemm/gemm_bf16.h"

#include "base/checked.h"
#include "kernel/gemm/gemm_bf16_table.h"
#include "kernel/half/half_table.h"
#include "kernel/isa.h"

enum {
    BLOCK_K = 256,  /* a widened block of A is 256 KiB then, a quarter of L2 */
    PANEL_MAX = 48, /* columns of the widest register tile */
    COLS_UNIT = 96, /* whole panels of every register tile, and three pairs of AMX tiles */
    CHUNK_FLOPS = 1 << 21,
    SERIAL_FLOPS = 3 << 20,
};

typedef struct {
    const qn_bf16_product *product;
    const qn_gemm *gemm;
    const qn_bf16_kernels *kernels;
    int64_t block_rows, block_cols, blocks_m, blocks_n, batches;
    size_t worker_bytes;
    char *scratch;
} job;

static const qn_bf16_kernels *bf16_kernels(void)
{
#if defined(__x86_64__)
    if (qn_cpu_level() == QN_CPU_AMX)
        return &qn_bf16_tiles_amx;
#endif
    return &qn_bf16_widen;
}

/* Pairs go before widening; tiles have blocks of their own, which go before strips of pairs by tiles. */
static const qn_pairs_kernels *pairs_kernels(void)
{
    return bf16_kernels() == &qn_bf16_widen ? qn_pairs() : NULL;
}

static void job_plan(job *j, const qn_bf16_product *product, const qn_bf16_kernels *kernels)
{
    const qn_gemm *g = product->gemm;
    *j = (job){.product = product, .gemm = g, .kernels = kernels, .batches = 1};
    for (int i = 0; i < g->batch_rank; i++)
        j->batches *= g->batch[i];
    j->block_rows = qn_min_i64(g->m, QN_BF16_ROWS_MAX);
    double unit = 2.0 * (double)j->block_rows * (double)g->k * COLS_UNIT;
    j->block_cols = unit < CHUNK_FLOPS ? QN_BF16_COLS_MAX : COLS_UNIT;
    if (j->block_rows == QN_BF16_ROWS_MAX && g->n >= (int64_t)4 * QN_BF16_COLS_MAX)
        j->block_cols = QN_BF16_COLS_MAX;
    j->blocks_m = (g->m + j->block_rows - 1) / j->block_rows;
    j->blocks_n = (g->n + j->block_cols - 1) / j->block_cols;
    j->worker_bytes = (kernels->scratch_bytes(product) + 63) / 64 * 64;
}

static void job_block(void *context, int64_t chunk, int worker)
{
    const job *j = context;
    const qn_gemm *g = j->gemm;
    int64_t in_batch = chunk % (j->blocks_m * j->blocks_n);
    int64_t batch = chunk / (j->blocks_m * j->blocks_n);
    int64_t row = in_batch / j->blocks_n * j->block_rows;
    int64_t col = in_batch % j->blocks_n * j->block_cols;
    const qn_bf16_product *p = j->product;
    qn_bf16_block b = {.gemm = g,
                       .a = qn_bf16_at(p->a, p->wide_a, row * (g->trans_a ? 1 : g->lda)),
                       .b = qn_bf16_at(p->b, p->wide_b, col * (g->trans_b ? g->ldb : 1)),
                       .wide_a = p->wide_a,
                       .wide_b = p->wide_b,
                       .c = g->c + row * g->ldc + col,
                       .bias = g->bias ? g->bias + col : NULL,
                       .rows = qn_min_i64(j->block_rows, g->m - row),
                       .cols = qn_min_i64(j->block_cols, g->n - col),
                       .f32 = qn_tile_f32(),
                       .scratch = j->scratch + (size_t)worker * j->worker_bytes};
    for (int i = g->batch_rank - 1; i >= 0; batch /= g->batch[i], i--) {
        int64_t step = batch % g->batch[i];
        b.a = qn_bf16_at(b.a, b.wide_a, step * g->batch_a[i]);
        b.b = qn_bf16_at(b.b, b.wide_b, step * g->batch_b[i]);
        b.c += step * g->batch_c[i];
    }
    j->kernels->block(&b);
    if (g->act != QN_ACT_NONE)
        b.f32->activate(b.c, g->ldc, b.rows, b.cols, g->act, g->slope);
}

bool qn_gemm_bf16_takes(const qn_gemm *gemm)
{
    return !(gemm->alpha < 1 || gemm->alpha > 1) && (gemm->beta == 0 || gemm->beta == 1);
}

size_t qn_gemm_bf16_scratch_by(const qn_bf16_kernels *kernels, const qn_bf16_product *product,
                               int threads)
{
    return (kernels->scratch_bytes(product) + 63) / 64 * 64 * (size_t)threads;
}

void qn_gemm_bf16_by(const qn_bf16_kernels *kernels, qn_pool *pool, const qn_bf16_product *product,
                     void *scratch)
{
    const qn_gemm *gemm = product->gemm;
    if (gemm->m <= 0 || gemm->n <= 0)
        return;
    job j;
    job_plan(&j, product, kernels);
    j.scratch = scratch;
    double flops = 2.0 * (double)gemm->m * (double)gemm->n * (double)gemm->k * (double)j.batches;
    qn_pool_run(flops < SERIAL_FLOPS ? NULL : pool, job_block, &j,
                j.batches * j.blocks_m * j.blocks_n);
}

size_t qn_gemm_bf16_scratch_bytes(const qn_bf16_product *product, int threads)
{
    const qn_pairs_kernels *pairs = pairs_kernels();
    if (pairs)
        return qn_gemm_pairs_scratch_bytes(pairs, product, threads);
    return qn_gemm_bf16_scratch_by(bf16_kernels(), product, threads);
}

void qn_gemm_bf16(qn_pool *pool, const qn_bf16_product *product, void *scratch)
{
    const qn_pairs_kernels *pairs = pairs_kernels();
    if (pairs)
        qn_gemm_pairs(pairs, pool, product, scratch);
    else
        qn_gemm_bf16_by(bf16_kernels(), pool, product, scratch);
}

/* Without tiles and pairs. */

typedef struct {
    const qn_bf16_block *block;
    const qn_half_kernels *half;
    float *a, *panel, *turned; /* widened: of A, of B, of B's rows before they are turned */
    uint16_t *line;            /* a line of f32, rounded */
    int64_t row[QN_BF16_ROWS_MAX];
} widening;

/* A line is a piece of a row or a column of a block: the greater of BLOCK_K and QN_BF16_ROWS_MAX. */
enum { LINE_MAX = 256 };

static size_t widen_scratch_bytes(const qn_bf16_product *product)
{
    const qn_gemm *gemm = product->gemm;
    int64_t rows = qn_min_i64(gemm->m, QN_BF16_ROWS_MAX), depth = qn_min_i64(gemm->k, BLOCK_K);
    int64_t floats = (rows + PANEL_MAX + (gemm->trans_b ? PANEL_MAX : 0)) * depth;
    return (size_t)floats * sizeof(float) + LINE_MAX * sizeof(uint16_t);
}

/* A line of a factor in the precision of bf16. */
static void widen_line(const widening *w, float *dst, const char *src, bool wide, int64_t count)
{
    const void *halves = src;
    if (wide)
        w->half->bf16_of_f32(w->line, (const float *)(const void *)src, count);
    w->half->f32_of_bf16(dst, wide ? w->line : halves, count);
}

/* A as it lies: rows of `depth`, or with trans_a `depth` lines of rows. */
static void widen_a(widening *w, int64_t k, int64_t depth)
{
    const qn_bf16_block *b = w->block;
    const qn_gemm *g = b->gemm;
    int64_t lines = g->trans_a ? depth : b->rows, width = g->trans_a ? b->rows : depth;
    int64_t first = g->trans_a ? k * g->lda : k;
    for (int64_t i = 0; i < lines; i++)
        widen_line(w, w->a + i * width, qn_bf16_at(b->a, b->wide_a, first + i * g->lda), b->wide_a,
                   width);
    for (int64_t i = 0; i < b->rows; i++)
        w->row[i] = g->trans_a ? i : i * depth;
}

static void widen_b(const widening *w, int64_t k, int64_t depth, int64_t col, int64_t cols)
{
    const qn_gemm *g = w->block->gemm;
    const qn_bf16_block *b = w->block;
    int64_t first = g->trans_b ? col * g->ldb + k : k * g->ldb + col;
    int64_t lines = g->trans_b ? cols : depth, width = g->trans_b ? depth : cols;
    float *dst = g->trans_b ? w->turned : w->panel;
    int64_t pitch = g->trans_b ? depth : PANEL_MAX;
    for (int64_t i = 0; i < lines; i++)
        widen_line(w, dst + i * pitch, qn_bf16_at(b->b, b->wide_b, first + i * g->ldb), b->wide_b,
                   width);
    if (g->trans_b)
        w->block->f32->transpose(w->panel, PANEL_MAX, w->turned, depth, depth, cols);
}

static void widen_panel(const widening *w, int64_t k, int64_t depth, int64_t panel)
{
    static const int64_t origin[1] = {0};
    const qn_bf16_block *b = w->block;
    const qn_gemm *g = b->gemm;
    int64_t col = qn_tile_panel_start(b->f32, b->cols, panel);
    int64_t cols = qn_tile_panel_start(b->f32, b->cols, panel + 1) - col;
    widen_b(w, k, depth, col, cols);
    qn_strip s = {.rows = b->rows,
                  .cols = (int)cols,
                  .a = w->a,
                  .row = w->row,
                  .seg = origin,
                  .segs = 1,
                  .seg_len = depth,
                  .step = g->trans_a ? b->rows : 1,
                  .b = w->panel,
                  .ldb = PANEL_MAX,
                  .c = b->c + col,
                  .ldc = g->ldc,
                  .add = k > 0 || g->beta != 0,
                  .bias = k + depth == g->k && b->bias ? b->bias + col : NULL};
    b->f32->strip(&s);
}

static void widen_block(const qn_bf16_block *block)
{
    widening w = {.block = block, .half = qn_half()};
    int64_t k = 0, size = block->gemm->k, widest = qn_min_i64(size, BLOCK_K);
    w.a = block->scratch;
    w.panel = w.a + qn_min_i64(block->gemm->m, QN_BF16_ROWS_MAX) * widest;
    w.turned = w.panel + PANEL_MAX * widest;
    w.line = (uint16_t *)(void *)(w.turned + (block->gemm->trans_b ? PANEL_MAX * widest : 0));
    do {
        int64_t depth = qn_min_i64(BLOCK_K, size - k);
        widen_a(&w, k, depth);
        for (int64_t p = 0; p < qn_tile_panels(block->f32, block->cols); p++)
            widen_panel(&w, k, depth, p);
        k += depth;
    } while (k < size);
}

const qn_bf16_kernels qn_bf16_widen = {.scratch_bytes = widen_scratch_bytes, .block = widen_block};
