/*
 * Binding of dropout. The step of the run keys its numbers.
 */
#include "kernel/random/random.h"
#include "graph/bind/bind.h"

typedef struct {
    float *dst;
    const float *src;
    int64_t count;
    qn_rng rng;
    float rate;
} dropout_args;

static void run_dropout(const void *args, qn_pool *pool, uint32_t step)
{
    const dropout_args *a = args;
    qn_random_source source = {.rng = a->rng};
    source.rng.step = step;
    qn_dropout_f32(pool, a->dst, a->src, a->count, &source, a->rate);
}

static bool bind_dropout(const qn_bind *bind)
{
    if (!qn_bind_all_f32(bind) || !bind->context->training)
        return false;
    dropout_args *args = qn_bind_args(bind, sizeof *args);
    if (!args)
        return false;
    *args = (dropout_args){.dst = bind->outputs[0].data,
                           .src = bind->inputs[0].data,
                           .count = qn_bind_count(&bind->outputs[0]),
                           .rng = {.seed = bind->context->seed, .stream = bind->stream},
                           .rate = (float)qn_op_attr_f(bind->types, "ratio")};
    return qn_bind_to(bind, run_dropout, "dropout");
}

const qn_binding qn_bindings_random[] = {
    {.op = "Dropout", .bind = bind_dropout},
    {0},
};
