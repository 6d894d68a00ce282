/* Passes of batch normalisation, NEON: the shared body at this width. */
#include "kernel/vec_neon.h"

#include "kernel/norm/norm_body.h"

const qn_norm_kernels qn_norm_f32_neon = NORM_TABLE;
