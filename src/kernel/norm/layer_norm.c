/*
 * Layer normalisation. Rows are independent; the sums over rows that the gradients of scale and shift need run in
 * blocks of fixed size, joined in f64 in a fixed order.
 */
#include "kernel/norm/layer_norm.h"

#include <string.h>

#include "kernel/isa.h"
#include "kernel/norm/layer_norm_table.h"
#include "kernel/split.h"

enum {
    BLOCK_ROWS = 64, /* 2 rows of sums per block: 1/32 of what the block reads */
    GRAIN = 8192     /* elements */
};

const qn_layer_norm_kernels *qn_layer_norm_f32_kernels(void)
{
    static const qn_layer_norm_kernels *const rows[QN_CPU_LEVELS] = QN_ISA_ROWS(qn_layer_norm_f32);
    return rows[qn_cpu_level()];
}

typedef struct {
    const qn_layer_norm_kernels *kernels;
    const qn_layer_norm *io;
} forward_job;

static void forward_range(void *context, int64_t first, int64_t end)
{
    const forward_job *j = context;
    const qn_layer_norm *io = j->io;
    for (int64_t r = first; r < end; r++) {
        int64_t at = r * io->cols;
        float stats[2];
        j->kernels->row(io->y + at, io->x + at, io->scale, io->shift, io->cols, io->eps,
                        io->centred, stats);
        if (io->mean)
            io->mean[r] = stats[0];
        if (io->rstd)
            io->rstd[r] = stats[1];
    }
}

void qn_layer_norm_f32(qn_pool *pool, const qn_layer_norm *io)
{
    forward_job j = {qn_layer_norm_f32_kernels(), io};
    qn_split(pool, io->rows, qn_split_grain(io->cols, GRAIN), forward_range, &j);
}

static int64_t blocks_of(int64_t rows)
{
    return (rows + BLOCK_ROWS - 1) / BLOCK_ROWS;
}

size_t qn_layer_norm_grad_scratch_bytes(int64_t rows, int64_t cols)
{
    return (size_t)(2 * blocks_of(rows) * cols) * sizeof(float);
}

typedef struct {
    const qn_layer_norm_kernels *kernels;
    const qn_layer_norm_grad *io;
    float *sums; /* [blocks, 2, cols]: of dscale, of dshift */
} grad_job;

static void grad_range(void *context, int64_t first, int64_t end)
{
    const grad_job *j = context;
    const qn_layer_norm_grad *io = j->io;
    for (int64_t b = first; b < end; b++) {
        float *sums = j->sums + 2 * b * io->cols;
        memset(sums, 0, (size_t)(2 * io->cols) * sizeof *sums);
        int64_t last = (b + 1) * BLOCK_ROWS < io->rows ? (b + 1) * BLOCK_ROWS : io->rows;
        for (int64_t r = b * BLOCK_ROWS; r < last; r++) {
            const float stats[2] = {io->centred ? io->mean[r] : 0, io->rstd[r]};
            int64_t at = r * io->cols;
            j->kernels->grad_row(io->dx + at, sums, sums + io->cols, io->dy + at, io->x + at,
                                 io->scale, stats, io->cols, io->centred);
        }
    }
}

void qn_layer_norm_grad_f32(qn_pool *pool, const qn_layer_norm_grad *io, void *scratch)
{
    grad_job j = {qn_layer_norm_f32_kernels(), io, scratch};
    int64_t blocks = blocks_of(io->rows);
    qn_split(pool, blocks, qn_split_grain(BLOCK_ROWS * io->cols, GRAIN), grad_range, &j);
    for (int64_t c = 0; c < io->cols; c++) {
        double dscale = 0, dshift = 0;
        for (int64_t b = 0; b < blocks; b++) {
            dscale += (double)j.sums[2 * b * io->cols + c];
            dshift += (double)j.sums[(2 * b + 1) * io->cols + c];
        }
        if (io->dscale)
            io->dscale[c] = (float)dscale;
        if (io->dshift)
            io->dshift[c] = (float)dshift;
    }
}
