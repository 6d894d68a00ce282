/*
 * Pooling windows for any vector width: a vector of channels of one output at a time.
 */
#include <stddef.h>
#include <string.h>

#include "kernel/pool/pool_table.h"
#include "kernel/vec_math.h"

/* Takes the largest of rows x cols places whose first has number `first`. */
VEC void plane_max(const float *x, const qn_window *w, vm m, int32_t first, vf *best, vi *place)
{
    for (int64_t i = 0; i < w->rows; i++) {
        for (int64_t j = 0; j < w->cols; j++) {
            vf v = vf_load_mask(x + i * w->row + j * w->col, m);
            vm better = vm_or(vf_lt(*best, v), vm_and(vf_isnan(v), vf_eq(*best, *best)));
            *best = vf_pick(better, v, *best);
            *place =
                vi_pick(better, vi_set(first + (int32_t)i * w->number_row + (int32_t)j), *place);
        }
    }
}

VEC vf window_max(const float *x, const qn_window *w, vm m, vi *ret_place)
{
    vf best = vf_load_mask(x, m);
    vi place = vi_set(w->first);
    for (int64_t k = 0; k < w->slabs; k++)
        plane_max(x + k * w->slab, w, m, w->first + (int32_t)k * w->number_slab, &best, &place);
    *ret_place = place;
    return best;
}

/* The first n lanes of places as bytes or words. */
VEC void places_store(uint8_t *choice8, int32_t *choice32, int64_t at, vi place, int n)
{
    int32_t words[VL];
    uint8_t bytes[VL];
    if (choice8) {
        vi_store_u8(bytes, place);
        memcpy(choice8 + at, bytes, (size_t)n);
    }
    if (choice32) {
        vi_store(words, place);
        memcpy(choice32 + at, words, (size_t)n * sizeof *words);
    }
}

VEC vi places_load(const uint8_t *choice8, const int32_t *choice32, int64_t at, int n)
{
    int32_t words[VL] = {0};
    uint8_t bytes[VL] = {0};
    if (choice8) {
        memcpy(bytes, choice8 + at, (size_t)n);
        return vi_load_u8(bytes);
    }
    memcpy(words, choice32 + at, (size_t)n * sizeof *words);
    return vi_load(words);
}

static void max(float *y, uint8_t *choice8, int32_t *choice32, const float *x, const qn_window *w)
{
    for (int64_t s = 0; s < w->count; s++, x += w->move) {
        for (int64_t c = 0; c < w->channels; c += VL) {
            int n = w->channels - c < VL ? (int)(w->channels - c) : VL;
            int64_t at = s * w->channels + c;
            vi place;
            vf_store_mask(y + at, window_max(x + c, w, vm_first(n), &place), vm_first(n));
            if (n == VL)
                places_store(choice8, choice32, at, place, VL);
            else
                places_store(choice8, choice32, at, place, n);
        }
    }
}

static void max_grad(float *dx, const float *dy, const uint8_t *choice8, const int32_t *choice32,
                     const qn_window *w)
{
    for (int64_t s = 0; s < w->count; s++, dx += w->move) {
        for (int64_t c = 0; c < w->channels; c += VL) {
            int n = w->channels - c < VL ? (int)(w->channels - c) : VL;
            int64_t at = s * w->channels + c;
            vm m = vm_first(n);
            vf g = vf_load_mask(dy + at, m);
            vi place = n == VL ? places_load(choice8, choice32, at, VL)
                               : places_load(choice8, choice32, at, n);
            for (int64_t t = 0; t < w->slabs * w->rows * w->cols; t++) {
                float *to = dx + c + qn_window_at(w, t);
                vm here = vi_eq(place, vi_set(qn_window_number(w, t)));
                vf_store_mask(to, vf_add(vf_load_mask(to, m), vf_keep(here, g)), m);
            }
        }
    }
}

static void average(float *y, const float *x, const qn_window *w)
{
    const vf scale = vf_set(w->scale);
    for (int64_t s = 0; s < w->count; s++, x += w->move) {
        for (int64_t c = 0; c < w->channels; c += VL) {
            vm m = vm_first(w->channels - c < VL ? (int)(w->channels - c) : VL);
            vf sum = vf_zero();
            for (int64_t i = 0; i < w->slabs * w->rows; i++) {
                const float *line = x + c + i / w->rows * w->slab + i % w->rows * w->row;
                for (int64_t j = 0; j < w->cols; j++)
                    sum = vf_add(sum, vf_load_mask(line + j * w->col, m));
            }
            vf_store_mask(y + s * w->channels + c, vf_mul(sum, scale), m);
        }
    }
}

static void average_grad(float *dx, const float *dy, const qn_window *w)
{
    const vf scale = vf_set(w->scale);
    for (int64_t s = 0; s < w->count; s++, dx += w->move) {
        for (int64_t c = 0; c < w->channels; c += VL) {
            vm m = vm_first(w->channels - c < VL ? (int)(w->channels - c) : VL);
            vf g = vf_mul(vf_load_mask(dy + s * w->channels + c, m), scale);
            for (int64_t t = 0; t < w->slabs * w->rows * w->cols; t++) {
                float *to = dx + c + qn_window_at(w, t);
                vf_store_mask(to, vf_add(vf_load_mask(to, m), g), m);
            }
        }
    }
}

/* x^p by squaring, p >= 0. */
VEC vf power(vf x, int p)
{
    vf y = vf_set(1);
    for (; p > 0; p >>= 1, x = vf_mul(x, x))
        if (p & 1)
            y = vf_mul(y, x);
    return y;
}

/* x^(1 / p) of a sum of powers, which is 1 or more. */
VEC vf root(vf x, int p)
{
    if (p == 1)
        return x;
    return p == 2 ? vf_sqrt(x) : math_exp(vf_div(math_log(x), vf_set((float)p)));
}

/* By the largest: m (sum (|x| / m)^p)^(1 / p), so that nothing overflows. The largest itself counts as 1, also where it is 0 or
 * infinite; a NaN makes the sum NaN. */
VEC vf window_norm(const float *x, const qn_window *w, vm m, int p)
{
    vf most = vf_zero(), sum = vf_zero();
    for (int64_t i = 0; i < w->slabs * w->rows; i++) {
        const float *line = x + i / w->rows * w->slab + i % w->rows * w->row;
        for (int64_t j = 0; j < w->cols; j++)
            most = vf_max(vf_abs(vf_load_mask(line + j * w->col, m)), most);
    }
    for (int64_t i = 0; i < w->slabs * w->rows; i++) {
        const float *line = x + i / w->rows * w->slab + i % w->rows * w->row;
        for (int64_t j = 0; j < w->cols; j++) {
            vf v = vf_abs(vf_load_mask(line + j * w->col, m));
            v = vf_pick(vf_eq(v, most), vf_set(1), vf_div(v, most));
            sum = vf_add(sum, power(v, p));
        }
    }
    return vf_mul(most, root(sum, p));
}

static void norm(float *y, const float *x, const qn_window *w, int p)
{
    for (int64_t s = 0; s < w->count; s++, x += w->move)
        for (int64_t c = 0; c < w->channels; c += VL) {
            vm m = vm_first(w->channels - c < VL ? (int)(w->channels - c) : VL);
            vf_store_mask(y + s * w->channels + c, window_norm(x + c, w, m, p), m);
        }
}

static void norm_grad(float *dx, const float *dy, const float *x, const float *y,
                      const qn_window *w, int p)
{
    for (int64_t s = 0; s < w->count; s++, dx += w->move, x += w->move)
        for (int64_t c = 0; c < w->channels; c += VL) {
            vm m = vm_first(w->channels - c < VL ? (int)(w->channels - c) : VL);
            vf of = vf_load_mask(y + s * w->channels + c, m),
               g = vf_load_mask(dy + s * w->channels + c, m);
            vm counts = vf_lt(vf_zero(), of);
            for (int64_t t = 0; t < w->slabs * w->rows * w->cols; t++) {
                int64_t at = c + qn_window_at(w, t);
                vf from = vf_load_mask(x + at, m), to = vf_load_mask(dx + at, m);
                vf slope = vf_copysign(power(vf_div(vf_abs(from), of), p - 1), from);
                vf_store_mask(dx + at, vf_add(to, vf_keep(counts, vf_mul(g, slope))), m);
            }
        }
}

#define POOL_TABLE                                                                                 \
    {                                                                                              \
        .max = max, .max_grad = max_grad, .average = average, .average_grad = average_grad,        \
        .norm = norm, .norm_grad = norm_grad                                                       \
    }
