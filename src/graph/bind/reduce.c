/*
 * Bindings of reductions. Axes that lie side by side (first, middle or last), which is nearly all of them, are reduced
 * where they are; others are brought together in scratch memory first.
 */
#include <string.h>

#include "graph/bind/bind.h"
#include "kernel/elementwise/bcast.h"
#include "kernel/elementwise/binary.h"
#include "kernel/elementwise/unary.h"
#include "kernel/move/move.h"
#include "kernel/reduce/reduce.h"

typedef struct {
    qn_reduce op;
    void *dst;
    const float *src;
    qn_reduce_shape shape;
    float scale;
    void *scratch;
    float *turned; /* NULL = src is reduced where it is */
    qn_strided turn;
    bool finishes; /* with a function of each result */
    qn_unary finish;
    qn_bcast spread;
} reduce_args;

static void run_reduce(const void *args, qn_pool *pool, uint32_t step)
{
    (void)step;
    const reduce_args *a = args;
    if (a->turned)
        qn_copy_strided(pool, a->turned, a->src, &a->turn, sizeof *a->turned);
    qn_reduce_f32(pool, a->op, a->dst, a->turned ? a->turned : a->src, &a->shape, a->scratch);
    if (a->finishes)
        qn_unary_f32(pool, a->finish, a->dst, a->dst, a->shape.outer * a->shape.inner, 0);
}

/* dx = scale * dy under broadcasting, where the axes lie apart. */
static void run_spread_apart(const void *args, qn_pool *pool, uint32_t step)
{
    (void)step;
    const reduce_args *a = args;
    qn_binary_f32(pool, QN_BINARY_MUL, a->dst, a->src, &a->scale, &a->spread);
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

/* Kept dimensions first, then the reduced ones: how to copy, and the shape it has then. */
static qn_reduce_shape turn_shape(const qn_bind *bind, const qn_shape *shape, qn_strided *ret)
{
    qn_reduce_shape parts = {1, 1, 1};
    bool axes[QN_RANK_MAX];
    int64_t strides[QN_RANK_MAX], step = 1;
    qn_strided turn = {.rank = shape->rank};
    int at = 0;
    mark_axes(bind, shape->rank, axes);
    for (int d = shape->rank - 1; d >= 0; step *= shape->dims[d], d--)
        strides[d] = step;
    for (int reduced = 0; reduced < 2; reduced++)
        for (int d = 0; d < shape->rank; d++)
            if (axes[d] == (reduced == 1)) {
                turn.dim[at] = shape->dims[d];
                turn.src_stride[at++] = strides[d];
                *(reduced ? &parts.reduce : &parts.outer) *= shape->dims[d];
            }
    step = 1;
    for (int d = shape->rank - 1; d >= 0; step *= turn.dim[d], d--)
        turn.dst_stride[d] = step;
    *ret = turn;
    return parts;
}

static size_t aligned(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

static size_t reduce_scratch(const qn_bind *bind)
{
    const qn_shape *from = &bind->types->inputs[0].shape;
    qn_reduce_shape shape;
    qn_strided turn;
    if (!qn_bind_all_f32(bind))
        return 0;
    if (reduce_shape(bind, from, &shape))
        return qn_reduce_f32_scratch_bytes(&shape);
    shape = turn_shape(bind, from, &turn);
    return aligned((size_t)qn_shape_count(from) * sizeof(float)) +
           qn_reduce_f32_scratch_bytes(&shape);
}

/* Turns the tensor in scratch memory, and what the kernel needs follows it. */
static void reduce_apart(const qn_bind *bind, reduce_args *args)
{
    const qn_shape *from = &bind->types->inputs[0].shape;
    args->shape = turn_shape(bind, from, &args->turn);
    qn_strided_collapse(&args->turn);
    args->turned = bind->scratch;
    args->scratch = (char *)bind->scratch + aligned((size_t)qn_shape_count(from) * sizeof(float));
}

static bool bind_reduce(const qn_bind *bind)
{
    static const struct {
        const char *op;
        qn_reduce code;
        bool finishes;
        qn_unary finish;
    } codes[] = {{"ReduceSum", QN_REDUCE_SUM, false, QN_UNARY_COPY},
                 {"ReduceMean", QN_REDUCE_MEAN, false, QN_UNARY_COPY},
                 {"ReduceMax", QN_REDUCE_MAX, false, QN_UNARY_COPY},
                 {"ReduceMin", QN_REDUCE_MIN, false, QN_UNARY_COPY},
                 {"ReduceProd", QN_REDUCE_PROD, false, QN_UNARY_COPY},
                 {"ReduceL1", QN_REDUCE_SUM_ABS, false, QN_UNARY_COPY},
                 {"ReduceL2", QN_REDUCE_SUM_SQUARE, true, QN_UNARY_SQRT},
                 {"ReduceSumSquare", QN_REDUCE_SUM_SQUARE, false, QN_UNARY_COPY},
                 {"ReduceLogSum", QN_REDUCE_SUM, true, QN_UNARY_LOG},
                 {"ReduceLogSumExp", QN_REDUCE_LOGSUMEXP, false, QN_UNARY_COPY}};
    reduce_args *args = qn_bind_all_f32(bind) ? qn_bind_args(bind, sizeof *args) : NULL;
    if (!args)
        return false;
    args->dst = bind->outputs[0].data;
    args->src = bind->inputs[0].data;
    args->scratch = bind->scratch;
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
        if (strcmp(codes[i].op, bind->types->op->name) == 0) {
            args->op = codes[i].code;
            args->finishes = codes[i].finishes;
            args->finish = codes[i].finish;
        }
    if (reduce_shape(bind, &bind->types->inputs[0].shape, &args->shape))
        return qn_bind_to(bind, run_reduce, "reduce");
    reduce_apart(bind, args);
    return qn_bind_to(bind, run_reduce, "turn, reduce");
}

/* dy has 1 where the axes are, whether it keeps them or not. */
static bool spread_apart(const qn_bind *bind, reduce_args *args)
{
    const qn_shape *out = &bind->types->outputs[0].shape;
    int64_t own[QN_RANK_MAX], reduced = 1;
    bool axes[QN_RANK_MAX];
    mark_axes(bind, out->rank, axes);
    for (int d = 0; d < out->rank; d++) {
        own[d] = axes[d] ? 1 : out->dims[d];
        reduced *= axes[d] ? out->dims[d] : 1;
    }
    if (reduced < 1)
        return false;
    const int64_t *dims[] = {own, NULL};
    args->spread = qn_bcast_make(out->dims, out->rank, dims, (int[]){out->rank, 0}, 2);
    args->scale = (float)(1.0 / (double)reduced);
    return qn_bind_to(bind, run_spread_apart, "spread");
}

static bool bind_mean_grad(const qn_bind *bind)
{
    reduce_args *args = qn_bind_all_f32(bind) ? qn_bind_args(bind, sizeof *args) : NULL;
    if (!args)
        return false;
    args->dst = bind->outputs[0].data;
    args->src = bind->inputs[0].data;
    if (!reduce_shape(bind, &bind->types->outputs[0].shape, &args->shape))
        return spread_apart(bind, args);
    if (args->shape.reduce < 1)
        return false;
    args->scale = (float)(1.0 / (double)args->shape.reduce);
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
    {"ReduceL2", bind_reduce, reduce_scratch},
    {"ReduceLogSum", bind_reduce, reduce_scratch},
    {"ReduceMeanGrad", bind_mean_grad, NULL},
    {"ArgMax", bind_argmax, NULL},
    {"ArgMin", bind_argmax, NULL},
    {0},
};
