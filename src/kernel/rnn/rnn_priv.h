/*
 * What forward and backward of recurrent networks share: sizes in units of hidden, and where rows lie.
 */
#ifndef QN_KERNEL_RNN_PRIV_H
#define QN_KERNEL_RNN_PRIV_H

#include "kernel/gemm/tile.h"
#include "kernel/rnn/rnn.h"
#include "kernel/rnn/rnn_table.h"

enum {
    QN_RNN_ROWS = 16
}; /* of the batch, in one piece of work: two tiles of the widest micro-kernel */

typedef struct {
    const qn_rnn *io;
    const qn_tile_kernels *tile;
    const qn_rnn_kernels *rows;
    int64_t gates, kept, slopes; /* in units of hidden */
} qn_rnn_job;

qn_rnn_job qn_rnn_job_make(const qn_rnn *io);

static inline int64_t qn_rnn_length(const qn_rnn *io, int64_t b)
{
    int64_t length = io->lengths ? io->lengths[b] : io->steps;
    return length < 0 ? 0 : length < io->steps ? length : io->steps;
}

/* Rows of x, y, states, and of kept and slopes. */
static inline int64_t qn_rnn_in(const qn_rnn *io, int64_t t, int64_t b)
{
    return io->batch_first ? b * io->steps + t : t * io->batch + b;
}
static inline int64_t qn_rnn_out(const qn_rnn *io, int64_t d, int64_t t, int64_t b)
{
    return io->batch_first ? (b * io->steps + t) * io->dirs + d
                           : (t * io->dirs + d) * io->batch + b;
}
static inline int64_t qn_rnn_state(const qn_rnn *io, int64_t d, int64_t b)
{
    return io->batch_first ? b * io->dirs + d : d * io->batch + b;
}

/* Rows between t and t + 1 of kept and slopes. */
static inline int64_t qn_rnn_step(const qn_rnn *io)
{
    return io->batch_first ? 1 : io->batch;
}

/* Fetches a row of the step to come, so that it is near when its turn comes: rows of a step lie too far apart, and
 * backward in the wrong order, for a processor to guess. */
static inline void qn_rnn_fetch(const float *row, int64_t floats)
{
    for (int64_t i = 0; i < floats; i += 16)
        __builtin_prefetch(row + i, 1, 2);
}

/* Rows between b and b + 1 of kept and slopes, and of states. */
static inline int64_t qn_rnn_pitch(const qn_rnn *io)
{
    return io->batch_first ? io->steps : 1;
}
static inline int64_t qn_rnn_state_pitch(const qn_rnn *io)
{
    return io->batch_first ? io->dirs : 1;
}

static inline bool qn_rnn_is_reverse(const qn_rnn *io, int64_t d)
{
    return io->reverse || d == 1;
}

#endif
