/*
 * Losses for any vector width. Cross-entropy makes the loss and the gradient of a row from one set of exponentials:
 * they are kept in dx (when there is one) between the pass that sums them and the pass that scales them.
 */
#include <stddef.h>

#include "kernel/loss/loss_table.h"
#include "kernel/vec_math.h"
#include "kernel/vec_row.h"

/* u of the columns at `at`, without the label's own part. */
VEC vf target_lanes(const qn_cross_entropy_row *row, int64_t at, vm m)
{
    vf u = vf_set(row->uniform);
    if (row->targets)
        u = vf_fma(vf_set(row->keep), vf_load_mask(row->targets + at, m), u);
    if (row->weights)
        u = vf_mul(u, vf_load_mask(row->weights + at, m));
    return vf_keep(m, u);
}

static float cross_entropy(float *dx, const float *x, int64_t cols, const qn_cross_entropy_row *row)
{
    const float top = row_largest(x, cols);
    const vf tops = vf_set(top);
    vf sum = vf_zero(), mass = vf_zero(), loss = vf_zero();
    float label_shift = 0, label_mass = 0;
    if (!row->targets) {
        label_shift = x[row->label] - top;
        label_mass = row->keep * (row->weights ? row->weights[row->label] : 1);
    }
    const bool spread = row->targets || row->uniform != 0;
    for (int64_t i = 0; i < cols; i += VL) {
        vm m = vm_first(cols - i < VL ? (int)(cols - i) : VL);
        vf shift = vf_sub(vf_load_mask(x + i, m), tops);
        vf e = vf_keep(m, math_exp(shift));
        sum = vf_add(sum, e);
        if (spread) {
            vf u = target_lanes(row, i, m);
            mass = vf_add(mass, u);
            /* a class of probability 0 counts nothing even where its logit is -inf */
            loss = vf_fnma(u, vf_keep(vf_ne(u, vf_zero()), shift), loss);
        }
        if (dx)
            vf_store_mask(dx + i, e, m);
    }
    float total = vf_sum(sum), all = vf_sum(mass) + label_mass;
    vf log_sum = math_log(vf_set(total));
    float logs[VL];
    vf_store(logs, log_sum);
    float result = vf_sum(loss) - (label_mass != 0 ? label_mass * label_shift : 0) + all * logs[0];
    if (!dx)
        return result;
    const vf softmax = vf_set(all / total), scale = vf_set(row->scale);
    for (int64_t i = 0; i < cols; i += VL) {
        vm m = vm_first(cols - i < VL ? (int)(cols - i) : VL);
        vf g = vf_mul(vf_load_mask(dx + i, m), softmax);
        if (spread)
            g = vf_sub(g, target_lanes(row, i, m));
        vf_store_mask(dx + i, vf_mul(g, scale), m);
    }
    if (!row->targets)
        dx[row->label] -= row->scale * label_mass;
    return result;
}

static int64_t first_largest(const float *x, int64_t cols)
{
    float top = row_largest(x, cols);
    const vf tops = vf_set(top);
    for (int64_t i = 0; i < cols; i += VL) {
        vm m = vm_first(cols - i < VL ? (int)(cols - i) : VL);
        int hits = vm_bits(vm_and(m, vf_eq(vf_load_mask(x + i, m), tops)));
        if (hits)
            return i + __builtin_ctz((unsigned)hits);
    }
    return -1;
}

/* Loss and slope of one vector; x is the prediction, t the target, p the parameter. */
VEC vf mse(vf x, vf t, vf p, vf *ret_slope)
{
    (void)p;
    vf d = vf_sub(x, t);
    *ret_slope = vf_add(d, d);
    return vf_mul(d, d);
}
VEC vf mae(vf x, vf t, vf p, vf *ret_slope)
{
    (void)p;
    vf d = vf_sub(x, t);
    vf sign = vf_copysign(vf_set(1.0f), d);
    *ret_slope = vf_pick(vm_or(vf_isnan(d), vf_eq(d, vf_zero())), d, sign);
    return vf_abs(d);
}
VEC vf huber(vf x, vf t, vf p, vf *ret_slope)
{
    vf d = vf_sub(x, t), size = vf_abs(d);
    *ret_slope = vf_min(p, vf_max(vf_neg(p), d));
    vf near = vf_mul(vf_mul(vf_set(0.5f), d), d);
    vf far = vf_mul(p, vf_fnma(vf_set(0.5f), p, size));
    return vf_pick(vf_le(size, p), near, far);
}
VEC vf bce(vf x, vf t, vf p, vf *ret_slope)
{
    const vf one = vf_set(1.0f);
    vf weight = vf_fma(vf_sub(p, one), t, one), rest = vf_sub(one, t);
    *ret_slope = vf_fnma(weight, math_sigmoid(vf_neg(x)), rest);
    return vf_fma(weight, math_softplus(vf_neg(x)), vf_mul(rest, x));
}

VEC vf poisson(vf x, vf t, vf p, vf *ret_slope)
{
    (void)p;
    vf rate = math_exp(x);
    *ret_slope = vf_sub(rate, t);
    return vf_fnma(t, x, rate);
}
/* At d = 0 the slope is 0. */
VEC vf quantile(vf x, vf t, vf p, vf *ret_slope)
{
    vf d = vf_sub(x, t), below = vf_neg(p), above = vf_sub(vf_set(1.0f), p);
    vf slope = vf_pick(vf_lt(d, vf_zero()), below, above);
    *ret_slope = vf_pick(vm_or(vf_isnan(d), vf_eq(d, vf_zero())), d, slope);
    return vf_mul(slope, d);
}
VEC vf hinge(vf x, vf t, vf p, vf *ret_slope)
{
    const vf one = vf_set(1.0f);
    vf side = vf_pick(vf_lt(vf_zero(), t), one, vf_neg(one));
    vf loss = vf_max(vf_zero(), vf_fnma(side, x, p));
    vf slope = vf_pick(vf_eq(loss, vf_zero()), vf_zero(), vf_neg(side));
    *ret_slope = vf_pick(vf_isnan(loss), loss, slope);
    return loss;
}
VEC vf squared_hinge(vf x, vf t, vf p, vf *ret_slope)
{
    vf loss = hinge(x, t, p, ret_slope);
    *ret_slope = vf_mul(vf_add(loss, loss), *ret_slope);
    return vf_mul(loss, loss);
}
VEC vf kl(vf x, vf t, vf p, vf *ret_slope)
{
    (void)p;
    *ret_slope = vf_neg(t);
    vf loss = vf_mul(t, vf_sub(math_log(t), x));
    return vf_pick(vf_eq(t, vf_zero()), vf_zero(), loss);
}

#define POINTWISE(name)                                                                            \
    static float block_##name(const qn_pointwise_block *b)                                         \
    {                                                                                              \
        const vf p = vf_set(b->p), scale = vf_set(b->scale);                                       \
        vf sum = vf_zero();                                                                        \
        for (int64_t i = 0; i < b->count; i += VL) {                                               \
            vm m = vm_first(b->count - i < VL ? (int)(b->count - i) : VL);                         \
            vf slope;                                                                              \
            vf loss = name(vf_load_mask(b->x + i, m), vf_load_mask(b->t + i, m), p, &slope);       \
            if (b->weights) {                                                                      \
                vf w = vf_load_mask(b->weights + i, m);                                            \
                loss = vf_mul(loss, w);                                                            \
                slope = vf_mul(slope, w);                                                          \
            }                                                                                      \
            sum = vf_add(sum, vf_keep(m, loss));                                                   \
            if (b->each)                                                                           \
                vf_store_mask(b->each + i, loss, m);                                               \
            if (b->dx)                                                                             \
                vf_store_mask(b->dx + i, vf_mul(slope, scale), m);                                 \
        }                                                                                          \
        return vf_sum(sum);                                                                        \
    }
POINTWISE(mse)
POINTWISE(mae)
POINTWISE(huber)
POINTWISE(bce)
POINTWISE(poisson)
POINTWISE(quantile)
POINTWISE(hinge)
POINTWISE(squared_hinge)
POINTWISE(kl)

#define LOSS_TABLE                                                                                 \
    {                                                                                              \
        .cross_entropy = cross_entropy, .first_largest = first_largest, .pointwise = {             \
            block_mse,                                                                             \
            block_mae,                                                                             \
            block_huber,                                                                           \
            block_bce,                                                                             \
            block_poisson,                                                                         \
            block_quantile,                                                                        \
            block_hinge,                                                                           \
            block_squared_hinge,                                                                   \
            block_kl                                                                               \
        }                                                                                          \
    }
