/* The AMX body over tiles in plain C: what tests compare on machines without AMX. */
#include "kernel/gemm/soft_tiles.h"

#include "kernel/gemm/amx_body.h"

const qn_bf16_kernels qn_bf16_tiles_soft = {.scratch_bytes = amx_scratch_bytes, .block = amx_block};
