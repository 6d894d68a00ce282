/* Softmax, AVX-512: the shared body at this width. */
#include "kernel/vec_avx512.h"

#include "kernel/softmax/softmax_body.h"

const qn_softmax_kernels qn_softmax_f32_avx512 = SOFTMAX_TABLE;
