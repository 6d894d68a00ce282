/*
 * Ranges as chunks of the pool.
 */
#include "kernel/split.h"

#include "base/error.h"

typedef struct {
    qn_range_fn fn;
    qn_worker_range_fn worker_fn;
    void *context;
    int64_t count, grain;
} split;

static void split_chunk(void *context, int64_t chunk, int worker)
{
    const split *s = context;
    int64_t first = chunk * s->grain;
    int64_t end = first + s->grain < s->count ? first + s->grain : s->count;
    if (s->fn)
        s->fn(s->context, first, end);
    else
        s->worker_fn(s->context, first, end, worker);
}

static void split_run(qn_pool *pool, split *s)
{
    if (s->count <= 0)
        return;
    if (!pool || s->count < 2 * s->grain)
        s->grain = s->count;
    int64_t chunks = (s->count + s->grain - 1) / s->grain;
    if (chunks == 1)
        split_chunk(s, 0, 0);
    else
        qn_pool_run(pool, split_chunk, s, chunks);
}

void qn_split(qn_pool *pool, int64_t count, int64_t grain, qn_range_fn fn, void *context)
{
    QN_ASSERT(fn);
    split s = {.fn = fn, .context = context, .count = count, .grain = grain};
    split_run(pool, &s);
}

void qn_split_workers(qn_pool *pool, int64_t count, int64_t grain, qn_worker_range_fn fn,
                      void *context)
{
    QN_ASSERT(fn);
    split s = {.worker_fn = fn, .context = context, .count = count, .grain = grain};
    split_run(pool, &s);
}

int64_t qn_split_grain(int64_t unit_cost, int64_t cost)
{
    int64_t grain = cost / (unit_cost > 0 ? unit_cost : 1);
    return grain > 0 ? grain : 1;
}
