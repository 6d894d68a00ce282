/*
 * Broadcasting: walks the outer dimensions of a collapsed shape and hands rows of the innermost one to the kernels,
 * or, where an input moves by other steps than 0 or 1, to a strided loop of the same kernels on gathered pieces.
 */
#include "kernel/elementwise/binary.h"

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "kernel/elementwise/binary_table.h"
#include "kernel/isa.h"
#include "kernel/split.h"

enum {
    GRAIN = 16384,      /* elements, about 5 us of work read from L2 */
    GRAIN_POWER = 1024, /* powf costs about 5 ns */
    PIECE = 64          /* elements gathered at a time from an input with a wide stride */
};

static const qn_binary_kernels *choose(void)
{
    static const qn_binary_kernels *const rows[QN_CPU_LEVELS] = QN_ISA_ROWS(qn_binary_f32);
    return rows[qn_cpu_level()];
}

typedef struct job job;
/* One row: `count` results from input pointers at their first elements, moving by step[i]. */
typedef void (*row_fn)(const job *j, char *dst, const char *const src[QN_BCAST_INPUTS],
                       const int64_t step[QN_BCAST_INPUTS], int64_t count);

struct job {
    const qn_bcast *shape;
    int inputs;
    char *dst;
    size_t dst_bytes; /* of one element */
    const char *src[QN_BCAST_INPUTS];
    size_t src_bytes[QN_BCAST_INPUTS];
    row_fn row;
    const qn_binary_kernels *kernels;
    int op;
};

static void job_row(const job *j, int64_t row, int64_t first, int64_t count)
{
    const qn_bcast *s = j->shape;
    int inner = s->rank - 1;
    const char *src[QN_BCAST_INPUTS] = {0};
    int64_t step[QN_BCAST_INPUTS] = {0};
    for (int i = 0; i < j->inputs; i++) {
        int64_t at = first * s->stride[i][inner], left = row;
        for (int d = inner - 1; d >= 0; left /= s->dim[d], d--)
            at += left % s->dim[d] * s->stride[i][d];
        src[i] = j->src[i] + at * (int64_t)j->src_bytes[i];
        step[i] = s->stride[i][inner];
    }
    j->row(j, j->dst + (row * s->dim[inner] + first) * (int64_t)j->dst_bytes, src, step, count);
}

static void rows_range(void *context, int64_t first, int64_t end)
{
    const job *j = context;
    for (int64_t row = first; row < end; row++)
        job_row(j, row, 0, j->shape->dim[j->shape->rank - 1]);
}

static void columns_range(void *context, int64_t first, int64_t end)
{
    job_row(context, 0, first, end - first);
}

static void job_run(qn_pool *pool, job *j, int64_t grain)
{
    int64_t count = qn_bcast_count(j->shape), inner = j->shape->dim[j->shape->rank - 1];
    if (count == 0)
        return;
    if (count == inner)
        qn_split(pool, inner, grain, columns_range, j);
    else
        qn_split(pool, count / inner, qn_split_grain(inner, grain), rows_range, j);
}

/* Copies `count` values that lie `step` apart. */
static const float *piece_f32(float *dst, const float *src, int64_t step, int64_t count)
{
    if (step == 1)
        return src;
    for (int64_t i = 0; i < count; i++)
        dst[i] = src[i * step];
    return dst;
}

typedef void (*f32_loop)(void *dst, const float *a, const float *b, int64_t count, const job *j,
                         binary_form form);

static void loop_binary(void *dst, const float *a, const float *b, int64_t count, const job *j,
                        binary_form form)
{
    j->kernels->binary[j->op][form](dst, a, b, count);
}

static void loop_compare(void *dst, const float *a, const float *b, int64_t count, const job *j,
                         binary_form form)
{
    j->kernels->compare[j->op][form](dst, a, b, count);
}

/* Rows whose inputs move by any steps, in pieces; single values are gathered too (step 0). */
static void row_pieces(const job *j, char *dst, const char *const src[], const int64_t step[],
                       int64_t count, f32_loop loop)
{
    const float *a = (const float *)(const void *)src[0], *b = (const float *)(const void *)src[1];
    float as[PIECE], bs[PIECE];
    for (int64_t i = 0; i < count; i += PIECE) {
        int64_t n = count - i < PIECE ? count - i : PIECE;
        const float *x = piece_f32(as, a + i * step[0], step[0], n);
        const float *y = piece_f32(bs, b + i * step[1], step[1], n);
        loop(dst + i * (int64_t)j->dst_bytes, x, y, n, j, BINARY_VECTORS);
    }
}

static void row_f32(const job *j, char *dst, const char *const src[], const int64_t step[],
                    int64_t count, f32_loop loop)
{
    const float *a = (const float *)(const void *)src[0], *b = (const float *)(const void *)src[1];
    if (step[0] == 1 && step[1] == 1)
        loop(dst, a, b, count, j, BINARY_VECTORS);
    else if (step[0] == 0 && step[1] == 1)
        loop(dst, a, b, count, j, BINARY_A_SINGLE);
    else if (step[0] == 1 && step[1] == 0)
        loop(dst, a, b, count, j, BINARY_B_SINGLE);
    else
        row_pieces(j, dst, src, step, count, loop);
}

static void row_binary(const job *j, char *dst, const char *const src[], const int64_t step[],
                       int64_t count)
{
    row_f32(j, dst, src, step, count, loop_binary);
}

static void row_compare(const job *j, char *dst, const char *const src[], const int64_t step[],
                        int64_t count)
{
    row_f32(j, dst, src, step, count, loop_compare);
}

void qn_binary_f32(qn_pool *pool, qn_binary op, float *dst, const float *a, const float *b,
                   const qn_bcast *shape)
{
    job j = {.shape = shape,
             .inputs = 2,
             .dst = (char *)dst,
             .dst_bytes = sizeof *dst,
             .src = {(const char *)a, (const char *)b},
             .src_bytes = {sizeof *a, sizeof *b},
             .row = row_binary,
             .kernels = choose(),
             .op = (int)op};
    job_run(pool, &j, op == QN_BINARY_POW ? GRAIN_POWER : GRAIN);
}

void qn_compare_f32(qn_pool *pool, qn_compare op, uint8_t *dst, const float *a, const float *b,
                    const qn_bcast *shape)
{
    job j = {.shape = shape,
             .inputs = 2,
             .dst = (char *)dst,
             .dst_bytes = sizeof *dst,
             .src = {(const char *)a, (const char *)b},
             .src_bytes = {sizeof *a, sizeof *b},
             .row = row_compare,
             .kernels = choose(),
             .op = (int)op};
    job_run(pool, &j, GRAIN);
}

static void row_where(const job *j, char *dst_bytes, const char *const src[], const int64_t step[],
                      int64_t count)
{
    float *dst = (float *)(void *)dst_bytes;
    const uint8_t *condition = (const uint8_t *)src[0];
    const float *a = (const float *)(const void *)src[1], *b = (const float *)(const void *)src[2];
    if (step[0] == 1 && (step[1] & ~1) == 0 && (step[2] & ~1) == 0) {
        j->kernels->where(dst, condition, a, (int)step[1], b, (int)step[2], count);
        return;
    }
    for (int64_t i = 0; i < count; i++)
        dst[i] = condition[i * step[0]] ? a[i * step[1]] : b[i * step[2]];
}

void qn_where_f32(qn_pool *pool, float *dst, const uint8_t *condition, const float *a,
                  const float *b, const qn_bcast *shape)
{
    job j = {.shape = shape,
             .inputs = 3,
             .dst = (char *)dst,
             .dst_bytes = sizeof *dst,
             .src = {(const char *)condition, (const char *)a, (const char *)b},
             .src_bytes = {sizeof *condition, sizeof *a, sizeof *b},
             .row = row_where,
             .kernels = choose()};
    job_run(pool, &j, GRAIN);
}

/* Whole numbers wrap as unsigned ones do. */
static int64_t i64_of(qn_binary op, int64_t a, int64_t b)
{
    switch (op) {
    case QN_BINARY_ADD:
        return (int64_t)((uint64_t)a + (uint64_t)b);
    case QN_BINARY_SUB:
        return (int64_t)((uint64_t)a - (uint64_t)b);
    case QN_BINARY_MUL:
        return (int64_t)((uint64_t)a * (uint64_t)b);
    case QN_BINARY_DIV:
        return b == 0 ? 0 : b == -1 ? (int64_t)(0 - (uint64_t)a) : a / b;
    case QN_BINARY_MIN:
        return a < b ? a : b;
    case QN_BINARY_MAX:
        return a > b ? a : b;
    case QN_BINARY_SQUARED_DIFFERENCE:
        return (int64_t)(((uint64_t)a - (uint64_t)b) * ((uint64_t)a - (uint64_t)b));
    case QN_BINARY_PRELU:
        return a < 0 ? (int64_t)((uint64_t)a * (uint64_t)b) : a;
    default:
        QN_ASSERT(false && "an i64 operation");
        return 0;
    }
}

static void row_i64(const job *j, char *dst_bytes, const char *const src[], const int64_t step[],
                    int64_t count)
{
    int64_t *dst = (int64_t *)(void *)dst_bytes;
    const int64_t *a = (const int64_t *)(const void *)src[0],
                  *b = (const int64_t *)(const void *)src[1];
    for (int64_t i = 0; i < count; i++)
        dst[i] = i64_of((qn_binary)j->op, a[i * step[0]], b[i * step[1]]);
}

void qn_binary_i64(qn_pool *pool, qn_binary op, int64_t *dst, const int64_t *a, const int64_t *b,
                   const qn_bcast *shape)
{
    job j = {.shape = shape,
             .inputs = 2,
             .dst = (char *)dst,
             .dst_bytes = sizeof *dst,
             .src = {(const char *)a, (const char *)b},
             .src_bytes = {sizeof *a, sizeof *b},
             .row = row_i64,
             .op = (int)op};
    job_run(pool, &j, GRAIN);
}

static bool holds_i64(qn_compare op, int64_t a, int64_t b)
{
    switch (op) {
    case QN_COMPARE_EQ:
        return a == b;
    case QN_COMPARE_NE:
        return a != b;
    case QN_COMPARE_LT:
        return a < b;
    case QN_COMPARE_LE:
        return a <= b;
    case QN_COMPARE_GT:
        return a > b;
    default:
        return a >= b;
    }
}

static void row_compare_i64(const job *j, char *dst, const char *const src[], const int64_t step[],
                            int64_t count)
{
    const int64_t *a = (const int64_t *)(const void *)src[0],
                  *b = (const int64_t *)(const void *)src[1];
    for (int64_t i = 0; i < count; i++)
        dst[i] = (char)holds_i64((qn_compare)j->op, a[i * step[0]], b[i * step[1]]);
}

void qn_compare_i64(qn_pool *pool, qn_compare op, uint8_t *dst, const int64_t *a, const int64_t *b,
                    const qn_bcast *shape)
{
    job j = {.shape = shape,
             .inputs = 2,
             .dst = (char *)dst,
             .dst_bytes = sizeof *dst,
             .src = {(const char *)a, (const char *)b},
             .src_bytes = {sizeof *a, sizeof *b},
             .row = row_compare_i64,
             .op = (int)op};
    job_run(pool, &j, GRAIN);
}

static void row_logic(const job *j, char *dst, const char *const src[], const int64_t step[],
                      int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        bool a = src[0][i * step[0]] != 0, b = src[1][i * step[1]] != 0;
        dst[i] = (char)(j->op == QN_LOGIC_AND ? a && b : j->op == QN_LOGIC_OR ? a || b : a != b);
    }
}

void qn_logic_u8(qn_pool *pool, qn_logic op, uint8_t *dst, const uint8_t *a, const uint8_t *b,
                 const qn_bcast *shape)
{
    job j = {.shape = shape,
             .inputs = 2,
             .dst = (char *)dst,
             .dst_bytes = 1,
             .src = {(const char *)a, (const char *)b},
             .src_bytes = {1, 1},
             .row = row_logic,
             .op = (int)op};
    job_run(pool, &j, GRAIN);
}

void qn_not_u8(qn_pool *pool, uint8_t *dst, const uint8_t *src, int64_t count)
{
    (void)pool;
    for (int64_t i = 0; i < count; i++)
        dst[i] = src[i] == 0;
}
