/* Passes over a row of scores, AVX2: the shared body at this width. */
#include "kernel/vec_avx2.h"

#include "kernel/attention/attention_body.h"

const qn_attention_kernels qn_attention_f32_avx2 = ATTENTION_TABLE;
