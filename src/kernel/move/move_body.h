/*
 * Fills and pixels to floats for any vector width.
 */
#include <string.h>

#include "kernel/move/move_table.h"

static void fill(float *dst, int64_t count, float value)
{
    const vf x = vf_set(value);
    int64_t i = 0;
    for (; i + VL <= count; i += VL)
        vf_store(dst + i, x);
    if (i < count)
        vf_store_mask(dst + i, x, vm_first((int)(count - i)));
}

/* `period` vectors cover a whole number of pixels; one is enough for grey images. */
VEC void normalise_run(float *dst, const uint8_t *src, int64_t count, const vf *mean,
                       const vf *scale, int period)
{
    int64_t i = 0;
    int at = 0;
    for (; i + VL <= count; i += VL) {
        vf_store(dst + i, vf_mul(vf_sub(vf_from_u8(src + i), mean[at]), scale[at]));
        at = at + 1 == period ? 0 : at + 1;
    }
    if (i < count) {
        uint8_t last[VL] = {0};
        memcpy(last, src + i, (size_t)(count - i));
        vf x = vf_mul(vf_sub(vf_from_u8(last), mean[at]), scale[at]);
        vf_store_mask(dst + i, x, vm_first((int)(count - i)));
    }
}

enum { PERIOD_MAX = 4 }; /* channels 1..4: after `channels` vectors the pattern starts again */

static void normalise(float *dst, const uint8_t *src, int64_t pixels, int64_t channels,
                      const float *mean, const float *scale)
{
    if (channels > PERIOD_MAX) {
        for (int64_t i = 0; i < pixels; i++)
            for (int64_t c = 0; c < channels; c++)
                dst[i * channels + c] = ((float)src[i * channels + c] - mean[c]) * scale[c];
        return;
    }
    vf means[PERIOD_MAX], scales[PERIOD_MAX];
    for (int64_t v = 0; v < channels; v++) {
        float m[VL], s[VL];
        for (int i = 0; i < VL; i++) {
            m[i] = mean[(v * VL + i) % channels];
            s[i] = scale[(v * VL + i) % channels];
        }
        means[v] = vf_load(m);
        scales[v] = vf_load(s);
    }
    if (channels == 1)
        normalise_run(dst, src, pixels, means, scales, 1);
    else
        normalise_run(dst, src, pixels * channels, means, scales, (int)channels);
}

static void add(float *dst, const float *src, int64_t count)
{
    int64_t i = 0;
    for (; i + VL <= count; i += VL)
        vf_store(dst + i, vf_add(vf_load(dst + i), vf_load(src + i)));
    if (i < count) {
        vm m = vm_first((int)(count - i));
        vf_store_mask(dst + i, vf_add(vf_load_mask(dst + i, m), vf_load_mask(src + i, m)), m);
    }
}

#define MOVE_TABLE                                                                                 \
    {                                                                                              \
        .fill = fill, .normalise = normalise, .add = add                                           \
    }
