/*
 * Bindings of convolution and its gradients.
 */
#include "graph/bind/conv.h"
#include "graph/bind/bind.h"

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

/* Sizes from the shapes of x and the weights, wherever they stand among inputs and outputs. */
static qn_conv2d describe(const qn_bind *bind, const qn_type *x, const qn_type *weight)
{
    qn_op_window window = {0};
    qn_status status = qn_op_window_read(bind->types, &x->shape, weight->shape.dims, &window, NULL);
    QN_ASSERT(status == QN_OK);
    return qn_bind_conv(&window, x->shape.dims[x->shape.rank - 1],
                        weight->shape.dims[x->shape.rank - 1], qn_op_attr_i(bind->types, "group"));
}

qn_conv2d qn_bind_conv_forward(const qn_bind *bind)
{
    return describe(bind, &bind->types->inputs[0], &bind->types->inputs[1]);
}
qn_conv2d qn_bind_conv_grad_x(const qn_bind *bind)
{
    return describe(bind, &bind->types->outputs[0], &bind->types->inputs[1]);
}
qn_conv2d qn_bind_conv_grad_w(const qn_bind *bind)
{
    return describe(bind, &bind->types->inputs[0], &bind->types->outputs[0]);
}
/* The convolution from y back to x. */
qn_conv2d qn_bind_conv_transposed(const qn_bind *bind)
{
    const qn_op_types *t = bind->types;
    const qn_shape *x = &t->inputs[0].shape, *y = &t->outputs[0].shape;
    qn_op_window window = {0};
    qn_status status = qn_op_window_transposed(t, x, t->inputs[1].shape.dims, &window, NULL);
    QN_ASSERT(status == QN_OK);
    return qn_bind_conv(&window, y->dims[y->rank - 1], x->dims[x->rank - 1],
                        qn_op_attr_i(t, "group"));
}

/* Whether the weights may be kept in the kernel's order: they stay as they are. */
static bool is_packed(const qn_bind *bind, const qn_conv2d *conv)
{
    return bind->fixed && bind->fixed[1] && qn_conv2d_packed_bytes(conv) > 0;
}

static size_t forward_scratch(const qn_bind *bind)
{
    if (qn_bind_conv_takes_bf16(bind))
        return qn_bind_conv_bf16_scratch_bytes(bind);
    qn_conv2d conv = qn_bind_conv_forward(bind);
    if (!qn_bind_all_f32(bind))
        return 0;
    return qn_conv2d_forward_scratch_bytes(&conv, is_packed(bind, &conv), bind->context->threads);
}
static size_t grad_x_scratch(const qn_bind *bind)
{
    if (qn_bind_conv_takes_bf16(bind))
        return qn_bind_conv_bf16_scratch_bytes(bind);
    qn_conv2d conv = qn_bind_conv_grad_x(bind);
    return qn_bind_all_f32(bind) ? qn_conv2d_grad_x_scratch_bytes(&conv, bind->context->threads)
                                 : 0;
}
static size_t grad_w_scratch(const qn_bind *bind)
{
    if (qn_bind_conv_takes_bf16(bind))
        return qn_bind_conv_bf16_scratch_bytes(bind);
    qn_conv2d conv = qn_bind_conv_grad_w(bind);
    return qn_bind_all_f32(bind) ? qn_conv2d_grad_w_scratch_bytes(&conv, bind->context->threads)
                                 : 0;
}
static size_t transposed_scratch(const qn_bind *bind)
{
    if (qn_bind_conv_takes_bf16(bind))
        return qn_bind_conv_bf16_scratch_bytes(bind);
    qn_conv2d conv = qn_bind_conv_transposed(bind);
    return qn_bind_all_f32(bind) ? qn_conv2d_grad_x_scratch_bytes(&conv, bind->context->threads)
                                 : 0;
}

static forward_args *take_forward(const qn_bind *bind, qn_conv2d conv)
{
    int inputs = bind->types->inputs_count;
    forward_args *args = qn_bind_all_f32(bind) ? qn_bind_args(bind, sizeof *args) : NULL;
    if (!args || !qn_bind_activation(bind, &args->io.act, &args->io.slope))
        return NULL;
    args->conv = conv;
    args->io.x = bind->inputs[0].data;
    args->io.weight = bind->inputs[1].data;
    args->io.bias = inputs > 2 ? bind->inputs[2].data : NULL;
    args->io.added = inputs > 3 ? bind->inputs[3].data : NULL;
    args->io.y = bind->outputs[0].data;
    args->scratch = bind->scratch;
    return args;
}

/* Packs fixed weights once; bound again, they are there. false = memory is short. */
static bool keep_packed(const qn_bind *bind, const qn_conv2d *conv, qn_conv2d_forward *io)
{
    bool fresh;
    float *packed = qn_bind_keep(bind, qn_conv2d_packed_bytes(conv), &fresh);
    if (packed && fresh)
        qn_conv2d_pack(conv, packed, io->weight);
    io->packed = packed;
    return packed != NULL;
}

static bool bind_forward(const qn_bind *bind)
{
    if (qn_bind_conv_takes_bf16(bind))
        return qn_bind_conv_bf16(bind);
    forward_args *args = take_forward(bind, qn_bind_conv_forward(bind));
    if (!args || (is_packed(bind, &args->conv) && !keep_packed(bind, &args->conv, &args->io)))
        return false;
    return qn_bind_to(bind, run_forward, "conv");
}

static void run_transposed(const void *args, qn_pool *pool, uint32_t step)
{
    (void)step;
    const forward_args *a = args;
    qn_conv2d_transposed_f32(pool, &a->conv, &a->io, a->scratch);
}

static bool bind_transposed(const qn_bind *bind)
{
    if (qn_bind_conv_takes_bf16(bind))
        return qn_bind_conv_bf16(bind);
    return take_forward(bind, qn_bind_conv_transposed(bind)) &&
           qn_bind_to(bind, run_transposed, "conv transposed");
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
    if (qn_bind_conv_takes_bf16(bind))
        return qn_bind_conv_bf16(bind);
    return take_grad(bind, qn_bind_conv_grad_x(bind)) &&
           qn_bind_to(bind, run_grad_x, "conv data gradient");
}

static bool bind_grad_w(const qn_bind *bind)
{
    if (qn_bind_conv_takes_bf16(bind))
        return qn_bind_conv_bf16(bind);
    grad_args *args = take_grad(bind, qn_bind_conv_grad_w(bind));
    if (!args)
        return false;
    args->dbias = bind->wanted[1] ? bind->outputs[1].data : NULL;
    return qn_bind_to(bind, run_grad_w, "conv weight gradient");
}

/* With ReLU and a 2x2 pool behind it, and back. */

typedef struct {
    qn_conv2d conv;
    qn_conv2d_forward io;
    uint8_t *choice;
    void *scratch;
} pooled_args;

typedef struct {
    qn_conv2d conv;
    qn_conv2d_pool_grad io;
    void *scratch;
} pooled_grad_args;

static void run_pooled(const void *args, qn_pool *pool, uint32_t step)
{
    (void)step;
    const pooled_args *a = args;
    qn_conv2d_relu_pool_f32(pool, &a->conv, &a->io, a->choice, a->scratch);
}

static void run_pooled_grad(const void *args, qn_pool *pool, uint32_t step)
{
    (void)step;
    const pooled_grad_args *a = args;
    qn_conv2d_relu_pool_grad_f32(pool, &a->conv, &a->io, a->scratch);
}

/* The gradient has three outputs, and x and the weights behind dy, y and the choice. */
qn_conv2d qn_bind_conv_pooled(const qn_bind *bind)
{
    const qn_type *x = &bind->types->inputs[bind->types->outputs_count == 3 ? 3 : 0];
    return describe(bind, x, x + 1);
}

static size_t pooled_scratch(const qn_bind *bind)
{
    if (qn_bind_conv_takes_bf16(bind))
        return qn_bind_conv_bf16_scratch_bytes(bind);
    if (bind->types->inputs[0].dtype != QN_DTYPE_F32)
        return 0;
    qn_conv2d conv = qn_bind_conv_pooled(bind);
    return qn_conv2d_relu_pool_scratch_bytes(&conv, is_packed(bind, &conv), bind->context->threads);
}

static size_t pooled_grad_scratch(const qn_bind *bind)
{
    if (qn_bind_conv_takes_bf16(bind))
        return qn_bind_conv_bf16_scratch_bytes(bind);
    if (bind->types->inputs[0].dtype != QN_DTYPE_F32)
        return 0;
    qn_conv2d conv = qn_bind_conv_pooled(bind);
    return qn_conv2d_relu_pool_grad_scratch_bytes(&conv, bind->context->threads);
}

static bool bind_pooled(const qn_bind *bind)
{
    if (qn_bind_conv_takes_bf16(bind))
        return qn_bind_conv_bf16(bind);
    if (bind->types->inputs[0].dtype != QN_DTYPE_F32)
        return false;
    pooled_args *args = qn_bind_args(bind, sizeof *args);
    if (!args)
        return false;
    *args =
        (pooled_args){.conv = qn_bind_conv_pooled(bind),
                      .io = {.x = bind->inputs[0].data,
                             .weight = bind->inputs[1].data,
                             .bias = bind->types->inputs_count > 2 ? bind->inputs[2].data : NULL,
                             .y = bind->outputs[0].data},
                      .choice = bind->wanted[1] ? bind->outputs[1].data : NULL,
                      .scratch = bind->scratch};
    if (is_packed(bind, &args->conv) && !keep_packed(bind, &args->conv, &args->io))
        return false;
    return qn_bind_to(bind, run_pooled, "conv relu pool");
}

static bool bind_pooled_grad(const qn_bind *bind)
{
    if (qn_bind_conv_takes_bf16(bind))
        return qn_bind_conv_bf16(bind);
    if (bind->types->inputs[0].dtype != QN_DTYPE_F32)
        return false;
    pooled_grad_args *args = qn_bind_args(bind, sizeof *args);
    if (!args)
        return false;
    bool bias = bind->wanted[1] || bind->wanted[2]; /* the kernel gives dbias beside dweight */
    args->conv = qn_bind_conv_pooled(bind);
    args->scratch = bind->scratch;
    args->io = (qn_conv2d_pool_grad){.dx = bind->wanted[0] ? bind->outputs[0].data : NULL,
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
    {.op = "ConvTranspose", .bind = bind_transposed, .scratch_bytes = transposed_scratch},
    {"Conv", bind_forward, forward_scratch},
    {"ConvGradData", bind_grad_x, grad_x_scratch},
    {"ConvGradWeight", bind_grad_w, grad_w_scratch},
    {"ConvReluPool", bind_pooled, pooled_scratch},
    {"ConvReluPoolGrad", bind_pooled_grad, pooled_grad_scratch},
    {0},
};
