/* Pooling windows, NEON: the shared body at this width. */
#include "kernel/vec_neon.h"

#include "kernel/pool/pool_body.h"

const qn_pool_kernels qn_pool_f32_neon = POOL_TABLE;
