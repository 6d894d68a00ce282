/*
 * Bindings of layer, RMS, group and instance normalisation and their gradients.
 */
#include "kernel/norm/layer_norm.h"
#include "graph/bind/bind.h"
#include "kernel/norm/group_norm.h"

static bool is_centred(const qn_bind *bind)
{
    return bind->types->op->name[0] != 'R';
}

/* scale stands at input 1 of the forward, 2 of the backward; it is as wide as a row. */
static void rows_cols(const qn_bind *bind, int scale, int64_t *ret_rows, int64_t *ret_cols)
{
    *ret_cols = qn_shape_count(&bind->types->inputs[scale].shape);
    *ret_rows = qn_shape_count(&bind->types->inputs[0].shape) / *ret_cols;
}

static void *wanted(const qn_bind *bind, int output)
{
    return bind->wanted[output] ? bind->outputs[output].data : NULL;
}

static void run_layer(const void *args, qn_pool *pool, uint32_t step)
{
    (void)step;
    qn_layer_norm_f32(pool, args);
}

static bool bind_layer(const qn_bind *bind)
{
    bool centred = is_centred(bind);
    if (!qn_bind_all_f32(bind))
        return false;
    qn_layer_norm *io = qn_bind_args(bind, sizeof *io);
    if (!io)
        return false;
    *io = (qn_layer_norm){.x = bind->inputs[0].data,
                          .scale = bind->inputs[1].data,
                          .shift = bind->types->inputs_count > 2 ? bind->inputs[2].data : NULL,
                          .y = bind->outputs[0].data,
                          .mean = centred ? wanted(bind, 1) : NULL,
                          .rstd = wanted(bind, centred ? 2 : 1),
                          .eps = (float)qn_op_attr_f(bind->types, "epsilon"),
                          .centred = centred};
    rows_cols(bind, 1, &io->rows, &io->cols);
    return qn_bind_to(bind, run_layer, centred ? "layer norm" : "rms norm");
}

typedef struct {
    qn_layer_norm_grad io;
    void *scratch;
} layer_grad_args;

static void run_layer_grad(const void *args, qn_pool *pool, uint32_t step)
{
    (void)step;
    const layer_grad_args *a = args;
    qn_layer_norm_grad_f32(pool, &a->io, a->scratch);
}

static size_t layer_grad_scratch(const qn_bind *bind)
{
    int64_t rows, cols;
    rows_cols(bind, 2, &rows, &cols);
    return qn_layer_norm_grad_scratch_bytes(rows, cols);
}

static bool bind_layer_grad(const qn_bind *bind)
{
    bool centred = is_centred(bind);
    if (!qn_bind_all_f32(bind))
        return false;
    layer_grad_args *args = qn_bind_args(bind, sizeof *args);
    if (!args)
        return false;
    args->io = (qn_layer_norm_grad){.dy = bind->inputs[0].data,
                                    .x = bind->inputs[1].data,
                                    .scale = bind->inputs[2].data,
                                    .mean = centred ? bind->inputs[3].data : NULL,
                                    .rstd = bind->inputs[centred ? 4 : 3].data,
                                    .dx = bind->outputs[0].data,
                                    .dscale = wanted(bind, 1),
                                    .dshift = centred ? wanted(bind, 2) : NULL,
                                    .centred = centred};
    rows_cols(bind, 2, &args->io.rows, &args->io.cols);
    args->scratch = bind->scratch;
    return qn_bind_to(bind, run_layer_grad, centred ? "layer norm gradient" : "rms norm gradient");
}

/* x is input 0 of the forward, 1 of the backward; the statistics are [images, groups]. */
static qn_group_norm_shape group_shape(const qn_bind *bind, bool backward)
{
    const qn_op_types *types = bind->types;
    const qn_shape *x = &types->inputs[0].shape;
    const qn_shape *stats = backward ? &types->inputs[3].shape : &types->outputs[1].shape;
    int64_t channels = x->dims[x->rank - 1], images = x->dims[0];
    return (qn_group_norm_shape){.images = images,
                                 .rows = images ? qn_shape_count(x) / images / channels : 0,
                                 .groups = stats->dims[1],
                                 .width = channels / stats->dims[1]};
}

typedef struct {
    qn_group_norm io;
    void *scratch;
} group_args;

static void run_group(const void *args, qn_pool *pool, uint32_t step)
{
    (void)step;
    const group_args *a = args;
    qn_group_norm_f32(pool, &a->io, a->scratch);
}

static size_t group_scratch(const qn_bind *bind)
{
    qn_group_norm_shape shape = group_shape(bind, false);
    return qn_group_norm_scratch_bytes(&shape);
}

static bool bind_group(const qn_bind *bind)
{
    if (!qn_bind_all_f32(bind))
        return false;
    group_args *args = qn_bind_args(bind, sizeof *args);
    if (!args)
        return false;
    args->io = (qn_group_norm){.shape = group_shape(bind, false),
                               .x = bind->inputs[0].data,
                               .scale = bind->inputs[1].data,
                               .shift = bind->inputs[2].data,
                               .y = bind->outputs[0].data,
                               .mean = bind->outputs[1].data,
                               .rstd = bind->outputs[2].data,
                               .eps = (float)qn_op_attr_f(bind->types, "epsilon")};
    args->scratch = bind->scratch;
    return qn_bind_to(bind, run_group, "group norm");
}

typedef struct {
    qn_group_norm_grad io;
    void *scratch;
} group_grad_args;

static void run_group_grad(const void *args, qn_pool *pool, uint32_t step)
{
    (void)step;
    const group_grad_args *a = args;
    qn_group_norm_grad_f32(pool, &a->io, a->scratch);
}

static size_t group_grad_scratch(const qn_bind *bind)
{
    qn_group_norm_shape shape = group_shape(bind, true);
    return qn_group_norm_scratch_bytes(&shape);
}

static bool bind_group_grad(const qn_bind *bind)
{
    if (!qn_bind_all_f32(bind))
        return false;
    group_grad_args *args = qn_bind_args(bind, sizeof *args);
    if (!args)
        return false;
    args->io = (qn_group_norm_grad){.shape = group_shape(bind, true),
                                    .dy = bind->inputs[0].data,
                                    .x = bind->inputs[1].data,
                                    .scale = bind->inputs[2].data,
                                    .mean = bind->inputs[3].data,
                                    .rstd = bind->inputs[4].data,
                                    .dx = bind->outputs[0].data,
                                    .dscale = wanted(bind, 1),
                                    .dshift = wanted(bind, 2)};
    args->scratch = bind->scratch;
    return qn_bind_to(bind, run_group_grad, "group norm gradient");
}

const qn_binding qn_bindings_layer_norm[] = {
    {.op = "LayerNormalization", .bind = bind_layer},
    {.op = "RMSNormalization", .bind = bind_layer},
    {"LayerNormalizationGrad", bind_layer_grad, layer_grad_scratch},
    {"RMSNormalizationGrad", bind_layer_grad, layer_grad_scratch},
    {"GroupNormalization", bind_group, group_scratch},
    {"InstanceNormalization", bind_group, group_scratch},
    {"GroupNormalizationGrad", bind_group_grad, group_grad_scratch},
    {0},
};
