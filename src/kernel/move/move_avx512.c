/* Fills and pixels to floats, AVX-512: the shared body at this width. */
#include "kernel/vec_avx512.h"

#include "kernel/move/move_body.h"

const qn_move_kernels qn_move_f32_avx512 = MOVE_TABLE;
