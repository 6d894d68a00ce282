/* Reductions, AVX2: the shared body at this width. */
#include "kernel/vec_avx2.h"

#include "kernel/reduce/reduce_body.h"

const qn_reduce_kernels qn_reduce_f32_avx2 = REDUCE_TABLE;
