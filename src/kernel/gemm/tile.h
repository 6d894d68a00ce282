/*
 * The one matrix micro-kernel: a strip of C, any number of rows by at most `vecs_max` vectors of
 * columns, as a sum of outer products held in registers. Matrix products and convolutions are
 * drivers that choose addresses for it.
 *
 *              B: segs * seg_len rows of ldb, up to vecs_max * lanes columns
 *              +-----------+
 *              |           |          A is read one number at a time, at
 *              +-----------+            a + row[i] + seg[s] + k * step
 *   A  . . .   +-----------+          so that a row may be a matrix row (step 1), a column (step
 * lda), an image pixel . . .   |     C     |          with one segment per filter row, or a filter
 * tap walking over pixels. . . .   +-----------+
 *
 * Each element is one chain of fused multiply-adds in rising (s, k), starting from 0 or from C.
 */
#ifndef QN_KERNEL_TILE_H
#define QN_KERNEL_TILE_H

#include <stdbool.h>
#include <stdint.h>

#include "kernel/act.h"

typedef struct {
    int64_t rows; /* of C, >= 1 */
    int cols;     /* of C, 1..vecs_max * lanes */
    const float *a;
    const int64_t *row; /* [rows] */
    const int64_t *seg; /* [segs] */
    int64_t segs, seg_len, step;
    /* No prefetcher follows A's columns: the numbers behind those of a tile's last row are fetched on the way. */
    bool far;
    const float *b;
    int64_t ldb;
    float *c;
    int64_t ldc;
    bool add;           /* start from C instead of 0 */
    const float *bias;  /* [cols] added at the end, or NULL */
    const float *added; /* as C, with its stride: added after the bias, or NULL */
    bool relu;          /* last of all */
    const float *
        next; /* the C, of the same stride, that follows this one; fetched on the way. NULL = none is */
} qn_strip;

typedef struct {
    int lanes, vecs_max;
    void (*strip)(const qn_strip *strip);
    /* The same for one row, of any number of columns: wide enough at a time to read B as fast as it comes. */
    void (*line)(const qn_strip *strip);
    /* dst[k * ldd + j] = src[j * lds + k] for k in [0, depth), j in [0, cols) */
    void (*transpose)(float *dst, int64_t ldd, const float *src, int64_t lds, int64_t depth,
                      int64_t cols);
    /* In place over [rows, cols] of stride ldc. */
    void (*activate)(float *c, int64_t ldc, int64_t rows, int64_t cols, qn_act act, float slope);
    /* Around many strips of one thread, what they need being set up once (qn_tile_begin, qn_tile_end); NULL = nothing is.
     * They nest, and strips work without them. The thread must not use tiles by other means between. */
    void (*begin)(void), (*end)(void);
} qn_tile_kernels;

static inline void qn_tile_begin(const qn_tile_kernels *kernels)
{
    if (kernels->begin)
        kernels->begin();
}

static inline void qn_tile_end(const qn_tile_kernels *kernels)
{
    if (kernels->end)
        kernels->end();
}

extern const qn_tile_kernels qn_tile_f32_ref, qn_tile_f32_neon, qn_tile_f32_avx2,
    qn_tile_f32_avx512;
/* Over pairs of bf16: see pairs.h. */
extern const qn_tile_kernels qn_tile_bf16_avx512bf16, qn_tile_bf16_amx, qn_tile_bf16_soft;
/* Those of the CPU level in force. */
const qn_tile_kernels *qn_tile_f32(void);

/* Columns [0, total) cut into panels of at most vecs_max vectors, as equal as whole vectors allow.
 */
int64_t qn_tile_panels(const qn_tile_kernels *kernels, int64_t total);
/* First column of panel p; p = panels gives total. */
int64_t qn_tile_panel_start(const qn_tile_kernels *kernels, int64_t total, int64_t panel);

/* A product of small blocks by one worker: c [rows, cols] = a [rows, depth] b [depth, cols] + bias, added to c where
 * asked. a is seen through steps, element (r, k) at a[r * a_row + k * a_col]. rows <= QN_TILE_ROWS_MAX. */
enum { QN_TILE_ROWS_MAX = 128 };
typedef struct {
    int64_t rows, cols, depth;
    const float *a;
    int64_t a_row, a_col;
    const float *b;
    int64_t ldb;
    float *c;
    int64_t ldc;
    const float *bias; /* [cols] or NULL */
    bool add;
} qn_tile_product;
void qn_tile_multiply(const qn_tile_kernels *kernels, const qn_tile_product *product);

#endif
