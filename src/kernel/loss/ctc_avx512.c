/* CTC, AVX-512: the shared body at this width. */
#include "kernel/vec_avx512.h"

#include "kernel/loss/ctc_body.h"

const qn_ctc_kernels qn_ctc_f32_avx512 = CTC_TABLE;
