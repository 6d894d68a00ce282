/* Updates, AVX2: the shared body at this width. */
#include "kernel/vec_avx2.h"

#include "kernel/optim/update_body.h"

const qn_update_kernels qn_update_f32_avx2 = UPDATE_TABLE;
