/*
 * Updates beyond SGD and Adam that look at one element at a time, over one flat buffer of parameters, f32, one pass each. The
 * formulae stand in graph/op/optim_flat.c. What changes from step to step is read through pointers when the kernel runs.
 */
#ifndef QN_KERNEL_UPDATE_H
#define QN_KERNEL_UPDATE_H

#include <stdbool.h>
#include <stdint.h>

#include "os/pool.h"

typedef enum {
    QN_UPDATE_ADAGRAD,          /* moments: sum of squares */
    QN_UPDATE_RMSPROP,          /* mean of squares */
    QN_UPDATE_RMSPROP_MOMENTUM, /* mean of squares, velocity */
    QN_UPDATE_RMSPROP_CENTERED, /* mean of squares, velocity, mean */
    QN_UPDATE_ADADELTA,         /* mean of squares, mean of squared updates */
    QN_UPDATE_NADAM,            /* first, second */
    QN_UPDATE_LION,             /* first */
    QN_UPDATE_AVERAGE,          /* none: weight += lr * (grad - weight) */
    QN_UPDATE_KINDS
} qn_update_kind;

enum { QN_UPDATE_MOMENTS = 3 };

typedef struct {
    int64_t count;
    float *weight, *moments[QN_UPDATE_MOMENTS]; /* NULL beyond the kind's own */
    const float *grad;
    const float *lr;
    const int64_t *step;     /* 1 at the first update; NULL for AVERAGE */
    const float *grad_scale; /* NULL = 1 */
    const float *product;    /* NADAM: of the momenta up to this step */
    double beta1, beta2, rho, momentum, eps, weight_decay, lr_decay, momentum_decay;
    bool decoupled; /* NADAM: decay of the weight, not of the gradient; LION always */
} qn_update;
void qn_update_f32(qn_pool *pool, qn_update_kind kind, const qn_update *io);

#endif
