/* Passes of batch normalisation in plain C. */
#include "kernel/norm/norm_table.h"

static void deviation(float *acc, const float *x, const float *mean, int64_t rows, int64_t channels)
{
    for (int64_t c = 0; c < channels; c++)
        acc[c] = 0;
    for (int64_t i = 0; i < rows * channels; i++) {
        float d = x[i] - mean[i % channels];
        acc[i % channels] += d * d;
    }
}

static void product(float *acc, const float *dy, const float *x, const float *mean, int64_t rows,
                    int64_t channels)
{
    for (int64_t c = 0; c < channels; c++)
        acc[c] = 0;
    for (int64_t i = 0; i < rows * channels; i++)
        acc[i % channels] += dy[i] * (x[i] - mean[i % channels]);
}

static void apply(float *y, const float *x, const float *mean, const float *factor,
                  const float *offset, int64_t rows, int64_t channels)
{
    for (int64_t i = 0; i < rows * channels; i++)
        y[i] = (x[i] - mean[i % channels]) * factor[i % channels] + offset[i % channels];
}

static void gradient(float *dx, const float *dy, const float *x, const float *const of[4],
                     int64_t rows, int64_t channels)
{
    for (int64_t i = 0; i < rows * channels; i++) {
        int64_t c = i % channels;
        dx[i] = of[NORM_FACTOR][c] *
                (dy[i] - of[NORM_SHIFT][c] - (x[i] - of[NORM_MEAN][c]) * of[NORM_TILT][c]);
    }
}

const qn_norm_kernels qn_norm_f32_ref = {
    .deviation = deviation, .product = product, .apply = apply, .gradient = gradient};
