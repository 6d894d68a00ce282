/*
 * Optimisers as nodes; the update rules are in the rows (graph/op/optim.c).
 */
#include "nn/optimizers.h"

#include <string.h>

#include "base/alloc.h"
#include "graph/op.h"

static const char *const names[QN_NN_OPTIMIZER_COUNT] = {"sgd", "adam", "adamw"};

const char *qn_nn_optimizer_name(qn_nn_optimizer_kind kind)
{
    return names[kind];
}

bool qn_nn_optimizer_find(const char *name, qn_nn_optimizer_kind *ret)
{
    for (int i = 0; i < QN_NN_OPTIMIZER_COUNT; i++) {
        if (strcmp(names[i], name) == 0) {
            *ret = (qn_nn_optimizer_kind)i;
            return true;
        }
    }
    return false;
}

qn_nn_optimizer qn_nn_optimizer_default(qn_nn_optimizer_kind kind)
{
    return (qn_nn_optimizer){.kind = kind,
                             .beta1 = 0.9,
                             .beta2 = 0.999,
                             .eps = 1e-8,
                             .weight_decay = kind == QN_NN_ADAMW ? 0.01 : 0};
}

double qn_nn_optimizer_lr(qn_nn_optimizer_kind kind)
{
    return kind == QN_NN_SGD ? 0.01 : 0.001;
}

/* What all updates of one graph share. */
typedef struct {
    qn_graph *graph;
    const qn_nn_optimizer *options;
    qn_value lr, step, scale;
} updates;

static double decay_of(const updates *u, qn_value param)
{
    bool bias = qn_graph_type(u->graph, param)->shape.rank < 2;
    return u->options->decay_matrices && bias ? 0 : u->options->weight_decay;
}

static void update_sgd(const updates *u, qn_value param, qn_value grad)
{
    qn_attr attrs[] = {QN_ATTR_F("weight_decay", decay_of(u, param)),
                       QN_ATTR_F("momentum", u->options->momentum),
                       QN_ATTR_I("nesterov", u->options->nesterov)};
    if (u->options->momentum <= 0) {
        qn_value inputs[] = {param, grad, u->lr, u->scale};
        qn_graph_assign(u->graph, param, qn_graph_node(u->graph, "SgdUpdate", inputs, 4, attrs, 1));
        return;
    }
    qn_value velocity = qn_graph_state_like(u->graph, param, "velocity");
    qn_value inputs[] = {param, velocity, grad, u->lr, u->scale};
    if (velocity == QN_NONE)
        return;
    qn_value out = qn_graph_node(u->graph, "MomentumUpdate", inputs, 5, attrs, 3);
    if (out == QN_NONE)
        return;
    qn_graph_assign(u->graph, param, out);
    qn_graph_assign(u->graph, velocity, out + 1);
}

static void update_adam(const updates *u, qn_value param, qn_value grad)
{
    const qn_nn_optimizer *o = u->options;
    qn_attr attrs[] = {
        QN_ATTR_F("weight_decay", decay_of(u, param)),
        QN_ATTR_F("beta1", o->beta1),
        QN_ATTR_F("beta2", o->beta2),
        QN_ATTR_F("epsilon", o->eps),
        QN_ATTR_I("decoupled", o->kind == QN_NN_ADAMW),
    };
    qn_value first = qn_graph_state_like(u->graph, param, "adam_m");
    qn_value second = qn_graph_state_like(u->graph, param, "adam_v");
    qn_value inputs[] = {param, first, second, grad, u->lr, u->step, u->scale};
    if (first == QN_NONE || second == QN_NONE)
        return;
    qn_value out = qn_graph_node(u->graph, "AdamUpdate", inputs, 7, attrs, 5);
    if (out == QN_NONE)
        return;
    qn_graph_assign(u->graph, param, out);
    qn_graph_assign(u->graph, first, out + 1);
    qn_graph_assign(u->graph, second, out + 2);
}

/* The counter after this update: 1 at the first. */
static qn_value count_step(qn_graph *graph)
{
    qn_value counter = qn_graph_state(graph, "train.step", QN_DTYPE_I64, QN_SCALAR,
                                      (qn_init){.kind = QN_INIT_ZERO}, false);
    qn_value one = qn_graph_scalar(graph, QN_DTYPE_I64, 1);
    qn_value next = qn_graph_op2(graph, "Add", counter, one);
    if (next != QN_NONE)
        qn_graph_assign(graph, counter, next);
    return next;
}

/* The factor of all gradients that keeps their common norm below the bound; QN_NONE = no bound. */
static qn_value clip_scale(qn_graph *graph, const qn_nn_optimizer *optimizer, const qn_value *grads,
                           int count)
{
    if (optimizer->clip_norm <= 0)
        return QN_NONE;
    qn_attr limit = QN_ATTR_F("max_norm", optimizer->clip_norm);
    qn_value norm = qn_graph_node(graph, "GlobalNorm", grads, count, NULL, 0);
    if (norm == QN_NONE)
        return QN_NONE;
    qn_graph_output(graph, "train.grad_norm", norm);
    return qn_graph_node(graph, "ClipScale", &norm, 1, &limit, 1);
}

static void clip_values(qn_graph *graph, double limit, qn_value *grads, int count)
{
    qn_attr attrs[] = {QN_ATTR_F("min", -limit), QN_ATTR_F("max", limit)};
    for (int i = 0; limit > 0 && i < count; i++)
        grads[i] = qn_graph_node(graph, "Clip", &grads[i], 1, attrs, 2);
}

static qn_status check_options(const qn_nn_optimizer *o, int count, qn_error *err)
{
    if (count < 1 || count > QN_OP_VARIADIC_MAX)
        QN_FAIL(err, QN_ERR_ARG, "%d parameters to train, expected 1 to %d", count,
                (int)QN_OP_VARIADIC_MAX);
    if (!(o->momentum >= 0 && o->momentum < 1))
        QN_FAIL(err, QN_ERR_ARG, "momentum is %g, expected 0 to 1, without 1", o->momentum);
    bool adam = o->kind != QN_NN_SGD;
    if (adam && !(o->beta1 >= 0 && o->beta1 < 1 && o->beta2 >= 0 && o->beta2 < 1))
        QN_FAIL(err, QN_ERR_ARG, "betas are %g and %g, expected 0 to 1, without 1", o->beta1,
                o->beta2);
    if (!(o->weight_decay >= 0 && o->clip_norm >= 0 && o->clip_value >= 0))
        QN_FAIL(err, QN_ERR_ARG, "weight decay %g, norm bound %g and value bound %g must be >= 0",
                o->weight_decay, o->clip_norm, o->clip_value);
    return QN_OK;
}

qn_status qn_nn_optimizer_add(qn_graph *graph, const qn_nn_optimizer *optimizer,
                              const qn_value *params, const qn_value *grads, int count,
                              qn_error *err)
{
    QN_TRY(check_options(optimizer, count, err));
    QN_TRY(qn_graph_check(graph, err));
    qn_value *clipped = qn_alloc((size_t)count * sizeof(*clipped));
    if (!clipped)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory for an optimiser");
    memcpy(clipped, grads, (size_t)count * sizeof(*clipped));
    qn_graph_scope(graph, qn_nn_optimizer_name(optimizer->kind));
    clip_values(graph, optimizer->clip_value, clipped, count);
    updates u = {.graph = graph, .options = optimizer};
    u.lr = qn_graph_input(graph, "train.lr", qn_graph_type(graph, params[0])->dtype, QN_SCALAR);
    u.step = count_step(graph);
    u.scale = clip_scale(graph, optimizer, clipped, count);
    for (int i = 0; i < count && qn_graph_check(graph, NULL) == QN_OK; i++) {
        if (optimizer->kind == QN_NN_SGD)
            update_sgd(&u, params[i], clipped[i]);
        else
            update_adam(&u, params[i], clipped[i]);
    }
    qn_graph_scope(graph, NULL);
    qn_free(clipped);
    return qn_graph_check(graph, err);
}
