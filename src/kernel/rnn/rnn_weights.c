/*
 * Gradients of weights and biases: sum over all steps and rows of the batch of [x, 1, state]' slopes, [input + 1 +
 * hidden, gates hidden], turned as it is taken apart. The 1 makes the sums of the biases one more row of it.
 *
 *                  slopes: panels of [words][cols]       A piece of work is a few panels and a block of rows of the
 *   behind         +-------+-------+                     sum. It goes through all words in parts that L1 holds, so each
 *   [words][cols]' |       |       |                     element is one chain in an order that the shapes give.
 */
#include <string.h>

#include "base/checked.h"
#include "kernel/rnn/rnn_priv.h"

enum {
    BLOCK_ROWS = 80,  /* ten tiles: a panel's part is read once for all of them */
    BLOCK_PANELS = 4, /* that read rows of `behind`, 40 KiB at a time, while L2 has them */
    BLOCK_WORDS = 128 /* of a panel, 24 KiB, in L1 for all tiles */
};

/* Rows of the sum that a part of the slopes has: a GRU's candidate is x's in one part and the state's in another. */
static int64_t part_rows(const qn_rnn_weights *w, int64_t part, int64_t *ret_first)
{
    const qn_rnn *io = w->common->io;
    int64_t in = io->input, n = io->hidden;
    *ret_first = part < 3 ? 0 : io->reset_first ? in + 1 + n : in;
    if (part < 2)
        return in + 1 + n;
    return part == 2 ? in + 1 : io->reset_first ? n : n + 1;
}

/* Rows [at, at + BLOCK_ROWS) of what a panel's part has, words [k, k + depth). */
static void block_panel(const qn_rnn_weights *w, int64_t index, int64_t at, int64_t k,
                        int64_t depth)
{
    static const int64_t origin[1] = {0};
    const qn_rnn_job *job = w->common;
    int64_t first, row[BLOCK_ROWS];
    qn_rnn_panel panel = qn_rnn_panel_at(job, job->slopes, index);
    int64_t rows = qn_min_i64(BLOCK_ROWS, part_rows(w, panel.part, &first) - at);
    for (int64_t i = 0; i < rows; i++)
        row[i] = first + at + i;
    qn_strip s = {.rows = rows,
                  .cols = (int)panel.cols,
                  .a = w->behind + k * w->behind_cols,
                  .row = row,
                  .seg = origin,
                  .segs = 1,
                  .seg_len = depth,
                  .step = w->behind_cols,
                  .b = w->slopes + (w->pitch ? 1 : w->room) * panel.col,
                  .ldb = w->pitch ? w->pitch : panel.cols,
                  .ldc = job->slopes * job->io->hidden,
                  .add = w->add || k > 0};
    s.b += k * s.ldb;
    s.c = w->sum + (first + at) * s.ldc + panel.col;
    if (rows > 0)
        job->tile->strip(&s);
}

static void block(void *context, int64_t chunk, int worker)
{
    const qn_rnn_weights *w = context;
    int64_t panels = qn_rnn_panels(w->common, w->common->slopes);
    int64_t groups = (panels + BLOCK_PANELS - 1) / BLOCK_PANELS;
    int64_t first = chunk % groups * BLOCK_PANELS, k = 0;
    int64_t end = qn_min_i64(first + BLOCK_PANELS, panels);
    (void)worker;
    qn_tile_begin(w->common->tile);
    do { /* once for no words at all, which gives zeros */
        int64_t depth = qn_min_i64(BLOCK_WORDS, w->words - k);
        for (int64_t panel = first; panel < end; panel++)
            block_panel(w, panel, chunk / groups * BLOCK_ROWS, k, depth);
        k += depth;
    } while (k < w->words);
    qn_tile_end(w->common->tile);
}

/* The sum's rows from `row` on, its columns from `col` on, as `depth` rows of a weight's gradient. */
static void turn(const qn_rnn_weights *w, float *dst, int64_t row, int64_t col, int64_t depth,
                 int64_t cols)
{
    int64_t wide = w->common->slopes * w->common->io->hidden;
    w->common->tile->transpose(dst, cols, w->sum + row * wide + col, wide, depth, cols);
}

typedef struct {
    const qn_rnn_weights *weights;
    float *weight, *recurrent; /* gradients of the direction, or NULL */
} taking;

/* The rows of one gate. */
static void take_gate(void *context, int64_t gate, int worker)
{
    const taking *t = context;
    const qn_rnn_weights *w = t->weights;
    const qn_rnn *io = w->common->io;
    int64_t n = io->hidden, state = io->input + 1;
    bool candidate = io->kind == QN_RNN_GRU && gate == 2;
    (void)worker;
    if (t->weight)
        turn(w, t->weight + gate * n * io->input, 0, gate * n, n, io->input);
    if (t->recurrent)
        turn(w, t->recurrent + gate * n * n, candidate && io->reset_first ? state + n : state,
             (candidate ? 3 : gate) * n, n, n);
}

/* Both biases have one gradient, but for a GRU's candidate that is reset after its product. */
static void take_bias(const qn_rnn_weights *w, float *dst)
{
    const qn_rnn *io = w->common->io;
    int64_t n = io->hidden, wide = w->common->gates * n;
    const float *ones = w->sum + io->input * w->common->slopes * n;
    memcpy(dst, ones, (size_t)wide * sizeof *dst);
    memcpy(dst + wide, ones, (size_t)wide * sizeof *dst);
    if (io->kind == QN_RNN_GRU && !io->reset_first)
        memcpy(dst + wide + 2 * n, ones + 3 * n, (size_t)n * sizeof *dst);
}

static int64_t blocks(const qn_rnn_weights *w)
{
    const qn_rnn *io = w->common->io;
    int64_t panels = qn_rnn_panels(w->common, w->common->slopes);
    return (io->input + 1 + io->hidden + BLOCK_ROWS - 1) / BLOCK_ROWS *
           ((panels + BLOCK_PANELS - 1) / BLOCK_PANELS);
}

void qn_rnn_weights_add(const qn_rnn_weights *weights)
{
    qn_rnn_weights copy = *weights;
    for (int64_t i = 0; i < blocks(weights); i++)
        block(&copy, i, 0);
}

void qn_rnn_weights_sum(qn_pool *pool, const qn_rnn_weights *weights)
{
    qn_rnn_weights copy = *weights;
    qn_pool_run(pool, block, &copy, blocks(weights));
}

void qn_rnn_weights_take(qn_pool *pool, const qn_rnn_weights *weights, const qn_rnn_grad *grad,
                         int64_t d)
{
    const qn_rnn *io = weights->common->io;
    int64_t n = io->hidden, wide = weights->common->gates * n;
    taking t = {.weights = weights};
    if (grad->dweight)
        t.weight = grad->dweight + d * wide * io->input;
    if (grad->drecurrent)
        t.recurrent = grad->drecurrent + d * wide * n;
    qn_pool_run(pool, take_gate, &t, weights->common->gates);
    if (grad->dbias)
        take_bias(weights, grad->dbias + 2 * d * wide);
}
