/* What passes share. */
#ifndef QN_GRAPH_PASS_PASS_PRIV_H
#define QN_GRAPH_PASS_PASS_PRIV_H

#include "graph/pass/pass.h"

/* live[]: spreads from marked values to all that they need, and to the other outputs of needed nodes. */
void qn_pass_mark(const qn_graph *graph, bool *live);

#endif
