/*
 * NEON micro-kernel: 8 x 12 register tiles, 24 accumulators, 3 vectors of B and a broadcast of A in
 * 32 registers.
 */
#include "kernel/vec_neon.h"

#define TILE_ROWS    8
#define TILE_VECS    3
#define TILE_KERNELS qn_tile_f32_neon
#define TRANSPOSE    4

VEC void transpose_block(float *dst, int64_t ldd, const float *src, int64_t lds)
{
    float32x4x2_t a = vzipq_f32(vld1q_f32(src), vld1q_f32(src + 2 * lds));
    float32x4x2_t b = vzipq_f32(vld1q_f32(src + lds), vld1q_f32(src + 3 * lds));
    float32x4x2_t low = vzipq_f32(a.val[0], b.val[0]), high = vzipq_f32(a.val[1], b.val[1]);
    vst1q_f32(dst, low.val[0]);
    vst1q_f32(dst + ldd, low.val[1]);
    vst1q_f32(dst + 2 * ldd, high.val[0]);
    vst1q_f32(dst + 3 * ldd, high.val[1]);
}

#include "kernel/gemm/tile_body.h"
