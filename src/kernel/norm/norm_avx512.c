/* Passes of batch normalisation, AVX-512: the shared body at this width. */
#include "kernel/vec_avx512.h"

#include "kernel/norm/norm_body.h"

const qn_norm_kernels qn_norm_f32_avx512 = NORM_TABLE;
