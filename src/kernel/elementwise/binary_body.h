/*
 * Functions of two numbers for any vector width.
 */
#include <math.h>

#include "kernel/elementwise/binary_table.h"
#include "kernel/vec_math.h"

/* NaN if either is: the x86 rule keeps the second operand's, so put a's back. */
VEC vf least(vf a, vf b)
{
    return vf_pick(vf_isnan(a), a, vf_min(a, b));
}
VEC vf largest(vf a, vf b)
{
    return vf_pick(vf_isnan(a), a, vf_max(a, b));
}
VEC vf difference_squared(vf a, vf b)
{
    vf d = vf_sub(a, b);
    return vf_mul(d, d);
}
/* exp(b log a) would lose a digit for each power of ten of the exponent: left to the C library. */
VEC vf power(vf a, vf b)
{
    float as[VL], bs[VL];
    vf_store(as, a);
    vf_store(bs, b);
    for (int i = 0; i < VL; i++)
        as[i] = powf(as[i], bs[i]);
    return vf_load(as);
}

#define BINARIES(X)                                                                                \
    X(ADD, vf_add(x, y))                                                                           \
    X(SUB, vf_sub(x, y))                                                                           \
    X(MUL, vf_mul(x, y))                                                                           \
    X(DIV, vf_div(x, y))                                                                           \
    X(MIN, least(x, y))                                                                            \
    X(MAX, largest(x, y))                                                                          \
    X(POW, power(x, y))                                                                            \
    X(SQUARED_DIFFERENCE, difference_squared(x, y))                                                \
    X(PRELU, vf_pick(vf_lt(x, vf_zero()), vf_mul(x, y), x))

#define COMPARES(X)                                                                                \
    X(EQ, vf_eq(x, y))                                                                             \
    X(NE, vf_ne(x, y))                                                                             \
    X(LT, vf_lt(x, y))                                                                             \
    X(LE, vf_le(x, y))                                                                             \
    X(GT, vf_lt(y, x))                                                                             \
    X(GE, vf_le(y, x))

/* x and y of a whole vector, and of the masked last one, in the three forms. */
#define LOAD_VECTORS(i)       vf x = vf_load(a + i), y = vf_load(b + i)
#define LOAD_A_SINGLE(i)      vf x = vf_set(*a), y = vf_load(b + i)
#define LOAD_B_SINGLE(i)      vf x = vf_load(a + i), y = vf_set(*b)
#define LOAD_MASK_VECTORS(i)  vf x = vf_load_mask(a + i, m), y = vf_load_mask(b + i, m)
#define LOAD_MASK_A_SINGLE(i) vf x = vf_set(*a), y = vf_load_mask(b + i, m)
#define LOAD_MASK_B_SINGLE(i) vf x = vf_load_mask(a + i, m), y = vf_set(*b)

#define BINARY_LOOP(name, form, expression)                                                        \
    static void binary_##name##_##form(float *dst, const float *a, const float *b, int64_t count)  \
    {                                                                                              \
        int64_t i = 0;                                                                             \
        for (; i + VL <= count; i += VL) {                                                         \
            LOAD_##form(i);                                                                        \
            vf_store(dst + i, expression);                                                         \
        }                                                                                          \
        if (i < count) {                                                                           \
            vm m = vm_first((int)(count - i));                                                     \
            LOAD_MASK_##form(i);                                                                   \
            vf_store_mask(dst + i, expression, m);                                                 \
        }                                                                                          \
    }
#define BINARY_LOOPS(name, expression)                                                             \
    BINARY_LOOP(name, VECTORS, expression)                                                         \
    BINARY_LOOP(name, A_SINGLE, expression)                                                        \
    BINARY_LOOP(name, B_SINGLE, expression)
BINARIES(BINARY_LOOPS)

#define COMPARE_LOOP(name, form, expression)                                                       \
    static void compare_##name##_##form(uint8_t *dst, const float *a, const float *b,              \
                                        int64_t count)                                             \
    {                                                                                              \
        int64_t i = 0;                                                                             \
        for (; i + VL <= count; i += VL) {                                                         \
            LOAD_##form(i);                                                                        \
            vm_store_u8(dst + i, expression);                                                      \
        }                                                                                          \
        if (i < count) {                                                                           \
            uint8_t last[VL];                                                                      \
            vm m = vm_first((int)(count - i));                                                     \
            LOAD_MASK_##form(i);                                                                   \
            vm_store_u8(last, expression);                                                         \
            memcpy(dst + i, last, (size_t)(count - i));                                            \
        }                                                                                          \
    }
#define COMPARE_LOOPS(name, expression)                                                            \
    COMPARE_LOOP(name, VECTORS, expression)                                                        \
    COMPARE_LOOP(name, A_SINGLE, expression)                                                       \
    COMPARE_LOOP(name, B_SINGLE, expression)
COMPARES(COMPARE_LOOPS)

static void where(float *dst, const uint8_t *condition, const float *a, int a_step, const float *b,
                  int b_step, int64_t count)
{
    int64_t i = 0;
    for (; i + VL <= count; i += VL) {
        vf x = a_step ? vf_load(a + i) : vf_set(*a);
        vf y = b_step ? vf_load(b + i) : vf_set(*b);
        vf_store(dst + i, vf_pick(vm_load_u8(condition + i), x, y));
    }
    for (; i < count; i++)
        dst[i] = condition[i] ? a[i * a_step] : b[i * b_step];
}

#define BINARY_ENTRY(name, expression)                                                             \
    [QN_BINARY_##name] = {[BINARY_VECTORS] = binary_##name##_VECTORS,                              \
                          [BINARY_A_SINGLE] = binary_##name##_A_SINGLE,                            \
                          [BINARY_B_SINGLE] = binary_##name##_B_SINGLE},
#define COMPARE_ENTRY(name, expression)                                                            \
    [QN_COMPARE_##name] = {[BINARY_VECTORS] = compare_##name##_VECTORS,                            \
                           [BINARY_A_SINGLE] = compare_##name##_A_SINGLE,                          \
                           [BINARY_B_SINGLE] = compare_##name##_B_SINGLE},
#define BINARY_TABLE                                                                               \
    {                                                                                              \
        .binary = {BINARIES(BINARY_ENTRY)}, .compare = {COMPARES(COMPARE_ENTRY)}, .where = where   \
    }
