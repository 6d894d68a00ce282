/*
 * What forward and backward of attention share: a head's blocks of queries and keys, which keys a query sees, factors of
 * products as words, and products of blocks by the matrix micro-kernel. A word is one f32 or, where products are of
 * bf16, a pair of them that follow each other in the sum's order (gemm/pairs.h).
 */
#ifndef QN_KERNEL_ATTENTION_PRIV_H
#define QN_KERNEL_ATTENTION_PRIV_H

#include <string.h>

#include "base/checked.h"
#include "kernel/attention/attention.h"
#include "kernel/attention/attention_table.h"

enum {
    QN_ATTENTION_QUERIES =
        64, /* a block of scores, 64 x 128, is 32 KiB: half of L1, a part of L2 */
    QN_ATTENTION_KEYS = 128,
    QN_ATTENTION_PITCH =
        QN_ATTENTION_KEYS + 16, /* not a power of two: rows spread over the cache */
    QN_ATTENTION_BLOCK = QN_ATTENTION_QUERIES * QN_ATTENTION_PITCH,
    QN_ATTENTION_STEP =
        16 /* of a block's queries or keys, where not all of them see all: two tiles */
};

typedef struct {
    const qn_attention *io;
    const qn_tile_kernels *tile; /* of f32, or of pairs */
    const qn_attention_kernels *rows;
} qn_attention_job;

qn_attention_job qn_attention_job_make(const qn_attention *io);

static inline int64_t qn_attention_words(const qn_attention_job *j, int64_t count)
{
    return j->io->pairs ? (count + 1) / 2 : count;
}

/* Some rows of one head in q, k, v or dy, which one of these is `which`: `count` numbers each, from `at` on, the head's
 * rows being as far apart as all heads are wide. Those are read once and far apart, their words often and close together. */
typedef struct {
    const float *data;
    unsigned which;
    int64_t at, row, count;
} qn_attention_rows;
qn_attention_rows qn_attention_queries(const qn_attention *io, unsigned which, const float *data,
                                       int64_t b, int64_t i, int64_t h);
qn_attention_rows qn_attention_keys(const qn_attention *io, unsigned which, int64_t b, int64_t i,
                                    int64_t kv);
/* Their words: each row's own, [row][word]; those of one number below each other, [row, or pair of rows][number]; or
 * [word][row], QN_ATTENTION_PITCH apart. */
void qn_attention_lines(const qn_attention_job *j, float *dst, const qn_attention_rows *src,
                        int64_t rows);
void qn_attention_join(const qn_attention_job *j, float *dst, const qn_attention_rows *src,
                       int64_t rows);
void qn_attention_turn(const qn_attention_job *j, float *dst, const qn_attention_rows *src,
                       int64_t rows);
/* Rows of `count` scores, QN_ATTENTION_PITCH apart, become words where they lie. */
void qn_attention_narrow(const qn_attention_job *j, float *scores, int64_t rows, int64_t count);

/* A matrix of words seen through steps: element (r, c) at data[r * row + c * col]. */
typedef struct {
    const float *data;
    int64_t row, col;
} qn_attention_side;

/* c [rows, cols] (+)= a [rows, depth] b [depth, cols], depth in words. rows <= QN_ATTENTION_KEYS. */
void qn_attention_product(const qn_attention_job *j, float *c, int64_t ldc, qn_attention_side a,
                          const float *b, int64_t ldb, int64_t rows, int64_t cols, int64_t depth,
                          bool add);

/* Keys [*ret_first, *ret_end) that query i of batch b may see, before the mask. */
void qn_attention_range(const qn_attention *io, int64_t b, int64_t i, int64_t *ret_first,
                        int64_t *ret_end);
/* The same for queries [i, i + count). */
void qn_attention_block_range(const qn_attention *io, int64_t b, int64_t i, int64_t count,
                              int64_t *ret_first, int64_t *ret_end);

/* Zeros for the keys outside [low, high), low <= high, that a query does not see. */
static inline void qn_attention_blank(float *row, int64_t low, int64_t high, int64_t count)
{
    if (low > 0)
        memset(row, 0, (size_t)low * sizeof *row);
    if (high < count)
        memset(row + high, 0, (size_t)(count - high) * sizeof *row);
}

/* Whether queries of one block see different keys. */
static inline bool qn_attention_is_cut(const qn_attention *io)
{
    return io->causal || io->window > 0;
}
/* How many of `left` rows of a block share their products: all, or those between which few keys come into sight. */
static inline int64_t qn_attention_step(const qn_attention *io, int64_t left)
{
    return qn_attention_is_cut(io) ? qn_min_i64(QN_ATTENTION_STEP, left) : left;
}
/* How many of keys [key, key + count) products of queries [i, i + rows) must reach, in whole steps: no query sees a later
 * one, and later queries reach no fewer. */
int64_t qn_attention_reach(const qn_attention *io, int64_t b, int64_t i, int64_t rows, int64_t key,
                           int64_t count);

/* The bias of query i for keys from `key` on: the caller's, or made of `allowed` in `row`; NULL = none. */
const float *qn_attention_bias(const qn_attention *io, int64_t b, int64_t h, int64_t i, int64_t key,
                               int64_t count, float row[QN_ATTENTION_KEYS]);

#endif
