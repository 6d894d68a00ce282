/*
 * What forward and backward of attention share: a head's blocks of queries and keys, which keys a query sees, and
 * products of blocks by the matrix micro-kernel.
 */
#ifndef QN_KERNEL_ATTENTION_PRIV_H
#define QN_KERNEL_ATTENTION_PRIV_H

#include "kernel/attention/attention.h"
#include "kernel/attention/attention_table.h"

enum {
    QN_ATTENTION_QUERIES =
        64, /* a block of scores, 64 x 128, is 32 KiB: half of L1, a part of L2 */
    QN_ATTENTION_KEYS = 128,
    QN_ATTENTION_PITCH =
        QN_ATTENTION_KEYS + 16, /* not a power of two: rows spread over the cache */
    QN_ATTENTION_BLOCK = QN_ATTENTION_QUERIES * QN_ATTENTION_PITCH
};

typedef struct {
    const qn_attention *io;
    const qn_tile_kernels *tile; /* of f32, or of pairs */
    const qn_attention_kernels *rows;
} qn_attention_job;

qn_attention_job qn_attention_job_make(const qn_attention *io);

/* A matrix seen through steps: element (r, c) at data[r * row + c * col]. */
typedef struct {
    const float *data;
    int64_t row, col;
} qn_attention_side;

/* c [rows, cols] (+)= a [rows, depth] b [depth, cols]. rows <= QN_ATTENTION_KEYS. Of pairs, a and b hold these and their
 * steps and depth count them. */
void qn_attention_product(const qn_attention_job *j, float *c, int64_t ldc, qn_attention_side a,
                          const float *b, int64_t ldb, int64_t rows, int64_t cols, int64_t depth,
                          bool add);

/* Pairs seen as the floats that products take. */
static inline const float *qn_attention_words(const uint32_t *pairs)
{
    return (const float *)(const void *)pairs;
}

/* The number at `index` of q, k, v or dy, which one of these is `which`, and how such numbers are packed. */
const void *qn_attention_at(const qn_attention *io, unsigned which, const float *data,
                            int64_t index);
const qn_pairs_pack *qn_attention_pack(const qn_attention_job *j, unsigned which);

/* Keys [*ret_first, *ret_end) that query i of batch b may see, before the mask. */
void qn_attention_range(const qn_attention *io, int64_t b, int64_t i, int64_t *ret_first,
                        int64_t *ret_end);
/* The same for queries [i, i + count). */
void qn_attention_block_range(const qn_attention *io, int64_t b, int64_t i, int64_t count,
                              int64_t *ret_first, int64_t *ret_end);

/* The bias of query i for keys from `key` on: the caller's, or made of `allowed` in `row`; NULL = none. */
const float *qn_attention_bias(const qn_attention *io, int64_t b, int64_t h, int64_t i, int64_t key,
                               int64_t count, float row[QN_ATTENTION_KEYS]);

#endif
