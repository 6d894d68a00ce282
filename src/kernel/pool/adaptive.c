/*
 * Adaptive pooling: each output has a window of its own, run by the kernels of ordinary windows. Forward the rows of outputs
 * are shared out, backward the images, since neighbouring windows may overlap.
 */
#include <string.h>

#include "base/checked.h"
#include "kernel/pool/pool.h"
#include "kernel/pool/pool_table.h"
#include "kernel/split.h"

enum {
    GRAIN = 16384,   /* elements read */
    STRIP = 64,      /* channels at a time */
    SUM_PLACES = 512 /* summed in f32; such sums meet in f64 */
};

typedef struct {
    const qn_adaptive_pool *s;
    const qn_pool_kernels *kernels;
    float *dst;
    const float *src;
    int32_t *choice;
    const int32_t *chosen;
} job;

static int64_t count_of(const int64_t size[3])
{
    return size[0] * size[1] * size[2];
}

/* The window of output `at` (of one image), as a run of one. *ret_pixel is its first pixel in the image. */
static qn_window window_of(const qn_adaptive_pool *s, int64_t at, int64_t *ret_pixel)
{
    const int64_t place[3] = {at / s->out[2] / s->out[1], at / s->out[2] % s->out[1],
                              at % s->out[2]};
    int64_t first[3], size[3];
    for (int i = 0; i < 3; i++) {
        first[i] = place[i] * s->in[i] / s->out[i];
        size[i] = ((place[i] + 1) * s->in[i] + s->out[i] - 1) / s->out[i] - first[i];
    }
    int64_t row = s->in[2], slab = s->in[1] * row;
    *ret_pixel = first[0] * slab + first[1] * row + first[2];
    return (qn_window){.count = 1,
                       .channels = s->c,
                       .slabs = size[0],
                       .rows = size[1],
                       .cols = size[2],
                       .slab = slab * s->c,
                       .row = row * s->c,
                       .col = s->c,
                       .first = (int32_t)*ret_pixel,
                       .number_slab = (int32_t)slab,
                       .number_row = (int32_t)row,
                       .scale = 1 / (float)count_of(size)};
}

static void max_range(void *context, int64_t first, int64_t end)
{
    const job *j = context;
    const qn_adaptive_pool *s = j->s;
    int64_t outputs = count_of(s->out), image = count_of(s->in) * s->c, pixel;
    for (int64_t i = first * s->out[2]; i < end * s->out[2]; i++) {
        qn_window w = window_of(s, i % outputs, &pixel);
        j->kernels->max(j->dst + i * s->c, NULL, j->choice ? j->choice + i * s->c : NULL,
                        j->src + i / outputs * image + pixel * s->c, &w);
    }
}

/* The sum of some channels over a window, in blocks of rows. */
static void window_sum(const job *j, double *total, const float *x, const qn_window *w)
{
    int64_t step = qn_max_i64(SUM_PLACES / w->cols, 1);
    float sums[STRIP];
    for (int64_t k = 0; k < w->slabs; k++) {
        for (int64_t i = 0; i < w->rows; i += step) {
            qn_window part = *w;
            part.slabs = 1;
            part.rows = qn_min_i64(step, w->rows - i);
            part.scale = 1;
            j->kernels->average(sums, x + k * w->slab + i * w->row, &part);
            for (int64_t c = 0; c < w->channels; c++)
                total[c] += (double)sums[c];
        }
    }
}

static void average_range(void *context, int64_t first, int64_t end)
{
    const job *j = context;
    const qn_adaptive_pool *s = j->s;
    int64_t outputs = count_of(s->out), image = count_of(s->in) * s->c, pixel;
    for (int64_t i = first * s->out[2]; i < end * s->out[2]; i++) {
        qn_window w = window_of(s, i % outputs, &pixel);
        double places = (double)(w.slabs * w.rows * w.cols);
        for (int64_t c = 0; c < s->c; c += STRIP) {
            double total[STRIP] = {0};
            w.channels = qn_min_i64(STRIP, s->c - c);
            window_sum(j, total, j->src + i / outputs * image + pixel * s->c + c, &w);
            for (int64_t k = 0; k < w.channels; k++)
                j->dst[i * s->c + c + k] = (float)(total[k] / places);
        }
    }
}

static void clear_images(const job *j, int64_t first, int64_t end)
{
    int64_t image = count_of(j->s->in) * j->s->c;
    memset(j->dst + first * image, 0, (size_t)((end - first) * image) * sizeof *j->dst);
}

static void max_grad_range(void *context, int64_t first, int64_t end)
{
    const job *j = context;
    const qn_adaptive_pool *s = j->s;
    int64_t size = count_of(s->out) * s->c, pixels = count_of(s->in);
    clear_images(j, first, end);
    for (int64_t n = first; n < end; n++) {
        float *dx = j->dst + n * pixels * s->c;
        const float *dy = j->src + n * size;
        const int32_t *chosen = j->chosen + n * size;
        for (int64_t i = 0; i < size; i += s->c)
            for (int64_t c = 0; c < s->c; c++)
                if (chosen[i + c] >= 0 && chosen[i + c] < pixels)
                    dx[chosen[i + c] * s->c + c] += dy[i + c];
    }
}

static void average_grad_range(void *context, int64_t first, int64_t end)
{
    const job *j = context;
    const qn_adaptive_pool *s = j->s;
    int64_t outputs = count_of(s->out), image = count_of(s->in) * s->c, pixel;
    clear_images(j, first, end);
    for (int64_t i = first * outputs; i < end * outputs; i++) {
        qn_window w = window_of(s, i % outputs, &pixel);
        j->kernels->average_grad(j->dst + i / outputs * image + pixel * s->c, j->src + i * s->c,
                                 &w);
    }
}

/* Of one row of outputs, which read about a row of windows. */
static int64_t row_cost(const qn_adaptive_pool *s)
{
    return qn_max_i64(count_of(s->in) / qn_max_i64(s->out[0] * s->out[1], 1), s->out[2]) * s->c;
}

static void forward(qn_pool *pool, job *j, qn_range_fn fn)
{
    int64_t rows = j->s->n * j->s->out[0] * j->s->out[1];
    qn_split(pool, rows, qn_split_grain(row_cost(j->s), GRAIN), fn, j);
}

static void backward(qn_pool *pool, job *j, qn_range_fn fn)
{
    int64_t cost = qn_max_i64(count_of(j->s->in), count_of(j->s->out)) * j->s->c;
    qn_split(pool, j->s->n, qn_split_grain(cost, GRAIN), fn, j);
}

void qn_adaptive_max_f32(qn_pool *pool, const qn_adaptive_pool *shape, float *y, int32_t *choice,
                         const float *x)
{
    job j = {.s = shape, .kernels = qn_pool_f32_kernels(), .dst = y, .src = x, .choice = choice};
    forward(pool, &j, max_range);
}

void qn_adaptive_max_grad_f32(qn_pool *pool, const qn_adaptive_pool *shape, float *dx,
                              const float *dy, const int32_t *choice)
{
    job j = {.s = shape, .dst = dx, .src = dy, .chosen = choice};
    backward(pool, &j, max_grad_range);
}

void qn_adaptive_avg_f32(qn_pool *pool, const qn_adaptive_pool *shape, float *y, const float *x)
{
    job j = {.s = shape, .kernels = qn_pool_f32_kernels(), .dst = y, .src = x};
    forward(pool, &j, average_range);
}

void qn_adaptive_avg_grad_f32(qn_pool *pool, const qn_adaptive_pool *shape, float *dx,
                              const float *dy)
{
    job j = {.s = shape, .kernels = qn_pool_f32_kernels(), .dst = dx, .src = dy};
    backward(pool, &j, average_grad_range);
}
