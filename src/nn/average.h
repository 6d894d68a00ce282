/*
 * Averages of weights: a graph that moves "average.NAME" towards each weight, and towards each running statistic of batch_norm,
 * by the share in its input "train.share": average += share (weight - average).
 *
 * share 1 copies. 1 - decay after every update is an exponential moving average (Polyak and Juditsky 1992; PyTorch's
 * AveragedModel with get_ema_multi_avg_fn and use_buffers); 1 / (n + 1) after the n-th epoch before is stochastic weight averaging
 * (Izmailov et al. 2018).
 */
#ifndef QN_NN_AVERAGE_H
#define QN_NN_AVERAGE_H

#include "base/error.h"
#include "graph/graph.h"

/* Over the states of `model`, an inference graph. The graph is the caller's. */
QN_MUST_USE qn_status qn_nn_average_create(const qn_graph *model, qn_graph **ret, qn_error *err);
/* The name of the average of a state, in dst of `size` bytes. */
void qn_nn_average_name(const char *name, char *dst, int size);

#endif
