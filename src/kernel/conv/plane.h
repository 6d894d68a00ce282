/*
 * A block of rows of an image as a filter reads it: with zeros where it reaches past the edges. Forward convolution
 * reads x this way, the gradient to x reads dy, the gradient to the weights reads x again.
 *
 *        col_first                       rows_span x cols_span is what one output reads;
 *           |<---- width ---->|          output (r, s) starts at source
 *   row ->  +-----------------+          (row_first + r * row_step, col_first + s * col_step)
 *           | 0 0 0 0 0 0 0 0 |
 *           | 0 image row   0 |          copied to scratch as [rows, width, channels] only if
 *           | 0 image row   0 |          some of it lies outside the image; otherwise read in place
 *           +-----------------+
 */
#ifndef QN_KERNEL_PLANE_H
#define QN_KERNEL_PLANE_H

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    int64_t h, w, channels;
    int64_t row_step, col_step, row_first, col_first, rows_span, cols_span;
    int64_t out_h, out_w;
    bool copied; /* always copy: the source is not in memory as an image */
    /* derived by qn_plane_finish */
    bool inside;
    int64_t width, pitch; /* pitch: floats from one row of the block to the next */
} qn_plane;

void qn_plane_finish(qn_plane *plane);
/* Source rows that `rows` output rows read. */
int64_t qn_plane_rows(const qn_plane *plane, int64_t rows);
/* The block for output rows [row, row + rows): in place, or copied to `pad`. */
const float *qn_plane_block(const qn_plane *plane, const float *image, int64_t row, int64_t rows,
                            float *pad);

/* Source rows [source, source + count) to dst with margins, from an image of which rows [first, end) lie at `rows`. */
void qn_plane_copy(const qn_plane *plane, float *dst, const float *rows, int64_t first, int64_t end,
                   int64_t source, int64_t count);

#endif
