/*
 * The micro-kernel over pairs of bf16 by AVX512_BF16: where that of f32 multiplies, vdpbf16ps adds two products to each
 * sum, at the same rate on Zen 5. It takes denormals as 0 and gives none, whatever the control register says.
 */
#define TILE_MULTIPLY(a, b, sum) _mm512_dpbf16_ps(sum, (__m512bh)(a), (__m512bh)(b))
#include "kernel/gemm/tile_avx512.h"

const qn_tile_kernels qn_tile_bf16_avx512bf16 = {
    .lanes = VL,
    .vecs_max = TILE_VECS,
    .strip = strip,
    .transpose = tile_transpose,
    .activate = tile_activate,
};
