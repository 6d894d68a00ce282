/*
 * The choice of the reduction kernels, and the blocks whose partial results they make. Every result is either one
 * block or several joined in f64 in rising order; blocks are what the pool shares out.
 */
#include "kernel/reduce/reduce.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "kernel/isa.h"
#include "kernel/reduce/reduce_table.h"
#include "kernel/split.h"

enum {
    BLOCK = 4096,      /* contiguous values: 16 KiB; error at most about BLOCK / (4 * lanes) eps */
    BLOCK_ROWS = 512,  /* rows under one another: a chain of 512 additions */
    GRAIN = 32768,     /* values read by one piece of work */
    PLACE_COLUMNS = 64 /* columns whose best value is kept on the stack */
};

const qn_reduce_kernels *qn_reduce_f32_kernels(void)
{
    static const qn_reduce_kernels *const rows[QN_CPU_LEVELS] = QN_ISA_ROWS(qn_reduce_f32);
    return rows[qn_cpu_level()];
}

typedef struct {
    const qn_reduce_kernels *kernels;
    qn_reduce op;
    const float *src, *other; /* other: of dot */
    qn_reduce_shape shape;
    int64_t block, blocks; /* of the reduced dimension */
    float *part;           /* [outer, blocks, inner] */
    float *top;            /* [outer, inner], for exponentials; NULL = the plain loops */
} job;

static int64_t block_of(const qn_reduce_shape *s)
{
    return s->inner == 1 ? BLOCK : BLOCK_ROWS;
}

static int64_t blocks_of(const qn_reduce_shape *s)
{
    return (s->reduce + block_of(s) - 1) / block_of(s);
}

size_t qn_reduce_f32_scratch_bytes(const qn_reduce_shape *s)
{
    return (size_t)(s->outer * s->inner * (blocks_of(s) + 1)) * sizeof(float);
}

static void blocks_range(void *context, int64_t first, int64_t end)
{
    const job *j = context;
    const qn_reduce_shape *s = &j->shape;
    for (int64_t b = first; b < end; b++) {
        int64_t outer = b / j->blocks, at = b % j->blocks * j->block;
        int64_t count = s->reduce - at < j->block ? s->reduce - at : j->block;
        const float *src = j->src + (outer * s->reduce + at) * s->inner;
        float *part = j->part + b * s->inner;
        const float *top = j->top ? j->top + outer * s->inner : NULL;
        if (j->other)
            *part = j->kernels->dot(src, j->other + at, count);
        else if (s->inner == 1)
            *part = top ? j->kernels->block_exp(src, count, *top)
                        : j->kernels->block[j->op](src, count);
        else if (top)
            j->kernels->columns_exp(part, src, count, s->inner, s->inner, top);
        else
            j->kernels->columns[j->op](part, src, count, s->inner, s->inner);
    }
}

static double join(qn_reduce op, double a, double x)
{
    switch (op) {
    case QN_REDUCE_MAX:
        return isnan(a) || a > x ? a : x;
    case QN_REDUCE_MIN:
        return isnan(a) || a < x ? a : x;
    case QN_REDUCE_PROD:
        return a * x;
    default:
        return a + x;
    }
}

/* dst may be part when there is one block. */
static void blocks_join(const job *j, float *dst)
{
    int64_t inner = j->shape.inner;
    for (int64_t o = 0; o < j->shape.outer; o++) {
        for (int64_t i = 0; i < inner; i++) {
            const float *part = j->part + o * j->blocks * inner + i;
            double x = (double)part[0];
            for (int64_t b = 1; b < j->blocks; b++)
                x = join(j->op, x, (double)part[b * inner]);
            if (j->op == QN_REDUCE_MEAN)
                x /= (double)j->shape.reduce;
            dst[o * inner + i] = (float)x;
        }
    }
}

static void reduce_run(qn_pool *pool, job *j, float *dst, float *scratch)
{
    bool single = j->blocks == 1 && j->op != QN_REDUCE_MEAN;
    j->part = single ? dst : scratch;
    int64_t cost = (j->shape.reduce < j->block ? j->shape.reduce : j->block) * j->shape.inner;
    qn_split(pool, j->shape.outer * j->blocks, qn_split_grain(cost, j->top ? GRAIN / 8 : GRAIN),
             blocks_range, j);
    if (!single)
        blocks_join(j, dst);
}

static float empty_value(qn_reduce op)
{
    switch (op) {
    case QN_REDUCE_MEAN:
        return NAN;
    case QN_REDUCE_MAX:
    case QN_REDUCE_LOGSUMEXP:
        return -INFINITY;
    case QN_REDUCE_MIN:
        return INFINITY;
    case QN_REDUCE_PROD:
        return 1;
    default:
        return 0;
    }
}

/* top + log(sum exp(x - top)); an infinite top is replaced by 0, which leaves inf and -inf as they are. */
static void logsumexp(qn_pool *pool, job *j, float *dst, float *scratch)
{
    int64_t count = j->shape.outer * j->shape.inner;
    float *top = scratch + count * j->blocks;
    j->op = QN_REDUCE_MAX;
    reduce_run(pool, j, top, scratch);
    for (int64_t i = 0; i < count; i++)
        top[i] = isinf(top[i]) ? 0 : top[i];
    j->op = QN_REDUCE_SUM;
    j->top = top;
    reduce_run(pool, j, dst, scratch);
    for (int64_t i = 0; i < count; i++)
        dst[i] = (float)((double)top[i] + log((double)dst[i]));
}

void qn_reduce_f32(qn_pool *pool, qn_reduce op, float *dst, const float *src,
                   const qn_reduce_shape *shape, void *scratch)
{
    int64_t count = shape->outer * shape->inner;
    if (shape->reduce == 0) {
        for (int64_t i = 0; i < count; i++)
            dst[i] = empty_value(op);
        return;
    }
    job j = {.kernels = qn_reduce_f32_kernels(),
             .op = op,
             .src = src,
             .shape = *shape,
             .block = block_of(shape),
             .blocks = blocks_of(shape)};
    if (op == QN_REDUCE_LOGSUMEXP)
        logsumexp(pool, &j, dst, scratch);
    else
        reduce_run(pool, &j, dst, scratch);
}

void qn_dot_f32(qn_pool *pool, float *dst, const float *a, const float *b, int64_t count,
                void *scratch)
{
    *dst = 0;
    if (count == 0)
        return;
    qn_reduce_shape shape = {1, count, 1};
    job j = {.kernels = qn_reduce_f32_kernels(),
             .op = QN_REDUCE_SUM,
             .src = a,
             .other = b,
             .shape = shape,
             .block = BLOCK,
             .blocks = blocks_of(&shape)};
    reduce_run(pool, &j, dst, scratch);
}

typedef struct {
    const qn_reduce_kernels *kernels;
    int64_t *dst;
    const float *src;
    qn_reduce_shape shape;
    float sign;
} place_job;

/* A strip of columns: the best value so far of each, replaced only by a strictly better one or the first NaN. */
static void place_columns(const place_job *j, int64_t outer, int64_t first, int64_t count)
{
    float best[PLACE_COLUMNS];
    const float *src = j->src + outer * j->shape.reduce * j->shape.inner + first;
    int64_t *dst = j->dst + outer * j->shape.inner + first;
    for (int64_t c = 0; c < count; c++) {
        best[c] = j->sign * src[c];
        dst[c] = 0;
    }
    for (int64_t r = 1; r < j->shape.reduce; r++) {
        for (int64_t c = 0; c < count; c++) {
            float x = j->sign * src[r * j->shape.inner + c];
            if (x > best[c] || (isnan(x) && !isnan(best[c]))) {
                best[c] = x;
                dst[c] = r;
            }
        }
    }
}

static void place_range(void *context, int64_t first, int64_t end)
{
    const place_job *j = context;
    int64_t inner = j->shape.inner;
    for (int64_t o = first; o < end; o++) {
        if (inner == 1) {
            j->dst[o] = j->kernels->place(j->src + o * j->shape.reduce, j->shape.reduce, j->sign);
            continue;
        }
        for (int64_t c = 0; c < inner; c += PLACE_COLUMNS)
            place_columns(j, o, c, inner - c < PLACE_COLUMNS ? inner - c : PLACE_COLUMNS);
    }
}

static void place_run(qn_pool *pool, int64_t *dst, const float *src, const qn_reduce_shape *shape,
                      float sign)
{
    place_job j = {qn_reduce_f32_kernels(), dst, src, *shape, sign};
    qn_split(pool, shape->outer, qn_split_grain(shape->reduce * shape->inner, GRAIN), place_range,
             &j);
}

void qn_argmax_f32(qn_pool *pool, int64_t *dst, const float *src, const qn_reduce_shape *shape)
{
    place_run(pool, dst, src, shape, 1);
}

void qn_argmin_f32(qn_pool *pool, int64_t *dst, const float *src, const qn_reduce_shape *shape)
{
    place_run(pool, dst, src, shape, -1);
}

typedef struct {
    float *dx;
    const float *dy;
    qn_reduce_shape shape;
    float scale;
} spread_job;

static void spread_range(void *context, int64_t first, int64_t end)
{
    const spread_job *j = context;
    int64_t inner = j->shape.inner;
    for (int64_t row = first; row < end; row++) {
        const float *dy = j->dy + row / j->shape.reduce * inner;
        float *dx = j->dx + row * inner;
        for (int64_t i = 0; i < inner; i++)
            dx[i] = j->scale * dy[i];
    }
}

void qn_reduce_spread_f32(qn_pool *pool, float *dx, const float *dy, const qn_reduce_shape *shape,
                          float scale)
{
    spread_job j = {dx, dy, *shape, scale};
    qn_split(pool, shape->outer * shape->reduce, qn_split_grain(shape->inner, GRAIN), spread_range,
             &j);
}
