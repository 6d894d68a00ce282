/*
 * Attention backward. With p = softmax(s), s = scale q k', y = p v and delta = sum(dy y) for each query:
 *   dv = p' dy,  ds = p (dy v' - delta) scale,  dq = ds k,  dk = ds' q.
 * One batch's kv head with all query heads that share it is one piece of work, so dk and dv are summed by one worker
 * in one order. Source: Dao et al. 2022, appendix B.
 */
#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "kernel/attention/attention_priv.h"
#include "kernel/carve.h"
#include "kernel/half/half_table.h"
#include "kernel/reduce/reduce_table.h"
#include "kernel/split.h"

enum { GRAIN = 1 << 17 }; /* multiply-adds */

typedef struct {
    qn_attention_job common;
    const qn_reduce_kernels *reduce;
    const qn_attention_grad *grad;
    char *scratch;
    size_t worker_bytes;
} job;

/* A worker's scratch and place. All but p, ds and delta are words; of f32, rows joined are lines, and p and ds serve as
 * they are. */
typedef struct {
    float *p, *ds;               /* [query][key] */
    float *p_joined, *ds_joined; /* [query, or pair of them][key] */
    float *keys, *values;        /* a block, turned */
    float *q, *dy, *q_joined, *dy_joined;
    float *k_joined;
    float *delta; /* [queries] */
    float *line;  /* dy of one query in f32 */
    int64_t b, h, kv;
} head;

static float *take_floats(qn_carve *carve, int64_t rows, int64_t cols)
{
    return qn_carve_take(carve, (size_t)(rows * cols) * sizeof(float));
}

static void head_carve(const qn_attention *io, head *w, qn_carve *carve)
{
    enum { ROWS = QN_ATTENTION_QUERIES, PITCH = QN_ATTENTION_PITCH };
    int64_t dim = io->dim, wide = io->value_dim;
    w->p = take_floats(carve, ROWS, PITCH);
    w->ds = take_floats(carve, ROWS, PITCH);
    w->keys = take_floats(carve, dim, PITCH);
    w->values = take_floats(carve, wide, PITCH);
    w->delta = take_floats(carve, io->queries, 1);
    w->q = take_floats(carve, ROWS, dim);
    w->dy = take_floats(carve, ROWS, wide);
    w->k_joined = take_floats(carve, QN_ATTENTION_KEYS, dim);
    w->p_joined = w->p;
    w->ds_joined = w->ds;
    w->q_joined = w->q;
    w->dy_joined = w->dy;
    w->line = NULL;
    if (!io->pairs)
        return;
    w->p_joined = take_floats(carve, ROWS / 2, PITCH);
    w->ds_joined = take_floats(carve, ROWS / 2, PITCH);
    w->q_joined = take_floats(carve, ROWS / 2, dim);
    w->dy_joined = take_floats(carve, ROWS / 2, wide);
    w->line = take_floats(carve, wide, 1);
}

static size_t worker_bytes(const qn_attention *io)
{
    head w;
    qn_carve carve = {0};
    head_carve(io, &w, &carve);
    return carve.used;
}

size_t qn_attention_grad_scratch_bytes(const qn_attention *io, int threads)
{
    return worker_bytes(io) * (size_t)threads;
}

/* Rows of `count` floats, `row` apart, to zero. */
static void clear(float *dst, int64_t row, int64_t rows, int64_t count)
{
    for (int64_t r = 0; r < rows; r++)
        memset(dst + r * row, 0, (size_t)count * sizeof *dst);
}

static void block_row(const job *j, const head *w, int64_t i, int64_t r, int64_t key, int64_t count)
{
    const qn_attention *io = j->common.io;
    float bias[QN_ATTENTION_KEYS];
    float *p = w->p + r * QN_ATTENTION_PITCH, *ds = w->ds + r * QN_ATTENTION_PITCH;
    float lse = j->grad->lse[(w->b * io->heads + w->h) * io->queries + i];
    int64_t low, high;
    qn_attention_range(io, w->b, i, &low, &high);
    low = low > key ? qn_min_i64(low - key, count) : 0;
    high = high > key && lse > -INFINITY ? qn_min_i64(high - key, count) : 0;
    high = isnan(lse) ? count : high;
    low = low < high ? low : high;
    qn_attention_blank(p, low, high, count);
    qn_attention_blank(ds, low, high, count);
    if (low == high)
        return;
    qn_attention_score how = {io->scale, io->softcap,
                              qn_attention_bias(io, w->b, w->h, i, key + low, high - low, bias)};
    j->common.rows->slopes(p + low, ds + low, high - low, &how, lse, w->delta[i]);
}

/* q and dy of a block, as lines and joined. */
static void pack_queries(const job *j, const head *w, int64_t i, int64_t rows)
{
    const qn_attention_job *c = &j->common;
    qn_attention_rows q = qn_attention_queries(c->io, QN_ATTENTION_Q, c->io->q, w->b, i, w->h);
    qn_attention_rows dy = qn_attention_queries(c->io, QN_ATTENTION_DY, j->grad->dy, w->b, i, w->h);
    qn_attention_lines(c, w->q, &q, rows);
    qn_attention_lines(c, w->dy, &dy, rows);
    if (!c->io->pairs)
        return;
    qn_attention_join(c, w->q_joined, &q, rows);
    qn_attention_join(c, w->dy_joined, &dy, rows);
}

/* p and ds of queries r and on against the first `reach` keys: joined, and ds itself, as words. r is even. */
static void pack_slopes(const job *j, const head *w, int64_t r, int64_t rows, int64_t reach)
{
    enum { PITCH = QN_ATTENTION_PITCH };
    const qn_pairs_kernels *pairs = j->common.io->pairs;
    if (!pairs)
        return;
    float *p = w->p + r * PITCH, *ds = w->ds + r * PITCH;
    pairs->of_f32.join((uint32_t *)(void *)(w->p_joined + r / 2 * PITCH), PITCH, p, PITCH, rows,
                       reach);
    pairs->of_f32.join((uint32_t *)(void *)(w->ds_joined + r / 2 * PITCH), PITCH, ds, PITCH, rows,
                       reach);
    qn_attention_narrow(&j->common, ds, rows, reach);
}

/* Queries [i, i + rows) against keys [key, key + count). */
typedef struct {
    int64_t i, rows, key, count;
} pairing;

/* p, ds and dq of queries r and on, whose products reach the first `reach` keys of the block. */
static void queries_step(const job *j, const head *w, const pairing *at, int64_t r, int64_t rows,
                         int64_t reach)
{
    enum { PITCH = QN_ATTENTION_PITCH };
    const qn_attention_job *c = &j->common;
    const qn_attention *io = c->io;
    const int64_t dim = io->dim, dim_words = qn_attention_words(c, dim);
    const int64_t wide_words = qn_attention_words(c, io->value_dim);
    float *p = w->p + r * PITCH, *ds = w->ds + r * PITCH;
    qn_attention_rows q = qn_attention_queries(io, QN_ATTENTION_Q, io->q, w->b, at->i + r, w->h);
    qn_attention_product(c, p, PITCH, (qn_attention_side){w->q + r * dim_words, dim_words, 1},
                         w->keys, PITCH, rows, reach, dim_words, false);
    qn_attention_product(c, ds, PITCH, (qn_attention_side){w->dy + r * wide_words, wide_words, 1},
                         w->values, PITCH, rows, reach, wide_words, false);
    for (int64_t s = r; s < r + rows; s++)
        block_row(j, w, at->i + s, s, at->key, reach);
    pack_slopes(j, w, r, rows, reach);
    qn_attention_product(c, j->grad->dq + q.at, q.row, (qn_attention_side){ds, PITCH, 1},
                         w->k_joined, dim, rows, dim, qn_attention_words(c, reach), true);
}

/* dv and dk of keys [first, first + keys) of the block, of queries r and on. */
static void keys_step(const job *j, const head *w, const pairing *at, int64_t first, int64_t keys,
                      int64_t r)
{
    enum { PITCH = QN_ATTENTION_PITCH };
    const qn_attention_job *c = &j->common;
    const qn_attention *io = c->io;
    const int64_t dim = io->dim, wide = io->value_dim, skip = qn_attention_words(c, r);
    const int64_t words = qn_attention_words(c, at->rows - r), from = skip * PITCH + first;
    qn_attention_rows k = qn_attention_keys(io, QN_ATTENTION_K, w->b, at->key + first, w->kv);
    qn_attention_rows v = qn_attention_keys(io, QN_ATTENTION_V, w->b, at->key + first, w->kv);
    qn_attention_product(c, j->grad->dv + v.at, v.row,
                         (qn_attention_side){w->p_joined + from, 1, PITCH},
                         w->dy_joined + skip * wide, wide, keys, wide, words, true);
    qn_attention_product(c, j->grad->dk + k.at, k.row,
                         (qn_attention_side){w->ds_joined + from, 1, PITCH},
                         w->q_joined + skip * dim, dim, keys, dim, words, true);
}

static void block_pair(const job *j, const head *w, const pairing *at)
{
    const qn_attention_job *c = &j->common;
    qn_attention_rows k = qn_attention_keys(c->io, QN_ATTENTION_K, w->b, at->key, w->kv);
    pack_queries(j, w, at->i, at->rows);
    /* For these queries alone: an odd last key must not bring in the one behind it, which may be anything. */
    qn_attention_join(c, w->k_joined, &k, at->count);
    for (int64_t r = 0, rows; r < at->rows; r += rows) {
        rows = qn_attention_step(c->io, at->rows - r);
        int64_t reach = qn_attention_reach(c->io, w->b, at->i + r, rows, at->key, at->count);
        queries_step(j, w, at, r, rows, reach);
    }
    for (int64_t r = 0, rows, first = 0; r < at->rows && first < at->count; r += rows) {
        rows = qn_attention_step(c->io, at->rows - r);
        int64_t reach = qn_attention_reach(c->io, w->b, at->i + r, rows, at->key, at->count);
        if (reach > first) /* keys that no earlier query sees */
            keys_step(j, w, at, first, reach - first, r);
        first = qn_max_i64(first, reach);
    }
}

/* Keys and values of a block, turned. */
static void pack_keys(const job *j, const head *w, int64_t key, int64_t count)
{
    const qn_attention_job *c = &j->common;
    qn_attention_rows k = qn_attention_keys(c->io, QN_ATTENTION_K, w->b, key, w->kv);
    qn_attention_rows v = qn_attention_keys(c->io, QN_ATTENTION_V, w->b, key, w->kv);
    qn_attention_turn(c, w->keys, &k, count);
    qn_attention_turn(c, w->values, &v, count);
}

/* sum(dy y) of each query. */
static void find_deltas(const job *j, const head *w)
{
    const qn_attention *io = j->common.io;
    for (int64_t i = 0; i < io->queries; i++) {
        int64_t at = ((w->b * io->queries + i) * io->heads + w->h) * io->value_dim;
        const float *dy = j->grad->dy + at;
        if (io->halves & QN_ATTENTION_DY) {
            const uint16_t *half = (const uint16_t *)(const void *)j->grad->dy + at;
            qn_half()->f32_of_bf16(w->line, half, io->value_dim);
            dy = w->line;
        }
        w->delta[i] = j->reduce->dot(dy, j->grad->y + at, io->value_dim);
    }
}

static void head_run(const job *j, const head *w)
{
    const qn_attention *io = j->common.io;
    find_deltas(j, w);
    for (int64_t key = 0; key < io->keys; key += QN_ATTENTION_KEYS) {
        int64_t count = qn_min_i64(QN_ATTENTION_KEYS, io->keys - key);
        pack_keys(j, w, key, count);
        for (int64_t i = 0; i < io->queries; i += QN_ATTENTION_QUERIES) {
            int64_t rows = qn_min_i64(QN_ATTENTION_QUERIES, io->queries - i), first, end;
            qn_attention_block_range(io, w->b, i, rows, &first, &end);
            if (key < end && key + count > first)
                block_pair(j, w, &(pairing){i, rows, key, qn_min_i64(count, end - key)});
        }
    }
}

static void heads_range(void *context, int64_t from, int64_t to, int worker)
{
    const job *j = context;
    const qn_attention *io = j->common.io;
    int64_t group = io->heads / io->kv_heads;
    head w;
    qn_carve carve = {.base = j->scratch + (size_t)worker * j->worker_bytes};
    head_carve(io, &w, &carve);
    qn_tile_begin(j->common.tile);
    for (int64_t at = from; at < to; at++) {
        w.b = at / io->kv_heads;
        w.kv = at % io->kv_heads;
        clear(j->grad->dk + (w.b * io->keys * io->kv_heads + w.kv) * io->dim,
              io->kv_heads * io->dim, io->keys, io->dim);
        clear(j->grad->dv + (w.b * io->keys * io->kv_heads + w.kv) * io->value_dim,
              io->kv_heads * io->value_dim, io->keys, io->value_dim);
        clear(j->grad->dq + (w.b * io->queries * io->heads + w.kv * group) * io->dim,
              io->heads * io->dim, io->queries, group * io->dim);
        for (w.h = w.kv * group; w.h < (w.kv + 1) * group; w.h++)
            head_run(j, &w);
    }
    qn_tile_end(j->common.tile);
}

void qn_attention_grad_f32(qn_pool *pool, const qn_attention *io, const qn_attention_grad *grad,
                           void *scratch)
{
    job j = {.common = qn_attention_job_make(io),
             .reduce = qn_reduce_f32_kernels(),
             .grad = grad,
             .scratch = scratch,
             .worker_bytes = worker_bytes(io)};
    int64_t cost = io->queries * io->keys * 5 * io->dim;
    qn_split_workers(pool, io->batch * io->kv_heads, qn_split_grain(cost, GRAIN), heads_range, &j);
}
