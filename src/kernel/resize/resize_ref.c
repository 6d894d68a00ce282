/*
 * Weighted lines in plain C.
 */
#include "kernel/resize/resize_table.h"

static void line(float *dst, const float *src, float weight, int64_t count, int add)
{
    for (int64_t i = 0; i < count; i++)
        dst[i] = add ? dst[i] + weight * src[i] : weight * src[i];
}

const qn_resize_kernels qn_resize_f32_ref = {.line = line};
