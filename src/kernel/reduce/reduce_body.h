/*
 * Reductions for any vector width. Blocks use four accumulators, joined in a fixed order; columns keep up to four
 * vectors of sums in registers while they walk down the rows.
 */
#include "kernel/reduce/reduce_table.h"
#include "kernel/vec_math.h"
#include "kernel/vec_row.h"

VEC vf largest(vf a, vf x) /* NaN stays */
{
    return vf_pick(vf_isnan(a), a, vf_max(a, x));
}
VEC vf least(vf a, vf x)
{
    return vf_pick(vf_isnan(a), a, vf_min(a, x));
}

/* X(name, start, next of a (so far) and x, join of two accumulators a and x) */
#define REDUCTIONS(X)                                                                              \
    X(SUM, 0.0f, vf_add(a, x), vf_add(a, x))                                                       \
    X(MEAN, 0.0f, vf_add(a, x), vf_add(a, x))                                                      \
    X(MAX, -__builtin_inff(), largest(a, x), largest(a, x))                                        \
    X(MIN, __builtin_inff(), least(a, x), least(a, x))                                             \
    X(PROD, 1.0f, vf_mul(a, x), vf_mul(a, x))                                                      \
    X(SUM_SQUARE, 0.0f, vf_fma(x, x, a), vf_add(a, x))                                             \
    X(SUM_ABS, 0.0f, vf_add(a, vf_abs(x)), vf_add(a, x))

enum { CHAINS = 4 };

/* Joins the lanes of one accumulator with the same function, halving. */
#define LANES(name, start, next, join)                                                             \
    VEC vf next_##name(vf a, vf x)                                                                 \
    {                                                                                              \
        return next;                                                                               \
    }                                                                                              \
    VEC vf join_##name(vf a, vf x)                                                                 \
    {                                                                                              \
        return join;                                                                               \
    }                                                                                              \
    static float lanes_##name(vf v)                                                                \
    {                                                                                              \
        float at[2 * VL];                                                                          \
        vf_store(at, v);                                                                           \
        vf_store(at + VL, v);                                                                      \
        for (int half = VL / 2; half > 0; half /= 2)                                               \
            vf_store(at, join_##name(vf_load(at), vf_load(at + half)));                            \
        return at[0];                                                                              \
    }
REDUCTIONS(LANES)

#define BLOCK(name, start, next, join)                                                             \
    static float block_##name(const float *src, int64_t count)                                     \
    {                                                                                              \
        const vf begin = vf_set(start);                                                            \
        vf acc[CHAINS] = {begin, begin, begin, begin};                                             \
        int64_t i = 0;                                                                             \
        for (; i + CHAINS * VL <= count; i += CHAINS * VL)                                         \
            for (int k = 0; k < CHAINS; k++)                                                       \
                acc[k] = next_##name(acc[k], vf_load(src + i + k * VL));                           \
        for (; i + VL <= count; i += VL)                                                           \
            acc[0] = next_##name(acc[0], vf_load(src + i));                                        \
        if (i < count) {                                                                           \
            vm m = vm_first((int)(count - i));                                                     \
            vf x = vf_load_mask(src + i, m);                                                       \
            acc[1] = vf_pick(m, next_##name(acc[1], x), acc[1]);                                   \
        }                                                                                          \
        acc[0] = join_##name(acc[0], acc[1]);                                                      \
        acc[2] = join_##name(acc[2], acc[3]);                                                      \
        return lanes_##name(join_##name(acc[0], acc[2]));                                          \
    }
REDUCTIONS(BLOCK)

/* Whole vectors of four, then single ones, the last masked. */
#define COLUMNS(name, start, next, join)                                                           \
    static void columns_##name(float *sums, const float *src, int64_t rows, int64_t cols,          \
                               int64_t ld)                                                         \
    {                                                                                              \
        const vf begin = vf_set(start);                                                            \
        int64_t c = 0;                                                                             \
        for (; c + CHAINS * VL <= cols; c += CHAINS * VL) {                                        \
            vf acc[CHAINS] = {begin, begin, begin, begin};                                         \
            for (int64_t r = 0; r < rows; r++)                                                     \
                for (int k = 0; k < CHAINS; k++)                                                   \
                    acc[k] = next_##name(acc[k], vf_load(src + r * ld + c + k * VL));              \
            for (int k = 0; k < CHAINS; k++)                                                       \
                vf_store(sums + c + k * VL, acc[k]);                                               \
        }                                                                                          \
        for (; c < cols; c += VL) {                                                                \
            vm m = vm_first(cols - c < VL ? (int)(cols - c) : VL);                                 \
            vf acc = begin;                                                                        \
            for (int64_t r = 0; r < rows; r++)                                                     \
                acc = next_##name(acc, vf_load_mask(src + r * ld + c, m));                         \
            vf_store_mask(sums + c, acc, m);                                                       \
        }                                                                                          \
    }
REDUCTIONS(COLUMNS)

static float block_exp(const float *x, int64_t count, float top)
{
    const vf tops = vf_set(top);
    vf sum = vf_zero();
    for (int64_t i = 0; i < count; i += VL) {
        vm m = vm_first(count - i < VL ? (int)(count - i) : VL);
        sum = vf_add(sum, vf_keep(m, math_exp(vf_sub(vf_load_mask(x + i, m), tops))));
    }
    return vf_sum(sum);
}

static void columns_exp(float *sums, const float *x, int64_t rows, int64_t cols, int64_t ld,
                        const float *top)
{
    for (int64_t c = 0; c < cols; c += VL) {
        vm m = vm_first(cols - c < VL ? (int)(cols - c) : VL);
        vf tops = vf_load_mask(top + c, m), sum = vf_zero();
        for (int64_t r = 0; r < rows; r++)
            sum = vf_add(sum, math_exp(vf_sub(vf_load_mask(x + r * ld + c, m), tops)));
        vf_store_mask(sums + c, sum, m);
    }
}

static float dot(const float *a, const float *b, int64_t count)
{
    vf acc[CHAINS] = {vf_zero(), vf_zero(), vf_zero(), vf_zero()};
    int64_t i = 0;
    for (; i + CHAINS * VL <= count; i += CHAINS * VL)
        for (int k = 0; k < CHAINS; k++)
            acc[k] = vf_fma(vf_load(a + i + k * VL), vf_load(b + i + k * VL), acc[k]);
    for (; i < count; i += VL) {
        vm m = vm_first(count - i < VL ? (int)(count - i) : VL);
        acc[0] = vf_fma(vf_load_mask(a + i, m), vf_load_mask(b + i, m), acc[0]);
    }
    return vf_sum(vf_add(vf_add(acc[0], acc[1]), vf_add(acc[2], acc[3])));
}

static int64_t place(const float *x, int64_t count, float sign)
{
    const vf signs = vf_set(sign);
    vf best = vf_set(-__builtin_inff());
    for (int64_t i = 0; i < count; i += VL) {
        vm m = vm_first(count - i < VL ? (int)(count - i) : VL);
        vf v = vf_mul(signs, vf_load_mask(x + i, m));
        best = vf_pick(m, largest(best, v), best);
    }
    float top = lanes_MAX(best);
    const vf tops = vf_set(top);
    const vm wants_nan = vf_isnan(tops);
    for (int64_t i = 0; i < count; i += VL) {
        vm m = vm_first(count - i < VL ? (int)(count - i) : VL);
        vf v = vf_mul(signs, vf_load_mask(x + i, m));
        vm hit = vm_or(vm_and(wants_nan, vf_isnan(v)), vf_eq(v, tops));
        int hits = vm_bits(vm_and(m, hit));
        if (hits)
            return i + __builtin_ctz((unsigned)hits);
    }
    return 0;
}

#define BLOCK_ENTRY(name, start, next, join)  [QN_REDUCE_##name] = block_##name,
#define COLUMN_ENTRY(name, start, next, join) [QN_REDUCE_##name] = columns_##name,
#define REDUCE_TABLE                                                                               \
    {                                                                                              \
        .block = {REDUCTIONS(BLOCK_ENTRY)}, .columns = {REDUCTIONS(COLUMN_ENTRY)},                 \
        .block_exp = block_exp, .columns_exp = columns_exp, .dot = dot, .place = place             \
    }
