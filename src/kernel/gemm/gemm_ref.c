/*
 * The portable micro-kernel, and the specification of the others: same order of sums, but a product
 * and an addition rounded each on their own, since a fused one is a slow function call on machines
 * without the instruction.
 */
#include <math.h>
#include <stddef.h>

#include "kernel/gemm/strip_ref.h"

enum { LANES = 16 };

static void strip(const qn_strip *s)
{
    for (int64_t i = 0; i < s->rows; i++) {
        float acc[LANES];
        const float *b = s->b;
        strip_begin(s, i, acc);
        for (int64_t seg = 0; seg < s->segs; seg++) {
            const float *a = s->a + s->row[i] + s->seg[seg];
            for (int64_t k = 0; k < s->seg_len; k++, b += s->ldb)
                for (int j = 0; j < s->cols; j++)
                    acc[j] += a[k * s->step] * b[j];
        }
        strip_end(s, i, acc);
    }
}

static void line(const qn_strip *s)
{
    qn_strip part = *s;
    for (int col = 0; col < s->cols; col += LANES) {
        part.cols = s->cols - col < LANES ? s->cols - col : LANES;
        part.b = s->b + col;
        part.c = s->c + col;
        part.bias = s->bias ? s->bias + col : NULL;
        part.added = s->added ? s->added + col : NULL;
        strip(&part);
    }
}

static void transpose(float *dst, int64_t ldd, const float *src, int64_t lds, int64_t depth,
                      int64_t cols)
{
    for (int64_t k = 0; k < depth; k++)
        for (int64_t j = 0; j < cols; j++)
            dst[k * ldd + j] = src[j * lds + k];
}

static float act_apply(qn_act act, float x, float slope)
{
    switch (act) {
    case QN_ACT_RELU:
        return x < 0 ? 0 : x;
    case QN_ACT_LEAKY:
        return x > 0 ? x : slope * x;
    case QN_ACT_SIGMOID:
        return 1 / (1 + expf(-x));
    case QN_ACT_TANH:
        return tanhf(x);
    case QN_ACT_GELU:
        return 0.5f * x * (1 + erff(x * 0.70710678118f));
    case QN_ACT_GELU_TANH:
        return x / (1 + expf(-2 * 0.7978845608f * x * (1 + 0.044715f * x * x)));
    case QN_ACT_SILU:
        return x / (1 + expf(-x));
    default:
        return x;
    }
}

static void activate(float *c, int64_t ldc, int64_t rows, int64_t cols, qn_act act, float slope)
{
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < cols; j++)
            c[i * ldc + j] = act_apply(act, c[i * ldc + j], slope);
}

const qn_tile_kernels qn_tile_f32_ref = {
    .lanes = LANES,
    .vecs_max = 1,
    .strip = strip,
    .line = line,
    .transpose = transpose,
    .activate = activate,
};
