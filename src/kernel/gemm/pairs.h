/*
 * Products of bf16 by pairs: two neighbours in k share 32 bits, the first in the lower half, and one instruction adds
 * both of their products to a sum in f32. So a pair is where a float was, and the micro-kernel is that of tile.h: a strip
 * (qn_strip) whose `a` and `b` hold pairs, `row`, `seg`, `step` and `ldb` counting pairs; C, bias and all that follows
 * are f32 as ever.
 *
 *      A [row][k] of bf16, as it lies (k and its stride even)       B packed: [k / 2][col] of (B[k][col], B[k + 1][col])
 *
 * Numbers become pairs where a driver copies them anyway (qn_pairs_pack), from f32 or from bf16; an odd k ends with a
 * zero. A strip multiplies them by AVX512_BF16 or, where the machine has them, by the tiles of AMX (strip_amx_body.h), for
 * which pairs lie as they must. Not for what a machine multiplies faster as floats: qn_pairs is NULL there.
 */
#ifndef QN_KERNEL_PAIRS_H
#define QN_KERNEL_PAIRS_H

#include "kernel/gemm/tile.h"

/* From one type of number in memory. `lds` counts numbers, `ldd` pairs. Rounds to nearest, ties to even; NaN stays NaN.
 * Reads no number outside [depth, cols] and writes the pairs of all of `depth` alone, the last with 0 where it is odd. */
typedef struct {
    /* One line along k: dst[k / 2] = (src[k], src[k + 1]). */
    void (*line)(uint32_t *dst, const void *src, int64_t depth);
    /* Lines of one k: dst[k / 2 * ldd + j] = (src[k * lds + j], src[(k + 1) * lds + j]). */
    void (*join)(uint32_t *dst, int64_t ldd, const void *src, int64_t lds, int64_t depth,
                 int64_t cols);
    /* Lines along k: dst[k / 2 * ldd + j] = (src[j * lds + k], src[j * lds + k + 1]). */
    void (*turn)(uint32_t *dst, int64_t ldd, const void *src, int64_t lds, int64_t depth,
                 int64_t cols);
} qn_pairs_pack;

typedef struct {
    /* Accuracy: of each element 2 * pairs + 2 roundings in the order of tile.h, those within a pair, by tiles within 16
     * pairs, in an order of the instruction's own; denormals count as zero on the way in and out, whatever the control
     * register says (the kernels in plain C keep them). The transpose moves pairs. */
    const qn_tile_kernels *tile;
    qn_pairs_pack of_f32, of_bf16;
} qn_pairs_kernels;

extern const qn_pairs_kernels qn_pairs_ref, qn_pairs_avx512bf16;
/* By tiles, and by tiles in plain C for tests. */
extern const qn_pairs_kernels qn_pairs_amx, qn_pairs_soft;
/* Those of the CPU level in force, or NULL where products of pairs are not the fastest. */
const qn_pairs_kernels *qn_pairs(void);

/* A line of pairs is read in place where it is even and lies on an even number. */
static inline bool qn_pairs_lie(const void *src, int64_t lds, int64_t depth)
{
    return depth % 2 == 0 && lds % 2 == 0 && (uintptr_t)src % sizeof(uint32_t) == 0;
}

#endif
