/*
 * The state: named tensors that outlive a run. Parameters, optimiser moments, batch-norm
 * statistics, the step counter: exactly what a checkpoint holds. Several plans (training,
 * evaluation, serving at other batch sizes) share one state; trainable tensors lie side by side in
 * one flat buffer per kind so that optimisers and checkpoints walk one range.
 */
#ifndef QN_GRAPH_STATE_H
#define QN_GRAPH_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "graph/graph.h"
#include "tensor/tensor.h"

typedef struct qn_state qn_state;

QN_MUST_USE qn_status qn_state_create(qn_state **ret, qn_error *err);
void qn_state_destroy(qn_state *state);
/* Adds every state value of the graph that is not there yet, initialised from the seed. A name that
 * is there with another type is an error that names both. */
QN_MUST_USE qn_status qn_state_add_graph(qn_state *state, const qn_graph *graph, uint64_t seed,
                                         qn_error *err);
int qn_state_count(const qn_state *state);
const qn_named_tensor *qn_state_at(const qn_state *state,
                                   int index); /* creation order; stable pointers */
const qn_named_tensor *qn_state_find(const qn_state *state, const char *name);
/* All trainable f32 states of the first graph added as one flat tensor, in creation order, each
 * starting at a multiple of 64 bytes with zeros between. False = there is none. */
bool qn_state_flat(const qn_state *state, qn_tensor *ret);
/* Copies values in by name from elsewhere (a checkpoint, a model file); type must match. */
QN_MUST_USE qn_status qn_state_set(qn_state *state, const char *name, const qn_tensor *value,
                                   qn_error *err);
/* A deep copy of all values (best weights), and back. */
QN_MUST_USE qn_status qn_state_snapshot(const qn_state *state, qn_state **ret, qn_error *err);
void qn_state_restore(qn_state *state, const qn_state *snapshot);

#endif
