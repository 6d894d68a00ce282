/* Updates, NEON: the shared body at this width. */
#include "kernel/vec_neon.h"

#include "kernel/optim/update_body.h"

const qn_update_kernels qn_update_f32_neon = UPDATE_TABLE;
