/* What each ISA provides for layer_norm.h and group_norm.h. */
#ifndef QN_KERNEL_LAYER_NORM_TABLE_H
#define QN_KERNEL_LAYER_NORM_TABLE_H

#include <stdbool.h>
#include <stdint.h>

/* Per-channel values of `tilted`. */
enum { TILTED_FACTOR, TILTED_SHIFT, TILTED_MEAN, TILTED_SLOPE, TILTED_COUNT };

typedef struct {
    /* One row: y = (x - mean) * rstd * scale + shift; stats = {mean, rstd}. Not centred: mean 0.
     * shift may be NULL. y may be x. */
    void (*row)(float *y, const float *x, const float *scale, const float *shift, int64_t cols,
                float eps, bool centred, float stats[2]);
    /* One row's dx; dscale += dy * n and dshift += dy. */
    void (*grad_row)(float *dx, float *dscale, float *dshift, const float *dy, const float *x,
                     const float *scale, const float stats[2], int64_t cols, bool centred);
    /* dx = dy * factor - shift - (x - mean) * slope, each per channel. */
    void (*tilted)(float *dx, const float *dy, const float *x, const float *const of[TILTED_COUNT],
                   int64_t rows, int64_t channels);
} qn_layer_norm_kernels;

extern const qn_layer_norm_kernels qn_layer_norm_f32_ref, qn_layer_norm_f32_neon,
    qn_layer_norm_f32_avx2, qn_layer_norm_f32_avx512;
/* Those of the CPU level in force. */
const qn_layer_norm_kernels *qn_layer_norm_f32_kernels(void);

#endif
