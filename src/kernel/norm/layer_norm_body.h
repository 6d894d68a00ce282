/*
 * Passes of layer normalisation for any vector width, a row at a time: the row stays in the nearest cache between its
 * passes. Two sums run side by side to hide the latency of an addition.
 */
#include "kernel/norm/layer_norm_table.h"

#include <math.h>

VEC float row_sum(const float *x, int64_t cols)
{
    vf a = vf_zero(), b = vf_zero();
    int64_t i = 0;
    for (; i + 2 * VL <= cols; i += 2 * VL) {
        a = vf_add(a, vf_load(x + i));
        b = vf_add(b, vf_load(x + i + VL));
    }
    for (; i < cols; i += VL)
        a = vf_add(a, vf_load_mask(x + i, vm_first(cols - i < VL ? (int)(cols - i) : VL)));
    return vf_sum(vf_add(a, b));
}

VEC float row_squares(const float *x, int64_t cols, vf mean)
{
    vf a = vf_zero(), b = vf_zero();
    int64_t i = 0;
    for (; i + 2 * VL <= cols; i += 2 * VL) {
        vf d = vf_sub(vf_load(x + i), mean), e = vf_sub(vf_load(x + i + VL), mean);
        a = vf_fma(d, d, a);
        b = vf_fma(e, e, b);
    }
    for (; i < cols; i += VL) {
        vm m = vm_first(cols - i < VL ? (int)(cols - i) : VL);
        vf d = vf_keep(m, vf_sub(vf_load_mask(x + i, m), mean));
        a = vf_fma(d, d, a);
    }
    return vf_sum(vf_add(a, b));
}

static void row(float *y, const float *x, const float *scale, const float *shift, int64_t cols,
                float eps, bool centred, float stats[2])
{
    stats[0] = centred ? row_sum(x, cols) / (float)cols : 0;
    const vf mean = vf_set(stats[0]);
    stats[1] = 1 / sqrtf(row_squares(x, cols, mean) / (float)cols + eps);
    const vf rstd = vf_set(stats[1]);
    for (int64_t i = 0; i < cols; i += VL) {
        vm m = vm_first(cols - i < VL ? (int)(cols - i) : VL);
        vf normal = vf_mul(vf_sub(vf_load_mask(x + i, m), mean), rstd);
        vf offset = shift ? vf_load_mask(shift + i, m) : vf_zero();
        vf_store_mask(y + i, vf_fma(normal, vf_load_mask(scale + i, m), offset), m);
    }
}

static void grad_row(float *dx, float *dscale, float *dshift, const float *dy, const float *x,
                     const float *scale, const float stats[2], int64_t cols, bool centred)
{
    const vf mean = vf_set(stats[0]), rstd = vf_set(stats[1]);
    vf sums = vf_zero(), dots = vf_zero();
    for (int64_t i = 0; i < cols; i += VL) {
        vm m = vm_first(cols - i < VL ? (int)(cols - i) : VL);
        vf normal = vf_mul(vf_sub(vf_load_mask(x + i, m), mean), rstd);
        vf slope = vf_load_mask(dy + i, m), up = vf_mul(slope, vf_load_mask(scale + i, m));
        sums = vf_add(sums, up);
        dots = vf_fma(up, normal, dots);
        vf_store_mask(dscale + i, vf_fma(slope, normal, vf_load_mask(dscale + i, m)), m);
        vf_store_mask(dshift + i, vf_add(slope, vf_load_mask(dshift + i, m)), m);
    }
    const vf sum = vf_set(centred ? vf_sum(sums) / (float)cols : 0);
    const vf dot = vf_set(vf_sum(dots) / (float)cols);
    for (int64_t i = 0; i < cols; i += VL) {
        vm m = vm_first(cols - i < VL ? (int)(cols - i) : VL);
        vf normal = vf_mul(vf_sub(vf_load_mask(x + i, m), mean), rstd);
        vf up = vf_mul(vf_load_mask(dy + i, m), vf_load_mask(scale + i, m));
        vf_store_mask(dx + i, vf_mul(rstd, vf_fnma(normal, dot, vf_sub(up, sum))), m);
    }
}

static void tilted(float *dx, const float *dy, const float *x, const float *const of[TILTED_COUNT],
                   int64_t rows, int64_t channels)
{
    for (int64_t c = 0; c < channels; c += VL) {
        vm m = vm_first(channels - c < VL ? (int)(channels - c) : VL);
        vf factor = vf_load_mask(of[TILTED_FACTOR] + c, m);
        vf shift = vf_load_mask(of[TILTED_SHIFT] + c, m);
        vf mean = vf_load_mask(of[TILTED_MEAN] + c, m);
        vf slope = vf_load_mask(of[TILTED_SLOPE] + c, m);
        for (int64_t at = c; at < rows * channels; at += channels) {
            vf d = vf_sub(vf_load_mask(x + at, m), mean);
            vf g = vf_sub(vf_mul(vf_load_mask(dy + at, m), factor), shift);
            vf_store_mask(dx + at, vf_fnma(d, slope, g), m);
        }
    }
}

#define LAYER_NORM_TABLE                                                                           \
    {                                                                                              \
        .row = row, .grad_row = grad_row, .tilted = tilted                                         \
    }
