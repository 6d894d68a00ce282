/* Passes of batch normalisation, AVX2: the shared body at this width. */
#include "kernel/vec_avx2.h"

#include "kernel/norm/norm_body.h"

const qn_norm_kernels qn_norm_f32_avx2 = NORM_TABLE;
