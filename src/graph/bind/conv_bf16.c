/*
 * Bindings of convolution and its gradients whose factors are stored in bf16, where the kernels of pairs gain by the
 * shape. What they do not take is widened (widen.c).
 */
#include <string.h>

#include "graph/bind/conv.h"
#include "kernel/conv/conv_bf16.h"

/* The outputs of every row are in this order: y or dx, or dweight and dbias, or all three of the pooled gradient. */
typedef struct {
    const qn_pairs_kernels *pairs;
    qn_conv2d conv;
    void *scratch;
    qn_conv2d_bf16_forward forward;
    uint8_t *choice;
    qn_conv2d_bf16_grad_w to_w;
    qn_conv2d_bf16_pool_grad pooled;
} conv_args;

static void run_forward(const void *args, qn_pool *pool, uint32_t step)
{
    (void)step;
    const conv_args *a = args;
    qn_conv2d_bf16(a->pairs, pool, &a->conv, &a->forward, a->scratch);
}

static void run_to_x(const void *args, qn_pool *pool, uint32_t step)
{
    (void)step;
    const conv_args *a = args;
    qn_conv2d_transposed_bf16(a->pairs, pool, &a->conv, &a->forward, a->scratch);
}

static void run_to_w(const void *args, qn_pool *pool, uint32_t step)
{
    (void)step;
    const conv_args *a = args;
    qn_conv2d_grad_w_bf16(a->pairs, pool, &a->conv, &a->to_w, a->scratch);
}

static void run_pooled(const void *args, qn_pool *pool, uint32_t step)
{
    (void)step;
    const conv_args *a = args;
    qn_conv2d_relu_pool_bf16(a->pairs, pool, &a->conv, &a->forward, a->choice, a->scratch);
}

static void run_pooled_grad(const void *args, qn_pool *pool, uint32_t step)
{
    (void)step;
    const conv_args *a = args;
    qn_conv2d_relu_pool_grad_bf16(a->pairs, pool, &a->conv, &a->pooled, a->scratch);
}

/* Forward passes and those to x: x or dy, weight, bias?, added? */
static bool set_forward(const qn_bind *bind, conv_args *args)
{
    int inputs = bind->types->inputs_count;
    args->forward = (qn_conv2d_bf16_forward){.x = bind->inputs[0].data,
                                             .weight = bind->inputs[1].data,
                                             .bias = inputs > 2 ? bind->inputs[2].data : NULL,
                                             .added = inputs > 3 ? bind->inputs[3].data : NULL,
                                             .y = bind->outputs[0].data};
    if (bind->types->outputs_count > 1)
        args->choice = bind->outputs[1].data;
    return true;
}

static bool set_activated(const qn_bind *bind, conv_args *args)
{
    set_forward(bind, args);
    return qn_bind_activation(bind, &args->forward.act, &args->forward.slope);
}

static bool set_to_w(const qn_bind *bind, conv_args *args)
{
    args->to_w = (qn_conv2d_bf16_grad_w){.dweight = bind->outputs[0].data,
                                         .dbias = bind->wanted[1] ? bind->outputs[1].data : NULL,
                                         .x = bind->inputs[0].data,
                                         .dy = bind->inputs[1].data};
    return true;
}

static bool set_pooled_grad(const qn_bind *bind, conv_args *args)
{
    bool weight = bind->wanted[1] || bind->wanted[2]; /* the kernel gives dbias beside dweight */
    args->pooled =
        (qn_conv2d_bf16_pool_grad){.dx = bind->wanted[0] ? bind->outputs[0].data : NULL,
                                   .dweight = weight ? bind->outputs[1].data : NULL,
                                   .dbias = bind->wanted[2] ? bind->outputs[2].data : NULL,
                                   .dy = bind->inputs[0].data,
                                   .y = bind->inputs[1].data,
                                   .choice = bind->inputs[2].data,
                                   .x = bind->inputs[3].data,
                                   .weight = bind->inputs[4].data};
    return true;
}

/* Which kernels a step has; what all its passes are is in `passes`, by bit. */
typedef struct {
    const char *op;
    qn_conv2d (*describe)(const qn_bind *bind);
    unsigned passes;
    size_t (*scratch_bytes)(const qn_pairs_kernels *pairs, const qn_conv2d *conv, int threads);
    bool (*set)(const qn_bind *bind, conv_args *args);
    qn_call_fn run;
    const char *kernel;
} conv_row;

static const conv_row rows[] = {
    {"Conv", qn_bind_conv_forward, 1U << QN_CONV_FORWARD, qn_conv2d_bf16_forward_scratch_bytes,
     set_activated, run_forward, "conv bf16"},
    {"ConvTranspose", qn_bind_conv_transposed, 1U << QN_CONV_GRAD_X,
     qn_conv2d_bf16_grad_x_scratch_bytes, set_activated, run_to_x, "conv transposed bf16"},
    {"ConvGradData", qn_bind_conv_grad_x, 1U << QN_CONV_GRAD_X, qn_conv2d_bf16_grad_x_scratch_bytes,
     set_forward, run_to_x, "conv data gradient bf16"},
    {"ConvGradWeight", qn_bind_conv_grad_w, 1U << QN_CONV_GRAD_W,
     qn_conv2d_bf16_grad_w_scratch_bytes, set_to_w, run_to_w, "conv weight gradient bf16"},
    {"ConvReluPool", qn_bind_conv_pooled, 1U << QN_CONV_FORWARD,
     qn_conv2d_bf16_relu_pool_scratch_bytes, set_forward, run_pooled, "conv relu pool bf16"},
    {"ConvReluPoolGrad", qn_bind_conv_pooled, 1U << QN_CONV_GRAD_W, NULL, set_pooled_grad,
     run_pooled_grad, "conv relu pool gradient bf16"},
};

static const conv_row *find_row(const qn_bind *bind)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (strcmp(rows[i].op, bind->types->op->name) == 0)
            return &rows[i];
    return NULL;
}

/* The pooled gradient goes to x only where x wants it. */
static bool to_x(const qn_bind *bind)
{
    return bind->types->outputs_count == 3 && bind->wanted[0];
}

bool qn_bind_conv_takes_bf16(const qn_bind *bind)
{
    const conv_row *row = find_row(bind);
    for (int i = 0; row && i < bind->types->inputs_count; i++)
        if (bind->types->op->factors >> i & 1 && bind->types->inputs[i].dtype != QN_DTYPE_BF16)
            return false;
    if (!row || !qn_pairs() || bind->types->outputs[0].dtype != QN_DTYPE_F32)
        return false;
    qn_conv2d conv = row->describe(bind);
    unsigned passes = row->passes | (to_x(bind) ? 1U << QN_CONV_GRAD_X : 0);
    for (int pass = QN_CONV_FORWARD; pass <= QN_CONV_GRAD_W; pass++)
        if (passes >> pass & 1 && !qn_conv2d_bf16_takes(&conv, (qn_conv_pass)pass))
            return false;
    return true;
}

size_t qn_bind_conv_bf16_scratch_bytes(const qn_bind *bind)
{
    const conv_row *row = find_row(bind);
    qn_conv2d conv = row->describe(bind);
    int threads = bind->context->threads;
    return row->scratch_bytes ? row->scratch_bytes(qn_pairs(), &conv, threads)
                              : qn_conv2d_bf16_relu_pool_grad_scratch_bytes(qn_pairs(), &conv,
                                                                            to_x(bind), threads);
}

bool qn_bind_conv_bf16(const qn_bind *bind)
{
    const conv_row *row = find_row(bind);
    conv_args *args = qn_bind_args(bind, sizeof *args);
    if (!args || !row->set(bind, args))
        return false;
    args->pairs = qn_pairs();
    args->conv = row->describe(bind);
    args->scratch = bind->scratch;
    return qn_bind_to(bind, row->run, row->kernel);
}
