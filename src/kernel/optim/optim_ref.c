/* Optimiser updates in plain C. */
#include <math.h>

#include "kernel/optim/optim_table.h"

static void sgd_plain(float *w, const float *grad, int64_t count, const qn_sgd_step *s)
{
    for (int64_t i = 0; i < count; i++)
        w[i] -= s->lr * (s->grad_scale * grad[i] + s->decay * w[i]);
}

static void sgd_momentum(float *w, float *v, const float *grad, int64_t count, const qn_sgd_step *s)
{
    for (int64_t i = 0; i < count; i++) {
        float g = s->grad_scale * grad[i] + s->decay * w[i];
        v[i] = s->momentum * v[i] + s->fresh * g;
        w[i] -= s->lr * (s->of_g * g + s->of_v * v[i]);
    }
}

static void adam(float *w, float *m, float *v, const float *grad, int64_t count,
                 const qn_adam_step *s)
{
    for (int64_t i = 0; i < count; i++) {
        float g = s->grad_scale * grad[i] + s->decay * w[i];
        m[i] = s->beta1 * m[i] + s->fresh1 * g;
        v[i] = s->beta2 * v[i] + s->fresh2 * g * g;
        w[i] = s->shrink * w[i] - s->rate * m[i] / (s->root * sqrtf(v[i]) + s->eps);
    }
}

const qn_optim_kernels qn_optim_f32_ref = {
    .sgd_plain = sgd_plain, .sgd_momentum = sgd_momentum, .adam = adam};
