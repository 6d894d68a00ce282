/*
 * Bindings of batch normalisation: with the batch's statistics in a training plan, with the running ones otherwise.
 */
#include <string.h>

#include "graph/bind/bind.h"
#include "kernel/norm/norm.h"

static bool uses_batch(const qn_bind *bind)
{
    return bind->context->training && qn_op_attr_i(bind->types, "training_mode") != 0;
}

static qn_shape rows_channels(const qn_bind *bind)
{
    const qn_shape *x = &bind->types->inputs[0].shape;
    int64_t channels = x->dims[x->rank - 1];
    return QN_SHAPE(channels ? qn_shape_count(x) / channels : 0, channels);
}

static size_t norm_scratch(const qn_bind *bind)
{
    qn_shape s = rows_channels(bind);
    return qn_batch_norm_scratch_bytes(s.dims[0], s.dims[1]);
}

/* The kernel moves running statistics in place, the op gives new ones: copied first where they differ. */
typedef struct {
    qn_batch_norm io;
    const float *old_mean, *old_var;
    void *scratch;
} train_args;

static void move_old(float *dst, const float *src, int64_t channels)
{
    if (dst != src)
        memcpy(dst, src, (size_t)channels * sizeof *dst);
}

static void run_train(const void *args, qn_pool *pool, uint32_t step)
{
    (void)step;
    const train_args *a = args;
    move_old(a->io.running_mean, a->old_mean, a->io.channels);
    move_old(a->io.running_var, a->old_var, a->io.channels);
    qn_batch_norm_train_f32(pool, &a->io, a->scratch);
}

static bool bind_train(const qn_bind *bind)
{
    qn_shape s = rows_channels(bind);
    train_args *args = qn_bind_args(bind, sizeof *args);
    if (!args)
        return false;
    float *saved = bind->outputs[3].data;
    args->io = (qn_batch_norm){.rows = s.dims[0],
                               .channels = s.dims[1],
                               .x = bind->inputs[0].data,
                               .scale = bind->inputs[1].data,
                               .shift = bind->inputs[2].data,
                               .y = bind->outputs[0].data,
                               .save_mean = saved,
                               .save_rstd = saved ? saved + s.dims[1] : NULL,
                               .running_mean = bind->outputs[1].data,
                               .running_var = bind->outputs[2].data,
                               .eps = (float)qn_op_attr_f(bind->types, "epsilon"),
                               .momentum = (float)(1 - qn_op_attr_f(bind->types, "momentum"))};
    args->old_mean = bind->inputs[3].data;
    args->old_var = bind->inputs[4].data;
    args->scratch = bind->scratch;
    return qn_bind_to(bind, run_train, "batch norm");
}

typedef struct {
    qn_batch_norm_infer io;
    void *scratch;
} infer_args;

static void run_infer(const void *args, qn_pool *pool, uint32_t step)
{
    (void)step;
    const infer_args *a = args;
    qn_batch_norm_infer_f32(pool, &a->io, a->scratch);
}

static bool bind_norm(const qn_bind *bind)
{
    if (!qn_bind_all_f32(bind))
        return false;
    if (uses_batch(bind))
        return bind_train(bind);
    if (bind->wanted[1] || bind->wanted[2] || bind->wanted[3])
        return false;
    qn_shape s = rows_channels(bind);
    infer_args *args = qn_bind_args(bind, sizeof *args);
    if (!args)
        return false;
    args->io = (qn_batch_norm_infer){.rows = s.dims[0],
                                     .channels = s.dims[1],
                                     .x = bind->inputs[0].data,
                                     .scale = bind->inputs[1].data,
                                     .shift = bind->inputs[2].data,
                                     .mean = bind->inputs[3].data,
                                     .var = bind->inputs[4].data,
                                     .y = bind->outputs[0].data,
                                     .eps = (float)qn_op_attr_f(bind->types, "epsilon")};
    args->scratch = bind->scratch;
    return qn_bind_to(bind, run_infer, "batch norm, running");
}

typedef struct {
    qn_batch_norm_grad io;
    void *scratch;
} grad_args;

static void run_grad(const void *args, qn_pool *pool, uint32_t step)
{
    (void)step;
    const grad_args *a = args;
    qn_batch_norm_grad_f32(pool, &a->io, a->scratch);
}

static bool bind_grad(const qn_bind *bind)
{
    if (!qn_bind_all_f32(bind) || !uses_batch(bind))
        return false;
    qn_shape s = rows_channels(bind);
    grad_args *args = qn_bind_args(bind, sizeof *args);
    if (!args)
        return false;
    const float *saved = bind->inputs[3].data;
    args->io = (qn_batch_norm_grad){.rows = s.dims[0],
                                    .channels = s.dims[1],
                                    .dy = bind->inputs[0].data,
                                    .x = bind->inputs[1].data,
                                    .scale = bind->inputs[2].data,
                                    .save_mean = saved,
                                    .save_rstd = saved ? saved + s.dims[1] : NULL,
                                    .dx = bind->wanted[0] ? bind->outputs[0].data : NULL,
                                    .dscale = bind->wanted[1] ? bind->outputs[1].data : NULL,
                                    .dshift = bind->wanted[2] ? bind->outputs[2].data : NULL};
    args->scratch = bind->scratch;
    return qn_bind_to(bind, run_grad, "batch norm gradient");
}

const qn_binding qn_bindings_norm[] = {
    {"BatchNormalization", bind_norm, norm_scratch},
    {"BatchNormalizationGrad", bind_grad, norm_scratch},
    {0},
};
