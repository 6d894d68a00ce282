/* The micro-kernel of f32, AVX-512. */
#define TILE_KERNELS qn_tile_f32_avx512
#include "kernel/gemm/tile_avx512.h"
