/*
 * Attention forward. A block of queries of one head is one piece of work: it passes over the keys in blocks, keeping
 * for each query the largest score so far, the sum of exponentials below it, and the weighted sum of values.
 */
#include "kernel/attention/attention.h"

#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "kernel/attention/attention_priv.h"
#include "kernel/carve.h"
#include "kernel/split.h"

enum {
    GRAIN = 1 << 17, /* multiply-adds: about 5 us */
    VALUES_ROWS = 8  /* fewer queries read values where they lie */
};

typedef struct {
    qn_attention_job common;
    float *y, *lse;
    char *scratch;
    size_t worker_bytes;
    int64_t blocks; /* of queries */
} job;

/* A worker's scratch, and the block it is at. */
typedef struct {
    float *scores, *result;
    float *queries, *keys, *values; /* words: lines; a block, turned; a block, joined */
    float max[QN_ATTENTION_QUERIES], sum[QN_ATTENTION_QUERIES];
    int64_t b, h, kv, i, rows; /* queries [i, i + rows) */
} block;

static void block_carve(const qn_attention *io, block *w, qn_carve *carve)
{
    w->scores = qn_carve_take(carve, QN_ATTENTION_BLOCK * sizeof(float));
    w->keys = qn_carve_take(carve, (size_t)io->dim * QN_ATTENTION_PITCH * sizeof(float));
    w->result = qn_carve_take(carve, (size_t)io->value_dim * QN_ATTENTION_QUERIES * sizeof(float));
    w->queries = qn_carve_take(carve, (size_t)io->dim * QN_ATTENTION_QUERIES * sizeof(float));
    w->values = qn_carve_take(carve, (size_t)io->value_dim * QN_ATTENTION_KEYS * sizeof(float));
}

static size_t worker_bytes(const qn_attention *io)
{
    block w;
    qn_carve carve = {0};
    block_carve(io, &w, &carve);
    return carve.used;
}

size_t qn_attention_scratch_bytes(const qn_attention *io, int threads)
{
    return worker_bytes(io) * (size_t)threads;
}

/* Scores of one row to weights; rescales what the row has so far. */
static void block_row(const job *j, block *w, int64_t r, int64_t key, int64_t count, bool first)
{
    const qn_attention *io = j->common.io;
    float bias[QN_ATTENTION_KEYS], *s = w->scores + r * QN_ATTENTION_PITCH;
    int64_t low, high;
    qn_attention_range(io, w->b, w->i + r, &low, &high);
    low = low > key ? qn_min_i64(low - key, count) : 0;
    high = high > key ? qn_min_i64(high - key, count) : 0;
    qn_attention_blank(s, low, qn_max_i64(low, high), count);
    if (low >= high)
        return;
    qn_attention_score how = {
        io->scale, io->softcap,
        qn_attention_bias(io, w->b, w->h, w->i + r, key + low, high - low, bias)};
    float keep = j->common.rows->soften(s + low, high - low, &how, &w->max[r], &w->sum[r]);
    float *result = w->result + r * io->value_dim;
    if (!first && (keep < 1 || isnan(keep)))
        j->common.rows->multiply(result, result, io->value_dim, keep);
}

static void block_keys(const job *j, block *w, int64_t key, int64_t count, bool first)
{
    const qn_attention_job *c = &j->common;
    const qn_attention *io = c->io;
    const int64_t words = qn_attention_words(c, io->dim), wide = io->value_dim;
    qn_attention_rows k = qn_attention_keys(io, QN_ATTENTION_K, w->b, key, w->kv);
    qn_attention_rows v = qn_attention_keys(io, QN_ATTENTION_V, w->b, key, w->kv);
    bool lie = !io->pairs && w->rows < VALUES_ROWS;
    qn_attention_turn(c, w->keys, &k, count);
    if (!lie)
        qn_attention_join(c, w->values, &v, count);
    for (int64_t r = 0, rows; r < w->rows; r += rows) {
        rows = qn_attention_step(io, w->rows - r);
        int64_t reach = qn_attention_reach(io, w->b, w->i + r, rows, key, count);
        float *scores = w->scores + r * QN_ATTENTION_PITCH;
        qn_attention_product(c, scores, QN_ATTENTION_PITCH,
                             (qn_attention_side){w->queries + r * words, words, 1}, w->keys,
                             QN_ATTENTION_PITCH, rows, reach, words, false);
        for (int64_t i = r; i < r + rows; i++)
            block_row(j, w, i, key, reach, first);
        qn_attention_narrow(c, scores, rows, reach);
        qn_attention_product(c, w->result + r * wide, wide,
                             (qn_attention_side){scores, QN_ATTENTION_PITCH, 1},
                             lie ? v.data + v.at : w->values, lie ? v.row : wide, rows, wide,
                             qn_attention_words(c, reach), !first);
    }
}

static void block_finish(const job *j, const block *w, bool any)
{
    const qn_attention *io = j->common.io;
    for (int64_t r = 0; r < w->rows; r++) {
        int64_t i = w->b * io->queries + w->i + r;
        float *y = j->y + (i * io->heads + w->h) * io->value_dim, sum = w->sum[r];
        bool empty = !any || !(sum > 0 || isnan(sum));
        if (empty)
            memset(y, 0, (size_t)io->value_dim * sizeof *y);
        else
            j->common.rows->multiply(y, w->result + r * io->value_dim, io->value_dim, 1 / sum);
        if (j->lse)
            j->lse[(w->b * io->heads + w->h) * io->queries + w->i + r] =
                empty ? -INFINITY : w->max[r] + logf(sum);
    }
}

static void blocks_range(void *context, int64_t from, int64_t to, int worker)
{
    const job *j = context;
    const qn_attention *io = j->common.io;
    block w;
    qn_carve carve = {.base = j->scratch + (size_t)worker * j->worker_bytes};
    block_carve(io, &w, &carve);
    qn_tile_begin(j->common.tile);
    for (int64_t at = from; at < to; at++) {
        int64_t head = at / j->blocks, first, end;
        w.b = head / io->heads;
        w.h = head % io->heads;
        w.kv = w.h / (io->heads / io->kv_heads);
        w.i = at % j->blocks * QN_ATTENTION_QUERIES;
        w.rows = qn_min_i64(QN_ATTENTION_QUERIES, io->queries - w.i);
        for (int64_t r = 0; r < w.rows; r++) {
            w.max[r] = -INFINITY;
            w.sum[r] = 0;
        }
        qn_attention_block_range(io, w.b, w.i, w.rows, &first, &end);
        qn_attention_rows q = qn_attention_queries(io, QN_ATTENTION_Q, io->q, w.b, w.i, w.h);
        qn_attention_lines(&j->common, w.queries, &q, w.rows);
        for (int64_t key = first; key < end; key += QN_ATTENTION_KEYS)
            block_keys(j, &w, key, qn_min_i64(QN_ATTENTION_KEYS, end - key), key == first);
        block_finish(j, &w, first < end);
    }
    qn_tile_end(j->common.tile);
}

void qn_attention_f32(qn_pool *pool, const qn_attention *io, float *y, float *lse, void *scratch)
{
    job j = {.common = qn_attention_job_make(io),
             .y = y,
             .lse = lse,
             .scratch = scratch,
             .worker_bytes = worker_bytes(io),
             .blocks = (io->queries + QN_ATTENTION_QUERIES - 1) / QN_ATTENTION_QUERIES};
    int64_t cost = qn_min_i64(io->queries, QN_ATTENTION_QUERIES) * io->keys * 2 * io->dim;
    qn_split_workers(pool, io->batch * io->heads * j.blocks, qn_split_grain(cost, GRAIN),
                     blocks_range, &j);
}
