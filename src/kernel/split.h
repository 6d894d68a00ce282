/*
 * Cutting a range of independent pieces into chunks for the pool. Results that are sums never go through here: their
 * blocks are fixed by each family.
 */
#ifndef QN_KERNEL_SPLIT_H
#define QN_KERNEL_SPLIT_H

#include <stdint.h>

#include "os/pool.h"

typedef void (*qn_range_fn)(void *context, int64_t first, int64_t end);

/* Calls fn over [0, count) in ranges of `grain`; as one range in the caller when count < 2 * grain, so choose a grain
 * of 3 to 5 us of work, much beside handing it to another core. */
void qn_split(qn_pool *pool, int64_t count, int64_t grain, qn_range_fn fn, void *context);
/* The same, and tells fn which worker it runs in ([0, threads); 0 in the caller's own range) for scratch. */
typedef void (*qn_worker_range_fn)(void *context, int64_t first, int64_t end, int worker);
void qn_split_workers(qn_pool *pool, int64_t count, int64_t grain, qn_worker_range_fn fn,
                      void *context);
/* Pieces of `unit_cost` (say, elements each) that make about `cost` together; at least 1. */
int64_t qn_split_grain(int64_t unit_cost, int64_t cost);

#endif
