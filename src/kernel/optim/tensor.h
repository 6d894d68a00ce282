/*
 * Updates that look at a parameter as a whole, f32: LAMB and Adafactor. The formulae stand in graph/op/optim_tensor.c. Sums run
 * in blocks fixed by the shape and meet in f64, so that threads change nothing.
 */
#ifndef QN_KERNEL_OPTIM_TENSOR_H
#define QN_KERNEL_OPTIM_TENSOR_H

#include <stddef.h>
#include <stdint.h>

#include "os/pool.h"

/* Two passes: moments with both norms, then the weights. */
typedef struct {
    int64_t count;
    float *weight, *first, *second;
    const float *grad;
    const float *lr;
    const int64_t *step;     /* 1 at the first update */
    const float *grad_scale; /* NULL = 1 */
    double beta1, beta2, eps, weight_decay;
} qn_lamb;
size_t qn_lamb_scratch_bytes(int64_t count);
void qn_lamb_f32(qn_pool *pool, const qn_lamb *io, void *scratch);

/* weight and grad: `matrices` of [rows, cols]. row [matrices, rows] and col [matrices, cols] are means of squares; row NULL: a
 * vector (matrices and rows are 1), whose col holds every element's own. */
typedef struct {
    int64_t matrices, rows, cols;
    float *weight, *row, *col;
    const float *grad;
    const float *lr;
    const int64_t *step;
    const float *grad_scale;
    double beta2_decay, eps1, eps2, clip, weight_decay;
} qn_adafactor;
size_t qn_adafactor_scratch_bytes(int64_t matrices, int64_t rows, int64_t cols);
void qn_adafactor_f32(qn_pool *pool, const qn_adafactor *io, void *scratch);

#endif
