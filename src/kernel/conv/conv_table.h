/* What each ISA provides for conv.h and conv_bf16.h beside the matrix micro-kernel. */
#ifndef QN_KERNEL_CONV_TABLE_H
#define QN_KERNEL_CONV_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "kernel/gemm/tile.h"

/*
 * Winograd's transforms (winograd.h), for a row of 2x2 tiles of an image at a time. What they make or read as 16 planes
 * has number e of tile t, channel c at planes[e * plane + t * channels + c].
 */

/* B' d B of the 4x4 pixels d around each tile. */
typedef struct {
    const float *row[4]; /* image rows from the top of the tiles; NULL: outside, zero */
    int64_t col, width;  /* left of the first tile, may be outside: zero; pixels of a row */
    int64_t pixel;       /* floats from one pixel to the next */
    int64_t tiles, channels;
    float *planes;
    int64_t plane;
} qn_winograd_source;

/* A' m A of the planes, then bias, an added tensor, ReLU. Pixel (r, s) of the tiles lies at dst + r * row + s * pixel. */
typedef struct {
    const float *planes;
    int64_t plane, tiles, channels;
    float *dst;
    int64_t row, pixel;
    int64_t rows, cols; /* that exist: 1 or 2, at most 2 * tiles */
    const float *bias;  /* [channels] or NULL */
    const float *added; /* lies as dst, or NULL */
    bool relu;
} qn_winograd_result;

/* The same with a pool behind it, after bias and ReLU: tile t's largest at dst + t * pixel, its place at choice (NULL:
 * not wanted) + t * pixel. */
typedef struct {
    const float *planes;
    int64_t plane, tiles, channels;
    float *dst;
    uint8_t *choice;
    int64_t pixel;
    const float *bias;
} qn_winograd_pooled;

/* A dy A' of the 2x2 pixels of each tile: from rows of dy, or from what a pool's gradient says of them. */
typedef struct {
    const float *row[2]; /* NULL: outside, zero */
    int64_t width;       /* pixels of a row; those behind are zero */
    const float *dy, *y; /* or, with row[0] NULL: pooled, as for unpool, with a choice */
    const uint8_t *choice;
    int64_t pixel, tiles, channels;
    float *planes;
    int64_t plane;
} qn_winograd_grad;

/* A row of bf16 behind ReLU and a 2x2 pool: the gradient to it, itself, and where each number came from (0..3). */
typedef struct {
    const uint16_t *dy;
    const float *y;
    const uint8_t *choice;
} qn_pooled_row;

typedef struct {
    /* As the matrix strip, but column c of C meets column c of A only (one channel per group):
     * C[i, c] = sum over s, k of a[row[i] + seg[s] + k * step + c] * b[(s * seg_len + k) * ldb + c]. Any number of cols. */
    void (*depthwise)(const qn_strip *strip);
    /* One row of a 2x2 pool with stride 2: `count` outputs of `channels`, from rows top and bottom.
     * choice may be NULL. */
    void (*pool)(float *y, uint8_t *choice, const float *top, const float *bottom, int64_t count,
                 int64_t channels);
    /* The matrix strip with ReLU and the pool behind it: its rows come by fours, the places of a window, and C has a row
     * of stride ldc for each. choice lies as C, or NULL. Starts from 0; added is not read. */
    void (*strip_pooled)(const qn_strip *strip, uint8_t *choice);
    /* Its backward, through a ReLU when y is given (dy passes where y > 0): writes 2 * count pixels of both rows. */
    void (*unpool)(float *top, float *bottom, const float *dy, const float *y,
                   const uint8_t *choice, int64_t count, int64_t channels);
    /* The same of bf16, always through the ReLU. */
    void (*unpool_bf16)(uint16_t *top, uint16_t *bottom, const qn_pooled_row *row, int64_t count,
                        int64_t channels);
    /* Of two images, as pairs (gemm/pairs.h), the first one low; the second row may have no dy, which is zeros. */
    void (*unpool_pairs)(uint32_t *top, uint32_t *bottom, const qn_pooled_row rows[2],
                         int64_t count, int64_t channels);
    void (*winograd_source)(const qn_winograd_source *source);
    void (*winograd_result)(const qn_winograd_result *result);
    void (*winograd_pooled)(const qn_winograd_pooled *result);
    void (*winograd_grad)(const qn_winograd_grad *grad);
    /* G w G' of 3x3 weights for `count` pairs of channels: tap t at src + t * tap, number e to dst + e * plane. */
    void (*winograd_weights)(float *dst, int64_t plane, const float *src, int64_t tap,
                             int64_t count);
    /* G' p G, its transpose: number e at src + e * plane, tap t to dst + t * tap. */
    void (*winograd_weights_grad)(float *dst, int64_t tap, const float *src, int64_t plane,
                                  int64_t count);
} qn_conv_kernels;

extern const qn_conv_kernels qn_conv_f32_ref, qn_conv_f32_neon, qn_conv_f32_avx2,
    qn_conv_f32_avx512;
const qn_conv_kernels *qn_conv_f32_kernels(void);

/* In plain C, for ISAs that multiply no pairs, too. */
void qn_conv_unpool_bf16_ref(uint16_t *top, uint16_t *bottom, const qn_pooled_row *row,
                             int64_t count, int64_t channels);
void qn_conv_unpool_pairs_ref(uint32_t *top, uint32_t *bottom, const qn_pooled_row rows[2],
                              int64_t count, int64_t channels);

#endif
