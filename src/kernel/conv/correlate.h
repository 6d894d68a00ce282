/*
 * The loop that forward convolution and the gradient to the input share: every output pixel is a sum over taps of
 * source pixels times a slab of weights, run as strips of the matrix micro-kernel over blocks of output rows.
 */
#ifndef QN_KERNEL_CORRELATE_H
#define QN_KERNEL_CORRELATE_H

#include <stddef.h>
#include <stdint.h>

#include "kernel/carve.h"
#include "kernel/conv/conv_table.h"
#include "kernel/conv/plane.h"
#include "kernel/gemm/tile.h"
#include "os/pool.h"

typedef struct qn_correlation qn_correlation;

/* The third dimension of a volume: slice o of `out` sums `taps` planes, slice o * step + first + t * spacing of `in`
 * with the weights of tap t; planes outside count nothing. A plane is a volume of one slice: {1, 1, 1, 1, 0, 1}. */
typedef struct {
    int64_t in, out, taps, step, first, spacing;
} qn_slices;

/* The taps of a filter within a plane, and how far apart they read, in pixels. */
typedef struct {
    int64_t rows, cols, row_gap, col_gap;
} qn_taps;

/* Fills the block for output rows [row, row + rows) of an image (source rows with margins) and returns it. Behind the
 * block there is room for two source rows more than it has, without margins. The plane must be a copied one. */
typedef const float *(*qn_block_fetch)(const qn_correlation *job, int64_t image, int64_t row,
                                       int64_t rows, float *pad);
/* Takes finished output rows (contiguous pixels) instead of having them stored at dst. */
typedef void (*qn_block_emit)(const qn_correlation *job, int64_t image, int64_t row, int64_t rows,
                              const float *block);

struct qn_correlation {
    qn_plane plane;
    qn_slices slices;
    int64_t images, groups, group_in, group_out; /* channels of one group on either side */
    int64_t segs, seg_len; /* runs of contiguous source floats; depth = segs * seg_len */
    int64_t *seg;          /* [segs] offsets in a block */
    /* Weights of group g: weight + g * weight_group, [depth, group_out] with row stride ldb; or, when `panelled`,
     * panel by panel, each [depth, cols] contiguous. */
    const float *weight;
    int64_t weight_group, weight_slice, ldb; /* weight_slice: from a tap of the depth to the next */
    bool panelled, depthwise;
    const float *bias;  /* [groups * group_out] or NULL */
    const float *added; /* lies as dst; or NULL */
    qn_act act;
    float slope;
    const float *src; /* [images, slices.in, h, w, channels] */
    float *
        dst; /* + image * dst_image + slice * dst_slice + row * dst_row + col * dst_pixel + channel */
    int64_t dst_image, dst_slice, dst_row, dst_pixel;
    qn_block_fetch fetch; /* NULL: from src */
    qn_block_emit emit;   /* NULL: store at dst */
    const void *context;  /* of fetch and emit */
    /* ReLU and a 2x2 pool in the strips themselves: dst holds what is pooled, rows are counted before it, and choice (or
     * NULL) lies as dst. For few terms, a plane, no groups, nothing added and no emit. */
    bool pooled;
    uint8_t *choice;
    const qn_tile_kernels *tile; /* NULL: that of f32; of pairs: channels and weights count words */
    /* derived by qn_correlation_plan */
    const qn_conv_kernels *conv;
    int64_t block_rows, blocks, block_segs, *row;
    int64_t items,
        splits; /* panels, or groups: what a block's channels are shared out by, into so many parts */
    float *pad, *out; /* one of each per worker */
    int64_t *held;    /* per worker: the plane and block that its pad holds + 1, 0 = none */
    int64_t pad_floats, out_floats;
};

/* Fills in what follows from the rest. row_multiple: blocks start at multiples of it. The tables are written when the
 * carve has memory; `seg` must be set before. */
void qn_correlation_plan(qn_correlation *job, qn_carve *carve, int64_t row_multiple, int threads);
/* Before that: the runs of a filter of `taps` within the source block, into segs, seg_len and seg. */
void qn_correlation_runs(qn_correlation *job, const qn_taps *taps, qn_carve *carve);
void qn_correlation_run(qn_pool *pool, qn_correlation *job);
/* Rows and blocks: as many output rows as make about `pixels`, in equal blocks. */
int64_t qn_block_rows(int64_t out_h, int64_t out_w, int64_t pixels, int64_t multiple);

#endif
