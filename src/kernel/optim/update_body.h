/*
 * Updates for any vector width: one pass over weights, moments and gradients. Each rule gets one vector of everything and
 * changes the moments in place.
 */
#include "kernel/optim/update_table.h"

VEC vf mean_of(float keep, float fresh, vf old, vf x)
{
    return vf_fma(vf_set(keep), old, vf_mul(vf_set(fresh), x));
}

VEC vf adagrad(vf w, vf *m, vf g, const qn_update_step *s)
{
    m[0] = vf_fma(g, g, m[0]);
    vf under = vf_add(vf_sqrt(m[0]), vf_set(s->eps));
    return vf_sub(w, vf_div(vf_mul(vf_set(s->rate), g), under));
}

VEC vf rmsprop(vf w, vf *m, vf g, const qn_update_step *s)
{
    m[0] = mean_of(s->keep2, s->fresh2, m[0], vf_mul(g, g));
    vf under = vf_add(vf_sqrt(m[0]), vf_set(s->eps));
    return vf_sub(w, vf_div(vf_mul(vf_set(s->rate), g), under));
}

VEC vf rmsprop_momentum(vf w, vf *m, vf g, const qn_update_step *s)
{
    m[0] = mean_of(s->keep2, s->fresh2, m[0], vf_mul(g, g));
    vf under = vf_add(vf_sqrt(m[0]), vf_set(s->eps));
    m[1] = vf_fma(vf_set(s->momentum), m[1], vf_div(g, under));
    return vf_fnma(vf_set(s->rate), m[1], w);
}

VEC vf rmsprop_centered(vf w, vf *m, vf g, const qn_update_step *s)
{
    m[0] = mean_of(s->keep2, s->fresh2, m[0], vf_mul(g, g));
    m[2] = mean_of(s->keep1, s->fresh1, m[2], g);
    vf spread = vf_max(vf_zero(), vf_fnma(m[2], m[2], m[0])); /* NaN stands second and stays */
    vf under = vf_add(vf_sqrt(spread), vf_set(s->eps));
    m[1] = vf_fma(vf_set(s->momentum), m[1], vf_div(g, under));
    return vf_fnma(vf_set(s->rate), m[1], w);
}

VEC vf adadelta(vf w, vf *m, vf g, const qn_update_step *s)
{
    const vf eps = vf_set(s->eps);
    m[0] = mean_of(s->keep2, s->fresh2, m[0], vf_mul(g, g));
    vf d = vf_mul(vf_sqrt(vf_div(vf_add(m[1], eps), vf_add(m[0], eps))), g);
    m[1] = mean_of(s->keep2, s->fresh2, m[1], vf_mul(d, d));
    return vf_fnma(vf_set(s->rate), d, w);
}

VEC vf nadam(vf w, vf *m, vf g, const qn_update_step *s)
{
    m[0] = mean_of(s->keep1, s->fresh1, m[0], g);
    m[1] = mean_of(s->keep2, s->fresh2, m[1], vf_mul(g, g));
    vf under = vf_fma(vf_set(s->root), vf_sqrt(m[1]), vf_set(s->eps));
    vf over = vf_fma(vf_set(s->rate2), m[0], vf_mul(vf_set(s->rate), g));
    return vf_sub(vf_mul(vf_set(s->shrink), w), vf_div(over, under));
}

VEC vf lion(vf w, vf *m, vf g, const qn_update_step *s)
{
    vf mixed = mean_of(s->keep1, s->fresh1, m[0], g);
    vm plain = vm_or(vf_eq(mixed, vf_zero()), vf_isnan(mixed)); /* 0 and NaN are their own sign */
    vf sign = vf_pick(plain, mixed, vf_copysign(vf_set(1.0f), mixed));
    m[0] = mean_of(s->keep2, s->fresh2, m[0], g);
    return vf_fnma(vf_set(s->rate), sign, vf_mul(vf_set(s->shrink), w));
}

VEC vf average(vf w, vf *m, vf g, const qn_update_step *s)
{
    (void)m;
    return vf_fma(vf_set(s->rate), vf_sub(g, w), w);
}

#define LOOP(name, moments)                                                                        \
    VEC void name##_lanes(const qn_update_chunk *c, int64_t i, vm k, const qn_update_step *s)      \
    {                                                                                              \
        vf m[QN_UPDATE_MOMENTS];                                                                   \
        for (int j = 0; j < (moments); j++)                                                        \
            m[j] = vf_load_mask(c->m[j] + i, k);                                                   \
        vf w = vf_load_mask(c->w + i, k);                                                          \
        vf g = vf_fma(vf_set(s->decay), w,                                                         \
                      vf_mul(vf_set(s->grad_scale), vf_load_mask(c->grad + i, k)));                \
        vf_store_mask(c->w + i, name(w, m, g, s), k);                                              \
        for (int j = 0; j < (moments); j++)                                                        \
            vf_store_mask(c->m[j] + i, m[j], k);                                                   \
    }                                                                                              \
    static void name##_loop(const qn_update_chunk *chunk, int64_t count, const qn_update_step *s)  \
    {                                                                                              \
        const qn_update_chunk c = *chunk; /* copies that no store can alias */                     \
        const qn_update_step step = *s;                                                            \
        const vm all = vm_first(VL);                                                               \
        int64_t i = 0;                                                                             \
        for (; i + VL <= count; i += VL)                                                           \
            name##_lanes(&c, i, all, &step);                                                       \
        if (i < count)                                                                             \
            name##_lanes(&c, i, vm_first((int)(count - i)), &step);                                \
    }
LOOP(adagrad, 1)
LOOP(rmsprop, 1)
LOOP(rmsprop_momentum, 2)
LOOP(rmsprop_centered, 3)
LOOP(adadelta, 2)
LOOP(nadam, 2)
LOOP(lion, 1)
LOOP(average, 0)

#define UPDATE_TABLE                                                                               \
    {                                                                                              \
        {                                                                                          \
            adagrad_loop, rmsprop_loop, rmsprop_momentum_loop, rmsprop_centered_loop,              \
                adadelta_loop, nadam_loop, lion_loop, average_loop                                 \
        }                                                                                          \
    }
