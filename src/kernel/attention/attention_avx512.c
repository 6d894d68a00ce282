/* Passes over a row of scores, AVX-512: the shared body at this width. */
#include "kernel/vec_avx512.h"

#include "kernel/attention/attention_body.h"

const qn_attention_kernels qn_attention_f32_avx512 = ATTENTION_TABLE;
