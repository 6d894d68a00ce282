/* Gates of recurrent networks, AVX2: the shared body at this width. */
#include "kernel/vec_avx2.h"

#include "kernel/rnn/rnn_body.h"

const qn_rnn_kernels qn_rnn_f32_avx2 = RNN_TABLE;
