/* Strips of pairs of bf16 by AMX: the tile operations, and the body over them. */
#include "kernel/gemm/amx_tiles.h"

#include "kernel/gemm/strip_amx_body.h"

const qn_tile_kernels qn_tile_bf16_amx = STRIP_TILES;
