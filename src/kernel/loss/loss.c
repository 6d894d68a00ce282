/*
 * The choice of the loss kernels. Rows (or blocks of elements) are shared out; their losses meet in f64, in order.
 */
#include "kernel/loss/loss.h"

#include <math.h>
#include <string.h>

#include "kernel/isa.h"
#include "kernel/loss/loss_table.h"
#include "kernel/split.h"

enum {
    GRAIN = 4096, /* elements: exp, log and three passes */
    BLOCK = 4096  /* elements of a pointwise loss summed in f32 */
};

static const qn_loss_kernels *choose(void)
{
    static const qn_loss_kernels *const rows[QN_CPU_LEVELS] = QN_ISA_ROWS(qn_loss_f32);
    return rows[qn_cpu_level()];
}

typedef struct {
    const qn_cross_entropy *io;
    const qn_loss_kernels *kernels;
    float *row_loss;
    uint8_t *hit;
    float scale;
} rows_job;

static int64_t label_of(const qn_cross_entropy *io, int64_t row)
{
    return io->labels ? io->labels[row] : io->labels_i32[row];
}

static bool is_ignored(const qn_cross_entropy *io, int64_t row)
{
    return !io->targets && io->has_ignore && label_of(io, row) == io->ignore;
}

static bool is_label(const qn_cross_entropy *io, int64_t label)
{
    return label >= 0 && label < io->classes;
}

/* What MEAN divides by. */
static double mass_of(const qn_cross_entropy *io)
{
    if (io->targets)
        return (double)io->rows;
    double mass = 0;
    for (int64_t r = 0; r < io->rows; r++) {
        int64_t label = label_of(io, r);
        if (!is_ignored(io, r) && is_label(io, label))
            mass += io->class_weights ? (double)io->class_weights[label] : 1;
    }
    return mass;
}

static void row_run(const rows_job *j, int64_t r)
{
    const qn_cross_entropy *io = j->io;
    const float *x = io->logits + r * io->classes;
    float *dx = io->dlogits ? io->dlogits + r * io->classes : NULL;
    qn_cross_entropy_row row = {.weights = io->class_weights,
                                .keep = 1 - io->smoothing,
                                .uniform = io->smoothing / (float)io->classes,
                                .scale = j->scale};
    j->hit[r] = 0;
    if (io->targets) {
        row.targets = io->targets + r * io->classes;
    } else {
        row.label = label_of(io, r);
        if (is_ignored(io, r) || !is_label(io, row.label)) {
            j->row_loss[r] = is_ignored(io, r) ? 0 : NAN;
            if (dx)
                memset(dx, 0, (size_t)io->classes * sizeof *dx);
            return;
        }
        if (io->correct)
            j->hit[r] = j->kernels->first_largest(x, io->classes) == row.label;
    }
    j->row_loss[r] = j->kernels->cross_entropy(dx, x, io->classes, &row);
}

static void rows_range(void *context, int64_t first, int64_t end)
{
    for (int64_t r = first; r < end; r++)
        row_run(context, r);
}

size_t qn_cross_entropy_scratch_bytes(int64_t rows, int64_t classes)
{
    (void)classes;
    return (size_t)rows * (sizeof(float) + 1);
}

void qn_cross_entropy_f32(qn_pool *pool, const qn_cross_entropy *io, void *scratch)
{
    double mass = io->reduction == QN_LOSS_MEAN ? mass_of(io) : 1;
    rows_job j = {.io = io,
                  .kernels = choose(),
                  .row_loss = io->row_loss ? io->row_loss : scratch,
                  .hit = (uint8_t *)scratch + (size_t)io->rows * sizeof(float),
                  .scale = mass > 0 ? (float)(1 / mass) : 0};
    qn_split(pool, io->rows, qn_split_grain(io->classes, GRAIN), rows_range, &j);
    double sum = 0;
    int64_t hits = 0;
    for (int64_t r = 0; r < io->rows; r++) {
        sum += (double)j.row_loss[r];
        hits += j.hit[r];
    }
    if (io->loss)
        *io->loss = mass > 0 || isnan(sum) ? (float)(sum / (mass > 0 ? mass : 1)) : 0;
    if (io->correct)
        *io->correct = hits;
}

typedef struct {
    const qn_pointwise_loss *io;
    float (*block)(const qn_pointwise_block *block);
    float *sums;
    float p, scale;
} blocks_job;

static void blocks_range(void *context, int64_t first, int64_t end)
{
    const blocks_job *j = context;
    const qn_pointwise_loss *io = j->io;
    for (int64_t b = first; b < end; b++) {
        int64_t at = b * BLOCK, count = io->count - at < BLOCK ? io->count - at : BLOCK;
        qn_pointwise_block block = {.x = io->predictions + at,
                                    .t = io->targets + at,
                                    .weights = io->weights ? io->weights + at : NULL,
                                    .each = io->element_loss ? io->element_loss + at : NULL,
                                    .dx = io->dpredictions ? io->dpredictions + at : NULL,
                                    .count = count,
                                    .p = j->p,
                                    .scale = j->scale};
        j->sums[b] = j->block(&block);
    }
}

size_t qn_pointwise_loss_scratch_bytes(int64_t count)
{
    return (size_t)((count + BLOCK - 1) / BLOCK) * sizeof(float);
}

void qn_pointwise_loss_f32(qn_pool *pool, qn_loss_kind kind, const qn_pointwise_loss *io,
                           void *scratch)
{
    int64_t shares = io->reduction == QN_LOSS_MEAN         ? io->count
                     : io->reduction == QN_LOSS_BATCH_MEAN ? io->rows
                                                           : 1;
    double mass = shares > 0 ? (double)shares : 1;
    blocks_job j = {.io = io,
                    .block = choose()->pointwise[kind],
                    .sums = scratch,
                    .p = io->option,
                    .scale = (float)(1 / mass)};
    int64_t blocks = (io->count + BLOCK - 1) / BLOCK;
    qn_split(pool, blocks, 2, blocks_range, &j);
    double sum = 0;
    for (int64_t b = 0; b < blocks; b++)
        sum += (double)j.sums[b];
    if (io->loss)
        *io->loss = (float)(sum / mass);
}
