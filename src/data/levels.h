/*
 * A counting set of texts: category levels, labels, distinct values. Indices are given in order of first appearance.
 */
#ifndef QN_DATA_LEVELS_H
#define QN_DATA_LEVELS_H

#include <stdint.h>

#include "base/arena.h"
#include "base/str.h"

typedef struct {
    qn_str *keys; /* point to wherever the added texts lie */
    int64_t *counts;
    int64_t count;
    int64_t *slots; /* open addressing: index + 1, 0 = empty; private */
    int64_t slots_count, capacity;
    qn_arena *arena;
} qn_levels;

/* Memory: all in `arena`, at most twice the final size. */
void qn_levels_init(qn_levels *levels, qn_arena *arena);
/* Index of the text, added when new, its count raised by `times`; -1 = memory. The text must outlive the set. */
int64_t qn_levels_add(qn_levels *levels, qn_str key, int64_t times);
/* -1 = absent. Threads: any number of readers. */
int64_t qn_levels_find(const qn_levels *levels, qn_str key);

#endif
