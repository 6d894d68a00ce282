/*
 * Passes over a row of scores for any vector width. Lanes past the end count as -inf.
 */
#include "kernel/attention/attention_table.h"
#include "kernel/vec_math.h"
#include "kernel/vec_row.h"

VEC vm lanes_left(int64_t left)
{
    return vm_first(left < VL ? (int)left : VL);
}

VEC float exp_one(float x)
{
    float lanes[VL];
    vf_store(lanes, math_exp(vf_set(x)));
    return lanes[0];
}

/* The score without its bias; *ret_turn is the tanh of the cap, or 0. */
VEC vf score_plain(vf s, const qn_attention_score *how, vf *ret_turn)
{
    vf y = vf_mul(s, vf_set(how->scale));
    *ret_turn = vf_zero();
    if (how->cap > 0) {
        *ret_turn = math_tanh(vf_div(y, vf_set(how->cap)));
        y = vf_mul(*ret_turn, vf_set(how->cap));
    }
    return y;
}

VEC vf score_at(const float *s, int64_t i, vm m, const qn_attention_score *how, vf *ret_turn)
{
    vf y = score_plain(vf_load_mask(s + i, m), how, ret_turn);
    return how->bias ? vf_add(y, vf_load_mask(how->bias + i, m)) : y;
}

static float soften(float *s, int64_t count, const qn_attention_score *how, float *max, float *sum)
{
    const vf low = vf_set(-__builtin_inff());
    vf best = vf_set(*max), turn, added = vf_zero();
    vm nan = vf_isnan(best);
    for (int64_t i = 0; i < count; i += VL) {
        vm m = lanes_left(count - i);
        vf y = score_at(s, i, m, how, &turn);
        vf_store_mask(s + i, y, m);
        y = vf_pick(m, y, low);
        nan = vm_or(nan, vf_isnan(y));
        best = vf_max(y, best);
    }
    float top = vm_bits(nan) ? __builtin_nanf("") : vf_max_lanes(best);
    float base = top < -3e38f ? 0 : top, keep = exp_one(*max - base);
    const vf shift = vf_set(base);
    for (int64_t i = 0; i < count; i += VL) {
        vm m = lanes_left(count - i);
        vf e = vf_keep(m, math_exp(vf_sub(vf_load_mask(s + i, m), shift)));
        vf_store_mask(s + i, e, m);
        added = vf_add(added, e);
    }
    *max = top;
    *sum = *sum * keep + vf_sum(added);
    return keep;
}

static void slopes(float *s, float *dp, int64_t count, const qn_attention_score *how, float lse,
                   float delta)
{
    const vf one = vf_set(1), scale = vf_set(how->scale), less = vf_set(delta);
    const vf shift = vf_set(lse);
    for (int64_t i = 0; i < count; i += VL) {
        vm m = lanes_left(count - i);
        vf turn, p = math_exp(vf_sub(score_at(s, i, m, how, &turn), shift));
        vf slope = vf_mul(scale, vf_fnma(turn, turn, one));
        vf_store_mask(s + i, p, m);
        vf_store_mask(dp + i, vf_mul(vf_mul(p, vf_sub(vf_load_mask(dp + i, m), less)), slope), m);
    }
}

static void multiply(float *dst, const float *src, int64_t count, float factor)
{
    const vf f = vf_set(factor);
    for (int64_t i = 0; i < count; i += VL) {
        vm m = lanes_left(count - i);
        vf_store_mask(dst + i, vf_mul(vf_load_mask(src + i, m), f), m);
    }
}

#define ATTENTION_TABLE                                                                            \
    {                                                                                              \
        .soften = soften, .slopes = slopes, .multiply = multiply                                   \
    }
