/* Random vectors in plain C, one Philox block at a time. */
#include "kernel/random/random_table.h"

static void uniform(float *dst, int64_t count, qn_rng rng, uint64_t first, float low, float span)
{
    for (int64_t i = 0; i < count; i++)
        dst[i] = low + span * qn_rng_uniform(rng, first + (uint64_t)i);
}

static void dropout(float *dst, const float *src, int64_t count, qn_rng rng, uint64_t first,
                    float rate, float scale)
{
    for (int64_t i = 0; i < count; i++)
        dst[i] = qn_rng_uniform(rng, first + (uint64_t)i) >= rate ? src[i] * scale : 0;
}

const qn_random_kernels qn_random_f32_ref = {.uniform = uniform, .dropout = dropout};
