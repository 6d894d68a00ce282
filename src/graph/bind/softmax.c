/*
 * Bindings of softmax and log-softmax over the last dimension, and their gradients.
 */
#include <string.h>

#include "graph/bind/bind.h"
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
} softmax_args;

static void run_forward(const void *args, qn_pool *pool, uint32_t step)
{
    (void)step;
    const softmax_args *a = args;
    a->forward(pool, a->dst, a->src, a->rows, a->cols);
}

static void run_grad(const void *args, qn_pool *pool, uint32_t step)
{
    (void)step;
    const softmax_args *a = args;
    a->grad(pool, a->dst, a->src, a->saved, a->rows, a->cols);
}

static bool bind_softmax(const qn_bind *bind)
{
    const qn_shape *shape = &bind->types->inputs[0].shape;
    int64_t axis = qn_op_attr_i(bind->types, "axis");
    if (!qn_bind_all_f32(bind) || shape->rank < 1 || (axis != -1 && axis != shape->rank - 1))
        return false;
    softmax_args *args = qn_bind_args(bind, sizeof *args);
    if (!args)
        return false;
    bool log = strncmp(bind->types->op->name, "Log", 3) == 0;
    args->cols = shape->dims[shape->rank - 1];
    args->rows = args->cols ? qn_shape_count(shape) / args->cols : 0;
    args->forward = log ? qn_log_softmax_f32 : qn_softmax_f32;
    args->grad = log ? qn_log_softmax_grad_f32 : qn_softmax_grad_f32;
    args->dst = bind->outputs[0].data;
    args->src = bind->inputs[0].data;
    if (bind->types->inputs_count == 1)
        return qn_bind_to(bind, run_forward, "softmax");
    args->saved = bind->inputs[1].data;
    return qn_bind_to(bind, run_grad, "softmax gradient");
}

const qn_binding qn_bindings_softmax[] = {
    {.op = "Softmax", .bind = bind_softmax},
    {.op = "LogSoftmax", .bind = bind_softmax},
    {.op = "SoftmaxGrad", .bind = bind_softmax},
    {.op = "LogSoftmaxGrad", .bind = bind_softmax},
    {0},
};
