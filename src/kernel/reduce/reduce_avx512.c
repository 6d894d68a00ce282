/* Reductions, AVX-512: the shared body at this width. */
#include "kernel/vec_avx512.h"

#include "kernel/reduce/reduce_body.h"

const qn_reduce_kernels qn_reduce_f32_avx512 = REDUCE_TABLE;
