/*
 * Bindings of losses. Where nothing reads the gradient (evaluation) it is not computed.
 */
#include <string.h>

#include "graph/bind/bind.h"
#include "kernel/loss/loss.h"

static qn_loss_reduction reduction_of(const qn_bind *bind)
{
    const char *name = qn_op_attr_s(bind->types, "reduction");
    return strcmp(name, "sum") == 0         ? QN_LOSS_SUM
           : strcmp(name, "batchmean") == 0 ? QN_LOSS_BATCH_MEAN
                                            : QN_LOSS_MEAN;
}

static const void *optional(const qn_bind *bind, int input)
{
    return input < bind->types->inputs_count ? bind->inputs[input].data : NULL;
}

typedef struct {
    qn_cross_entropy io;
    void *scratch;
} entropy_args;

static void run_entropy(const void *args, qn_pool *pool, uint32_t step)
{
    (void)step;
    const entropy_args *a = args;
    qn_cross_entropy_f32(pool, &a->io, a->scratch);
}

static size_t entropy_scratch(const qn_bind *bind)
{
    const qn_shape *logits = &bind->types->inputs[0].shape;
    int64_t classes = logits->dims[logits->rank - 1];
    return qn_cross_entropy_scratch_bytes(qn_shape_count(logits) / classes, classes);
}

static bool bind_entropy(const qn_bind *bind)
{
    const qn_op_types *types = bind->types;
    if (types->inputs[0].dtype != QN_DTYPE_F32)
        return false;
    entropy_args *args = qn_bind_args(bind, sizeof *args);
    if (!args)
        return false;
    const qn_shape *logits = &types->inputs[0].shape;
    int64_t classes = logits->dims[logits->rank - 1];
    args->io = (qn_cross_entropy){.rows = qn_shape_count(logits) / classes,
                                  .classes = classes,
                                  .logits = bind->inputs[0].data,
                                  .labels = bind->inputs[1].data,
                                  .class_weights = optional(bind, 2),
                                  .smoothing = (float)qn_op_attr_f(types, "label_smoothing"),
                                  .has_ignore = true,
                                  .ignore = qn_op_attr_i(types, "ignore_index"),
                                  .reduction = reduction_of(bind),
                                  .loss = bind->outputs[0].data,
                                  .dlogits = bind->wanted[1] ? bind->outputs[1].data : NULL};
    args->scratch = bind->scratch;
    return qn_bind_to(bind, run_entropy, "cross-entropy");
}

typedef struct {
    qn_loss_kind kind;
    qn_pointwise_loss io;
    void *scratch;
} pointwise_args;

static void run_pointwise(const void *args, qn_pool *pool, uint32_t step)
{
    (void)step;
    const pointwise_args *a = args;
    qn_pointwise_loss_f32(pool, a->kind, &a->io, a->scratch);
}

static size_t pointwise_scratch(const qn_bind *bind)
{
    return qn_pointwise_loss_scratch_bytes(qn_shape_count(&bind->types->inputs[0].shape));
}

static bool bind_pointwise(const qn_bind *bind, qn_loss_kind kind, const char *option)
{
    if (!qn_bind_all_f32(bind))
        return false;
    pointwise_args *args = qn_bind_args(bind, sizeof *args);
    if (!args)
        return false;
    args->kind = kind;
    args->io = (qn_pointwise_loss){.count = qn_bind_count(&bind->inputs[0]),
                                   .predictions = bind->inputs[0].data,
                                   .targets = bind->inputs[1].data,
                                   .weights = optional(bind, 2),
                                   .option = option ? (float)qn_op_attr_f(bind->types, option) : 0,
                                   .reduction = reduction_of(bind),
                                   .rows = bind->types->inputs[0].shape.dims[0],
                                   .loss = bind->outputs[0].data,
                                   .dpredictions = bind->wanted[1] ? bind->outputs[1].data : NULL};
    args->scratch = bind->scratch;
    return qn_bind_to(bind, run_pointwise, "pointwise loss");
}

static bool bind_squared(const qn_bind *bind)
{
    return bind_pointwise(bind, QN_LOSS_MSE, NULL);
}
static bool bind_absolute(const qn_bind *bind)
{
    return bind_pointwise(bind, QN_LOSS_MAE, NULL);
}
static bool bind_huber(const qn_bind *bind)
{
    return bind_pointwise(bind, QN_LOSS_HUBER, "delta");
}
static bool bind_bce(const qn_bind *bind)
{
    return bind_pointwise(bind, QN_LOSS_BCE_LOGITS, "pos_weight");
}
static bool bind_poisson(const qn_bind *bind)
{
    return bind_pointwise(bind, QN_LOSS_POISSON, NULL);
}
static bool bind_quantile(const qn_bind *bind)
{
    return bind_pointwise(bind, QN_LOSS_QUANTILE, "quantile");
}
static bool bind_hinge(const qn_bind *bind)
{
    return bind_pointwise(bind, QN_LOSS_HINGE, "margin");
}
static bool bind_squared_hinge(const qn_bind *bind)
{
    return bind_pointwise(bind, QN_LOSS_SQUARED_HINGE, "margin");
}
static bool bind_kl(const qn_bind *bind)
{
    return bind_pointwise(bind, QN_LOSS_KL, NULL);
}

const qn_binding qn_bindings_loss[] = {
    {"SoftmaxCrossEntropy", bind_entropy, entropy_scratch},
    {"MeanSquaredError", bind_squared, pointwise_scratch},
    {"MeanAbsoluteError", bind_absolute, pointwise_scratch},
    {"Huber", bind_huber, pointwise_scratch},
    {"BceWithLogits", bind_bce, pointwise_scratch},
    {"PoissonNLLLoss", bind_poisson, pointwise_scratch},
    {"QuantileLoss", bind_quantile, pointwise_scratch},
    {"HingeLoss", bind_hinge, pointwise_scratch},
    {"SquaredHingeLoss", bind_squared_hinge, pointwise_scratch},
    {"KLDivergence", bind_kl, pointwise_scratch},
    {0},
};
