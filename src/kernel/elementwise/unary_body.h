/*
 * Functions of one number for any vector width: one expression each for y = f(x) and dx = dy * f'(saved). The loops
 * around them are made by two macros; the last partial vector is masked and computes the same bits.
 */
#include <math.h>

#include "kernel/elementwise/unary_table.h"
#include "kernel/vec_math.h"

#define ONE  vf_set(1.0f)
#define HALF vf_set(0.5f)

VEC vf sign(vf x) /* NaN stays */
{
    return vf_pick(vf_lt(vf_zero(), x), ONE, vf_pick(vf_lt(x, vf_zero()), vf_set(-1.0f), x));
}
VEC vf elu(vf x, vf alpha)
{
    return vf_pick(vf_lt(vf_zero(), x), x, vf_mul(alpha, math_expm1_negative(x)));
}
VEC vf gelu_slope(vf x)
{
    vf cdf = vf_fma(HALF, math_erf(vf_mul(x, vf_set(0.70710678118f))), HALF);
    vf pdf = vf_mul(vf_set(0.3989422804f), math_exp(vf_mul(vf_mul(x, x), vf_set(-0.5f))));
    return vf_fma(x, pdf, cdf);
}
/* f = x s(v) with v = c x (1 + d x^2): f' = s + x s (1 - s) v' */
VEC vf gelu_tanh_slope(vf x)
{
    const vf c = vf_set(2.0f * 0.7978845608f), cd = vf_set(2.0f * 0.7978845608f * 0.044715f);
    vf z = vf_mul(x, x), s = math_gelu_gate(x);
    vf dv = vf_fma(z, vf_mul(vf_set(3.0f), cd), c);
    return vf_fma(vf_mul(vf_mul(x, s), vf_sub(ONE, s)), dv, s);
}
VEC vf silu_slope(vf x)
{
    vf s = math_sigmoid(x);
    return vf_mul(s, vf_fma(x, vf_sub(ONE, s), ONE));
}
VEC vf swish_slope(vf x, vf alpha)
{
    vf z = vf_mul(alpha, x), s = math_sigmoid(z);
    return vf_mul(s, vf_fma(z, vf_sub(ONE, s), ONE));
}
/* x / 6 + 1 / 2 in [0, 1]; the first operand of min and max gives way to NaN */
VEC vf hard_gate(vf x)
{
    return vf_min(ONE, vf_max(vf_zero(), vf_fma(x, vf_set(1.0f / 6.0f), HALF)));
}
VEC vf hard_swish_slope(vf x)
{
    vm rises = vm_and(vf_lt(vf_set(-3.0f), x), vf_lt(x, vf_set(3.0f)));
    return vf_fma(vf_keep(rises, x), vf_set(1.0f / 6.0f), hard_gate(x));
}
VEC vf softsign(vf x) /* at the ends it is 1: inf / inf is not */
{
    vf y = vf_div(x, vf_add(ONE, vf_abs(x)));
    return vf_pick(vf_eq(vf_abs(x), vf_set(__builtin_inff())), vf_copysign(ONE, x), y);
}
VEC vf softsign_slope(vf x)
{
    vf d = vf_add(ONE, vf_abs(x));
    return vf_div(ONE, vf_mul(d, d));
}
/* tanh(log(1 + e)) = n / (n + 2) with e = exp(x), n = e (e + 2); 1 from x = 20 on */
VEC vf mish_gate(vf x)
{
    vf e = math_exp(vf_min(vf_set(20.0f), x));
    vf n = vf_mul(e, vf_add(e, vf_set(2.0f)));
    return vf_div(n, vf_add(n, vf_set(2.0f)));
}
VEC vf mish_slope(vf x)
{
    vf t = mish_gate(x);
    return vf_fma(vf_mul(x, math_sigmoid(x)), vf_fnma(t, t, ONE), t);
}
VEC vf erf_slope(vf x)
{
    return vf_mul(vf_set(1.1283791671f), math_exp(vf_neg(vf_mul(x, x))));
}
VEC vf rsqrt(vf x)
{
    return vf_div(ONE, vf_sqrt(x));
}

/* X(name, y of x, dx of dy and s), with `a` the parameter in every lane. */
#define FUNCTIONS(X)                                                                               \
    X(RELU, vf_max(vf_zero(), x), vf_keep(vf_lt(vf_zero(), s), dy))                                \
    X(LEAKY, vf_pick(vf_lt(vf_zero(), x), x, vf_mul(a, x)),                                        \
      vf_pick(vf_lt(vf_zero(), s), dy, vf_mul(a, dy)))                                             \
    X(ELU, elu(x, a), vf_mul(dy, vf_pick(vf_lt(vf_zero(), s), ONE, vf_mul(a, math_exp(s)))))       \
    X(SIGMOID, math_sigmoid(x), vf_mul(dy, vf_mul(s, vf_sub(ONE, s))))                             \
    X(TANH, math_tanh(x), vf_mul(dy, vf_fnma(s, s, ONE)))                                          \
    X(GELU, math_gelu(x), vf_mul(dy, gelu_slope(s)))                                               \
    X(GELU_TANH, math_gelu_tanh(x), vf_mul(dy, gelu_tanh_slope(s)))                                \
    X(SILU, math_silu(x), vf_mul(dy, silu_slope(s)))                                               \
    X(SOFTPLUS, math_softplus(x), vf_mul(dy, math_sigmoid(s)))                                     \
    X(SWISH, vf_mul(x, math_sigmoid(vf_mul(a, x))), vf_mul(dy, swish_slope(s, a)))                 \
    X(HARD_SWISH, vf_mul(x, hard_gate(x)), vf_mul(dy, hard_swish_slope(s)))                        \
    X(SOFTSIGN, softsign(x), vf_mul(dy, softsign_slope(s)))                                        \
    X(MISH, vf_mul(x, mish_gate(x)), vf_mul(dy, mish_slope(s)))                                    \
    X(THRESHOLD, vf_pick(vf_le(x, a), vf_zero(), x), vf_keep(vf_lt(a, s), dy))                     \
    X(EXP, math_exp(x), vf_mul(dy, s))                                                             \
    X(LOG, math_log(x), vf_div(dy, s))                                                             \
    X(LOG1P, math_log1p(x), vf_div(dy, vf_add(ONE, s)))                                            \
    X(SQRT, vf_sqrt(x), vf_div(vf_mul(HALF, dy), s))                                               \
    X(RSQRT, rsqrt(x), vf_mul(vf_mul(vf_set(-0.5f), dy), vf_mul(s, vf_mul(s, s))))                 \
    X(NEG, vf_neg(x), vf_neg(dy))                                                                  \
    X(ABS, vf_abs(x), vf_mul(dy, sign(s)))                                                         \
    X(RECIP, vf_div(ONE, x), vf_neg(vf_mul(dy, vf_mul(s, s))))                                     \
    X(SQUARE, vf_mul(x, x), vf_mul(vf_add(dy, dy), s))                                             \
    X(ERF, math_erf(x), vf_mul(dy, erf_slope(s)))                                                  \
    X(SIN, math_trig(x, 0, sinf), vf_mul(dy, math_trig(s, 1, cosf)))                               \
    X(COS, math_trig(x, 1, cosf), vf_neg(vf_mul(dy, math_trig(s, 0, sinf))))                       \
    X(SIGN, sign(x), vf_zero())                                                                    \
    X(FLOOR, vf_floor(x), vf_zero())                                                               \
    X(CEIL, vf_ceil(x), vf_zero())                                                                 \
    X(ROUND, vf_round(x), vf_zero())                                                               \
    X(COPY, x, dy)

#define FORWARD(name, y, dx)                                                                       \
    static void forward_##name(float *dst, const float *src, int64_t count, float alpha)           \
    {                                                                                              \
        const vf a = vf_set(alpha);                                                                \
        (void)a;                                                                                   \
        int64_t i = 0;                                                                             \
        for (; i + VL <= count; i += VL) {                                                         \
            vf x = vf_load(src + i);                                                               \
            vf_store(dst + i, y);                                                                  \
        }                                                                                          \
        if (i < count) {                                                                           \
            vm m = vm_first((int)(count - i));                                                     \
            vf x = vf_load_mask(src + i, m);                                                       \
            vf_store_mask(dst + i, y, m);                                                          \
        }                                                                                          \
    }
FUNCTIONS(FORWARD)
#undef FORWARD

#define BACKWARD(name, y, dx)                                                                      \
    static void backward_##name(float *dst, const float *grad, const float *saved, int64_t count,  \
                                float alpha)                                                       \
    {                                                                                              \
        const vf a = vf_set(alpha);                                                                \
        (void)a;                                                                                   \
        const float *from = saved ? saved : grad; /* functions that need nothing saved */          \
        int64_t i = 0;                                                                             \
        for (; i + VL <= count; i += VL) {                                                         \
            vf dy = vf_load(grad + i), s = vf_load(from + i);                                      \
            (void)dy;                                                                              \
            (void)s;                                                                               \
            vf_store(dst + i, dx);                                                                 \
        }                                                                                          \
        if (i < count) {                                                                           \
            vm m = vm_first((int)(count - i));                                                     \
            vf dy = vf_load_mask(grad + i, m), s = vf_load_mask(from + i, m);                      \
            (void)dy;                                                                              \
            (void)s;                                                                               \
            vf_store_mask(dst + i, dx, m);                                                         \
        }                                                                                          \
    }
FUNCTIONS(BACKWARD)
#undef BACKWARD

static void clamp(float *dst, const float *src, int64_t count, float low, float high)
{
    const vf lows = vf_set(low), highs = vf_set(high);
    int64_t i = 0;
    for (; i + VL <= count; i += VL)
        vf_store(dst + i, vf_min(highs, vf_max(lows, vf_load(src + i))));
    if (i < count) {
        vm m = vm_first((int)(count - i));
        vf_store_mask(dst + i, vf_min(highs, vf_max(lows, vf_load_mask(src + i, m))), m);
    }
}

VEC vf clamp_pass(vf dy, vf x, vf low, vf high)
{
    return vf_keep(vm_and(vf_le(low, x), vf_le(x, high)), dy);
}

static void clamp_grad(float *dx, const float *dy, const float *x, int64_t count, float low,
                       float high)
{
    const vf lows = vf_set(low), highs = vf_set(high);
    int64_t i = 0;
    for (; i + VL <= count; i += VL)
        vf_store(dx + i, clamp_pass(vf_load(dy + i), vf_load(x + i), lows, highs));
    if (i < count) {
        vm m = vm_first((int)(count - i));
        vf_store_mask(dx + i,
                      clamp_pass(vf_load_mask(dy + i, m), vf_load_mask(x + i, m), lows, highs), m);
    }
}

static void affine(float *dst, const float *src, int64_t count, float scale, float shift)
{
    const vf scales = vf_set(scale), shifts = vf_set(shift);
    int64_t i = 0;
    for (; i + VL <= count; i += VL)
        vf_store(dst + i, vf_fma(vf_load(src + i), scales, shifts));
    if (i < count) {
        vm m = vm_first((int)(count - i));
        vf_store_mask(dst + i, vf_fma(vf_load_mask(src + i, m), scales, shifts), m);
    }
}

static void axpy(float *dst, const float *src, int64_t count, float scale)
{
    const vf scales = vf_set(scale);
    int64_t i = 0;
    for (; i + VL <= count; i += VL)
        vf_store(dst + i, vf_fma(vf_load(src + i), scales, vf_load(dst + i)));
    if (i < count) {
        vm m = vm_first((int)(count - i));
        vf_store_mask(dst + i, vf_fma(vf_load_mask(src + i, m), scales, vf_load_mask(dst + i, m)),
                      m);
    }
}

#define UNARY_TABLE                                                                                \
    {                                                                                              \
        .forward = {FUNCTIONS(FORWARD_ENTRY)}, .backward = {FUNCTIONS(BACKWARD_ENTRY)},            \
        .clamp = clamp, .clamp_grad = clamp_grad, .affine = affine, .axpy = axpy                   \
    }
#define FORWARD_ENTRY(name, y, dx)  [QN_UNARY_##name] = forward_##name,
#define BACKWARD_ENTRY(name, y, dx) [QN_UNARY_##name] = backward_##name,
