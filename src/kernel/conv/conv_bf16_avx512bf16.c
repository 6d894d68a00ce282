/* Convolution of bf16 by AVX512_BF16. */
#include "kernel/conv/conv_bf16_avx512.h"

const qn_conv_bf16_kernels qn_conv_bf16_avx512bf16 = {.tile = &qn_tile_bf16_avx512bf16,
                                                      .pack = &qn_pairs_avx512bf16.of_bf16,
                                                      .unpool = unpool,
                                                      .unpool_pairs = unpool_pairs};
