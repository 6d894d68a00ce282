/* The strips of AMX over tiles in plain C: what tests compare on machines without AMX. */
#include "kernel/gemm/soft_tiles.h"

#include "kernel/gemm/strip_amx_body.h"

const qn_tile_kernels qn_tile_bf16_soft = STRIP_TILES;
