/* What each ISA provides for move.h. */
#ifndef QN_KERNEL_MOVE_TABLE_H
#define QN_KERNEL_MOVE_TABLE_H

#include "kernel/move/move.h"

typedef struct {
    void (*fill)(float *dst, int64_t count, float value);
    /* One image or more: mean and scale repeat every `channels` values; src starts at channel 0. */
    void (*normalise)(float *dst, const uint8_t *src, int64_t pixels, int64_t channels,
                      const float *mean, const float *scale);
    void (*add)(float *dst, const float *src, int64_t count); /* dst += src */
} qn_move_kernels;

extern const qn_move_kernels qn_move_f32_ref, qn_move_f32_neon, qn_move_f32_avx2,
    qn_move_f32_avx512;

#endif
