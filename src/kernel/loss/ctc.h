/*
 * Connectionist temporal classification with its gradient, f32; the recursion stands in graph/op/ctc.c. Vectors run over classes
 * in the log-softmax part and over states in the recursion; rows are shared out.
 */
#ifndef QN_KERNEL_CTC_H
#define QN_KERNEL_CTC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "os/pool.h"

typedef struct {
    int64_t rows, frames, classes, labels_max, blank;
    const float *logits;          /* [rows, frames, classes] */
    const int64_t *labels;        /* [rows, labels_max] */
    const int64_t *frames_counts; /* [rows], or NULL: all */
    const int64_t *labels_counts; /* [rows], or NULL: up to the first negative label */
    bool sum, zero_infinity;
    float *loss;    /* scalar, or NULL */
    float *dlogits; /* [rows, frames, classes], or NULL */
    float *kept;    /* [rows, frames + 2, 2 labels_max + 1]: alpha and beta */
} qn_ctc;

size_t qn_ctc_scratch_bytes(int64_t rows, int64_t frames, int64_t labels_max);
/* A label that is no class, or is the blank, makes the loss NaN. */
void qn_ctc_f32(qn_pool *pool, const qn_ctc *io, void *scratch);

#endif
