/*
 * Reductions in plain C.
 */
#include <math.h>

#include "kernel/reduce/reduce_table.h"

/* X(name, start, next of a (so far) and x) */
#define REDUCTIONS(X)                                                                              \
    X(SUM, 0, a + x)                                                                               \
    X(MEAN, 0, a + x)                                                                              \
    X(MAX, -INFINITY, isnan(a) || a > x ? a : x)                                                   \
    X(MIN, INFINITY, isnan(a) || a < x ? a : x)                                                    \
    X(PROD, 1, a *x)                                                                               \
    X(SUM_SQUARE, 0, a + x * x)                                                                    \
    X(SUM_ABS, 0, a + fabsf(x))

#define LOOPS(name, start, next)                                                                   \
    static float block_##name(const float *src, int64_t count)                                     \
    {                                                                                              \
        float a = start;                                                                           \
        for (int64_t i = 0; i < count; i++) {                                                      \
            float x = src[i];                                                                      \
            a = next;                                                                              \
        }                                                                                          \
        return a;                                                                                  \
    }                                                                                              \
    static void columns_##name(float *acc, const float *src, int64_t rows, int64_t cols,           \
                               int64_t ld)                                                         \
    {                                                                                              \
        for (int64_t c = 0; c < cols; c++)                                                         \
            acc[c] = start;                                                                        \
        for (int64_t r = 0; r < rows; r++) {                                                       \
            for (int64_t c = 0; c < cols; c++) {                                                   \
                float a = acc[c], x = src[r * ld + c];                                             \
                acc[c] = next;                                                                     \
            }                                                                                      \
        }                                                                                          \
    }
REDUCTIONS(LOOPS)

static float block_exp(const float *x, int64_t count, float top)
{
    float sum = 0;
    for (int64_t i = 0; i < count; i++)
        sum += expf(x[i] - top);
    return sum;
}

static void columns_exp(float *acc, const float *x, int64_t rows, int64_t cols, int64_t ld,
                        const float *top)
{
    for (int64_t c = 0; c < cols; c++)
        acc[c] = 0;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < cols; c++)
            acc[c] += expf(x[r * ld + c] - top[c]);
}

static float dot(const float *a, const float *b, int64_t count)
{
    float sum = 0;
    for (int64_t i = 0; i < count; i++)
        sum += a[i] * b[i];
    return sum;
}

static int64_t place(const float *x, int64_t count, float sign)
{
    int64_t at = 0;
    for (int64_t i = 0; i < count; i++) {
        if (isnan(x[i]))
            return i;
        if (sign * x[i] > sign * x[at])
            at = i;
    }
    return at;
}

#define BLOCK_ENTRY(name, start, next)  [QN_REDUCE_##name] = block_##name,
#define COLUMN_ENTRY(name, start, next) [QN_REDUCE_##name] = columns_##name,

const qn_reduce_kernels qn_reduce_f32_ref = {
    .block = {REDUCTIONS(BLOCK_ENTRY)},
    .columns = {REDUCTIONS(COLUMN_ENTRY)},
    .block_exp = block_exp,
    .columns_exp = columns_exp,
    .dot = dot,
    .place = place,
};
