/*
 * Recurrent networks backward. Rows of the batch go back through time, each step leaving its slopes (gradients before
 * the activations) and the state it began with; every weight's gradient is then one product over all steps.
 */
#include <string.h>

#include "base/checked.h"
#include "kernel/carve.h"
#include "kernel/gemm/gemm.h"
#include "kernel/reduce/reduce.h"
#include "kernel/rnn/rnn_priv.h"

typedef struct {
    qn_rnn_job common;
    const qn_rnn_grad *grad;
    int64_t d;
    float *before; /* [rows of x, hidden]: the state before each step */
    float *reset;  /* the same times r, of a GRU that resets first */
    float *
        pulled; /* [batch, hidden]: of such a GRU, what came back through the candidate's product */
    float *seen;  /* x without the steps beyond a row's length, where there are lengths */
    float *zeros; /* [hidden] */
    float *sums;  /* [slopes hidden] */
    void *work;   /* of products and sums */
} job;

enum { PRODUCT_X, PRODUCT_WEIGHT, PRODUCT_RECURRENT, PRODUCT_CANDIDATE, PRODUCTS };

/* The four products over all steps; the last one for a GRU's candidate, whose slopes from the state lie apart. */
static qn_gemm product_of(const job *j, int which)
{
    const qn_rnn *io = j->common.io;
    const qn_rnn_grad *g = j->grad;
    int64_t n = io->hidden, wide = j->common.gates * n, rows = io->steps * io->batch;
    bool gru = io->kind == QN_RNN_GRU;
    qn_gemm p = {.lda = j->common.slopes * n, .alpha = 1};
    p.a = g ? g->slopes + j->d * rows * p.lda : NULL;
    if (which == PRODUCT_X) {
        p.m = rows;
        p.n = p.ldb = p.ldc = io->input;
        p.k = wide;
        p.b = g ? io->weight + j->d * wide * io->input : NULL;
        p.c = g ? g->dx : NULL;
        p.beta = j->d > 0 ? 1 : 0;
        return p;
    }
    p.trans_a = true;
    p.k = rows;
    p.m = which == PRODUCT_WEIGHT ? wide : which == PRODUCT_CANDIDATE ? n : gru ? 2 * n : wide;
    p.n = p.ldb = p.ldc = which == PRODUCT_WEIGHT ? io->input : n;
    p.b = which == PRODUCT_WEIGHT                         ? (io->ragged ? j->seen : io->x)
          : which == PRODUCT_CANDIDATE && io->reset_first ? j->reset
                                                          : j->before;
    if (g && which == PRODUCT_WEIGHT)
        p.c = g->dweight ? g->dweight + j->d * wide * io->input : NULL;
    else if (g)
        p.c = g->drecurrent ? g->drecurrent + j->d * wide * n : NULL;
    if (p.c && which == PRODUCT_CANDIDATE) {
        p.a += 3 * n;
        p.c += 2 * n * n;
    }
    return p;
}

static void job_carve(job *j, qn_carve *carve, int threads)
{
    const qn_rnn *io = j->common.io;
    int64_t rows = io->steps * io->batch;
    qn_reduce_shape sums = {1, rows, j->common.slopes * io->hidden};
    size_t work = qn_reduce_f32_scratch_bytes(&sums);
    for (int i = 0; i < PRODUCTS; i++) {
        qn_gemm p = product_of(j, i);
        size_t need = qn_gemm_f32_scratch_bytes(&p, threads);
        work = need > work ? need : work;
    }
    j->before = qn_carve_take(carve, (size_t)(rows * io->hidden) * sizeof(float));
    size_t first = io->reset_first ? (size_t)io->hidden * sizeof(float) : 0;
    j->reset = qn_carve_take(carve, (size_t)rows * first);
    j->pulled = qn_carve_take(carve, (size_t)io->batch * first);
    j->seen = qn_carve_take(carve, io->ragged ? (size_t)(rows * io->input) * sizeof(float) : 0);
    j->zeros = qn_carve_take(carve, (size_t)io->hidden * sizeof(float));
    j->sums = qn_carve_take(carve, (size_t)sums.inner * sizeof(float));
    j->work = qn_carve_take(carve, work);
}

size_t qn_rnn_grad_scratch_bytes(const qn_rnn *io, int threads)
{
    job j = {.common = qn_rnn_job_make(io)};
    qn_carve carve = {0};
    job_carve(&j, &carve, threads);
    return carve.used;
}

/* The state row b had before time t: `first` where t is its first step, else that of its step before. */
static const float *state_before(const job *j, int64_t t, int64_t b, bool cell)
{
    const qn_rnn *io = j->common.io;
    const float *initial = cell ? io->c0 : io->h0;
    bool reverse = qn_rnn_is_reverse(io, j->d);
    bool first = reverse ? t == qn_rnn_length(io, b) - 1 : t == 0;
    int64_t n = io->hidden, then = reverse ? t + 1 : t - 1;
    if (first)
        return initial ? initial + qn_rnn_state(io, j->d, b) * n : j->zeros;
    if (!cell)
        return j->grad->y + qn_rnn_out(io, j->d, then, b) * n;
    int64_t row = j->d * io->steps * io->batch + qn_rnn_in(io, then, b);
    return j->grad->kept + row * j->common.kept * n + 4 * n;
}

/* `step`: where time goes, 1 or -1; 0 at the end. */
static void back_row(const job *j, int64_t t, int64_t b, int64_t step)
{
    const qn_rnn *io = j->common.io;
    const qn_rnn_kernels *rows = j->common.rows;
    const qn_rnn_grad *g = j->grad;
    int64_t n = io->hidden, in = qn_rnn_in(io, t, b), row = j->d * io->steps * io->batch + in;
    int64_t state = qn_rnn_state(io, j->d, b) * n;
    const float *a = g->kept + row * j->common.kept * n;
    float *slopes = g->slopes + row * j->common.slopes * n, *dh = g->dh0 + state;
    float *before = j->before + in * n;
    int64_t ahead = step * qn_rnn_step(io);
    qn_rnn_fetch(a + ahead * j->common.kept * n, j->common.kept * n);
    qn_rnn_fetch(slopes + ahead * j->common.slopes * n, j->common.slopes * n);
    if (t >= qn_rnn_length(io, b)) {
        memset(slopes, 0, (size_t)(j->common.slopes * n) * sizeof *slopes);
        memset(before, 0, (size_t)n * sizeof *before);
        return;
    }
    memcpy(before, state_before(j, t, b, false), (size_t)n * sizeof *before);
    for (int64_t i = 0; g->dy && i < n; i++)
        dh[i] += g->dy[qn_rnn_out(io, j->d, t, b) * n + i];
    if (io->kind == QN_RNN_LSTM)
        rows->lstm_grad(slopes, a, state_before(j, t, b, true), dh, g->dc0 + state, n);
    else if (io->kind == QN_RNN_GRU && io->reset_first)
        rows->gru_first_grad(slopes, a, before, dh, n);
    else if (io->kind == QN_RNN_GRU)
        rows->gru_grad(slopes, a, before, dh, n);
    else
        rows->plain_grad(slopes, a, dh, io->kind == QN_RNN_RELU, n);
}

/* dh of rows [b, b + count) += their slopes at time t through the recurrent weights. */
static void pull_state(const job *j, int64_t t, int64_t b, int64_t count)
{
    const qn_rnn *io = j->common.io;
    int64_t n = io->hidden, wide = j->common.gates * n, slopes = j->common.slopes * n;
    bool gru = io->kind == QN_RNN_GRU;
    qn_tile_product p = {.rows = count,
                         .cols = n,
                         .depth = gru ? 2 * n : wide,
                         .a_row = qn_rnn_pitch(io) * slopes,
                         .a_col = 1,
                         .b = io->recurrent + j->d * wide * n,
                         .ldb = n,
                         .c = j->grad->dh0 + qn_rnn_state(io, j->d, b) * n,
                         .ldc = qn_rnn_state_pitch(io) * n,
                         .add = true};
    p.a = j->grad->slopes + (j->d * io->steps * io->batch + qn_rnn_in(io, t, b)) * slopes;
    qn_tile_multiply(j->common.tile, &p);
    if (!gru || io->reset_first)
        return;
    p.a += 3 * n;
    p.b += 2 * n * n;
    p.depth = n;
    qn_tile_multiply(j->common.tile, &p);
}

/* Of a GRU that resets first: through the candidate's product, then the slopes of r. */
static void pull_reset(const job *j, int64_t t, int64_t b, int64_t count)
{
    const qn_rnn *io = j->common.io;
    int64_t n = io->hidden, wide = j->common.gates * n, slopes = j->common.slopes * n;
    int64_t first = j->d * io->steps * io->batch;
    qn_tile_product p = {.rows = count,
                         .cols = n,
                         .depth = n,
                         .a = j->grad->slopes + (first + qn_rnn_in(io, t, b)) * slopes + 3 * n,
                         .a_row = qn_rnn_pitch(io) * slopes,
                         .a_col = 1,
                         .b = io->recurrent + j->d * wide * n + 2 * n * n,
                         .ldb = n,
                         .c = j->pulled + b * n,
                         .ldc = n};
    qn_tile_multiply(j->common.tile, &p);
    for (int64_t i = b; i < b + count; i++) {
        int64_t in = qn_rnn_in(io, t, i);
        float *reset = j->reset + in * n;
        memcpy(reset, j->before + in * n, (size_t)n * sizeof *reset);
        j->common.rows->gru_reset_grad(j->grad->slopes + (first + in) * slopes,
                                       j->grad->kept + (first + in) * j->common.kept * n, reset,
                                       j->pulled + i * n,
                                       j->grad->dh0 + qn_rnn_state(io, j->d, i) * n, n);
    }
}

/* Whatever stands beyond a row's length, it must not meet the zeros of its slopes: 0 times NaN is NaN. */
static void copy_seen(const job *j)
{
    const qn_rnn *io = j->common.io;
    for (int64_t i = 0; i < io->steps * io->batch; i++) {
        int64_t b = i % io->batch, t = i / io->batch, at = qn_rnn_in(io, t, b) * io->input;
        if (t < qn_rnn_length(io, b))
            memcpy(j->seen + at, io->x + at, (size_t)io->input * sizeof *j->seen);
        else
            memset(j->seen + at, 0, (size_t)io->input * sizeof *j->seen);
    }
}

static void begin(float *dst, const float *src, int64_t at, int64_t count)
{
    if (src)
        memcpy(dst + at, src + at, (size_t)count * sizeof *dst);
    else
        memset(dst + at, 0, (size_t)count * sizeof *dst);
}

static void rows_chunk(void *context, int64_t chunk, int worker)
{
    const job *j = context;
    const qn_rnn *io = j->common.io;
    int64_t b = chunk * QN_RNN_ROWS, count = qn_min_i64(QN_RNN_ROWS, io->batch - b);
    (void)worker;
    for (int64_t i = b; i < b + count; i++) {
        int64_t at = qn_rnn_state(io, j->d, i) * io->hidden;
        begin(j->grad->dh0, j->grad->dh, at, io->hidden);
        if (io->kind == QN_RNN_LSTM)
            begin(j->grad->dc0, j->grad->dc, at, io->hidden);
    }
    for (int64_t s = 0; s < io->steps; s++) {
        bool reverse = qn_rnn_is_reverse(io, j->d);
        int64_t t = reverse ? s : io->steps - 1 - s, step = reverse ? 1 : -1;
        for (int64_t i = b; i < b + count; i++)
            back_row(j, t, i, s + 1 < io->steps ? step : 0);
        if (io->reset_first)
            pull_reset(j, t, b, count);
        pull_state(j, t, b, count);
    }
}

static void sum_bias(qn_pool *pool, const job *j)
{
    const qn_rnn *io = j->common.io;
    int64_t n = io->hidden, wide = j->common.gates * n, rows = io->steps * io->batch;
    qn_reduce_shape shape = {1, rows, j->common.slopes * n};
    float *dbias = j->grad->dbias + 2 * j->d * wide;
    qn_reduce_f32(pool, QN_REDUCE_SUM, j->sums, j->grad->slopes + j->d * rows * shape.inner, &shape,
                  j->work);
    memcpy(dbias, j->sums, (size_t)wide * sizeof *dbias);
    memcpy(dbias + wide, j->sums, (size_t)wide * sizeof *dbias);
    if (io->kind == QN_RNN_GRU)
        memcpy(dbias + wide + 2 * n, j->sums + 3 * n, (size_t)n * sizeof *dbias);
}

void qn_rnn_grad_f32(qn_pool *pool, const qn_rnn *io, const qn_rnn_grad *grad, void *scratch)
{
    job j = {.common = qn_rnn_job_make(io), .grad = grad};
    qn_carve carve = {.base = scratch};
    job_carve(&j, &carve, 1);
    memset(j.zeros, 0, (size_t)io->hidden * sizeof *j.zeros);
    if (io->ragged)
        copy_seen(&j);
    for (j.d = 0; j.d < io->dirs; j.d++) {
        qn_pool_run(pool, rows_chunk, &j, (io->batch + QN_RNN_ROWS - 1) / QN_RNN_ROWS);
        int products = io->kind == QN_RNN_GRU ? PRODUCTS : PRODUCT_CANDIDATE;
        for (int i = 0; i < products; i++) {
            qn_gemm p = product_of(&j, i);
            if (p.c)
                qn_gemm_f32(pool, &p, j.work);
        }
        if (grad->dbias)
            sum_bias(pool, &j);
    }
}
