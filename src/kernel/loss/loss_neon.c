/* Losses, NEON: the shared body at this width. */
#include "kernel/vec_neon.h"

#include "kernel/loss/loss_body.h"

const qn_loss_kernels qn_loss_f32_neon = LOSS_TABLE;
