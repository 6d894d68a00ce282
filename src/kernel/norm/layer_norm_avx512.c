/* Passes of layer normalisation, AVX-512: the shared body at this width. */
#include "kernel/vec_avx512.h"

#include "kernel/norm/layer_norm_body.h"

const qn_layer_norm_kernels qn_layer_norm_f32_avx512 = LAYER_NORM_TABLE;
