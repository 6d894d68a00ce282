/*
 * The loop of the micro-kernel: sums of a register tile. The including file has set the vector's width (a vec_*.h
 * header), TILE_ROWS and TILE_VECS, UNROLL, and TILE_MULTIPLY where it is not a fused multiply-add.
 */
#include "kernel/gemm/tile.h"

#ifndef TILE_MULTIPLY
#define TILE_MULTIPLY(a, b, sum) vf_fma(a, b, sum)
#endif

/* Adds to rows [first, first + R) of the strip, V vectors wide, the last vector masked by `tail`. */
VEC void tile_sum(const int R, const int V, vf (*acc)[TILE_VECS], const qn_strip *s, int64_t first,
                  vm tail)
{
    const float *p[TILE_ROWS], *b = s->b;
    const int64_t ldb = s->ldb, step = s->step, len = s->seg_len;
    const bool far = s->far;
    UNROLL for (int i = 0; i < R; i++) p[i] = s->a + s->row[first + i];
    for (int64_t seg = 0; seg < s->segs; seg++) {
        int64_t at = s->seg[seg]; /* one moving index: the row pointers stay in registers */
        for (int64_t k = len; k > 0; k--, at += step, b += ldb) {
            vf x[TILE_VECS];
            if (far)
                __builtin_prefetch(p[R - 1] + at + 1, 0, 2);
            UNROLL for (int j = 0; j < V - 1; j++) x[j] = vf_load(b + j * VL);
            x[V - 1] = vf_load_mask(b + (V - 1) * VL, tail);
            UNROLL for (int i = 0; i < R; i++)
            {
                vf y = vf_set(p[i][at]);
                UNROLL for (int j = 0; j < V; j++) acc[i][j] = TILE_MULTIPLY(y, x[j], acc[i][j]);
            }
        }
    }
}
