/* The ways to compute products of bf16, for gemm_bf16.c, gemm_pairs.c and the tests. */
#ifndef QN_KERNEL_GEMM_BF16_TABLE_H
#define QN_KERNEL_GEMM_BF16_TABLE_H

#include "kernel/gemm/gemm_bf16.h"
#include "kernel/gemm/pairs.h"
#include "kernel/gemm/tile.h"

/* A block of C: `rows` rows and `cols` columns of it, all of k. a, b and c are at the block's first row and column. */
typedef struct {
    const qn_gemm *gemm;
    const char *a, *b;
    bool wide_a, wide_b;
    float *c;
    const float *bias; /* of the block's columns, or NULL */
    int64_t rows, cols;
    const qn_tile_kernels *f32;
    void *scratch;
} qn_bf16_block;

enum { QN_BF16_ROWS_MAX = 256, QN_BF16_COLS_MAX = 192 }; /* of a block */

typedef struct {
    /* For one worker and blocks of any size up to the limits. */
    size_t (*scratch_bytes)(const qn_bf16_product *product);
    /* The block's sums (and bias), without activation. */
    void (*block)(const qn_bf16_block *block);
} qn_bf16_kernels;

extern const qn_bf16_kernels qn_bf16_widen, qn_bf16_tiles_soft, qn_bf16_tiles_amx;

size_t qn_gemm_bf16_scratch_by(const qn_bf16_kernels *kernels, const qn_bf16_product *product,
                               int threads);
void qn_gemm_bf16_by(const qn_bf16_kernels *kernels, qn_pool *pool, const qn_bf16_product *product,
                     void *scratch);

/* By pairs (gemm_pairs.c), which has blocks of its own. */
size_t qn_gemm_pairs_scratch_bytes(const qn_pairs_kernels *kernels, const qn_bf16_product *product,
                                   int threads);
void qn_gemm_pairs(const qn_pairs_kernels *kernels, qn_pool *pool, const qn_bf16_product *product,
                   void *scratch);

/* The number at `index` of a factor. */
static inline const char *qn_bf16_at(const char *factor, bool wide, int64_t index)
{
    return factor + index * (int64_t)(wide ? sizeof(float) : sizeof(uint16_t));
}

#endif
