/*
 * What forward and backward of recurrent networks share: sizes in units of hidden, where rows lie, and factors of
 * products as words. A word is one f32 or, where products are of bf16, a pair of them that follow each other in the
 * sum's order (gemm/pairs.h).
 */
#ifndef QN_KERNEL_RNN_PRIV_H
#define QN_KERNEL_RNN_PRIV_H

#include "kernel/rnn/rnn.h"
#include "kernel/rnn/rnn_table.h"

enum {
    QN_RNN_ROWS =
        16, /* of the batch, in one piece of work: two tiles of the widest micro-kernel, one of AMX */
    /* Words of a sum at a time: L2 gives a panel's part, 48 KiB, as fast as tiles want it, and sums are seldom put down. */
    QN_RNN_DEPTH = 256,
    QN_RNN_WHOLE =
        16 /* a part is so many words times something: tiles of AMX, which have them, are whole */
};

typedef struct {
    const qn_rnn *io;
    const qn_tile_kernels *tile;
    const qn_rnn_kernels *rows;
    const qn_pairs_kernels *pairs; /* NULL: words are f32 */
    int64_t gates, kept, slopes;   /* in units of hidden */
    int64_t in_words, state_words;
} qn_rnn_job;

qn_rnn_job qn_rnn_job_make(const qn_rnn *io);

static inline int64_t qn_rnn_words(const qn_rnn_job *job, int64_t count)
{
    return job->pairs ? (count + 1) / 2 : count;
}

/* dst, qn_rnn_words(count) of them, from a row whose numbers follow each other in the sum. */
void qn_rnn_words_take(const qn_rnn_job *job, float *dst, const float *src, int64_t count);
/* Rows that follow each other in the sum, one below the other: words [rows, cols], or [rows / 2, cols] of pairs. */
void qn_rnn_words_stack(const qn_rnn_job *job, float *dst, const float *src, int64_t lds,
                        int64_t rows, int64_t cols);

/* Columns of gates in panels, cut so that none has parts of a GRU's candidate and of other gates. */
typedef struct {
    int64_t part; /* in units of hidden, 0 unless GRU */
    int64_t col, cols;
} qn_rnn_panel;
int64_t qn_rnn_panels(const qn_rnn_job *job, int64_t parts);
qn_rnn_panel qn_rnn_panel_at(const qn_rnn_job *job, int64_t parts, int64_t index);

/* c [rows, cols] (+)= a b + bias for one panel of at most the tile's columns; a's rows are `lda` words apart. */
typedef struct {
    int64_t rows, cols, depth;
    const float *a;
    int64_t lda;
    const float *b; /* [depth, cols] */
    float *c;
    int64_t ldc;
    const float *bias;
    bool add;
} qn_rnn_product;
void qn_rnn_multiply(const qn_rnn_job *job, const qn_rnn_product *product);

/* Gradients of weights and biases of a direction: sum (+)= slopes of many steps times [x, 1, state] (rnn_weights.c). In
 * words, behind [room, behind_cols] is x, 1, the state before and, where a GRU resets first, r times it; slopes are
 * [room, pitch] or, where pitch is 0, [panel][room][cols of the panel]; `words` of the room are summed. sum is
 * [behind_cols, slopes hidden]. */
typedef struct {
    const qn_rnn_job *common;
    int64_t room, words, behind_cols, pitch;
    const float *behind, *slopes;
    float *sum;
    bool add;
} qn_rnn_weights;
/* By one worker, or by all. */
void qn_rnn_weights_add(const qn_rnn_weights *weights);
void qn_rnn_weights_sum(qn_pool *pool, const qn_rnn_weights *weights);
/* From the sum to where direction d's gradients are wanted. */
void qn_rnn_weights_take(qn_pool *pool, const qn_rnn_weights *weights, const qn_rnn_grad *grad,
                         int64_t d);

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
static inline int64_t qn_rnn_kept(const qn_rnn *io, int64_t d, int64_t t, int64_t b)
{
    return d * io->steps * io->batch + qn_rnn_in(io, t, b);
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

static inline int64_t qn_rnn_state_pitch(const qn_rnn *io)
{
    return io->batch_first ? io->dirs : 1;
}

static inline bool qn_rnn_is_reverse(const qn_rnn *io, int64_t d)
{
    return io->reverse || d == 1;
}

#endif
