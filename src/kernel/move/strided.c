/*
 * Strided copies. Collapsing sorts the dimensions by the destination's stride and joins what both sides walk as one;
 * then the innermost dimension is a memcpy, or the two innermost form a transpose, or elements move one by one.
 */
#include "kernel/gemm/tile.h"
#include "kernel/move/move.h"
#include "kernel/split.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum {
    GRAIN_BYTES = 64 << 10,
    BLOCK = 64 /* of a transpose: 64 x 64 floats on both sides fit L1 */
};

static void dimension_swap(qn_strided *s, int a, int b)
{
    int64_t dim = s->dim[a], dst = s->dst_stride[a], src = s->src_stride[a];
    s->dim[a] = s->dim[b];
    s->dst_stride[a] = s->dst_stride[b];
    s->src_stride[a] = s->src_stride[b];
    s->dim[b] = dim;
    s->dst_stride[b] = dst;
    s->src_stride[b] = src;
}

void qn_strided_collapse(qn_strided *s)
{
    int kept = 0;
    for (int d = 0; d < s->rank; d++)
        if (s->dim[d] != 1)
            dimension_swap(s, kept++, d);
    s->rank = kept;
    for (int i = 1; i < s->rank; i++)
        for (int d = i; d > 0 && llabs(s->dst_stride[d]) > llabs(s->dst_stride[d - 1]); d--)
            dimension_swap(s, d, d - 1);
    kept = 0;
    for (int d = 1; d < s->rank; d++) {
        bool joins = s->dst_stride[kept] == s->dst_stride[d] * s->dim[d] &&
                     s->src_stride[kept] == s->src_stride[d] * s->dim[d];
        if (joins) {
            s->dim[kept] *= s->dim[d];
            s->dst_stride[kept] = s->dst_stride[d];
            s->src_stride[kept] = s->src_stride[d];
        } else {
            dimension_swap(s, ++kept, d);
        }
    }
    s->rank = s->rank ? kept + 1 : 0;
}

typedef struct {
    qn_strided shape;
    char *dst;
    const char *src;
    int bytes;
    int inner; /* dimensions that one row covers: 1, or 2 for a transpose */
} job;

/* Elements of one size, one by one. */
#define STEPS(type)                                                                                \
    static void steps_##type(char *dst, const char *src, int64_t count, int64_t to, int64_t from)  \
    {                                                                                              \
        type *d = (type *)(void *)dst;                                                             \
        const type *s = (const type *)(const void *)src;                                           \
        for (int64_t i = 0; i < count; i++)                                                        \
            d[i * to] = s[i * from];                                                               \
    }
STEPS(uint8_t)
STEPS(uint16_t)
STEPS(uint32_t)
STEPS(uint64_t)

static void row_copy(const job *j, char *dst, const char *src)
{
    int last = j->shape.rank - 1;
    int64_t count = j->shape.dim[last], to = j->shape.dst_stride[last],
            from = j->shape.src_stride[last];
    if (to == 1 && from == 1)
        memcpy(dst, src, (size_t)count * (size_t)j->bytes);
    else if (j->bytes == 1)
        steps_uint8_t(dst, src, count, to, from);
    else if (j->bytes == 2)
        steps_uint16_t(dst, src, count, to, from);
    else if (j->bytes == 4)
        steps_uint32_t(dst, src, count, to, from);
    else
        steps_uint64_t(dst, src, count, to, from);
}

/* dst[r, c] with c contiguous, src[r, c] with r contiguous. */
static void transpose_copy(const job *j, char *dst, const char *src)
{
    int c = j->shape.rank - 1, r = c - 1;
    const qn_tile_kernels *kernels = qn_tile_f32();
    int64_t ldd = j->shape.dst_stride[r], lds = j->shape.src_stride[c];
    float *to = (float *)(void *)dst;
    const float *from = (const float *)(const void *)src;
    for (int64_t i = 0; i < j->shape.dim[r]; i += BLOCK) {
        int64_t rows = j->shape.dim[r] - i < BLOCK ? j->shape.dim[r] - i : BLOCK;
        for (int64_t k = 0; k < j->shape.dim[c]; k += BLOCK) {
            int64_t cols = j->shape.dim[c] - k < BLOCK ? j->shape.dim[c] - k : BLOCK;
            kernels->transpose(to + i * ldd + k, ldd, from + k * lds + i, lds, rows, cols);
        }
    }
}

static void rows_range(void *context, int64_t first, int64_t end)
{
    const job *j = context;
    for (int64_t row = first; row < end; row++) {
        int64_t to = 0, from = 0, left = row;
        for (int d = j->shape.rank - j->inner - 1; d >= 0; left /= j->shape.dim[d], d--) {
            to += left % j->shape.dim[d] * j->shape.dst_stride[d];
            from += left % j->shape.dim[d] * j->shape.src_stride[d];
        }
        if (j->inner == 2)
            transpose_copy(j, j->dst + to * j->bytes, j->src + from * j->bytes);
        else
            row_copy(j, j->dst + to * j->bytes, j->src + from * j->bytes);
    }
}

/* The shape split in two along its longest outer dimension would be a plan of its own; here only whole rows are
 * shared out, so a single long row stays with the caller. */
void qn_copy_strided(qn_pool *pool, void *dst, const void *src, const qn_strided *shape,
                     int element_bytes)
{
    job j = {.shape = *shape, .dst = dst, .src = src, .bytes = element_bytes, .inner = 1};
    if (j.shape.rank == 0) {
        memcpy(dst, src, (size_t)element_bytes);
        return;
    }
    int c = j.shape.rank - 1, r = c - 1;
    bool turned = element_bytes == 4 && r >= 0 && j.shape.dst_stride[c] == 1 &&
                  j.shape.src_stride[r] == 1 && j.shape.dst_stride[r] > 0 &&
                  j.shape.src_stride[c] > 1;
    j.inner = turned ? 2 : 1;
    int64_t rows = 1, row = 1;
    for (int d = 0; d < j.shape.rank; d++)
        *(d < j.shape.rank - j.inner ? &rows : &row) *= j.shape.dim[d];
    if (rows > 0 && row > 0)
        qn_split(pool, rows, qn_split_grain(row * element_bytes, GRAIN_BYTES), rows_range, &j);
}
