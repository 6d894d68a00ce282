/*
 * What the files of this folder share.
 */
#ifndef QN_KERNEL_CONV_PRIV_H
#define QN_KERNEL_CONV_PRIV_H

#include "kernel/conv/conv.h"
#include "kernel/conv/correlate.h"

/* Planes as volumes of one slice: kd 0 becomes a depth of 1. */
qn_conv2d qn_conv2d_with_depth(const qn_conv2d *conv);
/* x as the filter reads it, one slice of depth at a time. */
qn_plane qn_conv2d_plane(const qn_conv2d *c, bool copied);

/* The forward correlation of a convolution; tile, fetch and emit stay as the caller set them. */
void qn_conv2d_plan_forward(qn_correlation *job, const qn_conv2d *conv, const qn_conv2d_forward *io,
                            qn_carve *carve, int64_t row_multiple, int threads);

/* dx from what `source` says about dy (src, or fetch and context) and the tile. Without dx only measures. */
size_t qn_conv2d_grad_x_phases(qn_pool *pool, const qn_conv2d *conv, float *dx, const float *weight,
                               const qn_correlation *source, void *scratch, int threads);

/* Gives the contiguous rows [row, row + rows) of dy of an image, in place or made in `room`. */
typedef const float *(*qn_rows_fetch)(const void *context, int64_t image, int64_t row, int64_t rows,
                                      float *room);
/* As qn_plane_block: the block of x for output rows [row, row + rows), made in `pad`. plane counts images and slices. */
typedef const float *(*qn_block_make)(const void *context, const qn_plane *block, int64_t plane,
                                      int64_t row, int64_t rows, float *pad);

typedef struct {
    float *dweight, *dbias; /* dbias may be NULL */
    const float *x;
    qn_block_make make; /* instead of x; NULL = from x */
    const qn_tile_kernels
        *pairs; /* NULL = f32; else x and dy are made of words: an image is two, side by side */
    qn_rows_fetch fetch;
    const void *context;
    bool made;            /* fetch writes to room */
    int64_t row_multiple; /* rows are asked for in multiples of it, but for the last */
} qn_conv2d_grad_w;
void qn_conv2d_grad_w_run(qn_pool *pool, const qn_conv2d *conv, const qn_conv2d_grad_w *io,
                          void *scratch);
size_t qn_conv2d_grad_w_bytes(const qn_conv2d *conv, const qn_conv2d_grad_w *io, int threads);

/* The gradient before a fused ReLU and pool, made by pairs of rows just before it is used. */
typedef struct qn_unfolding qn_unfolding;
struct qn_unfolding {
    int64_t rows, line; /* of an image of the convolution: rows, and numbers (or words) of one */
    /* Makes rows `row` (even) and row + 1, both of which exist. */
    void (*pair)(const qn_unfolding *unfolding, int64_t image, int64_t row, float *top,
                 float *bottom);
    const void *context;
};
/* A qn_rows_fetch and a qn_block_fetch whose context is a qn_unfolding. */
const float *qn_unfolding_rows(const void *context, int64_t image, int64_t row, int64_t rows,
                               float *room);
/* As qn_plane_block: the pairs of rows that the block touches are made behind it, then copied between margins. */
const float *qn_unfolding_block(const qn_correlation *job, int64_t image, int64_t row, int64_t rows,
                                float *pad);

/* The 2x2 pool over finished rows [row, row + rows) of an image, row even: to y and choice of the whole batch. */
void qn_conv2d_pool_rows(const qn_conv2d *c, float *y, uint8_t *choice, int64_t image, int64_t row,
                         int64_t rows, const float *block);

#endif
