/*
 * Bindings of rows by index: embeddings and their gradient.
 */
#include "graph/bind/bind.h"
#include "kernel/move/move.h"

typedef struct {
    void *dst;
    const void *src;
    const int64_t *index;
    int64_t rows, cols, count;
} rows_args;

static void run_gather(const void *args, qn_pool *pool, uint32_t step)
{
    (void)step;
    const rows_args *a = args;
    qn_gather_rows(pool, a->dst, a->src, a->rows, (size_t)a->cols, a->index, a->count);
}

static void run_scatter(const void *args, qn_pool *pool, uint32_t step)
{
    (void)step;
    const rows_args *a = args;
    qn_scatter_add_rows_f32(pool, a->dst, a->rows, a->cols, a->src, a->index, a->count);
}

/* Elements of one row of the table [rows, ...]. */
static int64_t row_size(const qn_shape *table)
{
    int64_t size = 1;
    for (int d = 1; d < table->rank; d++)
        size *= table->dims[d];
    return size;
}

static rows_args *take_args(const qn_bind *bind, const qn_shape *table)
{
    rows_args *args = qn_bind_args(bind, sizeof *args);
    if (args)
        *args = (rows_args){.dst = bind->outputs[0].data,
                            .src = bind->inputs[0].data,
                            .index = bind->inputs[1].data,
                            .rows = table->dims[0],
                            .cols = row_size(table),
                            .count = qn_bind_count(&bind->inputs[1])};
    return args;
}

static bool bind_gather(const qn_bind *bind)
{
    rows_args *args = take_args(bind, &bind->types->inputs[0].shape);
    if (!args)
        return false;
    args->cols *= (int64_t)qn_dtype_size(bind->types->inputs[0].dtype);
    return qn_bind_to(bind, run_gather, "gather");
}

static bool bind_scatter(const qn_bind *bind)
{
    return bind->types->inputs[0].dtype == QN_DTYPE_F32 &&
           take_args(bind, &bind->types->outputs[0].shape) &&
           qn_bind_to(bind, run_scatter, "scatter");
}

const qn_binding qn_bindings_index[] = {
    {.op = "Gather", .bind = bind_gather},
    {.op = "ScatterAddRows", .bind = bind_scatter},
    {0},
};
