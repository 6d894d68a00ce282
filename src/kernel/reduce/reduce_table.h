/*
 * What each ISA provides for reduce.h. LOGSUMEXP has no loop of its own: it is MAX, then a sum of exponentials.
 */
#ifndef QN_KERNEL_REDUCE_TABLE_H
#define QN_KERNEL_REDUCE_TABLE_H

#include "kernel/reduce/reduce.h"

enum { REDUCE_LOOPS = QN_REDUCE_LOGSUMEXP };

typedef struct {
    /* A block of up to a few thousand contiguous values. MEAN gives the sum. */
    float (*block[REDUCE_LOOPS])(const float *x, int64_t count);
    /* acc[c] = reduction over `rows` rows of stride ld. */
    void (*columns[REDUCE_LOOPS])(float *acc, const float *x, int64_t rows, int64_t cols,
                                  int64_t ld);
    /* Sums of exp(x - top). */
    float (*block_exp)(const float *x, int64_t count, float top);
    void (*columns_exp)(float *acc, const float *x, int64_t rows, int64_t cols, int64_t ld,
                        const float *top);
    float (*dot)(const float *a, const float *b, int64_t count);
    /* First largest of sign * x (sign 1 or -1); the first NaN wins. */
    int64_t (*place)(const float *x, int64_t count, float sign);
} qn_reduce_kernels;

extern const qn_reduce_kernels qn_reduce_f32_ref, qn_reduce_f32_neon, qn_reduce_f32_avx2,
    qn_reduce_f32_avx512;
/* Those of the CPU level in force; optim/ uses the block sums too. */
const qn_reduce_kernels *qn_reduce_f32_kernels(void);

#endif
