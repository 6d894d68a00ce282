/*
 * Ranges as chunks of the pool.
 */
#include "kernel/split.h"

typedef struct {
    qn_range_fn fn;
    void *context;
    int64_t count, grain;
} split;

static void split_chunk(void *context, int64_t chunk, int worker)
{
    (void)worker;
    const split *s = context;
    int64_t first = chunk * s->grain;
    int64_t end = first + s->grain < s->count ? first + s->grain : s->count;
    s->fn(s->context, first, end);
}

void qn_split(qn_pool *pool, int64_t count, int64_t grain, qn_range_fn fn, void *context)
{
    if (count <= 0)
        return;
    if (!pool || count < 4 * grain) {
        fn(context, 0, count);
        return;
    }
    split s = {fn, context, count, grain};
    qn_pool_run(pool, split_chunk, &s, (count + grain - 1) / grain);
}

int64_t qn_split_grain(int64_t unit_cost, int64_t cost)
{
    int64_t grain = cost / (unit_cost > 0 ? unit_cost : 1);
    return grain > 0 ? grain : 1;
}
