/* CTC for any vector width: lanes are classes, or states of the recursion. */
#include "kernel/loss/ctc_table.h"
#include "kernel/vec_math.h"
#include "kernel/vec_row.h"

static float log_sum(const float *x, int64_t count)
{
    const float top = row_largest(x, count);
    vf sum = vf_zero();
    for (int64_t i = 0; i < count; i += VL) {
        vm m = vm_first(count - i < VL ? (int)(count - i) : VL);
        sum = vf_add(sum, vf_keep(m, math_exp(vf_sub(vf_load_mask(x + i, m), vf_set(top)))));
    }
    float logs[VL];
    vf_store(logs, math_log(vf_set(vf_sum(sum))));
    return top + logs[0];
}

static void softmax(float *dst, const float *x, int64_t count, float lse, float scale)
{
    for (int64_t i = 0; i < count; i += VL) {
        vm m = vm_first(count - i < VL ? (int)(count - i) : VL);
        vf p = math_exp(vf_sub(vf_load_mask(x + i, m), vf_set(lse)));
        vf_store_mask(dst + i, vf_mul(vf_set(scale), p), m);
    }
}

static void shift_row(float *x, int64_t count, float by)
{
    for (int64_t i = 0; i < count; i += VL) {
        vm m = vm_first(count - i < VL ? (int)(count - i) : VL);
        vf_store_mask(x + i, vf_sub(vf_load_mask(x + i, m), vf_set(by)), m);
    }
}

static float advance(float *dst, const float *from, const float *emit, const float *skip,
                     int64_t count)
{
    for (int64_t i = 0; i < count; i += VL) {
        vm m = vm_first(count - i < VL ? (int)(count - i) : VL);
        vf a = vf_load_mask(from + i, m), b = vf_load_mask(from + i - 1, m);
        vf c = vf_add(vf_load_mask(from + i - 2, m), vf_load_mask(skip + i, m));
        vf high = vf_max(a, vf_max(b, c));
        vf sum = vf_add(math_exp(vf_sub(a, high)), math_exp(vf_sub(b, high)));
        sum = vf_add(sum, math_exp(vf_sub(c, high)));
        vf log_all = vf_add(high, math_log(sum));
        vf_store_mask(dst + i, vf_add(vf_load_mask(emit + i, m), log_all), m);
    }
    float best = row_largest(dst, count);
    shift_row(dst, count, best);
    return best;
}

static float posterior(float *dst, const float *alpha, const float *beta, const float *emit,
                       int64_t count)
{
    for (int64_t i = 0; i < count; i += VL) {
        vm m = vm_first(count - i < VL ? (int)(count - i) : VL);
        vf both = vf_add(vf_load_mask(alpha + i, m), vf_load_mask(beta + i, m));
        vf_store_mask(dst + i, vf_sub(both, vf_load_mask(emit + i, m)), m);
    }
    const vf best = vf_set(row_largest(dst, count));
    vf sum = vf_zero();
    for (int64_t i = 0; i < count; i += VL) {
        vm m = vm_first(count - i < VL ? (int)(count - i) : VL);
        vf p = vf_keep(m, math_exp(vf_sub(vf_load_mask(dst + i, m), best)));
        vf_store_mask(dst + i, p, m);
        sum = vf_add(sum, p);
    }
    return vf_sum(sum);
}

#define CTC_TABLE                                                                                  \
    {                                                                                              \
        .log_sum = log_sum, .softmax = softmax, .advance = advance, .posterior = posterior         \
    }
