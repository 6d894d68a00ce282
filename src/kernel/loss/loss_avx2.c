/* Losses, AVX2: the shared body at this width. */
#include "kernel/vec_avx2.h"

#include "kernel/loss/loss_body.h"

const qn_loss_kernels qn_loss_f32_avx2 = LOSS_TABLE;
