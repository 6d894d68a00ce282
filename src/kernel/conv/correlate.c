/*
 * Blocks of output rows as strips. Within a block: groups, then runs of taps that keep their weights in the nearest
 * cache, then panels of output channels; the strip covers all pixels of the block.
 */
#include "kernel/conv/correlate.h"

#include "base/checked.h"
#include "kernel/split.h"

enum {
    BLOCK_PIXELS =
        256, /* with 32 channels in: 40 KiB of source rows; with 48 out: 48 KiB of result */
    BLOCK_DEPTH = 384, /* rows of weights per pass: 384 x 32 floats are 48 KiB */
    CHUNK_FLOPS = 1 << 20
};

int64_t qn_block_rows(int64_t out_h, int64_t out_w, int64_t pixels, int64_t multiple)
{
    int64_t rows = qn_max_i64(pixels / qn_max_i64(out_w, 1), 1);
    int64_t blocks = qn_max_i64((out_h + rows - 1) / rows, 1);
    rows = (out_h + blocks - 1) / blocks;
    return (rows + multiple - 1) / multiple * multiple;
}

void qn_correlation_plan(qn_correlation *j, qn_carve *carve, int64_t row_multiple, int threads)
{
    const qn_plane *p = &j->plane;
    j->tile = qn_tile_f32();
    j->conv = qn_conv_f32_kernels();
    j->depthwise =
        j->group_in == 1 && j->group_out == 1 && j->groups == p->channels && j->groups > 1;
    j->block_rows = qn_block_rows(p->out_h, p->out_w, BLOCK_PIXELS, row_multiple);
    j->blocks = (p->out_h + j->block_rows - 1) / j->block_rows;
    j->block_segs = qn_max_i64(BLOCK_DEPTH / qn_max_i64(j->seg_len, 1), 1);
    j->row = qn_carve_take(carve, (size_t)(j->block_rows * p->out_w) * sizeof *j->row);
    for (int64_t i = 0; j->row && i < j->block_rows * p->out_w; i++)
        j->row[i] =
            i / p->out_w * p->row_step * p->pitch + i % p->out_w * p->col_step * p->channels;
    int64_t source = qn_plane_rows(p, j->block_rows),
            behind = j->fetch ? (source + 2) * p->w * p->channels : 0;
    j->pad_floats = p->inside ? 0 : (source * p->pitch + behind + 15) / 16 * 16;
    j->out_floats =
        j->emit ? (j->block_rows * p->out_w * j->groups * j->group_out + 15) / 16 * 16 : 0;
    j->pad = qn_carve_take(carve, (size_t)(j->pad_floats * threads) * sizeof(float));
    j->out = qn_carve_take(carve, (size_t)(j->out_floats * threads) * sizeof(float));
}

/* What one block's strips have in common. */
typedef struct {
    const qn_correlation *j;
    int64_t rows; /* output rows */
    const float *source;
    float *dst;
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
    }
}

static void block_depthwise(const block *b)
{
    const qn_correlation *j = b->j;
    qn_strip s = {.cols = (int)j->groups,
                  .a = b->source,
                  .seg = j->seg,
                  .segs = j->segs,
                  .seg_len = 1,
                  .b = j->weight,
                  .ldb = j->ldb,
                  .c = b->dst,
                  .bias = j->bias,
                  .relu = j->act == QN_ACT_RELU};
    block_strip(b, j->conv->depthwise, s);
}

static void block_group(const block *b, int64_t group)
{
    const qn_correlation *j = b->j;
    const float *weight = j->weight + group * j->weight_group;
    int64_t panels = qn_tile_panels(j->tile, j->group_out), depth = j->segs * j->seg_len;
    const float *bias = j->bias ? j->bias + group * j->group_out : NULL;
    for (int64_t first = 0; first < j->segs; first += j->block_segs) {
        int64_t segs = qn_min_i64(j->block_segs, j->segs - first);
        bool last = first + segs == j->segs;
        for (int64_t p = 0; p < panels; p++) {
            int64_t col = qn_tile_panel_start(j->tile, j->group_out, p);
            int64_t cols = qn_tile_panel_start(j->tile, j->group_out, p + 1) - col;
            int64_t ldb = j->panelled ? cols : j->ldb;
            const float *slab = j->panelled ? weight + depth * col : weight + col;
            qn_strip s = {.cols = (int)cols,
                          .a = b->source + group * j->group_in,
                          .seg = j->seg + first,
                          .segs = segs,
                          .seg_len = j->seg_len,
                          .step = 1,
                          .b = slab + first * j->seg_len * ldb,
                          .ldb = ldb,
                          .c = b->dst + group * j->group_out + col,
                          .add = first > 0,
                          .bias = last && bias ? bias + col : NULL,
                          .relu = last && j->act == QN_ACT_RELU};
            block_strip(b, j->tile->strip, s);
        }
    }
}

static void block_activate(const block *b)
{
    const qn_correlation *j = b->j;
    if (j->act == QN_ACT_NONE || j->act == QN_ACT_RELU)
        return;
    for (int64_t r = 0; r < b->rows; r++)
        j->tile->activate(b->dst + r * b->dst_row, b->dst_pixel, j->plane.out_w,
                          j->groups * j->group_out, j->act, j->slope);
}

static void block_run(const qn_correlation *j, int64_t image, int64_t row, int worker)
{
    const qn_plane *p = &j->plane;
    block b = {.j = j,
               .rows = qn_min_i64(j->block_rows, p->out_h - row),
               .dst_row = j->dst_row,
               .dst_pixel = j->dst_pixel};
    float *pad = j->pad + worker * j->pad_floats;
    if (j->emit) {
        b.dst = j->out + worker * j->out_floats;
        b.dst_pixel = j->groups * j->group_out;
        b.dst_row = p->out_w * b.dst_pixel;
    } else {
        b.dst = j->dst + image * j->dst_image + row * j->dst_row;
    }
    b.source =
        j->fetch ? j->fetch(j, image, row, b.rows, pad)
                 : qn_plane_block(p, j->src + image * p->h * p->w * p->channels, row, b.rows, pad);
    if (j->depthwise)
        block_depthwise(&b);
    else
        for (int64_t g = 0; g < j->groups; g++)
            block_group(&b, g);
    block_activate(&b);
    if (j->emit)
        j->emit(j, image, row, b.rows, b.dst);
}

static void blocks_range(void *context, int64_t first, int64_t end, int worker)
{
    const qn_correlation *j = context;
    for (int64_t i = first; i < end; i++)
        block_run(j, i / j->blocks, i % j->blocks * j->block_rows, worker);
}

void qn_correlation_run(qn_pool *pool, qn_correlation *j)
{
    double pixels = (double)(j->block_rows * j->plane.out_w);
    double flops = 2 * pixels * (double)(j->segs * j->seg_len) * (double)(j->groups * j->group_out);
    if (flops < 1 || j->plane.out_w <= 0)
        return;
    int64_t grain = qn_max_i64((int64_t)(CHUNK_FLOPS / flops), 1);
    qn_split_workers(pool, j->images * j->blocks, grain, blocks_range, j);
}
