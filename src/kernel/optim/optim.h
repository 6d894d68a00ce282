/*
 * Optimiser updates over one flat buffer of parameters, f32, one pass each. What changes from step
 * to step (learning rate, step number, gradient scale) is read through pointers when the kernel
 * runs, so one plan serves all steps.
 */
#ifndef QN_KERNEL_OPTIM_H
#define QN_KERNEL_OPTIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "os/pool.h"

/* As PyTorch's SGD: g = scale * grad + decay * w;  v = momentum * v + (1 - dampening) * g, and v =
 * g at step 1; w -= lr * (nesterov ? g + momentum * v : v). Without momentum: w -= lr * g. */
typedef struct {
    int64_t count;
    float *weight, *velocity; /* velocity NULL when momentum is 0 */
    const float *grad;
    const float *lr;
    const int64_t *step;     /* 1 at the first update */
    const float *grad_scale; /* NULL = 1 */
    float momentum, dampening, weight_decay;
    bool nesterov;
} qn_sgd;
void qn_sgd_f32(qn_pool *pool, const qn_sgd *io);

/* Kingma and Ba, 2015, and Loshchilov and Hutter, 2019 (decoupled), as PyTorch computes them:
 * m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2;  w -= lr / (1 - b1^t) * m / (sqrt(v / (1 -
 * b2^t)) + eps). decoupled: w *= 1 - lr * decay first (AdamW); else g += decay * w (L2). */
typedef struct {
    int64_t count;
    float *weight, *first, *second;
    const float *grad;
    const float *lr;
    const int64_t *step;                    /* 1 at the first update */
    const float *grad_scale;                /* NULL = 1 */
    double beta1, beta2, eps, weight_decay; /* 1 - 0.999f is 1.3e-5 beside 0.001 */
    bool decoupled;
} qn_adam;
void qn_adam_f32(qn_pool *pool, const qn_adam *io);

/* Clipping by global norm, in two calls: the sum of squares of each gradient buffer in blocks of
 * fixed size (added to *sum when `accumulate`, in f64), then the factor min(1, max_norm /
 * (sqrt(sum) + 1e-6)) for grad_scale. */
size_t qn_grad_square_scratch_bytes(int64_t count);
void qn_grad_square_f32(qn_pool *pool, double *sum, const float *grad, int64_t count,
                        bool accumulate, void *scratch);
void qn_grad_clip_scale(float *scale, const double *sum, float max_norm);

#endif
