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
 * A large product has long panels, so that C is read and written seldom, and every worker copies what it reads of B itself:
 *
 *      chunk = (group of panels, block of rows), rows running fastest; a worker keeps its copy of a group, [panel][k][48],
 *      in L2 until a chunk of another group comes its way
 *
 * With two threads each copies about half of B, and nothing but A is read by both: lines that one core wrote and
 * another reads cost several times what a copy does.
 */
#include "kernel/gemm/gemm.h"

#include <stdatomic.h>
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
    LINE = 16,      /* floats of a cache line */
    LINE_COLS = 64, /* of a product of one row: what a thread reads of each row of B */
    LINES_MAX =
        1 << 20, /* numbers of B worth an order of their own: beyond 4 MiB no core keeps its part */
    LINE_SERIAL = 1 << 17 /* numbers of B: 5 us from the second cache */
};

/* Of large products, where B is worth a copy that stays. */
enum {
    LARGE_FLOPS = 128 << 20, /* a quarter of a millisecond on two cores */
    LARGE_TURNED_FLOPS =
        16 << 20,       /* where B is transposed: smaller ones would do so for each block */
    LARGE_ROWS = 128,   /* fewer do not pay for a copy */
    LARGE_BLOCK_M = 24, /* whole tiles of every height, and no long wait for the last chunk */
    LARGE_K = 1024,     /* of a pass; each costs a tile some 100 cycles beside 12 for each k */
    TRANS_K = 512,      /* where A is read down its columns, and L2 keeps those for the next rows */
    FAR_COLUMN_BYTES = 4096, /* but columns so far apart fall on each other there: A is copied */
    COPY_A_K = 384, /* by each worker, where groups of panels are wide, being shallow, ... */
    COPY_A_M = 96,  /* in pieces of so many rows; ... */
    SHARED_BYTES = 8 << 20,  /* else once for all threads, so much at a time, ... */
    SHARED_ROWS = 8,         /* by tiles */
    GROUP_BYTES = 576 << 10, /* of a copied group, of 1 MiB of L2: three panels of LARGE_K */
    GROUP_ROWS = 1024, /* of C: with fewer, two threads should hardly copy the same panels, ... */
    GROUPS_MIN = 4,    /* so that many groups are better, or else two */
    PACK_ROWS =
        8 /* of A or B, copied together: rows a page apart meet in L1, which keeps so many */
};

/* How a product is cut. All of it follows from the sizes and flags. */
typedef struct {
    const qn_gemm *gemm;
    const qn_tile_kernels *kernels;
    int64_t block_m, block_k, panels, panels_per_block;
    int64_t pitch; /* of a copied panel's rows */
    int64_t blocks_m, blocks_n, batches;
    bool copy_a, copy_b, general; /* general: alpha or beta is not 0 or 1 */
    bool share_a;                 /* all threads copy A of a pass for each other */
    bool down_first; /* chunks run down the rows: a core reads a part of B, else a part of A */
    bool large;      /* and the worker keeps its copy of a group of panels of B */
    size_t worker_bytes;
    float *shared_a; /* [tile][k][SHARED_ROWS] */
    char *scratch;
    int64_t k_first, k_end; /* the pass at hand; several where the product is large and k long */
} job;

/* A worker's copy of a group's panels, [panel][k][pitch], at the start of its scratch. */
typedef struct {
    _Alignas(64) int64_t group, k; /* that it holds; group -1 = none yet */
    _Alignas(64) float b[];
} group_copy;

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

/* A pass over k, and as many panels to a group as L2 holds a pass of. */
static void job_plan_large(job *j, const qn_gemm *g)
{
    const int64_t line = g->m * (int64_t)sizeof(float); /* bytes of A for one k */
    bool far = g->trans_a && g->lda * (int64_t)sizeof(float) >= FAR_COLUMN_BYTES;
    j->large = j->down_first = j->copy_b = true;
    j->share_a = far && g->k > COPY_A_K && line * BLOCK_K <= SHARED_BYTES;
    j->copy_a = far && !j->share_a;
    int64_t depth = j->share_a   ? qn_min_i64(LARGE_K, SHARED_BYTES / line)
                    : j->copy_a  ? COPY_A_K
                    : g->trans_a ? TRANS_K
                                 : LARGE_K;
    j->block_k = divide_up(g->k, divide_up(g->k, depth));
    j->block_m = qn_min_i64(g->m, j->copy_a ? COPY_A_M : LARGE_BLOCK_M);
    j->blocks_m = divide_up(g->m, j->block_m);
    int64_t most = GROUP_BYTES / (j->block_k * j->pitch * (int64_t)sizeof(float));
    int64_t groups = divide_up(j->panels, most);
    if (g->m < GROUP_ROWS)
        groups = qn_max_i64(groups, j->panels / 2 < GROUPS_MIN ? 2 : GROUPS_MIN);
    j->panels_per_block = divide_up(j->panels, groups);
}

/* Of a worker's copy of B: one panel, or those of a group. */
static int64_t group_floats(const job *j)
{
    return j->pitch * j->block_k * (j->large ? j->panels_per_block : 1);
}

static void job_plan(job *j, const qn_gemm *g)
{
    *j = (job){.gemm = g, .kernels = qn_tile_f32(), .batches = batch_count(g)};
    j->pitch = (int64_t)j->kernels->lanes * j->kernels->vecs_max;
    j->general = g->alpha != 1 || (g->beta != 0 && g->beta != 1);
    j->copy_b =
        (g->trans_b && g->k > 0) || (g->m >= COPY_B_ROWS && is_far(g->ldb) && g->n > PANEL_MAX);
    j->copy_a = g->k > 32 && g->n > (int64_t)4 * PANEL_MAX &&
                (g->trans_a ? is_far(g->lda) : is_far(g->lda) && g->lda % 256 == 0);
    bool whole_k = j->general || (!j->copy_a && !j->copy_b && g->k <= (int64_t)4 * BLOCK_K);
    j->block_k = whole_k || g->k < BLOCK_K ? g->k : BLOCK_K;
    j->panels = qn_tile_panels(j->kernels, g->n);
    j->block_m = qn_min_i64(g->m, BLOCK_M);
    j->down_first = g->n > g->m; /* B is the larger one */
    if (!j->copy_b) {            /* smaller blocks cost nothing then, and give every core some */
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
    bool large = flops >= (g->trans_b ? LARGE_TURNED_FLOPS : LARGE_FLOPS);
    if (!j->general && j->batches == 1 && large && g->m >= LARGE_ROWS && g->n > PANEL_MAX)
        job_plan_large(j, g);
    j->blocks_n = (j->panels + j->panels_per_block - 1) / j->panels_per_block;
    size_t floats = 0;
    if (j->copy_a)
        floats += (size_t)(j->block_m * j->block_k);
    if (j->copy_b)
        floats += (size_t)group_floats(j);
    if (j->general)
        floats += (size_t)(j->pitch * j->block_m);
    j->worker_bytes = round_up_64(floats * sizeof(float) + (j->large ? sizeof(group_copy) : 0));
}

/* A of a pass as [tile][k][SHARED_ROWS]. */
static size_t shared_bytes(const job *j)
{
    int64_t rows = divide_up(j->gemm->m, SHARED_ROWS) * SHARED_ROWS;
    return j->share_a ? round_up_64((size_t)(rows * j->block_k) * sizeof(float)) : 0;
}

/* A product of one row reads each number of B once: it is cut by columns, always alike, so that the cores' own caches
 * keep what each reads. */
static bool is_line(const qn_gemm *g)
{
    return g->m == 1 && (!g->trans_b || g->lines) && g->batch_rank == 0 && g->alpha == 1 &&
           (g->beta == 0 || g->beta == 1);
}

size_t qn_gemm_lines_bytes(const qn_gemm *gemm)
{
    qn_gemm g = *gemm;
    g.trans_b = false;
    double count = (double)g.k * (double)g.n;
    bool worth = is_line(&g) && g.n > LINE_COLS && count >= LINE_SERIAL && count <= LINES_MAX;
    return worth ? (size_t)(g.k * g.n) * sizeof(float) : 0;
}

void qn_gemm_lines_pack(const qn_gemm *g, float *dst)
{
    for (int64_t col = 0; col < g->n; col += LINE_COLS) {
        int64_t cols = qn_min_i64(LINE_COLS, g->n - col);
        float *to = dst + col * g->k;
        if (g->trans_b)
            qn_tile_f32()->transpose(to, cols, g->b + col * g->ldb, g->ldb, g->k, cols);
        for (int64_t k = 0; k < g->k && !g->trans_b; k++)
            memcpy(to + k * cols, g->b + k * g->ldb + col, (size_t)cols * sizeof *to);
    }
}

static void line_chunk(void *context, int64_t chunk, int worker)
{
    static const int64_t origin[1] = {0};
    const qn_gemm *g = context;
    const qn_tile_kernels *kernels = qn_tile_f32();
    int64_t col = chunk * LINE_COLS, cols = qn_min_i64(LINE_COLS, g->n - col);
    (void)worker;
    qn_strip s = {.rows = 1,
                  .cols = (int)cols,
                  .a = g->a,
                  .row = origin,
                  .seg = origin,
                  .segs = 1,
                  .seg_len = g->k,
                  .step = g->trans_a ? g->lda : 1,
                  .b = g->lines ? g->lines + col * g->k : g->b + col,
                  .ldb = g->lines ? cols : g->ldb,
                  .c = g->c + col,
                  .ldc = g->ldc,
                  .add = g->beta != 0,
                  .bias = g->bias ? g->bias + col : NULL,
                  .relu = g->act == QN_ACT_RELU};
    kernels->line(&s);
    if (g->act != QN_ACT_NONE && g->act != QN_ACT_RELU)
        kernels->activate(s.c, g->ldc, 1, cols, g->act, g->slope);
}

static void run_line(qn_pool *pool, const qn_gemm *gemm)
{
    qn_gemm g = *gemm;
    bool serial = (double)g.n * (double)g.k < LINE_SERIAL;
    qn_pool_run(serial ? NULL : pool, line_chunk, &g, divide_up(g.n, LINE_COLS));
}

size_t qn_gemm_f32_scratch_bytes(const qn_gemm *gemm, int threads)
{
    if (gemm->m <= 0 || gemm->n <= 0 || is_line(gemm))
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
    int64_t panel_first, panel_end;
    float *copy_a, *copy_b, *sum;
    group_copy *group; /* NULL where B is not kept */
    int64_t k, depth;  /* of the sums at hand */
    const float *part_a;
    int64_t row_offset[ROWS_MAX]; /* from part_a */
    int64_t step;
} block;

/* Points at rows [row, rows) x [k, depth) of op(A), copied as they lie where that is wanted. */
static void block_take_a(block *w)
{
    const qn_gemm *g = w->j->gemm;
    const float *src = g->trans_a ? w->a + w->k * g->lda + w->row : w->a + w->row * g->lda + w->k;
    if (w->j->share_a) {
        w->part_a = w->j->shared_a + w->row * w->depth;
        w->step = SHARED_ROWS;
        for (int64_t i = 0; i < w->rows; i++)
            w->row_offset[i] = i / SHARED_ROWS * SHARED_ROWS * w->depth + i % SHARED_ROWS;
        return;
    }
    w->step = g->trans_a ? (w->copy_a ? w->rows : g->lda) : 1;
    int64_t pitch = g->trans_a ? 1 : w->copy_a ? w->depth : g->lda;
    for (int64_t i = 0; i < w->rows; i++)
        w->row_offset[i] = i * pitch;
    w->part_a = w->copy_a ? w->copy_a : src;
    if (!w->copy_a)
        return;
    int64_t lines = g->trans_a ? w->depth : w->rows, width = g->trans_a ? w->rows : w->depth;
    for (int64_t i = 0; i < lines; i++)
        memcpy(w->copy_a + i * width, src + i * g->lda, (size_t)width * sizeof(float));
}

/* One row of a panel or of a tile; the common widths are known to the compiler. */
static void copy_row(float *dst, const float *src, int64_t cols)
{
    switch (cols) {
    case 48:
        memcpy(dst, src, 48 * sizeof *dst);
        break;
    case SHARED_ROWS:
        memcpy(dst, src, SHARED_ROWS * sizeof *dst);
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

static int64_t panel_start(const block *w, int64_t panel)
{
    return qn_tile_panel_start(w->j->kernels, w->j->gemm->n, panel);
}

/* Rows [k, k + depth) of op(B) in a panel's columns, as [depth][pitch]. */
static void copy_panel(float *dst, const block *w, int64_t k, int64_t depth, int64_t panel)
{
    const qn_gemm *g = w->j->gemm;
    int64_t col = panel_start(w, panel), cols = panel_start(w, panel + 1) - col;
    if (g->trans_b)
        w->j->kernels->transpose(dst, w->j->pitch, w->b + col * g->ldb + k, g->ldb, depth, cols);
    else
        for (int64_t i = 0; i < depth; i++)
            copy_row(dst + i * w->j->pitch, w->b + (k + i) * g->ldb + col, cols);
}

/* Where the worker holds the panels of another group or pass, it copies those of this one. */
static void block_take_group(block *w)
{
    group_copy *copy = w->group;
    if (copy->group == w->panel_first && copy->k == w->k)
        return;
    copy->group = w->panel_first;
    copy->k = w->k;
    int64_t step = w->j->gemm->trans_b ? w->depth : PACK_ROWS;
    for (int64_t i = 0; i < w->depth; i += step)
        for (int64_t panel = w->panel_first; panel < w->panel_end; panel++)
            copy_panel(copy->b + ((panel - w->panel_first) * w->depth + i) * w->j->pitch, w,
                       w->k + i, qn_min_i64(step, w->depth - i), panel);
}

/* C = alpha * sum + beta * C + bias, the rare case. */
static void block_combine(const block *w, int64_t col, int64_t cols)
{
    const qn_gemm *g = w->j->gemm;
    for (int64_t i = 0; i < w->rows; i++) {
        float *c = w->c + i * g->ldc + col;
        const float *sum = w->sum + i * w->j->pitch;
        for (int64_t j = 0; j < cols; j++) {
            float x = g->alpha * sum[j];
            if (g->beta != 0)
                x += g->beta * c[j];
            c[j] = g->bias ? x + g->bias[col + j] : x;
        }
    }
}

/* C of the chunk that most often follows, or of this one again. */
static const float *next_chunk(const block *w)
{
    const qn_gemm *g = w->j->gemm;
    bool across = !w->j->down_first && w->panel_end < w->j->panels;
    if (across)
        return w->c + panel_start(w, w->panel_end);
    bool more = w->row + 2 * w->rows <= g->m;
    return w->c + (more ? w->rows * g->ldc : 0) +
           panel_start(w, w->j->down_first ? w->panel_first : 0);
}

/* The block's rows in one panel, whose B lies at b. */
static void block_strip(const block *w, int64_t panel, const float *b, int64_t ldb)
{
    static const int64_t origin[1] = {0};
    const qn_gemm *g = w->j->gemm;
    const qn_tile_kernels *kernels = w->j->kernels;
    int64_t col = panel_start(w, panel), cols = panel_start(w, panel + 1) - col;
    float *c = w->c + col;
    bool last = w->k + w->depth == g->k, general = w->j->general;
    qn_strip s = {.rows = w->rows,
                  .cols = (int)cols,
                  .a = w->part_a,
                  .row = w->row_offset,
                  .seg = origin,
                  .segs = 1,
                  .seg_len = w->depth,
                  .step = w->step,
                  .far = w->step >= g->lda && g->trans_a,
                  .b = b,
                  .ldb = ldb,
                  .c = c,
                  .ldc = g->ldc,
                  .add = w->k > 0 || g->beta != 0,
                  .next = panel + 1 < w->panel_end ? c + cols : next_chunk(w)};
    if (general) {
        s.c = w->sum;
        s.ldc = w->j->pitch;
        s.add = false;
        s.next = NULL;
    } else if (last) {
        s.bias = g->bias ? g->bias + col : NULL;
        s.relu = g->act == QN_ACT_RELU;
    }
    kernels->strip(&s);
    if (general)
        block_combine(w, col, cols);
    if (last && g->act != QN_ACT_NONE && (general || g->act != QN_ACT_RELU))
        kernels->activate(c, g->ldc, w->rows, cols, g->act, g->slope);
}

/* Each panel of B is near or comes near once, and all rows pass over it. */
static void block_multiply(block *w)
{
    const qn_gemm *g = w->j->gemm;
    int64_t pitch = w->j->pitch;
    block_take_a(w);
    if (w->group)
        block_take_group(w);
    for (int64_t panel = w->panel_first; panel < w->panel_end; panel++) {
        if (w->group) {
            int64_t at = (panel - w->panel_first) * w->depth * pitch;
            block_strip(w, panel, w->group->b + at, pitch);
        } else if (w->copy_b) {
            copy_panel(w->copy_b, w, w->k, w->depth, panel);
            block_strip(w, panel, w->copy_b, pitch);
        } else {
            block_strip(w, panel, w->b + w->k * g->ldb + panel_start(w, panel), g->ldb);
        }
    }
}

/* The block that a chunk stands for. */
static void block_find(block *w, const job *j, int64_t chunk)
{
    const qn_gemm *g = j->gemm;
    int64_t in_batch = chunk % (j->blocks_m * j->blocks_n);
    int64_t batch = chunk / (j->blocks_m * j->blocks_n);
    for (int i = g->batch_rank - 1; i >= 0; batch /= g->batch[i], i--) {
        int64_t step = batch % g->batch[i];
        w->a += step * g->batch_a[i];
        w->b += step * g->batch_b[i];
        w->c += step * g->batch_c[i];
    }
    int64_t down = j->down_first ? in_batch % j->blocks_m : in_batch / j->blocks_n;
    int64_t across = j->down_first ? in_batch / j->blocks_m : in_batch % j->blocks_n;
    w->row = down * j->block_m;
    w->rows = qn_min_i64(j->block_m, g->m - w->row);
    w->c += w->row * g->ldc;
    w->panel_first = across * j->panels_per_block;
    w->panel_end = qn_min_i64(w->panel_first + j->panels_per_block, j->panels);
}

static void *worker_scratch(const job *j, int worker)
{
    return j->worker_bytes ? j->scratch + (size_t)worker * j->worker_bytes : NULL;
}

static void job_block(void *context, int64_t chunk, int worker)
{
    const job *j = context;
    block w = {.j = j, .a = j->gemm->a, .b = j->gemm->b, .c = j->gemm->c};
    block_find(&w, j, chunk);
    float *scratch = worker_scratch(j, worker);
    if (j->large) {
        w.group = worker_scratch(j, worker);
        scratch = w.group->b;
    } else if (j->copy_b) {
        w.copy_b = scratch;
    }
    scratch = j->copy_b ? scratch + group_floats(j) : scratch;
    if (j->copy_a) {
        w.copy_a = scratch;
        scratch += j->block_m * j->block_k;
    }
    w.sum = j->general ? scratch : NULL;
    w.k = j->k_first;
    do {
        w.depth = qn_min_i64(j->block_k, j->k_end - w.k);
        block_multiply(&w);
        w.k += w.depth;
    } while (w.k < j->k_end);
}

/* Rows [k, k + PACK_ROWS) of the pass, of all tiles; a line of the cache has numbers of two. */
static void share_a_chunk(void *context, int64_t chunk, int worker)
{
    const job *j = context;
    const qn_gemm *g = j->gemm;
    (void)worker;
    int64_t depth = j->k_end - j->k_first, first = chunk * PACK_ROWS;
    int64_t end = qn_min_i64(first + PACK_ROWS, depth);
    for (int64_t line = 0; line < g->m; line += LINE) {
        int64_t line_end = qn_min_i64(line + LINE, g->m);
        for (int64_t k = first; k < end; k++)
            for (int64_t row = line; row < line_end; row += SHARED_ROWS)
                copy_row(j->shared_a + row * depth + k * SHARED_ROWS,
                         g->a + (j->k_first + k) * g->lda + row,
                         qn_min_i64(SHARED_ROWS, g->m - row));
    }
}

static void run_large(qn_pool *pool, job *j)
{
    for (int i = 0; i < qn_pool_threads(pool); i++)
        ((group_copy *)worker_scratch(j, i))->group = -1;
    for (j->k_first = 0; j->k_first < j->gemm->k; j->k_first = j->k_end) {
        j->k_end = qn_min_i64(j->k_first + j->block_k, j->gemm->k);
        if (j->share_a)
            qn_pool_run(pool, share_a_chunk, j, divide_up(j->k_end - j->k_first, PACK_ROWS));
        qn_pool_run(pool, job_block, j, j->blocks_m * j->blocks_n);
    }
}

/*
 * Few rows and weights that an optimiser writes between two products: a core would wait for every line that the other
 * wrote. So the first half of k is for the cores that own the first half of the rows of B, as in the gradient and
 * in the optimiser, and the second half, which goes on with the first one's sums, for the others:
 *
 *      chunks     first halves of items 0, 1, ...     second halves of items 0, 1, ...       an item is a tile's rows x a panel
 *
 * A second half waits a while for its first, and then does it, so nothing stands still where a thread does.
 */
enum { RELAY_ROWS = 8, RELAY_ITEMS = 64, RELAY_K = 256, RELAY_SPINS = 100 };
enum { ITEM_NEW, ITEM_BEGUN, ITEM_DONE };
typedef struct {
    job half[2];
    int64_t items;
    _Atomic unsigned char state[RELAY_ITEMS];
} relay;

static void relay_begin(relay *r, int64_t item, int worker)
{
    unsigned char state = ITEM_NEW;
    if (!atomic_compare_exchange_strong(&r->state[item], &state, ITEM_BEGUN))
        return;
    job_block(&r->half[0], item, worker);
    atomic_store_explicit(&r->state[item], ITEM_DONE, memory_order_release);
}

static void relay_chunk(void *context, int64_t chunk, int worker)
{
    relay *r = context;
    int64_t item = chunk % r->items, spins = 0;
    if (chunk < r->items) {
        relay_begin(r, item, worker);
        return;
    }
    while (atomic_load_explicit(&r->state[item], memory_order_acquire) != ITEM_DONE) {
        if (++spins % RELAY_SPINS == 0)
            relay_begin(r, item, worker);
        qn_pool_pause(spins / RELAY_SPINS);
    }
    job_block(&r->half[1], item, worker);
}

static bool is_relay(const job *j)
{
    const qn_gemm *g = j->gemm;
    int64_t items = divide_up(g->m, RELAY_ROWS) * j->panels;
    bool plain = !j->general && !j->large && !j->copy_a && !j->copy_b && !g->trans_a;
    return plain && j->batches == 1 && g->k >= RELAY_K && g->k >= 4 * g->m && items <= RELAY_ITEMS;
}

static void run_relay(qn_pool *pool, const job *whole)
{
    relay r = {.half = {*whole, *whole}};
    int64_t middle = whole->gemm->k / 2;
    for (int i = 0; i < 2; i++) {
        job *j = &r.half[i];
        j->block_m = RELAY_ROWS;
        j->blocks_m = divide_up(j->gemm->m, RELAY_ROWS);
        j->panels_per_block = 1;
        j->blocks_n = j->panels;
        j->block_k = j->gemm->k;
        j->k_first = i * middle;
        j->k_end = i == 0 ? middle : j->gemm->k;
    }
    r.items = r.half[0].blocks_m * r.half[0].blocks_n;
    qn_pool_run(pool, relay_chunk, &r, 2 * r.items);
}

void qn_gemm_f32(qn_pool *pool, const qn_gemm *gemm, void *scratch)
{
    if (gemm->m <= 0 || gemm->n <= 0)
        return;
    if (is_line(gemm)) {
        run_line(pool, gemm);
        return;
    }
    job j;
    job_plan(&j, gemm);
    j.shared_a = scratch;
    j.scratch = scratch ? (char *)scratch + shared_bytes(&j) : NULL;
    if (j.large) {
        run_large(pool, &j);
        return;
    }
    j.k_end = gemm->k;
    int64_t chunks = j.batches * j.blocks_m * j.blocks_n;
    double flops = 2.0 * (double)gemm->m * (double)gemm->n * (double)gemm->k * (double)j.batches;
    bool serial = flops < SERIAL_FLOPS;
    if (!serial && qn_pool_threads(pool) > 1 && is_relay(&j))
        run_relay(pool, &j);
    else
        qn_pool_run(serial ? NULL : pool, job_block, &j, chunks);
}
