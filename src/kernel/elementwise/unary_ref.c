/*
 * Functions of one number in plain C: what the vector kernels are compared with.
 */
#include <math.h>

#include "kernel/elementwise/unary_table.h"

static float sign(float x)
{
    return x > 0 ? 1 : x < 0 ? -1 : x;
}
static float sigmoid(float x)
{
    return 1 / (1 + expf(-x));
}
static float gelu_slope(float x)
{
    return 0.5f * (1 + erff(x * 0.70710678118f)) + x * 0.3989422804f * expf(-0.5f * x * x);
}
static float gelu_tanh_argument(float x)
{
    return 2 * 0.7978845608f * x * (1 + 0.044715f * x * x);
}
static float gelu_tanh_slope(float x)
{
    float s = sigmoid(gelu_tanh_argument(x));
    return s + x * s * (1 - s) * 2 * 0.7978845608f * (1 + 3 * 0.044715f * x * x);
}
static float silu_slope(float x)
{
    float s = sigmoid(x);
    return s * (1 + x * (1 - s));
}
static float softplus(float x)
{
    return (x < 0 ? 0 : x) + log1pf(expf(-fabsf(x)));
}

static float swish_slope(float x, float alpha)
{
    float s = sigmoid(alpha * x);
    return s * (1 + alpha * x * (1 - s));
}
static float hard_gate(float x)
{
    float y = x / 6 + 0.5f;
    return y < 0 ? 0 : y > 1 ? 1 : y;
}
static float softsign(float x)
{
    return isinf(x) ? copysignf(1, x) : x / (1 + fabsf(x));
}
static float softsign_slope(float x)
{
    return 1 / ((1 + fabsf(x)) * (1 + fabsf(x)));
}
static float mish_gate(float x)
{
    return tanhf(softplus(x));
}
static float mish_slope(float x)
{
    float t = mish_gate(x);
    return t + x * sigmoid(x) * (1 - t * t);
}

/* X(name, y of x, dx of dy and s), alpha the parameter. */
#define FUNCTIONS(X)                                                                               \
    X(RELU, x<0 ? 0 : x, s> 0 ? dy : 0)                                                            \
    X(LEAKY, x > 0 ? x : alpha * x, s > 0 ? dy : alpha * dy)                                       \
    X(ELU, x > 0 ? x : alpha * expm1f(x), dy * (s > 0 ? 1 : alpha * expf(s)))                      \
    X(SIGMOID, sigmoid(x), dy *s *(1 - s))                                                         \
    X(TANH, tanhf(x), dy *(1 - s * s))                                                             \
    X(GELU, 0.5f * x * (1 + erff(x * 0.70710678118f)), dy * gelu_slope(s))                         \
    X(GELU_TANH, x *sigmoid(gelu_tanh_argument(x)), dy *gelu_tanh_slope(s))                        \
    X(SILU, x *sigmoid(x), dy *silu_slope(s))                                                      \
    X(SOFTPLUS, softplus(x), dy *sigmoid(s))                                                       \
    X(SWISH, x *sigmoid(alpha *x), dy *swish_slope(s, alpha))                                      \
    X(HARD_SWISH, x *hard_gate(x), dy *(hard_gate(s) + (s > -3 && s < 3 ? s / 6 : 0)))             \
    X(SOFTSIGN, softsign(x), dy *softsign_slope(s))                                                \
    X(MISH, x *mish_gate(x), dy *mish_slope(s))                                                    \
    X(THRESHOLD, x <= alpha ? 0 : x, s > alpha ? dy : 0)                                           \
    X(EXP, expf(x), dy *s)                                                                         \
    X(LOG, logf(x), dy / s)                                                                        \
    X(LOG1P, log1pf(x), dy / (1 + s))                                                              \
    X(SQRT, sqrtf(x), 0.5f * dy / s)                                                               \
    X(RSQRT, 1 / sqrtf(x), -0.5f * dy * s * s * s)                                                 \
    X(NEG, -x, -dy)                                                                                \
    X(ABS, fabsf(x), dy *sign(s))                                                                  \
    X(RECIP, 1 / x, -dy * s * s)                                                                   \
    X(SQUARE, x *x, 2 * dy * s)                                                                    \
    X(ERF, erff(x), dy * 1.1283791671f * expf(-s * s))                                             \
    X(SIN, sinf(x), dy *cosf(s))                                                                   \
    X(COS, cosf(x), -dy *sinf(s))                                                                  \
    X(SIGN, sign(x), 0)                                                                            \
    X(FLOOR, floorf(x), 0)                                                                         \
    X(CEIL, ceilf(x), 0)                                                                           \
    X(ROUND, nearbyintf(x), 0)                                                                     \
    X(COPY, x, dy)

#define FORWARD(name, y, dx)                                                                       \
    static void forward_##name(float *dst, const float *src, int64_t count, float alpha)           \
    {                                                                                              \
        (void)alpha;                                                                               \
        for (int64_t i = 0; i < count; i++) {                                                      \
            float x = src[i];                                                                      \
            dst[i] = y;                                                                            \
        }                                                                                          \
    }
FUNCTIONS(FORWARD)

#define BACKWARD(name, y, dx)                                                                      \
    static void backward_##name(float *dst, const float *grad, const float *saved, int64_t count,  \
                                float alpha)                                                       \
    {                                                                                              \
        (void)alpha;                                                                               \
        for (int64_t i = 0; i < count; i++) {                                                      \
            float dy = grad[i], s = saved ? saved[i] : 0;                                          \
            (void)dy;                                                                              \
            (void)s;                                                                               \
            dst[i] = dx;                                                                           \
        }                                                                                          \
    }
FUNCTIONS(BACKWARD)

static void clamp(float *dst, const float *src, int64_t count, float low, float high)
{
    for (int64_t i = 0; i < count; i++) {
        float raised = src[i] < low ? low : src[i]; /* where the bounds cross, the upper one wins */
        dst[i] = raised > high ? high : raised;
    }
}

static void clamp_grad(float *dx, const float *dy, const float *x, int64_t count, float low,
                       float high)
{
    for (int64_t i = 0; i < count; i++)
        dx[i] = low <= x[i] && x[i] <= high ? dy[i] : 0;
}

static void affine(float *dst, const float *src, int64_t count, float scale, float shift)
{
    for (int64_t i = 0; i < count; i++)
        dst[i] = scale * src[i] + shift;
}

static void axpy(float *dst, const float *src, int64_t count, float scale)
{
    for (int64_t i = 0; i < count; i++)
        dst[i] += scale * src[i];
}

#define FORWARD_ENTRY(name, y, dx)  [QN_UNARY_##name] = forward_##name,
#define BACKWARD_ENTRY(name, y, dx) [QN_UNARY_##name] = backward_##name,

const qn_unary_kernels qn_unary_f32_ref = {
    .forward = {FUNCTIONS(FORWARD_ENTRY)},
    .backward = {FUNCTIONS(BACKWARD_ENTRY)},
    .clamp = clamp,
    .clamp_grad = clamp_grad,
    .affine = affine,
    .axpy = axpy,
};
