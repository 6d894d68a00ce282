/*
 * Matrix products: C = act(alpha * op(A) * op(B) + beta * C + bias), single and batched, f32.
 *
 * Every element is one chain of fused multiply-adds over k in rising order, whatever the shape, the
 * path (direct or packed) and the vector width. So a row of the result does not depend on how many
 * other rows were computed with it, nor on the number of threads, and AVX2 and AVX-512 agree bit
 * for bit (before transcendental activations).
 */
#ifndef QN_KERNEL_GEMM_H
#define QN_KERNEL_GEMM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernel/act.h"
#include "os/pool.h"

#define QN_GEMM_BATCH_RANK 6

/*
 * Shapes: op(A) [m, k], op(B) [k, n], C [m, n], all row-major with leading dimensions in elements:
 *   trans_a false: A is [m, k] with row stride lda;  true: A is [k, m] with row stride lda.
 *   trans_b false: B is [k, n] with row stride ldb;  true: B is [n, k] with row stride ldb.
 *   bias: [n] or NULL. k may be 0 (then the sum is 0); m or n 0 does nothing.
 * Batch: batch_rank 0 is one product. Otherwise batch[0..rank) are the batch dimensions (row-major)
 * and batch_a/b/c[i] the element strides along them; 0 in batch_a or batch_b broadcasts. beta 0
 * never reads C. The plain cases alpha 1, beta 0 or 1 are the fast ones.
 */
typedef struct {
    int64_t m, n, k;
    const float *a, *b, *bias;
    const float *lines; /* B of a product of one row, of qn_gemm_lines_pack; or NULL */
    float *c;
    int64_t lda, ldb, ldc;
    bool trans_a, trans_b;
    float alpha, beta;
    qn_act act;
    float slope; /* of QN_ACT_LEAKY */
    int batch_rank;
    int64_t batch[QN_GEMM_BATCH_RANK];
    int64_t batch_a[QN_GEMM_BATCH_RANK], batch_b[QN_GEMM_BATCH_RANK], batch_c[QN_GEMM_BATCH_RANK];
} qn_gemm;

/* B in the order in which the threads read it in a product of one row, made once where it does not change: what each core
 * reads then lies together, and its cache keeps it. The bytes are 0 where that saves nothing. */
size_t qn_gemm_lines_bytes(const qn_gemm *gemm);
void qn_gemm_lines_pack(const qn_gemm *gemm, float *dst);

/* Bytes of scratch (64-byte aligned) that qn_gemm_f32 needs with a pool of `threads`; may be 0.
 * Depends on the sizes and flags only, so a plan can ask with NULL pointers. */
size_t qn_gemm_f32_scratch_bytes(const qn_gemm *gemm, int threads);
/* Memory: C must not overlap A or B. Threads: one caller per pool.
 * Accuracy: |error| <= (k + 2) eps * (|alpha| |A| |B| + |beta| |C| + |bias|) before the activation.
 */
void qn_gemm_f32(qn_pool *pool, const qn_gemm *gemm, void *scratch);

#endif
