/* Optimiser updates, AVX2: the shared body at this width. */
#include "kernel/vec_avx2.h"

#include "kernel/optim/optim_body.h"

const qn_optim_kernels qn_optim_f32_avx2 = OPTIM_TABLE;
