/*
 * Bindings of pooling over windows and over whole images, and their gradients.
 */
#include <string.h>

#include "graph/bind/bind.h"
#include "graph/bind/window.h"

typedef struct {
    qn_pool2d shape;
    qn_adaptive_pool adaptive;
    qn_unpool unpooled;
    float *dst;
    void *choice; /* written by the forward, read by the backward */
    const float *src;
    const int64_t *index; /* of unpooling */
    qn_norm_pool_grad norm;
    int p;
    int64_t pixels; /* global forms */
} pool_args;

#define RUN(name, call)                                                                            \
    static void name(const void *args, qn_pool *pool, uint32_t step)                               \
    {                                                                                              \
        (void)step;                                                                                \
        const pool_args *a = args;                                                                 \
        call;                                                                                      \
    }
RUN(run_max, qn_max_pool2d_f32(pool, &a->shape, a->dst, a->choice, a->src))
RUN(run_max_grad, qn_max_pool2d_grad_f32(pool, &a->shape, a->dst, a->src, a->choice))
RUN(run_avg, qn_avg_pool2d_f32(pool, &a->shape, a->dst, a->src))
RUN(run_avg_grad, qn_avg_pool2d_grad_f32(pool, &a->shape, a->dst, a->src))
RUN(run_all_max,
    qn_global_max_f32(pool, a->dst, a->choice, a->src, a->shape.n, a->pixels, a->shape.c))
RUN(run_all_max_grad,
    qn_global_max_grad_f32(pool, a->dst, a->src, a->choice, a->shape.n, a->pixels, a->shape.c))
RUN(run_all_avg, qn_global_avg_f32(pool, a->dst, a->src, a->shape.n, a->pixels, a->shape.c))
RUN(run_all_avg_grad,
    qn_global_avg_grad_f32(pool, a->dst, a->src, a->shape.n, a->pixels, a->shape.c))
RUN(run_adaptive_max, qn_adaptive_max_f32(pool, &a->adaptive, a->dst, a->choice, a->src))
RUN(run_adaptive_max_grad, qn_adaptive_max_grad_f32(pool, &a->adaptive, a->dst, a->src, a->choice))
RUN(run_adaptive_avg, qn_adaptive_avg_f32(pool, &a->adaptive, a->dst, a->src))
RUN(run_adaptive_avg_grad, qn_adaptive_avg_grad_f32(pool, &a->adaptive, a->dst, a->src))
RUN(run_norm, qn_norm_pool2d_f32(pool, &a->shape, a->p, a->dst, a->src))
RUN(run_norm_grad, qn_norm_pool2d_grad_f32(pool, &a->shape, a->p, a->dst, &a->norm))
RUN(run_unpool, qn_unpool_f32(pool, &a->unpooled, a->dst, a->src, a->index))
RUN(run_unpool_grad, qn_unpool_grad_f32(pool, &a->unpooled, a->dst, a->src, a->index))

static bool is_grad(const qn_bind *bind)
{
    const char *name = bind->types->op->name;
    size_t length = strlen(name);
    return length > 4 && strcmp(name + length - 4, "Grad") == 0;
}

/* x is the input of a forward and the output of a gradient. */
static const qn_shape *shape_of_x(const qn_bind *bind)
{
    const qn_op_types *types = bind->types;
    return is_grad(bind) ? &types->outputs[0].shape : &types->inputs[0].shape;
}

static int64_t pixels_of(const qn_shape *shape)
{
    int64_t pixels = 1;
    for (int d = 1; d < shape->rank - 1; d++)
        pixels *= shape->dims[d];
    return pixels;
}

static pool_args *take_args(const qn_bind *bind)
{
    const qn_op_types *types = bind->types;
    if (types->inputs[0].dtype != QN_DTYPE_F32)
        return NULL;
    pool_args *args = qn_bind_args(bind, sizeof *args);
    if (!args)
        return NULL;
    const qn_shape *x = shape_of_x(bind);
    args->shape = (qn_pool2d){.n = x->dims[0], .c = x->dims[x->rank - 1]};
    args->pixels = pixels_of(x);
    args->dst = bind->outputs[0].data;
    args->src = bind->inputs[0].data;
    if (is_grad(bind) && types->inputs_count == 2)
        args->choice = bind->inputs[1].data;
    else if (!is_grad(bind) && types->outputs_count > 1 && bind->wanted[1])
        args->choice = bind->outputs[1].data;
    return args;
}

static pool_args *take_window(const qn_bind *bind)
{
    pool_args *args = take_args(bind);
    qn_op_window window = {0};
    if (!args)
        return NULL;
    qn_status status = qn_op_window_read(bind->types, shape_of_x(bind), NULL, &window, NULL);
    QN_ASSERT(status == QN_OK);
    args->shape = qn_bind_pool(&window);
    return args;
}

static bool bind_max(const qn_bind *bind)
{
    return take_window(bind) && (is_grad(bind) ? qn_bind_to(bind, run_max_grad, "max pool gradient")
                                               : qn_bind_to(bind, run_max, "max pool"));
}

static bool bind_avg(const qn_bind *bind)
{
    pool_args *args = take_window(bind);
    if (!args)
        return false;
    args->shape.count_include_pad = qn_op_attr_i(bind->types, "count_include_pad") != 0;
    return is_grad(bind) ? qn_bind_to(bind, run_avg_grad, "average pool gradient")
                         : qn_bind_to(bind, run_avg, "average pool");
}

/* Backward: dy, x, y. */
static void set_norm(const qn_bind *bind, pool_args *args)
{
    args->p = (int)qn_op_attr_i(bind->types, "p");
    if (is_grad(bind))
        args->norm =
            (qn_norm_pool_grad){bind->inputs[0].data, bind->inputs[1].data, bind->inputs[2].data};
}

static bool bind_norm(const qn_bind *bind)
{
    pool_args *args = take_window(bind);
    if (!args)
        return false;
    set_norm(bind, args);
    return is_grad(bind) ? qn_bind_to(bind, run_norm_grad, "norm pool gradient")
                         : qn_bind_to(bind, run_norm, "norm pool");
}

/* One window over all pixels, as a row of them. */
static bool bind_all_norm(const qn_bind *bind)
{
    pool_args *args = take_args(bind);
    if (!args)
        return false;
    args->shape = (qn_pool2d){.n = args->shape.n,
                              .h = 1,
                              .w = args->pixels,
                              .c = args->shape.c,
                              .oh = 1,
                              .ow = 1,
                              .kh = 1,
                              .kw = args->pixels,
                              .stride_h = 1,
                              .stride_w = 1,
                              .dilation_h = 1,
                              .dilation_w = 1};
    set_norm(bind, args);
    return is_grad(bind) ? qn_bind_to(bind, run_norm_grad, "global norm pool gradient")
                         : qn_bind_to(bind, run_norm, "global norm pool");
}

static bool bind_all_max(const qn_bind *bind)
{
    return take_args(bind) &&
           (is_grad(bind) ? qn_bind_to(bind, run_all_max_grad, "global max gradient")
                          : qn_bind_to(bind, run_all_max, "global max"));
}

static bool bind_all_avg(const qn_bind *bind)
{
    return take_args(bind) &&
           (is_grad(bind) ? qn_bind_to(bind, run_all_avg_grad, "global average gradient")
                          : qn_bind_to(bind, run_all_avg, "global average"));
}

static pool_args *take_adaptive(const qn_bind *bind)
{
    pool_args *args = take_args(bind);
    if (!args)
        return NULL;
    const qn_op_types *types = bind->types;
    const qn_shape *x = shape_of_x(bind);
    const qn_shape *y = is_grad(bind) ? &types->inputs[0].shape : &types->outputs[0].shape;
    args->adaptive = (qn_adaptive_pool){
        .n = x->dims[0], .c = x->dims[x->rank - 1], .in = {1, 1, 1}, .out = {1, 1, 1}};
    for (int d = 1; d < x->rank - 1; d++) {
        args->adaptive.in[3 - (x->rank - 1) + d] = x->dims[d];
        args->adaptive.out[3 - (x->rank - 1) + d] = y->dims[d];
    }
    return args;
}

static bool bind_adaptive_max(const qn_bind *bind)
{
    return take_adaptive(bind) &&
           (is_grad(bind) ? qn_bind_to(bind, run_adaptive_max_grad, "adaptive max gradient")
                          : qn_bind_to(bind, run_adaptive_max, "adaptive max"));
}

static bool bind_adaptive_avg(const qn_bind *bind)
{
    return take_adaptive(bind) &&
           (is_grad(bind) ? qn_bind_to(bind, run_adaptive_avg_grad, "adaptive average gradient")
                          : qn_bind_to(bind, run_adaptive_avg, "adaptive average"));
}

/* The index has the shape of what goes in, forward x, backward dx. */
static bool bind_unpool(const qn_bind *bind)
{
    pool_args *args = take_args(bind);
    if (!args)
        return false;
    const qn_op_types *types = bind->types;
    const qn_shape *from = &types->inputs[1].shape;
    const qn_shape *to = is_grad(bind) ? &types->inputs[0].shape : &types->outputs[0].shape;
    args->unpooled = (qn_unpool){.n = from->dims[0],
                                 .c = from->dims[from->rank - 1],
                                 .from = pixels_of(from),
                                 .to = pixels_of(to)};
    args->index = bind->inputs[1].data;
    return is_grad(bind) ? qn_bind_to(bind, run_unpool_grad, "unpool gradient")
                         : qn_bind_to(bind, run_unpool, "unpool");
}

const qn_binding qn_bindings_pool[] = {
    {.op = "AdaptiveMaxPool", .bind = bind_adaptive_max},
    {.op = "AdaptiveMaxPoolGrad", .bind = bind_adaptive_max},
    {.op = "AdaptiveAveragePool", .bind = bind_adaptive_avg},
    {.op = "AdaptiveAveragePoolGrad", .bind = bind_adaptive_avg},
    {.op = "LpPool", .bind = bind_norm},
    {.op = "LpPoolGrad", .bind = bind_norm},
    {.op = "GlobalLpPool", .bind = bind_all_norm},
    {.op = "GlobalLpPoolGrad", .bind = bind_all_norm},
    {.op = "MaxUnpool", .bind = bind_unpool},
    {.op = "MaxUnpoolGrad", .bind = bind_unpool},
    {.op = "MaxPool", .bind = bind_max},
    {.op = "MaxPoolGrad", .bind = bind_max},
    {.op = "AveragePool", .bind = bind_avg},
    {.op = "AveragePoolGrad", .bind = bind_avg},
    {.op = "GlobalMaxPool", .bind = bind_all_max},
    {.op = "GlobalMaxPoolGrad", .bind = bind_all_max},
    {.op = "GlobalAveragePool", .bind = bind_all_avg},
    {.op = "GlobalAveragePoolGrad", .bind = bind_all_avg},
    {0},
};
