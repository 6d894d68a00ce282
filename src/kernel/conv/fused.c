/*
 * Convolution, bias, ReLU and a 2x2 max pool in one pass, and back. Forward, the rows of a block are pooled while they
 * lie in the nearest cache. Backward, the gradient to those rows is unfolded from the pooled one block by block, just
 * before it is used; it never exists as a whole.
 */
#include <string.h>

#include "base/checked.h"
#include "kernel/conv/conv_priv.h"
#include "kernel/conv/winograd.h"

enum { FEW_TERMS = 128 }; /* a pool costs as much as some 20 of them */

typedef struct {
    const qn_conv2d *c;
    const qn_conv_kernels *kernels;
    float *y;
    const float *pooled, *dy;
    uint8_t *choice;
    const uint8_t *chosen;
} fused;

void qn_conv2d_pool_rows(const qn_conv2d *c, float *y, uint8_t *choice, int64_t image, int64_t row,
                         int64_t rows, const float *block)
{
    const qn_conv_kernels *kernels = qn_conv_f32_kernels();
    int64_t width = c->ow / 2, line = c->ow * c->cout;
    for (int64_t r = 0; r + 1 < rows; r += 2) {
        int64_t at = (image * (c->oh / 2) + (row + r) / 2) * width * c->cout;
        kernels->pool(y + at, choice ? choice + at : NULL, block + r * line, block + (r + 1) * line,
                      width, c->cout);
    }
}

static void emit_pooled(const qn_correlation *j, int64_t image, int64_t row, int64_t rows,
                        const float *block)
{
    const fused *f = j->context;
    qn_conv2d_pool_rows(f->c, f->y, f->choice, image, row, rows, block);
}

/* With few terms the pool is part of the strips, otherwise it takes finished rows. */
static void plan_forward(qn_correlation *j, const qn_conv2d *conv, const qn_conv2d_forward *io,
                         uint8_t *choice, qn_carve *carve, int threads)
{
    qn_conv2d_forward relu = *io;
    relu.act = QN_ACT_RELU;
    relu.added = NULL;
    j->pooled = conv->groups == 1 && conv->kd <= 1 && conv->d <= 1 && conv->od <= 1 &&
                conv->kh * conv->kw * conv->cin <= FEW_TERMS;
    j->emit = j->pooled ? NULL : emit_pooled;
    j->choice = choice;
    qn_conv2d_plan_forward(j, conv, &relu, carve, 2, threads);
    if (!j->pooled)
        return;
    j->dst_row = conv->ow / 2 * conv->cout;
    j->dst_image = j->dst_slice = conv->oh / 2 * j->dst_row;
}

void qn_conv2d_relu_pool_f32(qn_pool *pool, const qn_conv2d *conv, const qn_conv2d_forward *io,
                             uint8_t *choice, void *scratch)
{
    if (qn_winograd_takes(conv)) {
        const qn_winograd taken = {.io = *io, .pooled = true, .choice = choice};
        qn_winograd_forward(pool, conv, &taken, scratch);
        return;
    }
    fused f = {.c = conv, .kernels = qn_conv_f32_kernels(), .y = io->y, .choice = choice};
    qn_correlation j = {.context = &f};
    qn_carve carve = {.base = scratch};
    plan_forward(&j, conv, io, choice, &carve, pool ? qn_pool_threads(pool) : 1);
    qn_correlation_run(pool, &j);
}

/* Columns [0, ow) of both rows. A column that the pool dropped has no gradient. */
static void unfold_pair(const qn_unfolding *u, int64_t image, int64_t row, float *top,
                        float *bottom)
{
    const fused *f = u->context;
    const qn_conv2d *c = f->c;
    int64_t width = c->ow / 2, at = (image * (c->oh / 2) + row / 2) * width * c->cout;
    size_t rest = (size_t)((c->ow - 2 * width) * c->cout) * sizeof(float);
    f->kernels->unpool(top, bottom, f->dy + at, f->pooled + at, f->chosen + at, width, c->cout);
    memset(top + 2 * width * c->cout, 0, rest);
    memset(bottom + 2 * width * c->cout, 0, rest);
}

/* Rows [row, end) of an image's gradient to dst, row even. An odd last row was dropped by the pool, so pairs are whole. */
static void unfold_rows(const qn_unfolding *u, int64_t image, int64_t row, int64_t end, float *dst)
{
    for (; row < end; row += 2, dst += 2 * u->line) {
        if (row / 2 < u->rows / 2)
            u->pair(u, image, row, dst, dst + u->line);
        else
            memset(dst, 0, (size_t)u->line * sizeof(float));
    }
}

const float *qn_unfolding_rows(const void *context, int64_t image, int64_t row, int64_t rows,
                               float *room)
{
    unfold_rows(context, image, row, row + rows, room);
    return room;
}

const float *qn_unfolding_block(const qn_correlation *j, int64_t image, int64_t row, int64_t rows,
                                float *pad)
{
    const qn_plane *p = &j->plane;
    int64_t count = qn_plane_rows(p, rows), source = row * p->row_step + p->row_first;
    int64_t first = qn_max_i64(source, 0) / 2 * 2, end = qn_min_i64(source + count, p->h);
    float *room = pad + count * p->pitch;
    if (first < end) {
        end = qn_min_i64((end + 1) / 2 * 2, p->h);
        unfold_rows(j->context, image, first, end, room);
    }
    qn_plane_copy(p, pad, room, first, end, source, count);
    return pad;
}

static fused fused_of(const qn_conv2d *conv, const qn_conv2d_pool_grad *io)
{
    return (fused){.c = conv,
                   .kernels = qn_conv_f32_kernels(),
                   .pooled = io->y,
                   .dy = io->dy,
                   .chosen = io->choice};
}

static void grad_w(qn_pool *pool, const qn_conv2d *conv, const qn_conv2d_pool_grad *io,
                   const qn_unfolding *u, void *scratch)
{
    if (qn_winograd_takes_grad_w(conv)) {
        const qn_winograd_grad_w taken = {.dweight = io->dweight,
                                          .dbias = io->dbias,
                                          .x = io->x,
                                          .dy = io->dy,
                                          .y = io->y,
                                          .choice = io->choice};
        qn_winograd_grad_w_run(pool, conv, &taken, scratch);
        return;
    }
    qn_conv2d_grad_w to_w = {.dweight = io->dweight,
                             .dbias = io->dbias,
                             .x = io->x,
                             .fetch = qn_unfolding_rows,
                             .context = u,
                             .made = true,
                             .row_multiple = 2};
    qn_conv2d_grad_w_run(pool, conv, &to_w, scratch);
}

static void grad_x(qn_pool *pool, const qn_conv2d *conv, const qn_conv2d_pool_grad *io,
                   const qn_unfolding *u, void *scratch)
{
    if (qn_winograd_takes_grad_x(conv)) {
        const qn_winograd taken = {
            .io = {.weight = io->weight, .y = io->dx}, .fetch = qn_unfolding_rows, .context = u};
        qn_winograd_grad_x(pool, conv, &taken, scratch);
        return;
    }
    qn_correlation source = {.fetch = qn_unfolding_block, .context = u};
    qn_conv2d_grad_x_phases(pool, conv, io->dx, io->weight, &source, scratch,
                            pool ? qn_pool_threads(pool) : 1);
}

void qn_conv2d_relu_pool_grad_f32(qn_pool *pool, const qn_conv2d *conv,
                                  const qn_conv2d_pool_grad *io, void *scratch)
{
    fused f = fused_of(conv, io);
    qn_unfolding u = {
        .rows = conv->oh, .line = conv->ow * conv->cout, .pair = unfold_pair, .context = &f};
    if (io->dweight)
        grad_w(pool, conv, io, &u, scratch);
    if (io->dx)
        grad_x(pool, conv, io, &u, scratch);
}

size_t qn_conv2d_relu_pool_scratch_bytes(const qn_conv2d *conv, bool packed, int threads)
{
    static const float some[1]; /* weights that are packed, whatever they are */
    const qn_conv2d_forward io = {.packed = packed ? some : NULL};
    qn_correlation j = {0};
    qn_carve carve = {0};
    if (qn_winograd_takes(conv))
        return qn_winograd_forward_bytes(conv, &(qn_winograd){.io = io, .pooled = true}, threads);
    plan_forward(&j, conv, &io, NULL, &carve, threads);
    return carve.used;
}

static size_t grad_x_bytes(const qn_conv2d *conv, int threads)
{
    qn_correlation source = {.fetch = qn_unfolding_block};
    if (qn_winograd_takes_grad_x(conv))
        return qn_winograd_grad_x_bytes(conv, &(qn_winograd){.fetch = qn_unfolding_rows}, threads);
    return qn_conv2d_grad_x_phases(NULL, conv, NULL, NULL, &source, NULL, threads);
}

size_t qn_conv2d_relu_pool_grad_scratch_bytes(const qn_conv2d *conv, int threads)
{
    qn_conv2d_grad_w plain = {.made = true, .row_multiple = 2};
    size_t to_x = grad_x_bytes(conv, threads);
    size_t to_w = qn_winograd_takes_grad_w(conv) ? qn_winograd_grad_w_bytes(conv, true, threads)
                                                 : qn_conv2d_grad_w_bytes(conv, &plain, threads);
    return to_x > to_w ? to_x : to_w;
}
