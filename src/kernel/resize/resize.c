/*
 * Passes of interpolation, cut along whatever stands outside the axis and, forward, along its outputs. Backward the lines of one
 * input are summed in the order of the outputs.
 */
#include "kernel/resize/resize.h"

#include <string.h>

#include "kernel/isa.h"
#include "kernel/resize/resize_table.h"
#include "kernel/split.h"

enum { GRAIN = 16384 }; /* elements read */

typedef struct {
    const qn_resize_kernels *kernels;
    const qn_resize_pass *pass;
    float *dst;
    const float *src;
} job;

static const qn_resize_kernels *choose(void)
{
    static const qn_resize_kernels *const rows[QN_CPU_LEVELS] = QN_ISA_ROWS(qn_resize_f32);
    return rows[qn_cpu_level()];
}

static void lines_range(void *context, int64_t first, int64_t end)
{
    const job *j = context;
    const qn_resize_pass *p = j->pass;
    for (int64_t i = first; i < end; i++) {
        const float *from = j->src + i / p->out * p->in * p->inner;
        float *to = j->dst + i * p->inner;
        int add = 0;
        for (int64_t t = i % p->out * p->taps; t < (i % p->out + 1) * p->taps; t++) {
            if (p->weight[t] < 0 || p->weight[t] > 0) {
                j->kernels->line(to, from + p->index[t] * p->inner, p->weight[t], p->inner, add);
                add = 1;
            }
        }
        if (!add)
            memset(to, 0, (size_t)p->inner * sizeof *to);
    }
}

void qn_resize_f32(qn_pool *pool, const qn_resize_pass *pass, float *y, const float *x)
{
    job j = {choose(), pass, y, x};
    qn_split(pool, pass->outer * pass->out, qn_split_grain(pass->taps * pass->inner, GRAIN),
             lines_range, &j);
}

static void back_range(void *context, int64_t first, int64_t end)
{
    const job *j = context;
    const qn_resize_pass *p = j->pass;
    for (int64_t o = first; o < end; o++) {
        float *to = j->dst + o * p->in * p->inner;
        memset(to, 0, (size_t)(p->in * p->inner) * sizeof *to);
        for (int64_t t = 0; t < p->out * p->taps; t++)
            if (p->weight[t] < 0 || p->weight[t] > 0)
                j->kernels->line(to + p->index[t] * p->inner,
                                 j->src + (o * p->out + t / p->taps) * p->inner, p->weight[t],
                                 p->inner, 1);
    }
}

void qn_resize_grad_f32(qn_pool *pool, const qn_resize_pass *pass, float *dx, const float *dy)
{
    job j = {choose(), pass, dx, dy};
    qn_split(pool, pass->outer, qn_split_grain(pass->out * pass->taps * pass->inner, GRAIN),
             back_range, &j);
}
