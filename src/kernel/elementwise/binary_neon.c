/* Functions of two numbers, NEON: the shared body at this width. */
#include <string.h>

#include "kernel/vec_neon.h"

#include "kernel/elementwise/binary_body.h"

const qn_binary_kernels qn_binary_f32_neon = BINARY_TABLE;
