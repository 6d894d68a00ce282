/* What the row of attention shares with its binding. */
#ifndef QN_GRAPH_OP_ATTENTION_H
#define QN_GRAPH_OP_ATTENTION_H

#include <stdint.h>

/* How much a head takes from the score of a key for each position that it is away. Source: Press et al. 2022. */
double qn_op_alibi_slope(int64_t head, int64_t heads);

#endif
