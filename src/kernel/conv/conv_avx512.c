/* Depthwise strips and the fused pool, AVX-512: the shared body at this width. */
#include "kernel/vec_avx512.h"

#include "kernel/conv/conv_body.h"

const qn_conv_kernels qn_conv_f32_avx512 = CONV_TABLE;
