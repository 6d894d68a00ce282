/*
 * What the walk of grad.c asks of checkpointing: see recompute.c.
 */
#ifndef QN_GRAPH_RECOMPUTE_H
#define QN_GRAPH_RECOMPUTE_H

#include <stdlib.h>

#include "graph/graph_priv.h"

typedef struct {
    int *ends;     /* by segment: its last node */
    qn_value *map; /* of the forward values: their copy in the backward pass, or QN_NONE */
    int segments, current, values_count;
} qn_recompute;

/* From the graph's marks. false = memory; deinit in any case. */
bool qn_recompute_init(qn_recompute *again, const qn_graph *graph);
void qn_recompute_deinit(qn_recompute *again);
/* What a gradient reads for a value of the forward pass. `again` NULL: the value itself. */
qn_value qn_recompute_value(const qn_recompute *again, qn_value value);
/* The walk is at `node`: builds the nodes of its segment once more, the first time. `again` may be NULL. */
void qn_recompute_enter(qn_recompute *again, qn_graph *graph, int node);

#endif
