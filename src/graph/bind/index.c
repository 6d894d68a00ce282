/*
 * Bindings of rows by index: embeddings and their gradient.
 */
#include <string.h>

#include "graph/bind/bind.h"
#include "kernel/move/move.h"

typedef struct {
    void *dst;
    const void *table; /* what AddRows adds to; NULL: zeros */
    const void *src;
    const int64_t *index;
    int64_t outer, rows, cols, count; /* cols: elements of a row, in bytes when gathering */
    size_t dst_bytes, src_bytes;      /* of one outer step */
} rows_args;

static void run_gather(const void *args, qn_pool *pool, uint32_t step)
{
    (void)step;
    const rows_args *a = args;
    for (int64_t o = 0; o < a->outer; o++)
        qn_gather_rows(pool, (char *)a->dst + (size_t)o * a->dst_bytes,
                       (const char *)a->src + (size_t)o * a->src_bytes, a->rows, (size_t)a->cols,
                       a->index, a->count);
}

static void run_scatter(const void *args, qn_pool *pool, uint32_t step)
{
    (void)step;
    const rows_args *a = args;
    if (a->table && a->table != a->dst)
        memcpy(a->dst, a->table, (size_t)(a->outer * a->rows * a->cols) * sizeof(float));
    for (int64_t o = 0; o < a->outer; o++)
        qn_scatter_add_rows_f32(pool, (float *)a->dst + o * a->rows * a->cols, a->rows, a->cols,
                                (const float *)a->src + o * a->count * a->cols, a->index, a->count,
                                a->table != NULL);
}

/* `table` is [outer..., rows, one row...]; `at`: the input of rows, before that of indices. */
static rows_args *take_args(const qn_bind *bind, const qn_shape *table, int at)
{
    int64_t axis = qn_op_attr_i(bind->types, "axis");
    rows_args *args = qn_bind_args(bind, sizeof *args);
    if (!args || bind->types->inputs[at + 1].dtype != QN_DTYPE_I64)
        return NULL;
    axis = axis < 0 ? axis + table->rank : axis;
    *args = (rows_args){.dst = bind->outputs[0].data,
                        .src = bind->inputs[at].data,
                        .index = bind->inputs[at + 1].data,
                        .outer = 1,
                        .rows = table->dims[axis],
                        .cols = 1,
                        .count = qn_bind_count(&bind->inputs[at + 1])};
    for (int d = 0; d < table->rank; d++)
        if (d != axis)
            *(d < axis ? &args->outer : &args->cols) *= table->dims[d];
    return args;
}

static bool bind_gather(const qn_bind *bind)
{
    rows_args *args = take_args(bind, &bind->types->inputs[0].shape, 0);
    if (!args)
        return false;
    args->cols *= (int64_t)qn_dtype_size(bind->types->inputs[0].dtype);
    args->dst_bytes = (size_t)(args->cols * args->count);
    args->src_bytes = (size_t)(args->cols * args->rows);
    return qn_bind_to(bind, run_gather, "gather");
}

static bool bind_scatter(const qn_bind *bind)
{
    return bind->types->inputs[0].dtype == QN_DTYPE_F32 &&
           take_args(bind, &bind->types->outputs[0].shape, 0) &&
           qn_bind_to(bind, run_scatter, "scatter");
}

static bool bind_add_rows(const qn_bind *bind)
{
    rows_args *args = bind->types->inputs[0].dtype == QN_DTYPE_F32
                          ? take_args(bind, &bind->types->outputs[0].shape, 1)
                          : NULL;
    if (!args)
        return false;
    args->table = bind->inputs[0].data;
    return qn_bind_to(bind, run_scatter, "scatter");
}

const qn_binding qn_bindings_index[] = {
    {.op = "Gather", .bind = bind_gather},
    {.op = "ScatterAddRows", .bind = bind_scatter},
    {.op = "AddRows", .bind = bind_add_rows},
    {0},
};
