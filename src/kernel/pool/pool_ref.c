/*
 * Pooling windows in plain C.
 */
#include <math.h>
#include <stddef.h>

#include "kernel/pool/pool_table.h"

static void max(float *y, uint8_t *choice8, int32_t *choice32, const float *x, const qn_window *w)
{
    for (int64_t at = 0; at < w->count * w->channels; at++) {
        const float *from = x + at / w->channels * w->move + at % w->channels;
        float best = *from;
        int32_t place = w->first;
        for (int64_t t = 1; t < w->slabs * w->rows * w->cols; t++) {
            float v = from[qn_window_at(w, t)];
            if (v > best || (isnan(v) && !isnan(best))) {
                best = v;
                place = qn_window_number(w, t);
            }
        }
        y[at] = best;
        if (choice8)
            choice8[at] = (uint8_t)place;
        if (choice32)
            choice32[at] = place;
    }
}

static void max_grad(float *dx, const float *dy, const uint8_t *choice8, const int32_t *choice32,
                     const qn_window *w)
{
    for (int64_t at = 0; at < w->count * w->channels; at++) {
        int32_t place = (choice8 ? choice8[at] : choice32[at]) - w->first;
        int64_t k = place / w->number_slab, i = place % w->number_slab / w->number_row,
                j = place % w->number_row;
        dx[at / w->channels * w->move + at % w->channels + k * w->slab + i * w->row + j * w->col] +=
            dy[at];
    }
}

static void average(float *y, const float *x, const qn_window *w)
{
    for (int64_t at = 0; at < w->count * w->channels; at++) {
        const float *from = x + at / w->channels * w->move + at % w->channels;
        float sum = 0;
        for (int64_t t = 0; t < w->slabs * w->rows * w->cols; t++)
            sum += from[qn_window_at(w, t)];
        y[at] = sum * w->scale;
    }
}

static void average_grad(float *dx, const float *dy, const qn_window *w)
{
    for (int64_t at = 0; at < w->count * w->channels; at++) {
        float *to = dx + at / w->channels * w->move + at % w->channels;
        for (int64_t t = 0; t < w->slabs * w->rows * w->cols; t++)
            to[qn_window_at(w, t)] += dy[at] * w->scale;
    }
}

static void norm(float *y, const float *x, const qn_window *w, int p)
{
    for (int64_t at = 0; at < w->count * w->channels; at++) {
        const float *from = x + at / w->channels * w->move + at % w->channels;
        double sum = 0;
        for (int64_t t = 0; t < w->slabs * w->rows * w->cols; t++)
            sum += pow(fabs((double)from[qn_window_at(w, t)]), p);
        y[at] = (float)pow(sum, 1 / (double)p);
    }
}

static void norm_grad(float *dx, const float *dy, const float *x, const float *y,
                      const qn_window *w, int p)
{
    for (int64_t at = 0; at < w->count * w->channels; at++) {
        int64_t first = at / w->channels * w->move + at % w->channels;
        for (int64_t t = 0; y[at] > 0 && t < w->slabs * w->rows * w->cols; t++) {
            double from = (double)x[first + qn_window_at(w, t)];
            double slope = pow(fabs(from) / (double)y[at], p - 1);
            dx[first + qn_window_at(w, t)] += (float)((double)dy[at] * copysign(slope, from));
        }
    }
}

const qn_pool_kernels qn_pool_f32_ref = {.max = max,
                                         .max_grad = max_grad,
                                         .average = average,
                                         .average_grad = average_grad,
                                         .norm = norm,
                                         .norm_grad = norm_grad};
