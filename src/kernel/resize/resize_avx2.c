/* Weighted lines, AVX2: the shared body at this width. */
#include "kernel/vec_avx2.h"

#include "kernel/resize/resize_body.h"

const qn_resize_kernels qn_resize_f32_avx2 = RESIZE_TABLE;
