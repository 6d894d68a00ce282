/*
 * Softmax for any vector width, a row at a time: largest, sum of exponentials, scale. A row of up to one vector (ten
 * classes, say) goes through each pass once, under a mask.
 */
#include "kernel/softmax/softmax_table.h"
#include "kernel/vec_math.h"
#include "kernel/vec_row.h"

static void softmax(float *y, const float *x, int64_t cols)
{
    const vf top = vf_set(row_largest(x, cols));
    vf sum = vf_zero();
    int64_t i = 0;
    for (; i + VL <= cols; i += VL) {
        vf e = math_exp(vf_sub(vf_load(x + i), top));
        vf_store(y + i, e);
        sum = vf_add(sum, e);
    }
    vm m = vm_first((int)(cols - i));
    if (i < cols) {
        vf e = vf_keep(m, math_exp(vf_sub(vf_load_mask(x + i, m), top)));
        vf_store_mask(y + i, e, m);
        sum = vf_add(sum, e);
    }
    const vf scale = vf_set(1.0f / vf_sum(sum));
    for (i = 0; i + VL <= cols; i += VL)
        vf_store(y + i, vf_mul(vf_load(y + i), scale));
    if (i < cols)
        vf_store_mask(y + i, vf_mul(vf_load_mask(y + i, m), scale), m);
}

static void log_softmax(float *y, const float *x, int64_t cols)
{
    const vf top = vf_set(row_largest(x, cols));
    vf sum = vf_zero();
    int64_t i = 0;
    for (; i + VL <= cols; i += VL)
        sum = vf_add(sum, math_exp(vf_sub(vf_load(x + i), top)));
    vm m = vm_first((int)(cols - i));
    if (i < cols)
        sum = vf_add(sum, vf_keep(m, math_exp(vf_sub(vf_load_mask(x + i, m), top))));
    const vf log_sum = math_log(vf_set(vf_sum(sum)));
    for (i = 0; i + VL <= cols; i += VL)
        vf_store(y + i, vf_sub(vf_sub(vf_load(x + i), top), log_sum));
    if (i < cols)
        vf_store_mask(y + i, vf_sub(vf_sub(vf_load_mask(x + i, m), top), log_sum), m);
}

static void softmax_grad(float *dx, const float *dy, const float *y, int64_t cols)
{
    vf dot = vf_zero();
    int64_t i = 0;
    for (; i + VL <= cols; i += VL)
        dot = vf_fma(vf_load(dy + i), vf_load(y + i), dot);
    vm m = vm_first((int)(cols - i));
    if (i < cols)
        dot = vf_fma(vf_load_mask(dy + i, m), vf_load_mask(y + i, m), dot);
    const vf all = vf_set(vf_sum(dot));
    for (i = 0; i + VL <= cols; i += VL)
        vf_store(dx + i, vf_mul(vf_sub(vf_load(dy + i), all), vf_load(y + i)));
    if (i < cols)
        vf_store_mask(dx + i, vf_mul(vf_sub(vf_load_mask(dy + i, m), all), vf_load_mask(y + i, m)),
                      m);
}

static void log_softmax_grad(float *dx, const float *dy, const float *y, int64_t cols)
{
    vf sum = vf_zero();
    int64_t i = 0;
    for (; i + VL <= cols; i += VL)
        sum = vf_add(sum, vf_load(dy + i));
    vm m = vm_first((int)(cols - i));
    if (i < cols)
        sum = vf_add(sum, vf_load_mask(dy + i, m));
    const vf all = vf_set(vf_sum(sum));
    for (i = 0; i + VL <= cols; i += VL)
        vf_store(dx + i, vf_fnma(math_exp(vf_load(y + i)), all, vf_load(dy + i)));
    if (i < cols)
        vf_store_mask(dx + i,
                      vf_fnma(math_exp(vf_load_mask(y + i, m)), all, vf_load_mask(dy + i, m)), m);
}

#define SOFTMAX_TABLE                                                                              \
    {                                                                                              \
        .softmax = softmax, .log_softmax = log_softmax, .softmax_grad = softmax_grad,              \
        .log_softmax_grad = log_softmax_grad                                                       \
    }
