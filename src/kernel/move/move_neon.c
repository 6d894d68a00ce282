/* Fills and pixels to floats, NEON: the shared body at this width. */
#include "kernel/vec_neon.h"

#include "kernel/move/move_body.h"

const qn_move_kernels qn_move_f32_neon = MOVE_TABLE;
