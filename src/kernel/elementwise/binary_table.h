/*
 * What each ISA provides for binary.h: one row at a time, each input either contiguous or one value for all.
 */
#ifndef QN_KERNEL_BINARY_TABLE_H
#define QN_KERNEL_BINARY_TABLE_H

#include "kernel/elementwise/binary.h"

/* Which inputs are single values; both never occurs (the driver computes such rows once and fills). */
typedef enum { BINARY_VECTORS, BINARY_A_SINGLE, BINARY_B_SINGLE, BINARY_FORMS } binary_form;

typedef struct {
    void (*binary[QN_BINARY_COUNT][BINARY_FORMS])(float *dst, const float *a, const float *b,
                                                  int64_t count);
    void (*compare[QN_COMPARE_COUNT][BINARY_FORMS])(uint8_t *dst, const float *a, const float *b,
                                                    int64_t count);
    /* a_step, b_step: 0 or 1 */
    void (*where)(float *dst, const uint8_t *condition, const float *a, int a_step, const float *b,
                  int b_step, int64_t count);
} qn_binary_kernels;

extern const qn_binary_kernels qn_binary_f32_ref, qn_binary_f32_neon, qn_binary_f32_avx2,
    qn_binary_f32_avx512;

#endif
