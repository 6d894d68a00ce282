/* What each ISA provides for random.h. `first` is a multiple of 4: the first element of a Philox block. */
#ifndef QN_KERNEL_RANDOM_TABLE_H
#define QN_KERNEL_RANDOM_TABLE_H

#include <stdint.h>

#include "base/rng.h"

typedef struct {
    void (*uniform)(float *dst, int64_t count, qn_rng rng, uint64_t first, float low, float span);
    void (*dropout)(float *dst, const float *src, int64_t count, qn_rng rng, uint64_t first,
                    float rate, float scale);
} qn_random_kernels;

extern const qn_random_kernels qn_random_f32_ref, qn_random_f32_neon, qn_random_f32_avx2,
    qn_random_f32_avx512;

#endif
