/*
 * Convolution of bf16 as convolution of words, each of which is two numbers side by side: the drivers of f32 move words and
 * count them as floats, and the micro-kernel of pairs (gemm/pairs.h) multiplies them.
 *
 *     forward       word = channels 2c, 2c + 1 of x: as x lies in memory; the weights are joined to pairs first
 *     to x          word = channels 2c, 2c + 1 of dy and of the weights: both as they lie
 *     to weights    word = one number of images 2n, 2n + 1: x and dy are joined as blocks of them are made
 *
 * Where the number of input channels is odd, blocks of x get a channel of zeros. Where that of images is, so does the last pair.
 */
#include "kernel/conv/conv_bf16.h"

#include <string.h>

#include "base/checked.h"
#include "base/error.h"
#include "kernel/conv/conv_priv.h"
#include "kernel/split.h"

enum { PACK_GRAIN = 32768 }; /* weights, a few us */

bool qn_conv2d_bf16_takes(const qn_conv2d *conv, qn_conv_pass pass)
{
    const bool gains[] = {[QN_CONV_FORWARD] = conv->cin > 1,
                          [QN_CONV_GRAD_X] = conv->cout % 2 == 0,
                          [QN_CONV_GRAD_W] = conv->n > 1};
    return conv->groups == 1 && gains[pass];
}

static const float *words(const uint16_t *halves)
{
    return (const float *)(const void *)halves;
}

/* Forward. */

typedef struct {
    const qn_conv2d *c; /* with its depth */
    const qn_pairs_kernels *pairs;
    const qn_conv2d_bf16_forward *io;
    uint8_t *choice; /* with ReLU and pool */
    uint32_t *packed;
} forward;

/* Pixels with room for a channel more; colours, which are three, by moves of a known size. */
static void copy_even(uint16_t *dst, const uint16_t *src, int64_t channels, int64_t count)
{
    enum { COLOURS = 3 };
    if (channels == COLOURS) {
        for (int64_t i = 0; i < count; i++)
            memcpy(dst + i * (COLOURS + 1), src + i * COLOURS, COLOURS * sizeof *dst);
        return;
    }
    for (int64_t i = 0; i < count; i++)
        memcpy(dst + i * (channels + 1), src + i * channels, (size_t)channels * sizeof *dst);
}

/* As qn_plane_block, with a channel more. */
static const float *fetch_even(const qn_correlation *j, int64_t plane, int64_t row, int64_t rows,
                               float *pad)
{
    const qn_plane *p = &j->plane;
    const qn_conv2d *c = ((const forward *)j->context)->c;
    const uint16_t *image = ((const forward *)j->context)->io->x + plane * c->h * c->w * c->cin;
    int64_t first = row * p->row_step + p->row_first, count = qn_plane_rows(p, rows);
    int64_t from = qn_min_i64(qn_max_i64(-p->col_first, 0), p->width);
    int64_t to = qn_min_i64(p->w - p->col_first, p->width);
    memset(pad, 0, (size_t)(count * p->pitch) * sizeof *pad);
    for (int64_t r = qn_max_i64(first, 0); r < qn_min_i64(first + count, c->h); r++) {
        uint16_t *dst = (uint16_t *)(void *)(pad + (r - first) * p->pitch);
        if (from < to)
            copy_even(dst + from * (c->cin + 1), image + (r * c->w + p->col_first + from) * c->cin,
                      c->cin, to - from);
    }
    return pad;
}

static void emit_pooled(const qn_correlation *j, int64_t image, int64_t row, int64_t rows,
                        const float *block)
{
    const forward *f = j->context;
    qn_conv2d_pool_rows(f->c, f->io->y, f->choice, image, row, rows, block);
}

/* The weights of taps [first, end) as pairs, panel by panel. */
static void pack_range(void *context, int64_t first, int64_t end)
{
    const forward *f = context;
    const qn_conv2d *c = f->c;
    const qn_tile_kernels *tile = f->pairs->tile;
    int64_t pairs = (c->cin + 1) / 2, taps = c->kh * c->kw, depth = taps * pairs;
    for (int64_t t = first; t < end; t++) {
        const uint16_t *weight = f->io->weight + t * c->cin * c->cout;
        for (int64_t p = 0; p < qn_tile_panels(tile, c->cout); p++) {
            int64_t col = qn_tile_panel_start(tile, c->cout, p);
            int64_t width = qn_tile_panel_start(tile, c->cout, p + 1) - col;
            uint32_t *panel = f->packed + (t / taps * c->cout + col) * depth;
            f->pairs->of_bf16.join(panel + t % taps * pairs * width, width, weight + col, c->cout,
                                   c->cin, width);
        }
    }
}

static void plan_forward(qn_correlation *j, forward *f, qn_carve *carve, int threads)
{
    static const float some[1]; /* weights that are packed, wherever they are */
    const qn_conv2d_bf16_forward *io = f->io;
    const qn_conv2d *c = f->c;
    qn_conv2d of_words = *c;
    of_words.cin = (c->cin + 1) / 2;
    f->packed = qn_carve_take(carve, (size_t)(c->kd * c->kh * c->kw * of_words.cin * c->cout) *
                                         sizeof *f->packed);
    *j = (qn_correlation){.tile = f->pairs->tile,
                          .fetch = c->cin % 2 ? fetch_even : NULL,
                          .emit = f->choice ? emit_pooled : NULL,
                          .context = f};
    qn_conv2d_forward as_f32 = {.x = words(io->x),
                                .packed = f->packed ? (const float *)(const void *)f->packed : some,
                                .bias = io->bias,
                                .added = f->choice ? NULL : io->added,
                                .y = io->y,
                                .act = f->choice ? QN_ACT_RELU : io->act,
                                .slope = io->slope};
    qn_conv2d_plan_forward(j, &of_words, &as_f32, carve, f->choice ? 2 : 1, threads);
}

static void run_forward(const qn_pairs_kernels *pairs, qn_pool *pool, const qn_conv2d *conv,
                        const qn_conv2d_bf16_forward *io, uint8_t *choice, void *scratch)
{
    qn_conv2d c = qn_conv2d_with_depth(conv);
    forward f = {.c = &c, .pairs = pairs, .io = io, .choice = choice};
    qn_correlation j;
    qn_carve carve = {.base = scratch};
    plan_forward(&j, &f, &carve, pool ? qn_pool_threads(pool) : 1);
    qn_split(pool, c.kd * c.kh * c.kw, qn_split_grain(c.cin * c.cout, PACK_GRAIN), pack_range, &f);
    qn_correlation_run(pool, &j);
}

static size_t forward_bytes(const qn_pairs_kernels *pairs, const qn_conv2d *conv, uint8_t *choice,
                            int threads)
{
    qn_conv2d c = qn_conv2d_with_depth(conv);
    qn_conv2d_bf16_forward io = {0};
    forward f = {.c = &c, .pairs = pairs, .io = &io, .choice = choice};
    qn_correlation j;
    qn_carve carve = {0};
    plan_forward(&j, &f, &carve, threads);
    return carve.used;
}

void qn_conv2d_bf16(const qn_pairs_kernels *pairs, qn_pool *pool, const qn_conv2d *conv,
                    const qn_conv2d_bf16_forward *io, void *scratch)
{
    run_forward(pairs, pool, conv, io, NULL, scratch);
}

size_t qn_conv2d_bf16_forward_scratch_bytes(const qn_pairs_kernels *pairs, const qn_conv2d *conv,
                                            int threads)
{
    return forward_bytes(pairs, conv, NULL, threads);
}

void qn_conv2d_relu_pool_bf16(const qn_pairs_kernels *pairs, qn_pool *pool, const qn_conv2d *conv,
                              const qn_conv2d_bf16_forward *io, uint8_t *choice, void *scratch)
{
    run_forward(pairs, pool, conv, io, choice, scratch);
}

size_t qn_conv2d_bf16_relu_pool_scratch_bytes(const qn_pairs_kernels *pairs, const qn_conv2d *conv,
                                              int threads)
{
    uint8_t some;
    return forward_bytes(pairs, conv, &some, threads);
}

/* To x. */

static qn_conv2d words_to_x(const qn_conv2d *conv)
{
    qn_conv2d c = *conv;
    c.cout /= 2;
    return c;
}

void qn_conv2d_transposed_bf16(const qn_pairs_kernels *pairs, qn_pool *pool, const qn_conv2d *conv,
                               const qn_conv2d_bf16_forward *io, void *scratch)
{
    qn_conv2d c = words_to_x(conv);
    qn_correlation source = {.tile = pairs->tile,
                             .src = words(io->x),
                             .bias = io->bias,
                             .act = io->act,
                             .slope = io->slope};
    qn_conv2d_grad_x_phases(pool, &c, io->y, words(io->weight), &source, scratch,
                            pool ? qn_pool_threads(pool) : 1);
}

size_t qn_conv2d_bf16_grad_x_scratch_bytes(const qn_pairs_kernels *pairs, const qn_conv2d *conv,
                                           int threads)
{
    qn_conv2d c = words_to_x(conv);
    qn_correlation source = {.tile = pairs->tile};
    return qn_conv2d_grad_x_phases(NULL, &c, NULL, NULL, &source, NULL, threads);
}

/* To the weights. */

typedef struct {
    const qn_conv2d *c; /* with its depth, all images */
    const qn_pairs_kernels *pairs;
    const uint16_t *x, *dy;
    const qn_unfolding *unfolding; /* makes dy; NULL = it is there */
} to_weights;

/* Two images as one. */
static qn_conv2d words_to_w(const qn_conv2d *conv)
{
    qn_conv2d c = *conv;
    c.n = (c.n + 1) / 2;
    return c;
}

/* Where a plane of the first image of a pair begins, and in *ret_apart how far behind it that of the second (0 = there is
 * none). */
static const uint16_t *pair_planes(const qn_conv2d *c, const uint16_t *images, int64_t plane,
                                   int64_t slices, int64_t count, int64_t *ret_apart)
{
    int64_t image = 2 * (plane / slices);
    *ret_apart = image + 1 < c->n ? slices * count : 0;
    return images + (image * slices + plane % slices) * count;
}

/* dst[i] = (low[i], that `apart` behind it); apart 0 = the second is 0. */
static void join(const to_weights *t, uint32_t *dst, const uint16_t *low, int64_t apart,
                 int64_t count)
{
    t->pairs->of_bf16.join(dst, count, low, apart, apart ? 2 : 1, count);
}

static const float *fetch_pairs(const void *context, int64_t plane, int64_t row, int64_t rows,
                                float *room)
{
    const to_weights *t = context;
    const qn_conv2d *c = t->c;
    if (t->unfolding)
        return qn_unfolding_rows(t->unfolding, plane, row, rows, room);
    int64_t line = c->ow * c->cout, apart;
    const uint16_t *low = pair_planes(c, t->dy, plane, c->od, c->oh * line, &apart);
    join(t, (uint32_t *)(void *)room, low + row * line, apart, rows * line);
    return room;
}

static const float *make_pairs(const void *context, const qn_plane *p, int64_t plane, int64_t row,
                               int64_t rows, float *pad)
{
    const to_weights *t = context;
    const qn_conv2d *c = t->c;
    int64_t first = row * p->row_step + p->row_first, count = qn_plane_rows(p, rows);
    int64_t from = qn_min_i64(qn_max_i64(-p->col_first, 0), p->width);
    int64_t to = qn_max_i64(qn_min_i64(p->w - p->col_first, p->width), from);
    int64_t apart;
    const uint16_t *low = pair_planes(c, t->x, plane, c->d, c->h * c->w * c->cin, &apart);
    uint32_t *dst = (uint32_t *)(void *)pad;
    for (int64_t r = first; r < first + count; r++, dst += p->pitch) {
        if (r < 0 || r >= c->h || from == to) {
            memset(dst, 0, (size_t)p->pitch * sizeof *dst);
            continue;
        }
        int64_t at = (r * c->w + p->col_first + from) * c->cin;
        memset(dst, 0, (size_t)(from * c->cin) * sizeof *dst);
        join(t, dst + from * c->cin, low + at, apart, (to - from) * c->cin);
        memset(dst + to * c->cin, 0, (size_t)((p->width - to) * c->cin) * sizeof *dst);
    }
    return pad;
}

static qn_conv2d_grad_w weights_io(const to_weights *t, float *dweight, float *dbias)
{
    return (qn_conv2d_grad_w){.dweight = dweight,
                              .dbias = dbias,
                              .make = make_pairs,
                              .pairs = t->pairs->tile,
                              .fetch = fetch_pairs,
                              .context = t,
                              .made = true,
                              .row_multiple = t->unfolding ? 2 : 1};
}

static size_t weights_bytes(const qn_pairs_kernels *pairs, const qn_conv2d *conv,
                            const qn_unfolding *unfolding, int threads)
{
    qn_conv2d c = words_to_w(conv);
    to_weights t = {.pairs = pairs, .unfolding = unfolding};
    qn_conv2d_grad_w io = weights_io(&t, NULL, NULL);
    return qn_conv2d_grad_w_bytes(&c, &io, threads);
}

void qn_conv2d_grad_w_bf16(const qn_pairs_kernels *pairs, qn_pool *pool, const qn_conv2d *conv,
                           const qn_conv2d_bf16_grad_w *io, void *scratch)
{
    qn_conv2d c = qn_conv2d_with_depth(conv), joined = words_to_w(conv);
    to_weights t = {.c = &c, .pairs = pairs, .x = io->x, .dy = io->dy};
    qn_conv2d_grad_w run = weights_io(&t, io->dweight, io->dbias);
    qn_conv2d_grad_w_run(pool, &joined, &run, scratch);
}

size_t qn_conv2d_bf16_grad_w_scratch_bytes(const qn_pairs_kernels *pairs, const qn_conv2d *conv,
                                           int threads)
{
    return weights_bytes(pairs, conv, NULL, threads);
}

/* Behind ReLU and pool. */

typedef struct {
    const qn_conv2d *c;
    const qn_conv_kernels *kernels;
    const qn_conv2d_bf16_pool_grad *io;
} pooled_grad;

/* The pooled row of an image that becomes rows `row` and row + 1. */
static qn_pooled_row pooled_row(const pooled_grad *g, int64_t image, int64_t row)
{
    const qn_conv2d *c = g->c;
    int64_t at = (image * (c->oh / 2) + row / 2) * (c->ow / 2) * c->cout;
    if (image >= c->n)
        return (qn_pooled_row){0};
    return (qn_pooled_row){g->io->dy + at, g->io->y + at, g->io->choice + at};
}

/* A column that the pool dropped has no gradient. `line` words of which the last `rest` are it. */
static void clear_rest(float *top, float *bottom, int64_t line, int64_t rest)
{
    memset(top + line - rest, 0, (size_t)rest * sizeof *top);
    memset(bottom + line - rest, 0, (size_t)rest * sizeof *bottom);
}

static void unfold_channels(const qn_unfolding *u, int64_t image, int64_t row, float *top,
                            float *bottom)
{
    const pooled_grad *g = u->context;
    const qn_conv2d *c = g->c;
    qn_pooled_row from = pooled_row(g, image, row);
    g->kernels->unpool_bf16((uint16_t *)(void *)top, (uint16_t *)(void *)bottom, &from, c->ow / 2,
                            c->cout);
    clear_rest(top, bottom, u->line, c->ow % 2 * c->cout / 2);
}

static void unfold_images(const qn_unfolding *u, int64_t pair, int64_t row, float *top,
                          float *bottom)
{
    const pooled_grad *g = u->context;
    const qn_conv2d *c = g->c;
    qn_pooled_row from[2] = {pooled_row(g, 2 * pair, row), pooled_row(g, 2 * pair + 1, row)};
    g->kernels->unpool_pairs((uint32_t *)(void *)top, (uint32_t *)(void *)bottom, from, c->ow / 2,
                             c->cout);
    clear_rest(top, bottom, u->line, c->ow % 2 * c->cout);
}

void qn_conv2d_relu_pool_grad_bf16(const qn_pairs_kernels *pairs, qn_pool *pool,
                                   const qn_conv2d *conv, const qn_conv2d_bf16_pool_grad *io,
                                   void *scratch)
{
    qn_conv2d c = qn_conv2d_with_depth(conv);
    pooled_grad g = {.c = &c, .kernels = qn_conv_f32_kernels(), .io = io};
    int64_t line = c.ow * c.cout;
    if (io->dweight) {
        qn_conv2d joined = words_to_w(conv);
        qn_unfolding images = {.rows = c.oh, .line = line, .pair = unfold_images, .context = &g};
        to_weights t = {.c = &c, .pairs = pairs, .x = io->x, .unfolding = &images};
        qn_conv2d_grad_w run = weights_io(&t, io->dweight, io->dbias);
        qn_conv2d_grad_w_run(pool, &joined, &run, scratch);
    }
    if (io->dx) {
        qn_conv2d halved = words_to_x(conv);
        qn_unfolding channels = {
            .rows = c.oh, .line = line / 2, .pair = unfold_channels, .context = &g};
        qn_correlation source = {
            .tile = pairs->tile, .fetch = qn_unfolding_block, .context = &channels};
        qn_conv2d_grad_x_phases(pool, &halved, io->dx, words(io->weight), &source, scratch,
                                pool ? qn_pool_threads(pool) : 1);
    }
}

size_t qn_conv2d_bf16_relu_pool_grad_scratch_bytes(const qn_pairs_kernels *pairs,
                                                   const qn_conv2d *conv, bool to_x, int threads)
{
    qn_unfolding some = {0};
    size_t most = weights_bytes(pairs, conv, &some, threads);
    qn_conv2d halved = words_to_x(conv);
    qn_correlation source = {.tile = pairs->tile, .fetch = qn_unfolding_block};
    size_t other =
        to_x ? qn_conv2d_grad_x_phases(NULL, &halved, NULL, NULL, &source, NULL, threads) : 0;
    return other > most ? other : most;
}
