/* Passes over a row of scores in plain C. */
#include <math.h>

#include "kernel/attention/attention_table.h"

static float score(float s, int64_t i, const qn_attention_score *how)
{
    s *= how->scale;
    if (how->cap > 0)
        s = how->cap * tanhf(s / how->cap);
    return how->bias ? s + how->bias[i] : s;
}

static float soften(float *s, int64_t count, const qn_attention_score *how, float *max, float *sum)
{
    float top = *max, old = *max;
    for (int64_t i = 0; i < count; i++) {
        s[i] = score(s[i], i, how);
        top = isnan(top) || top > s[i] ? top : s[i];
    }
    float base = isinf(top) && top < 0 ? 0 : top, keep = expf(old - base), added = 0;
    for (int64_t i = 0; i < count; i++) {
        s[i] = expf(s[i] - base);
        added += s[i];
    }
    *max = top;
    *sum = *sum * keep + added;
    return keep;
}

static void slopes(float *s, float *dp, int64_t count, const qn_attention_score *how, float lse,
                   float delta)
{
    for (int64_t i = 0; i < count; i++) {
        float turn = how->cap > 0 ? tanhf(s[i] * how->scale / how->cap) : 0;
        float p = expf(score(s[i], i, how) - lse);
        s[i] = p;
        dp[i] = p * (dp[i] - delta) * how->scale * (1 - turn * turn);
    }
}

static void multiply(float *dst, const float *src, int64_t count, float factor)
{
    for (int64_t i = 0; i < count; i++)
        dst[i] = src[i] * factor;
}

const qn_attention_kernels qn_attention_f32_ref = {
    .soften = soften, .slopes = slopes, .multiply = multiply};
