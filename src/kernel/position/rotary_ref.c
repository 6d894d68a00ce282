/* Rotary positions in plain C. */
#include "kernel/position/rotary_table.h"

void qn_rotary_f32_ref(float *y, const float *x, const float *cosine, const float *sine,
                       int64_t half)
{
    for (int64_t i = 0; i < half; i++) {
        float a = x[i], b = x[half + i];
        y[i] = a * cosine[i] - b * sine[i];
        y[half + i] = b * cosine[i] + a * sine[i];
    }
}
