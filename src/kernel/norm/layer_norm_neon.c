/* Passes of layer normalisation, NEON: the shared body at this width. */
#include "kernel/vec_neon.h"

#include "kernel/norm/layer_norm_body.h"

const qn_layer_norm_kernels qn_layer_norm_f32_neon = LAYER_NORM_TABLE;
