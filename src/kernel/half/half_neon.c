/* 16-bit floats, NEON: the moves, and the shared body at this width. */
#include "kernel/vec_neon.h"

VEC vi load_bits(const uint16_t *p)
{
    return vreinterpretq_s32_u32(vmovl_u16(vld1_u16(p)));
}
VEC void store_bits(uint16_t *p, vi x)
{
    vst1_u16(p, vmovn_u32(vreinterpretq_u32_s32(x)));
}
VEC vf load_f16(const uint16_t *p)
{
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)));
}
VEC void store_f16(uint16_t *p, vf x)
{
    vst1_u16(p, vreinterpret_u16_f16(vcvt_f16_f32(x)));
}

#include "kernel/half/half_body.h"

const qn_half_kernels qn_half_neon = HALF_TABLE;
