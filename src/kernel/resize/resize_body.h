/* Weighted lines for any vector width. */
#include "kernel/resize/resize_table.h"

VEC void line_lanes(float *dst, const float *src, vf weight, int add, vm m)
{
    vf x = vf_load_mask(src, m);
    vf y = add ? vf_fma(weight, x, vf_load_mask(dst, m)) : vf_mul(weight, x);
    vf_store_mask(dst, y, m);
}

static void line(float *dst, const float *src, float weight, int64_t count, int add)
{
    const vf w = vf_set(weight);
    const vm all = vm_first(VL);
    int64_t i = 0;
    for (; i + VL <= count; i += VL)
        line_lanes(dst + i, src + i, w, add, all);
    if (i < count)
        line_lanes(dst + i, src + i, w, add, vm_first((int)(count - i)));
}

#define RESIZE_TABLE                                                                               \
    {                                                                                              \
        .line = line                                                                               \
    }
