/* Depthwise strips and the fused pool, NEON: the shared body at this width. */
#include "kernel/vec_neon.h"

#include "kernel/conv/conv_body.h"

const qn_conv_kernels qn_conv_f32_neon = CONV_TABLE;
