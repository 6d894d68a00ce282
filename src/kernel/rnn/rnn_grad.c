/*
 * Recurrent networks backward. Rows of the batch go back through time: slopes (gradients of the gates' sums) of one step
 * of a worker's rows lie in L1, where they meet the weights for dx and the state's gradient, and leave as words in the
 * order in which rnn_weights.c multiplies them, beside the x and the state that the step began with.
 */
#include <string.h>

#include "base/checked.h"
#include "kernel/carve.h"
#include "kernel/rnn/rnn_priv.h"

enum {
    NEAR_WORDS =
        96, /* kept by a worker before it adds them to its sum: a quarter of L2 with 128 units of an LSTM */
    SUM_BYTES = 400 << 10, /* of a sum that may stay in L2 beside them and the weights */
    SUMS_MAX = 16,
    LINE =
        16 /* floats of a cache line: by so much rows of kept slopes lie off, or they would meet in L1 */
};

typedef struct {
    qn_rnn_job common;
    const qn_rnn_grad *grad;
    int64_t d;
    int64_t wide_words; /* of a row of slopes on x's side, [gates hidden] */
    int64_t depth; /* of the state's product: behind them a GRU's candidate as the state sees it */
    float *pull, *push; /* recurrent and weight, [panel][depth][cols] */
    float *zeros;       /* [hidden] */
    bool near; /* every piece of the batch has a sum of its own, to which few words go at a time */
    float *behind, *slopes, *sum; /* see qn_rnn_weights */
    int64_t behind_cols, words, pieces, sum_floats;
    int64_t pitch; /* of a worker's slopes */
    char *workers;
    size_t worker_bytes;
} job;

/* One worker's rows at one step. */
typedef struct {
    const job *j;
    int64_t b, count;
    float *slopes; /* [rows, pitch]: of f32 words, those kept */
    float *words;  /* [rows, depth] where words are no f32, else the slopes themselves */
    float *behind; /* [rows, behind_cols], where words are no f32 */
    /* Words for the weights' gradients; so many, and the sum they go to, where they are the worker's own. */
    float *kept_slopes, *kept_behind, *sum;
    int64_t kept;
    bool added;
    /* [rows, hidden]: of a GRU that resets first, what came back through the candidate's product */
    float *pulled;
} crew;

static void crew_carve(crew *w, const job *j, qn_carve *carve)
{
    int64_t n = j->common.io->hidden, rows = QN_RNN_ROWS;
    size_t row = (size_t)rows * sizeof(float);
    w->j = j;
    if (j->common.pairs) {
        w->slopes = qn_carve_take(carve, row * (size_t)j->pitch);
        w->words = qn_carve_take(carve, row * (size_t)j->depth);
        w->behind = qn_carve_take(carve, row * (size_t)j->behind_cols);
    }
    w->pulled = qn_carve_take(carve, j->common.io->reset_first ? row * (size_t)n : 0);
    w->kept_slopes = j->slopes;
    w->kept_behind = j->behind;
    if (j->near) {
        size_t words = (size_t)j->words * sizeof(float);
        w->kept_slopes = qn_carve_take(carve, words * (size_t)j->pitch);
        w->kept_behind = qn_carve_take(carve, words * (size_t)j->behind_cols);
    }
}

static void job_carve(job *j, qn_carve *carve, int threads)
{
    const qn_rnn *io = j->common.io;
    int64_t n = io->hidden, slopes = j->common.slopes * n, last = io->batch % QN_RNN_ROWS;
    bool gru = io->kind == QN_RNN_GRU;
    j->wide_words = qn_rnn_words(&j->common, j->common.gates * n);
    j->depth = j->wide_words + (gru ? j->common.state_words : 0);
    j->pitch = slopes + (j->common.pairs ? 0 : LINE);
    j->behind_cols = io->input + 1 + n + (io->reset_first ? n : 0);
    j->pieces = (io->batch + QN_RNN_ROWS - 1) / QN_RNN_ROWS;
    j->sum_floats = (j->behind_cols * slopes + 15) / 16 * 16;
    j->near = j->pieces > 0 && j->pieces <= SUMS_MAX && io->steps > 0 &&
              j->sum_floats * (int64_t)sizeof(float) <= SUM_BYTES;
    j->words = io->steps * (io->batch / QN_RNN_ROWS * qn_rnn_words(&j->common, QN_RNN_ROWS) +
                            qn_rnn_words(&j->common, last));
    if (j->near)
        j->words = NEAR_WORDS;
    qn_carve one = {0};
    crew_carve(&(crew){0}, j, &one);
    j->worker_bytes = one.used;
    j->pull = qn_carve_take(carve, (size_t)(j->depth * n) * sizeof(float));
    j->push = qn_carve_take(carve, (size_t)(j->wide_words * io->input) * sizeof(float));
    j->zeros = qn_carve_take(carve, (size_t)n * sizeof(float));
    size_t words = j->near ? 0 : (size_t)j->words * sizeof(float);
    size_t sums = (size_t)(j->near ? j->pieces : 1);
    j->behind = qn_carve_take(carve, words * (size_t)j->behind_cols);
    j->slopes = qn_carve_take(carve, words * (size_t)j->pitch);
    j->sum = qn_carve_take(carve, sums * (size_t)j->sum_floats * sizeof(float));
    j->workers = qn_carve_take(carve, j->worker_bytes * (size_t)threads);
}

size_t qn_rnn_grad_scratch_bytes(const qn_rnn *io, int threads)
{
    job j = {.common = qn_rnn_job_make(io)};
    qn_carve carve = {0};
    job_carve(&j, &carve, threads);
    return carve.used;
}

/* Words of a row of slopes that the state sees, but for a GRU's candidate behind them. */
static int64_t state_depth(const job *j)
{
    bool gru = j->common.io->kind == QN_RNN_GRU;
    return gru ? qn_rnn_words(&j->common, 2 * j->common.io->hidden) : j->wide_words;
}

/* Panels of both weights as they lie, rows being what is summed over. */
static void pack_panel(void *context, int64_t chunk, int worker)
{
    const job *j = context;
    const qn_rnn *io = j->common.io;
    int64_t n = io->hidden, rows = j->common.gates * n, pulls = qn_tile_panels(j->common.tile, n);
    bool pull = chunk < pulls, gru = io->kind == QN_RNN_GRU;
    int64_t total = pull ? n : io->input, panel = pull ? chunk : chunk - pulls;
    int64_t col = qn_tile_panel_start(j->common.tile, total, panel);
    int64_t cols = qn_tile_panel_start(j->common.tile, total, panel + 1) - col;
    const float *src = (pull ? io->recurrent : io->weight) + j->d * rows * total + col;
    (void)worker;
    if (!pull) {
        qn_rnn_words_stack(&j->common, j->push + j->wide_words * col, src, total, rows, cols);
        return;
    }
    float *dst = j->pull + (state_depth(j) + (gru ? j->common.state_words : 0)) * col;
    qn_rnn_words_stack(&j->common, dst, src, n, gru ? 2 * n : rows, cols);
    if (gru)
        qn_rnn_words_stack(&j->common, dst + state_depth(j) * cols, src + 2 * n * n, n, n, cols);
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
    return j->grad->kept + qn_rnn_kept(io, j->d, then, b) * j->common.kept * n + 4 * n;
}

/* Words before those of rows [b, ...) at step s. */
static int64_t words_before(const crew *w, int64_t s)
{
    if (w->j->near)
        return w->kept;
    const qn_rnn_job *common = &w->j->common;
    return w->b / QN_RNN_ROWS * qn_rnn_words(common, QN_RNN_ROWS) * common->io->steps +
           s * qn_rnn_words(common, w->count);
}

static float *behind_row(const crew *w, int64_t s, int64_t i)
{
    if (w->j->common.pairs)
        return w->behind + i * w->j->behind_cols;
    return w->kept_behind + (words_before(w, s) + i) * w->j->behind_cols;
}

/* x, 1 and the state before: what slopes are multiplied with for the weights. Whatever stands beyond a row's length, it
 * must not meet the zeros of its slopes: 0 times NaN is NaN. */
static void fill_behind(const crew *w, float *behind, int64_t t, int64_t b, int64_t step)
{
    const job *j = w->j;
    const qn_rnn *io = j->common.io;
    int64_t n = io->hidden, in = io->input;
    if (t >= qn_rnn_length(io, b)) {
        memset(behind, 0, (size_t)j->behind_cols * sizeof *behind);
        return;
    }
    if (step)
        qn_rnn_fetch(state_before(j, t + step, b, false), n);
    memcpy(behind, io->x + qn_rnn_in(io, t, b) * in, (size_t)in * sizeof *behind);
    behind[in] = 1;
    memcpy(behind + in + 1, state_before(j, t, b, false), (size_t)n * sizeof *behind);
}

/* `step`: where time goes, 1 or -1; 0 at the end. */
static void back_row(const crew *w, int64_t t, int64_t s, int64_t i, int64_t step)
{
    const job *j = w->j;
    const qn_rnn *io = j->common.io;
    const qn_rnn_kernels *rows = j->common.rows;
    const qn_rnn_grad *g = j->grad;
    int64_t n = io->hidden, b = w->b + i, state = qn_rnn_state(io, j->d, b) * n;
    const float *a = g->kept + qn_rnn_kept(io, j->d, t, b) * j->common.kept * n;
    float *slopes = w->slopes + i * j->pitch, *dh = g->dh0 + state;
    float *behind = behind_row(w, s, i);
    qn_rnn_fetch(a + step * qn_rnn_step(io) * j->common.kept * n, j->common.kept * n);
    fill_behind(w, behind, t, b, step);
    if (t >= qn_rnn_length(io, b)) {
        memset(slopes, 0, (size_t)(j->common.slopes * n) * sizeof *slopes);
        return;
    }
    for (int64_t k = 0; g->dy && k < n; k++)
        dh[k] += g->dy[qn_rnn_out(io, j->d, t, b) * n + k];
    behind += io->input + 1;
    if (io->kind == QN_RNN_LSTM)
        rows->lstm_grad(slopes, a, state_before(j, t, b, true), dh, g->dc0 + state, n);
    else if (io->kind == QN_RNN_GRU && io->reset_first)
        rows->gru_first_grad(slopes, a, behind, dh, n);
    else if (io->kind == QN_RNN_GRU)
        rows->gru_grad(slopes, a, behind, dh, n);
    else
        rows->plain_grad(slopes, a, dh, io->kind == QN_RNN_RELU, n);
}

/* dst [rows of w, total] (+)= `depth` words of their slopes times panels of a weight, each `pitch` words deep. */
typedef struct {
    float *dst;
    int64_t ldc, total, at, depth, pitch, skip; /* at: in a row of slopes; skip: in a panel */
    const float *panels;
    bool add;
} through;

static void go_through(const crew *w, const through *x)
{
    const qn_rnn_job *common = &w->j->common;
    for (int64_t i = 0; i < qn_tile_panels(common->tile, x->total); i++) {
        int64_t col = qn_tile_panel_start(common->tile, x->total, i);
        int64_t cols = qn_tile_panel_start(common->tile, x->total, i + 1) - col;
        qn_rnn_multiply(common, &(qn_rnn_product){.rows = w->count,
                                                  .cols = cols,
                                                  .depth = x->depth,
                                                  .a = w->words + x->at,
                                                  .lda = common->pairs ? w->j->depth : w->j->pitch,
                                                  .b = x->panels + x->pitch * col + x->skip * cols,
                                                  .c = x->dst + col,
                                                  .ldc = x->ldc,
                                                  .add = x->add});
    }
}

/* dx of the step. */
static void push_input(const crew *w, int64_t t)
{
    const job *j = w->j;
    const qn_rnn *io = j->common.io;
    int64_t pitch = io->batch_first ? io->steps : 1;
    if (j->grad->dx)
        go_through(w, &(through){.dst = j->grad->dx + qn_rnn_in(io, t, w->b) * io->input,
                                 .ldc = pitch * io->input,
                                 .total = io->input,
                                 .depth = j->wide_words,
                                 .pitch = j->wide_words,
                                 .panels = j->push,
                                 .add = j->d > 0});
}

/* dh += slopes through the recurrent weights. */
static void pull_state(const crew *w)
{
    const job *j = w->j;
    const qn_rnn *io = j->common.io;
    int64_t n = io->hidden, gates = state_depth(j);
    bool gru = io->kind == QN_RNN_GRU;
    through x = {.dst = j->grad->dh0 + qn_rnn_state(io, j->d, w->b) * n,
                 .ldc = qn_rnn_state_pitch(io) * n,
                 .total = n,
                 .depth = gates,
                 .pitch = gates + (gru ? j->common.state_words : 0),
                 .panels = j->pull,
                 .add = true};
    go_through(w, &x);
    if (!gru || io->reset_first)
        return;
    x.at = j->wide_words;
    x.skip = gates;
    x.depth = j->common.state_words;
    go_through(w, &x);
}

/* Slopes [first, first + count) as words from `at` on, where they are not words already. */
static void take_slopes(const crew *w, int64_t at, int64_t first, int64_t count)
{
    const job *j = w->j;
    for (int64_t i = 0; j->common.pairs && i < w->count; i++)
        qn_rnn_words_take(&j->common, w->words + i * j->depth + at,
                          w->slopes + i * j->pitch + first, count);
}

/* Of a GRU that resets first: through the candidate's product, then the slopes of r. */
static void pull_reset(const crew *w, int64_t t, int64_t s)
{
    const job *j = w->j;
    const qn_rnn *io = j->common.io;
    int64_t n = io->hidden, gates = state_depth(j);
    go_through(w, &(through){.dst = w->pulled,
                             .ldc = n,
                             .total = n,
                             .at = j->wide_words,
                             .depth = j->common.state_words,
                             .pitch = gates + j->common.state_words,
                             .skip = gates,
                             .panels = j->pull});
    for (int64_t i = 0; i < w->count; i++) {
        float *before = behind_row(w, s, i) + io->input + 1, *reset = before + n;
        const float *a = j->grad->kept + qn_rnn_kept(io, j->d, t, w->b + i) * j->common.kept * n;
        memcpy(reset, before, (size_t)n * sizeof *reset);
        j->common.rows->gru_reset_grad(w->slopes + i * j->pitch, a, reset, w->pulled + i * n,
                                       j->grad->dh0 + qn_rnn_state(io, j->d, w->b + i) * n, n);
    }
}

/* The step's slopes and what they are multiplied with, as pairs from word `at` on. */
static void keep_pairs(const crew *w, int64_t at)
{
    const job *j = w->j;
    for (int64_t i = 0; i < qn_rnn_panels(&j->common, j->common.slopes); i++) {
        qn_rnn_panel panel = qn_rnn_panel_at(&j->common, j->common.slopes, i);
        qn_rnn_words_stack(&j->common, w->kept_slopes + j->words * panel.col + at * panel.cols,
                           w->slopes + panel.col, j->pitch, w->count, panel.cols);
    }
    qn_rnn_words_stack(&j->common, w->kept_behind + at * j->behind_cols, w->behind, j->behind_cols,
                       w->count, j->behind_cols);
}

/* The step's slopes and what they are multiplied with, for the weights; and the slopes themselves where asked for. */
static void store_step(const crew *w, int64_t t, int64_t s)
{
    const job *j = w->j;
    const qn_rnn *io = j->common.io;
    int64_t wide = j->common.slopes * io->hidden;
    if (j->common.pairs)
        keep_pairs(w, words_before(w, s));
    for (int64_t i = 0; j->grad->slopes && i < w->count; i++)
        memcpy(j->grad->slopes + qn_rnn_kept(io, j->d, t, w->b + i) * wide,
               w->slopes + i * j->pitch, (size_t)wide * sizeof(float));
}

static qn_rnn_weights weights_of(const job *j)
{
    return (qn_rnn_weights){.common = &j->common,
                            .room = j->words,
                            .words = j->words,
                            .behind = j->behind,
                            .behind_cols = j->behind_cols,
                            .pitch = j->common.pairs ? 0 : j->pitch,
                            .slopes = j->slopes,
                            .sum = j->sum};
}

/* Counts the step's words, and adds all to the worker's sum where there is no room for another step or none to come. */
static void end_step(crew *w, bool last)
{
    const job *j = w->j;
    int64_t each = qn_rnn_words(&j->common, w->count);
    w->kept += each;
    if (w->kept + each <= j->words && !last)
        return;
    qn_rnn_weights add = weights_of(j);
    add.words = w->kept;
    add.behind = w->kept_behind;
    add.slopes = w->kept_slopes;
    add.sum = w->sum;
    add.add = w->added;
    qn_rnn_weights_add(&add);
    w->added = true;
    w->kept = 0;
}

static void begin(float *dst, const float *src, int64_t at, int64_t count)
{
    if (src)
        memcpy(dst + at, src + at, (size_t)count * sizeof *dst);
    else
        memset(dst + at, 0, (size_t)count * sizeof *dst);
}

static void crew_begin(const crew *w)
{
    const job *j = w->j;
    const qn_rnn *io = j->common.io;
    for (int64_t i = w->b; i < w->b + w->count; i++) {
        int64_t at = qn_rnn_state(io, j->d, i) * io->hidden;
        begin(j->grad->dh0, j->grad->dh, at, io->hidden);
        if (io->kind == QN_RNN_LSTM)
            begin(j->grad->dc0, j->grad->dc, at, io->hidden);
    }
}

static void rows_chunk(void *context, int64_t chunk, int worker)
{
    const job *j = context;
    const qn_rnn *io = j->common.io;
    int64_t n = io->hidden;
    crew w = {.b = chunk * QN_RNN_ROWS};
    w.count = qn_min_i64(QN_RNN_ROWS, io->batch - w.b);
    crew_carve(&w, j, &(qn_carve){.base = j->workers + (size_t)worker * j->worker_bytes});
    w.sum = j->sum + chunk * j->sum_floats;
    crew_begin(&w);
    qn_tile_begin(j->common.tile);
    for (int64_t s = 0; s < io->steps; s++) {
        bool reverse = qn_rnn_is_reverse(io, j->d);
        int64_t t = reverse ? s : io->steps - 1 - s, step = reverse ? 1 : -1;
        if (!j->common.pairs)
            w.words = w.slopes = w.kept_slopes + words_before(&w, s) * j->pitch;
        for (int64_t i = 0; i < w.count; i++)
            back_row(&w, t, s, i, s + 1 < io->steps ? step : 0);
        if (io->kind == QN_RNN_GRU)
            take_slopes(&w, j->wide_words, 3 * n, n);
        if (io->reset_first)
            pull_reset(&w, t, s);
        take_slopes(&w, 0, 0, j->common.gates * n);
        pull_state(&w);
        push_input(&w, t);
        store_step(&w, t, s);
        if (j->near)
            end_step(&w, s + 1 == io->steps);
    }
    qn_tile_end(j->common.tile);
}

/* A row of the pieces' sums, in rising order. */
static void join_row(void *context, int64_t row, int worker)
{
    const job *j = context;
    int64_t wide = j->common.slopes * j->common.io->hidden;
    float *sum = j->sum + row * wide;
    (void)worker;
    for (int64_t piece = 1; piece < j->pieces; piece++)
        for (int64_t i = 0; i < wide; i++)
            sum[i] += sum[piece * j->sum_floats + i];
}

void qn_rnn_grad_f32(qn_pool *pool, const qn_rnn *io, const qn_rnn_grad *grad, void *scratch)
{
    job j = {.common = qn_rnn_job_make(io), .grad = grad};
    job_carve(&j, &(qn_carve){.base = scratch}, qn_pool_threads(pool));
    memset(j.zeros, 0, (size_t)io->hidden * sizeof *j.zeros);
    int64_t panels = qn_tile_panels(j.common.tile, io->hidden) +
                     (grad->dx ? qn_tile_panels(j.common.tile, io->input) : 0);
    qn_rnn_weights weights = weights_of(&j);
    for (j.d = 0; j.d < io->dirs; j.d++) {
        qn_pool_run(pool, pack_panel, &j, panels);
        qn_pool_run(pool, rows_chunk, &j, j.pieces);
        if (j.near)
            qn_pool_run(pool, join_row, &j, j.behind_cols);
        else
            qn_rnn_weights_sum(pool, &weights);
        qn_rnn_weights_take(pool, &weights, grad, j.d);
    }
}
