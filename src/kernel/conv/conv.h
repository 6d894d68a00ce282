/*
 * Two-dimensional convolution (cross-correlation, as ONNX Conv), channels last, f32: forward with
 * bias and activation, gradients to the input and to the weights. Direct: shifted blocks of the
 * matrix kernel over a few padded input rows; the batch is never unfolded into columns.
 */
#ifndef QN_KERNEL_CONV_H
#define QN_KERNEL_CONV_H

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
 * and dilations >= 1.
 */
typedef struct {
    int64_t n, h, w, cin, oh, ow, cout;
    int64_t kh, kw;
    int64_t stride_h, stride_w, pad_top, pad_left, dilation_h, dilation_w, groups;
} qn_conv2d;

/* The most any of the calls below needs for this shape, 64-byte aligned. */
size_t qn_conv2d_f32_scratch_bytes(const qn_conv2d *conv, int threads);

/* y = act(conv(x, weight) + bias). bias may be NULL. slope: of QN_ACT_LEAKY. */
typedef struct {
    const float *x, *weight, *bias;
    float *y;
    qn_act act;
    float slope;
} qn_conv2d_forward;
void qn_conv2d_f32(qn_pool *pool, const qn_conv2d *conv, const qn_conv2d_forward *io,
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
 * / 2, cout]; choice the same, u8: 0..3 = row * 2 + column of the first largest. The backward wants
 * `choice` and y: the gradient passes where y > 0.
 */
void qn_conv2d_relu_pool_f32(qn_pool *pool, const qn_conv2d *conv, float *y, uint8_t *choice,
                             const float *x, const float *weight, const float *bias, void *scratch);
/* Gradients of the above from dy [n, oh / 2, ow / 2, cout]; any of dx, dweight, dbias may be NULL.
 */
typedef struct {
    float *dx, *dweight, *dbias;
    const float *dy, *y, *x, *weight;
    const uint8_t *choice;
} qn_conv2d_pool_grad;
void qn_conv2d_relu_pool_grad_f32(qn_pool *pool, const qn_conv2d *conv,
                                  const qn_conv2d_pool_grad *io, void *scratch);
/* For both calls above. */
size_t qn_conv2d_relu_pool_scratch_bytes(const qn_conv2d *conv, int threads);

#endif
