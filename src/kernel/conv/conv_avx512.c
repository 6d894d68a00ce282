/* Depthwise strips, the fused pool and Winograd's transforms, AVX-512: the shared bodies at this width. */
#include "kernel/vec_avx512.h"

#include "kernel/conv/conv_body.h"

#include "kernel/conv/unpool_avx512.h"
#include "kernel/conv/winograd_body.h"

const qn_conv_kernels qn_conv_f32_avx512 = CONV_TABLE(unpool_bf16, unpool_pairs);
