/*
 * Pooling, channels last, f32: largest (with its place kept for the backward), average, and global
 * forms.
 */
#ifndef QN_KERNEL_POOL_H
#define QN_KERNEL_POOL_H

#include <stdbool.h>
#include <stdint.h>

#include "os/pool.h"

/*
 * Shapes: x [n, h, w, c], y [n, oh, ow, c]. The window of y[n, r, s] covers
 * x[r * stride_h - pad_top + i * dilation_h, s * stride_w - pad_left + j * dilation_w]; places
 * outside x never win a maximum. Each window must hold at least one place inside x. The caller
 * chooses oh and ow (floor or ceil).
 */
typedef struct {
    int64_t n, h, w, c, oh, ow;
    int64_t kh, kw, stride_h, stride_w, pad_top, pad_left, pad_bottom, pad_right, dilation_h,
        dilation_w;
    /* Volumes: x [n, d, h, w, c], y [n, od, oh, ow, c], places i * kh * kw + ...; kd 0 = planes. */
    int64_t d, od, kd, stride_d, pad_front, pad_back, dilation_d;
    bool count_include_pad; /* average: divide by the places in x and in the stated padding */
} qn_pool2d;

/* Bytes of one element of `choice`: 1 while kd * kh * kw <= 255, else 4 (u8 or i32: i * kw + j of the
 * first largest in row-major order; the first NaN wins). */
int qn_pool2d_choice_bytes(const qn_pool2d *shape);
/* choice [n, oh, ow, c] or NULL when no backward follows. */
void qn_max_pool2d_f32(qn_pool *pool, const qn_pool2d *shape, float *y, void *choice,
                       const float *x);
/* dx is overwritten. */
void qn_max_pool2d_grad_f32(qn_pool *pool, const qn_pool2d *shape, float *dx, const float *dy,
                            const void *choice);
void qn_avg_pool2d_f32(qn_pool *pool, const qn_pool2d *shape, float *y, const float *x);
void qn_avg_pool2d_grad_f32(qn_pool *pool, const qn_pool2d *shape, float *dx, const float *dy);
/* The p-norm, 1 <= p <= 64: y = (sum |x|^p)^(1 / p) over the places inside x; dx = sum of dy sign(x) (|x| / y)^(p - 1), nothing
 * where y is 0. Accuracy: |error| <= (k + 8) eps * y for k places, (2 p + k + 4) eps * the sum of |terms| backward. */
void qn_norm_pool2d_f32(qn_pool *pool, const qn_pool2d *shape, int p, float *y, const float *x);
typedef struct {
    const float *dy, *x, *y;
} qn_norm_pool_grad;
void qn_norm_pool2d_grad_f32(qn_pool *pool, const qn_pool2d *shape, int p, float *dx,
                             const qn_norm_pool_grad *from);

/*
 * Adaptive: y [n, out..., c] over x [n, in..., c]; output o of `out` covers [floor(o in / out), ceil((o + 1) in / out)) of
 * each dimension (as PyTorch). choice, i32: the pixel of the image, the first largest or first NaN; NULL = nobody asks.
 * Backward a choice outside the image counts nothing. Missing dimensions are 1 and stand in front.
 */
typedef struct {
    int64_t n, c, in[3], out[3];
} qn_adaptive_pool;
void qn_adaptive_max_f32(qn_pool *pool, const qn_adaptive_pool *shape, float *y, int32_t *choice,
                         const float *x);
void qn_adaptive_max_grad_f32(qn_pool *pool, const qn_adaptive_pool *shape, float *dx,
                              const float *dy, const int32_t *choice);
void qn_adaptive_avg_f32(qn_pool *pool, const qn_adaptive_pool *shape, float *y, const float *x);
void qn_adaptive_avg_grad_f32(qn_pool *pool, const qn_adaptive_pool *shape, float *dx,
                              const float *dy);

/*
 * MaxUnpool of ONNX: y [n, to, c] is zeros but for elements of x [n, from, c], each added at its index, flat in [n, c, to];
 * an index outside counts nothing. The gradient picks dy where x went, 0 where it went nowhere.
 */
typedef struct {
    int64_t n, c, from, to; /* pixels of x and y */
} qn_unpool;
void qn_unpool_f32(qn_pool *pool, const qn_unpool *shape, float *y, const float *x,
                   const int64_t *index);
void qn_unpool_grad_f32(qn_pool *pool, const qn_unpool *shape, float *dx, const float *dy,
                        const int64_t *index);

/* Global: y[n, c] over x[n, pixels, c]. choice: i32 pixel of the first largest, or NULL. */
void qn_global_max_f32(qn_pool *pool, float *y, int32_t *choice, const float *x, int64_t n,
                       int64_t pixels, int64_t c);
void qn_global_max_grad_f32(qn_pool *pool, float *dx, const float *dy, const int32_t *choice,
                            int64_t n, int64_t pixels, int64_t c);
void qn_global_avg_f32(qn_pool *pool, float *y, const float *x, int64_t n, int64_t pixels,
                       int64_t c);
void qn_global_avg_grad_f32(qn_pool *pool, float *dx, const float *dy, int64_t n, int64_t pixels,
                            int64_t c);

#endif
