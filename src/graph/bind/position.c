/*
 * Bindings of positions. Cosines and sines are computed once, when the plan is bound, and lie behind the arguments; where
 * rows begin at positions known only at run time, in each run.
 */
#include <math.h>
#include <string.h>

#include "graph/bind/bind.h"
#include "graph/op/position.h"
#include "kernel/position/rotary.h"

static const int64_t *starts_of(const qn_bind *bind)
{
    bool given = bind->types->inputs_count > 1 && bind->types->inputs[1].shape.rank >= 0;
    return given ? bind->inputs[1].data : NULL;
}

/* All but `starts`, which is of integers. */
static bool is_f32(const qn_bind *bind)
{
    return bind->types->inputs[0].dtype == QN_DTYPE_F32;
}

typedef struct {
    qn_rotary io;
    const int64_t *starts; /* NULL: the tables are filled already */
    double base, sign;
    float tables[];
} rotary_args;

/* cosine and sine: `rows` steps. */
static void fill_tables(const rotary_args *args, float *cosine, float *sine, int64_t rows)
{
    const qn_rotary *io = &args->io;
    for (int64_t i = 0; i < rows * io->half; i++) {
        int64_t row = i / io->half, at = row % io->steps;
        at += args->starts ? args->starts[row / io->steps] : 0;
        double turn = qn_op_angle(at, i % io->half, io->half, args->base);
        cosine[i] = (float)cos(turn);
        sine[i] = (float)(args->sign * sin(turn));
    }
}

static void run_rotary(const void *args, qn_pool *pool, uint32_t step)
{
    (void)step;
    const rotary_args *a = args;
    qn_rotary_f32(pool, &a->io);
}

/* The tables lie in scratch. */
static void run_moved(const void *args, qn_pool *pool, uint32_t step)
{
    (void)step;
    const rotary_args *a = args;
    float *tables = (float *)(uintptr_t)a->io.cosine;
    int64_t rows = a->io.batch * a->io.steps;
    fill_tables(a, tables, tables + rows * a->io.half, rows);
    qn_rotary_f32(pool, &a->io);
}

static qn_rotary describe_rotary(const qn_bind *bind)
{
    const qn_shape *x = &bind->types->inputs[0].shape;
    int64_t turned = qn_op_attr_i(bind->types, "rotary_dim");
    qn_rotary io = {.batch = x->dims[0],
                    .steps = x->dims[1],
                    .heads = x->rank == 4 ? x->dims[2] : qn_op_attr_i(bind->types, "num_heads"),
                    .interleaved = qn_op_attr_i(bind->types, "interleaved") != 0,
                    .by_row = starts_of(bind) != NULL,
                    .x = bind->inputs[0].data,
                    .y = bind->outputs[0].data};
    io.dim = x->dims[x->rank - 1] / (x->rank == 4 ? 1 : io.heads);
    io.half = (turned ? turned : io.dim) / 2;
    return io;
}

static size_t rotary_scratch(const qn_bind *bind)
{
    qn_rotary io = describe_rotary(bind);
    bool moved = bind->types->inputs_count > 1;
    return moved ? 2 * (size_t)(io.batch * io.steps * io.half) * sizeof(float) : 0;
}

static bool bind_rotary(const qn_bind *bind)
{
    if (!is_f32(bind))
        return false;
    qn_rotary io = describe_rotary(bind);
    int64_t table = (io.by_row ? io.batch : 1) * io.steps * io.half;
    rotary_args *args =
        qn_bind_args(bind, sizeof *args + (io.by_row ? 0 : 2 * (size_t)table * sizeof(float)));
    if (!args)
        return false;
    float *tables = io.by_row ? bind->scratch : args->tables;
    *args = (rotary_args){.io = io,
                          .starts = starts_of(bind),
                          .base = qn_op_attr_f(bind->types, "base"),
                          .sign = qn_op_attr_i(bind->types, "inverse") ? -1 : 1};
    args->io.cosine = tables;
    args->io.sine = tables + table;
    if (io.by_row)
        return qn_bind_to(bind, run_moved, "rotary");
    fill_tables(args, tables, tables + table, io.steps);
    return qn_bind_to(bind, run_rotary, "rotary");
}

typedef struct {
    float *dst;
    const int64_t *starts; /* NULL: the table is filled already */
    int64_t count, steps, dim;
    double base;
    float table[];
} sinusoid_args;

static void fill_sinusoids(const sinusoid_args *a, float *dst)
{
    for (int64_t i = 0; i < a->count; i++) {
        int64_t step = i / a->dim % a->steps;
        step += a->starts ? a->starts[i / a->dim / a->steps] : 0;
        double turn = qn_op_angle(step, i % a->dim / 2, (a->dim + 1) / 2, a->base);
        dst[i] = (float)(i % a->dim % 2 ? cos(turn) : sin(turn));
    }
}

static void run_moved_sinusoid(const void *args, qn_pool *pool, uint32_t step)
{
    (void)pool;
    (void)step;
    const sinusoid_args *a = args;
    fill_sinusoids(a, a->dst);
}

static void run_sinusoid(const void *args, qn_pool *pool, uint32_t step)
{
    (void)pool;
    (void)step;
    const sinusoid_args *a = args;
    memcpy(a->dst, a->table, (size_t)a->count * sizeof(float));
}

static bool bind_sinusoid(const qn_bind *bind)
{
    if (!is_f32(bind))
        return false;
    const qn_shape *shape = &bind->types->outputs[0].shape;
    int64_t count = qn_shape_count(shape);
    const int64_t *starts = starts_of(bind);
    sinusoid_args *args =
        qn_bind_args(bind, sizeof *args + (starts ? 0 : (size_t)count * sizeof(float)));
    if (!args)
        return false;
    *args = (sinusoid_args){.dst = bind->outputs[0].data,
                            .starts = starts,
                            .count = count,
                            .steps = shape->dims[shape->rank - 2],
                            .dim = shape->dims[shape->rank - 1],
                            .base = qn_op_attr_f(bind->types, "base")};
    if (starts)
        return qn_bind_to(bind, run_moved_sinusoid, "sinusoids");
    fill_sinusoids(args, args->table);
    return qn_bind_to(bind, run_sinusoid, "sinusoids");
}

const qn_binding qn_bindings_position[] = {
    {.op = "RotaryEmbedding", .bind = bind_rotary, .scratch_bytes = rotary_scratch},
    {.op = "SinusoidalPositions", .bind = bind_sinusoid},
    {0},
};
