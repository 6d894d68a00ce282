/* Passes of layer normalisation, AVX2: the shared body at this width. */
#include "kernel/vec_avx2.h"

#include "kernel/norm/layer_norm_body.h"

const qn_layer_norm_kernels qn_layer_norm_f32_avx2 = LAYER_NORM_TABLE;
