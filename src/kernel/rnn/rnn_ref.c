/* Gates of recurrent networks in plain C. */
#include <math.h>

#include "kernel/rnn/rnn_table.h"

static float logistic(float x)
{
    return 1 / (1 + expf(-x));
}

static void lstm(float *a, float *h, float *c, int64_t n)
{
    for (int64_t j = 0; j < n; j++) {
        float in = logistic(a[j]), out = logistic(a[n + j]), keep = logistic(a[2 * n + j]);
        float fresh = tanhf(a[3 * n + j]);
        c[j] = keep * c[j] + in * fresh;
        h[j] = out * tanhf(c[j]);
        a[j] = in;
        a[n + j] = out;
        a[2 * n + j] = keep;
        a[3 * n + j] = fresh;
        a[4 * n + j] = c[j];
    }
}

static void gru(float *a, float *h, int64_t n)
{
    for (int64_t j = 0; j < n; j++) {
        float z = logistic(a[j]), r = logistic(a[n + j]);
        float fresh = tanhf(a[2 * n + j] + r * a[3 * n + j]);
        h[j] = fresh + z * (h[j] - fresh);
        a[j] = z;
        a[n + j] = r;
        a[2 * n + j] = fresh;
    }
}

static void gru_gates(float *a, const float *h, float *reset, int64_t n)
{
    for (int64_t j = 0; j < n; j++) {
        a[j] = logistic(a[j]);
        a[n + j] = logistic(a[n + j]);
        reset[j] = a[n + j] * h[j];
    }
}

static void gru_first(float *a, float *h, int64_t n)
{
    for (int64_t j = 0; j < n; j++) {
        a[2 * n + j] = tanhf(a[2 * n + j] + a[3 * n + j]);
        h[j] = a[2 * n + j] + a[j] * (h[j] - a[2 * n + j]);
    }
}

static void plain(float *a, float *h, bool relu, int64_t n)
{
    for (int64_t j = 0; j < n; j++)
        h[j] = a[j] = relu ? (a[j] < 0 ? 0 : a[j]) : tanhf(a[j]);
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
};
