/* Fills and pixels to floats in plain C. */
#include "kernel/move/move_table.h"

static void fill(float *dst, int64_t count, float value)
{
    for (int64_t i = 0; i < count; i++)
        dst[i] = value;
}

static void normalise(float *dst, const uint8_t *src, int64_t pixels, int64_t channels,
                      const float *mean, const float *scale)
{
    for (int64_t i = 0; i < pixels; i++)
        for (int64_t c = 0; c < channels; c++)
            dst[i * channels + c] = ((float)src[i * channels + c] - mean[c]) * scale[c];
}

static void add(float *dst, const float *src, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        dst[i] += src[i];
}

const qn_move_kernels qn_move_f32_ref = {.fill = fill, .normalise = normalise, .add = add};
