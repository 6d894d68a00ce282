/* Weighted lines, NEON: the shared body at this width. */
#include "kernel/vec_neon.h"

#include "kernel/resize/resize_body.h"

const qn_resize_kernels qn_resize_f32_neon = RESIZE_TABLE;
