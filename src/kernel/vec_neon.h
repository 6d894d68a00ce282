/*
 * Four f32 lanes of aarch64 under the names that the shared kernel bodies use; see vec_avx512.h for
 * what they mean. Only *_neon.c files include it.
 *
 * NEON has no masked moves: a full mask takes the plain load or store (in a loop the compiler hoists
 * that question), any other goes lane by lane. Minimum and maximum are compare and select, for the
 * x86 rule that the bodies rely on: the second operand when either is NaN.
 */
#ifndef QN_KERNEL_VEC_NEON_H
#define QN_KERNEL_VEC_NEON_H

#include <arm_neon.h>
#include <stdint.h>
#include <string.h>

#include "kernel/unroll.h"

#define VL 4
typedef float32x4_t vf;
typedef int32x4_t vi;
typedef uint32x4_t vm; /* all bits of a lane set or clear */

#define VEC static inline __attribute__((always_inline))

VEC vf vf_zero(void)
{
    return vdupq_n_f32(0);
}
VEC vf vf_set(float x)
{
    return vdupq_n_f32(x);
}
VEC vf vf_load(const float *p)
{
    return vld1q_f32(p);
}
VEC void vf_store(float *p, vf x)
{
    vst1q_f32(p, x);
}
VEC vm vm_first(int n)
{
    static const int32_t lane[VL] = {0, 1, 2, 3};
    return vcltq_s32(vld1q_s32(lane), vdupq_n_s32(n));
}
VEC int vm_full(vm m)
{
    return vminvq_u32(m) != 0;
}
VEC vf vf_load_mask(const float *p, vm m)
{
    if (vm_full(m))
        return vld1q_f32(p);
    float x[VL] = {0};
    uint32_t keep[VL];
    vst1q_u32(keep, m);
    for (int i = 0; i < VL; i++)
        if (keep[i])
            x[i] = p[i];
    return vld1q_f32(x);
}
VEC void vf_store_mask(float *p, vf x, vm m)
{
    if (vm_full(m)) {
        vst1q_f32(p, x);
        return;
    }
    float lanes[VL];
    uint32_t keep[VL];
    vst1q_f32(lanes, x);
    vst1q_u32(keep, m);
    for (int i = 0; i < VL; i++)
        if (keep[i])
            p[i] = lanes[i];
}
VEC vf vf_add(vf a, vf b)
{
    return vaddq_f32(a, b);
}
VEC vf vf_sub(vf a, vf b)
{
    return vsubq_f32(a, b);
}
VEC vf vf_mul(vf a, vf b)
{
    return vmulq_f32(a, b);
}
VEC vf vf_div(vf a, vf b)
{
    return vdivq_f32(a, b);
}
VEC vf vf_fma(vf a, vf b, vf c)
{
    return vfmaq_f32(c, a, b);
}
VEC vf vf_fnma(vf a, vf b, vf c)
{
    return vfmsq_f32(c, a, b);
}
VEC vf vf_sqrt(vf x)
{
    return vsqrtq_f32(x);
}
VEC vf vf_min(vf a, vf b)
{
    return vbslq_f32(vcltq_f32(a, b), a, b);
}
VEC vf vf_max(vf a, vf b)
{
    return vbslq_f32(vcgtq_f32(a, b), a, b);
}
VEC vf vf_abs(vf x)
{
    return vabsq_f32(x);
}
VEC vf vf_neg(vf x)
{
    return vnegq_f32(x);
}
VEC vf vf_copysign(vf magnitude, vf sign)
{
    return vbslq_f32(vdupq_n_u32(0x80000000u), sign, magnitude);
}
VEC vf vf_floor(vf x)
{
    return vrndmq_f32(x);
}
VEC vf vf_ceil(vf x)
{
    return vrndpq_f32(x);
}
VEC vf vf_round(vf x)
{
    return vrndnq_f32(x);
}
VEC vm vf_lt(vf a, vf b)
{
    return vcltq_f32(a, b);
}
VEC vm vf_le(vf a, vf b)
{
    return vcleq_f32(a, b);
}
VEC vm vf_eq(vf a, vf b)
{
    return vceqq_f32(a, b);
}
VEC vm vf_ne(vf a, vf b)
{
    return vmvnq_u32(vceqq_f32(a, b));
}
VEC vm vf_isnan(vf x)
{
    return vmvnq_u32(vceqq_f32(x, x));
}
VEC vm vm_and(vm a, vm b)
{
    return vandq_u32(a, b);
}
VEC vm vm_or(vm a, vm b)
{
    return vorrq_u32(a, b);
}
VEC int vm_bits(vm m)
{
    static const uint32_t bit[VL] = {1, 2, 4, 8};
    return (int)vaddvq_u32(vandq_u32(m, vld1q_u32(bit)));
}
VEC vf vf_pick(vm m, vf yes, vf no)
{
    return vbslq_f32(m, yes, no);
}
VEC vf vf_keep(vm m, vf x)
{
    return vreinterpretq_f32_u32(vandq_u32(m, vreinterpretq_u32_f32(x)));
}
VEC vi vi_set(int32_t x)
{
    return vdupq_n_s32(x);
}
VEC vi vi_load(const void *p)
{
    return vreinterpretq_s32_u8(vld1q_u8(p));
}
VEC void vi_store(void *p, vi x)
{
    vst1q_u8(p, vreinterpretq_u8_s32(x));
}
VEC vi vi_add(vi a, vi b)
{
    return vaddq_s32(a, b);
}
VEC vi vi_sub(vi a, vi b)
{
    return vsubq_s32(a, b);
}
VEC vi vi_and(vi a, vi b)
{
    return vandq_s32(a, b);
}
VEC vi vi_or(vi a, vi b)
{
    return vorrq_s32(a, b);
}
VEC vi vi_xor(vi a, vi b)
{
    return veorq_s32(a, b);
}
#define vi_shl(x, n) vshlq_n_s32((x), (n))
#define vi_shr(x, n) vreinterpretq_s32_u32(vshrq_n_u32(vreinterpretq_u32_s32(x), (n)))
#define vi_sar(x, n) vshrq_n_s32((x), (n))
VEC vi vi_pick(vm m, vi yes, vi no)
{
    return vbslq_s32(m, yes, no);
}
VEC vm vi_eq(vi a, vi b)
{
    return vceqq_s32(a, b);
}
VEC vi vi_bits(vf x)
{
    return vreinterpretq_s32_f32(x);
}
VEC vf vf_bits(vi x)
{
    return vreinterpretq_f32_s32(x);
}
VEC vi vi_from_f32(vf x)
{
    return vcvtnq_s32_f32(x);
}
VEC vf vf_from_i32(vi x)
{
    return vcvtq_f32_s32(x);
}
VEC vi vi_load_u8(const uint8_t *p)
{
    uint32_t bytes;
    memcpy(&bytes, p, sizeof bytes);
    uint16x8_t halves = vmovl_u8(vreinterpret_u8_u32(vdup_n_u32(bytes)));
    return vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(halves)));
}
VEC vf vf_from_u8(const uint8_t *p)
{
    return vcvtq_f32_s32(vi_load_u8(p));
}
VEC void vi_store_u8(uint8_t *p, vi x)
{
    uint16x4_t halves = vmovn_u32(vreinterpretq_u32_s32(x));
    uint8x8_t bytes = vmovn_u16(vcombine_u16(halves, halves));
    uint32_t four = vget_lane_u32(vreinterpret_u32_u8(bytes), 0);
    memcpy(p, &four, sizeof four);
}
VEC void vm_store_u8(uint8_t *p, vm m)
{
    vi_store_u8(p, vreinterpretq_s32_u32(vandq_u32(m, vdupq_n_u32(1))));
}
VEC vm vm_load_u8(const uint8_t *p)
{
    vi x = vi_load_u8(p);
    return vtstq_s32(x, x);
}
VEC float vf_sum(vf x)
{
    float32x2_t q = vadd_f32(vget_low_f32(x), vget_high_f32(x));
    return vget_lane_f32(q, 0) + vget_lane_f32(q, 1);
}
VEC float vf_max_lanes(vf x)
{
    return vmaxvq_f32(x);
}
VEC float vf_min_lanes(vf x)
{
    return vminvq_f32(x);
}

#endif
