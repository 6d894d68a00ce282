/*
 * Blocks of output rows as strips. Within a block: groups, then runs of taps that keep their weights in the nearest
 * cache, then panels of output channels; the strip covers all pixels of the block.
 */
#include "kernel/conv/correlate.h"

#include <string.h>

#include "base/checked.h"
#include "kernel/split.h"

enum {
    BLOCK_PIXELS =
        256, /* with 32 channels in: 40 KiB of source rows; with 48 out: 48 KiB of result */
    BLOCK_DEPTH = 384, /* rows of weights per pass: 384 x 32 floats are 48 KiB */
    RUN_MAX = 512,     /* floats of one source run; longer ones are cut at the taps */
    CHUNK_FLOPS = 1 << 20,
    SPLIT_FLOPS = 400000, /* a few us: worth another core that is awake */
    UNITS =
        8 /* pieces of work that a convolution of few pixels is cut into, where it is worth it */
};

int64_t qn_block_rows(int64_t out_h, int64_t out_w, int64_t pixels, int64_t multiple)
{
    int64_t rows = qn_max_i64(pixels / qn_max_i64(out_w, 1), 1);
    int64_t blocks = qn_max_i64((out_h + rows - 1) / rows, 1);
    rows = qn_max_i64((out_h + blocks - 1) / blocks, 1);
    return (rows + multiple - 1) / multiple * multiple;
}

void qn_correlation_runs(qn_correlation *j, const qn_taps *t, qn_carve *carve)
{
    int64_t pitch = j->plane.pitch, channels = j->plane.channels;
    bool whole_rows =
        (t->cols == 1 || t->col_gap == 1) && j->groups == 1 && t->cols * j->group_in <= RUN_MAX;
    j->segs = whole_rows ? t->rows : t->rows * t->cols;
    j->seg_len = whole_rows ? t->cols * j->group_in : j->group_in;
    /* rows of a filter as wide as the block follow each other without a gap */
    if (whole_rows && t->row_gap * pitch == j->seg_len && j->segs > 1 &&
        j->segs * j->seg_len <= BLOCK_DEPTH) {
        j->seg_len *= j->segs;
        j->segs = 1;
    }
    j->seg = qn_carve_take(carve, (size_t)j->segs * sizeof *j->seg);
    for (int64_t s = 0; j->seg && s < j->segs; s++)
        j->seg[s] = whole_rows
                        ? s * t->row_gap * pitch
                        : s / t->cols * t->row_gap * pitch + s % t->cols * t->col_gap * channels;
}

/* Rows of a block, and into how many parts its channels go. No sum depends on either. */
static void plan_units(qn_correlation *j, int64_t row_multiple)
{
    const qn_plane *p = &j->plane;
    double pixels = (double)(j->images * j->slices.out * p->out_h * p->out_w);
    double depth = (double)(j->segs * j->seg_len * j->slices.taps);
    double flops = 2 * pixels * depth * (double)(j->groups * j->group_out);
    int64_t wanted = qn_max_i64((int64_t)qn_min_i64(UNITS, (int64_t)(flops / CHUNK_FLOPS)), 1);
    int64_t planes = qn_max_i64(j->images * j->slices.out, 1);
    j->items = j->groups > 1 ? j->groups : qn_tile_panels(j->tile, j->group_out);
    j->block_rows = qn_block_rows(p->out_h, p->out_w, BLOCK_PIXELS, row_multiple);
    j->blocks = (p->out_h + j->block_rows - 1) / j->block_rows;
    int64_t units = planes * j->blocks;
    j->splits = 1;
    if (!j->emit && !j->fetch && !j->depthwise && j->items > 0)
        j->splits = qn_min_i64((wanted + units - 1) / qn_max_i64(units, 1), j->items);
    j->splits = qn_max_i64(j->splits, 1);
    int64_t blocks = (wanted + planes * j->splits - 1) / (planes * j->splits);
    if (blocks <= j->blocks)
        return;
    j->block_rows = qn_block_rows(p->out_h, p->out_w, p->out_h * p->out_w / blocks, row_multiple);
    j->blocks = (p->out_h + j->block_rows - 1) / j->block_rows;
}

/* Where pixels read, line by line; before a pool window by window, of those that are whole. */
static void fill_rows(qn_correlation *j)
{
    const qn_plane *p = &j->plane;
    int64_t width = j->pooled ? p->out_w / 2 * 2 : p->out_w;
    for (int64_t i = 0; i < j->block_rows * width; i++) {
        int64_t row = i / width, col = i % width;
        if (j->pooled) {
            row = i / 2 / width * 2 + i % 4 / 2;
            col = i % (2 * width) / 4 * 2 + i % 2;
        }
        j->row[i] = row * p->row_step * p->pitch + col * p->col_step * p->channels;
    }
}

void qn_correlation_plan(qn_correlation *j, qn_carve *carve, int64_t row_multiple, int threads)
{
    const qn_plane *p = &j->plane;
    if (!j->tile)
        j->tile = qn_tile_f32();
    j->conv = qn_conv_f32_kernels();
    j->depthwise =
        j->group_in == 1 && j->group_out == 1 && j->groups == p->channels && j->groups > 1;
    plan_units(j, row_multiple);
    j->block_segs = qn_max_i64(BLOCK_DEPTH / qn_max_i64(j->seg_len, 1), 1);
    j->row = qn_carve_take(carve, (size_t)(j->block_rows * p->out_w) * sizeof *j->row);
    if (j->row)
        fill_rows(j);
    int64_t source = qn_plane_rows(p, j->block_rows),
            behind = j->fetch ? (source + 2) * p->w * p->channels : 0;
    j->pad_floats = p->inside ? 0 : (source * p->pitch + behind + 15) / 16 * 16;
    j->out_floats =
        j->emit ? (j->block_rows * p->out_w * j->groups * j->group_out + 15) / 16 * 16 : 0;
    j->pad = qn_carve_take(carve, (size_t)(j->pad_floats * threads) * sizeof(float));
    j->out = qn_carve_take(carve, (size_t)(j->out_floats * threads) * sizeof(float));
    j->held = qn_carve_take(carve, (size_t)threads * sizeof *j->held);
    if (j->held)
        memset(j->held, 0, (size_t)threads * sizeof *j->held);
}

/* What one block's strips have in common. */
typedef struct {
    const qn_correlation *j;
    int64_t rows;              /* output rows */
    int64_t item, item_end;    /* panels, or groups */
    int64_t tap;               /* of the depth */
    bool first, last, nothing; /* first and last tap of the depth; no tap at all */
    const float *source, *added;
    float *dst;
    uint8_t *choice; /* as dst, behind a pool; or NULL */
    int64_t dst_row, dst_pixel;
} block;

/* Rows that follow each other without a gap are one strip. */
static void block_strip(const block *b, void (*run)(const qn_strip *), qn_strip s)
{
    int64_t width = b->j->plane.out_w;
    s.ldc = b->dst_pixel;
    s.row = b->j->row;
    if (b->dst_row == width * b->dst_pixel) {
        s.rows = b->rows * width;
        run(&s);
        return;
    }
    s.rows = width;
    for (int64_t r = 0; r < b->rows; r++) {
        run(&s);
        s.row += width;
        s.c += b->dst_row;
        s.added = s.added ? s.added + b->dst_row : NULL;
    }
}

/* All windows of the block, which follow each other without a gap. */
static void block_pooled(const block *b, qn_strip s, int64_t channel)
{
    s.rows = b->rows / 2 * (b->j->plane.out_w / 2) * 4;
    s.ldc = b->dst_pixel;
    s.row = b->j->row;
    b->j->conv->strip_pooled(&s, b->choice ? b->choice + channel : NULL);
}

static void block_depthwise(const block *b)
{
    const qn_correlation *j = b->j;
    qn_strip s = {.cols = (int)j->groups,
                  .a = b->source,
                  .seg = j->seg,
                  .segs = b->nothing ? 0 : j->segs,
                  .seg_len = 1,
                  .b = j->weight + b->tap * j->weight_slice,
                  .ldb = j->ldb,
                  .c = b->dst,
                  .add = !b->first,
                  .bias = b->last ? j->bias : NULL,
                  .added = b->last ? b->added : NULL,
                  .relu = b->last && j->act == QN_ACT_RELU};
    block_strip(b, j->conv->depthwise, s);
}

/* One panel of a group, in passes over the depth that keep their weights in the nearest cache. */
static void block_panel(const block *b, int64_t group, int64_t panel)
{
    const qn_correlation *j = b->j;
    const float *weight = j->weight + b->tap * j->weight_slice + group * j->weight_group;
    int64_t col = qn_tile_panel_start(j->tile, j->group_out, panel),
            cols = qn_tile_panel_start(j->tile, j->group_out, panel + 1) - col;
    int64_t all = b->nothing ? 0 : j->segs, ldb = j->panelled ? cols : j->ldb,
            channel = group * j->group_out + col;
    const float *slab = j->panelled ? weight + j->segs * j->seg_len * col : weight + col;
    for (int64_t first = 0; first == 0 || first < all; first += j->block_segs) {
        int64_t segs = qn_min_i64(j->block_segs, all - first);
        bool last = b->last && first + segs == all;
        qn_strip s = {.cols = (int)cols,
                      .a = b->source ? b->source + group * j->group_in : NULL,
                      .seg = j->seg + first,
                      .segs = segs,
                      .seg_len = j->seg_len,
                      .step = 1,
                      .b = slab + first * j->seg_len * ldb,
                      .ldb = ldb,
                      .c = b->dst + channel,
                      .add = !b->first || first > 0,
                      .bias = last && j->bias ? j->bias + channel : NULL,
                      .added = last && b->added ? b->added + channel : NULL,
                      .relu = last && j->act == QN_ACT_RELU};
        if (j->pooled)
            block_pooled(b, s, channel);
        else
            block_strip(b, j->tile->strip, s);
    }
}

static void block_items(const block *b)
{
    const qn_correlation *j = b->j;
    if (j->depthwise) {
        block_depthwise(b);
        return;
    }
    if (j->groups == 1) {
        for (int64_t p = b->item; p < b->item_end; p++)
            block_panel(b, 0, p);
        return;
    }
    int64_t panels = qn_tile_panels(j->tile, j->group_out);
    for (int64_t g = b->item; g < b->item_end; g++)
        for (int64_t p = 0; p < panels; p++)
            block_panel(b, g, p);
}

static void block_activate(const block *b)
{
    const qn_correlation *j = b->j;
    if (j->act == QN_ACT_NONE || j->act == QN_ACT_RELU || j->pooled)
        return;
    bool grouped = j->groups > 1;
    int64_t from =
        grouped ? b->item * j->group_out : qn_tile_panel_start(j->tile, j->group_out, b->item);
    int64_t to = grouped ? b->item_end * j->group_out
                         : qn_tile_panel_start(j->tile, j->group_out, b->item_end);
    for (int64_t r = 0; r < b->rows; r++)
        j->tile->activate(b->dst + r * b->dst_row + from, b->dst_pixel, j->plane.out_w, to - from,
                          j->act, j->slope);
}

/* The source block of one plane: fetched, in place, or in this worker's pad, where it may lie already. */
static const float *block_source(const qn_correlation *j, int64_t plane, int64_t row, int64_t rows,
                                 int worker)
{
    const qn_plane *p = &j->plane;
    float *pad = j->pad + worker * j->pad_floats;
    if (j->fetch)
        return j->fetch(j, plane, row, rows, pad);
    int64_t key = plane * p->out_h + row + 1;
    if (!p->inside && j->held[worker] == key)
        return pad;
    j->held[worker] = key;
    return qn_plane_block(p, j->src + plane * p->h * p->w * p->channels, row, rows, pad);
}

/* All taps of the depth for one block, in order. */
static void block_taps(block *b, int64_t image, int64_t slice, int64_t row, int worker)
{
    const qn_correlation *j = b->j;
    const qn_slices *d = &j->slices;
    int64_t begin = d->taps, end = 0;
    for (int64_t t = 0; t < d->taps && j->segs > 0; t++) {
        int64_t from = slice * d->step + d->first + t * d->spacing;
        if (from < 0 || from >= d->in)
            continue;
        begin = qn_min_i64(begin, t);
        end = t + 1;
    }
    if (begin >= end) {
        b->first = b->last = b->nothing = true;
        b->source = b->dst; /* never read, but addresses are counted from it */
        block_items(b);
        return;
    }
    for (b->tap = begin; b->tap < end; b->tap++) {
        int64_t from = slice * d->step + d->first + b->tap * d->spacing;
        b->source = block_source(j, image * d->in + from, row, b->rows, worker);
        b->first = b->tap == begin;
        b->last = b->tap + 1 == end;
        block_items(b);
    }
}

static void block_run(const qn_correlation *j, int64_t unit, int worker)
{
    const qn_plane *p = &j->plane;
    int64_t split = unit % j->splits, row = unit / j->splits % j->blocks * j->block_rows,
            slice = unit / j->splits / j->blocks % j->slices.out,
            image = unit / j->splits / j->blocks / j->slices.out;
    block b = {.j = j,
               .rows = qn_min_i64(j->block_rows, p->out_h - row),
               .item = split * j->items / j->splits,
               .item_end = (split + 1) * j->items / j->splits,
               .dst_row = j->dst_row,
               .dst_pixel = j->dst_pixel};
    int64_t at =
        image * j->dst_image + slice * j->dst_slice + (j->pooled ? row / 2 : row) * j->dst_row;
    if (j->emit) {
        b.dst = j->out + worker * j->out_floats;
        b.dst_pixel = j->groups * j->group_out;
        b.dst_row = p->out_w * b.dst_pixel;
    } else {
        b.dst = j->dst + at;
        b.added = j->added ? j->added + at : NULL;
        b.choice = j->choice ? j->choice + at : NULL;
    }
    block_taps(&b, image, slice, row, worker);
    block_activate(&b);
    if (j->emit)
        j->emit(j, image, row, b.rows, b.dst);
}

static void blocks_range(void *context, int64_t first, int64_t end, int worker)
{
    const qn_correlation *j = context;
    qn_tile_begin(j->tile);
    for (int64_t unit = first; unit < end; unit++)
        block_run(j, unit, worker);
    qn_tile_end(j->tile);
}

void qn_correlation_run(qn_pool *pool, qn_correlation *j)
{
    double pixels = (double)(j->block_rows * j->plane.out_w);
    double depth = (double)(j->segs * j->seg_len * j->slices.taps);
    double cost = pixels * (2 * depth + 1) * (double)(j->groups * j->group_out / j->splits);
    if (j->plane.out_w <= 0 || j->groups * j->group_out < 1)
        return;
    int64_t units = j->images * j->slices.out * j->blocks * j->splits;
    int64_t grain = qn_max_i64((int64_t)(CHUNK_FLOPS / qn_max_i64((int64_t)cost, 1)), 1);
    if (cost * (double)units >= SPLIT_FLOPS)
        grain = qn_min_i64(grain, qn_max_i64(units / 4, 1));
    qn_split_workers(pool, units, grain, blocks_range, j);
}
