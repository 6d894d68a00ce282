/*
 * 16-bit floats in plain C, the specification.
 */
#include <math.h>
#include <string.h>

#include "kernel/half/half_table.h"

static uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static float float_of(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static uint16_t bf16_from(float x)
{
    uint32_t bits = bits_of(x);
    if (isnan(x))
        return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/* Bits of `value` below `shift` go, to nearest even. */
static uint32_t round_bits(uint32_t value, int shift)
{
    uint32_t half = UINT32_C(1) << (shift - 1);
    return (value + half - 1 + (value >> shift & 1)) >> shift;
}

static uint16_t f16_from(float x)
{
    enum { SHIFT = 13, BIAS = 112, OVERFLOW = 0x477ff000 }; /* 65520 rounds up to 65536 */
    uint32_t bits = bits_of(x), sign = bits >> 16 & 0x8000, size = bits & 0x7fffffff;
    if (isnan(x))
        return (uint16_t)(sign | 0x7e00);
    if (size >= OVERFLOW)
        return (uint16_t)(sign | 0x7c00);
    int exponent = (int)(size >> 23);
    if (exponent > BIAS)
        return (uint16_t)(sign | round_bits(size - ((uint32_t)BIAS << 23), SHIFT));
    int shift = SHIFT + BIAS + 1 - exponent; /* a denormal: its leading 1 is written out */
    if (shift > 24)
        return (uint16_t)sign;
    return (uint16_t)(sign | round_bits((size & 0x7fffff) | 0x800000, shift));
}

static float f16_to(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000) << 16, size = half & 0x7fff;
    if (size >= 0x7c00)
        return float_of(sign | 0x7f800000 | (size & 0x3ff) << 13 | (size > 0x7c00 ? 0x400000 : 0));
    if (size >= 0x400)
        return float_of(sign | ((size << 13) + (UINT32_C(112) << 23)));
    float small = (float)size * 0x1p-24f;
    return sign ? -small : small;
}

#define LOOP(name, to, from, expression)                                                           \
    static void name(to *dst, const from *src, int64_t count)                                      \
    {                                                                                              \
        for (int64_t i = 0; i < count; i++)                                                        \
            dst[i] = (expression);                                                                 \
    }
LOOP(bf16_of_f32, uint16_t, float, bf16_from(src[i]))
LOOP(f16_of_f32, uint16_t, float, f16_from(src[i]))
LOOP(f32_of_bf16, float, uint16_t, float_of((uint32_t)src[i] << 16))
LOOP(f32_of_f16, float, uint16_t, f16_to(src[i]))

const qn_half_kernels qn_half_ref = {
    .bf16_of_f32 = bf16_of_f32,
    .f16_of_f32 = f16_of_f32,
    .f32_of_bf16 = f32_of_bf16,
    .f32_of_f16 = f32_of_f16,
};
