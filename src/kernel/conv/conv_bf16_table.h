/* What each ISA provides for conv_bf16.h. A word is a pair of bf16 (gemm/pairs.h), the first one low. */
#ifndef QN_KERNEL_CONV_BF16_TABLE_H
#define QN_KERNEL_CONV_BF16_TABLE_H

#include <stdint.h>

#include "kernel/conv/conv_bf16.h"
#include "kernel/gemm/pairs.h"

/* A row behind ReLU and a 2x2 pool: the gradient to it, itself, and where each number came from (0..3). */
typedef struct {
    const uint16_t *dy;
    const float *y;
    const uint8_t *choice;
} qn_pooled_row;

struct qn_conv_bf16_kernels {
    const qn_tile_kernels *tile; /* of pairs */
    const qn_pairs_pack *pack;   /* from bf16 */
    /* The gradient before the pool: 2 * count pixels of both rows from `count` of `channels`. */
    void (*unpool)(uint16_t *top, uint16_t *bottom, const qn_pooled_row *row, int64_t count,
                   int64_t channels);
    /* The same of two images, as pairs; the second row may have no dy, which is zeros. */
    void (*unpool_pairs)(uint32_t *top, uint32_t *bottom, const qn_pooled_row rows[2],
                         int64_t count, int64_t channels);
};

extern const qn_conv_bf16_kernels qn_conv_bf16_avx512bf16, qn_conv_bf16_amx, qn_conv_bf16_soft;

/* In plain C. */
void qn_conv_bf16_unpool_ref(uint16_t *top, uint16_t *bottom, const qn_pooled_row *row,
                             int64_t count, int64_t channels);
void qn_conv_bf16_unpool_pairs_ref(uint32_t *top, uint32_t *bottom, const qn_pooled_row rows[2],
                                   int64_t count, int64_t channels);

#endif
