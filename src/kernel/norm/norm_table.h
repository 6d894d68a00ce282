/* What each ISA provides for norm.h: passes over [rows, channels] with one value per channel. */
#ifndef QN_KERNEL_NORM_TABLE_H
#define QN_KERNEL_NORM_TABLE_H

#include <stdint.h>

typedef struct {
    /* acc[c] = sum over rows of (x - mean[c])^2 */
    void (*deviation)(float *acc, const float *x, const float *mean, int64_t rows,
                      int64_t channels);
    /* acc[c] = sum of dy * (x - mean[c]) */
    void (*product)(float *acc, const float *dy, const float *x, const float *mean, int64_t rows,
                    int64_t channels);
    /* y = (x - mean) * factor + offset */
    void (*apply)(float *y, const float *x, const float *mean, const float *factor,
                  const float *offset, int64_t rows, int64_t channels);
    /* dx = factor * (dy - shift - (x - mean) * tilt) */
    void (*gradient)(float *dx, const float *dy, const float *x, const float *const of[4],
                     int64_t rows, int64_t channels);
} qn_norm_kernels;

/* The per-channel inputs of `gradient`. */
enum { NORM_FACTOR, NORM_SHIFT, NORM_MEAN, NORM_TILT };

extern const qn_norm_kernels qn_norm_f32_ref, qn_norm_f32_neon, qn_norm_f32_avx2,
    qn_norm_f32_avx512;

#endif
