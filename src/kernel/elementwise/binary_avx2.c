/* Functions of two numbers, AVX2: the shared body at this width. */
#include <string.h>

#include "kernel/vec_avx2.h"

#include "kernel/elementwise/binary_body.h"

const qn_binary_kernels qn_binary_f32_avx2 = BINARY_TABLE;
