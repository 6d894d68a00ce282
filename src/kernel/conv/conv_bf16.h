/*
 * Convolution of bf16 with sums and results in f32, for shapes and calls of conv.h. Where the machine multiplies pairs of
 * bf16 (AVX512_BF16, AMX) the drivers of f32 run over words of two numbers: two channels, or for the gradient to the
 * weights the same number of two images; `pairs` (qn_pairs) multiplies them. Elsewhere that is NULL, and callers widen. Not
 * for groups.
 */
#ifndef QN_KERNEL_CONV_BF16_H
#define QN_KERNEL_CONV_BF16_H

#include "kernel/conv/conv.h"
#include "kernel/gemm/pairs.h"

typedef enum { QN_CONV_FORWARD, QN_CONV_GRAD_X, QN_CONV_GRAD_W } qn_conv_pass;
/* Whether a pass of this shape gains by pairs. The others must not be asked of the functions below: pairs are of input
 * channels forward (more than one), of output channels to x (an even number), of images to the weights. */
bool qn_conv2d_bf16_takes(const qn_conv2d *conv, qn_conv_pass pass);

/*
 * Accuracy, of all that follow: |error| <= (k + 2) eps * (sum of |products| + |bias| + |added|) before the activation, k
 * products, eps that of f32; denormals may count as 0. The same bits for any number of threads.
 */

/* As qn_conv2d_f32; weight [kh, kw, cin, cout]. */
typedef struct {
    const uint16_t *x, *weight;
    const float *bias, *added;
    float *y;
    qn_act act;
    float slope;
} qn_conv2d_bf16_forward;
void qn_conv2d_bf16(const qn_pairs_kernels *pairs, qn_pool *pool, const qn_conv2d *conv,
                    const qn_conv2d_bf16_forward *io, void *scratch);
size_t qn_conv2d_bf16_forward_scratch_bytes(const qn_pairs_kernels *pairs, const qn_conv2d *conv,
                                            int threads);

/* As qn_conv2d_transposed_f32: a pass to x, with bias and activation. For the gradient alone only x (which is dy), weight
 * and y (which is dx) are given. */
void qn_conv2d_transposed_bf16(const qn_pairs_kernels *pairs, qn_pool *pool, const qn_conv2d *conv,
                               const qn_conv2d_bf16_forward *io, void *scratch);
size_t qn_conv2d_bf16_grad_x_scratch_bytes(const qn_pairs_kernels *pairs, const qn_conv2d *conv,
                                           int threads);

/* As qn_conv2d_grad_w_f32; dbias may be NULL. */
typedef struct {
    float *dweight, *dbias;
    const uint16_t *x, *dy;
} qn_conv2d_bf16_grad_w;
void qn_conv2d_grad_w_bf16(const qn_pairs_kernels *pairs, qn_pool *pool, const qn_conv2d *conv,
                           const qn_conv2d_bf16_grad_w *io, void *scratch);
size_t qn_conv2d_bf16_grad_w_scratch_bytes(const qn_pairs_kernels *pairs, const qn_conv2d *conv,
                                           int threads);

/* As qn_conv2d_relu_pool_f32: a forward pass; io->y is pooled, io->added and io->act are not used. */
void qn_conv2d_relu_pool_bf16(const qn_pairs_kernels *pairs, qn_pool *pool, const qn_conv2d *conv,
                              const qn_conv2d_bf16_forward *io, uint8_t *choice, void *scratch);
/* As qn_conv2d_relu_pool_grad_f32: any of dx (a pass to x), dweight and dbias may be NULL. */
typedef struct {
    float *dx, *dweight, *dbias;
    const uint16_t *dy, *x, *weight;
    const float *y;
    const uint8_t *choice;
} qn_conv2d_bf16_pool_grad;
void qn_conv2d_relu_pool_grad_bf16(const qn_pairs_kernels *pairs, qn_pool *pool,
                                   const qn_conv2d *conv, const qn_conv2d_bf16_pool_grad *io,
                                   void *scratch);
/* For the forward, and for the gradients (to_x: with dx). */
size_t qn_conv2d_bf16_relu_pool_scratch_bytes(const qn_pairs_kernels *pairs, const qn_conv2d *conv,
                                              int threads);
size_t qn_conv2d_bf16_relu_pool_grad_scratch_bytes(const qn_pairs_kernels *pairs,
                                                   const qn_conv2d *conv, bool to_x, int threads);

#endif
