/*
 * Bindings of the updates beyond SGD and Adam (op/optim_flat.c, op/optim_tensor.c). All run in place.
 */
#include <string.h>

#include "graph/bind/bind.h"
#include "kernel/optim/tensor.h"
#include "kernel/optim/update.h"

static bool in_place(const qn_bind *bind)
{
    for (int i = 0; i < bind->types->outputs_count; i++)
        if (bind->outputs[i].data != bind->inputs[i].data)
            return false;
    return bind->types->inputs[0].dtype == QN_DTYPE_F32;
}

static const void *optional(const qn_bind *bind, int input)
{
    return input < bind->types->inputs_count ? bind->inputs[input].data : NULL;
}

/* Attributes that a row does not list are 0. */
static double option(const qn_bind *bind, const char *name)
{
    const qn_attr_spec *specs = bind->types->op->attrs;
    for (int i = 0; specs && specs[i].name; i++)
        if (strcmp(specs[i].name, name) == 0)
            return specs[i].kind == QN_ATTR_FLOAT ? bind->types->attrs[i].f
                                                  : (double)bind->types->attrs[i].i;
    return 0;
}

typedef struct {
    qn_update_kind kind;
    qn_update io;
} update_args;

static void run_update(const void *args, qn_pool *pool, uint32_t step)
{
    (void)step;
    const update_args *a = args;
    qn_update_f32(pool, a->kind, &a->io);
}

static bool bind_update(const qn_bind *bind, qn_update_kind kind, const char *kernel)
{
    int grad = bind->types->outputs_count; /* weight and moments stand before it */
    bool product = kind == QN_UPDATE_NADAM;
    if (!in_place(bind))
        return false;
    update_args *args = qn_bind_args(bind, sizeof *args);
    if (!args)
        return false;
    args->kind = kind;
    args->io = (qn_update){.count = qn_bind_count(&bind->inputs[0]),
                           .weight = bind->outputs[0].data,
                           .grad = bind->inputs[grad].data,
                           .lr = bind->inputs[grad + 1].data,
                           .step = optional(bind, grad + 2),
                           .grad_scale = optional(bind, product ? grad + 4 : grad + 3),
                           .product = product ? optional(bind, grad + 3) : NULL,
                           .beta1 = option(bind, "beta1"),
                           .beta2 = option(bind, "beta2"),
                           .rho = option(bind, "rho"),
                           .momentum = option(bind, "momentum"),
                           .eps = option(bind, "epsilon"),
                           .weight_decay = option(bind, "weight_decay"),
                           .lr_decay = option(bind, "lr_decay"),
                           .momentum_decay = option(bind, "momentum_decay"),
                           .decoupled = option(bind, "decoupled") > 0};
    for (int k = 1; k < grad; k++)
        args->io.moments[k - 1] = bind->outputs[k].data;
    return qn_bind_to(bind, run_update, kernel);
}

static bool bind_adagrad(const qn_bind *bind)
{
    return bind_update(bind, QN_UPDATE_ADAGRAD, "adagrad");
}
static bool bind_rmsprop(const qn_bind *bind)
{
    return bind_update(bind, QN_UPDATE_RMSPROP, "rmsprop");
}
static bool bind_rmsprop_momentum(const qn_bind *bind)
{
    return bind_update(bind, QN_UPDATE_RMSPROP_MOMENTUM, "rmsprop");
}
static bool bind_rmsprop_centered(const qn_bind *bind)
{
    return bind_update(bind, QN_UPDATE_RMSPROP_CENTERED, "rmsprop");
}
static bool bind_adadelta(const qn_bind *bind)
{
    return bind_update(bind, QN_UPDATE_ADADELTA, "adadelta");
}
static bool bind_nadam(const qn_bind *bind)
{
    return bind_update(bind, QN_UPDATE_NADAM, "nadam");
}
static bool bind_lion(const qn_bind *bind)
{
    return bind_update(bind, QN_UPDATE_LION, "lion");
}
static bool bind_average(const qn_bind *bind)
{
    return bind_update(bind, QN_UPDATE_AVERAGE, "average");
}

typedef struct {
    qn_lamb io;
    void *scratch;
} lamb_args;

static void run_lamb(const void *args, qn_pool *pool, uint32_t step)
{
    (void)step;
    const lamb_args *a = args;
    qn_lamb_f32(pool, &a->io, a->scratch);
}

static size_t lamb_scratch(const qn_bind *bind)
{
    return qn_lamb_scratch_bytes(qn_shape_count(&bind->types->inputs[0].shape));
}

static bool bind_lamb(const qn_bind *bind)
{
    if (!in_place(bind))
        return false;
    lamb_args *args = qn_bind_args(bind, sizeof *args);
    if (!args)
        return false;
    args->io = (qn_lamb){.count = qn_bind_count(&bind->inputs[0]),
                         .weight = bind->outputs[0].data,
                         .first = bind->outputs[1].data,
                         .second = bind->outputs[2].data,
                         .grad = bind->inputs[3].data,
                         .lr = bind->inputs[4].data,
                         .step = bind->inputs[5].data,
                         .grad_scale = optional(bind, 6),
                         .beta1 = option(bind, "beta1"),
                         .beta2 = option(bind, "beta2"),
                         .eps = option(bind, "epsilon"),
                         .weight_decay = option(bind, "weight_decay")};
    args->scratch = bind->scratch;
    return qn_bind_to(bind, run_lamb, "lamb");
}

typedef struct {
    qn_adafactor io;
    void *scratch;
} adafactor_args;

static void run_adafactor(const void *args, qn_pool *pool, uint32_t step)
{
    (void)step;
    const adafactor_args *a = args;
    qn_adafactor_f32(pool, &a->io, a->scratch);
}

/* A vector is one row of one matrix. */
static void set_sizes(const qn_bind *bind, qn_adafactor *io)
{
    const qn_shape *shape = &bind->types->inputs[0].shape;
    bool vector = bind->types->outputs_count == 2;
    io->cols = vector ? qn_shape_count(shape) : shape->dims[shape->rank - 1];
    io->rows = vector ? 1 : shape->dims[shape->rank - 2];
    io->matrices = 1;
    for (int d = 0; !vector && d < shape->rank - 2; d++)
        io->matrices *= shape->dims[d];
}

static size_t adafactor_scratch(const qn_bind *bind)
{
    qn_adafactor io = {0};
    set_sizes(bind, &io);
    return qn_adafactor_scratch_bytes(io.matrices, io.rows, io.cols);
}

static bool bind_adafactor(const qn_bind *bind)
{
    int grad = bind->types->outputs_count;
    if (!in_place(bind))
        return false;
    adafactor_args *args = qn_bind_args(bind, sizeof *args);
    if (!args)
        return false;
    double eps1 = option(bind, "epsilon1");
    args->io = (qn_adafactor){.weight = bind->outputs[0].data,
                              .row = grad == 3 ? bind->outputs[1].data : NULL,
                              .col = bind->outputs[grad - 1].data,
                              .grad = bind->inputs[grad].data,
                              .lr = bind->inputs[grad + 1].data,
                              .step = bind->inputs[grad + 2].data,
                              .grad_scale = optional(bind, grad + 3),
                              .beta2_decay = option(bind, "beta2_decay"),
                              .eps1 = eps1 > 0 ? eps1 : 0x1p-23, /* of f32 */
                              .eps2 = option(bind, "epsilon2"),
                              .clip = option(bind, "d"),
                              .weight_decay = option(bind, "weight_decay")};
    set_sizes(bind, &args->io);
    args->scratch = bind->scratch;
    return qn_bind_to(bind, run_adafactor, "adafactor");
}

const qn_binding qn_bindings_update[] = {
    {.op = "AdagradUpdate", .bind = bind_adagrad},
    {.op = "RmsPropUpdate", .bind = bind_rmsprop},
    {.op = "RmsPropMomentumUpdate", .bind = bind_rmsprop_momentum},
    {.op = "RmsPropCenteredUpdate", .bind = bind_rmsprop_centered},
    {.op = "AdadeltaUpdate", .bind = bind_adadelta},
    {.op = "NAdamUpdate", .bind = bind_nadam},
    {.op = "LionUpdate", .bind = bind_lion},
    {.op = "AverageUpdate", .bind = bind_average},
    {"LambUpdate", bind_lamb, lamb_scratch},
    {"AdafactorUpdate", bind_adafactor, adafactor_scratch},
    {"AdafactorVectorUpdate", bind_adafactor, adafactor_scratch},
    {0},
};
