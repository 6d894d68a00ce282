/* Updates in plain C. */
#include <math.h>

#include "kernel/optim/update_table.h"

typedef float row[QN_UPDATE_MOMENTS];

static float adagrad(float w, row m, float g, const qn_update_step *s)
{
    m[0] += g * g;
    return w - s->rate * g / (sqrtf(m[0]) + s->eps);
}

static float rmsprop(float w, row m, float g, const qn_update_step *s)
{
    m[0] = s->keep2 * m[0] + s->fresh2 * g * g;
    return w - s->rate * g / (sqrtf(m[0]) + s->eps);
}

static float rmsprop_momentum(float w, row m, float g, const qn_update_step *s)
{
    m[0] = s->keep2 * m[0] + s->fresh2 * g * g;
    m[1] = s->momentum * m[1] + g / (sqrtf(m[0]) + s->eps);
    return w - s->rate * m[1];
}

static float rmsprop_centered(float w, row m, float g, const qn_update_step *s)
{
    m[0] = s->keep2 * m[0] + s->fresh2 * g * g;
    m[2] = s->keep1 * m[2] + s->fresh1 * g;
    float spread = m[0] - m[2] * m[2];
    m[1] = s->momentum * m[1] + g / (sqrtf(spread < 0 ? 0 : spread) + s->eps);
    return w - s->rate * m[1];
}

static float adadelta(float w, row m, float g, const qn_update_step *s)
{
    m[0] = s->keep2 * m[0] + s->fresh2 * g * g;
    float d = sqrtf((m[1] + s->eps) / (m[0] + s->eps)) * g;
    m[1] = s->keep2 * m[1] + s->fresh2 * d * d;
    return w - s->rate * d;
}

static float nadam(float w, row m, float g, const qn_update_step *s)
{
    m[0] = s->keep1 * m[0] + s->fresh1 * g;
    m[1] = s->keep2 * m[1] + s->fresh2 * g * g;
    return s->shrink * w - (s->rate * g + s->rate2 * m[0]) / (s->root * sqrtf(m[1]) + s->eps);
}

static float lion(float w, row m, float g, const qn_update_step *s)
{
    float mixed = s->keep1 * m[0] + s->fresh1 * g;
    float sign = mixed > 0 ? 1 : mixed < 0 ? -1 : mixed;
    m[0] = s->keep2 * m[0] + s->fresh2 * g;
    return s->shrink * w - s->rate * sign;
}

static float average(float w, row m, float g, const qn_update_step *s)
{
    (void)m;
    return w + s->rate * (g - w);
}

#define LOOP(name, moments)                                                                        \
    static void name##_loop(const qn_update_chunk *c, int64_t count, const qn_update_step *s)      \
    {                                                                                              \
        for (int64_t i = 0; i < count; i++) {                                                      \
            row m = {0};                                                                           \
            for (int k = 0; k < (moments); k++)                                                    \
                m[k] = c->m[k][i];                                                                 \
            c->w[i] = name(c->w[i], m, s->grad_scale * c->grad[i] + s->decay * c->w[i], s);        \
            for (int k = 0; k < (moments); k++)                                                    \
                c->m[k][i] = m[k];                                                                 \
        }                                                                                          \
    }
LOOP(adagrad, 1)
LOOP(rmsprop, 1)
LOOP(rmsprop_momentum, 2)
LOOP(rmsprop_centered, 3)
LOOP(adadelta, 2)
LOOP(nadam, 2)
LOOP(lion, 1)
LOOP(average, 0)

const qn_update_kernels qn_update_f32_ref = {{adagrad_loop, rmsprop_loop, rmsprop_momentum_loop,
                                              rmsprop_centered_loop, adadelta_loop, nadam_loop,
                                              lion_loop, average_loop}};
