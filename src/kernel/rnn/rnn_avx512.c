/* Gates of recurrent networks, AVX-512: the shared body at this width. */
#include "kernel/vec_avx512.h"

#include "kernel/rnn/rnn_body.h"

const qn_rnn_kernels qn_rnn_f32_avx512 = RNN_TABLE;
