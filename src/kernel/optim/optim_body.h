/*
 * Optimiser updates for any vector width: one pass over weights, moments and gradients, which is all that memory
 * allows; square root and division hide behind it.
 */
#include "kernel/optim/optim_table.h"

VEC vf gradient(vf grad, vf w, const qn_sgd_step *s)
{
    return vf_fma(vf_set(s->decay), w, vf_mul(vf_set(s->grad_scale), grad));
}

static void sgd_plain(float *w, const float *grad, int64_t count, const qn_sgd_step *s)
{
    const vf lr = vf_set(s->lr);
    for (int64_t i = 0; i < count; i += VL) {
        vm m = vm_first(count - i < VL ? (int)(count - i) : VL);
        vf x = vf_load_mask(w + i, m);
        vf g = gradient(vf_load_mask(grad + i, m), x, s);
        vf_store_mask(w + i, vf_fnma(lr, g, x), m);
    }
}

static void sgd_momentum(float *w, float *v, const float *grad, int64_t count, const qn_sgd_step *s)
{
    const vf lr = vf_set(s->lr), momentum = vf_set(s->momentum), fresh = vf_set(s->fresh);
    const vf of_g = vf_set(s->of_g), of_v = vf_set(s->of_v);
    for (int64_t i = 0; i < count; i += VL) {
        vm m = vm_first(count - i < VL ? (int)(count - i) : VL);
        vf x = vf_load_mask(w + i, m);
        vf g = gradient(vf_load_mask(grad + i, m), x, s);
        vf speed = vf_fma(momentum, vf_load_mask(v + i, m), vf_mul(fresh, g));
        vf_store_mask(v + i, speed, m);
        vf_store_mask(w + i, vf_fnma(lr, vf_fma(of_g, g, vf_mul(of_v, speed)), x), m);
    }
}

VEC void adam_lanes(float *w, float *m1, float *m2, const float *grad, vm m, const qn_adam_step *s)
{
    vf x = vf_load_mask(w, m);
    vf g = vf_fma(vf_set(s->decay), x, vf_mul(vf_set(s->grad_scale), vf_load_mask(grad, m)));
    vf first = vf_fma(vf_set(s->beta1), vf_load_mask(m1, m), vf_mul(vf_set(s->fresh1), g));
    vf second =
        vf_fma(vf_set(s->beta2), vf_load_mask(m2, m), vf_mul(vf_mul(vf_set(s->fresh2), g), g));
    vf_store_mask(m1, first, m);
    vf_store_mask(m2, second, m);
    vf under = vf_fma(vf_set(s->root), vf_sqrt(second), vf_set(s->eps));
    vf update = vf_div(vf_mul(vf_set(s->rate), first), under);
    vf_store_mask(w, vf_sub(vf_mul(vf_set(s->shrink), x), update), m);
}

static void adam(float *w, float *m1, float *m2, const float *grad, int64_t count,
                 const qn_adam_step *s)
{
    const qn_adam_step step = *s; /* a copy that no store can alias */
    const vm all = vm_first(VL);
    int64_t i = 0;
    for (; i + VL <= count; i += VL)
        adam_lanes(w + i, m1 + i, m2 + i, grad + i, all, &step);
    if (i < count)
        adam_lanes(w + i, m1 + i, m2 + i, grad + i, vm_first((int)(count - i)), &step);
}

#define OPTIM_TABLE                                                                                \
    {                                                                                              \
        .sgd_plain = sgd_plain, .sgd_momentum = sgd_momentum, .adam = adam                         \
    }
