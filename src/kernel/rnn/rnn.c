/*
 * Recurrent networks forward. For each direction: the input's part of all gates into `kept`, recurrent weights turned
 * so that a product reads them row by row, then rows of the batch through time.
 */
#include "kernel/rnn/rnn.h"

#include <string.h>

#include "base/checked.h"
#include "kernel/carve.h"
#include "kernel/gemm/gemm.h"
#include "kernel/isa.h"
#include "kernel/rnn/rnn_priv.h"

qn_rnn_job qn_rnn_job_make(const qn_rnn *io)
{
    static const qn_rnn_kernels *const rows[QN_CPU_LEVELS] = QN_ISA_ROWS(qn_rnn_f32);
    bool lstm = io->kind == QN_RNN_LSTM, gru = io->kind == QN_RNN_GRU;
    return (qn_rnn_job){.io = io,
                        .tile = qn_tile_f32(),
                        .rows = rows[qn_cpu_level()],
                        .gates = lstm  ? 4
                                 : gru ? 3
                                       : 1,
                        .kept = lstm  ? 5
                                : gru ? 4
                                      : 1,
                        .slopes = lstm || gru ? 4 : 1};
}

typedef struct {
    qn_rnn_job common;
    const qn_rnn_result *result;
    int64_t d;
    float *turned; /* [hidden, gates hidden] */
    float *bias;   /* [gates hidden] */
    float *reset;  /* [batch, hidden]: r h of a GRU that resets first */
    void *gemm;
} job;

/* The input's part of every gate of every step. */
static qn_gemm input_product(const job *j)
{
    const qn_rnn *io = j->common.io;
    int64_t n = io->hidden, wide = j->common.gates * n, rows = io->steps * io->batch;
    float *kept = j->result ? j->result->kept : NULL;
    return (qn_gemm){.m = rows,
                     .n = wide,
                     .k = io->input,
                     .a = io->x,
                     .b = io->weight ? io->weight + j->d * wide * io->input : NULL,
                     .bias = io->bias ? j->bias : NULL,
                     .c = kept ? kept + j->d * rows * j->common.kept * n : NULL,
                     .lda = io->input,
                     .ldb = io->input,
                     .ldc = j->common.kept * n,
                     .trans_b = true,
                     .alpha = 1};
}

static void job_carve(job *j, qn_carve *carve, int threads)
{
    const qn_rnn *io = j->common.io;
    size_t wide = (size_t)(j->common.gates * io->hidden) * sizeof(float);
    qn_gemm gemm = input_product(j);
    j->turned = qn_carve_take(carve, wide * (size_t)io->hidden);
    j->bias = qn_carve_take(carve, wide);
    j->reset = qn_carve_take(
        carve, io->reset_first ? (size_t)(io->batch * io->hidden) * sizeof(float) : 0);
    j->gemm = qn_carve_take(carve, qn_gemm_f32_scratch_bytes(&gemm, threads));
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

static float *kept_row(const job *j, int64_t t, int64_t b)
{
    const qn_rnn *io = j->common.io;
    int64_t row = j->d * io->steps * io->batch + qn_rnn_in(io, t, b);
    return j->result->kept + row * j->common.kept * io->hidden;
}

/* r h of rows [b, b + count), in place of the state for the candidate's product. */
static void reset_state(const job *j, int64_t t, int64_t b, int64_t count, qn_tile_product *p)
{
    const qn_rnn *io = j->common.io;
    int64_t n = io->hidden;
    for (int64_t i = b; i < b + count; i++)
        j->common.rows->gru_gates(kept_row(j, t, i), j->result->h + qn_rnn_state(io, j->d, i) * n,
                                  j->reset + i * n, n);
    p->a = j->reset + b * n;
    p->a_row = n;
}

/* The state's part of the gates of rows [b, b + count) at time t. */
static void add_state(const job *j, int64_t t, int64_t b, int64_t count)
{
    const qn_rnn *io = j->common.io;
    int64_t n = io->hidden, wide = j->common.gates * n, kept = j->common.kept * n;
    bool gru = io->kind == QN_RNN_GRU;
    qn_tile_product p = {.rows = count,
                         .cols = gru ? 2 * n : wide,
                         .depth = n,
                         .a = j->result->h + qn_rnn_state(io, j->d, b) * n,
                         .a_row = qn_rnn_state_pitch(io) * n,
                         .a_col = 1,
                         .b = j->turned,
                         .ldb = wide,
                         .ldc = qn_rnn_pitch(io) * kept,
                         .add = true};
    p.c = kept_row(j, t, b);
    qn_tile_multiply(j->common.tile, &p);
    if (!gru)
        return;
    p.cols = n;
    p.b += 2 * n;
    p.c += 3 * n;
    p.add = false;
    if (io->reset_first)
        reset_state(j, t, b, count, &p);
    p.bias = io->bias ? io->bias + (2 * j->d + 1) * wide + 2 * n : NULL;
    qn_tile_multiply(j->common.tile, &p);
}

/* `step`: where time goes, 1 or -1; 0 at the end. */
static void finish_row(const job *j, int64_t t, int64_t b, int64_t step)
{
    const qn_rnn *io = j->common.io;
    const qn_rnn_kernels *rows = j->common.rows;
    int64_t n = io->hidden, kept = j->common.kept * n, state = qn_rnn_state(io, j->d, b) * n;
    float *a = kept_row(j, t, b);
    float *y = j->result->y + qn_rnn_out(io, j->d, t, b) * n, *h = j->result->h + state;
    qn_rnn_fetch(a + step * qn_rnn_step(io) * kept, kept);
    if (t >= qn_rnn_length(io, b)) {
        memset(y, 0, (size_t)n * sizeof *y);
        memset(a, 0, (size_t)kept * sizeof *a);
        return;
    }
    if (io->kind == QN_RNN_LSTM)
        rows->lstm(a, h, j->result->c + state, n);
    else if (io->kind == QN_RNN_GRU && io->reset_first)
        rows->gru_first(a, h, n);
    else if (io->kind == QN_RNN_GRU)
        rows->gru(a, h, n);
    else
        rows->plain(a, h, io->kind == QN_RNN_RELU, n);
    memcpy(y, h, (size_t)n * sizeof *y);
}

static void begin_state(float *dst, const float *src, int64_t count)
{
    if (src)
        memcpy(dst, src, (size_t)count * sizeof *dst);
    else
        memset(dst, 0, (size_t)count * sizeof *dst);
}

static void rows_chunk(void *context, int64_t chunk, int worker)
{
    const job *j = context;
    const qn_rnn *io = j->common.io;
    int64_t b = chunk * QN_RNN_ROWS, count = qn_min_i64(QN_RNN_ROWS, io->batch - b);
    (void)worker;
    for (int64_t i = b; i < b + count; i++) {
        int64_t at = qn_rnn_state(io, j->d, i) * io->hidden;
        begin_state(j->result->h + at, io->h0 ? io->h0 + at : NULL, io->hidden);
        if (io->kind == QN_RNN_LSTM)
            begin_state(j->result->c + at, io->c0 ? io->c0 + at : NULL, io->hidden);
    }
    for (int64_t s = 0; s < io->steps; s++) {
        bool reverse = qn_rnn_is_reverse(io, j->d);
        int64_t t = reverse ? io->steps - 1 - s : s, step = reverse ? -1 : 1;
        add_state(j, t, b, count);
        for (int64_t i = b; i < b + count; i++)
            finish_row(j, t, i, s + 1 < io->steps ? step : 0);
    }
}

void qn_rnn_f32(qn_pool *pool, const qn_rnn *io, const qn_rnn_result *result, void *scratch)
{
    job j = {.common = qn_rnn_job_make(io), .result = result};
    qn_carve carve = {.base = scratch};
    int64_t wide = j.common.gates * io->hidden;
    job_carve(&j, &carve, 1);
    for (j.d = 0; j.d < io->dirs; j.d++) {
        if (io->bias)
            join_bias(&j);
        qn_gemm gemm = input_product(&j);
        qn_gemm_f32(pool, &gemm, j.gemm);
        j.common.tile->transpose(j.turned, wide, io->recurrent + j.d * wide * io->hidden,
                                 io->hidden, io->hidden, wide);
        qn_pool_run(pool, rows_chunk, &j, (io->batch + QN_RNN_ROWS - 1) / QN_RNN_ROWS);
    }
}
