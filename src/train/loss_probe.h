/*
 * A loss by itself, as training computes it, of answers as a model gives them: a graph of one node and its plan. What the C
 * interface and the metrics of arrays measure with.
 */
#ifndef QN_TRAIN_LOSS_PROBE_H
#define QN_TRAIN_LOSS_PROBE_H

#include "base/error.h"
#include "graph/plan.h"
#include "nn/losses.h"

typedef struct {
    qn_graph *graph;
    qn_state *state;
    qn_plan *plan;
    float *answers; /* for the caller to fill before a run */
    void *target;   /* the same, of qn_nn_loss_target; NULL = the loss has none */
} qn_loss_probe;

/* closing: the activation that made the answers ("softmax", "sigmoid"), which losses of scores take back. answers: their type,
 * the first dimension is how many rows one run looks at. Close in any case. Errors: ERR_ARG naming both shapes. */
QN_MUST_USE qn_status qn_loss_probe_open(qn_loss_probe *probe, const qn_nn_loss *loss,
                                         const char *closing, const qn_type *answers,
                                         qn_error *err);
double qn_loss_probe_run(qn_loss_probe *probe);
void qn_loss_probe_close(qn_loss_probe *probe);

#endif
