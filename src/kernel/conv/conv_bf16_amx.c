/* Convolution of bf16 by AMX. */
#include "kernel/gemm/amx_tiles.h"

#include "kernel/conv/conv_amx_body.h"
#include "kernel/conv/conv_bf16_avx512.h"

const qn_conv_bf16_kernels qn_conv_bf16_amx = {.tile = &tile_kernels,
                                               .pack = &qn_pairs_avx512bf16.of_bf16,
                                               .unpool = unpool,
                                               .unpool_pairs = unpool_pairs};
