/* Updates, AVX-512: the shared body at this width. */
#include "kernel/vec_avx512.h"

#include "kernel/optim/update_body.h"

const qn_update_kernels qn_update_f32_avx512 = UPDATE_TABLE;
