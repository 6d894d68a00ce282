/* The micro-kernel of f32, AVX-512. */
#include "kernel/gemm/tile_avx512.h"

const qn_tile_kernels qn_tile_f32_avx512 = {
    .lanes = VL,
    .vecs_max = TILE_VECS,
    .strip = strip,
    .transpose = tile_transpose,
    .activate = tile_activate,
};
