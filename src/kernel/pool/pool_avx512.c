/* Pooling windows, AVX-512: the shared body at this width. */
#include "kernel/vec_avx512.h"

#include "kernel/pool/pool_body.h"

const qn_pool_kernels qn_pool_f32_avx512 = POOL_TABLE;
