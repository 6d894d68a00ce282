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

/* A worker's scratch and place. */
typedef struct {
    float *p, *ds, *keys, *values; /* keys, values: transposed blocks */
    float *delta;                  /* [queries] */
    int64_t b, h, kv;
} head;

static void head_carve(const qn_attention *io, head *w, qn_carve *carve)
{
    w->p = qn_carve_take(carve, QN_ATTENTION_BLOCK * sizeof(float));
    w->ds = qn_carve_take(carve, QN_ATTENTION_BLOCK * sizeof(float));
    w->keys = qn_carve_take(carve, (size_t)io->dim * QN_ATTENTION_PITCH * sizeof(float));
    w->values = qn_carve_take(carve, (size_t)io->value_dim * QN_ATTENTION_PITCH * sizeof(float));
    w->delta = qn_carve_take(carve, (size_t)io->queries * sizeof(float));
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

static void head_run(const job *j, const head *w)
{
    const qn_attention *io = j->common.io;
    int64_t k_row = io->kv_heads * io->dim, v_row = io->kv_heads * io->value_dim;
    for (int64_t i = 0; i < io->queries; i++) {
        int64_t at = ((w->b * io->queries + i) * io->heads + w->h) * io->value_dim;
        w->delta[i] = j->reduce->dot(j->grad->dy + at, j->grad->y + at, io->value_dim);
    }
    for (int64_t key = 0; key < io->keys; key += QN_ATTENTION_KEYS) {
        int64_t count = qn_min_i64(QN_ATTENTION_KEYS, io->keys - key), at = w->b * io->keys + key;
        j->common.tile->transpose(w->keys, QN_ATTENTION_PITCH, io->k + at * k_row + w->kv * io->dim,
                                  k_row, io->dim, count);
        j->common.tile->transpose(w->values, QN_ATTENTION_PITCH,
                                  io->v + at * v_row + w->kv * io->value_dim, v_row, io->value_dim,
                                  count);
        for (int64_t i = 0; i < io->queries; i += QN_ATTENTION_QUERIES) {
            int64_t rows = qn_min_i64(QN_ATTENTION_QUERIES, io->queries - i), first, end;
            qn_attention_block_range(io, w->b, i, rows, &first, &end);
            if (key < end && key + count > first)
                block_pair(j, w, i, rows, key, qn_min_i64(count, end - key));
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
