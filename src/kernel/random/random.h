/*
 * Vectors of the counter-based random numbers of base/rng.h: element i of a buffer is the value
 * that qn_rng_uniform(rng, i) gives, whatever the vector width or thread count.
 */
#ifndef QN_KERNEL_RANDOM_H
#define QN_KERNEL_RANDOM_H

#include <stdint.h>

#include "base/rng.h"
#include "os/pool.h"

/* dst[i] = low + (high - low) * qn_rng_uniform(rng, first + i) */
typedef struct {
    qn_rng rng;
    const int64_t *step; /* read when run and used as rng.step; NULL = rng.step as given */
    uint64_t first;
} qn_random_source;
void qn_random_uniform_f32(qn_pool *pool, float *dst, int64_t count, const qn_random_source *source,
                           float low, float high);
/* dst[i] = uniform(first + i) >= rate ? src[i] / (1 - rate) : 0. The backward is the same call on
 * the gradient. dst may be src; 0 <= rate <= 1 (rate 1 gives zeros). */
void qn_dropout_f32(qn_pool *pool, float *dst, const float *src, int64_t count,
                    const qn_random_source *source, float rate);

#endif
