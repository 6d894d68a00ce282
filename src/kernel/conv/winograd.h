/*
 * Convolution of 3x3 filters by Winograd's minimal filtering F(2x2, 3x3), for planes of stride 1 with enough channels:
 * 16 products where the definition has 36. An image is cut into tiles of 2x2 output pixels, each of which reads 4x4:
 *
 *     y = A' [(G w G') * (B' d B)] A      * : number by number, summed over input channels
 *
 *          1  0 -1  0          1   0   0          1  1  1  0
 *     B' = 0  1  1  0      G = ½   ½   ½     A' = 0  1 -1 -1
 *          0 -1  1  0          ½  -½   ½
 *          0  1  0 -1          0   0   1
 *
 * The sums over channels are 16 products of matrices, [tiles, channels] by [channels, filters]. The gradient to the input
 * is the same with rotated weights; the gradient to the weights sums over tiles instead:
 *
 *     dw = G' [(A dy A') * (B' d B)] G
 *
 * Only additions and exact halves surround the products, so the error stays within a few units in the last place of the
 * sums of absolute terms over a tile (docs/decisions/0003-winograd.md). NaN reaches the same pixels as by the
 * definition; where the definition gives an infinity, NaN may stand.
 * Source: Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, arXiv 1509.09308.
 */
#ifndef QN_KERNEL_WINOGRAD_H
#define QN_KERNEL_WINOGRAD_H

#include "kernel/conv/conv_priv.h"

/* Whether the forward, the gradient to x, or that to the weights goes this way: by the shape of an image and of the
 * weights, never by how many images there are. */
bool qn_winograd_takes(const qn_conv2d *conv);
bool qn_winograd_takes_grad_x(const qn_conv2d *conv);
bool qn_winograd_takes_grad_w(const qn_conv2d *conv);

/* Weights as the products read them: [panel][16][cin][columns of the panel]. */
size_t qn_winograd_packed_bytes(const qn_conv2d *conv);
void qn_winograd_pack(qn_pool *pool, const qn_conv2d *conv, float *dst, const float *weight);

typedef struct {
    qn_conv2d_forward io;
    /* ReLU and a 2x2 pool follow: y is the pooled one, and choice its places, or NULL */
    bool pooled;
    uint8_t *choice;
    /* NULL: x lies in io.x. Otherwise its rows are made in a room, in multiples of 2 */
    qn_rows_fetch fetch;
    const void *context;
} qn_winograd;
void qn_winograd_forward(qn_pool *pool, const qn_conv2d *conv, const qn_winograd *io,
                         void *scratch);
size_t qn_winograd_forward_bytes(const qn_conv2d *conv, const qn_winograd *io, int threads);

/* The gradient to x: io.x is dy and io.y is dx. */
void qn_winograd_grad_x(qn_pool *pool, const qn_conv2d *conv, const qn_winograd *io, void *scratch);
size_t qn_winograd_grad_x_bytes(const qn_conv2d *conv, const qn_winograd *io, int threads);

/* The gradient to the weights, from dy or, with y and choice, from that of the pool behind. */
typedef struct {
    float *dweight, *dbias; /* dbias may be NULL */
    const float *x, *dy, *y;
    const uint8_t *choice;
} qn_winograd_grad_w;
void qn_winograd_grad_w_run(qn_pool *pool, const qn_conv2d *conv, const qn_winograd_grad_w *io,
                            void *scratch);
size_t qn_winograd_grad_w_bytes(const qn_conv2d *conv, bool pooled, int threads);

#endif
