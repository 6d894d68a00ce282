/* CTC in plain C. */
#include <math.h>

#include "kernel/loss/ctc_table.h"

static float log_sum(const float *x, int64_t count)
{
    float top = x[0], sum = 0;
    for (int64_t i = 1; i < count; i++)
        top = isnan(top) || top > x[i] ? top : x[i];
    for (int64_t i = 0; i < count; i++)
        sum += expf(x[i] - top);
    return top + logf(sum);
}

static void softmax(float *dst, const float *x, int64_t count, float lse, float scale)
{
    for (int64_t i = 0; i < count; i++)
        dst[i] = scale * expf(x[i] - lse);
}

static float advance(float *dst, const float *from, const float *emit, const float *skip,
                     int64_t count)
{
    float best = -HUGE_VALF;
    for (int64_t s = 0; s < count; s++) {
        float a = from[s], b = from[s - 1], c = from[s - 2] + skip[s];
        float high = fmaxf(a, fmaxf(b, c));
        dst[s] = emit[s] + (high + logf(expf(a - high) + expf(b - high) + expf(c - high)));
        best = isnan(dst[s]) || dst[s] > best ? dst[s] : best;
    }
    for (int64_t s = 0; s < count; s++)
        dst[s] -= best;
    return best;
}

static float posterior(float *dst, const float *alpha, const float *beta, const float *emit,
                       int64_t count)
{
    float best = -HUGE_VALF, sum = 0;
    for (int64_t s = 0; s < count; s++) {
        dst[s] = alpha[s] + beta[s] - emit[s];
        best = dst[s] > best ? dst[s] : best;
    }
    for (int64_t s = 0; s < count; s++) {
        dst[s] = expf(dst[s] - best);
        sum += dst[s];
    }
    return sum;
}

const qn_ctc_kernels qn_ctc_f32_ref = {
    .log_sum = log_sum, .softmax = softmax, .advance = advance, .posterior = posterior};
