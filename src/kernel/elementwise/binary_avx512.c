/* Functions of two numbers, AVX-512: the shared body at this width. */
#include <string.h>

#include "kernel/vec_avx512.h"

#include "kernel/elementwise/binary_body.h"

const qn_binary_kernels qn_binary_f32_avx512 = BINARY_TABLE;
