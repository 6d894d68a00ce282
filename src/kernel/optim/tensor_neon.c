/* LAMB and Adafactor, NEON: the shared body at this width. */
#include "kernel/vec_neon.h"

#include "kernel/optim/tensor_body.h"

const qn_optim_tensor_kernels qn_optim_tensor_f32_neon = TENSOR_TABLE;
