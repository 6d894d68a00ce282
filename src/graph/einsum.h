/*
 * Einstein sums, as ONNX's Einsum writes them: "bij,bjk->bik".
 */
#ifndef QN_GRAPH_EINSUM_H
#define QN_GRAPH_EINSUM_H

#include "graph/graph.h"

/* Adds the sum as ordinary nodes (Transpose, Reshape, MatMul, ReduceSum), so it runs on their
 * kernels and has their gradients.
 * Errors: sticky, as all building calls; ERR_ARG for an equation that does not fit the inputs.
 * Returns QN_NONE then. */
qn_value qn_graph_einsum(qn_graph *graph, const char *equation, const qn_value *inputs,
                         int inputs_count);

#endif
