/* Functions of one number, AVX2: the shared body at this width. */
#include "kernel/vec_avx2.h"

#include "kernel/elementwise/unary_body.h"

const qn_unary_kernels qn_unary_f32_avx2 = UNARY_TABLE;
