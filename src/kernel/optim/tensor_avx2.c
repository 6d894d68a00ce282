/* LAMB and Adafactor, AVX2: the shared body at this width. */
#include "kernel/vec_avx2.h"

#include "kernel/optim/tensor_body.h"

const qn_optim_tensor_kernels qn_optim_tensor_f32_avx2 = TENSOR_TABLE;
