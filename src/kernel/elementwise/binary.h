/*
 * Functions of two numbers with broadcasting, comparisons, logic and selection.
 */
#ifndef QN_KERNEL_BINARY_H
#define QN_KERNEL_BINARY_H

#include <stdint.h>

#include "kernel/elementwise/bcast.h"
#include "os/pool.h"

typedef enum {
    QN_BINARY_ADD,
    QN_BINARY_SUB,
    QN_BINARY_MUL,
    QN_BINARY_DIV,
    QN_BINARY_MIN, /* NaN if either is, as numpy's minimum */
    QN_BINARY_MAX,
    QN_BINARY_POW, /* <= 16 ulp for x > 0; C's pow for the special values */
    QN_BINARY_SQUARED_DIFFERENCE,
    QN_BINARY_PRELU, /* a where a >= 0, else a * b */
    QN_BINARY_COUNT
} qn_binary;

typedef enum {
    QN_COMPARE_EQ,
    QN_COMPARE_NE,
    QN_COMPARE_LT,
    QN_COMPARE_LE,
    QN_COMPARE_GT,
    QN_COMPARE_GE,
    QN_COMPARE_COUNT
} qn_compare;

typedef enum { QN_LOGIC_AND, QN_LOGIC_OR, QN_LOGIC_XOR, QN_LOGIC_COUNT } qn_logic;

/* dst[...] = a op b. dst may be a (or b) where that input's strides are those of dst. */
void qn_binary_f32(qn_pool *pool, qn_binary op, float *dst, const float *a, const float *b,
                   const qn_bcast *shape);
/* i64: ADD SUB MUL wrap; DIV truncates and gives 0 for a zero divisor; POW is not for i64
 * (asserted). */
void qn_binary_i64(qn_pool *pool, qn_binary op, int64_t *dst, const int64_t *a, const int64_t *b,
                   const qn_bcast *shape);
/* dst is 0 or 1; comparing with NaN is false, but NE true. */
void qn_compare_f32(qn_pool *pool, qn_compare op, uint8_t *dst, const float *a, const float *b,
                    const qn_bcast *shape);
void qn_compare_i64(qn_pool *pool, qn_compare op, uint8_t *dst, const int64_t *a, const int64_t *b,
                    const qn_bcast *shape);
void qn_logic_u8(qn_pool *pool, qn_logic op, uint8_t *dst, const uint8_t *a, const uint8_t *b,
                 const qn_bcast *shape);
void qn_not_u8(qn_pool *pool, uint8_t *dst, const uint8_t *src, int64_t count);
/* dst = condition ? a : b; strides 0, 1, 2 of shape belong to condition, a, b. */
void qn_where_f32(qn_pool *pool, float *dst, const uint8_t *condition, const float *a,
                  const float *b, const qn_bcast *shape);

#endif
