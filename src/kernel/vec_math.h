/*
 * exp, log, tanh, erf and their relatives on vectors. Included after one of the vec_*.h headers, by
 * ISA files only.
 *
 * Each function reduces its argument to a small interval and evaluates a minimax polynomial by fma
 * there. exp and log: Cephes' expf and logf (Moshier, 1992). erf: two polynomials fitted by N.
 * Juffa (public forum posts, 2016), the tail as 1 - exp(p(|x|)). Errors were measured over every
 * float (tests/kernel/unary_test.c samples those of the rows).
 */
#ifndef QN_KERNEL_VEC_MATH_H
#define QN_KERNEL_VEC_MATH_H

/* 2^n for whole n in [-126, 127] */
VEC vf math_pow2(vi n)
{
    return vf_bits(vi_shl(vi_add(n, vi_set(127)), 23));
}

/* x * 2^n for whole n in [-126, 128], in two factors, so that the first cannot overflow before the result does. A
 * vec_*.h header may have an instruction for it. */
#ifndef vf_scale
VEC vf vf_scale(vf x, vf n)
{
    vi whole = vi_from_f32(n);
    vi half = vi_sar(whole, 1);
    return vf_mul(vf_mul(x, math_pow2(half)), math_pow2(vi_sub(whole, half)));
}
#endif

/* <= 1.5 ulp. Below ln 2^-126 the result is 0, so that flushing denormals changes nothing. */
VEC vf math_exp(vf x)
{
    const vf low = vf_set(-87.3365447505f);
    vf y = vf_min(vf_set(89.0f), vf_max(vf_set(-88.0f), x));
    vf n = vf_round(vf_mul(y, vf_set(1.44269504089f)));
    /* ln 2 in two parts: n times the first is exact */
    vf r = vf_fnma(n, vf_set(0.693359375f), y);
    r = vf_fnma(n, vf_set(-2.12194440e-4f), r);
    vf p = vf_set(1.9875691500e-4f);
    p = vf_fma(p, r, vf_set(1.3981999507e-3f));
    p = vf_fma(p, r, vf_set(8.3334519073e-3f));
    p = vf_fma(p, r, vf_set(4.1665795894e-2f));
    p = vf_fma(p, r, vf_set(1.6666665459e-1f));
    p = vf_fma(p, r, vf_set(5.0000001201e-1f));
    p = vf_fma(p, vf_mul(r, r), vf_add(r, vf_set(1.0f)));
    p = vf_scale(p, n);
    return vf_pick(vf_lt(x, low), vf_zero(), p);
}

/* 2^y = 2^n 2^r with |r| <= 1/2 and *ret_n = n; gives 2^r. <= 1.5 ulp */
VEC vf math_exp2_part(vf y, vf *ret_n)
{
    *ret_n = vf_round(y);
    vf r = vf_sub(y, *ret_n);
    vf p = vf_fma(vf_set(1.3264727313e-3f), r, vf_set(9.6715129912e-3f));
    p = vf_fma(p, r, vf_set(5.5507335812e-2f));
    p = vf_fma(p, r, vf_set(2.4022242427e-1f));
    p = vf_fma(p, r, vf_set(6.9314700365e-1f));
    return vf_fma(p, r, vf_set(1.0f));
}

/* 2^y for y <= 127; 0 below the normal numbers. <= 1.5 ulp */
VEC vf math_exp2(vf y)
{
    vf n, p = math_exp2_part(y, &n);
    return vf_pick(vf_lt(y, vf_set(-126.0f)), vf_zero(), vf_scale(p, n));
}

/* e^x for a softmax, whose x are below 0 or not far above (below 88): relative to the result, 1.5 ulp and |x| eps, of the
 * order of what the subtraction that gave x has cost. Two thirds of the work of math_exp. */
VEC vf math_exp_below(vf x)
{
    return math_exp2(vf_mul(x, vf_set(1.44269504089f)));
}

/* <= 1.5 ulp. Denormals count as 0 (-inf); negative numbers give NaN. */
VEC vf math_log(vf x)
{
    const vf smallest = vf_set(1.17549435e-38f);
    vi bits = vi_bits(x);
    /* m in [sqrt 1/2, sqrt 2): take the exponent of x / sqrt(1/2) */
    vi shifted = vi_sub(bits, vi_set(0x3f3504f3));
    vi exponent = vi_sar(shifted, 23);
    vf m = vf_bits(vi_sub(bits, vi_shl(exponent, 23)));
    vf e = vf_from_i32(exponent);
    vf r = vf_sub(m, vf_set(1.0f));
    vf z = vf_mul(r, r);
    vf p = vf_set(7.0376836292e-2f);
    p = vf_fma(p, r, vf_set(-1.1514610310e-1f));
    p = vf_fma(p, r, vf_set(1.1676998740e-1f));
    p = vf_fma(p, r, vf_set(-1.2420140846e-1f));
    p = vf_fma(p, r, vf_set(1.4249322787e-1f));
    p = vf_fma(p, r, vf_set(-1.6668057665e-1f));
    p = vf_fma(p, r, vf_set(2.0000714765e-1f));
    p = vf_fma(p, r, vf_set(-2.4999993993e-1f));
    p = vf_fma(p, r, vf_set(3.3333331174e-1f));
    p = vf_mul(vf_mul(p, r), z);
    p = vf_fma(e, vf_set(-2.12194440e-4f), p);
    p = vf_fma(z, vf_set(-0.5f), p);
    p = vf_fma(e, vf_set(0.693359375f), vf_add(r, p));
    const vf infinity = vf_set(__builtin_inff());
    p = vf_pick(vf_lt(x, smallest), vf_neg(infinity), p);
    p = vf_pick(vf_lt(x, vf_neg(vf_zero())), vf_set(__builtin_nanf("")), p);
    p = vf_pick(vf_eq(x, infinity), infinity, p);
    return vf_pick(vf_isnan(x), x, p);
}

/* log(1 + x), <= 4 ulp: log(u) scaled by x / (u - 1), which undoes the rounding of u = 1 + x
 * (Kahan). */
VEC vf math_log1p(vf x)
{
    vf u = vf_add(x, vf_set(1.0f));
    vf d = vf_sub(u, vf_set(1.0f));
    vf y = vf_mul(math_log(u), vf_div(x, d));
    y = vf_pick(vf_eq(d, vf_zero()), x, y);
    const vf infinity = vf_set(__builtin_inff());
    y = vf_pick(vf_eq(x, infinity), infinity, y);
    return vf_pick(vf_eq(x, vf_set(-1.0f)), vf_neg(infinity), y);
}

/* exp(x) - 1 for x <= 0, by a polynomial near 0. <= 3 ulp */
VEC vf math_expm1_negative(vf x)
{
    vf p = vf_set(1.9841270e-4f);
    p = vf_fma(p, x, vf_set(1.3888889e-3f));
    p = vf_fma(p, x, vf_set(8.3333333e-3f));
    p = vf_fma(p, x, vf_set(4.1666667e-2f));
    p = vf_fma(p, x, vf_set(1.6666667e-1f));
    p = vf_fma(p, x, vf_set(0.5f));
    p = vf_fma(vf_mul(p, x), x, x);
    vf far = vf_sub(math_exp(x), vf_set(1.0f));
    return vf_pick(vf_lt(x, vf_set(-0.4f)), far, p);
}

/* <= 2.5 ulp */
VEC vf math_sigmoid(vf x)
{
    return vf_div(vf_set(1.0f), vf_add(vf_set(1.0f), math_exp(vf_neg(x))));
}

/* <= 3 ulp: Cephes' tanhf near 0, 1 - 2 / (exp(2|x|) + 1) beyond. */
VEC vf math_tanh(vf x)
{
    vf a = vf_abs(x);
    vf z = vf_mul(x, x);
    vf p = vf_set(-5.70498872745e-3f);
    p = vf_fma(p, z, vf_set(2.06390887954e-2f));
    p = vf_fma(p, z, vf_set(-5.37397155531e-2f));
    p = vf_fma(p, z, vf_set(1.33314422036e-1f));
    p = vf_fma(p, z, vf_set(-3.33332819422e-1f));
    p = vf_fma(vf_mul(p, z), x, x);
    vf e = math_exp(vf_add(a, a));
    vf far = vf_sub(vf_set(1.0f), vf_div(vf_set(2.0f), vf_add(e, vf_set(1.0f))));
    far = vf_copysign(far, x);
    return vf_pick(vf_lt(a, vf_set(0.625f)), p, far);
}

/* <= 2 ulp */
VEC vf math_erf(vf x)
{
    vf t = vf_min(vf_set(8.0f), vf_abs(x));
    vf s = vf_mul(x, x);
    vf near = vf_set(-5.96761703e-4f);
    near = vf_fma(near, s, vf_set(4.99119423e-3f));
    near = vf_fma(near, s, vf_set(-2.67681349e-2f));
    near = vf_fma(near, s, vf_set(1.12819925e-1f));
    near = vf_fma(near, s, vf_set(-3.76125336e-1f));
    near = vf_fma(near, s, vf_set(1.28379166e-1f));
    near = vf_fma(near, x, x);
    vf q = vf_mul(t, t);
    vf far = vf_fma(vf_set(-1.72853470e-5f), t, vf_set(3.83197126e-4f));
    vf u = vf_fma(vf_set(-3.88396438e-3f), t, vf_set(2.42546219e-2f));
    far = vf_fma(far, q, u);
    far = vf_fma(far, t, vf_set(-1.06777877e-1f));
    far = vf_fma(far, t, vf_set(-6.34846687e-1f));
    far = vf_fma(far, t, vf_set(-1.28717512e-1f));
    far = vf_fma(far, t, vf_neg(t));
    far = vf_copysign(vf_sub(vf_set(1.0f), math_exp(far)), x);
    far = vf_pick(vf_isnan(x), x, far);
    return vf_pick(vf_lt(vf_set(0.927734375f), t), far, near);
}

/* log(1 + exp(x)) = max(x, 0) + log1p(exp(-|x|)) */
VEC vf math_softplus(vf x)
{
    return vf_add(vf_max(vf_zero(), x), math_log1p(math_exp(vf_neg(vf_abs(x)))));
}

VEC vf math_gelu(vf x)
{
    vf half = vf_mul(x, vf_set(0.5f));
    return vf_fma(half, math_erf(vf_mul(x, vf_set(0.70710678118f))), half);
}

/* The sigmoid s in x / 2 (1 + tanh u) = x s(2u), u = sqrt(2 / pi) (x + 0.044715 x^3). Within 3 ulp and |2u| eps, which is
 * what the rounding of u costs too. 0 where the power is infinite. */
VEC vf math_gelu_gate(vf x)
{
    const float c = -1.44269504089f * 2.0f * 0.7978845608f;
    vf y = vf_mul(x, vf_fma(vf_mul(x, x), vf_set(c * 0.044715f), vf_set(c)));
    vf n, p = math_exp2_part(vf_min(vf_set(129.0f), vf_max(vf_set(-126.0f), y)), &n);
    return vf_div(vf_set(1.0f), vf_add(vf_set(1.0f), vf_scale(p, n)));
}

VEC vf math_gelu_tanh(vf x)
{
    return vf_mul(x, math_gelu_gate(x));
}

VEC vf math_silu(vf x)
{
    return vf_mul(x, math_sigmoid(x));
}

/*
 * Sine of x + quarters * pi / 2: x minus a whole number of quarter turns (pi / 2 in three parts, by fma), then
 * Cephes' polynomials. Lanes beyond 1e4 go to the C library, whose reduction holds for every float. <= 2 ulp near
 * multiples of pi too, since the parts of pi / 2 carry 70 bits.
 */
VEC vf math_turn(vf x, int quarters)
{
    vf n = vf_round(vf_mul(x, vf_set(0.636619772368f)));
    vf r = vf_fnma(n, vf_set(1.57079625129699707f), x);
    r = vf_fnma(n, vf_set(7.54978941586159635e-8f), r);
    r = vf_fnma(n, vf_set(5.39030285815811905e-15f), r);
    vf z = vf_mul(r, r);
    vf s = vf_fma(vf_set(-1.9515295891e-4f), z, vf_set(8.3321608736e-3f));
    s = vf_fma(s, z, vf_set(-1.6666654611e-1f));
    s = vf_fma(vf_mul(s, z), r, r);
    vf c = vf_fma(vf_set(2.443315711809948e-5f), z, vf_set(-1.388731625493765e-3f));
    c = vf_fma(c, z, vf_set(4.166664568298827e-2f));
    c = vf_fma(c, vf_mul(z, z), vf_fma(vf_set(-0.5f), z, vf_set(1.0f)));
    vi q = vi_add(vi_from_f32(n), vi_set(quarters));
    vf y = vf_pick(vi_eq(vi_and(q, vi_set(1)), vi_set(1)), c, s);
    return vf_bits(vi_xor(vi_bits(y), vi_shl(vi_and(q, vi_set(2)), 30)));
}

VEC vf math_trig(vf x, int quarters, float (*scalar)(float))
{
    vf y = math_turn(x, quarters);
    vm near = vf_le(vf_abs(x), vf_set(1e4f));
    int all = vm_bits(vf_eq(vf_zero(), vf_zero()));
    if (vm_bits(near) == all)
        return y;
    float xs[VL], ys[VL];
    vf_store(xs, x);
    vf_store(ys, y);
    for (int i = 0; i < VL; i++)
        if (!(vm_bits(near) >> i & 1))
            ys[i] = scalar(xs[i]);
    return vf_load(ys);
}

#endif
