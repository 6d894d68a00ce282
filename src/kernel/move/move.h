/*
 * Moving and converting: fills, strided copies (transpose, slice, pad, concat are all of these),
 * casts, rows by index, and pixels to floats.
 */
#ifndef QN_KERNEL_MOVE_H
#define QN_KERNEL_MOVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernel/elementwise/bcast.h"
#include "os/pool.h"

void qn_fill_f32(qn_pool *pool, float *dst, int64_t count, float value);
void qn_fill_bytes(qn_pool *pool, void *dst, size_t size, uint8_t value);
void qn_copy_bytes(qn_pool *pool, void *dst, const void *src, size_t size);

/* Element strides on both sides (may be negative or, in src, 0). dim[0] outermost. */
typedef struct {
    int rank;
    int64_t dim[QN_KERNEL_RANK], dst_stride[QN_KERNEL_RANK], src_stride[QN_KERNEL_RANK];
} qn_strided;
/* Sorts and joins dimensions for speed; once, when planning. Copying without it is right but
 * slower. */
void qn_strided_collapse(qn_strided *shape);
/* element_bytes: 1, 2, 4 or 8. dst and src do not overlap. */
void qn_copy_strided(qn_pool *pool, void *dst, const void *src, const qn_strided *shape,
                     int element_bytes);

typedef enum {
    QN_CAST_F32,
    QN_CAST_F64,
    QN_CAST_I64,
    QN_CAST_I32,
    QN_CAST_U8,
    QN_CAST_BOOL,
    QN_CAST_COUNT
} qn_cast_type;
/* Floats to integers truncate and saturate, NaN gives 0; integers to narrower ones keep the low bits;
 * anything but zero (NaN too) is true. */
void qn_cast(qn_pool *pool, void *dst, qn_cast_type dst_type, const void *src,
             qn_cast_type src_type, int64_t count);

/* dst[i] = src[index[i]], rows of row_bytes. An index outside [-src_rows, src_rows) gives a row of zero
 * bytes: check outside data before (this keeps a bug from reading foreign memory). */
void qn_gather_rows(qn_pool *pool, void *dst, const void *src, int64_t src_rows, size_t row_bytes,
                    const int64_t *index, int64_t count);
/* dst[rows, cols] = 0 unless `add`, then dst[index[i]] += src[i] in rising i for each row, for any thread count.
 * Indices outside [-rows, rows) are skipped. */
void qn_scatter_add_rows_f32(qn_pool *pool, float *dst, int64_t rows, int64_t cols,
                             const float *src, const int64_t *index, int64_t count, bool add);

/* dst = (src - mean[c]) * scale[c] over src [pixels, channels]; mean and scale have `channels`
 * values. */
void qn_u8_normalise_f32(qn_pool *pool, float *dst, const uint8_t *src, int64_t pixels,
                         int64_t channels, const float *mean, const float *scale);
/* Both at once, for the loader: dst[i] = normalised row index[i] of src [src_rows, pixels,
 * channels]. */
typedef struct {
    const uint8_t *src;
    int64_t src_rows, pixels, channels;
    const float *mean, *scale;
} qn_u8_images;
void qn_gather_u8_normalise_f32(qn_pool *pool, float *dst, const qn_u8_images *images,
                                const int64_t *index, int64_t count);

#endif
