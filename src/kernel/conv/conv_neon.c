/* Depthwise strips, the fused pool and Winograd's transforms, NEON: the shared bodies at this width. */
#include "kernel/vec_neon.h"

#include "kernel/conv/conv_body.h"

#include "kernel/conv/winograd_body.h"

const qn_conv_kernels qn_conv_f32_neon =
    CONV_TABLE(qn_conv_unpool_bf16_ref, qn_conv_unpool_pairs_ref);
