/* LAMB and Adafactor, AVX-512: the shared body at this width. */
#include "kernel/vec_avx512.h"

#include "kernel/optim/tensor_body.h"

const qn_optim_tensor_kernels qn_optim_tensor_f32_avx512 = TENSOR_TABLE;
