/* Random vectors, NEON: two Philox blocks at once. */
#include "kernel/vec_neon.h"

typedef uint64x2_t wide;

VEC wide wide_set(uint32_t x)
{
    return vdupq_n_u64(x);
}
VEC wide wide_count(uint64_t first)
{
    return vcombine_u64(vcreate_u64(first), vcreate_u64(first + 1));
}
VEC wide wide_mul(wide a, wide b)
{
    return vmull_u32(vmovn_u64(a), vmovn_u64(b));
}
VEC wide wide_high(wide a)
{
    return vshrq_n_u64(a, 32);
}
VEC wide wide_xor(wide a, wide b)
{
    return veorq_u64(a, b);
}
VEC wide wide_pair(wide low, wide high)
{
    return vsliq_n_u64(low, high, 32);
}
VEC void wide_interleave(wide a, wide b, vi *ret_low, vi *ret_high)
{
    *ret_low = vreinterpretq_s32_u64(vzip1q_u64(a, b));
    *ret_high = vreinterpretq_s32_u64(vzip2q_u64(a, b));
}

#include "kernel/random/random_body.h"

const qn_random_kernels qn_random_f32_neon = RANDOM_TABLE;
