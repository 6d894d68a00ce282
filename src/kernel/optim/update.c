/*
 * The choice of the update kernels; the step's coefficients are worked out in f64 when the update runs.
 */
#include "kernel/optim/update.h"

#include <math.h>
#include <stddef.h>

#include "kernel/isa.h"
#include "kernel/optim/update_table.h"
#include "kernel/split.h"

enum { GRAIN = 8192 /* parameters: about 28 bytes of traffic each */ };

static const qn_update_kernels *choose(void)
{
    static const qn_update_kernels *const rows[QN_CPU_LEVELS] = QN_ISA_ROWS(qn_update_f32);
    return rows[qn_cpu_level()];
}

typedef struct {
    qn_update_loop loop;
    const qn_update *io;
    qn_update_step step;
} update_job;

static void update_range(void *context, int64_t first, int64_t end)
{
    const update_job *j = context;
    const qn_update *io = j->io;
    qn_update_chunk chunk = {.w = io->weight + first, .grad = io->grad + first};
    for (int k = 0; k < QN_UPDATE_MOMENTS; k++)
        chunk.m[k] = io->moments[k] ? io->moments[k] + first : NULL;
    j->loop(&chunk, end - first, &j->step);
}

static void set_nadam(qn_update_step *step, const qn_update *io, double lr, double t)
{
    double mu = io->beta1 * (1 - 0.5 * pow(0.96, t * io->momentum_decay));
    double next = io->beta1 * (1 - 0.5 * pow(0.96, (t + 1) * io->momentum_decay));
    double product = (double)*io->product;
    step->rate = (float)(lr * (1 - mu) / (1 - product));
    step->rate2 = (float)(lr * next / (1 - product * next));
    step->root = (float)(1 / sqrt(1 - pow(io->beta2, t)));
}

void qn_update_f32(qn_pool *pool, qn_update_kind kind, const qn_update *io)
{
    double lr = (double)*io->lr, t = io->step ? (double)*io->step : 1;
    bool decoupled = io->decoupled || kind == QN_UPDATE_LION;
    bool betas = kind == QN_UPDATE_NADAM || kind == QN_UPDATE_LION;
    double keep2 = kind == QN_UPDATE_ADAGRAD ? 1 : betas ? io->beta2 : io->rho;
    update_job j = {.loop = choose()->loops[kind], .io = io};
    j.step = (qn_update_step){
        .grad_scale = io->grad_scale ? *io->grad_scale : 1,
        .decay = decoupled ? 0 : (float)io->weight_decay,
        .shrink = decoupled ? (float)(1 - lr * io->weight_decay) : 1,
        .keep1 = (float)(betas ? io->beta1 : io->rho),
        .fresh1 = (float)(1 - (betas ? io->beta1 : io->rho)),
        .keep2 = (float)keep2,
        .fresh2 = kind == QN_UPDATE_ADAGRAD ? 1 : (float)(1 - keep2),
        .momentum = (float)io->momentum,
        .rate = (float)(lr / (1 + (t - 1) * io->lr_decay)),
        .eps = (float)io->eps,
    };
    if (kind == QN_UPDATE_NADAM)
        set_nadam(&j.step, io, lr, t);
    qn_split(pool, io->count, GRAIN, update_range, &j);
}
