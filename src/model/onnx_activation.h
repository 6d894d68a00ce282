/*
 * Activations of recurrent networks, by ONNX's names and ours.
 */
#ifndef QN_MODEL_ONNX_ACTIVATION_H
#define QN_MODEL_ONNX_ACTIVATION_H

#include <stdbool.h>

#include "graph/op/rnn_act.h"

/* alpha, beta: which of the lists activation_alpha and activation_beta a function takes from. */
typedef struct {
    const char *onnx, *own;
    bool alpha, beta;
} qn_onnx_activation;
extern const qn_onnx_activation qn_onnx_activations[QN_RNN_ACTS];

#endif
