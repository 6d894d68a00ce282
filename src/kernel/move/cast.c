/*
 * Conversions between number types: every pair through one macro.
 */
#include <math.h>
#include <stdint.h>

#include "kernel/move/move.h"
#include "kernel/split.h"

enum { GRAIN = 16384 };

typedef uint8_t truth;

/* Floats truncate towards zero within the target's range; NaN gives 0. The upper limit is compared in double, where
 * INT64_MAX rounds up to 2^63: from there on the largest value. */
#define TO_WHOLE(type, low, high, past)                                                            \
    static type type##_from(double x)                                                              \
    {                                                                                              \
        if (isnan(x))                                                                              \
            return 0;                                                                              \
        return x >= (past) ? (high) : x <= (double)(low) ? (low) : (type)x;                        \
    }
TO_WHOLE(int64_t, INT64_MIN, INT64_MAX, 9223372036854775808.0)
TO_WHOLE(int32_t, INT32_MIN, INT32_MAX, 2147483648.0)
TO_WHOLE(uint8_t, 0, UINT8_MAX, 256.0)

typedef void loop(void *dst, const void *src, int64_t count);

#define CAST(to, from, expression)                                                                 \
    static void to##_of_##from(void *dst, const void *src, int64_t count)                          \
    {                                                                                              \
        to *d = dst;                                                                               \
        const from *s = src;                                                                       \
        for (int64_t i = 0; i < count; i++) {                                                      \
            from x = s[i];                                                                         \
            d[i] = (expression);                                                                   \
        }                                                                                          \
    }
#define CASTS(from, whole64, whole32, whole8)                                                      \
    CAST(float, from, (float)x)                                                                    \
    CAST(double, from, (double)x)                                                                  \
    CAST(int64_t, from, whole64)                                                                   \
    CAST(int32_t, from, whole32)                                                                   \
    CAST(uint8_t, from, whole8)                                                                    \
    CAST(truth, from, x != 0)
CASTS(float, int64_t_from((double)x), int32_t_from((double)x), uint8_t_from((double)x))
CASTS(double, int64_t_from(x), int32_t_from(x), uint8_t_from(x))
/* Integers keep their low bits, as in C. */
CASTS(int64_t, x, (int32_t)x, (uint8_t)x)
CASTS(int32_t, x, x, (uint8_t)x)
CASTS(uint8_t, x, x, x)
CASTS(truth, x != 0, x != 0, x != 0)

typedef struct {
    loop *run;
    char *dst;
    const char *src;
    int64_t dst_bytes, src_bytes;
} job;

static void cast_range(void *context, int64_t first, int64_t end)
{
    const job *j = context;
    j->run(j->dst + first * j->dst_bytes, j->src + first * j->src_bytes, end - first);
}

void qn_cast(qn_pool *pool, void *dst, qn_cast_type dst_type, const void *src,
             qn_cast_type src_type, int64_t count)
{
#define ROW(from)                                                                                  \
    {                                                                                              \
        float_of_##from, double_of_##from, int64_t_of_##from, int32_t_of_##from,                   \
            uint8_t_of_##from, truth_of_##from                                                     \
    }
    static loop *const loops[QN_CAST_COUNT][QN_CAST_COUNT] = {
        ROW(float), ROW(double), ROW(int64_t), ROW(int32_t), ROW(uint8_t), ROW(truth)};
#undef ROW
    static const int64_t bytes[QN_CAST_COUNT] = {4, 8, 8, 4, 1, 1};
    job j = {loops[src_type][dst_type], dst, src, bytes[dst_type], bytes[src_type]};
    qn_split(pool, count, GRAIN, cast_range, &j);
}
