/*
 * Counter-based random numbers: Philox4x32-10 (Salmon et al., SC 2011). A value is a pure function
 * of (seed, stream, step, element), so it does not depend on thread count or order, and a resumed
 * run needs no generator state.
 */
#ifndef QN_BASE_RNG_H
#define QN_BASE_RNG_H

#include <stdint.h>

typedef struct {
    uint64_t seed;
    uint32_t
        stream; /* one per use: initialisation of a parameter, a dropout node, shuffling, ... */
    uint32_t step;
} qn_rng;

/* Four 32-bit words of block `index` (elements 4 * index .. 4 * index + 3). */
void qn_rng_block(qn_rng rng, uint64_t index, uint32_t ret_words[4]);
uint32_t qn_rng_u32(qn_rng rng, uint64_t element);
uint64_t qn_rng_below(qn_rng rng, uint64_t element, uint64_t bound); /* unbiased, bound >= 1 */
float qn_rng_uniform(qn_rng rng, uint64_t element);                  /* [0, 1), 24 bits */
double qn_rng_uniform_f64(qn_rng rng, uint64_t element);
double qn_rng_normal(qn_rng rng, uint64_t element);             /* Box-Muller */
void qn_rng_shuffle(qn_rng rng, int64_t *items, int64_t count); /* Fisher-Yates */

#endif
