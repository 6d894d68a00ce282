/*
 * LAMB and Adafactor: the order of their passes, the sums between them, and the choice of kernels.
 */
#include "kernel/optim/tensor.h"

#include <math.h>
#include <string.h>

#include "kernel/isa.h"
#include "kernel/optim/tensor_table.h"
#include "kernel/split.h"

enum {
    BLOCK = 4096,      /* elements whose squares are summed in f32 */
    COPIES = 8,        /* of Adafactor's column sums, each by its share of the rows */
    COPIES_MIN = 32768 /* elements of a matrix from which on it is shared out */
};

static const qn_optim_tensor_kernels *choose(void)
{
    static const qn_optim_tensor_kernels *const rows[QN_CPU_LEVELS] =
        QN_ISA_ROWS(qn_optim_tensor_f32);
    return rows[qn_cpu_level()];
}

/* Pairs of partial sums, in order. */
static void add_pairs(const float *pairs, int64_t count, double ret[2])
{
    ret[0] = ret[1] = 0;
    for (int64_t i = 0; i < count; i++) {
        ret[0] += (double)pairs[2 * i];
        ret[1] += (double)pairs[2 * i + 1];
    }
}

typedef struct {
    const qn_optim_tensor_kernels *kernels;
    const qn_lamb *io;
    qn_lamb_step step;
    float *sums; /* [blocks, 2] */
} lamb_job;

static int64_t block_count(const qn_lamb *io, int64_t at)
{
    return io->count - at < BLOCK ? io->count - at : BLOCK;
}

static void lamb_first(void *context, int64_t first, int64_t end)
{
    const lamb_job *j = context;
    const qn_lamb *io = j->io;
    for (int64_t b = first; b < end; b++) {
        int64_t at = b * BLOCK;
        j->kernels->lamb_moments(io->weight + at, io->first + at, io->second + at, io->grad + at,
                                 block_count(io, at), &j->step, j->sums + 2 * b);
    }
}

static void lamb_second(void *context, int64_t first, int64_t end)
{
    const lamb_job *j = context;
    const qn_lamb *io = j->io;
    for (int64_t b = first; b < end; b++) {
        int64_t at = b * BLOCK;
        j->kernels->lamb_apply(io->weight + at, io->first + at, io->second + at,
                               block_count(io, at), &j->step);
    }
}

size_t qn_lamb_scratch_bytes(int64_t count)
{
    return (size_t)((count + BLOCK - 1) / BLOCK) * 2 * sizeof(float);
}

void qn_lamb_f32(qn_pool *pool, const qn_lamb *io, void *scratch)
{
    double t = (double)*io->step, sums[2];
    int64_t blocks = (io->count + BLOCK - 1) / BLOCK;
    lamb_job j = {.kernels = choose(), .io = io, .sums = scratch};
    j.step = (qn_lamb_step){.grad_scale = io->grad_scale ? *io->grad_scale : 1,
                            .decay = (float)io->weight_decay,
                            .beta1 = (float)io->beta1,
                            .fresh1 = (float)(1 - io->beta1),
                            .beta2 = (float)io->beta2,
                            .fresh2 = (float)(1 - io->beta2),
                            .rate = (float)(1 / (1 - pow(io->beta1, t))),
                            .root = (float)(1 / sqrt(1 - pow(io->beta2, t))),
                            .eps = (float)io->eps};
    qn_split(pool, blocks, 2, lamb_first, &j);
    add_pairs(j.sums, blocks, sums);
    double trust = sums[0] > 0 && sums[1] > 0 ? sqrt(sums[0] / sums[1]) : 1;
    j.step.lr = (float)((double)*io->lr * trust);
    qn_split(pool, blocks, 2, lamb_second, &j);
}

typedef struct {
    const qn_optim_tensor_kernels *kernels;
    const qn_adafactor *io;
    int64_t copies;
    double share; /* of the new means of squares */
    float grad_scale, floor, shrink, rate;
    float *columns; /* [copies, cols] */
    float *inverse; /* [matrices]: 1 / mean(row) */
    float *sums;    /* [matrices * rows, 2] */
    int64_t matrix; /* in hand */
} factor_job;

static int64_t copies_of(int64_t rows, int64_t cols)
{
    return rows >= COPIES && rows * cols >= COPIES_MIN ? COPIES : 1;
}

/* Copy `c` takes its share of the rows of the matrix in hand. */
static void gather_squares(void *context, int64_t first, int64_t end)
{
    const factor_job *j = context;
    const qn_adafactor *io = j->io;
    for (int64_t c = first; c < end; c++) {
        float *columns = j->columns + c * io->cols;
        memset(columns, 0, (size_t)io->cols * sizeof *columns);
        for (int64_t r = c * io->rows / j->copies; r < (c + 1) * io->rows / j->copies; r++) {
            int64_t row = j->matrix * io->rows + r;
            float sum = j->kernels->factor_squares(columns, io->grad + row * io->cols, io->cols,
                                                   j->grad_scale);
            io->row[row] += (float)j->share * (sum / (float)io->cols - io->row[row]);
        }
    }
}

static void keep_matrix(qn_pool *pool, factor_job *j)
{
    const qn_adafactor *io = j->io;
    double sum = 0;
    qn_split(pool, j->copies, 1, gather_squares, j);
    for (int64_t c = 1; c < j->copies; c++) /* the first holds the sum, in order */
        for (int64_t k = 0; k < io->cols; k++)
            j->columns[k] += j->columns[c * io->cols + k];
    j->kernels->factor_keep(io->col + j->matrix * io->cols, j->columns, io->cols, (float)j->share,
                            1 / (float)io->rows);
    for (int64_t r = 0; r < io->rows; r++)
        sum += (double)io->row[j->matrix * io->rows + r];
    j->inverse[j->matrix] = (float)(1 / fmax(sum / (double)io->rows, io->eps1));
}

static void keep_vector(factor_job *j)
{
    const qn_adafactor *io = j->io;
    memset(j->columns, 0, (size_t)io->cols * sizeof *j->columns);
    (void)j->kernels->factor_squares(j->columns, io->grad, io->cols, j->grad_scale);
    j->kernels->factor_keep(io->col, j->columns, io->cols, (float)j->share, 1);
    j->inverse[0] = 1;
}

static qn_factor_step step_of(const factor_job *j, int64_t row)
{
    const qn_adafactor *io = j->io;
    float factor = io->row ? io->row[row] * j->inverse[row / io->rows] : 1;
    return (qn_factor_step){.grad_scale = j->grad_scale,
                            .row = factor,
                            .floor = j->floor,
                            .shrink = j->shrink,
                            .rate = j->rate};
}

static void sum_rows(void *context, int64_t first, int64_t end)
{
    const factor_job *j = context;
    const qn_adafactor *io = j->io;
    for (int64_t r = first; r < end; r++) {
        qn_factor_step step = step_of(j, r);
        j->kernels->factor_sums(io->weight + r * io->cols, io->grad + r * io->cols,
                                io->col + r / io->rows * io->cols, io->cols, &step,
                                j->sums + 2 * r);
    }
}

static void apply_rows(void *context, int64_t first, int64_t end)
{
    const factor_job *j = context;
    const qn_adafactor *io = j->io;
    for (int64_t r = first; r < end; r++) {
        qn_factor_step step = step_of(j, r);
        j->kernels->factor_apply(io->weight + r * io->cols, io->grad + r * io->cols,
                                 io->col + r / io->rows * io->cols, io->cols, &step);
    }
}

size_t qn_adafactor_scratch_bytes(int64_t matrices, int64_t rows, int64_t cols)
{
    int64_t floats = copies_of(rows, cols) * cols + matrices + 2 * matrices * rows;
    return (size_t)floats * sizeof(float);
}

void qn_adafactor_f32(qn_pool *pool, const qn_adafactor *io, void *scratch)
{
    double t = (double)*io->step, lr = (double)*io->lr, sums[2];
    int64_t rows = io->matrices * io->rows, grain = qn_split_grain(io->cols, 8192);
    double count = (double)(rows * io->cols);
    if (rows * io->cols == 0)
        return;
    factor_job j = {.kernels = choose(),
                    .io = io,
                    .copies = copies_of(io->rows, io->cols),
                    .share = pow(t, io->beta2_decay),
                    .grad_scale = io->grad_scale ? *io->grad_scale : 1,
                    .floor = (float)(io->eps1 * io->eps1),
                    .shrink = (float)(1 - lr * io->weight_decay),
                    .columns = scratch};
    j.inverse = j.columns + j.copies * io->cols;
    j.sums = j.inverse + io->matrices;
    for (j.matrix = 0; io->row && j.matrix < io->matrices; j.matrix++)
        keep_matrix(pool, &j);
    if (!io->row)
        keep_vector(&j);
    qn_split(pool, rows, grain, sum_rows, &j);
    add_pairs(j.sums, rows, sums);
    double length = fmax(1, sqrt(sums[1] / count) / io->clip);
    j.rate = (float)(fmin(lr, 1 / sqrt(t)) * fmax(io->eps2, sqrt(sums[0] / count)) / length);
    qn_split(pool, rows, grain, apply_rows, &j);
}
