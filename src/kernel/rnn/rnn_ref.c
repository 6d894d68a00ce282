/* Gates of recurrent networks in plain C. */
#include <math.h>
#include <string.h>

#include "kernel/rnn/rnn_table.h"

static float logistic(float x)
{
    return 1 / (1 + expf(-x));
}

static void lstm(float *kept, float *y, float *h, float *c, const float *sums, int64_t n)
{
    for (int64_t j = 0; j < n; j++) {
        float in = logistic(sums[j]), out = logistic(sums[n + j]), keep = logistic(sums[2 * n + j]);
        float fresh = tanhf(sums[3 * n + j]);
        c[j] = keep * c[j] + in * fresh;
        y[j] = h[j] = out * tanhf(c[j]);
        kept[j] = in;
        kept[n + j] = out;
        kept[2 * n + j] = keep;
        kept[3 * n + j] = fresh;
        kept[4 * n + j] = c[j];
    }
}

/* With z and r in `kept`: n from its sum, and the state. */
static void gru_end(float *kept, float *y, float *h, float sum, int64_t j, int64_t n)
{
    float fresh = tanhf(sum);
    kept[2 * n + j] = fresh;
    y[j] = h[j] = fresh + kept[j] * (h[j] - fresh);
}

static void gru(float *kept, float *y, float *h, const float *sums, int64_t n)
{
    for (int64_t j = 0; j < n; j++) {
        kept[j] = logistic(sums[j]);
        kept[n + j] = logistic(sums[n + j]);
        kept[3 * n + j] = sums[3 * n + j];
        gru_end(kept, y, h, sums[2 * n + j] + kept[n + j] * sums[3 * n + j], j, n);
    }
}

static void gru_gates(float *sums, float *reset, const float *h, int64_t n)
{
    for (int64_t j = 0; j < n; j++) {
        sums[j] = logistic(sums[j]);
        sums[n + j] = logistic(sums[n + j]);
        reset[j] = sums[n + j] * h[j];
    }
}

static void gru_first(float *kept, float *y, float *h, const float *sums, int64_t n)
{
    for (int64_t j = 0; j < n; j++) {
        kept[j] = sums[j];
        kept[n + j] = sums[n + j];
        kept[3 * n + j] = sums[3 * n + j];
        gru_end(kept, y, h, sums[2 * n + j] + sums[3 * n + j], j, n);
    }
}

static void plain(float *kept, float *y, float *h, const float *sums, bool relu, int64_t n)
{
    for (int64_t j = 0; j < n; j++)
        y[j] = h[j] = kept[j] = relu ? (sums[j] < 0 ? 0 : sums[j]) : tanhf(sums[j]);
}

static void lstm_grad(float *slopes, const float *a, const float *c_before, float *dh, float *dc,
                      int64_t n)
{
    for (int64_t j = 0; j < n; j++) {
        float in = a[j], out = a[n + j], keep = a[2 * n + j], fresh = a[3 * n + j];
        float turn = tanhf(a[4 * n + j]), slope = dc[j] + dh[j] * out * (1 - turn * turn);
        slopes[j] = slope * fresh * in * (1 - in);
        slopes[n + j] = dh[j] * turn * out * (1 - out);
        slopes[2 * n + j] = slope * c_before[j] * keep * (1 - keep);
        slopes[3 * n + j] = slope * in * (1 - fresh * fresh);
        dc[j] = slope * keep;
        dh[j] = 0;
    }
}

static void gru_grad(float *slopes, const float *a, const float *h_before, float *dh, int64_t n)
{
    for (int64_t j = 0; j < n; j++) {
        float z = a[j], r = a[n + j], fresh = a[2 * n + j], up = dh[j];
        float slope = up * (1 - z) * (1 - fresh * fresh);
        slopes[j] = up * (h_before[j] - fresh) * z * (1 - z);
        slopes[n + j] = slope * a[3 * n + j] * r * (1 - r);
        slopes[2 * n + j] = slope;
        slopes[3 * n + j] = slope * r;
        dh[j] = up * z;
    }
}

static void gru_first_grad(float *slopes, const float *a, const float *h_before, float *dh,
                           int64_t n)
{
    for (int64_t j = 0; j < n; j++) {
        float z = a[j], fresh = a[2 * n + j], up = dh[j];
        slopes[j] = up * (h_before[j] - fresh) * z * (1 - z);
        slopes[2 * n + j] = slopes[3 * n + j] = up * (1 - z) * (1 - fresh * fresh);
        dh[j] = up * z;
    }
}

static void gru_reset_grad(float *slopes, const float *a, float *before, const float *pulled,
                           float *dh, int64_t n)
{
    for (int64_t j = 0; j < n; j++) {
        float r = a[n + j];
        slopes[n + j] = pulled[j] * before[j] * r * (1 - r);
        dh[j] += pulled[j] * r;
        before[j] *= r;
    }
}

static void plain_grad(float *slopes, const float *a, float *dh, bool relu, int64_t n)
{
    for (int64_t j = 0; j < n; j++) {
        slopes[j] = dh[j] * (relu ? (a[j] > 0 ? 1.0f : 0.0f) : 1 - a[j] * a[j]);
        dh[j] = 0;
    }
}

static void stack(float *dst, const float *src, int64_t lds, int64_t rows, int64_t cols)
{
    for (int64_t i = 0; i < rows; i++)
        memcpy(dst + i * cols, src + i * lds, (size_t)cols * sizeof *dst);
}

const qn_rnn_kernels qn_rnn_f32_ref = {
    .lstm = lstm,
    .gru = gru,
    .gru_gates = gru_gates,
    .gru_first = gru_first,
    .plain = plain,
    .lstm_grad = lstm_grad,
    .gru_grad = gru_grad,
    .gru_first_grad = gru_first_grad,
    .gru_reset_grad = gru_reset_grad,
    .plain_grad = plain_grad,
    .stack = stack,
};
