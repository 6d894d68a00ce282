/*
 * Bindings of optimiser updates, which run in place, and of the global norm of gradients. Gradients that lie side by
 * side are one range for the norm; the zeros between them add nothing.
 */
#include <math.h>

#include "graph/bind/bind.h"
#include "kernel/optim/optim.h"

static const void *optional(const qn_bind *bind, int input)
{
    return input < bind->types->inputs_count ? bind->inputs[input].data : NULL;
}

static bool in_place(const qn_bind *bind)
{
    for (int i = 0; i < bind->types->outputs_count; i++)
        if (bind->outputs[i].data != bind->inputs[i].data)
            return false;
    return bind->types->inputs[0].dtype == QN_DTYPE_F32;
}

static void run_sgd(const void *args, qn_pool *pool, uint32_t step)
{
    (void)step;
    qn_sgd_f32(pool, args);
}

/* The row's velocity is momentum * velocity + g also at the first step, so no step is told apart. */
static const int64_t later_step = 2;

static bool bind_sgd(const qn_bind *bind)
{
    bool momentum = bind->types->outputs_count == 2;
    int grad = bind->types->outputs_count;
    if (!in_place(bind))
        return false;
    qn_sgd *args = qn_bind_args(bind, sizeof *args);
    if (!args)
        return false;
    *args = (qn_sgd){.count = qn_bind_count(&bind->inputs[0]),
                     .weight = bind->outputs[0].data,
                     .velocity = momentum ? bind->outputs[1].data : NULL,
                     .grad = bind->inputs[grad].data,
                     .lr = bind->inputs[grad + 1].data,
                     .step = &later_step,
                     .grad_scale = optional(bind, grad + 2),
                     .weight_decay = (float)qn_op_attr_f(bind->types, "weight_decay")};
    if (momentum) {
        args->momentum = (float)qn_op_attr_f(bind->types, "momentum");
        args->nesterov = qn_op_attr_i(bind->types, "nesterov") != 0;
    }
    return qn_bind_to(bind, run_sgd, "sgd");
}

static void run_adam(const void *args, qn_pool *pool, uint32_t step)
{
    (void)step;
    qn_adam_f32(pool, args);
}

static bool bind_adam(const qn_bind *bind)
{
    const qn_op_types *types = bind->types;
    if (!in_place(bind))
        return false;
    qn_adam *args = qn_bind_args(bind, sizeof *args);
    if (!args)
        return false;
    *args = (qn_adam){.count = qn_bind_count(&bind->inputs[0]),
                      .weight = bind->outputs[0].data,
                      .first = bind->outputs[1].data,
                      .second = bind->outputs[2].data,
                      .grad = bind->inputs[3].data,
                      .lr = bind->inputs[4].data,
                      .step = bind->inputs[5].data,
                      .grad_scale = optional(bind, 6),
                      .beta1 = qn_op_attr_f(types, "beta1"),
                      .beta2 = qn_op_attr_f(types, "beta2"),
                      .eps = qn_op_attr_f(types, "epsilon"),
                      .weight_decay = qn_op_attr_f(types, "weight_decay"),
                      .decoupled = qn_op_attr_i(types, "decoupled") != 0};
    return qn_bind_to(bind, run_adam, "adam");
}

typedef struct {
    const float *data;
    int64_t count;
} norm_range;

typedef struct {
    float *norm;
    void *scratch;
    int ranges_count;
    norm_range ranges[]; /* follows */
} norm_args;

static void run_norm(const void *args, qn_pool *pool, uint32_t step)
{
    (void)step;
    const norm_args *a = args;
    double sum = 0;
    for (int i = 0; i < a->ranges_count; i++)
        qn_grad_square_f32(pool, &sum, a->ranges[i].data, a->ranges[i].count, true, a->scratch);
    *a->norm = (float)sqrt(sum);
}

/* `b` lies right behind `a`, at the next multiple of 64 bytes, and there are zeros between. */
static bool is_next(const qn_bind *bind, const norm_range *a, const norm_range *b)
{
    uintptr_t begin = (uintptr_t)bind->context->flat, at = (uintptr_t)a->data;
    bool zeros = at >= begin && at < begin + bind->context->flat_bytes;
    int64_t padded = zeros ? (a->count + 15) / 16 * 16 : a->count;
    return a->data + padded == b->data;
}

static size_t norm_scratch(const qn_bind *bind)
{
    int64_t count = 0;
    for (int i = 0; i < bind->types->inputs_count; i++)
        count += (qn_shape_count(&bind->types->inputs[i].shape) + 15) / 16 * 16;
    return qn_grad_square_scratch_bytes(count);
}

static void sort_by_address(norm_range *ranges, int count)
{
    for (int i = 1; i < count; i++)
        for (int k = i; k > 0 && (uintptr_t)ranges[k].data < (uintptr_t)ranges[k - 1].data; k--) {
            norm_range swap = ranges[k];
            ranges[k] = ranges[k - 1];
            ranges[k - 1] = swap;
        }
}

static bool bind_norm(const qn_bind *bind)
{
    int inputs = bind->types->inputs_count, kept = 0;
    if (!qn_bind_all_f32(bind))
        return false;
    norm_args *args = qn_bind_args(bind, sizeof *args + (size_t)inputs * sizeof args->ranges[0]);
    if (!args)
        return false;
    for (int i = 0; i < inputs; i++)
        args->ranges[i] = (norm_range){bind->inputs[i].data, qn_bind_count(&bind->inputs[i])};
    sort_by_address(args->ranges, inputs);
    for (int i = 0; i < inputs; i++) {
        norm_range *last = &args->ranges[kept - (kept > 0)];
        if (kept > 0 && is_next(bind, last, &args->ranges[i]))
            last->count = args->ranges[i].data + args->ranges[i].count - last->data;
        else
            args->ranges[kept++] = args->ranges[i];
    }
    args->norm = bind->outputs[0].data;
    args->scratch = bind->scratch;
    args->ranges_count = kept;
    return qn_bind_to(bind, run_norm, "norm");
}

const qn_binding qn_bindings_optim[] = {
    {.op = "SgdUpdate", .bind = bind_sgd},
    {.op = "MomentumUpdate", .bind = bind_sgd},
    {.op = "AdamUpdate", .bind = bind_adam},
    {"GlobalNorm", bind_norm, norm_scratch},
    {0},
};
