/* Softmax, AVX2: the shared body at this width. */
#include "kernel/vec_avx2.h"

#include "kernel/softmax/softmax_body.h"

const qn_softmax_kernels qn_softmax_f32_avx2 = SOFTMAX_TABLE;
