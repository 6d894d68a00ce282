/*
 * Bindings of convolution and its gradients.
 */
#include "kernel/conv/conv.h"
#include "graph/bind/bind.h"
#include "graph/bind/window.h"

typedef struct {
    qn_conv2d conv;
    qn_conv2d_forward io;
    void *scratch;
} forward_args;

static void run_forward(const void *args, qn_pool *pool, uint32_t step)
{
    (void)step;
    const forward_args *a = args;
    qn_conv2d_f32(pool, &a->conv, &a->io, a->scratch);
}

typedef struct {
    qn_conv2d conv;
    float *dst, *dbias;
    const float *a, *b;
    void *scratch;
} grad_args;

static void run_grad_x(const void *args, qn_pool *pool, uint32_t step)
{
    (void)step;
    const grad_args *a = args;
    qn_conv2d_grad_x_f32(pool, &a->conv, a->dst, a->a, a->b, a->scratch);
}

static void run_grad_w(const void *args, qn_pool *pool, uint32_t step)
{
    (void)step;
    const grad_args *a = args;
    qn_conv2d_grad_w_f32(pool, &a->conv, a->dst, a->dbias, a->a, a->b, a->scratch);
}

/* Sizes from the shapes of x, the weights and y, wherever they stand among inputs and outputs. */
static qn_conv2d describe(const qn_bind *bind, const qn_type *x, const qn_type *weight,
                          const qn_type *y)
{
    const int64_t *xd = x->shape.dims, *wd = weight->shape.dims, *yd = y->shape.dims;
    int64_t stride[2], pads[4], dilation[2];
    qn_bind_window(bind, stride, pads, dilation);
    return (qn_conv2d){.n = xd[0],
                       .h = xd[1],
                       .w = xd[2],
                       .cin = xd[3],
                       .oh = yd[1],
                       .ow = yd[2],
                       .cout = yd[3],
                       .kh = wd[0],
                       .kw = wd[1],
                       .stride_h = stride[0],
                       .stride_w = stride[1],
                       .pad_top = pads[0],
                       .pad_left = pads[1],
                       .dilation_h = dilation[0],
                       .dilation_w = dilation[1],
                       .groups = qn_op_attr_i(bind->types, "group")};
}

static qn_conv2d describe_forward(const qn_bind *bind)
{
    const qn_op_types *t = bind->types;
    return describe(bind, &t->inputs[0], &t->inputs[1], &t->outputs[0]);
}
static qn_conv2d describe_grad_x(const qn_bind *bind)
{
    const qn_op_types *t = bind->types;
    return describe(bind, &t->outputs[0], &t->inputs[1], &t->inputs[0]);
}
static qn_conv2d describe_grad_w(const qn_bind *bind)
{
    const qn_op_types *t = bind->types;
    return describe(bind, &t->inputs[0], &t->outputs[0], &t->inputs[1]);
}

static size_t scratch_of(const qn_bind *bind, qn_conv2d conv)
{
    return qn_bind_all_f32(bind) ? qn_conv2d_f32_scratch_bytes(&conv, bind->context->threads) : 0;
}
static size_t forward_scratch(const qn_bind *bind)
{
    return scratch_of(bind, describe_forward(bind));
}
static size_t grad_x_scratch(const qn_bind *bind)
{
    return scratch_of(bind, describe_grad_x(bind));
}
static size_t grad_w_scratch(const qn_bind *bind)
{
    return scratch_of(bind, describe_grad_w(bind));
}

static bool bind_forward(const qn_bind *bind)
{
    if (!qn_bind_all_f32(bind))
        return false;
    forward_args *args = qn_bind_args(bind, sizeof *args);
    if (!args || !qn_bind_activation(bind, &args->io.act, &args->io.slope))
        return false;
    args->conv = describe_forward(bind);
    args->io.x = bind->inputs[0].data;
    args->io.weight = bind->inputs[1].data;
    args->io.bias = bind->types->inputs_count > 2 ? bind->inputs[2].data : NULL;
    args->io.y = bind->outputs[0].data;
    args->scratch = bind->scratch;
    return qn_bind_to(bind, run_forward, "conv");
}

static grad_args *take_grad(const qn_bind *bind, qn_conv2d conv)
{
    grad_args *args = qn_bind_all_f32(bind) ? qn_bind_args(bind, sizeof *args) : NULL;
    if (args)
        *args = (grad_args){.conv = conv,
                            .dst = bind->outputs[0].data,
                            .a = bind->inputs[0].data,
                            .b = bind->inputs[1].data,
                            .scratch = bind->scratch};
    return args;
}

static bool bind_grad_x(const qn_bind *bind)
{
    return take_grad(bind, describe_grad_x(bind)) &&
           qn_bind_to(bind, run_grad_x, "conv data gradient");
}

static bool bind_grad_w(const qn_bind *bind)
{
    grad_args *args = take_grad(bind, describe_grad_w(bind));
    if (!args)
        return false;
    args->dbias = bind->wanted[1] ? bind->outputs[1].data : NULL;
    return qn_bind_to(bind, run_grad_w, "conv weight gradient");
}

/* With ReLU and a 2x2 pool behind it, and back. */

typedef struct {
    qn_conv2d conv;
    const float *x, *weight, *bias;
    float *y;
    uint8_t *choice;
    qn_conv2d_pool_grad grad;
    void *scratch;
} pooled_args;

static void run_pooled(const void *args, qn_pool *pool, uint32_t step)
{
    (void)step;
    const pooled_args *a = args;
    qn_conv2d_relu_pool_f32(pool, &a->conv, a->y, a->choice, a->x, a->weight, a->bias, a->scratch);
}

static void run_pooled_grad(const void *args, qn_pool *pool, uint32_t step)
{
    (void)step;
    const pooled_args *a = args;
    qn_conv2d_relu_pool_grad_f32(pool, &a->conv, &a->grad, a->scratch);
}

/* x and the weights stand at input `x_at`; the size before the pool follows from them. */
static qn_conv2d describe_pooled(const qn_bind *bind, int x_at)
{
    const qn_type *x = &bind->types->inputs[x_at], *weight = x + 1;
    qn_conv2d conv = describe(bind, x, weight, x);
    int64_t stride[2], pads[4], dilation[2];
    qn_bind_window(bind, stride, pads, dilation);
    conv.cout = weight->shape.dims[3];
    conv.oh = (conv.h + pads[0] + pads[2] - (conv.kh - 1) * dilation[0] - 1) / stride[0] + 1;
    conv.ow = (conv.w + pads[1] + pads[3] - (conv.kw - 1) * dilation[1] - 1) / stride[1] + 1;
    return conv;
}

static bool is_pooled_grad(const qn_bind *bind)
{
    return bind->types->outputs_count == 3;
}

static size_t pooled_scratch(const qn_bind *bind)
{
    if (bind->types->inputs[0].dtype != QN_DTYPE_F32)
        return 0;
    qn_conv2d conv = describe_pooled(bind, is_pooled_grad(bind) ? 3 : 0);
    return qn_conv2d_relu_pool_scratch_bytes(&conv, bind->context->threads);
}

static bool bind_pooled(const qn_bind *bind)
{
    if (bind->types->inputs[0].dtype != QN_DTYPE_F32)
        return false;
    pooled_args *args = qn_bind_args(bind, sizeof *args);
    if (!args)
        return false;
    *args = (pooled_args){.conv = describe_pooled(bind, 0),
                          .x = bind->inputs[0].data,
                          .weight = bind->inputs[1].data,
                          .bias = bind->types->inputs_count > 2 ? bind->inputs[2].data : NULL,
                          .y = bind->outputs[0].data,
                          .choice = bind->outputs[1].data,
                          .scratch = bind->scratch};
    return qn_bind_to(bind, run_pooled, "conv relu pool");
}

static bool bind_pooled_grad(const qn_bind *bind)
{
    if (bind->types->inputs[0].dtype != QN_DTYPE_F32)
        return false;
    pooled_args *args = qn_bind_args(bind, sizeof *args);
    if (!args)
        return false;
    bool bias = bind->wanted[1] || bind->wanted[2]; /* the kernel gives dbias beside dweight */
    args->conv = describe_pooled(bind, 3);
    args->scratch = bind->scratch;
    args->grad = (qn_conv2d_pool_grad){.dx = bind->wanted[0] ? bind->outputs[0].data : NULL,
                                       .dweight = bias ? bind->outputs[1].data : NULL,
                                       .dbias = bind->wanted[2] ? bind->outputs[2].data : NULL,
                                       .dy = bind->inputs[0].data,
                                       .y = bind->inputs[1].data,
                                       .choice = bind->inputs[2].data,
                                       .x = bind->inputs[3].data,
                                       .weight = bind->inputs[4].data};
    return qn_bind_to(bind, run_pooled_grad, "conv relu pool gradient");
}

const qn_binding qn_bindings_conv[] = {
    {"Conv", bind_forward, forward_scratch},
    {"ConvGradData", bind_grad_x, grad_x_scratch},
    {"ConvGradWeight", bind_grad_w, grad_w_scratch},
    {"ConvReluPool", bind_pooled, pooled_scratch},
    {"ConvReluPoolGrad", bind_pooled_grad, pooled_scratch},
    {0},
};
