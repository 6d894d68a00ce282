/*
 * The choice of the random kernels. Chunks start at Philox blocks; a source that does not is walked by the portable
 * kernel, which takes any first element.
 */
#include "kernel/random/random.h"

#include "kernel/isa.h"
#include "kernel/random/random_table.h"
#include "kernel/split.h"

enum { GRAIN = 16384 }; /* elements, a multiple of 4: about a third of a nanosecond each */

static const qn_random_kernels *choose(const qn_random_source *source)
{
    static const qn_random_kernels *const rows[QN_CPU_LEVELS] = QN_ISA_ROWS(qn_random_f32);
    return source->first % 4 == 0 ? rows[qn_cpu_level()] : &qn_random_f32_ref;
}

typedef struct {
    const qn_random_kernels *kernels;
    qn_rng rng;
    uint64_t from;
    float *dst;
    const float *src;
    float p, q; /* low and span, or rate and scale */
} job;

static job job_of(const qn_random_source *source, float *dst)
{
    job j = {.kernels = choose(source), .rng = source->rng, .from = source->first, .dst = dst};
    if (source->step)
        j.rng.step = (uint32_t)*source->step;
    return j;
}

static void uniform_range(void *context, int64_t first, int64_t end)
{
    const job *j = context;
    j->kernels->uniform(j->dst + first, end - first, j->rng, j->from + (uint64_t)first, j->p, j->q);
}

void qn_random_uniform_f32(qn_pool *pool, float *dst, int64_t count, const qn_random_source *source,
                           float low, float high)
{
    job j = job_of(source, dst);
    j.p = low;
    j.q = high - low;
    qn_split(pool, count, GRAIN, uniform_range, &j);
}

static void dropout_range(void *context, int64_t first, int64_t end)
{
    const job *j = context;
    j->kernels->dropout(j->dst + first, j->src + first, end - first, j->rng,
                        j->from + (uint64_t)first, j->p, j->q);
}

void qn_dropout_f32(qn_pool *pool, float *dst, const float *src, int64_t count,
                    const qn_random_source *source, float rate)
{
    job j = job_of(source, dst);
    j.src = src;
    j.p = rate;
    j.q = rate < 1 ? 1 / (1 - rate) : 0;
    qn_split(pool, count, GRAIN, dropout_range, &j);
}
