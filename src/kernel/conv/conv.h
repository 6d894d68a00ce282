/*
 * Convolution (cross-correlation, as ONNX Conv) over planes or volumes, channels last, f32: forward
 * with bias, a tensor added and activation, transposed, gradients to the input and to the weights.
 * Direct: shifted blocks of the matrix kernel over a few padded input rows; the batch is never
 * unfolded into columns.
 */
#ifndef QN_KERNEL_CONV_H
#define QN_KERNEL_CONV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernel/act.h"
#include "os/pool.h"

/*
 * Shapes: x [n, h, w, cin], weight [kh, kw, cin / groups, cout], bias [cout], y [n, oh, ow, cout],
 * contiguous. Output channels of group g are [g * cout / groups, (g + 1) * cout / groups) and read
 * input channels [g * cin / groups, ...). Padding is given at the top and left; bottom and right
 * follow from oh and ow: y[n, r, s, :] reads x[n, r * stride_h - pad_top + i * dilation_h, s *
 * stride_w - pad_left + j * dilation_w, :], and what lies outside x is zero. Pads are >= 0; strides
 * and dilations >= 1. The depth (kd and what belongs to it) makes volumes of planes: x [n, d, h, w,
 * cin], weight [kd, kh, kw, ...], y [n, od, oh, ow, cout], with a rule of the same kind; kd 0 = none.
 * Sequences are planes one pixel wide: h, kh, stride_h, ... are theirs, w = kw = ow = 1.
 */
typedef struct {
    int64_t n, h, w, cin, oh, ow, cout;
    int64_t kh, kw;
    int64_t stride_h, stride_w, pad_top, pad_left, dilation_h, dilation_w, groups;
    int64_t d, od, kd, stride_d, pad_front, dilation_d;
} qn_conv2d;

/* The most any of the calls below needs for this shape, 64-byte aligned. */
size_t qn_conv2d_f32_scratch_bytes(const qn_conv2d *conv, int threads);
/* What each needs: the forward, with weights as they are or packed; the gradient to x and the
 * transpose; the gradient to the weights. */
size_t qn_conv2d_forward_scratch_bytes(const qn_conv2d *conv, bool packed, int threads);
size_t qn_conv2d_grad_x_scratch_bytes(const qn_conv2d *conv, int threads);
size_t qn_conv2d_grad_w_scratch_bytes(const qn_conv2d *conv, int threads);

/* Weights in the order in which the forward reads them: made once where they do not change, they
 * need not be copied at every call. The bytes are 0 where that saves nothing (groups). */
size_t qn_conv2d_packed_bytes(const qn_conv2d *conv);
void qn_conv2d_pack(const qn_conv2d *conv, float *dst, const float *weight);

/* y = act(conv(x, weight) + bias + added). bias may be NULL; so may added, which has y's shape and
 * may be y. packed: of qn_conv2d_pack, instead of weight; or NULL. slope: of QN_ACT_LEAKY. */
typedef struct {
    const float *x, *weight, *packed, *bias, *added;
    float *y;
    qn_act act;
    float slope;
} qn_conv2d_forward;
void qn_conv2d_f32(qn_pool *pool, const qn_conv2d *conv, const qn_conv2d_forward *io,
                   void *scratch);

/* The transpose, as ONNX ConvTranspose: dx as below, with bias [cin] and activation; x is the
 * gradient's dy, [n, oh, ow, cout], and y its dx, [n, h, w, cin]. packed and added are not used. */
void qn_conv2d_transposed_f32(qn_pool *pool, const qn_conv2d *conv, const qn_conv2d_forward *io,
                              void *scratch);
/* dx = gradient to x, from dy (already multiplied by the activation's derivative). dx is
 * overwritten. */
void qn_conv2d_grad_x_f32(qn_pool *pool, const qn_conv2d *conv, float *dx, const float *dy,
                          const float *weight, void *scratch);
/* dweight and dbias (NULL = not wanted), overwritten. The sum over the batch runs in blocks fixed
 * by the shape. */
void qn_conv2d_grad_w_f32(qn_pool *pool, const qn_conv2d *conv, float *dweight, float *dbias,
                          const float *x, const float *dy, void *scratch);

/*
 * Convolution with bias and ReLU, then a 2x2 max pool of stride 2 (VALID: an odd last row or column
 * is dropped), in one pass: the convolution's own output is never stored. Shapes: y [n, oh / 2, ow
 * / 2, cout]; choice the same, u8: 0..3 = row * 2 + column of the first largest, or NULL where
 * nobody asks. The backward wants `choice` and y: the gradient passes where y > 0. Of io, act, slope and
 * added are not used.
 */
void qn_conv2d_relu_pool_f32(qn_pool *pool, const qn_conv2d *conv, const qn_conv2d_forward *io,
                             uint8_t *choice, void *scratch);
size_t qn_conv2d_relu_pool_scratch_bytes(const qn_conv2d *conv, bool packed, int threads);
/* Gradients of the above from dy [n, oh / 2, ow / 2, cout]; any of dx, dweight, dbias may be NULL.
 */
typedef struct {
    float *dx, *dweight, *dbias;
    const float *dy, *y, *x, *weight;
    const uint8_t *choice;
} qn_conv2d_pool_grad;
void qn_conv2d_relu_pool_grad_f32(qn_pool *pool, const qn_conv2d *conv,
                                  const qn_conv2d_pool_grad *io, void *scratch);
size_t qn_conv2d_relu_pool_grad_scratch_bytes(const qn_conv2d *conv, int threads);

#endif
