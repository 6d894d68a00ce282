/*
 * Bindings of positions. Cosines and sines are computed once, when the plan is bound, and lie behind the arguments.
 */
#include <math.h>
#include <string.h>

#include "graph/bind/bind.h"
#include "graph/op/position.h"
#include "kernel/position/rotary.h"

typedef struct {
    qn_rotary io;
    float tables[];
} rotary_args;

static void run_rotary(const void *args, qn_pool *pool, uint32_t step)
{
    (void)step;
    const rotary_args *a = args;
    qn_rotary_f32(pool, &a->io);
}

static void fill_tables(rotary_args *args, double base, double sign)
{
    const qn_rotary *io = &args->io;
    for (int64_t i = 0; i < io->steps * io->half; i++) {
        double turn = qn_op_angle(i / io->half, i % io->half, io->half, base);
        args->tables[i] = (float)cos(turn);
        args->tables[io->steps * io->half + i] = (float)(sign * sin(turn));
    }
}

static bool bind_rotary(const qn_bind *bind)
{
    const qn_shape *x = &bind->types->inputs[0].shape;
    int64_t turned = qn_op_attr_i(bind->types, "rotary_dim");
    if (!qn_bind_all_f32(bind))
        return false;
    qn_rotary io = {.batch = x->dims[0],
                    .steps = x->dims[1],
                    .heads = x->rank == 4 ? x->dims[2] : qn_op_attr_i(bind->types, "num_heads"),
                    .interleaved = qn_op_attr_i(bind->types, "interleaved") != 0,
                    .x = bind->inputs[0].data,
                    .y = bind->outputs[0].data};
    io.dim = x->dims[x->rank - 1] / (x->rank == 4 ? 1 : io.heads);
    io.half = (turned ? turned : io.dim) / 2;
    size_t table = (size_t)(io.steps * io.half) * sizeof(float);
    rotary_args *args = qn_bind_args(bind, sizeof *args + 2 * table);
    if (!args)
        return false;
    args->io = io;
    args->io.cosine = args->tables;
    args->io.sine = args->tables + io.steps * io.half;
    fill_tables(args, qn_op_attr_f(bind->types, "base"),
                qn_op_attr_i(bind->types, "inverse") ? -1 : 1);
    return qn_bind_to(bind, run_rotary, "rotary");
}

typedef struct {
    float *dst;
    size_t bytes;
    float table[];
} sinusoid_args;

static void run_sinusoid(const void *args, qn_pool *pool, uint32_t step)
{
    (void)pool;
    (void)step;
    const sinusoid_args *a = args;
    memcpy(a->dst, a->table, a->bytes);
}

static bool bind_sinusoid(const qn_bind *bind)
{
    if (!qn_bind_all_f32(bind))
        return false;
    const qn_shape *shape = &bind->types->outputs[0].shape;
    int64_t count = qn_shape_count(shape), dim = shape->dims[1];
    sinusoid_args *args = qn_bind_args(bind, sizeof *args + (size_t)count * sizeof(float));
    if (!args)
        return false;
    double base = qn_op_attr_f(bind->types, "base");
    for (int64_t i = 0; i < count; i++) {
        double turn = qn_op_angle(i / dim, i % dim / 2, (dim + 1) / 2, base);
        args->table[i] = (float)(i % dim % 2 ? cos(turn) : sin(turn));
    }
    args->dst = bind->outputs[0].data;
    args->bytes = (size_t)count * sizeof(float);
    return qn_bind_to(bind, run_sinusoid, "sinusoids");
}

const qn_binding qn_bindings_position[] = {
    {.op = "RotaryEmbedding", .bind = bind_rotary},
    {.op = "SinusoidalPositions", .bind = bind_sinusoid},
    {0},
};
