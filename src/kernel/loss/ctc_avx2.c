/* CTC, AVX2: the shared body at this width. */
#include "kernel/vec_avx2.h"

#include "kernel/loss/ctc_body.h"

const qn_ctc_kernels qn_ctc_f32_avx2 = CTC_TABLE;
