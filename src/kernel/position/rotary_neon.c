/* Rotary positions, NEON. */
#include "kernel/vec_neon.h"

#include "kernel/position/rotary_table.h"

void qn_rotary_f32_neon(float *y, const float *x, const float *cosine, const float *sine,
                        int64_t half)
{
    for (int64_t i = 0; i < half; i += VL) {
        vm m = vm_first(half - i < VL ? (int)(half - i) : VL);
        vf a = vf_load_mask(x + i, m), b = vf_load_mask(x + half + i, m);
        vf c = vf_load_mask(cosine + i, m), s = vf_load_mask(sine + i, m);
        vf_store_mask(y + i, vf_fnma(b, s, vf_mul(a, c)), m);
        vf_store_mask(y + half + i, vf_fma(a, s, vf_mul(b, c)), m);
    }
}
