/*
 * The gradient to the weights by Winograd's filtering (winograd.h): 16 sums over tiles, [channels, tiles] by
 * [tiles, filters], one slab of channels by one panel of filters at a time, so that the sums stay in the second cache.
 * The batch is cut into parts fixed by the shape; each part turns its sums into a copy of dW and the copies are added
 * in order.
 */
#include <string.h>

#include "base/checked.h"
#include "kernel/conv/winograd.h"
#include "kernel/reduce/reduce_table.h"
#include "kernel/split.h"

enum {
    PLANES = 16,
    LINE = 16,
    SLAB = 64, /* channels: with a panel of 48 filters the sums are 192 KiB */
    PANEL_MAX = 48,
    BLOCK_TILES = 56, /* both kinds of planes of a block: 400 KiB at most */
    UNITS = 8,
    PART_FLOPS = 2 << 20,   /* a smaller part is not worth its copy */
    PARTS_BYTES = 16 << 20, /* of all copies together */
    JOIN_GRAIN = 16384
};

typedef struct {
    const qn_conv2d *c;
    const qn_winograd_grad_w *io;
    const qn_tile_kernels *tile;
    const qn_conv_kernels *kernels;
    int64_t tiles_h, tiles_w;
    int64_t rows; /* of tiles in a block, counted through all images */
    int64_t slabs, panels, parts;
    int64_t size, stride; /* floats of dW, and of a copy: dW, then dbias, then a row of sums */
    float *copies;        /* [parts] */
    float *x, *dy, *sums; /* one of each per worker */
    int64_t x_floats, dy_floats, sums_floats;
    int64_t *row; /* of a strip */
} job;

bool qn_winograd_takes_grad_w(const qn_conv2d *c)
{
    return qn_winograd_takes(c);
}

static void job_plan(job *j, const qn_conv2d *c, const qn_winograd_grad_w *io, qn_carve *carve,
                     int threads)
{
    *j = (job){.c = c, .io = io, .tile = qn_tile_f32(), .kernels = qn_conv_f32_kernels()};
    bool pooled = io->choice; /* an odd last row or column has no gradient then */
    j->tiles_h = pooled ? c->oh / 2 : (c->oh + 1) / 2;
    j->tiles_w = pooled ? c->ow / 2 : (c->ow + 1) / 2;
    j->rows = qn_max_i64(BLOCK_TILES / j->tiles_w, 1);
    j->slabs = (c->cin + SLAB - 1) / SLAB;
    j->panels = qn_tile_panels(j->tile, c->cout);
    j->size = 9 * c->cin * c->cout;
    j->stride = (j->size + 2 * c->cout + LINE - 1) / LINE * LINE;
    double flops =
        2.0 * PLANES * (double)(c->n * j->tiles_h * j->tiles_w) * (double)(c->cin * c->cout);
    int64_t wanted = (int64_t)qn_min_i64(UNITS, (int64_t)(flops / PART_FLOPS));
    wanted = (wanted + j->slabs * j->panels - 1) / (j->slabs * j->panels);
    wanted = qn_min_i64(wanted, PARTS_BYTES / (j->stride * (int64_t)sizeof(float)));
    j->parts = qn_max_i64(qn_min_i64(wanted, c->n), 1);
    int64_t tiles = j->rows * j->tiles_w, depth = qn_min_i64(c->cin, SLAB);
    j->x_floats = PLANES * (tiles * depth + LINE);
    j->dy_floats = PLANES * (tiles * PANEL_MAX + LINE);
    j->sums_floats = PLANES * (depth * PANEL_MAX + LINE);
    j->row = qn_carve_take(carve, (size_t)depth * sizeof *j->row);
    j->copies = qn_carve_take(carve, (size_t)(j->parts * j->stride) * sizeof(float));
    j->x = qn_carve_take(carve, (size_t)(j->x_floats * threads) * sizeof(float));
    j->dy = qn_carve_take(carve, (size_t)(j->dy_floats * threads) * sizeof(float));
    j->sums = qn_carve_take(carve, (size_t)(j->sums_floats * threads) * sizeof(float));
    for (int64_t i = 0; j->row && i < depth; i++)
        j->row[i] = i;
}

size_t qn_winograd_grad_w_bytes(const qn_conv2d *c, bool pooled, int threads)
{
    static const uint8_t some[1]; /* places, whatever they are */
    job j;
    qn_winograd_grad_w io = {.choice = pooled ? some : NULL};
    qn_carve carve = {0};
    job_plan(&j, c, &io, &carve, threads);
    return carve.used;
}

/* A unit's share: channels [in, in + ins), filters [out, out + outs), and `rows` rows of tiles at a time. */
typedef struct {
    const job *j;
    int64_t in, ins, out, outs, tiles;
    float *x, *dy, *sums, *bias; /* bias: this part's, or NULL */
} share;

/* Row r of tiles, counted through all images, as row `at` of the block. */
static void row_source(const share *s, int64_t r, int64_t at)
{
    const job *j = s->j;
    const qn_conv2d *c = j->c;
    const float *image = j->io->x + r / j->tiles_h * c->h * c->w * c->cin + s->in;
    qn_winograd_source to = {.col = -c->pad_left,
                             .width = c->w,
                             .pixel = c->cin,
                             .tiles = j->tiles_w,
                             .channels = s->ins,
                             .planes = s->x + at * j->tiles_w * s->ins,
                             .plane = s->tiles * s->ins + LINE};
    for (int64_t i = 0; i < 4; i++) {
        int64_t row = 2 * (r % j->tiles_h) - c->pad_top + i;
        to.row[i] = row >= 0 && row < c->h ? image + row * c->w * c->cin : NULL;
    }
    j->kernels->winograd_source(&to);
}

static void row_grad(const share *s, int64_t r, int64_t at)
{
    const job *j = s->j;
    const qn_conv2d *c = j->c;
    int64_t image = r / j->tiles_h, row = r % j->tiles_h, line = c->ow * c->cout;
    qn_winograd_grad to = {.width = c->ow,
                           .pixel = c->cout,
                           .tiles = j->tiles_w,
                           .channels = s->outs,
                           .planes = s->dy + at * j->tiles_w * s->outs,
                           .plane = s->tiles * s->outs + LINE};
    if (j->io->choice) {
        int64_t from = (image * (c->oh / 2) + row) * (c->ow / 2) * c->cout + s->out;
        to.dy = j->io->dy + from;
        to.y = j->io->y + from;
        to.choice = j->io->choice + from;
    } else {
        const float *top = j->io->dy + (image * c->oh + 2 * row) * line + s->out;
        to.row[0] = top;
        to.row[1] = 2 * row + 1 < c->oh ? top + line : NULL;
    }
    j->kernels->winograd_grad(&to);
}

/* Adds the products of a block of tiles, or begins with them. */
static void block_add(const share *s, bool first)
{
    static const int64_t origin[1] = {0};
    qn_strip p = {.rows = s->ins,
                  .cols = (int)s->outs,
                  .a = s->x,
                  .row = s->j->row,
                  .seg = origin,
                  .segs = 1,
                  .seg_len = s->tiles,
                  .step = s->ins,
                  .b = s->dy,
                  .ldb = s->outs,
                  .c = s->sums,
                  .ldc = s->outs,
                  .add = !first};
    for (int e = 0; e < PLANES; e++) {
        s->j->tile->strip(&p);
        p.a += s->tiles * s->ins + LINE;
        p.b += s->tiles * s->outs + LINE;
        p.c += s->ins * s->outs + LINE;
    }
}

/* Number 5 of the transformed dy is the sum of a tile. */
static void bias_add(const share *s, bool first)
{
    float *sums = s->bias + s->j->c->cout;
    const float *plane = s->dy + 5 * (s->tiles * s->outs + LINE);
    if (first)
        memset(s->bias, 0, (size_t)s->outs * sizeof *s->bias);
    qn_reduce_f32_kernels()->columns[QN_REDUCE_SUM](sums, plane, s->tiles, s->outs, s->outs);
    for (int64_t i = 0; i < s->outs; i++)
        s->bias[i] += sums[i];
}

static void unit_run(void *context, int64_t unit, int worker)
{
    const job *j = context;
    const qn_conv2d *c = j->c;
    int64_t panel = unit % j->panels, slab = unit / j->panels % j->slabs,
            part = unit / j->panels / j->slabs;
    float *copy = j->copies + part * j->stride;
    share s = {.j = j,
               .in = slab * SLAB,
               .ins = qn_min_i64(SLAB, c->cin - slab * SLAB),
               .out = qn_tile_panel_start(j->tile, c->cout, panel),
               .x = j->x + worker * j->x_floats,
               .dy = j->dy + worker * j->dy_floats,
               .sums = j->sums + worker * j->sums_floats};
    s.outs = qn_tile_panel_start(j->tile, c->cout, panel + 1) - s.out;
    s.bias = j->io->dbias && slab == 0 ? copy + j->size + s.out : NULL;
    int64_t begin = part * c->n / j->parts * j->tiles_h,
            end = (part + 1) * c->n / j->parts * j->tiles_h;
    for (int64_t r = begin; r < end; r += j->rows) {
        int64_t rows = qn_min_i64(j->rows, end - r);
        s.tiles = rows * j->tiles_w;
        for (int64_t i = 0; i < rows; i++) {
            row_source(&s, r + i, i);
            row_grad(&s, r + i, i);
        }
        block_add(&s, r == begin);
        if (s.bias)
            bias_add(&s, r == begin);
    }
    for (int64_t i = 0; i < s.ins; i++)
        j->kernels->winograd_weights_grad(copy + (s.in + i) * c->cout + s.out, c->cin * c->cout,
                                          s.sums + i * s.outs, s.ins * s.outs + LINE, s.outs);
}

/* Elements of dW, then of dbias, as one range. */
static void join_range(void *context, int64_t first, int64_t end)
{
    const job *j = context;
    float *to = j->copies;
    for (int64_t p = 1; p < j->parts; p++)
        for (int64_t i = first; i < end; i++)
            to[i] += to[p * j->stride + i];
    int64_t weights = qn_min_i64(end, j->size) - first, bias = qn_max_i64(first, j->size);
    if (weights > 0)
        memcpy(j->io->dweight + first, to + first, (size_t)weights * sizeof *to);
    if (j->io->dbias && end > bias)
        memcpy(j->io->dbias + bias - j->size, to + bias, (size_t)(end - bias) * sizeof *to);
}

void qn_winograd_grad_w_run(qn_pool *pool, const qn_conv2d *c, const qn_winograd_grad_w *io,
                            void *scratch)
{
    job j;
    qn_carve carve = {.base = scratch};
    int64_t bias = io->dbias ? c->cout : 0;
    if (c->n < 1) {
        memset(io->dweight, 0, (size_t)(9 * c->cin * c->cout) * sizeof(float));
        if (bias)
            memset(io->dbias, 0, (size_t)bias * sizeof(float));
        return;
    }
    job_plan(&j, c, io, &carve, qn_pool_threads(pool));
    qn_pool_run(pool, unit_run, &j, j.parts * j.slabs * j.panels);
    qn_split(pool, j.size + bias, JOIN_GRAIN, join_range, &j);
}
