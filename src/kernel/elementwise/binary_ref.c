/*
 * Functions of two numbers in plain C.
 */
#include <math.h>

#include "kernel/elementwise/binary_table.h"

#define BINARIES(X)                                                                                \
    X(ADD, x + y)                                                                                  \
    X(SUB, x - y)                                                                                  \
    X(MUL, x *y)                                                                                   \
    X(DIV, x / y)                                                                                  \
    X(MIN, isnan(x) || x < y ? x : y)                                                              \
    X(MAX, isnan(x) || x > y ? x : y)                                                              \
    X(POW, powf(x, y))                                                                             \
    X(SQUARED_DIFFERENCE, (x - y) * (x - y))                                                       \
    X(PRELU, x < 0 ? x * y : x)

#define COMPARES(X)                                                                                \
    X(EQ, x == y)                                                                                  \
    X(NE, x != y)                                                                                  \
    X(LT, x < y)                                                                                   \
    X(LE, x <= y)                                                                                  \
    X(GT, x > y)                                                                                   \
    X(GE, x >= y)

#define AT_VECTORS  float x = a[i], y = b[i]
#define AT_A_SINGLE float x = *a, y = b[i]
#define AT_B_SINGLE float x = a[i], y = *b

#define LOOP(kind, type, name, form, expression)                                                   \
    static void kind##_##name##_##form(type *dst, const float *a, const float *b, int64_t count)   \
    {                                                                                              \
        for (int64_t i = 0; i < count; i++) {                                                      \
            AT_##form;                                                                             \
            dst[i] = expression;                                                                   \
        }                                                                                          \
    }
#define BINARY_LOOPS(name, expression)                                                             \
    LOOP(binary, float, name, VECTORS, expression)                                                 \
    LOOP(binary, float, name, A_SINGLE, expression)                                                \
    LOOP(binary, float, name, B_SINGLE, expression)
#define COMPARE_LOOPS(name, expression)                                                            \
    LOOP(compare, uint8_t, name, VECTORS, expression)                                              \
    LOOP(compare, uint8_t, name, A_SINGLE, expression)                                             \
    LOOP(compare, uint8_t, name, B_SINGLE, expression)
BINARIES(BINARY_LOOPS)
COMPARES(COMPARE_LOOPS)

static void where(float *dst, const uint8_t *condition, const float *a, int a_step, const float *b,
                  int b_step, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
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

const qn_binary_kernels qn_binary_f32_ref = {
    .binary = {BINARIES(BINARY_ENTRY)},
    .compare = {COMPARES(COMPARE_ENTRY)},
    .where = where,
};
