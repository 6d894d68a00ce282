/*
 * The choice of the optimiser kernels; the step's coefficients are worked out in f64 when the update runs.
 */
#include "kernel/optim/optim.h"

#include <math.h>

#include "kernel/isa.h"
#include "kernel/optim/optim_table.h"
#include "kernel/reduce/reduce_table.h"
#include "kernel/split.h"

enum {
    GRAIN = 8192, /* parameters: 28 bytes of traffic each */
    BLOCK = 4096  /* gradients whose squares are summed in f32 */
};

static const qn_optim_kernels *choose(void)
{
    static const qn_optim_kernels *const rows[QN_CPU_LEVELS] = QN_ISA_ROWS(qn_optim_f32);
    return rows[qn_cpu_level()];
}

typedef struct {
    const qn_optim_kernels *kernels;
    const qn_sgd *io;
    qn_sgd_step step;
} sgd_job;

static void sgd_range(void *context, int64_t first, int64_t end)
{
    const sgd_job *j = context;
    const qn_sgd *io = j->io;
    if (io->velocity)
        j->kernels->sgd_momentum(io->weight + first, io->velocity + first, io->grad + first,
                                 end - first, &j->step);
    else
        j->kernels->sgd_plain(io->weight + first, io->grad + first, end - first, &j->step);
}

void qn_sgd_f32(qn_pool *pool, const qn_sgd *io)
{
    bool begins = io->step && *io->step <= 1;
    sgd_job j = {.kernels = choose(), .io = io};
    j.step = (qn_sgd_step){.grad_scale = io->grad_scale ? *io->grad_scale : 1,
                           .decay = io->weight_decay,
                           .momentum = begins ? 0 : io->momentum,
                           .fresh = begins ? 1 : 1 - io->dampening,
                           .of_g = io->nesterov ? 1 : 0,
                           .of_v = io->nesterov ? io->momentum : 1,
                           .lr = *io->lr};
    qn_split(pool, io->count, GRAIN, sgd_range, &j);
}

typedef struct {
    const qn_optim_kernels *kernels;
    const qn_adam *io;
    qn_adam_step step;
} adam_job;

static void adam_range(void *context, int64_t first, int64_t end)
{
    const adam_job *j = context;
    const qn_adam *io = j->io;
    j->kernels->adam(io->weight + first, io->first + first, io->second + first, io->grad + first,
                     end - first, &j->step);
}

void qn_adam_f32(qn_pool *pool, const qn_adam *io)
{
    double lr = (double)*io->lr, t = (double)*io->step, b1 = io->beta1, b2 = io->beta2;
    adam_job j = {.kernels = choose(), .io = io};
    j.step = (qn_adam_step){.grad_scale = io->grad_scale ? *io->grad_scale : 1,
                            .decay = io->decoupled ? 0 : (float)io->weight_decay,
                            .shrink = io->decoupled ? (float)(1 - lr * io->weight_decay) : 1,
                            .beta1 = (float)b1,
                            .fresh1 = (float)(1 - b1),
                            .beta2 = (float)b2,
                            .fresh2 = (float)(1 - b2),
                            .rate = (float)(lr / (1 - pow(b1, t))),
                            .root = (float)(1 / sqrt(1 - pow(b2, t))),
                            .eps = (float)io->eps};
    qn_split(pool, io->count, GRAIN, adam_range, &j);
}

typedef struct {
    const qn_reduce_kernels *kernels;
    const float *grad;
    int64_t count;
    float *part;
} square_job;

static void square_range(void *context, int64_t first, int64_t end)
{
    const square_job *j = context;
    for (int64_t b = first; b < end; b++) {
        int64_t at = b * BLOCK, count = j->count - at < BLOCK ? j->count - at : BLOCK;
        j->part[b] = j->kernels->block[QN_REDUCE_SUM_SQUARE](j->grad + at, count);
    }
}

size_t qn_grad_square_scratch_bytes(int64_t count)
{
    return (size_t)((count + BLOCK - 1) / BLOCK) * sizeof(float);
}

void qn_grad_square_f32(qn_pool *pool, double *sum, const float *grad, int64_t count,
                        bool accumulate, void *scratch)
{
    square_job j = {qn_reduce_f32_kernels(), grad, count, scratch};
    int64_t blocks = (count + BLOCK - 1) / BLOCK;
    qn_split(pool, blocks, 8, square_range, &j);
    double total = accumulate ? *sum : 0;
    for (int64_t b = 0; b < blocks; b++)
        total += (double)j.part[b];
    *sum = total;
}

void qn_grad_clip_scale(float *scale, const double *sum, float max_norm)
{
    double norm = sqrt(*sum);
    double factor = (double)max_norm / (norm + 1e-6);
    *scale = isnan(factor) ? NAN : factor < 1 ? (float)factor : 1;
}
