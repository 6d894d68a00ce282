/* Reductions, NEON: the shared body at this width. */
#include "kernel/vec_neon.h"

#include "kernel/reduce/reduce_body.h"

const qn_reduce_kernels qn_reduce_f32_neon = REDUCE_TABLE;
