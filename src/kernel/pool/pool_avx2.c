/* Pooling windows, AVX2: the shared body at this width. */
#include "kernel/vec_avx2.h"

#include "kernel/pool/pool_body.h"

const qn_pool_kernels qn_pool_f32_avx2 = POOL_TABLE;
