/*
 * Rotary positions: rows of steps are shared out among the workers.
 */
#include "kernel/position/rotary.h"

#include <string.h>

#include "kernel/isa.h"
#include "kernel/position/rotary_table.h"
#include "kernel/split.h"

enum { GRAIN = 16384 }; /* elements */

typedef struct {
    const qn_rotary *io;
    qn_rotary_head *head;
} job;

static void turn_interleaved(float *y, const float *x, const float *cosine, const float *sine,
                             int64_t half)
{
    for (int64_t i = 0; i < half; i++) {
        float a = x[2 * i], b = x[2 * i + 1];
        y[2 * i] = a * cosine[i] - b * sine[i];
        y[2 * i + 1] = b * cosine[i] + a * sine[i];
    }
}

static void rows_range(void *context, int64_t first, int64_t end)
{
    const job *j = context;
    const qn_rotary *io = j->io;
    int64_t rest = io->dim - 2 * io->half;
    for (int64_t at = first * io->heads; at < end * io->heads; at++) {
        int64_t row = at / io->heads;
        int64_t angle = (io->by_row ? row : row % io->steps) * io->half;
        const float *x = io->x + at * io->dim;
        float *y = io->y + at * io->dim;
        j->head(y, x, io->cosine + angle, io->sine + angle, io->half);
        if (rest > 0 && y != x)
            memcpy(y + 2 * io->half, x + 2 * io->half, (size_t)rest * sizeof *y);
    }
}

void qn_rotary_f32(qn_pool *pool, const qn_rotary *io)
{
    static qn_rotary_head *const rows[QN_CPU_LEVELS] = QN_ISA_ROWS(qn_rotary_f32);
    job j = {io, io->interleaved ? turn_interleaved : rows[qn_cpu_level()]};
    qn_split(pool, io->batch * io->steps, qn_split_grain(io->heads * io->dim, GRAIN), rows_range,
             &j);
}
