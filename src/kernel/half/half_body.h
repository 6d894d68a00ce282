/*
 * 16-bit floats for any vector width. The including file defines, after a vec_*.h header, four moves of VL numbers:
 * load_bits and store_bits (the low 16 bits of each lane), load_f16 and store_f16.
 */
#include <string.h>

#include "kernel/half/half_table.h"

/* Half a unit of the last kept bit is added, less one bit when that bit is even; a carry runs into the exponent. */
VEC vi bf16_round(vf x)
{
    vi bits = vi_bits(x);
    vi odd = vi_and(vi_shr(bits, 16), vi_set(1));
    vi near = vi_shr(vi_add(bits, vi_add(odd, vi_set(0x7fff))), 16);
    vi nan = vi_or(vi_shr(bits, 16), vi_set(0x40));
    return vi_pick(vf_isnan(x), nan, near);
}

#define NARROW(name, store)                                                                        \
    static void name(uint16_t *dst, const float *src, int64_t count)                               \
    {                                                                                              \
        int64_t i = 0;                                                                             \
        for (; i + VL <= count; i += VL)                                                           \
            store(dst + i, vf_load(src + i));                                                      \
        if (i == count)                                                                            \
            return;                                                                                \
        uint16_t last[VL];                                                                         \
        store(last, vf_load_mask(src + i, vm_first((int)(count - i))));                            \
        memcpy(dst + i, last, (size_t)(count - i) * sizeof *dst);                                  \
    }
#define WIDEN(name, load)                                                                          \
    static void name(float *dst, const uint16_t *src, int64_t count)                               \
    {                                                                                              \
        int64_t i = 0;                                                                             \
        for (; i + VL <= count; i += VL)                                                           \
            vf_store(dst + i, load(src + i));                                                      \
        if (i == count)                                                                            \
            return;                                                                                \
        uint16_t last[VL] = {0};                                                                   \
        memcpy(last, src + i, (size_t)(count - i) * sizeof *src);                                  \
        vf_store_mask(dst + i, load(last), vm_first((int)(count - i)));                            \
    }

VEC void store_bf16(uint16_t *p, vf x)
{
    store_bits(p, bf16_round(x));
}
VEC vf load_bf16(const uint16_t *p)
{
    return vf_bits(vi_shl(load_bits(p), 16));
}

NARROW(bf16_of_f32, store_bf16)
NARROW(f16_of_f32, store_f16)
WIDEN(f32_of_bf16, load_bf16)
WIDEN(f32_of_f16, load_f16)

#define HALF_TABLE                                                                                 \
    {                                                                                              \
        .bf16_of_f32 = bf16_of_f32, .f16_of_f32 = f16_of_f32, .f32_of_bf16 = f32_of_bf16,          \
        .f32_of_f16 = f32_of_f16                                                                   \
    }
