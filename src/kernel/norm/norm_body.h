/*
 * Passes of batch normalisation for any vector width. Sums keep a vector of channels in a register down the rows;
 * the elementwise passes go row by row.
 */
#include "kernel/norm/norm_table.h"

static void deviation(float *acc, const float *x, const float *mean, int64_t rows, int64_t channels)
{
    for (int64_t c = 0; c < channels; c += VL) {
        vm m = vm_first(channels - c < VL ? (int)(channels - c) : VL);
        vf sum = vf_zero(), middle = vf_load_mask(mean + c, m);
        for (int64_t r = 0; r < rows; r++) {
            vf d = vf_sub(vf_load_mask(x + r * channels + c, m), middle);
            sum = vf_fma(d, d, sum);
        }
        vf_store_mask(acc + c, sum, m);
    }
}

static void product(float *acc, const float *dy, const float *x, const float *mean, int64_t rows,
                    int64_t channels)
{
    for (int64_t c = 0; c < channels; c += VL) {
        vm m = vm_first(channels - c < VL ? (int)(channels - c) : VL);
        vf sum = vf_zero(), middle = vf_load_mask(mean + c, m);
        for (int64_t r = 0; r < rows; r++) {
            vf d = vf_sub(vf_load_mask(x + r * channels + c, m), middle);
            sum = vf_fma(vf_load_mask(dy + r * channels + c, m), d, sum);
        }
        vf_store_mask(acc + c, sum, m);
    }
}

static void apply(float *y, const float *x, const float *mean, const float *factor,
                  const float *offset, int64_t rows, int64_t channels)
{
    for (int64_t c = 0; c < channels; c += VL) {
        vm m = vm_first(channels - c < VL ? (int)(channels - c) : VL);
        vf middle = vf_load_mask(mean + c, m), f = vf_load_mask(factor + c, m),
           o = vf_load_mask(offset + c, m);
        for (int64_t r = 0; r < rows; r++) {
            vf d = vf_sub(vf_load_mask(x + r * channels + c, m), middle);
            vf_store_mask(y + r * channels + c, vf_fma(d, f, o), m);
        }
    }
}

static void gradient(float *dx, const float *dy, const float *x, const float *const of[4],
                     int64_t rows, int64_t channels)
{
    for (int64_t c = 0; c < channels; c += VL) {
        vm m = vm_first(channels - c < VL ? (int)(channels - c) : VL);
        vf f = vf_load_mask(of[NORM_FACTOR] + c, m), shift = vf_load_mask(of[NORM_SHIFT] + c, m);
        vf middle = vf_load_mask(of[NORM_MEAN] + c, m), tilt = vf_load_mask(of[NORM_TILT] + c, m);
        for (int64_t r = 0; r < rows; r++) {
            int64_t at = r * channels + c;
            vf d = vf_sub(vf_load_mask(x + at, m), middle);
            vf g = vf_fnma(d, tilt, vf_sub(vf_load_mask(dy + at, m), shift));
            vf_store_mask(dx + at, vf_mul(f, g), m);
        }
    }
}

#define NORM_TABLE                                                                                 \
    {                                                                                              \
        .deviation = deviation, .product = product, .apply = apply, .gradient = gradient           \
    }
