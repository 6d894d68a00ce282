/*
 * The choice of the softmax kernels; rows are shared out among the workers.
 */
#include "kernel/softmax/softmax.h"

#include <stddef.h>

#include "kernel/isa.h"
#include "kernel/softmax/softmax_table.h"
#include "kernel/split.h"

enum { GRAIN = 8192 }; /* elements: an exp costs about 2 cycles of a vector lane's share */

static const qn_softmax_kernels *choose(void)
{
    static const qn_softmax_kernels *const rows[QN_CPU_LEVELS] = QN_ISA_ROWS(qn_softmax_f32);
    return rows[qn_cpu_level()];
}

typedef struct {
    void (*forward)(float *y, const float *x, int64_t cols);
    void (*backward)(float *dx, const float *dy, const float *y, int64_t cols);
    float *dst;
    const float *src, *y;
    int64_t cols;
} job;

static void rows_range(void *context, int64_t first, int64_t end)
{
    const job *j = context;
    for (int64_t at = first * j->cols; at < end * j->cols; at += j->cols) {
        if (j->forward)
            j->forward(j->dst + at, j->src + at, j->cols);
        else
            j->backward(j->dst + at, j->src + at, j->y + at, j->cols);
    }
}

static void run(qn_pool *pool, job j, int64_t rows)
{
    if (j.cols > 0)
        qn_split(pool, rows, qn_split_grain(j.cols, GRAIN), rows_range, &j);
}

void qn_softmax_f32(qn_pool *pool, float *y, const float *x, int64_t rows, int64_t cols)
{
    run(pool, (job){.forward = choose()->softmax, .dst = y, .src = x, .cols = cols}, rows);
}

void qn_log_softmax_f32(qn_pool *pool, float *y, const float *x, int64_t rows, int64_t cols)
{
    run(pool, (job){.forward = choose()->log_softmax, .dst = y, .src = x, .cols = cols}, rows);
}

void qn_softmax_grad_f32(qn_pool *pool, float *dx, const float *dy, const float *y, int64_t rows,
                         int64_t cols)
{
    run(pool, (job){.backward = choose()->softmax_grad, .dst = dx, .src = dy, .y = y, .cols = cols},
        rows);
}

void qn_log_softmax_grad_f32(qn_pool *pool, float *dx, const float *dy, const float *y,
                             int64_t rows, int64_t cols)
{
    run(pool,
        (job){.backward = choose()->log_softmax_grad, .dst = dx, .src = dy, .y = y, .cols = cols},
        rows);
}
