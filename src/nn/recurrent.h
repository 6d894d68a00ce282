/*
 * Recurrent layers over [B, T, I], alone and stacked.
 */
#ifndef QN_NN_RECURRENT_H
#define QN_NN_RECURRENT_H

#include "nn/layers.h"

typedef enum { QN_NN_RNN, QN_NN_GRU, QN_NN_LSTM } qn_nn_recurrent_kind;

/* States weight [D, G units, I], recurrent [D, G units, units], bias [D, 2 G units] in ONNX's order of gates, D = 2
 * when bidirectional; they begin uniform in +-1 / sqrt(units), as in PyTorch. GRU resets after its product, as in
 * Keras and PyTorch, unless reset_first, as in its paper and ONNX's default. */
typedef struct {
    qn_nn_recurrent_kind kind;
    int64_t units;
    bool bidirectional, reverse;
    bool sequences; /* every step's output [B, T, D units], not the last state [B, D units] */
    /* One of tanh relu sigmoid hard_sigmoid leaky_relu elu softsign softplus linear, with the defaults of nn/layers.h.
     * Others than the usual ones run without kernels. */
    const char *activation;      /* NULL = tanh */
    const char *gate_activation; /* GRU, LSTM: NULL = sigmoid */
    qn_nn_reparam reparam;       /* of both weights */
    /* where h0 and c0 are not given: states "NAME.h0" and "NAME.c0" [D, units] that all rows share */
    bool trained_start;
    bool reset_first;
    /* A run begins where the one before ended: states "NAME.h" and "NAME.c" [carried, D, units], B = carried rows. In
     * training no gradient flows into them: back-propagation is truncated at the window (Williams and Peng 1990). */
    int64_t carried;
    /* Of qn_nn_recurrent_stack. */
    int64_t layers; /* 0 = 1 */
    double dropout; /* between layers */
} qn_nn_recurrent_options;

/* lengths: i64 [B], how many steps of each row count; h0, c0 [B, D, units]: where they begin. QN_NONE = all, zeros. */
qn_value qn_nn_recurrent(const qn_nn_scope *at, qn_value x, qn_value lengths, qn_value h0,
                         qn_value c0, const qn_nn_recurrent_options *options);
/* `layers` of them, "NAME.0" and so on where there are several, all but the last giving every step (PyTorch's num_layers
 * and dropout). start [B, N]: the numbers of PyTorch's h_0, layer by layer and in it direction by direction, then those
 * of an LSTM's c_0; QN_NONE = zeros. */
qn_value qn_nn_recurrent_stack(const qn_nn_scope *at, qn_value x, qn_value lengths, qn_value start,
                               const qn_nn_recurrent_options *options);

#endif
