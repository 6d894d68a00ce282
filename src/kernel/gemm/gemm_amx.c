/* Products of bf16 by AMX: the tile operations, and the body over them. */
#include "kernel/gemm/amx_tiles.h"

#include "kernel/gemm/amx_body.h"

const qn_bf16_kernels qn_bf16_tiles_amx = {.scratch_bytes = amx_scratch_bytes, .block = amx_block};
