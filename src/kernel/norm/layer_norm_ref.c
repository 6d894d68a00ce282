/* Layer normalisation in plain C. */
#include <math.h>

#include "kernel/norm/layer_norm_table.h"

static void row(float *y, const float *x, const float *scale, const float *shift, int64_t cols,
                float eps, bool centred, float stats[2])
{
    float mean = 0, squares = 0;
    for (int64_t i = 0; centred && i < cols; i++)
        mean += x[i];
    mean /= (float)cols;
    for (int64_t i = 0; i < cols; i++)
        squares += (x[i] - mean) * (x[i] - mean);
    float rstd = 1 / sqrtf(squares / (float)cols + eps);
    for (int64_t i = 0; i < cols; i++)
        y[i] = (x[i] - mean) * rstd * scale[i] + (shift ? shift[i] : 0);
    stats[0] = mean;
    stats[1] = rstd;
}

static void grad_row(float *dx, float *dscale, float *dshift, const float *dy, const float *x,
                     const float *scale, const float stats[2], int64_t cols, bool centred)
{
    float sum = 0, dot = 0;
    for (int64_t i = 0; i < cols; i++) {
        float normal = (x[i] - stats[0]) * stats[1];
        sum += dy[i] * scale[i];
        dot += dy[i] * scale[i] * normal;
        dscale[i] += dy[i] * normal;
        dshift[i] += dy[i];
    }
    sum = centred ? sum / (float)cols : 0;
    dot /= (float)cols;
    for (int64_t i = 0; i < cols; i++) {
        float normal = (x[i] - stats[0]) * stats[1];
        dx[i] = stats[1] * (dy[i] * scale[i] - sum - normal * dot);
    }
}

static void tilted(float *dx, const float *dy, const float *x, const float *const of[TILTED_COUNT],
                   int64_t rows, int64_t channels)
{
    for (int64_t i = 0; i < rows * channels; i++) {
        int64_t c = i % channels;
        dx[i] = dy[i] * of[TILTED_FACTOR][c] - of[TILTED_SHIFT][c] -
                (x[i] - of[TILTED_MEAN][c]) * of[TILTED_SLOPE][c];
    }
}

const qn_layer_norm_kernels qn_layer_norm_f32_ref = {
    .row = row, .grad_row = grad_row, .tilted = tilted};
