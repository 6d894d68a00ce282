/* LAMB and Adafactor in plain C. */
#include <math.h>

#include "kernel/optim/tensor_table.h"

static float lamb_direction(float w, float m, float v, const qn_lamb_step *s)
{
    return s->rate * m / (s->root * sqrtf(v) + s->eps) + s->decay * w;
}

static void lamb_moments(const float *w, float *m, float *v, const float *grad, int64_t count,
                         const qn_lamb_step *s, float ret_sums[2])
{
    ret_sums[0] = ret_sums[1] = 0;
    for (int64_t i = 0; i < count; i++) {
        float g = s->grad_scale * grad[i];
        m[i] = s->beta1 * m[i] + s->fresh1 * g;
        v[i] = s->beta2 * v[i] + s->fresh2 * g * g;
        float r = lamb_direction(w[i], m[i], v[i], s);
        ret_sums[0] += w[i] * w[i];
        ret_sums[1] += r * r;
    }
}

static void lamb_apply(float *w, const float *m, const float *v, int64_t count,
                       const qn_lamb_step *s)
{
    for (int64_t i = 0; i < count; i++)
        w[i] -= s->lr * lamb_direction(w[i], m[i], v[i], s);
}

static float factor_squares(float *col, const float *grad, int64_t count, float scale)
{
    float sum = 0;
    for (int64_t i = 0; i < count; i++) {
        float g = scale * grad[i];
        col[i] += g * g;
        sum += g * g;
    }
    return sum;
}

static void factor_keep(float *kept, const float *x, int64_t count, float share, float factor)
{
    for (int64_t i = 0; i < count; i++)
        kept[i] += share * (factor * x[i] - kept[i]);
}

/* fmaxf would lose a NaN. */
static float factor_direction(float grad, float col, const qn_factor_step *s)
{
    float v = s->row * col;
    return s->grad_scale * grad / sqrtf(v < s->floor ? s->floor : v);
}

static void factor_sums(const float *w, const float *grad, const float *col, int64_t count,
                        const qn_factor_step *s, float ret_sums[2])
{
    ret_sums[0] = ret_sums[1] = 0;
    for (int64_t i = 0; i < count; i++) {
        float u = factor_direction(grad[i], col[i], s);
        ret_sums[0] += w[i] * w[i];
        ret_sums[1] += u * u;
    }
}

static void factor_apply(float *w, const float *grad, const float *col, int64_t count,
                         const qn_factor_step *s)
{
    for (int64_t i = 0; i < count; i++)
        w[i] = s->shrink * w[i] - s->rate * factor_direction(grad[i], col[i], s);
}

const qn_optim_tensor_kernels qn_optim_tensor_f32_ref = {
    .lamb_moments = lamb_moments,
    .lamb_apply = lamb_apply,
    .factor_squares = factor_squares,
    .factor_keep = factor_keep,
    .factor_sums = factor_sums,
    .factor_apply = factor_apply,
};
