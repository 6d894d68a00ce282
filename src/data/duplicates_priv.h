/* Row hashes and sets of them, for the profile and the split. */
#ifndef QN_DATA_DUPLICATES_PRIV_H
#define QN_DATA_DUPLICATES_PRIV_H

#include "data/frame.h"

uint64_t qn_row_hash(const qn_frame *frame, int64_t row);

typedef struct {
    uint64_t *slots;
    uint64_t mask;
} qn_row_set;
bool qn_row_set_init(qn_row_set *set, int64_t rows, qn_arena *arena); /* false = memory */
bool qn_row_set_has(const qn_row_set *set, uint64_t hash);
void qn_row_set_add(qn_row_set *set, uint64_t hash);

#endif
