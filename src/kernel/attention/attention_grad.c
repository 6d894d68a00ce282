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

/* What a head's products read as pairs: lines along the head's numbers, and of two queries or two keys beside each other. */
typedef struct {
    uint32_t *queries, *slopes_y; /* lines of q and dy: [query][pair of dim] */
    uint32_t *q, *dy, *p, *ds;    /* [pair of queries][dim or key] */
    uint32_t *k;                  /* [pair of keys][dim] */
    float *line;                  /* dy of one query in f32 */
} narrow_head;

/* A worker's scratch and place. */
typedef struct {
    float *p, *ds, *keys, *values; /* keys, values: transposed blocks */
    float *delta;                  /* [queries] */
    narrow_head pairs;
    int64_t b, h, kv;
} head;

static void head_carve(const qn_attention *io, head *w, qn_carve *carve)
{
    w->p = qn_carve_take(carve, QN_ATTENTION_BLOCK * sizeof(float));
    w->ds = qn_carve_take(carve, QN_ATTENTION_BLOCK * sizeof(float));
    w->keys = qn_carve_take(carve, (size_t)io->dim * QN_ATTENTION_PITCH * sizeof(float));
    w->values = qn_carve_take(carve, (size_t)io->value_dim * QN_ATTENTION_PITCH * sizeof(float));
    w->delta = qn_carve_take(carve, (size_t)io->queries * sizeof(float));
    w->pairs = (narrow_head){0};
    if (!io->pairs)
        return;
    enum { ROWS = QN_ATTENTION_QUERIES, HALF = QN_ATTENTION_QUERIES / 2 };
    size_t word = sizeof(uint32_t), dim = (size_t)io->dim, wide = (size_t)io->value_dim;
    narrow_head *n = &w->pairs;
    n->queries = qn_carve_take(carve, ROWS * (dim + 1) / 2 * word);
    n->slopes_y = qn_carve_take(carve, ROWS * (wide + 1) / 2 * word);
    n->q = qn_carve_take(carve, HALF * dim * word);
    n->dy = qn_carve_take(carve, HALF * wide * word);
    n->p = qn_carve_take(carve, word * HALF * QN_ATTENTION_PITCH);
    n->ds = qn_carve_take(carve, word * HALF * QN_ATTENTION_PITCH);
    n->k = qn_carve_take(carve, QN_ATTENTION_KEYS / 2 * dim * word);
    n->line = qn_carve_take(carve, wide * sizeof(float));
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
    for (int pass = 0; pass < 2; pass++) {
        float *row = pass ? ds : p;
        memset(row, 0, (size_t)low * sizeof *row);
        memset(row + high, 0, (size_t)(count - high) * sizeof *row);
    }
    if (low == high)
        return;
    qn_attention_score how = {io->scale, io->softcap,
                              qn_attention_bias(io, w->b, w->h, i, key + low, high - low, bias)};
    j->common.rows->slopes(p + low, ds + low, high - low, &how, lse, w->delta[i]);
}

/* Queries [i, i + rows) against keys [key, key + count). */
static void block_pair(const job *j, const head *w, int64_t i, int64_t rows, int64_t key,
                       int64_t count)
{
    const qn_attention *io = j->common.io;
    const qn_attention_job *c = &j->common;
    int64_t dim = io->dim, wide = io->value_dim, pitch = QN_ATTENTION_PITCH;
    int64_t q_row = io->heads * dim, k_row = io->kv_heads * dim;
    int64_t y_row = io->heads * wide, v_row = io->kv_heads * wide;
    int64_t q_at = (w->b * io->queries + i) * q_row + w->h * dim;
    int64_t k_at = (w->b * io->keys + key) * k_row + w->kv * dim;
    int64_t v_at = (w->b * io->keys + key) * v_row + w->kv * wide;
    const float *q = io->q + q_at;
    const float *dy = j->grad->dy + (w->b * io->queries + i) * y_row + w->h * wide;
    qn_attention_product(c, w->p, pitch, (qn_attention_side){q, q_row, 1}, w->keys, pitch, rows,
                         count, dim, false);
    qn_attention_product(c, w->ds, pitch, (qn_attention_side){dy, y_row, 1}, w->values, pitch, rows,
                         count, wide, false);
    for (int64_t r = 0; r < rows; r++)
        block_row(j, w, i + r, r, key, count);
    qn_attention_product(c, j->grad->dv + v_at, v_row, (qn_attention_side){w->p, 1, pitch}, dy,
                         y_row, count, wide, rows, true);
    qn_attention_product(c, j->grad->dk + k_at, k_row, (qn_attention_side){w->ds, 1, pitch}, q,
                         q_row, count, dim, rows, true);
    qn_attention_product(c, j->grad->dq + q_at, q_row, (qn_attention_side){w->ds, pitch, 1},
                         io->k + k_at, k_row, rows, dim, count, true);
}

/* `rows` queries from q_at of q or dy, `row` numbers apart: as lines, and two beside each other. */
static void pack_queries(const job *j, unsigned which, const float *data, int64_t at, int64_t row,
                         int64_t rows, int64_t dim, uint32_t *lines, uint32_t *joined)
{
    const qn_attention *io = j->common.io;
    const qn_pairs_pack *pack = qn_attention_pack(&j->common, which);
    for (int64_t r = 0; r < rows; r++)
        pack->line(lines + r * ((dim + 1) / 2), qn_attention_at(io, which, data, at + r * row),
                   dim);
    pack->join(joined, dim, qn_attention_at(io, which, data, at), row, rows, dim);
}

/* block_pair over pairs. */
static void block_pair_narrow(const job *j, const head *w, int64_t i, int64_t rows, int64_t key,
                              int64_t count)
{
    const qn_attention *io = j->common.io;
    const qn_attention_job *c = &j->common;
    const narrow_head *n = &w->pairs;
    int64_t dim = io->dim, wide = io->value_dim, pitch = QN_ATTENTION_PITCH;
    int64_t q_row = io->heads * dim, k_row = io->kv_heads * dim;
    int64_t y_row = io->heads * wide, v_row = io->kv_heads * wide;
    int64_t q_at = (w->b * io->queries + i) * q_row + w->h * dim;
    int64_t y_at = (w->b * io->queries + i) * y_row + w->h * wide;
    int64_t k_at = (w->b * io->keys + key) * k_row + w->kv * dim;
    int64_t v_at = (w->b * io->keys + key) * v_row + w->kv * wide;
    int64_t dim_pairs = (dim + 1) / 2, wide_pairs = (wide + 1) / 2, row_pairs = (rows + 1) / 2;
    pack_queries(j, QN_ATTENTION_Q, io->q, q_at, q_row, rows, dim, n->queries, n->q);
    pack_queries(j, QN_ATTENTION_DY, j->grad->dy, y_at, y_row, rows, wide, n->slopes_y, n->dy);
    qn_attention_product(c, w->p, pitch,
                         (qn_attention_side){qn_attention_words(n->queries), dim_pairs, 1}, w->keys,
                         pitch, rows, count, dim_pairs, false);
    qn_attention_product(c, w->ds, pitch,
                         (qn_attention_side){qn_attention_words(n->slopes_y), wide_pairs, 1},
                         w->values, pitch, rows, count, wide_pairs, false);
    for (int64_t r = 0; r < rows; r++)
        block_row(j, w, i + r, r, key, count);
    /* For these queries alone: an odd last key must not bring in the one behind it, which may be anything. */
    qn_attention_pack(c, QN_ATTENTION_K)
        ->join(n->k, dim, qn_attention_at(io, QN_ATTENTION_K, io->k, k_at), k_row, count, dim);
    io->pairs->of_f32.join(n->p, pitch, w->p, pitch, rows, count);
    io->pairs->of_f32.join(n->ds, pitch, w->ds, pitch, rows, count);
    for (int64_t r = 0; r < rows; r++)
        io->pairs->of_f32.line((uint32_t *)(void *)(w->ds + r * pitch), w->ds + r * pitch, count);
    qn_attention_product(c, j->grad->dv + v_at, v_row,
                         (qn_attention_side){qn_attention_words(n->p), 1, pitch},
                         qn_attention_words(n->dy), wide, count, wide, row_pairs, true);
    qn_attention_product(c, j->grad->dk + k_at, k_row,
                         (qn_attention_side){qn_attention_words(n->ds), 1, pitch},
                         qn_attention_words(n->q), dim, count, dim, row_pairs, true);
    qn_attention_product(c, j->grad->dq + q_at, q_row, (qn_attention_side){w->ds, pitch, 1},
                         qn_attention_words(n->k), dim, rows, dim, (count + 1) / 2, true);
}

/* Keys and values of a block, turned. */
static void pack_keys(const job *j, const head *w, int64_t key, int64_t count)
{
    const qn_attention *io = j->common.io;
    int64_t k_row = io->kv_heads * io->dim, v_row = io->kv_heads * io->value_dim;
    int64_t at = w->b * io->keys + key;
    int64_t k_at = at * k_row + w->kv * io->dim, v_at = at * v_row + w->kv * io->value_dim;
    if (!io->pairs) {
        j->common.tile->transpose(w->keys, QN_ATTENTION_PITCH, io->k + k_at, k_row, io->dim, count);
        j->common.tile->transpose(w->values, QN_ATTENTION_PITCH, io->v + v_at, v_row, io->value_dim,
                                  count);
        return;
    }
    const qn_pairs_pack *pack_k = qn_attention_pack(&j->common, QN_ATTENTION_K);
    const qn_pairs_pack *pack_v = qn_attention_pack(&j->common, QN_ATTENTION_V);
    const void *k = qn_attention_at(io, QN_ATTENTION_K, io->k, k_at);
    const void *v = qn_attention_at(io, QN_ATTENTION_V, io->v, v_at);
    pack_k->turn((uint32_t *)(void *)w->keys, QN_ATTENTION_PITCH, k, k_row, io->dim, count);
    pack_v->turn((uint32_t *)(void *)w->values, QN_ATTENTION_PITCH, v, v_row, io->value_dim, count);
}

/* sum(dy y) of each query. */
static void find_deltas(const job *j, const head *w)
{
    const qn_attention *io = j->common.io;
    for (int64_t i = 0; i < io->queries; i++) {
        int64_t at = ((w->b * io->queries + i) * io->heads + w->h) * io->value_dim;
        const float *dy = j->grad->dy + at;
        if (io->halves & QN_ATTENTION_DY) {
            const void *half = qn_attention_at(io, QN_ATTENTION_DY, j->grad->dy, at);
            qn_half()->f32_of_bf16(w->pairs.line, half, io->value_dim);
            dy = w->pairs.line;
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
                (io->pairs ? block_pair_narrow : block_pair)(j, w, i, rows, key,
                                                             qn_min_i64(count, end - key));
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
