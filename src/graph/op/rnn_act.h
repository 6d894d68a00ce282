/*
 * Activations of recurrent networks: ONNX's list, each with its slope as a function of its own value.
 */
#ifndef QN_GRAPH_OP_RNN_ACT_H
#define QN_GRAPH_OP_RNN_ACT_H

#include <stdbool.h>

#include "graph/op.h"

typedef enum {
    QN_RNN_ACT_SIGMOID,
    QN_RNN_ACT_TANH,
    QN_RNN_ACT_RELU,
    QN_RNN_ACT_AFFINE,           /* alpha x + beta */
    QN_RNN_ACT_LEAKY_RELU,       /* x, below 0 alpha x */
    QN_RNN_ACT_THRESHOLDED_RELU, /* x where x >= alpha, else 0 */
    QN_RNN_ACT_SCALED_TANH,      /* alpha tanh(beta x) */
    QN_RNN_ACT_HARD_SIGMOID,     /* alpha x + beta within [0, 1] */
    QN_RNN_ACT_ELU,              /* x, below 0 alpha (e^x - 1) */
    QN_RNN_ACT_SOFTSIGN,
    QN_RNN_ACT_SOFTPLUS,
    QN_RNN_ACTS
} qn_rnn_act_kind;

typedef struct {
    qn_rnn_act_kind kind;
    double alpha, beta;
} qn_rnn_act;

enum { QN_RNN_ACT_ROLES = 3 }; /* of gates, of the candidate, of the cell */

/*
 * Reads `words`: for each direction one word a role, with a space between, "sigmoid tanh tanh"; words for one direction
 * count for both, none at all for `usual`. A word may give alpha and beta: "leaky_relu:0.1", "affine:1:0.5".
 * Errors: ERR_ARG names the word, or how many are expected.
 */
QN_MUST_USE qn_status qn_rnn_acts_read(const char *words, const char *usual, int64_t dirs,
                                       qn_rnn_act ret[2][QN_RNN_ACT_ROLES], qn_error *err);
double qn_rnn_act_apply(const qn_rnn_act *act, double x);
/* The slope where the value is y. */
double qn_rnn_act_slope(const qn_rnn_act *act, double y);

#endif
