/*
 * Walking the blocks of number.h.
 */
#include "graph/op/number.h"

#include <math.h>
#include <string.h>

#include "graph/op/common.h"

typedef enum { WIDE_F64, WIDE_I64, WIDE_U64 } wide_type;
typedef union {
    double f64[QN_OP_BLOCK];
    int64_t i64[QN_OP_BLOCK];
    uint64_t u64[QN_OP_BLOCK];
} block;

static wide_type wide_of(const qn_op_run *run)
{
    wide_type wide = WIDE_I64;
    for (int i = 0; i <= run->types->inputs_count; i++) {
        bool input = i < run->types->inputs_count;
        if (input && !run->inputs[i].data)
            continue;
        qn_dtype dtype = input ? run->inputs[i].dtype : run->outputs[0].dtype;
        if (qn_dtype_is_float(dtype))
            return WIDE_F64;
        if (dtype == QN_DTYPE_U64)
            wide = WIDE_U64;
    }
    return wide;
}

static void apply(const qn_op_loops *loops, wide_type wide, block *y, const block *const *x,
                  int count, const double *p)
{
    const double *f64[QN_OP_MAP_INPUTS];
    const int64_t *i64[QN_OP_MAP_INPUTS];
    const uint64_t *u64[QN_OP_MAP_INPUTS];
    for (int i = 0; i < QN_OP_MAP_INPUTS; i++) {
        f64[i] = x[i]->f64;
        i64[i] = x[i]->i64;
        u64[i] = x[i]->u64;
    }
    if (wide == WIDE_F64)
        loops->f64(y->f64, f64, count, p);
    else if (wide == WIDE_U64 && loops->u64)
        loops->u64(y->u64, u64, count, p);
    else
        loops->i64(y->i64, i64, count, p);
}

static void read_block(block *dst, wide_type wide, const qn_tensor *src, int64_t at, int64_t step,
                       int count)
{
    const char *from = (const char *)src->data + at * (int64_t)qn_dtype_size(src->dtype);
    if (wide == WIDE_F64)
        qn_dtype_read_f64(dst->f64, from, src->dtype, step, count);
    else
        qn_dtype_read_i64(dst->i64, from, src->dtype, step, count);
}

static void write_block(const qn_tensor *dst, int64_t at, wide_type wide, const block *src,
                        int count)
{
    char *to = (char *)dst->data + at * (int64_t)qn_dtype_size(dst->dtype);
    if (wide == WIDE_F64)
        qn_dtype_write_f64(to, dst->dtype, src->f64, count);
    else
        qn_dtype_write_i64(to, dst->dtype, src->i64, count);
}

/* The output cut into rows of its last dimension, or one row of all when nothing is broadcast but
 * single numbers. */
static qn_shape rows_of(const qn_op_run *run)
{
    const qn_shape *out = &run->outputs[0].shape;
    int64_t count = qn_shape_count(out);
    bool flat = true;
    for (int i = 0; i < run->types->inputs_count; i++) {
        int64_t own = run->inputs[i].data ? qn_shape_count(&run->inputs[i].shape) : 1;
        flat = flat && (own == count || own == 1);
    }
    return flat ? QN_SHAPE(count) : *out;
}

/* Where input `i` begins in the row that starts at `flat`, and how far apart its elements are. */
static int64_t find_row(const qn_op_run *run, const qn_shape *rows, int i, int64_t flat,
                        int64_t *ret_step)
{
    const qn_shape *own = &run->inputs[i].shape;
    int64_t strides[QN_RANK_MAX] = {0};
    if (rows->rank == 1 && qn_shape_count(own) != 1)
        strides[0] = 1;
    else if (rows->rank > 1)
        qn_op_strides(own, rows, strides);
    *ret_step = strides[rows->rank - 1];
    return qn_op_offset(rows, strides, flat);
}

typedef void (*row_fn)(const qn_op_run *run, const qn_op_loops *loops, const double *p,
                       const qn_shape *rows, int64_t flat, int count);

static void walk(const qn_op_run *run, const qn_op_loops *loops, const double *p, row_fn fn)
{
    qn_shape rows = rows_of(run);
    int64_t count = qn_shape_count(&rows), length = rows.dims[rows.rank - 1];
    for (int64_t row = 0; row < count; row += length)
        for (int64_t at = 0; at < length; at += QN_OP_BLOCK) {
            int64_t rest = length - at;
            fn(run, loops, p, &rows, row + at, rest < QN_OP_BLOCK ? (int)rest : QN_OP_BLOCK);
        }
}

static void map_block(const qn_op_run *run, const qn_op_loops *loops, const double *p,
                      const qn_shape *rows, int64_t flat, int count)
{
    wide_type wide = wide_of(run);
    block x[QN_OP_MAP_INPUTS], y;
    for (int i = 0; i < run->types->inputs_count; i++) {
        int64_t step = 0;
        if (!run->inputs[i].data)
            continue;
        int64_t at = find_row(run, rows, i, flat, &step);
        read_block(&x[i], wide, &run->inputs[i], at, step, count);
    }
    apply(loops, wide, &y, (const block *const[]){&x[0], &x[1], &x[2]}, count, p);
    write_block(&run->outputs[0], flat, wide, &y, count);
}

void qn_op_map(const qn_op_run *run, const qn_op_loops *loops, const double *p)
{
    QN_ASSERT(run->types->inputs_count <= QN_OP_MAP_INPUTS);
    walk(run, loops, p, map_block);
}

static void fold_block(const qn_op_run *run, const qn_op_loops *loops, const double *p,
                       const qn_shape *rows, int64_t flat, int count)
{
    wide_type wide = wide_of(run);
    block so_far, x, y;
    for (int i = 0; i < run->types->inputs_count; i++) {
        int64_t step = 0, at = find_row(run, rows, i, flat, &step);
        read_block(i == 0 ? &so_far : &x, wide, &run->inputs[i], at, step, count);
        if (i == 0)
            continue;
        apply(loops, wide, &y, (const block *const[]){&so_far, &x, &x}, count, p);
        memcpy(&so_far, &y, sizeof so_far);
    }
    write_block(&run->outputs[0], flat, wide, &so_far, count);
}

void qn_op_fold(const qn_op_run *run, const qn_op_loops *loops, const double *p)
{
    walk(run, loops, p, fold_block);
}

static char *address(const qn_tensor *tensor, int64_t at)
{
    return (char *)tensor->data + at * (int64_t)qn_dtype_size(tensor->dtype);
}

double qn_op_get(const qn_tensor *tensor, int64_t at)
{
    double value = 0;
    qn_dtype_read_f64(&value, address(tensor, at), tensor->dtype, 1, 1);
    return value;
}

int64_t qn_op_get_i64(const qn_tensor *tensor, int64_t at)
{
    int64_t value = 0;
    qn_dtype_read_i64(&value, address(tensor, at), tensor->dtype, 1, 1);
    return value;
}

void qn_op_put(const qn_tensor *tensor, int64_t at, double value)
{
    qn_dtype_write_f64(address(tensor, at), tensor->dtype, &value, 1);
}

void qn_op_put_i64(const qn_tensor *tensor, int64_t at, int64_t value)
{
    qn_dtype_write_i64(address(tensor, at), tensor->dtype, &value, 1);
}

void qn_op_put_from(const qn_tensor *dst, int64_t at, const qn_tensor *src, int64_t from)
{
    memcpy(address(dst, at), address(src, from), qn_dtype_size(dst->dtype));
}

int qn_op_compare(const qn_tensor *a, int64_t a_at, const qn_tensor *b, int64_t b_at)
{
    if (qn_dtype_is_float(a->dtype)) {
        double x = qn_op_get(a, a_at), y = qn_op_get(b, b_at);
        if (isnan(x) || isnan(y))
            return isnan(x) - isnan(y);
        return (x > y) - (x < y);
    }
    int64_t x = qn_op_get_i64(a, a_at), y = qn_op_get_i64(b, b_at);
    if (a->dtype == QN_DTYPE_U64)
        return ((uint64_t)x > (uint64_t)y) - ((uint64_t)x < (uint64_t)y);
    return (x > y) - (x < y);
}
