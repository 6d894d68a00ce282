/*
 * Pairs of bf16 in plain C: the specification of pairs.h. The products of a pair are added one after the other, the
 * second number's first, as the SDM of Intel describes VDPBF16PS.
 */
#include <string.h>

#include "kernel/gemm/pairs.h"
#include "kernel/gemm/strip_ref.h"
#include "kernel/half/half_table.h"

enum { LANES = 16 };

static float number(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static float low(const float *pair)
{
    uint32_t bits;
    memcpy(&bits, pair, sizeof bits);
    return number(bits << 16);
}

static float high(const float *pair)
{
    uint32_t bits;
    memcpy(&bits, pair, sizeof bits);
    return number(bits & 0xffff0000U);
}

static void strip(const qn_strip *s)
{
    for (int64_t i = 0; i < s->rows; i++) {
        float acc[LANES];
        const float *b = s->b;
        strip_begin(s, i, acc);
        for (int64_t seg = 0; seg < s->segs; seg++) {
            const float *a = s->a + s->row[i] + s->seg[seg];
            for (int64_t k = 0; k < s->seg_len; k++, b += s->ldb)
                for (int j = 0; j < s->cols; j++) {
                    acc[j] += high(a + k * s->step) * high(b + j);
                    acc[j] += low(a + k * s->step) * low(b + j);
                }
        }
        strip_end(s, i, acc);
    }
}

static void transpose(float *dst, int64_t ldd, const float *src, int64_t lds, int64_t depth,
                      int64_t cols)
{
    qn_tile_f32_ref.transpose(dst, ldd, src, lds, depth, cols);
}

static void activate(float *c, int64_t ldc, int64_t rows, int64_t cols, qn_act act, float slope)
{
    qn_tile_f32_ref.activate(c, ldc, rows, cols, act, slope);
}

typedef uint16_t half_at(const void *src, int64_t i);

static uint16_t half_of_f32(const void *src, int64_t i)
{
    uint16_t half;
    qn_half_ref.bf16_of_f32(&half, (const float *)src + i, 1);
    return half;
}

static uint16_t half_of_bf16(const void *src, int64_t i)
{
    return ((const uint16_t *)src)[i];
}

/* dst[k / 2 * ldd + j] from src[k * by_k + j * by_col] */
static void pack(half_at *at, uint32_t *dst, int64_t ldd, const void *src, int64_t by_k,
                 int64_t by_col, int64_t depth, int64_t cols)
{
    for (int64_t k = 0; k < depth; k += 2)
        for (int64_t j = 0; j < cols; j++) {
            int64_t first = k * by_k + j * by_col;
            uint32_t second = k + 1 < depth ? at(src, first + by_k) : 0;
            dst[k / 2 * ldd + j] = second << 16 | at(src, first);
        }
}

#define PACK(type)                                                                                 \
    static void line_##type(uint32_t *dst, const void *src, int64_t depth)                         \
    {                                                                                              \
        pack(half_of_##type, dst, 1, src, 1, 1, depth, 1);                                         \
    }                                                                                              \
    static void join_##type(uint32_t *dst, int64_t ldd, const void *src, int64_t lds,              \
                            int64_t depth, int64_t cols)                                           \
    {                                                                                              \
        pack(half_of_##type, dst, ldd, src, lds, 1, depth, cols);                                  \
    }                                                                                              \
    static void turn_##type(uint32_t *dst, int64_t ldd, const void *src, int64_t lds,              \
                            int64_t depth, int64_t cols)                                           \
    {                                                                                              \
        pack(half_of_##type, dst, ldd, src, 1, lds, depth, cols);                                  \
    }
PACK(f32)
PACK(bf16)

static const qn_tile_kernels tile = {
    .lanes = LANES,
    .vecs_max = 1,
    .strip = strip,
    .transpose = transpose,
    .activate = activate,
};

const qn_pairs_kernels qn_pairs_ref = {
    .tile = &tile,
    .of_f32 = {line_f32, join_f32, turn_f32},
    .of_bf16 = {line_bf16, join_bf16, turn_bf16},
};
const qn_pairs_kernels qn_pairs_soft = {
    .tile = &qn_tile_bf16_soft,
    .of_f32 = {line_f32, join_f32, turn_f32},
    .of_bf16 = {line_bf16, join_bf16, turn_bf16},
};
