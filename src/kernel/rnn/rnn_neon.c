/* Gates of recurrent networks, NEON: the shared body at this width. */
#include "kernel/vec_neon.h"

#include "kernel/rnn/rnn_body.h"

const qn_rnn_kernels qn_rnn_f32_neon = RNN_TABLE;
