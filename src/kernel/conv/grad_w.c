/*
 * The gradient of a convolution to its weights:
 *   dW[i, j, c, o] = sum over images and output pixels of x[pixel moved by tap (i, j), c] * dy[pixel, o].
 * A strip has one row per (i, j, c), whose source walks over the pixels of x, and B is dy itself. The batch is cut into
 * parts fixed by the shape; each part sums its own copy of dW and the copies are added in order.
 */
#include <string.h>

#include "base/checked.h"
#include "kernel/conv/conv_priv.h"
#include "kernel/conv/winograd.h"
#include "kernel/reduce/reduce_table.h"
#include "kernel/split.h"

enum {
    BLOCK_PIXELS = 128, /* x and dy of a block together fit L1 */
    PARTS_MAX = 8,
    PARTS_BYTES = 16 << 20, /* of all copies together */
    PART_FLOPS = 2 << 20,   /* a smaller part is not worth its copy */
    JOIN_GRAIN = 16384
};

typedef struct {
    qn_conv2d whole;
    const qn_conv2d *c; /* that */
    const qn_conv2d_grad_w *io;
    const qn_tile_kernels *tile;
    const qn_conv_kernels *conv;
    const qn_reduce_kernels *reduce;
    qn_plane plane;
    bool depthwise;
    int64_t block_rows,
        rows; /* rows: of the strip, kh * kw * (cin / groups), or kh * kw when depthwise */
    int64_t *row, *seg;
    int64_t slice;         /* floats of dW that one tap of the depth has */
    int64_t items, splits; /* panels of output channels, and into how many parts they go */
    int64_t parts, size,
        stride; /* copies, floats of dW, floats of a copy (dW, then dbias, then a row of sums) */
    float *copies, *pad, *room;
    int64_t pad_floats, room_floats;
} job;

static void job_tables(job *j)
{
    const qn_conv2d *c = j->c;
    int64_t in = j->depthwise ? 1 : c->cin / c->groups;
    for (int64_t i = 0; i < j->rows; i++) {
        int64_t tap = i / in;
        j->row[i] = tap / c->kw * c->dilation_h * j->plane.pitch +
                    tap % c->kw * c->dilation_w * c->cin + i % in;
    }
    for (int64_t r = 0; r < j->block_rows; r++)
        j->seg[r] = r * c->stride_h * j->plane.pitch;
}

/* The batch is cut only as far as the copies of dW allow; what is wanted beyond that comes from cutting channels, which
 * changes no sum. */
static void job_units(job *j)
{
    const qn_conv2d *c = j->c;
    double flops = 2.0 * (double)(c->n * c->od * c->oh * c->ow) * (double)j->size;
    int64_t wanted = qn_min_i64((int64_t)(flops / PART_FLOPS), PARTS_MAX);
    int64_t parts = qn_min_i64(wanted, PARTS_BYTES / (j->stride * (int64_t)sizeof(float)));
    j->parts = qn_max_i64(qn_min_i64(parts, c->n), 1);
    j->items = j->depthwise ? 1 : c->groups * qn_tile_panels(j->tile, c->cout / c->groups);
    j->splits = qn_max_i64(qn_min_i64(wanted / j->parts, j->items), 1);
}

static void job_plan(job *j, const qn_conv2d *conv, const qn_conv2d_grad_w *io, qn_carve *carve,
                     int threads)
{
    *j = (job){.whole = qn_conv2d_with_depth(conv),
               .io = io,
               .tile = io->pairs ? io->pairs : qn_tile_f32(),
               .conv = qn_conv_f32_kernels(),
               .reduce = qn_reduce_f32_kernels()};
    const qn_conv2d *c = j->c = &j->whole;
    int64_t in = c->cin / c->groups;
    j->plane = qn_conv2d_plane(c, io->make != NULL);
    j->depthwise = in == 1 && c->cout == c->groups && c->groups > 1;
    j->rows = c->kh * c->kw * (j->depthwise ? 1 : in);
    j->block_rows = qn_block_rows(c->oh, c->ow, BLOCK_PIXELS, io->row_multiple);
    j->slice = c->kh * c->kw * in * c->cout;
    j->size = c->kd * j->slice;
    j->stride = (j->size + 2 * c->cout + 15) / 16 * 16;
    job_units(j);
    j->pad_floats = j->plane.inside
                        ? 0
                        : (qn_plane_rows(&j->plane, j->block_rows) * j->plane.pitch + 15) / 16 * 16;
    j->room_floats = io->made ? (j->block_rows * c->ow * c->cout + 15) / 16 * 16 : 0;
    j->row = qn_carve_take(carve, (size_t)j->rows * sizeof *j->row);
    j->seg = qn_carve_take(carve, (size_t)j->block_rows * sizeof *j->seg);
    j->copies = qn_carve_take(carve, (size_t)(j->parts * j->stride) * sizeof *j->copies);
    j->pad = qn_carve_take(carve, (size_t)(j->pad_floats * threads) * sizeof *j->pad);
    j->room = qn_carve_take(carve, (size_t)(j->room_floats * threads) * sizeof *j->room);
    if (carve->base)
        job_tables(j);
}

size_t qn_conv2d_grad_w_bytes(const qn_conv2d *conv, const qn_conv2d_grad_w *io, int threads)
{
    job j;
    qn_carve carve = {0};
    job_plan(&j, conv, io, &carve, threads);
    return carve.used;
}

/* Adds one block of rows to a copy: panels [item, end). */
static void block_add(const job *j, float *copy, const float *x, const float *dy, int64_t rows,
                      int64_t item, int64_t end)
{
    const qn_conv2d *c = j->c;
    int64_t in = c->cin / c->groups, out = c->cout / c->groups,
            panels = qn_tile_panels(j->tile, out);
    bool column = c->ow == 1; /* rows of one pixel are one run */
    qn_strip s = {.rows = j->rows,
                  .row = j->row,
                  .seg = j->seg,
                  .segs = column ? 1 : rows,
                  .seg_len = column ? rows : c->ow,
                  .step = column ? c->stride_h * j->plane.pitch : c->stride_w * c->cin,
                  .ldb = c->cout,
                  .ldc = c->cout,
                  .add = true};
    if (j->depthwise) {
        s.cols = (int)c->cout;
        s.a = x;
        s.b = dy;
        s.c = copy;
        j->conv->depthwise(&s);
        return;
    }
    for (int64_t p = item; p < end; p++) {
        int64_t g = p / panels, col = qn_tile_panel_start(j->tile, out, p % panels);
        s.cols = (int)(qn_tile_panel_start(j->tile, out, p % panels + 1) - col);
        s.a = x + g * in;
        s.b = dy + g * out + col;
        s.c = copy + g * out + col;
        j->tile->strip(&s);
    }
}

/* The bias of pairs: a row of C more, whose A is 1 twice at every pixel. */
static void bias_add_pairs(const job *j, float *bias, const float *dy, int64_t pixels)
{
    static const float ones = 0x1.007fp+0F; /* bits 3f80 3f80 */
    static const int64_t origin[1] = {0};
    int64_t cout = j->c->cout, panels = qn_tile_panels(j->tile, cout);
    for (int64_t p = 0; p < panels; p++) {
        int64_t col = qn_tile_panel_start(j->tile, cout, p);
        qn_strip s = {.rows = 1,
                      .cols = (int)(qn_tile_panel_start(j->tile, cout, p + 1) - col),
                      .a = &ones,
                      .row = origin,
                      .seg = origin,
                      .segs = 1,
                      .seg_len = pixels,
                      .b = dy + col,
                      .ldb = cout,
                      .c = bias + col,
                      .ldc = cout,
                      .add = true};
        j->tile->strip(&s);
    }
}

static void bias_add(const job *j, float *copy, const float *dy, int64_t pixels)
{
    int64_t cout = j->c->cout;
    float *bias = copy + j->size, *sums = bias + cout;
    if (!j->io->dbias)
        return;
    if (j->io->pairs) {
        bias_add_pairs(j, bias, dy, pixels);
        return;
    }
    j->reduce->columns[QN_REDUCE_SUM](sums, dy, pixels, cout, cout);
    for (int64_t o = 0; o < cout; o++)
        bias[o] += sums[o];
}

static const float *block_source(const job *j, int64_t plane, int64_t row, int64_t rows, int worker)
{
    const qn_conv2d *c = j->c;
    float *pad = j->pad + worker * j->pad_floats;
    if (j->io->make)
        return j->io->make(j->io->context, &j->plane, plane, row, rows, pad);
    return qn_plane_block(&j->plane, j->io->x + plane * c->h * c->w * c->cin, row, rows, pad);
}

/* One block of rows of one output slice, for every tap of the depth that reaches a slice of x. */
static void block_run(const job *j, int64_t part, int64_t split, int64_t plane, int64_t row,
                      int worker)
{
    const qn_conv2d *c = j->c;
    float *copy = j->copies + part * j->stride;
    int64_t rows = qn_min_i64(j->block_rows, c->oh - row), n = plane / c->od;
    int64_t item = split * j->items / j->splits, end = (split + 1) * j->items / j->splits;
    const float *dy =
        j->io->fetch(j->io->context, plane, row, rows, j->room + worker * j->room_floats);
    for (int64_t t = 0; t < c->kd; t++) {
        int64_t from = plane % c->od * c->stride_d - c->pad_front + t * c->dilation_d;
        if (from < 0 || from >= c->d)
            continue;
        const float *x = block_source(j, n * c->d + from, row, rows, worker);
        block_add(j, copy + t * j->slice, x, dy, rows, item, end);
    }
    if (split == 0)
        bias_add(j, copy, dy, rows * c->ow);
}

static void unit_run(const job *j, int64_t unit, int worker)
{
    const qn_conv2d *c = j->c;
    int64_t part = unit / j->splits, split = unit % j->splits;
    int64_t first = part * c->n / j->parts * c->od, end = (part + 1) * c->n / j->parts * c->od;
    for (int64_t plane = first; plane < end; plane++)
        for (int64_t row = 0; row < c->oh; row += j->block_rows)
            block_run(j, part, split, plane, row, worker);
}

static void units_range(void *context, int64_t first, int64_t end, int worker)
{
    const job *j = context;
    qn_tile_begin(j->tile);
    for (int64_t unit = first; unit < end; unit++)
        unit_run(j, unit, worker);
    qn_tile_end(j->tile);
}

static void clear_range(void *context, int64_t first, int64_t end)
{
    const job *j = context;
    memset(j->copies + first, 0, (size_t)(end - first) * sizeof *j->copies);
}

/* Elements of dW, then of dbias, as one range. */
static void join_range(void *context, int64_t first, int64_t end)
{
    const job *j = context;
    for (int64_t p = 1; p < j->parts; p++)
        for (int64_t i = first; i < end; i++)
            j->copies[i] += j->copies[p * j->stride + i];
    int64_t weights = qn_min_i64(end, j->size) - first;
    if (weights > 0)
        memcpy(j->io->dweight + first, j->copies + first, (size_t)weights * sizeof(float));
    int64_t bias = qn_max_i64(first, j->size);
    if (j->io->dbias && end > bias)
        memcpy(j->io->dbias + bias - j->size, j->copies + bias,
               (size_t)(end - bias) * sizeof(float));
}

void qn_conv2d_grad_w_run(qn_pool *pool, const qn_conv2d *c, const qn_conv2d_grad_w *io,
                          void *scratch)
{
    job j;
    qn_carve carve = {.base = scratch};
    job_plan(&j, c, io, &carve, pool ? qn_pool_threads(pool) : 1);
    int64_t units = j.parts * j.splits;
    qn_split(pool, j.parts * j.stride, JOIN_GRAIN, clear_range, &j);
    qn_split_workers(units < 4 ? NULL : pool, units, 1, units_range, &j);
    qn_split(pool, j.size + (io->dbias ? j.c->cout : 0), JOIN_GRAIN, join_range, &j);
}

typedef struct {
    const qn_conv2d *c;
    const float *dy;
} plain;

static const float *fetch_plain(const void *context, int64_t image, int64_t row, int64_t rows,
                                float *room)
{
    (void)rows;
    (void)room;
    const plain *p = context;
    return p->dy + (image * p->c->oh + row) * p->c->ow * p->c->cout;
}

void qn_conv2d_grad_w_f32(qn_pool *pool, const qn_conv2d *conv, float *dweight, float *dbias,
                          const float *x, const float *dy, void *scratch)
{
    if (qn_winograd_takes_grad_w(conv)) {
        const qn_winograd_grad_w taken = {.dweight = dweight, .dbias = dbias, .x = x, .dy = dy};
        qn_winograd_grad_w_run(pool, conv, &taken, scratch);
        return;
    }
    plain context = {conv, dy};
    qn_conv2d_grad_w io = {.dweight = dweight,
                           .dbias = dbias,
                           .x = x,
                           .fetch = fetch_plain,
                           .context = &context,
                           .row_multiple = 1};
    qn_conv2d_grad_w_run(pool, conv, &io, scratch);
}
