/*
 * Passes over one row that several kernels share. Included after vec_math.h, by ISA files only. Lanes past the end of
 * a row are filled with a value that changes nothing.
 */
#ifndef QN_KERNEL_VEC_ROW_H
#define QN_KERNEL_VEC_ROW_H

VEC vf vf_load_or(const float *p, vm m, float fill)
{
    return vf_pick(m, vf_load_mask(p, m), vf_set(fill));
}

/* NaN if any is. */
VEC float row_largest(const float *x, int64_t count)
{
    vf best = vf_set(-__builtin_inff());
    vm nan = vf_isnan(best);
    int64_t i = 0;
    for (; i + VL <= count; i += VL) {
        vf v = vf_load(x + i);
        nan = vm_or(nan, vf_isnan(v));
        best = vf_max(v, best);
    }
    if (i < count) {
        vf v = vf_load_or(x + i, vm_first((int)(count - i)), -__builtin_inff());
        nan = vm_or(nan, vf_isnan(v));
        best = vf_max(v, best);
    }
    return vm_bits(nan) ? __builtin_nanf("") : vf_max_lanes(best);
}

#endif
