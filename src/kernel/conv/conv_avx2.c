/* Depthwise strips and the fused pool, AVX2: the shared body at this width. */
#include "kernel/vec_avx2.h"

#include "kernel/conv/conv_body.h"

const qn_conv_kernels qn_conv_f32_avx2 = CONV_TABLE;
