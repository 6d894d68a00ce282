/*
 * Bindings of softmax and log-softmax, and their gradients. Along another dimension than the last the lines are
 * turned into rows of scratch memory and back.
 */
#include <string.h>

#include "graph/bind/bind.h"
#include "kernel/move/move.h"
#include "kernel/softmax/softmax.h"

typedef void (*forward_fn)(qn_pool *pool, float *y, const float *x, int64_t rows, int64_t cols);
typedef void (*grad_fn)(qn_pool *pool, float *dx, const float *dy, const float *y, int64_t rows,
                        int64_t cols);
typedef struct {
    forward_fn forward;
    grad_fn grad;
    float *dst;
    const float *src, *saved;
    int64_t rows, cols;
    /* lines as rows: of the input, and of what a gradient saved; NULL = they are */
    float *turned[2];
    qn_strided there, back;
} softmax_args;

static const float *take_rows(const softmax_args *a, qn_pool *pool, int i, const float *src)
{
    if (!a->turned[i])
        return src;
    qn_copy_strided(pool, a->turned[i], src, &a->there, sizeof *src);
    return a->turned[i];
}

static void give_rows(const softmax_args *a, qn_pool *pool)
{
    if (a->turned[0])
        qn_copy_strided(pool, a->dst, a->turned[0], &a->back, sizeof *a->dst);
}

static void run_forward(const void *args, qn_pool *pool, uint32_t step)
{
    (void)step;
    const softmax_args *a = args;
    const float *x = take_rows(a, pool, 0, a->src);
    a->forward(pool, a->turned[0] ? a->turned[0] : a->dst, x, a->rows, a->cols);
    give_rows(a, pool);
}

static void run_grad(const void *args, qn_pool *pool, uint32_t step)
{
    (void)step;
    const softmax_args *a = args;
    const float *dy = take_rows(a, pool, 0, a->src), *y = take_rows(a, pool, 1, a->saved);
    a->grad(pool, a->turned[0] ? a->turned[0] : a->dst, dy, y, a->rows, a->cols);
    give_rows(a, pool);
}

/* [outer, count, inner] of the lines along the axis. */
static void read_lines(const qn_bind *bind, int64_t ret_parts[3])
{
    const qn_shape *shape = &bind->types->inputs[0].shape;
    int64_t axis = qn_op_attr_i(bind->types, "axis");
    axis = axis < 0 ? axis + shape->rank : axis;
    ret_parts[0] = ret_parts[1] = ret_parts[2] = 1;
    for (int d = 0; d < shape->rank; d++)
        ret_parts[d < axis ? 0 : d == axis ? 1 : 2] *= shape->dims[d];
}

static size_t turned_bytes(const qn_bind *bind)
{
    size_t bytes = (size_t)qn_shape_count(&bind->types->inputs[0].shape) * sizeof(float);
    return (bytes + 63) / 64 * 64;
}

static size_t softmax_scratch(const qn_bind *bind)
{
    int64_t parts[3];
    if (!qn_bind_all_f32(bind))
        return 0;
    read_lines(bind, parts);
    return parts[2] == 1 ? 0 : turned_bytes(bind) * (size_t)bind->types->inputs_count;
}

static void turn_lines(const qn_bind *bind, softmax_args *args, const int64_t parts[3])
{
    int64_t count = parts[1], inner = parts[2];
    args->there = (qn_strided){.rank = 3,
                               .dim = {parts[0], inner, count},
                               .dst_stride = {inner * count, count, 1},
                               .src_stride = {inner * count, 1, inner}};
    args->back = (qn_strided){.rank = 3,
                              .dim = {parts[0], count, inner},
                              .dst_stride = {inner * count, inner, 1},
                              .src_stride = {inner * count, 1, count}};
    qn_strided_collapse(&args->there);
    qn_strided_collapse(&args->back);
    for (int i = 0; i < bind->types->inputs_count; i++)
        args->turned[i] = (float *)(void *)((char *)bind->scratch + (size_t)i * turned_bytes(bind));
}

static bool bind_softmax(const qn_bind *bind)
{
    int64_t parts[3];
    softmax_args *args = qn_bind_all_f32(bind) ? qn_bind_args(bind, sizeof *args) : NULL;
    if (!args)
        return false;
    read_lines(bind, parts);
    bool log = strncmp(bind->types->op->name, "Log", 3) == 0;
    args->cols = parts[1];
    args->rows = parts[1] ? parts[0] * parts[2] : 0;
    args->forward = log ? qn_log_softmax_f32 : qn_softmax_f32;
    args->grad = log ? qn_log_softmax_grad_f32 : qn_softmax_grad_f32;
    args->dst = bind->outputs[0].data;
    args->src = bind->inputs[0].data;
    if (parts[2] != 1)
        turn_lines(bind, args, parts);
    if (bind->types->inputs_count == 1)
        return qn_bind_to(bind, run_forward, "softmax");
    args->saved = bind->inputs[1].data;
    return qn_bind_to(bind, run_grad, "softmax gradient");
}

const qn_binding qn_bindings_softmax[] = {
    {"Softmax", bind_softmax, softmax_scratch},
    {"LogSoftmax", bind_softmax, softmax_scratch},
    {"SoftmaxGrad", bind_softmax, softmax_scratch},
    {"LogSoftmaxGrad", bind_softmax, softmax_scratch},
    {0},
};
