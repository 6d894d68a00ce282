/*
 * Matrix products of bf16 with sums in f32: C = act(op(A) op(B) + beta C + bias). C and the bias are f32.
 *
 * A product of two bf16 numbers is exact in f32, so only additions round. Where the CPU has tiles (AMX) they do the
 * work; elsewhere the numbers are widened as blocks are packed and the f32 micro-kernel follows, which reads half the
 * bytes and computes as fast. The bf16 instructions of AVX-512 are not used: they are slower than f32 on some machines
 * and always flush denormals.
 */
#ifndef QN_KERNEL_GEMM_BF16_H
#define QN_KERNEL_GEMM_BF16_H

#include "kernel/gemm/gemm.h"

/* Whether `gemm` is a plain case: alpha 1, beta 0 or 1. Others are for qn_gemm_f32. */
bool qn_gemm_bf16_takes(const qn_gemm *gemm);
size_t qn_gemm_bf16_scratch_bytes(const qn_gemm *gemm, int threads);
/* `gemm` says all but the factors: its own a and b are not read.
 * Accuracy: |error| <= (k + 2) eps * (|A| |B| + |C| + |bias|) before the activation, eps that of f32. Without tiles
 * every level gives the same bits, whatever the path; tiles add in another order. */
void qn_gemm_bf16(qn_pool *pool, const qn_gemm *gemm, const uint16_t *a, const uint16_t *b,
                  void *scratch);

#endif
