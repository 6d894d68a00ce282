/*
 * Recurrent networks, f32: forward and backward through time with ONNX's weights and order of gates (RNN; LSTM i o f g;
 * GRU z r n, reset after its product or, with reset_first, before it).
 *
 * Rows of the batch are independent, so a worker takes a few rows through all steps without meeting the others: both
 * weights, side by side in panels of the micro-kernel, stay in its L2, and a step is one small product of [x, state] and
 * one pass over the gates. Gradients of weights are one large product over all steps at the end.
 */
#ifndef QN_KERNEL_RNN_H
#define QN_KERNEL_RNN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernel/gemm/pairs.h"
#include "os/pool.h"

typedef enum { QN_RNN_TANH, QN_RNN_RELU, QN_RNN_GRU, QN_RNN_LSTM } qn_rnn_kind;

/* Shapes: x [steps, batch, input], or [batch, steps, input] when batch_first; weight [dirs, G hidden, input], recurrent
 * [dirs, G hidden, hidden], bias [dirs, 2 G hidden] or NULL; states [dirs, batch, hidden], or [batch, dirs, hidden];
 * lengths [batch] or NULL. Steps at or beyond a row's length give 0 and leave its state alone. */
typedef struct {
    qn_rnn_kind kind;
    int64_t dirs, steps, batch, input, hidden;
    bool batch_first, reverse, reset_first;
    /* Not NULL: factors enter products as bf16, pairs of it (qn_pairs): x, weights, the state as it is multiplied, and
     * slopes; the state itself, gates and sums stay f32. */
    const qn_pairs_kernels *pairs;
    bool ragged; /* there will be lengths: scratch is asked for before their address is known */
    const float *x, *weight, *recurrent, *bias, *h0, *c0;
    const int64_t *lengths;
} qn_rnn;

/* y [steps, dirs, batch, hidden] or [batch, steps, dirs, hidden]; h and c the last states (c of LSTM only); kept [dirs,
 * steps, batch, S hidden] or [dirs, batch, steps, S hidden]: the gates, for the backward (S = 1, 4 GRU, 5 LSTM), or NULL. */
typedef struct {
    float *y, *h, *c, *kept;
} qn_rnn_result;
size_t qn_rnn_scratch_bytes(const qn_rnn *io, int threads);
void qn_rnn_f32(qn_pool *pool, const qn_rnn *io, const qn_rnn_result *result, void *scratch);

/* From dy, dh and dc (each NULL = 0) and what the forward gave. slopes, like kept with S = 1 or 4, are the gradients of
 * the gates' sums. dx, dweight, drecurrent, dbias and slopes may be NULL. */
typedef struct {
    const float *y, *kept, *dy, *dh, *dc;
    float *dx, *dweight, *drecurrent, *dbias, *dh0, *dc0, *slopes;
} qn_rnn_grad;
size_t qn_rnn_grad_scratch_bytes(const qn_rnn *io, int threads);
void qn_rnn_grad_f32(qn_pool *pool, const qn_rnn *io, const qn_rnn_grad *grad, void *scratch);

#endif
