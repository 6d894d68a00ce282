/* Functions of one number, AVX-512: the shared body at this width. */
#include "kernel/vec_avx512.h"

#include "kernel/elementwise/unary_body.h"

const qn_unary_kernels qn_unary_f32_avx512 = UNARY_TABLE;
