/*
 * Blocks of image rows with zero margins.
 */
#include "kernel/conv/plane.h"

#include <string.h>

#include "base/checked.h"

void qn_plane_finish(qn_plane *p)
{
    p->width = (p->out_w - 1) * p->col_step + p->cols_span;
    p->inside = !p->copied && p->row_first >= 0 && p->col_first >= 0 &&
                p->row_first + (p->out_h - 1) * p->row_step + p->rows_span <= p->h &&
                p->col_first + p->width <= p->w;
    p->pitch = (p->inside ? p->w : p->width) * p->channels;
}

int64_t qn_plane_rows(const qn_plane *p, int64_t rows)
{
    return (rows - 1) * p->row_step + p->rows_span;
}

void qn_plane_copy(const qn_plane *p, float *dst, const float *rows, int64_t first, int64_t end,
                   int64_t source, int64_t count)
{
    int64_t from = qn_min_i64(qn_max_i64(-p->col_first, 0), p->width);
    int64_t to = qn_max_i64(qn_min_i64(p->w - p->col_first, p->width), from);
    size_t left = (size_t)(from * p->channels) * sizeof(float),
           right = (size_t)((p->width - to) * p->channels) * sizeof(float);
    size_t middle = (size_t)((to - from) * p->channels) * sizeof(float);
    for (int64_t r = source; r < source + count; r++, dst += p->pitch) {
        if (r < first || r >= end) {
            memset(dst, 0, left + middle + right);
            continue;
        }
        memset(dst, 0, left);
        if (middle)
            memcpy(dst + from * p->channels,
                   rows + ((r - first) * p->w + p->col_first + from) * p->channels, middle);
        memset(dst + to * p->channels, 0, right);
    }
}

const float *qn_plane_block(const qn_plane *p, const float *image, int64_t row, int64_t rows,
                            float *pad)
{
    int64_t source = row * p->row_step + p->row_first;
    if (p->inside)
        return image + (source * p->w + p->col_first) * p->channels;
    qn_plane_copy(p, pad, image, 0, p->h, source, qn_plane_rows(p, rows));
    return pad;
}
