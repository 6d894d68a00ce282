/*
 * Batch normalisation, channels last. Sums run over blocks of rows in f32 around the block's own mean and are joined in
 * f64 by Chan's formula, so a large mean does not eat the variance:
 *   M2 = M2a + M2b + (mean_b - mean_a)^2 * na * nb / (na + nb).
 */
#include "kernel/norm/norm.h"

#include <math.h>

#include "kernel/carve.h"
#include "kernel/isa.h"
#include "kernel/norm/norm_table.h"
#include "kernel/reduce/reduce_table.h"
#include "kernel/split.h"

enum {
    BLOCK_ROWS = 512,
    GRAIN = 16384 /* elements */
};

static const qn_norm_kernels *choose(void)
{
    static const qn_norm_kernels *const rows[QN_CPU_LEVELS] = QN_ISA_ROWS(qn_norm_f32);
    return rows[qn_cpu_level()];
}

static int64_t blocks_of(int64_t rows)
{
    return (rows + BLOCK_ROWS - 1) / BLOCK_ROWS;
}

/* Per block two rows of sums, then four rows of per-channel values. */
typedef struct {
    const qn_norm_kernels *kernels;
    const qn_reduce_kernels *reduce;
    int64_t rows, channels;
    const float *x, *dy;
    float *dst;
    float *first, *second; /* [blocks, channels] */
    float *value[4];       /* [channels] */
} job;

static void job_carve(job *j, qn_carve *carve)
{
    size_t row = (size_t)j->channels * sizeof(float), blocks = (size_t)blocks_of(j->rows);
    j->first = qn_carve_take(carve, blocks * row);
    j->second = qn_carve_take(carve, blocks * row);
    for (int i = 0; i < 4; i++)
        j->value[i] = qn_carve_take(carve, row);
}

size_t qn_batch_norm_scratch_bytes(int64_t rows, int64_t channels)
{
    job j = {.rows = rows, .channels = channels};
    qn_carve carve = {0};
    job_carve(&j, &carve);
    return carve.used;
}

static job job_make(int64_t rows, int64_t channels, const float *x, void *scratch)
{
    job j = {.kernels = choose(),
             .reduce = qn_reduce_f32_kernels(),
             .rows = rows,
             .channels = channels,
             .x = x};
    qn_carve carve = {.base = scratch};
    job_carve(&j, &carve);
    return j;
}

static int64_t block_rows(const job *j, int64_t block)
{
    int64_t left = j->rows - block * BLOCK_ROWS;
    return left < BLOCK_ROWS ? left : BLOCK_ROWS;
}

/* The block's mean in `first`, its squared deviations in `second`. */
static void moments_range(void *context, int64_t first, int64_t end)
{
    const job *j = context;
    for (int64_t b = first; b < end; b++) {
        int64_t rows = block_rows(j, b), at = b * j->channels;
        const float *x = j->x + b * BLOCK_ROWS * j->channels;
        j->reduce->columns[QN_REDUCE_SUM](j->first + at, x, rows, j->channels, j->channels);
        for (int64_t c = 0; c < j->channels; c++)
            j->first[at + c] /= (float)rows;
        j->kernels->deviation(j->second + at, x, j->first + at, rows, j->channels);
    }
}

static void moments_join(const job *j, int64_t c, double *ret_mean, double *ret_m2)
{
    double mean = 0, m2 = 0, count = 0;
    for (int64_t b = 0; b < blocks_of(j->rows); b++) {
        double n = (double)block_rows(j, b), delta = (double)j->first[b * j->channels + c] - mean;
        m2 += (double)j->second[b * j->channels + c] + delta * delta * count * n / (count + n);
        mean += delta * n / (count + n);
        count += n;
    }
    *ret_mean = mean;
    *ret_m2 = m2;
}

static void apply_range(void *context, int64_t first, int64_t end)
{
    const job *j = context;
    int64_t at = first * j->channels;
    j->kernels->apply(j->dst + at, j->x + at, j->value[0], j->value[1], j->value[2], end - first,
                      j->channels);
}

static void running_update(const qn_batch_norm *io, int64_t c, double mean, double m2)
{
    double m = (double)io->momentum, rows = (double)io->rows;
    double var = m2 / (io->unbiased && io->rows > 1 ? rows - 1 : rows);
    if (io->running_mean)
        io->running_mean[c] = (float)((1 - m) * (double)io->running_mean[c] + m * mean);
    if (io->running_var)
        io->running_var[c] = (float)((1 - m) * (double)io->running_var[c] + m * var);
}

void qn_batch_norm_train_f32(qn_pool *pool, const qn_batch_norm *io, void *scratch)
{
    if (io->rows == 0)
        return;
    job j = job_make(io->rows, io->channels, io->x, scratch);
    j.dst = io->y;
    int64_t block_cost = BLOCK_ROWS * io->channels;
    qn_split(pool, blocks_of(io->rows), qn_split_grain(block_cost, GRAIN), moments_range, &j);
    for (int64_t c = 0; c < io->channels; c++) {
        double mean, m2;
        moments_join(&j, c, &mean, &m2);
        double rstd = 1 / sqrt(m2 / (double)io->rows + (double)io->eps);
        j.value[0][c] = (float)mean;
        j.value[1][c] = (float)(rstd * (io->scale ? (double)io->scale[c] : 1));
        j.value[2][c] = io->shift ? io->shift[c] : 0;
        io->save_mean[c] = (float)mean;
        io->save_rstd[c] = (float)rstd;
        running_update(io, c, mean, m2);
    }
    qn_split(pool, io->rows, qn_split_grain(io->channels, GRAIN), apply_range, &j);
}

static void sums_range(void *context, int64_t first, int64_t end)
{
    const job *j = context;
    for (int64_t b = first; b < end; b++) {
        int64_t rows = block_rows(j, b), at = b * j->channels, from = b * BLOCK_ROWS * j->channels;
        j->reduce->columns[QN_REDUCE_SUM](j->first + at, j->dy + from, rows, j->channels,
                                          j->channels);
        j->kernels->product(j->second + at, j->dy + from, j->x + from, j->value[NORM_MEAN], rows,
                            j->channels);
    }
}

static void gradient_range(void *context, int64_t first, int64_t end)
{
    const job *j = context;
    int64_t at = first * j->channels;
    const float *const of[4] = {j->value[0], j->value[1], j->value[2], j->value[3]};
    j->kernels->gradient(j->dst + at, j->dy + at, j->x + at, of, end - first, j->channels);
}

void qn_batch_norm_grad_f32(qn_pool *pool, const qn_batch_norm_grad *io, void *scratch)
{
    if (io->rows == 0)
        return;
    job j = job_make(io->rows, io->channels, io->x, scratch);
    j.dy = io->dy;
    j.dst = io->dx;
    for (int64_t c = 0; c < io->channels; c++)
        j.value[NORM_MEAN][c] = io->save_mean[c];
    qn_split(pool, blocks_of(io->rows), qn_split_grain(BLOCK_ROWS * io->channels, GRAIN),
             sums_range, &j);
    for (int64_t c = 0; c < io->channels; c++) {
        double sum = 0, dot = 0, rstd = (double)io->save_rstd[c], rows = (double)io->rows;
        for (int64_t b = 0; b < blocks_of(io->rows); b++) {
            sum += (double)j.first[b * io->channels + c];
            dot += (double)j.second[b * io->channels + c];
        }
        j.value[NORM_FACTOR][c] = (float)(rstd * (io->scale ? (double)io->scale[c] : 1));
        j.value[NORM_SHIFT][c] = (float)(sum / rows);
        j.value[NORM_TILT][c] = (float)(dot * rstd * rstd / rows);
        if (io->dscale)
            io->dscale[c] = (float)(dot * rstd);
        if (io->dshift)
            io->dshift[c] = (float)sum;
    }
    if (io->dx)
        qn_split(pool, io->rows, qn_split_grain(io->channels, GRAIN), gradient_range, &j);
}

void qn_batch_norm_infer_f32(qn_pool *pool, const qn_batch_norm_infer *io, void *scratch)
{
    job j = job_make(io->rows, io->channels, io->x, scratch);
    j.dst = io->y;
    for (int64_t c = 0; c < io->channels; c++) {
        double rstd = 1 / sqrt((double)io->var[c] + (double)io->eps);
        j.value[0][c] = io->mean[c];
        j.value[1][c] = (float)(rstd * (io->scale ? (double)io->scale[c] : 1));
        j.value[2][c] = io->shift ? io->shift[c] : 0;
    }
    qn_split(pool, io->rows, qn_split_grain(io->channels, GRAIN), apply_range, &j);
}
