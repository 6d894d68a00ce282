/*
 * Matrix products as blocks of strips (tile.h).
 *
 * C is cut into blocks of rows x panels; a block is one piece of work for the pool. Within it k is
 * cut so that a panel of B stays in the nearest caches while all rows of the block pass over it. B
 * is read in place when its rows lie close together or few rows use it, and copied into a panel
 * otherwise (always when transposed); A is copied, without any transposition, only where its stride
 * would make its rows fall on each other in the caches. k is never split between threads, and a
 * block that continues a sum starts from the partial one, so the chain of additions is the same on
 * every path.
 *
 * A large product copies B once for all blocks, in slices of panels that the outer caches hold:
 *
 *      all threads: slice of B -> [panel][k][48]      then all threads: blocks of rows x some panels of the slice
 *
 * Its blocks are wide, so that a block of A, read from far away or copied, serves many panels, and their part of C
 * stays in L2 while k passes.
 */
#include "kernel/gemm/gemm.h"

#include <string.h>

#include "base/checked.h"
#include "base/error.h"
#include "kernel/gemm/tile.h"

enum {
    BLOCK_K = 256,      /* 256 x 48 floats of B: 48 KiB, read from L2 at a quarter of its speed */
    BLOCK_M = 256,      /* with BLOCK_K a copy of A is 256 KiB, a quarter of L2 */
    ROWS_MAX = BLOCK_M, /* also bounds the row table on the stack */
    PANEL_MAX = 48,     /* columns of the widest register tile */
    COPY_B_ROWS = 24,   /* fewer rows of C do not pay for a copy of B */
    FAR_BYTES = 2048,   /* rows this far apart collide in L1 and touch a page each */
    SERIAL_FLOPS = 3 << 20, /* about 12 us: not worth waking another core */
    CHUNK_FLOPS = 1 << 20,
    SHARED_FLOPS =
        128 << 20,      /* a quarter of a millisecond on two cores: one more meeting is cheap */
    SHARED_ROWS = 128,  /* of a block: with 16 panels 384 KiB of C and 128 of A, of 1 MiB of L2 */
    SHARED_PANELS = 16, /* most panels of a block */
    SHARED_CHUNKS = 24, /* blocks wanted, so that no core waits long for the last one */
    SHARED_COPY_CHUNKS = 8, /* the same where a block copies A: twice the panels pay */
    SLICE_K = 2560,
    SLICE_BYTES = SHARED_PANELS * SLICE_K * PANEL_MAX * 4, /* of B at a time: 7.5 MiB */
    PACK_ROWS = 16,       /* of B, copied together: as many streams as prefetchers follow */
    FAR_COPY_BYTES = 8192 /* rows of A at multiples of this fall on a few sets of L2 */
};

/* How a product is cut. All of it follows from the sizes and flags. */
typedef struct {
    const qn_gemm *gemm;
    const qn_tile_kernels *kernels;
    int64_t block_m, block_k, panels, panels_per_block;
    int64_t blocks_m, blocks_n, batches;
    bool copy_a, copy_b, general; /* general: alpha or beta is not 0 or 1 */
    size_t worker_bytes;
    char *scratch;
    int64_t slice,
        slice_k; /* panels x rows of B copied at a time for all blocks; 0 = each block copies its own */
    int64_t slice_first, slice_panels, k_first, k_end; /* those at hand */
    float *shared;                                     /* [panel][k][PANEL_MAX] */
} job;

static bool is_far(int64_t ld)
{
    return ld * (int64_t)sizeof(float) >= FAR_BYTES;
}

static int64_t batch_count(const qn_gemm *g)
{
    int64_t count = 1;
    for (int i = 0; i < g->batch_rank; i++)
        count *= g->batch[i];
    return count;
}

static size_t round_up_64(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

static int64_t divide_up(int64_t total, int64_t each)
{
    return (total + each - 1) / each;
}

/* Blocks of a large product: of all rows that L2 holds beside their part of C, so that a panel of B serves many, and
 * of as many panels as leaves a few blocks for every core. */
static void job_plan_shared(job *j, const qn_gemm *g)
{
    j->copy_b = true;
    j->copy_a = g->trans_a ? is_far(g->lda) : g->lda * (int64_t)sizeof(float) % FAR_COPY_BYTES == 0;
    j->slice_k = qn_min_i64(g->k, SLICE_K);
    j->slice = qn_min_i64(j->panels, SLICE_BYTES / ((int64_t)PANEL_MAX * 4 * j->slice_k));
    j->slice = divide_up(j->panels, divide_up(j->panels, j->slice));
    int64_t rows = SHARED_ROWS, groups = divide_up(j->slice, SHARED_PANELS);
    if (j->copy_a && divide_up(g->m, rows) * groups < SHARED_COPY_CHUNKS)
        rows /= 2; /* lower blocks cost fetches of B, narrower ones more copies of A */
    j->block_m = qn_min_i64(g->m, rows);
    j->block_k = qn_min_i64(g->k, BLOCK_K);
    j->blocks_m = divide_up(g->m, j->block_m);
    groups =
        qn_max_i64(groups, divide_up(j->copy_a ? SHARED_COPY_CHUNKS : SHARED_CHUNKS, j->blocks_m));
    j->panels_per_block = divide_up(j->slice, qn_min_i64(j->slice, groups));
}

static void job_plan(job *j, const qn_gemm *g)
{
    *j = (job){.gemm = g, .kernels = qn_tile_f32(), .batches = batch_count(g)};
    j->general = g->alpha != 1 || (g->beta != 0 && g->beta != 1);
    j->copy_b =
        (g->trans_b && g->k > 0) || (g->m >= COPY_B_ROWS && is_far(g->ldb) && g->n > PANEL_MAX);
    j->copy_a = g->k > 32 && g->n > (int64_t)4 * PANEL_MAX &&
                (g->trans_a ? is_far(g->lda) : is_far(g->lda) && g->lda % 256 == 0);
    bool whole_k = j->general || (!j->copy_a && !j->copy_b && g->k <= (int64_t)4 * BLOCK_K);
    j->block_k = whole_k || g->k < BLOCK_K ? g->k : BLOCK_K;
    j->panels = qn_tile_panels(j->kernels, g->n);
    j->block_m = qn_min_i64(g->m, BLOCK_M);
    if (!j->copy_b) { /* smaller blocks cost nothing then, and give every core some */
        int64_t rows = CHUNK_FLOPS / ((int64_t)2 * PANEL_MAX * (g->k + 1)) / 16 * 16;
        j->block_m = qn_min_i64(j->block_m, qn_max_i64(rows, 16));
    }
    double panel_flops = 2.0 * (double)j->block_m * (double)g->k * (double)g->n / (double)j->panels;
    double wanted = CHUNK_FLOPS / (panel_flops + 1);
    j->panels_per_block = wanted < 1 ? 1 : wanted < (double)j->panels ? (int64_t)wanted : j->panels;
    if (j->copy_a && j->panels_per_block < 6) /* a copy of A must serve several panels */
        j->panels_per_block = j->panels < 6 ? j->panels : 6;
    j->blocks_m = divide_up(g->m, qn_max_i64(j->block_m, 1));
    if (j->blocks_m > 1) /* of equal height, in whole tiles */
        j->block_m = divide_up(divide_up(g->m, j->blocks_m), 8) * 8;
    double flops = 2.0 * (double)g->m * (double)g->n * (double)g->k;
    if (!j->general && j->batches == 1 && flops >= SHARED_FLOPS && g->m >= SHARED_ROWS &&
        g->n > PANEL_MAX)
        job_plan_shared(j, g);
    j->blocks_n = (j->panels + j->panels_per_block - 1) / j->panels_per_block;
    size_t floats = 0;
    if (j->copy_a)
        floats += (size_t)(j->block_m * j->block_k);
    if (j->copy_b && !j->slice)
        floats += (size_t)(PANEL_MAX * j->block_k);
    if (j->general)
        floats += (size_t)(PANEL_MAX * j->block_m);
    j->worker_bytes = round_up_64(floats * sizeof(float));
}

static size_t shared_bytes(const job *j)
{
    return round_up_64((size_t)(j->slice * j->slice_k) * PANEL_MAX * sizeof(float));
}

size_t qn_gemm_f32_scratch_bytes(const qn_gemm *gemm, int threads)
{
    if (gemm->m <= 0 || gemm->n <= 0)
        return 0;
    job j;
    job_plan(&j, gemm);
    return shared_bytes(&j) + j.worker_bytes * (size_t)threads;
}

/* One block's work: what job_block has chosen for its strips. */
typedef struct {
    const job *j;
    const float *a, *b;
    float *c;
    int64_t row, rows; /* of C */
    float *copy_a, *copy_b, *sum;
    int64_t row_offset[ROWS_MAX];
    int64_t step;
    int64_t panel_first, panel_end;
} block;

/* Copies rows [row, rows) x [k, depth) of op(A) as they lie, and points the row table at the copy.
 */
static const float *block_take_a(block *w, int64_t k, int64_t depth)
{
    const qn_gemm *g = w->j->gemm;
    const float *src = g->trans_a ? w->a + k * g->lda + w->row : w->a + w->row * g->lda + k;
    w->step = g->trans_a ? (w->copy_a ? w->rows : g->lda) : 1;
    int64_t pitch = g->trans_a ? 1 : w->copy_a ? depth : g->lda;
    for (int64_t i = 0; i < w->rows; i++)
        w->row_offset[i] = i * pitch;
    if (!w->copy_a)
        return src;
    int64_t lines = g->trans_a ? depth : w->rows, width = g->trans_a ? w->rows : depth;
    for (int64_t i = 0; i < lines; i++)
        memcpy(w->copy_a + i * width, src + i * g->lda, (size_t)width * sizeof(float));
    return w->copy_a;
}

/* One row of a panel; the common widths are known to the compiler. */
static void copy_row(float *dst, const float *src, int64_t cols)
{
    switch (cols) {
    case 48:
        memcpy(dst, src, 48 * sizeof *dst);
        break;
    case 32:
        memcpy(dst, src, 32 * sizeof *dst);
        break;
    case 16:
        memcpy(dst, src, 16 * sizeof *dst);
        break;
    default:
        memcpy(dst, src, (size_t)cols * sizeof *dst);
    }
}

static const float *block_take_b(const block *w, int64_t k, int64_t depth, int64_t col,
                                 int64_t cols, int64_t *ret_ldb)
{
    const qn_gemm *g = w->j->gemm;
    if (!w->copy_b) {
        *ret_ldb = g->ldb;
        return w->b + k * g->ldb + col;
    }
    *ret_ldb = PANEL_MAX;
    if (g->trans_b) {
        w->j->kernels->transpose(w->copy_b, PANEL_MAX, w->b + col * g->ldb + k, g->ldb, depth,
                                 cols);
        return w->copy_b;
    }
    const float *src = w->b + k * g->ldb + col;
    for (int64_t i = 0; i < depth; i++)
        copy_row(w->copy_b + i * PANEL_MAX, src + i * g->ldb, cols);
    return w->copy_b;
}

/* C = alpha * sum + beta * C + bias, the rare case. */
static void block_combine(const block *w, int64_t col, int64_t cols)
{
    const qn_gemm *g = w->j->gemm;
    for (int64_t i = 0; i < w->rows; i++) {
        float *c = w->c + i * g->ldc + col;
        const float *sum = w->sum + i * PANEL_MAX;
        for (int64_t j = 0; j < cols; j++) {
            float x = g->alpha * sum[j];
            if (g->beta != 0)
                x += g->beta * c[j];
            c[j] = g->bias ? x + g->bias[col + j] : x;
        }
    }
}

/* Fetches a part of the block's A that follows at k, so that it comes while all panels are multiplied. */
static void block_fetch_a(const block *w, int64_t k, int64_t panel)
{
    const qn_gemm *g = w->j->gemm;
    int64_t depth = qn_min_i64(w->j->block_k, w->j->k_end - k);
    int64_t lines = g->trans_a ? depth : w->rows, width = g->trans_a ? w->rows : depth;
    int64_t panels = w->panel_end - w->panel_first, part = panel - w->panel_first;
    const float *src = g->trans_a ? w->a + k * g->lda + w->row : w->a + w->row * g->lda + k;
    for (int64_t i = lines * part / panels; depth > 0 && i < lines * (part + 1) / panels; i++)
        for (int64_t at = 0; at < width; at += 16)
            __builtin_prefetch(src + i * g->lda + at, 0, 2);
}

static void block_panel(block *w, const float *a, int64_t k, int64_t depth, int64_t panel)
{
    static const int64_t origin[1] = {0};
    const qn_gemm *g = w->j->gemm;
    const qn_tile_kernels *kernels = w->j->kernels;
    int64_t col = qn_tile_panel_start(kernels, g->n, panel);
    int64_t cols = qn_tile_panel_start(kernels, g->n, panel + 1) - col;
    bool last = k + depth == g->k, general = w->j->general;
    qn_strip s = {.rows = w->rows,
                  .cols = (int)cols,
                  .a = a,
                  .row = w->row_offset,
                  .seg = origin,
                  .segs = 1,
                  .seg_len = depth,
                  .step = w->step,
                  .c = w->c + col,
                  .ldc = g->ldc,
                  .add = k > 0 || g->beta != 0};
    if (w->j->slice) {
        s.b = w->j->shared +
              ((panel - w->j->slice_first) * w->j->slice_k + k - w->j->k_first) * PANEL_MAX;
        s.ldb = PANEL_MAX;
        block_fetch_a(w, k + depth, panel);
    } else {
        s.b = block_take_b(w, k, depth, col, cols, &s.ldb);
    }
    if (general) {
        s.c = w->sum;
        s.ldc = PANEL_MAX;
        s.add = false;
    } else if (last) {
        s.bias = g->bias ? g->bias + col : NULL;
        s.relu = g->act == QN_ACT_RELU;
    }
    kernels->strip(&s);
    if (general)
        block_combine(w, col, cols);
    if (last && g->act != QN_ACT_NONE && (general || g->act != QN_ACT_RELU))
        kernels->activate(w->c + col, g->ldc, w->rows, cols, g->act, g->slope);
}

static void job_block(void *context, int64_t chunk, int worker)
{
    const job *j = context;
    const qn_gemm *g = j->gemm;
    int64_t in_batch = chunk % (j->blocks_m * j->blocks_n),
            batch = chunk / (j->blocks_m * j->blocks_n);
    block w = {.j = j, .a = g->a, .b = g->b, .c = g->c};
    for (int i = g->batch_rank - 1; i >= 0; batch /= g->batch[i], i--) {
        int64_t step = batch % g->batch[i];
        w.a += step * g->batch_a[i];
        w.b += step * g->batch_b[i];
        w.c += step * g->batch_c[i];
    }
    w.row = in_batch / j->blocks_n * j->block_m;
    w.rows = qn_min_i64(j->block_m, g->m - w.row);
    w.c += w.row * g->ldc;
    size_t at = (size_t)worker * j->worker_bytes;
    float *scratch = j->worker_bytes ? (float *)(void *)(j->scratch + at) : NULL;
    if (j->copy_a) {
        w.copy_a = scratch;
        scratch += j->block_m * j->block_k;
    }
    if (j->copy_b && !j->slice) {
        w.copy_b = scratch;
        scratch += PANEL_MAX * j->block_k;
    }
    w.sum = j->general ? scratch : NULL;
    int64_t first = j->slice_first + in_batch % j->blocks_n * j->panels_per_block;
    int64_t end = qn_min_i64(first + j->panels_per_block, j->slice_first + j->slice_panels);
    int64_t k = j->k_first;
    do {
        int64_t depth = qn_min_i64(j->block_k, j->k_end - k);
        const float *a = block_take_a(&w, k, depth);
        w.panel_first = first;
        w.panel_end = end;
        for (int64_t panel = first; panel < end; panel++)
            block_panel(&w, a, k, depth, panel);
        k += depth;
    } while (k < j->k_end);
}

/* Rows [k, k + PACK_ROWS) of the slice, or one panel's BLOCK_K of them where B is transposed. */
static void pack_chunk(void *context, int64_t chunk, int worker)
{
    const job *j = context;
    const qn_gemm *g = j->gemm;
    (void)worker;
    int64_t first = 0, end = j->slice_panels, step = g->trans_b ? BLOCK_K : PACK_ROWS;
    if (g->trans_b) {
        first = chunk % j->slice_panels;
        end = first + 1;
        chunk /= j->slice_panels;
    }
    int64_t k = j->k_first + chunk * step, depth = qn_min_i64(step, j->k_end - k);
    for (int64_t panel = first; panel < end; panel++) {
        int64_t col = qn_tile_panel_start(j->kernels, g->n, j->slice_first + panel);
        int64_t cols = qn_tile_panel_start(j->kernels, g->n, j->slice_first + panel + 1) - col;
        float *dst = j->shared + (panel * j->slice_k + k - j->k_first) * PANEL_MAX;
        if (g->trans_b)
            j->kernels->transpose(dst, PANEL_MAX, g->b + col * g->ldb + k, g->ldb, depth, cols);
        for (int64_t i = 0; !g->trans_b && i < depth; i++)
            copy_row(dst + i * PANEL_MAX, g->b + (k + i) * g->ldb + col, cols);
    }
}

/* All threads copy the slice at hand, then all compute with it. */
static void run_slice(qn_pool *pool, job *j)
{
    const qn_gemm *g = j->gemm;
    int64_t step = g->trans_b ? BLOCK_K : PACK_ROWS;
    int64_t packs = (j->k_end - j->k_first + step - 1) / step;
    qn_pool_run(pool, pack_chunk, j, g->trans_b ? packs * j->slice_panels : packs);
    j->blocks_n = (j->slice_panels + j->panels_per_block - 1) / j->panels_per_block;
    qn_pool_run(pool, job_block, j, j->blocks_m * j->blocks_n);
}

static void run_slices(qn_pool *pool, job *j)
{
    for (; j->slice_first < j->panels; j->slice_first += j->slice) {
        j->slice_panels = qn_min_i64(j->slice, j->panels - j->slice_first);
        for (j->k_first = 0; j->k_first < j->gemm->k; j->k_first = j->k_end) {
            j->k_end = qn_min_i64(j->k_first + j->slice_k, j->gemm->k);
            run_slice(pool, j);
        }
    }
}

void qn_gemm_f32(qn_pool *pool, const qn_gemm *gemm, void *scratch)
{
    if (gemm->m <= 0 || gemm->n <= 0)
        return;
    job j;
    job_plan(&j, gemm);
    j.shared = scratch;
    j.scratch = scratch ? (char *)scratch + shared_bytes(&j) : NULL;
    if (j.slice) {
        run_slices(pool, &j);
        return;
    }
    j.slice_panels = j.panels;
    j.k_end = gemm->k;
    int64_t chunks = j.batches * j.blocks_m * j.blocks_n;
    double flops = 2.0 * (double)gemm->m * (double)gemm->n * (double)gemm->k * (double)j.batches;
    qn_pool_run(flops < SERIAL_FLOPS ? NULL : pool, job_block, &j, chunks);
}
