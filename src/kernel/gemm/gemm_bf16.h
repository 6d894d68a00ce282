/*
 * Matrix products of bf16 with sums in f32: C = act(op(A) op(B) + beta C + bias). C and the bias are f32; each factor is
 * bf16 in memory, or f32 that is rounded to bf16 as it is packed, so that no copy of it is needed.
 *
 * A product of two bf16 numbers is exact in f32, so only additions round. Where the CPU has tiles (AMX) or fast products
 * of pairs (pairs.h) they do the work; elsewhere the numbers are widened as blocks are packed and the f32 micro-kernel
 * follows, which reads half the bytes and computes as fast.
 */
#ifndef QN_KERNEL_GEMM_BF16_H
#define QN_KERNEL_GEMM_BF16_H

#include "kernel/gemm/gemm.h"

/* `gemm` says all but the factors: its own a and b are not read. Strides count numbers of the factor's type. */
typedef struct {
    const qn_gemm *gemm;
    const void *a, *b;
    bool wide_a, wide_b; /* f32 in memory */
} qn_bf16_product;

/* Whether `gemm` is a plain case: alpha 1, beta 0 or 1. Others are for qn_gemm_f32. */
bool qn_gemm_bf16_takes(const qn_gemm *gemm);
size_t qn_gemm_bf16_scratch_bytes(const qn_bf16_product *product, int threads);
/* Accuracy: |error| <= (k + 2) eps * (|A| |B| + |C| + |bias|) before the activation, eps that of f32 and A and B the
 * rounded ones. Without tiles and pairs every level gives the same bits, whatever the path; the others add in another
 * order and take denormals as 0. */
void qn_gemm_bf16(qn_pool *pool, const qn_bf16_product *product, void *scratch);

#endif
