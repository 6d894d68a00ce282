/*
 * Bindings of reductions whose axes lie side by side (first, middle or last), which is nearly all of them.
 */
#include <string.h>

#include "graph/bind/bind.h"
#include "kernel/reduce/reduce.h"

typedef struct {
    qn_reduce op;
    void *dst;
    const float *src;
    qn_reduce_shape shape;
    float scale;
    void *scratch;
} reduce_args;

static void run_reduce(const void *args, qn_pool *pool, uint32_t step)
{
    (void)step;
    const reduce_args *a = args;
    qn_reduce_f32(pool, a->op, a->dst, a->src, &a->shape, a->scratch);
}

static void run_spread(const void *args, qn_pool *pool, uint32_t step)
{
    (void)step;
    const reduce_args *a = args;
    qn_reduce_spread_f32(pool, a->dst, a->src, &a->shape, a->scale);
}

static void run_argmin(const void *args, qn_pool *pool, uint32_t step)
{
    (void)step;
    const reduce_args *a = args;
    qn_argmin_f32(pool, a->dst, a->src, &a->shape);
}

static void run_argmax(const void *args, qn_pool *pool, uint32_t step)
{
    (void)step;
    const reduce_args *a = args;
    qn_argmax_f32(pool, a->dst, a->src, &a->shape);
}

static void mark_axes(const qn_bind *bind, int rank, bool *axes)
{
    int count = 0;
    const int64_t *listed = qn_op_attr_ints(bind->types, "axes", &count);
    for (int d = 0; d < rank; d++)
        axes[d] = count == 0 && qn_op_attr_i(bind->types, "noop_with_empty_axes") == 0;
    for (int i = 0; i < count; i++)
        axes[listed[i] < 0 ? listed[i] + rank : listed[i]] = true;
}

/* [outer, reduce, inner]; false = the axes do not lie side by side. Dimensions of 1 stand in nobody's way. */
static bool split_shape(const qn_shape *shape, const bool *axes, qn_reduce_shape *ret)
{
    qn_reduce_shape parts = {1, 1, 1};
    int part = 0; /* 0 = before the axes, 1 = in them, 2 = behind */
    for (int d = 0; d < shape->rank; d++) {
        int64_t dim = shape->dims[d];
        if (dim == 1)
            continue;
        if (axes[d] && part == 2)
            return false;
        if (axes[d])
            part = 1;
        else if (part == 1)
            part = 2;
        *(part == 0 ? &parts.outer : part == 1 ? &parts.reduce : &parts.inner) *= dim;
    }
    *ret = parts;
    return true;
}

static bool reduce_shape(const qn_bind *bind, const qn_shape *shape, qn_reduce_shape *ret)
{
    bool axes[QN_RANK_MAX];
    mark_axes(bind, shape->rank, axes);
    return split_shape(shape, axes, ret);
}

static size_t reduce_scratch(const qn_bind *bind)
{
    qn_reduce_shape shape;
    return reduce_shape(bind, &bind->types->inputs[0].shape, &shape)
               ? qn_reduce_f32_scratch_bytes(&shape)
               : 0;
}

static bool bind_reduce(const qn_bind *bind)
{
    static const struct {
        const char *op;
        qn_reduce code;
    } codes[] = {{"ReduceSum", QN_REDUCE_SUM},
                 {"ReduceMean", QN_REDUCE_MEAN},
                 {"ReduceMax", QN_REDUCE_MAX},
                 {"ReduceMin", QN_REDUCE_MIN},
                 {"ReduceProd", QN_REDUCE_PROD},
                 {"ReduceL1", QN_REDUCE_SUM_ABS},
                 {"ReduceSumSquare", QN_REDUCE_SUM_SQUARE},
                 {"ReduceLogSumExp", QN_REDUCE_LOGSUMEXP}};
    qn_reduce_shape shape;
    if (!qn_bind_all_f32(bind) || !reduce_shape(bind, &bind->types->inputs[0].shape, &shape))
        return false;
    reduce_args *args = qn_bind_args(bind, sizeof *args);
    if (!args)
        return false;
    *args = (reduce_args){.dst = bind->outputs[0].data,
                          .src = bind->inputs[0].data,
                          .shape = shape,
                          .scratch = bind->scratch};
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
        if (strcmp(codes[i].op, bind->types->op->name) == 0)
            args->op = codes[i].code;
    return qn_bind_to(bind, run_reduce, "reduce");
}

static bool bind_mean_grad(const qn_bind *bind)
{
    qn_reduce_shape shape;
    if (!qn_bind_all_f32(bind) || !reduce_shape(bind, &bind->types->outputs[0].shape, &shape) ||
        shape.reduce < 1)
        return false;
    reduce_args *args = qn_bind_args(bind, sizeof *args);
    if (!args)
        return false;
    *args = (reduce_args){.dst = bind->outputs[0].data,
                          .src = bind->inputs[0].data,
                          .shape = shape,
                          .scale = (float)(1.0 / (double)shape.reduce)};
    return qn_bind_to(bind, run_spread, "spread");
}

static bool bind_argmax(const qn_bind *bind)
{
    const qn_shape *in = &bind->types->inputs[0].shape;
    bool axes[QN_RANK_MAX] = {false};
    int64_t axis = qn_op_attr_i(bind->types, "axis");
    qn_reduce_shape shape;
    if (bind->types->inputs[0].dtype != QN_DTYPE_F32 ||
        qn_op_attr_i(bind->types, "select_last_index") != 0)
        return false;
    axes[axis < 0 ? axis + in->rank : axis] = true;
    if (!split_shape(in, axes, &shape))
        return false;
    reduce_args *args = qn_bind_args(bind, sizeof *args);
    if (!args)
        return false;
    *args =
        (reduce_args){.dst = bind->outputs[0].data, .src = bind->inputs[0].data, .shape = shape};
    if (strcmp(bind->types->op->name, "ArgMin") == 0)
        return qn_bind_to(bind, run_argmin, "argmin");
    return qn_bind_to(bind, run_argmax, "argmax");
}

const qn_binding qn_bindings_reduce[] = {
    {"ReduceSum", bind_reduce, reduce_scratch},
    {"ReduceMean", bind_reduce, reduce_scratch},
    {"ReduceMax", bind_reduce, reduce_scratch},
    {"ReduceMin", bind_reduce, reduce_scratch},
    {"ReduceLogSumExp", bind_reduce, reduce_scratch},
    {"ReduceProd", bind_reduce, reduce_scratch},
    {"ReduceL1", bind_reduce, reduce_scratch},
    {"ReduceSumSquare", bind_reduce, reduce_scratch},
    {"ReduceMeanGrad", bind_mean_grad, NULL},
    {"ArgMax", bind_argmax, NULL},
    {"ArgMin", bind_argmax, NULL},
    {0},
};
