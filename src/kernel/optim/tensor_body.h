/* LAMB and Adafactor for any vector width. */
#include "kernel/optim/tensor_table.h"

VEC vf lamb_direction(vf w, vf m, vf v, const qn_lamb_step *s)
{
    vf under = vf_fma(vf_set(s->root), vf_sqrt(v), vf_set(s->eps));
    return vf_fma(vf_set(s->decay), w, vf_div(vf_mul(vf_set(s->rate), m), under));
}

static void lamb_moments(const float *w, float *m, float *v, const float *grad, int64_t count,
                         const qn_lamb_step *step, float ret_sums[2])
{
    const qn_lamb_step s = *step; /* a copy that no store can alias */
    vf weights = vf_zero(), lengths = vf_zero();
    for (int64_t i = 0; i < count; i += VL) {
        vm k = vm_first(count - i < VL ? (int)(count - i) : VL);
        vf x = vf_load_mask(w + i, k);
        vf g = vf_mul(vf_set(s.grad_scale), vf_load_mask(grad + i, k));
        vf first = vf_fma(vf_set(s.beta1), vf_load_mask(m + i, k), vf_mul(vf_set(s.fresh1), g));
        vf second =
            vf_fma(vf_set(s.beta2), vf_load_mask(v + i, k), vf_mul(vf_mul(vf_set(s.fresh2), g), g));
        vf_store_mask(m + i, first, k);
        vf_store_mask(v + i, second, k);
        vf r = vf_keep(k, lamb_direction(x, first, second, &s));
        weights = vf_fma(x, x, weights);
        lengths = vf_fma(r, r, lengths);
    }
    ret_sums[0] = vf_sum(weights);
    ret_sums[1] = vf_sum(lengths);
}

static void lamb_apply(float *w, const float *m, const float *v, int64_t count,
                       const qn_lamb_step *step)
{
    const qn_lamb_step s = *step;
    const vf lr = vf_set(s.lr);
    for (int64_t i = 0; i < count; i += VL) {
        vm k = vm_first(count - i < VL ? (int)(count - i) : VL);
        vf x = vf_load_mask(w + i, k);
        vf r = lamb_direction(x, vf_load_mask(m + i, k), vf_load_mask(v + i, k), &s);
        vf_store_mask(w + i, vf_fnma(lr, r, x), k);
    }
}

static float factor_squares(float *col, const float *grad, int64_t count, float scale)
{
    vf sum = vf_zero();
    for (int64_t i = 0; i < count; i += VL) {
        vm k = vm_first(count - i < VL ? (int)(count - i) : VL);
        vf g = vf_mul(vf_set(scale), vf_load_mask(grad + i, k));
        vf_store_mask(col + i, vf_fma(g, g, vf_load_mask(col + i, k)), k);
        sum = vf_fma(g, g, sum);
    }
    return vf_sum(sum);
}

static void factor_keep(float *kept, const float *x, int64_t count, float share, float factor)
{
    for (int64_t i = 0; i < count; i += VL) {
        vm k = vm_first(count - i < VL ? (int)(count - i) : VL);
        vf old = vf_load_mask(kept + i, k);
        vf off = vf_sub(vf_mul(vf_set(factor), vf_load_mask(x + i, k)), old);
        vf_store_mask(kept + i, vf_fma(vf_set(share), off, old), k);
    }
}

VEC vf factor_direction(vf g, vf col, const qn_factor_step *s)
{
    vf v = vf_max(vf_set(s->floor), vf_mul(vf_set(s->row), col)); /* NaN stands second and stays */
    return vf_div(vf_mul(vf_set(s->grad_scale), g), vf_sqrt(v));
}

static void factor_sums(const float *w, const float *grad, const float *col, int64_t count,
                        const qn_factor_step *step, float ret_sums[2])
{
    const qn_factor_step s = *step;
    vf weights = vf_zero(), lengths = vf_zero();
    for (int64_t i = 0; i < count; i += VL) {
        vm k = vm_first(count - i < VL ? (int)(count - i) : VL);
        vf x = vf_load_mask(w + i, k);
        vf u = factor_direction(vf_load_mask(grad + i, k), vf_load_mask(col + i, k), &s);
        u = vf_keep(k, u); /* a floor of 0 gives NaN beyond the end */
        weights = vf_fma(x, x, weights);
        lengths = vf_fma(u, u, lengths);
    }
    ret_sums[0] = vf_sum(weights);
    ret_sums[1] = vf_sum(lengths);
}

static void factor_apply(float *w, const float *grad, const float *col, int64_t count,
                         const qn_factor_step *step)
{
    const qn_factor_step s = *step;
    const vf shrink = vf_set(s.shrink), rate = vf_set(s.rate);
    for (int64_t i = 0; i < count; i += VL) {
        vm k = vm_first(count - i < VL ? (int)(count - i) : VL);
        vf u = factor_direction(vf_load_mask(grad + i, k), vf_load_mask(col + i, k), &s);
        vf x = vf_mul(shrink, vf_load_mask(w + i, k));
        vf_store_mask(w + i, vf_fnma(rate, u, x), k);
    }
}

#define TENSOR_TABLE                                                                               \
    {                                                                                              \
        .lamb_moments = lamb_moments, .lamb_apply = lamb_apply, .factor_squares = factor_squares,  \
        .factor_keep = factor_keep, .factor_sums = factor_sums, .factor_apply = factor_apply       \
    }
