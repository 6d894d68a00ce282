/*
 * Passes over a row of scores for any vector width. Lanes past the end count as -inf.
 */
#include <stdbool.h>

#include "kernel/attention/attention_table.h"
#include "kernel/vec_math.h"
#include "kernel/vec_row.h"

VEC float exp_one(float x)
{
    float lanes[VL];
    vf_store(lanes, math_exp_below(vf_set(x)));
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

/* Each pass over a row, full vectors first: their mask is a constant. */
#define EACH_VECTOR(count, i, m, body)                                                             \
    do {                                                                                           \
        int64_t i = 0;                                                                             \
        for (; i + VL <= (count); i += VL) {                                                       \
            const vm m = vm_first(VL);                                                             \
            body;                                                                                  \
        }                                                                                          \
        if (i < (count)) {                                                                         \
            const vm m = vm_first((int)((count)-i));                                               \
            body;                                                                                  \
        }                                                                                          \
    } while (0)

/* The larger of `best` and of a vector of scores, which stay scores without a bias or a cap. */
VEC vf score_pass(float *s, int64_t i, vm m, const qn_attention_score *how, bool plain, vf best)
{
    vf turn, y = score_at(s, i, m, how, &turn);
    if (!plain)
        vf_store_mask(s + i, y, m);
    return vf_max(vf_pick(m, y, vf_set(-__builtin_inff())), best);
}

/* e^(scale s - shift) */
VEC vf weight_pass(float *s, vm m, vf scale, vf shift)
{
    vf x = vf_sub(vf_mul(vf_load_mask(s, m), scale), shift);
    vf e = vf_keep(m, math_exp_below(x));
    vf_store_mask(s, e, m);
    return e;
}

/* A NaN among the scores is not seen in the largest; it is in the sum. */
static float soften(float *s, int64_t count, const qn_attention_score *how, float *max, float *sum)
{
    const bool plain = !how->bias && !(how->cap > 0);
    const vf scale = vf_set(plain ? how->scale : 1);
    vf best = vf_set(*max), added = vf_zero();
    EACH_VECTOR(count, i, m, best = score_pass(s, i, m, how, plain, best));
    float top = vf_max_lanes(best), base = top < -3e38f ? 0 : top;
    const vf shift = vf_set(base);
    EACH_VECTOR(count, i, m, added = vf_add(added, weight_pass(s + i, m, scale, shift)));
    float keep = *max > -__builtin_inff() ? exp_one(*max - base) : 0;
    *max = top;
    *sum = *sum * keep + vf_sum(added);
    return keep;
}

VEC void slope_pass(float *s, float *dp, int64_t i, vm m, const qn_attention_score *how, vf shift,
                    vf less)
{
    vf turn, p = math_exp_below(vf_sub(score_at(s, i, m, how, &turn), shift));
    vf slope = vf_mul(vf_set(how->scale), vf_fnma(turn, turn, vf_set(1)));
    vf_store_mask(s + i, p, m);
    vf_store_mask(dp + i, vf_mul(vf_mul(p, vf_sub(vf_load_mask(dp + i, m), less)), slope), m);
}

static void slopes(float *s, float *dp, int64_t count, const qn_attention_score *how, float lse,
                   float delta)
{
    const vf less = vf_set(delta), shift = vf_set(lse);
    EACH_VECTOR(count, i, m, slope_pass(s, dp, i, m, how, shift, less));
}

static void multiply(float *dst, const float *src, int64_t count, float factor)
{
    const vf f = vf_set(factor);
    EACH_VECTOR(count, i, m, vf_store_mask(dst + i, vf_mul(vf_load_mask(src + i, m), f), m));
}

#define ATTENTION_TABLE                                                                            \
    {                                                                                              \
        .soften = soften, .slopes = slopes, .multiply = multiply                                   \
    }
