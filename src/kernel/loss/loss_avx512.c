/* Losses, AVX-512: the shared body at this width. */
#include "kernel/vec_avx512.h"

#include "kernel/loss/loss_body.h"

const qn_loss_kernels qn_loss_f32_avx512 = LOSS_TABLE;
