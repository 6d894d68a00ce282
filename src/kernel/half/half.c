/*
 * 16-bit floats: the choice of kernels, and ranges for the pool.
 */
#include "kernel/half/half.h"

#include "kernel/half/half_table.h"
#include "kernel/isa.h"
#include "kernel/split.h"

enum { GRAIN = 16384 }; /* 96 KiB of traffic: about 3 us from L2 */

const qn_half_kernels *qn_half(void)
{
    static const qn_half_kernels *const rows[QN_CPU_LEVELS] = QN_ISA_ROWS(qn_half);
    return rows[qn_cpu_level()];
}

typedef struct {
    const qn_half_kernels *kernels;
    float *wide;
    uint16_t *half;
    const float *from_wide;
    const uint16_t *from_half;
} job;

static void bf16_narrow(void *context, int64_t first, int64_t end)
{
    const job *j = context;
    j->kernels->bf16_of_f32(j->half + first, j->from_wide + first, end - first);
}

static void f16_narrow(void *context, int64_t first, int64_t end)
{
    const job *j = context;
    j->kernels->f16_of_f32(j->half + first, j->from_wide + first, end - first);
}

static void bf16_widen(void *context, int64_t first, int64_t end)
{
    const job *j = context;
    j->kernels->f32_of_bf16(j->wide + first, j->from_half + first, end - first);
}

static void f16_widen(void *context, int64_t first, int64_t end)
{
    const job *j = context;
    j->kernels->f32_of_f16(j->wide + first, j->from_half + first, end - first);
}

void qn_bf16_of_f32(qn_pool *pool, uint16_t *dst, const float *src, int64_t count)
{
    job j = {.kernels = qn_half(), .half = dst, .from_wide = src};
    qn_split(pool, count, GRAIN, bf16_narrow, &j);
}

static void bf16_round(void *context, int64_t first, int64_t end)
{
    enum { PIECE = 512 };
    const job *j = context;
    uint16_t half[PIECE];
    for (; first < end; first += PIECE) {
        int64_t count = end - first < PIECE ? end - first : PIECE;
        j->kernels->bf16_of_f32(half, j->from_wide + first, count);
        j->kernels->f32_of_bf16(j->wide + first, half, count);
    }
}

void qn_f32_round_bf16(qn_pool *pool, float *dst, const float *src, int64_t count)
{
    job j = {.kernels = qn_half(), .wide = dst, .from_wide = src};
    qn_split(pool, count, GRAIN, bf16_round, &j);
}

void qn_f16_of_f32(qn_pool *pool, uint16_t *dst, const float *src, int64_t count)
{
    job j = {.kernels = qn_half(), .half = dst, .from_wide = src};
    qn_split(pool, count, GRAIN, f16_narrow, &j);
}

void qn_f32_of_bf16(qn_pool *pool, float *dst, const uint16_t *src, int64_t count)
{
    job j = {.kernels = qn_half(), .wide = dst, .from_half = src};
    qn_split(pool, count, GRAIN, bf16_widen, &j);
}

void qn_f32_of_f16(qn_pool *pool, float *dst, const uint16_t *src, int64_t count)
{
    job j = {.kernels = qn_half(), .wide = dst, .from_half = src};
    qn_split(pool, count, GRAIN, f16_widen, &j);
}
