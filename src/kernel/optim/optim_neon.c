/* Optimiser updates, NEON: the shared body at this width. */
#include "kernel/vec_neon.h"

#include "kernel/optim/optim_body.h"

const qn_optim_kernels qn_optim_f32_neon = OPTIM_TABLE;
