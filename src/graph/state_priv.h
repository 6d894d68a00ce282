/*
 * Where states lie, for plans: states of one block are neighbours in memory, and the blocks of roles mirror the
 * block of their parameters.
 */
#ifndef QN_GRAPH_STATE_PRIV_H
#define QN_GRAPH_STATE_PRIV_H

#include "graph/state.h"

typedef struct {
    int block;
    size_t offset, block_bytes;
} qn_state_place;
/* false = no such state */
bool qn_state_find_place(const qn_state *state, const char *name, qn_state_place *ret);

#endif
