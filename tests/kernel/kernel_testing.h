/*
 * What the kernel tests share: every ISA level of this machine, buffers with guard words that a stray store would
 * spoil, test values, and pools of 1, 2 and 7 threads.
 */
#ifndef QN_KERNEL_TESTING_H
#define QN_KERNEL_TESTING_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "testing.h"

#include "base/alloc.h"
#include "base/rng.h"
#include "kernel/gemm/pairs.h"
#include "os/cpu.h"
#include "os/pool.h"

enum { GUARD = 64 };
static const uint32_t guard_word = 0x7fc5a5a5u; /* a NaN: reading it shows too */

/* `count` floats at `shift` floats past a 64-byte boundary, guards on both sides. */
typedef struct {
    float *base, *at;
    int64_t count, shift;
} guarded;

static inline void guard_fill(float *p, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        memcpy(p + i, &guard_word, sizeof guard_word);
}

static inline guarded guarded_make(int64_t count, int64_t shift)
{
    guarded g = {.count = count, .shift = shift};
    g.base = aligned_alloc(64, (size_t)((count + shift + 2 * GUARD + 15) / 16 * 64));
    assert_non_null(g.base);
    guard_fill(g.base, (count + shift + 2 * GUARD + 15) / 16 * 16);
    g.at = g.base + GUARD + shift;
    return g;
}

static inline void guarded_check(const guarded *g)
{
    for (int64_t i = 0; i < GUARD; i++) {
        assert_memory_equal(g->base + g->shift + i, &guard_word, sizeof guard_word);
        assert_memory_equal(g->at + g->count + i, &guard_word, sizeof guard_word);
    }
}

static inline void guarded_free(guarded *g)
{
    guarded_check(g);
    free(g->base);
    g->base = g->at = NULL;
}

/* Uniform in [low, high), the same for the same seed. */
static inline void values_uniform(float *dst, int64_t count, uint64_t seed, float low, float high)
{
    for (int64_t i = 0; i < count; i++)
        dst[i] = low + (high - low) * qn_rng_uniform((qn_rng){.seed = seed}, (uint64_t)i);
}

static inline guarded guarded_uniform(int64_t count, int64_t shift, uint64_t seed, float low,
                                      float high)
{
    guarded g = guarded_make(count, shift);
    values_uniform(g.at, count, seed, low, high);
    return g;
}

/* Distance in representable floats; 0 for two NaNs. */
static inline double ulp_error(float got, double want)
{
    if (isnan(want) || isnan(got))
        return isnan(want) && isnan(got) ? 0 : HUGE_VAL;
    if ((double)got == want || (float)want == got)
        return 0;
    if (isinf(got) || isinf((float)want))
        return HUGE_VAL;
    float nearest = (float)fabs(want);
    double unit = (double)nextafterf(nearest, INFINITY) - (double)nearest;
    return fabs((double)got - want) / (unit > 1.4e-45 ? unit : 1.4e-45);
}

/* Runs the body at each level the machine has. */
#define FOR_EACH_LEVEL(level)                                                                      \
    for (qn_cpu_level_id level = QN_CPU_PORTABLE; level < QN_CPU_LEVELS; level++)                  \
        if (qn_cpu_limit(level) == level)

/* Kernels of pairs of bf16: in plain C at the lowest level, and by tiles in plain C; then this machine's. */
static inline const qn_pairs_kernels *pairs_at(qn_cpu_level_id level)
{
    return level == QN_CPU_PORTABLE ? &qn_pairs_ref : qn_pairs();
}
static inline const qn_pairs_kernels *pairs_next(const qn_pairs_kernels *kernels)
{
    return kernels == &qn_pairs_ref ? &qn_pairs_soft : NULL;
}
#define FOR_EACH_PAIRS(kernels)                                                                    \
    FOR_EACH_LEVEL(level_)                                                                         \
    for (const qn_pairs_kernels *kernels = pairs_at(level_); kernels; kernels = pairs_next(kernels))

enum { POOLS = 3 };
static const int pool_threads[POOLS] = {1, 2, 7};

static inline qn_pool *pool_of(int threads)
{
    qn_pool *pool = NULL;
    assert_int_equal(qn_pool_create(threads, &pool, NULL), QN_OK);
    return pool;
}

static inline int levels_reset(void **state)
{
    (void)state;
    qn_cpu_limit(QN_CPU_LEVELS - 1);
    return 0;
}

static inline void *scratch_of(size_t bytes)
{
    return bytes ? aligned_alloc(64, (bytes + 63) / 64 * 64) : NULL;
}

#endif
