/* Softmax, NEON: the shared body at this width. */
#include "kernel/vec_neon.h"

#include "kernel/softmax/softmax_body.h"

const qn_softmax_kernels qn_softmax_f32_neon = SOFTMAX_TABLE;
