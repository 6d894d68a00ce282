/* Functions of one number, NEON: the shared body at this width. */
#include "kernel/vec_neon.h"

#include "kernel/elementwise/unary_body.h"

const qn_unary_kernels qn_unary_f32_neon = UNARY_TABLE;
