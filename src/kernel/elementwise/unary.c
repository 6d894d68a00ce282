/*
 * The choice of the unary kernels, and their cutting for the pool.
 */
#include "kernel/elementwise/unary.h"

#include <stddef.h>

#include "kernel/elementwise/unary_table.h"
#include "kernel/isa.h"
#include "kernel/split.h"

enum {
    GRAIN_CHEAP = 32768, /* elements: 128 KiB in and out, about 5 us from L2 */
    GRAIN_DEAR = 8192,   /* functions with exp or log inside: about 2 elements a cycle */
};

static const qn_unary_kernels *choose(void)
{
    static const qn_unary_kernels *const rows[QN_CPU_LEVELS] = QN_ISA_ROWS(qn_unary_f32);
    return rows[qn_cpu_level()];
}

int qn_unary_saved(qn_unary op)
{
    static const int saved[QN_UNARY_COUNT] = {
#define X(name, needs) [QN_UNARY_##name] = needs,
        QN_UNARY_MAP(X)
#undef X
    };
    return saved[op];
}

static int64_t grain_of(qn_unary op)
{
    switch (op) {
    case QN_UNARY_RELU:
    case QN_UNARY_LEAKY:
    case QN_UNARY_NEG:
    case QN_UNARY_ABS:
    case QN_UNARY_SQUARE:
    case QN_UNARY_SIGN:
    case QN_UNARY_FLOOR:
    case QN_UNARY_CEIL:
    case QN_UNARY_ROUND:
    case QN_UNARY_HARD_SWISH:
    case QN_UNARY_THRESHOLD:
    case QN_UNARY_COPY:
        return GRAIN_CHEAP;
    default:
        return GRAIN_DEAR;
    }
}

/* One description for every loop here; each reads what it needs. */
typedef struct {
    const qn_unary_kernels *kernels;
    qn_unary op;
    float *dst;
    const float *src, *saved;
    float p, q;
} job;

static void forward_range(void *context, int64_t first, int64_t end)
{
    const job *j = context;
    j->kernels->forward[j->op](j->dst + first, j->src + first, end - first, j->p);
}

void qn_unary_f32(qn_pool *pool, qn_unary op, float *dst, const float *src, int64_t count,
                  float alpha)
{
    job j = {.kernels = choose(), .op = op, .dst = dst, .src = src, .p = alpha};
    qn_split(pool, count, grain_of(op), forward_range, &j);
}

static void backward_range(void *context, int64_t first, int64_t end)
{
    const job *j = context;
    const float *saved = j->saved ? j->saved + first : NULL;
    j->kernels->backward[j->op](j->dst + first, j->src + first, saved, end - first, j->p);
}

void qn_unary_grad_f32(qn_pool *pool, qn_unary op, float *dx, const float *dy, const float *saved,
                       int64_t count, float alpha)
{
    job j = {.kernels = choose(), .op = op, .dst = dx, .src = dy, .saved = saved, .p = alpha};
    qn_split(pool, count, grain_of(op), backward_range, &j);
}

static void clamp_range(void *context, int64_t first, int64_t end)
{
    const job *j = context;
    j->kernels->clamp(j->dst + first, j->src + first, end - first, j->p, j->q);
}

void qn_clamp_f32(qn_pool *pool, float *dst, const float *src, int64_t count, float low, float high)
{
    job j = {.kernels = choose(), .dst = dst, .src = src, .p = low, .q = high};
    qn_split(pool, count, GRAIN_CHEAP, clamp_range, &j);
}

static void clamp_grad_range(void *context, int64_t first, int64_t end)
{
    const job *j = context;
    j->kernels->clamp_grad(j->dst + first, j->src + first, j->saved + first, end - first, j->p,
                           j->q);
}

void qn_clamp_grad_f32(qn_pool *pool, float *dx, const float *dy, const float *x, int64_t count,
                       float low, float high)
{
    job j = {.kernels = choose(), .dst = dx, .src = dy, .saved = x, .p = low, .q = high};
    qn_split(pool, count, GRAIN_CHEAP, clamp_grad_range, &j);
}

static void affine_range(void *context, int64_t first, int64_t end)
{
    const job *j = context;
    j->kernels->affine(j->dst + first, j->src + first, end - first, j->p, j->q);
}

void qn_affine_f32(qn_pool *pool, float *dst, const float *src, int64_t count, float scale,
                   float shift)
{
    job j = {.kernels = choose(), .dst = dst, .src = src, .p = scale, .q = shift};
    qn_split(pool, count, GRAIN_CHEAP, affine_range, &j);
}

void qn_scale_by_f32(qn_pool *pool, float *dst, const float *src, int64_t count, const float *scale)
{
    qn_affine_f32(pool, dst, src, count, *scale, -0.0f); /* x + -0 = x for every x */
}

static void axpy_range(void *context, int64_t first, int64_t end)
{
    const job *j = context;
    j->kernels->axpy(j->dst + first, j->src + first, end - first, j->p);
}

void qn_axpy_f32(qn_pool *pool, float *dst, const float *src, int64_t count, float scale)
{
    job j = {.kernels = choose(), .dst = dst, .src = src, .p = scale};
    qn_split(pool, count, GRAIN_CHEAP, axpy_range, &j);
}
