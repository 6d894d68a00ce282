/* Optimiser updates, AVX-512: the shared body at this width. */
#include "kernel/vec_avx512.h"

#include "kernel/optim/optim_body.h"

const qn_optim_kernels qn_optim_f32_avx512 = OPTIM_TABLE;
