/* CTC, NEON: the shared body at this width. */
#include "kernel/vec_neon.h"

#include "kernel/loss/ctc_body.h"

const qn_ctc_kernels qn_ctc_f32_neon = CTC_TABLE;
