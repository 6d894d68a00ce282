/* Passes over a row of scores, NEON: the shared body at this width. */
#include "kernel/vec_neon.h"

#include "kernel/attention/attention_body.h"

const qn_attention_kernels qn_attention_f32_neon = ATTENTION_TABLE;
