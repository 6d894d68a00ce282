/*
 * Functions of one number, forward and backward, f32.
 *
 * Accuracy (ulp against the exact value, AVX2 and AVX-512; the portable ones are libm's): exp, log,
 * sigmoid, tanh, erf, sin, cos (|x| <= 1e4), softplus <= 4; gelu, silu, mish <= 8 away from their
 * zero (swish: half a unit more for each unit of alpha x), elsewhere <= 2e-7 absolute; arithmetic
 * ones are exact or correctly rounded. NaN in gives NaN out; exp overflows to inf and flushes below
 * 2^-126.
 */
#ifndef QN_KERNEL_UNARY_H
#define QN_KERNEL_UNARY_H

#include <stdbool.h>
#include <stdint.h>

#include "os/pool.h"

/* X(name, what the backward wants: 0 = nothing, 1 = the input x, 2 = the output y) */
#define QN_UNARY_MAP(X)                                                                            \
    X(RELU, 2)                                                                                     \
    X(LEAKY, 1) /* alpha = slope */                                                                \
    X(ELU, 1)   /* alpha */                                                                        \
    X(SIGMOID, 2)                                                                                  \
    X(TANH, 2)                                                                                     \
    X(GELU, 1)                                                                                     \
    X(GELU_TANH, 1)                                                                                \
    X(SILU, 1)                                                                                     \
    X(SOFTPLUS, 1)                                                                                 \
    X(SWISH, 1) /* x sigmoid(alpha x) */                                                           \
    X(HARD_SWISH, 1)                                                                               \
    X(SOFTSIGN, 1)                                                                                 \
    X(MISH, 1)                                                                                     \
    X(THRESHOLD, 1) /* x where x > alpha, else 0 */                                                \
    X(EXP, 2)                                                                                      \
    X(LOG, 1)                                                                                      \
    X(LOG1P, 1)                                                                                    \
    X(SQRT, 2)                                                                                     \
    X(RSQRT, 2)                                                                                    \
    X(NEG, 0)                                                                                      \
    X(ABS, 1)                                                                                      \
    X(RECIP, 2)                                                                                    \
    X(SQUARE, 1)                                                                                   \
    X(ERF, 1)                                                                                      \
    X(SIN, 1)                                                                                      \
    X(COS, 1)                                                                                      \
    X(SIGN, 0)  /* gradient 0 */                                                                   \
    X(FLOOR, 0) /* gradient 0 */                                                                   \
    X(CEIL, 0)  /* gradient 0 */                                                                   \
    X(ROUND, 0) /* to even; gradient 0 */                                                          \
    X(COPY, 0)

typedef enum {
#define X(name, saved) QN_UNARY_##name,
    QN_UNARY_MAP(X)
#undef X
        QN_UNARY_COUNT
} qn_unary;

/* What `saved` is in qn_unary_grad_f32: 0 = unused (may be NULL), 1 = x, 2 = y. */
int qn_unary_saved(qn_unary op);
/* dst[i] = f(src[i]); dst may be src. alpha: of LEAKY, ELU, SWISH and THRESHOLD, else ignored. */
void qn_unary_f32(qn_pool *pool, qn_unary op, float *dst, const float *src, int64_t count,
                  float alpha);
/* dx[i] = dy[i] * f'(x[i]); dx may be dy. At kinks: relu'(0) = 0, leaky'(0) = slope, abs'(0) = 0.
 */
void qn_unary_grad_f32(qn_pool *pool, qn_unary op, float *dx, const float *dy, const float *saved,
                       int64_t count, float alpha);
/* dst[i] = min(max(src[i], low), high), NaN kept; gradient: dy where low <= x <= high, else 0. */
void qn_clamp_f32(qn_pool *pool, float *dst, const float *src, int64_t count, float low,
                  float high);
void qn_clamp_grad_f32(qn_pool *pool, float *dx, const float *dy, const float *x, int64_t count,
                       float low, float high);
/* dst[i] = scale * src[i] + shift. dst may be src. */
void qn_affine_f32(qn_pool *pool, float *dst, const float *src, int64_t count, float scale,
                   float shift);
/* dst[i] = *scale * src[i], the factor read when run. dst may be src. */
void qn_scale_by_f32(qn_pool *pool, float *dst, const float *src, int64_t count,
                     const float *scale);
/* dst[i] += scale * src[i] */
void qn_axpy_f32(qn_pool *pool, float *dst, const float *src, int64_t count, float scale);

#endif
