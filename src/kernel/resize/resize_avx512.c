/* Weighted lines, AVX-512: the shared body at this width. */
#include "kernel/vec_avx512.h"

#include "kernel/resize/resize_body.h"

const qn_resize_kernels qn_resize_f32_avx512 = RESIZE_TABLE;
