/*
 * Products of bf16 by pairs (pairs.h): the cut into blocks, and the packing.
 *
 * B always becomes panels of pairs, and A too unless its rows lie ready. Packing an element costs a tenth of a cycle, its
 * products half a cycle for each 32 columns (A) or rows (B); so what several blocks read is packed once, by all threads,
 * before they start, and the rest by the block that reads it, while it lies in the nearest caches:
 *
 *      B  [panel][k / 2][pitch]  once if there are several blocks of rows, else by its block
 *      A  [row][k / 2], or [k / 2][row] where it is transposed: once if there is one block of rows, else by its block
 *
 * Where B is packed once, slices of it bound the memory. Sums of an element are one chain in rising k on every path.
 */
#include <string.h>

#include "base/checked.h"
#include "kernel/carve.h"
#include "kernel/gemm/gemm_bf16_table.h"

enum {
    BLOCK_PAIRS =
        256, /* of k at once: 48 KiB of a panel of B, all of L1, read from L2 at a quarter of its speed */
    ROWS_WHOLE = 256,      /* up to this A is one block of rows, which bounds the row table too */
    ROWS_MANY = 128,       /* of a block beside others: 128 KiB of A, a part of L2 beside C */
    PANELS_MAX = 16,       /* of a block: 384 KiB of C */
    CHUNK_FLOPS = 4 << 20, /* about 8 us */
    CHUNKS = 24, /* blocks wanted of a large product, so that no core waits long for the last one */
    SERIAL_FLOPS = 6 << 20,  /* about 12 us: not worth waking another core */
    SHARE_NUMBERS = 1 << 15, /* of A: packing fewer twice costs less than meeting for it */
    SLICE_PAIRS = 2048,
    SLICE_BYTES = 8 << 20, /* of B at a time */
    PACK_LINES = 32,       /* of k, or rows of A, packed by one chunk */
    FETCH_ROWS = 16,       /* of a block, multiplied between two parts of what is fetched */
    LINE_BYTES = 64
};

/* How a product is cut. All of it follows from sizes and flags. */
typedef struct {
    const qn_bf16_product *product;
    const qn_gemm *gemm;
    const qn_pairs_kernels *kernels;
    const qn_pairs_pack *pack_a, *pack_b;
    int64_t batches, pairs, panels;
    int64_t pitch; /* of a panel of B: the most columns it has */
    int64_t block_m, panels_per_block, blocks_m, blocks_n;
    bool lies, share_a, share_b; /* lies: A's rows are read in place */
    int64_t slice_pairs, slice_panels;
    uint32_t *shared_a, *shared_b;
    char *scratch;
    size_t worker_bytes;
    int64_t pair, depth, first,
        count; /* the slice at hand: pairs and panels from where, and how many */
} job;

static int64_t divide_up(int64_t total, int64_t each)
{
    return (total + each - 1) / each;
}

static void plan_blocks(job *j)
{
    const qn_gemm *g = j->gemm;
    bool whole = g->m <= ROWS_WHOLE;
    j->blocks_m = whole ? 1 : divide_up(g->m, ROWS_MANY);
    j->block_m = whole ? g->m : divide_up(divide_up(g->m, j->blocks_m), 8) * 8;
    j->blocks_m = divide_up(g->m, j->block_m);
    double panel = 2.0 * (double)j->block_m * (double)g->k * (double)g->n / (double)j->panels;
    int64_t panels = (int64_t)qn_max_i64((int64_t)(CHUNK_FLOPS / (panel + 1)), 1);
    panels = qn_min_i64(qn_max_i64(panels, whole ? 1 : j->lies ? 4 : 8), PANELS_MAX);
    /* Fewer, larger blocks where there are enough: they read A less often. */
    int64_t groups = qn_max_i64(divide_up(CHUNKS, j->blocks_m * j->batches), 1);
    panels = qn_max_i64(panels, qn_min_i64(divide_up(j->panels, groups), PANELS_MAX));
    j->blocks_n = divide_up(j->panels, panels);
    j->panels_per_block = divide_up(j->panels, j->blocks_n);
}

static void plan_slices(job *j)
{
    const qn_gemm *g = j->gemm;
    bool one = j->batches == 1;
    j->share_b = one && j->blocks_m > 1;
    j->share_a =
        one && !j->lies && j->blocks_m == 1 && j->blocks_n > 1 && g->m * g->k > SHARE_NUMBERS;
    j->slice_pairs = j->pairs;
    j->slice_panels = j->panels;
    if (j->share_a || j->share_b)
        j->slice_pairs = qn_min_i64(j->pairs, SLICE_PAIRS);
    if (j->share_b) {
        int64_t most =
            SLICE_BYTES / (int64_t)sizeof(uint32_t) / j->pitch / qn_max_i64(j->slice_pairs, 1);
        j->slice_panels = qn_min_i64(j->panels, qn_max_i64(most, PANELS_MAX));
    }
}

/* A worker's own packing. */
typedef struct {
    uint32_t *a, *b;
} own;

static void own_carve(const job *j, own *w, qn_carve *carve)
{
    int64_t depth = qn_min_i64(j->pairs, BLOCK_PAIRS);
    bool own_a = !j->lies && !j->share_a;
    w->a = own_a ? qn_carve_take(carve, (size_t)(j->block_m * depth) * sizeof *w->a) : NULL;
    w->b = !j->share_b ? qn_carve_take(carve, (size_t)(j->pitch * depth) * sizeof *w->b) : NULL;
}

/* Whether A's rows are pairs as they lie. */
static bool lies(const qn_bf16_product *product)
{
    const qn_gemm *g = product->gemm;
    bool even = !g->trans_a && !product->wide_a && qn_pairs_lie(product->a, g->lda, g->k);
    for (int i = 0; i < g->batch_rank; i++)
        even = even && g->batch_a[i] % 2 == 0;
    return even;
}

static void job_plan(job *j, const qn_pairs_kernels *kernels, const qn_bf16_product *product,
                     bool ready, qn_carve *carve, int threads)
{
    const qn_gemm *g = product->gemm;
    *j = (job){.product = product,
               .gemm = g,
               .kernels = kernels,
               .pack_a = product->wide_a ? &kernels->of_f32 : &kernels->of_bf16,
               .pack_b = product->wide_b ? &kernels->of_f32 : &kernels->of_bf16,
               .batches = 1,
               .pairs = divide_up(g->k, 2),
               .panels = qn_tile_panels(kernels->tile, g->n),
               .pitch = (int64_t)kernels->tile->lanes * kernels->tile->vecs_max};
    j->lies = ready;
    for (int i = 0; i < g->batch_rank; i++)
        j->batches *= g->batch[i];
    plan_blocks(j);
    plan_slices(j);
    size_t word = sizeof(uint32_t);
    if (j->share_a)
        j->shared_a = qn_carve_take(carve, (size_t)(g->m * j->slice_pairs) * word);
    if (j->share_b)
        j->shared_b =
            qn_carve_take(carve, (size_t)(j->slice_panels * j->slice_pairs * j->pitch) * word);
    qn_carve one = {0};
    own w;
    own_carve(j, &w, &one);
    j->worker_bytes = one.used;
    j->scratch = qn_carve_take(carve, one.used * (size_t)threads);
}

static const char *at(const void *factor, bool wide, int64_t index)
{
    return qn_bf16_at(factor, wide, index);
}

/* Numbers of k in pairs [pair, pair + pairs). */
static int64_t numbers(const job *j, int64_t pair, int64_t pairs)
{
    return qn_min_i64(2 * pairs, j->gemm->k - 2 * pair);
}

/* Rows [row, row + rows) of op(A) at pairs [pair, pair + pairs): [row][pitch] or, transposed, [pair][pitch]. */
static void pack_a(const job *j, uint32_t *dst, int64_t pitch, const char *a, int64_t row,
                   int64_t rows, int64_t pair, int64_t pairs)
{
    const qn_gemm *g = j->gemm;
    bool wide = j->product->wide_a;
    int64_t depth = numbers(j, pair, pairs);
    if (g->trans_a) {
        j->pack_a->join(dst, pitch, at(a, wide, 2 * pair * g->lda + row), g->lda, depth, rows);
        return;
    }
    for (int64_t i = 0; i < rows; i++)
        j->pack_a->line(dst + i * pitch, at(a, wide, (row + i) * g->lda + 2 * pair), depth);
}

/* Columns of a panel at pairs [pair, pair + pairs). */
static void pack_b(const job *j, uint32_t *dst, const char *b, int64_t panel, int64_t pair,
                   int64_t pairs)
{
    const qn_gemm *g = j->gemm;
    bool wide = j->product->wide_b;
    int64_t col = qn_tile_panel_start(j->kernels->tile, g->n, panel);
    int64_t cols = qn_tile_panel_start(j->kernels->tile, g->n, panel + 1) - col;
    int64_t depth = numbers(j, pair, pairs);
    if (g->trans_b)
        j->pack_b->turn(dst, j->pitch, at(b, wide, col * g->ldb + 2 * pair), g->ldb, depth, cols);
    else
        j->pack_b->join(dst, j->pitch, at(b, wide, 2 * pair * g->ldb + col), g->ldb, depth, cols);
}

/* Chunks of shared packing: of A's lines, then of B's, by lines of k or panel by panel. */
static int64_t pack_chunks_a(const job *j)
{
    if (!j->share_a)
        return 0;
    return divide_up(j->gemm->trans_a ? 2 * j->depth : j->gemm->m, PACK_LINES);
}

static int64_t pack_chunks_b(const job *j)
{
    if (!j->share_b)
        return 0;
    return j->gemm->trans_b ? j->count * divide_up(j->depth, BLOCK_PAIRS)
                            : divide_up(2 * j->depth, PACK_LINES);
}

static void pack_chunk_a(const job *j, int64_t chunk)
{
    const qn_gemm *g = j->gemm;
    if (g->trans_a) {
        int64_t pair = chunk * (PACK_LINES / 2);
        int64_t pairs = qn_min_i64(PACK_LINES / 2, j->depth - pair);
        pack_a(j, j->shared_a + pair * g->m, g->m, j->product->a, 0, g->m, j->pair + pair, pairs);
        return;
    }
    int64_t row = chunk * PACK_LINES, rows = qn_min_i64(PACK_LINES, g->m - row);
    pack_a(j, j->shared_a + row * j->slice_pairs, j->slice_pairs, j->product->a, row, rows, j->pair,
           j->depth);
}

static void pack_chunk_b(const job *j, int64_t chunk)
{
    int64_t step = j->gemm->trans_b ? BLOCK_PAIRS : PACK_LINES / 2, first = 0, end = j->count;
    if (j->gemm->trans_b) {
        first = chunk % j->count;
        end = first + 1;
        chunk /= j->count;
    }
    int64_t pair = chunk * step, pairs = qn_min_i64(step, j->depth - pair);
    for (int64_t panel = first; panel < end; panel++)
        pack_b(j, j->shared_b + (panel * j->slice_pairs + pair) * j->pitch, j->product->b,
               j->first + panel, j->pair + pair, pairs);
}

static void pack_chunk(void *context, int64_t chunk, int worker)
{
    const job *j = context;
    int64_t before = pack_chunks_a(j);
    (void)worker;
    if (chunk < before)
        pack_chunk_a(j, chunk);
    else
        pack_chunk_b(j, chunk - before);
}

/* One block at one depth of k. */
typedef struct {
    const job *j;
    own own;
    const char *a, *b;
    float *c;
    int64_t row, rows;
    int64_t panel_first, panel_end;
    int64_t pair, pairs; /* of k */
    const uint32_t *left;
    int64_t step;
    int64_t offset[ROWS_WHOLE];
} block;

static void block_take_a(block *w)
{
    const job *j = w->j;
    const qn_gemm *g = j->gemm;
    int64_t pitch = g->trans_a ? w->rows : w->pairs, inside = w->pair - j->pair;
    if (j->lies) {
        pitch = g->lda / 2;
        w->left = (const uint32_t *)(const void *)w->a + w->row * pitch + w->pair;
    } else if (j->share_a) {
        pitch = g->trans_a ? g->m : j->slice_pairs;
        w->left = j->shared_a + (g->trans_a ? inside * pitch + w->row : w->row * pitch + inside);
    } else {
        pack_a(j, w->own.a, pitch, w->a, w->row, w->rows, w->pair, w->pairs);
        w->left = w->own.a;
    }
    w->step = g->trans_a ? pitch : 1;
    for (int64_t i = 0; i < w->rows; i++)
        w->offset[i] = g->trans_a ? i : i * pitch;
}

/* Where B comes from memory, packing it would wait while products do not: part `part` of `parts` of what the panel at hand
 * is followed by comes nearer while that is multiplied. */
static void fetch_next(const block *w, int64_t panel, int64_t part, int64_t parts)
{
    const job *j = w->j;
    const qn_gemm *g = j->gemm;
    int64_t pair = w->pair, next = panel + 1;
    if (next == w->panel_end) { /* more of k, or the block that most often follows */
        bool more = pair + w->pairs < j->pair + j->depth;
        next = more ? w->panel_first : next;
        pair = more ? pair + w->pairs : j->pair;
    }
    if (next >= j->first + j->count)
        return;
    const int64_t size = j->product->wide_b ? 4 : 2;
    int64_t col = qn_tile_panel_start(j->kernels->tile, g->n, next);
    int64_t cols = qn_tile_panel_start(j->kernels->tile, g->n, next + 1) - col;
    int64_t depth = numbers(j, pair, qn_min_i64(BLOCK_PAIRS, j->pair + j->depth - pair));
    int64_t rows = g->trans_b ? cols : depth, bytes = (g->trans_b ? depth : cols) * size;
    const char *src =
        w->b + (g->trans_b ? col * g->ldb + 2 * pair : 2 * pair * g->ldb + col) * size;
    for (int64_t r = rows * part / parts; r < rows * (part + 1) / parts; r++)
        for (int64_t i = 0; i < bytes; i += LINE_BYTES)
            __builtin_prefetch(src + r * g->ldb * size + i, 0, 2);
}

/* The strip in parts of its rows, with a part of what follows fetched before each. */
static void strip_and_fetch(const block *w, const qn_strip *strip, int64_t panel)
{
    const qn_tile_kernels *tile = w->j->kernels->tile;
    int64_t parts = divide_up(strip->rows, FETCH_ROWS);
    for (int64_t i = 0; i < parts; i++) {
        qn_strip s = *strip;
        fetch_next(w, panel, i, parts);
        s.row += i * FETCH_ROWS;
        s.c += i * FETCH_ROWS * s.ldc;
        s.rows = qn_min_i64(FETCH_ROWS, strip->rows - i * FETCH_ROWS);
        if (i + 1 < parts)
            s.next = s.c + FETCH_ROWS * s.ldc;
        tile->strip(&s);
    }
}

static void block_panel(block *w, int64_t panel)
{
    static const int64_t origin[1] = {0};
    const job *j = w->j;
    const qn_gemm *g = j->gemm;
    const qn_tile_kernels *tile = j->kernels->tile;
    int64_t col = qn_tile_panel_start(tile, g->n, panel);
    int64_t cols = qn_tile_panel_start(tile, g->n, panel + 1) - col;
    bool last = w->pair + w->pairs == j->pairs;
    const uint32_t *right = w->own.b;
    if (j->share_b)
        right = j->shared_b + ((panel - j->first) * j->slice_pairs + w->pair - j->pair) * j->pitch;
    else
        pack_b(j, w->own.b, w->b, panel, w->pair, w->pairs);
    qn_strip s = {.rows = w->rows,
                  .cols = (int)cols,
                  .a = (const float *)(const void *)w->left,
                  .row = w->offset,
                  .seg = origin,
                  .segs = 1,
                  .seg_len = w->pairs,
                  .step = w->step,
                  .b = (const float *)(const void *)right,
                  .ldb = j->pitch,
                  .c = w->c + col,
                  .ldc = g->ldc,
                  .next = w->c + col + (panel + 1 < j->panels ? cols : 0),
                  .add = w->pair > 0 || g->beta != 0,
                  .bias = last && g->bias ? g->bias + col : NULL,
                  .relu = last && g->act == QN_ACT_RELU};
    if (j->share_b)
        tile->strip(&s);
    else
        strip_and_fetch(w, &s, panel);
    if (last && g->act != QN_ACT_NONE && g->act != QN_ACT_RELU)
        tile->activate(w->c + col, g->ldc, w->rows, cols, g->act, g->slope);
}

static void job_block(void *context, int64_t chunk, int worker)
{
    const job *j = context;
    const qn_gemm *g = j->gemm;
    int64_t groups = divide_up(j->count, j->panels_per_block);
    int64_t batch = chunk / (j->blocks_m * groups), in_batch = chunk % (j->blocks_m * groups);
    block w = {.j = j, .a = j->product->a, .b = j->product->b, .c = g->c};
    qn_carve carve = {.base = j->scratch + (size_t)worker * j->worker_bytes};
    own_carve(j, &w.own, &carve);
    for (int i = g->batch_rank - 1; i >= 0; batch /= g->batch[i], i--) {
        int64_t step = batch % g->batch[i];
        w.a = at(w.a, j->product->wide_a, step * g->batch_a[i]);
        w.b = at(w.b, j->product->wide_b, step * g->batch_b[i]);
        w.c += step * g->batch_c[i];
    }
    w.row = in_batch / groups * j->block_m;
    w.rows = qn_min_i64(j->block_m, g->m - w.row);
    w.c += w.row * g->ldc;
    w.panel_first = j->first + in_batch % groups * j->panels_per_block;
    w.panel_end = qn_min_i64(w.panel_first + j->panels_per_block, j->first + j->count);
    w.pair = j->pair;
    do {
        w.pairs = qn_min_i64(BLOCK_PAIRS, j->pair + j->depth - w.pair);
        block_take_a(&w);
        for (int64_t panel = w.panel_first; panel < w.panel_end; panel++)
            block_panel(&w, panel);
        w.pair += w.pairs;
    } while (w.pair < j->pair + j->depth);
}

static void run_slice(job *j, qn_pool *pool)
{
    int64_t packing = pack_chunks_a(j) + pack_chunks_b(j);
    if (packing)
        qn_pool_run(pool, pack_chunk, j, packing);
    qn_pool_run(pool, job_block, j,
                j->batches * j->blocks_m * divide_up(j->count, j->panels_per_block));
}

size_t qn_gemm_pairs_scratch_bytes(const qn_pairs_kernels *kernels, const qn_bf16_product *product,
                                   int threads)
{
    if (product->gemm->m <= 0 || product->gemm->n <= 0)
        return 0;
    job j;
    qn_carve carve = {0};
    job_plan(&j, kernels, product, false, &carve, threads); /* where A will lie is not known yet */
    return carve.used;
}

void qn_gemm_pairs(const qn_pairs_kernels *kernels, qn_pool *pool, const qn_bf16_product *product,
                   void *scratch)
{
    const qn_gemm *g = product->gemm;
    if (g->m <= 0 || g->n <= 0)
        return;
    job j;
    qn_carve carve = {.base = scratch};
    job_plan(&j, kernels, product, lies(product), &carve, pool ? qn_pool_threads(pool) : 1);
    if (2.0 * (double)g->m * (double)g->n * (double)g->k * (double)j.batches < SERIAL_FLOPS)
        pool = NULL;
    for (j.first = 0; j.first < j.panels; j.first += j.slice_panels) {
        j.count = qn_min_i64(j.slice_panels, j.panels - j.first);
        j.pair = 0;
        do {
            j.depth = qn_min_i64(j.slice_pairs, j.pairs - j.pair);
            run_slice(&j, pool);
            j.pair += j.depth;
        } while (j.pair < j.pairs);
    }
}
