/*
 * Softmax in plain C: the largest logit is taken off first, so that exp never overflows and the sum is at least 1.
 */
#include <math.h>

#include "kernel/softmax/softmax_table.h"

static float largest(const float *x, int64_t cols)
{
    float m = x[0];
    for (int64_t i = 1; i < cols; i++)
        m = isnan(m) || m > x[i] ? m : x[i];
    return m;
}

static void softmax(float *y, const float *x, int64_t cols)
{
    float m = largest(x, cols), sum = 0;
    for (int64_t i = 0; i < cols; i++) {
        y[i] = expf(x[i] - m);
        sum += y[i];
    }
    for (int64_t i = 0; i < cols; i++)
        y[i] /= sum;
}

static void log_softmax(float *y, const float *x, int64_t cols)
{
    float m = largest(x, cols), sum = 0;
    for (int64_t i = 0; i < cols; i++)
        sum += expf(x[i] - m);
    float log_sum = logf(sum);
    for (int64_t i = 0; i < cols; i++)
        y[i] = x[i] - m - log_sum;
}

static void softmax_grad(float *dx, const float *dy, const float *y, int64_t cols)
{
    float dot = 0;
    for (int64_t i = 0; i < cols; i++)
        dot += dy[i] * y[i];
    for (int64_t i = 0; i < cols; i++)
        dx[i] = (dy[i] - dot) * y[i];
}

static void log_softmax_grad(float *dx, const float *dy, const float *y, int64_t cols)
{
    float sum = 0;
    for (int64_t i = 0; i < cols; i++)
        sum += dy[i];
    for (int64_t i = 0; i < cols; i++)
        dx[i] = dy[i] - expf(y[i]) * sum;
}

const qn_softmax_kernels qn_softmax_f32_ref = {
    .softmax = softmax,
    .log_softmax = log_softmax,
    .softmax_grad = softmax_grad,
    .log_softmax_grad = log_softmax_grad,
};
