/* Fills and pixels to floats, AVX2: the shared body at this width. */
#include "kernel/vec_avx2.h"

#include "kernel/move/move_body.h"

const qn_move_kernels qn_move_f32_avx2 = MOVE_TABLE;
