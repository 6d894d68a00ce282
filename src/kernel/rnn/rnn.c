/*
 * Recurrent networks forward. For each direction: both weights turned into panels, then rows of the batch through time.
 *
 *      rows of a worker, words          panels, words             sums, f32
 *      +----+-------+                +--------+--------+      +----------------+
 *      | x  | state |       x        | W' W'  ...      |  =   | i   o   f   g  |  -> gates, state, y
 *      +----+-------+                | R' R'  ...      |      +----------------+
 *                                    +--------+--------+
 */
#include "kernel/rnn/rnn.h"

#include <string.h>

#include "base/checked.h"
#include "kernel/carve.h"
#include "kernel/rnn/rnn_priv.h"

typedef struct {
    qn_rnn_job common;
    const qn_rnn_result *result;
    int64_t d, depth; /* words of x and the state */
    float *panels;    /* [panel][depth][cols] */
    float *bias;      /* [gates hidden] */
    char *workers;
    size_t worker_bytes;
} job;

/* One worker's rows. */
typedef struct {
    const job *j;
    int64_t b, count;
    float *factors; /* words [rows, depth] */
    float *state;   /* [rows, hidden], where the words are no f32 */
    float *sums;    /* [rows, kept hidden] */
    float *reset;   /* words [rows, state_words]: r h of a GRU that resets first */
} crew;

static void crew_carve(crew *w, const job *j, qn_carve *carve)
{
    int64_t n = j->common.io->hidden, rows = QN_RNN_ROWS;
    size_t wide = j->common.pairs ? (size_t)(rows * n) : 0;
    size_t first = j->common.io->reset_first ? (size_t)(rows * j->common.state_words) : 0;
    w->j = j;
    w->factors = qn_carve_take(carve, (size_t)(rows * j->depth) * sizeof(float));
    w->state = qn_carve_take(carve, wide * sizeof(float));
    w->sums = qn_carve_take(carve, (size_t)(rows * j->common.kept * n) * sizeof(float));
    w->reset = qn_carve_take(carve, first * sizeof(float));
}

static void job_carve(job *j, qn_carve *carve, int threads)
{
    size_t wide = (size_t)(j->common.gates * j->common.io->hidden) * sizeof(float);
    j->depth = j->common.in_words + j->common.state_words;
    qn_carve one = {0};
    crew_carve(&(crew){0}, j, &one);
    j->worker_bytes = one.used;
    j->panels = qn_carve_take(carve, wide * (size_t)j->depth);
    j->bias = qn_carve_take(carve, wide);
    j->workers = qn_carve_take(carve, j->worker_bytes * (size_t)threads);
}

size_t qn_rnn_scratch_bytes(const qn_rnn *io, int threads)
{
    job j = {.common = qn_rnn_job_make(io)};
    qn_carve carve = {0};
    job_carve(&j, &carve, threads);
    return carve.used;
}

/* Both biases in one, but the state's of a GRU's candidate, which the reset gate scales. */
static void join_bias(const job *j)
{
    const qn_rnn *io = j->common.io;
    int64_t wide = j->common.gates * io->hidden;
    int64_t joined = io->kind == QN_RNN_GRU ? 2 * io->hidden : wide;
    const float *bias = io->bias + 2 * j->d * wide;
    for (int64_t i = 0; i < wide; i++)
        j->bias[i] = bias[i] + (i < joined ? bias[wide + i] : 0);
}

/* Panels of one direction, by way of rows of words in a worker's memory. */
static void pack_panel(void *context, int64_t chunk, int worker)
{
    const job *j = context;
    const qn_rnn *io = j->common.io;
    int64_t n = io->hidden, first = j->d * j->common.gates * n, in = j->common.in_words;
    qn_rnn_panel panel = qn_rnn_panel_at(&j->common, j->common.gates, chunk);
    float *rows = (float *)(void *)(j->workers + (size_t)worker * j->worker_bytes);
    float *dst = j->panels + j->depth * panel.col;
    for (int64_t col = 0; col < panel.cols; col += QN_RNN_ROWS) {
        int64_t count = qn_min_i64(QN_RNN_ROWS, panel.cols - col);
        for (int64_t i = 0; i < count; i++) {
            int64_t row = first + panel.col + col + i;
            qn_rnn_words_take(&j->common, rows + i * j->depth, io->weight + row * io->input,
                              io->input);
            qn_rnn_words_take(&j->common, rows + i * j->depth + in, io->recurrent + row * n, n);
        }
        j->common.tile->transpose(dst + col, panel.cols, rows, j->depth, j->depth, count);
    }
}

static float *row_state(const crew *w, int64_t i)
{
    const qn_rnn_job *common = &w->j->common;
    if (common->pairs)
        return w->state + i * common->io->hidden;
    return w->factors + i * w->j->depth + common->in_words;
}

/* The candidate of a GRU from the state's side, behind that from x's. */
static void add_candidate(const crew *w, qn_rnn_panel panel)
{
    const job *j = w->j;
    const qn_rnn *io = j->common.io;
    int64_t n = io->hidden, in = j->common.in_words;
    qn_rnn_product p = {.rows = w->count,
                        .cols = panel.cols,
                        .depth = j->common.state_words,
                        .a = io->reset_first ? w->reset : w->factors + in,
                        .lda = io->reset_first ? j->common.state_words : j->depth,
                        .b = j->panels + j->depth * panel.col + in * panel.cols,
                        .c = w->sums + n + panel.col,
                        .ldc = j->common.kept * n};
    if (io->bias)
        p.bias = io->bias + (2 * j->d + 1) * j->common.gates * n + panel.col;
    qn_rnn_multiply(&j->common, &p);
}

/* Sums of all gates, but for the candidate's part of the state where the reset gate comes first. */
static void add_gates(const crew *w)
{
    const job *j = w->j;
    const qn_rnn *io = j->common.io;
    for (int64_t i = 0; i < qn_rnn_panels(&j->common, j->common.gates); i++) {
        qn_rnn_panel panel = qn_rnn_panel_at(&j->common, j->common.gates, i);
        bool candidate = panel.part == 2;
        qn_rnn_multiply(&j->common,
                        &(qn_rnn_product){.rows = w->count,
                                          .cols = panel.cols,
                                          .depth = candidate ? j->common.in_words : j->depth,
                                          .a = w->factors,
                                          .lda = j->depth,
                                          .b = j->panels + j->depth * panel.col,
                                          .c = w->sums + panel.col,
                                          .ldc = j->common.kept * io->hidden,
                                          .bias = io->bias ? j->bias + panel.col : NULL});
        if (candidate && !io->reset_first)
            add_candidate(w, panel);
    }
}

/* z and r of a GRU that resets first, r h in place of the state, and its part of the candidate. */
static void reset_state(const crew *w)
{
    const job *j = w->j;
    int64_t n = j->common.io->hidden, words = j->common.state_words;
    for (int64_t i = 0; i < w->count; i++) {
        float *sums = w->sums + i * j->common.kept * n, *reset = w->reset + i * words;
        float *exact = j->common.pairs ? sums + 3 * n : reset; /* free until the product comes */
        j->common.rows->gru_gates(sums, exact, row_state(w, i), n);
        if (j->common.pairs)
            qn_rnn_words_take(&j->common, reset, exact, n);
    }
    for (int64_t i = 0; i < qn_rnn_panels(&j->common, j->common.gates); i++) {
        qn_rnn_panel panel = qn_rnn_panel_at(&j->common, j->common.gates, i);
        if (panel.part == 2)
            add_candidate(w, panel);
    }
}

/* `step`: where time goes, 1 or -1; 0 at the end. */
static void finish_row(const crew *w, int64_t t, int64_t i, int64_t step)
{
    const job *j = w->j;
    const qn_rnn *io = j->common.io;
    const qn_rnn_kernels *rows = j->common.rows;
    int64_t n = io->hidden, wide = j->common.kept * n, b = w->b + i;
    float *sums = w->sums + i * wide, *kept = sums, *h = row_state(w, i);
    float *y = j->result->y + qn_rnn_out(io, j->d, t, b) * n;
    qn_rnn_fetch(j->result->y + qn_rnn_out(io, j->d, t + step, b) * n, n);
    if (j->result->kept) {
        kept = j->result->kept + qn_rnn_kept(io, j->d, t, b) * wide;
        qn_rnn_fetch(kept + step * qn_rnn_step(io) * wide, wide);
    }
    if (t >= qn_rnn_length(io, b)) {
        memset(y, 0, (size_t)n * sizeof *y);
        memset(kept, 0, (size_t)wide * sizeof *kept);
        return;
    }
    if (io->kind == QN_RNN_LSTM)
        rows->lstm(kept, y, h, j->result->c + qn_rnn_state(io, j->d, b) * n, sums, n);
    else if (io->kind == QN_RNN_GRU && io->reset_first)
        rows->gru_first(kept, y, h, sums, n);
    else if (io->kind == QN_RNN_GRU)
        rows->gru(kept, y, h, sums, n);
    else
        rows->plain(kept, y, h, sums, io->kind == QN_RNN_RELU, n);
    if (j->common.pairs)
        qn_rnn_words_take(&j->common, w->factors + i * j->depth + j->common.in_words, h, n);
}

static void begin_state(float *dst, const float *src, int64_t count)
{
    if (src)
        memcpy(dst, src, (size_t)count * sizeof *dst);
    else
        memset(dst, 0, (size_t)count * sizeof *dst);
}

static void crew_begin(const crew *w)
{
    const job *j = w->j;
    const qn_rnn *io = j->common.io;
    for (int64_t i = 0; i < w->count; i++) {
        int64_t at = qn_rnn_state(io, j->d, w->b + i) * io->hidden;
        begin_state(row_state(w, i), io->h0 ? io->h0 + at : NULL, io->hidden);
        if (j->common.pairs)
            qn_rnn_words_take(&j->common, w->factors + i * j->depth + j->common.in_words,
                              row_state(w, i), io->hidden);
        if (io->kind == QN_RNN_LSTM)
            begin_state(j->result->c + at, io->c0 ? io->c0 + at : NULL, io->hidden);
    }
}

static void rows_chunk(void *context, int64_t chunk, int worker)
{
    const job *j = context;
    const qn_rnn *io = j->common.io;
    crew w = {.b = chunk * QN_RNN_ROWS};
    w.count = qn_min_i64(QN_RNN_ROWS, io->batch - w.b);
    crew_carve(&w, j, &(qn_carve){.base = j->workers + (size_t)worker * j->worker_bytes});
    crew_begin(&w);
    qn_tile_begin(j->common.tile);
    for (int64_t s = 0; s < io->steps; s++) {
        bool reverse = qn_rnn_is_reverse(io, j->d);
        int64_t t = reverse ? io->steps - 1 - s : s, step = reverse ? -1 : 1;
        for (int64_t i = 0; i < w.count; i++)
            qn_rnn_words_take(&j->common, w.factors + i * j->depth,
                              io->x + qn_rnn_in(io, t, w.b + i) * io->input, io->input);
        add_gates(&w);
        if (io->reset_first)
            reset_state(&w);
        for (int64_t i = 0; i < w.count; i++)
            finish_row(&w, t, i, s + 1 < io->steps ? step : 0);
    }
    qn_tile_end(j->common.tile);
    for (int64_t i = 0; i < w.count; i++)
        memcpy(j->result->h + qn_rnn_state(io, j->d, w.b + i) * io->hidden, row_state(&w, i),
               (size_t)io->hidden * sizeof(float));
}

void qn_rnn_f32(qn_pool *pool, const qn_rnn *io, const qn_rnn_result *result, void *scratch)
{
    job j = {.common = qn_rnn_job_make(io), .result = result};
    job_carve(&j, &(qn_carve){.base = scratch}, qn_pool_threads(pool));
    for (j.d = 0; j.d < io->dirs; j.d++) {
        if (io->bias)
            join_bias(&j);
        qn_pool_run(pool, pack_panel, &j, qn_rnn_panels(&j.common, j.common.gates));
        qn_pool_run(pool, rows_chunk, &j, (io->batch + QN_RNN_ROWS - 1) / QN_RNN_ROWS);
    }
}
