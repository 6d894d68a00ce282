/* Convolution of bf16 over tiles in plain C: what tests compare on machines without AMX. */
#include "kernel/gemm/soft_tiles.h"

#include "kernel/conv/conv_amx_body.h"

const qn_conv_bf16_kernels qn_conv_bf16_soft = {.tile = &tile_kernels,
                                                .pack = &qn_pairs_ref.of_bf16,
                                                .unpool = qn_conv_bf16_unpool_ref,
                                                .unpool_pairs = qn_conv_bf16_unpool_pairs_ref};
