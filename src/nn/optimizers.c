/*
 * Optimisers as nodes; the update rules are in the rows (graph/op/optim*.c). Here is which row, which moments and which
 * options each kind has. Muon has no row: its products are ordinary ones (muon.c).
 */
#include "nn/optimizers.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "graph/op.h"
#include "nn/optimizers_priv.h"

enum { ROLES_MAX = 3, ATTRS_MAX = 16, INPUTS_MAX = 9 };

/* options: those that a user may set. */
typedef struct {
    const char *name, *op;
    const char *roles[ROLES_MAX]; /* of moments that are like the parameter */
    const char *options;
    bool decoupled;
    double rate;
} optimizer_row;

static const optimizer_row rows[QN_NN_OPTIMIZER_COUNT] = {
    [QN_NN_SGD] = {"sgd", "SgdUpdate", {0}, "momentum nesterov", false, 0.01},
    [QN_NN_ADAM] = {"adam", "AdamUpdate", {"adam_m", "adam_v"}, "beta1 beta2 eps", false, 0.001},
    [QN_NN_ADAMW] = {"adamw", "AdamUpdate", {"adam_m", "adam_v"}, "beta1 beta2 eps", true, 0.001},
    [QN_NN_ADAGRAD] = {"adagrad", "AdagradUpdate", {"square"}, "lr_decay eps", false, 0.01},
    [QN_NN_RMSPROP] =
        {"rmsprop", "RmsPropUpdate", {"square"}, "rho momentum centered eps", false, 0.001},
    [QN_NN_ADADELTA] = {"adadelta", "AdadeltaUpdate", {"square", "delta"}, "rho eps", false, 1},
    [QN_NN_NADAM] = {"nadam",
                     "NAdamUpdate",
                     {"adam_m", "adam_v"},
                     "beta1 beta2 momentum_decay eps",
                     false,
                     0.002},
    [QN_NN_LION] = {"lion", "LionUpdate", {"lion_m"}, "beta1 beta2", true, 5e-4},
    [QN_NN_LAMB] = {"lamb", "LambUpdate", {"adam_m", "adam_v"}, "beta1 beta2 eps", true, 0.002},
    [QN_NN_ADAFACTOR] = {"adafactor", "AdafactorUpdate", {0}, "beta2_decay eps", true, 0.01},
    [QN_NN_MUON] = {"muon",
                    "AdamUpdate",
                    {"adam_m", "adam_v"},
                    "momentum nesterov match_adam beta1 beta2 eps",
                    true,
                    0.005},
};

const char *qn_nn_optimizer_name(qn_nn_optimizer_kind kind)
{
    return rows[kind].name;
}

bool qn_nn_optimizer_find(const char *name, qn_nn_optimizer_kind *ret)
{
    for (int i = 0; i < QN_NN_OPTIMIZER_COUNT; i++) {
        if (strcmp(rows[i].name, name) == 0) {
            *ret = (qn_nn_optimizer_kind)i;
            return true;
        }
    }
    return false;
}

qn_nn_optimizer qn_nn_optimizer_default(qn_nn_optimizer_kind kind)
{
    qn_nn_optimizer o = {.kind = kind,
                         .beta1 = 0.9,
                         .beta2 = kind == QN_NN_LION ? 0.99 : 0.999,
                         .rho = kind == QN_NN_ADADELTA ? 0.9 : 0.99,
                         .momentum_decay = 4e-3,
                         .beta2_decay = -0.8,
                         .eps = 1e-8};
    if (kind == QN_NN_ADAGRAD)
        o.eps = 1e-10;
    if (kind == QN_NN_ADADELTA || kind == QN_NN_LAMB)
        o.eps = 1e-6;
    if (kind == QN_NN_ADAFACTOR)
        o.eps = 1e-3;
    if (kind == QN_NN_ADAMW || kind == QN_NN_LAMB)
        o.weight_decay = 0.01;
    if (kind == QN_NN_MUON) {
        o.momentum = 0.95;
        o.nesterov = o.match_adam = true;
        o.weight_decay = 0.1;
    }
    return o;
}

double qn_nn_optimizer_lr(qn_nn_optimizer_kind kind)
{
    return rows[kind].rate;
}

/* Options by name. */

typedef struct {
    const char *name;
    size_t at;
    bool flag;
    double low, high; /* [low, high) */
} option_row;
#define AT(field) offsetof(qn_nn_optimizer, field)
static const option_row options[] = {
    {"momentum", AT(momentum), false, 0, 1},
    {"nesterov", AT(nesterov), true, 0, 2},
    {"beta1", AT(beta1), false, 0, 1},
    {"beta2", AT(beta2), false, 0, 1},
    {"rho", AT(rho), false, 0, 1},
    {"centered", AT(centered), true, 0, 2},
    {"lr_decay", AT(lr_decay), false, 0, 1e6},
    {"momentum_decay", AT(momentum_decay), false, 0, 1},
    {"beta2_decay", AT(beta2_decay), false, -10, 0},
    {"eps", AT(eps), false, 1e-30, 1},
    {"match_adam", AT(match_adam), true, 0, 2},
    {0},
};

const char *qn_nn_optimizer_option_at(int index)
{
    return options[index].name;
}

static const option_row *find_option(const char *name)
{
    for (const option_row *row = options; row->name; row++)
        if (strcmp(row->name, name) == 0)
            return row;
    return NULL;
}

bool qn_nn_optimizer_takes(qn_nn_optimizer_kind kind, const char *option)
{
    const char *words = rows[kind].options;
    size_t size = strlen(option);
    for (const char *at = words; *at; at += strcspn(at, " "), at += *at == ' ')
        if (strcspn(at, " ") == size && memcmp(at, option, size) == 0)
            return true;
    return false;
}

static double read_option(const qn_nn_optimizer *o, const option_row *row)
{
    const char *at = (const char *)o + row->at;
    if (row->flag)
        return *(const bool *)at;
    double value;
    memcpy(&value, at, sizeof value);
    return value;
}

static qn_status check_option(const option_row *row, double value, qn_error *err)
{
    if (!(value >= row->low && value < row->high))
        QN_FAIL(err, QN_ERR_ARG, "%s is %g, expected at least %g and less than %g", row->name,
                value, row->low, row->high);
    return QN_OK;
}

qn_status qn_nn_optimizer_set(qn_nn_optimizer *optimizer, const char *option, double value,
                              qn_error *err)
{
    const option_row *row = find_option(option);
    if (!row || !qn_nn_optimizer_takes(optimizer->kind, option))
        QN_FAIL(err, QN_ERR_ARG, "%s has no option '%s'; it has %s", rows[optimizer->kind].name,
                option, rows[optimizer->kind].options);
    QN_TRY(check_option(row, value, err));
    char *at = (char *)optimizer + row->at;
    if (row->flag)
        *(bool *)at = value > 0;
    else
        memcpy(at, &value, sizeof value);
    return QN_OK;
}

/* Groups. */

/* `pattern` against all of `name`; one * at a time, going back to the last one on a mismatch. */
static bool matches_whole(const char *pattern, const char *name)
{
    const char *star = NULL, *after = NULL;
    while (*name) {
        if (*pattern == '*') {
            star = pattern++;
            after = name;
        } else if (*pattern == *name) {
            pattern++;
            name++;
        } else if (star) {
            pattern = star + 1;
            name = ++after;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return !*pattern;
}

bool qn_nn_pattern_matches(const char *pattern, const char *name)
{
    size_t size = strlen(pattern);
    if (!strchr(pattern, '*') && strncmp(pattern, name, size) == 0 && name[size] == '.')
        return true;
    return matches_whole(pattern, name);
}

const qn_nn_group *qn_nn_group_find(const qn_nn_optimizer *optimizer, const char *name)
{
    for (int i = 0; i < optimizer->groups_count; i++)
        if (qn_nn_pattern_matches(optimizer->groups[i].pattern, name))
            return &optimizer->groups[i];
    return NULL;
}

/* Updates. */

static double decay_of(const qn_nn_updates *u, qn_value param)
{
    const qn_nn_group *group = qn_nn_group_find(u->options, qn_graph_name(u->graph, param));
    if (group && group->weight_decay >= 0)
        return group->weight_decay;
    bool bias = qn_graph_type(u->graph, param)->shape.rank < 2;
    return u->options->decay_matrices && bias ? 0 : u->options->weight_decay;
}

/* train.lr, times the factor of the parameter's group. */
static qn_value rate_of(const qn_nn_updates *u, qn_value param)
{
    const qn_nn_group *group = qn_nn_group_find(u->options, qn_graph_name(u->graph, param));
    if (!group || group->rate <= 0)
        return u->lr;
    qn_dtype dtype = qn_graph_type(u->graph, u->lr)->dtype;
    return qn_graph_op2(u->graph, "Mul", u->lr, qn_graph_scalar(u->graph, dtype, group->rate));
}

qn_nn_update qn_nn_update_of(const qn_nn_updates *u, qn_value param, qn_value grad)
{
    return (qn_nn_update){
        .param = param, .grad = grad, .lr = rate_of(u, param), .decay = decay_of(u, param)};
}

/* Every attribute that the row lists and the options have. */
static int collect_attrs(const qn_nn_updates *u, const char *op, double decay, qn_attr *dst)
{
    const qn_attr_spec *specs = qn_op_find(op)->attrs;
    int count = 0;
    for (int i = 0; specs && specs[i].name && count < ATTRS_MAX; i++) {
        const char *name = specs[i].name;
        const option_row *row = find_option(strcmp(name, "epsilon") == 0    ? "eps"
                                            : strcmp(name, "epsilon2") == 0 ? "eps"
                                                                            : name);
        if (strcmp(name, "weight_decay") == 0)
            dst[count++] = QN_ATTR_F(name, decay);
        else if (strcmp(name, "decoupled") == 0)
            dst[count++] = QN_ATTR_I(name, rows[u->options->kind].decoupled);
        else if (row && row->flag)
            dst[count++] = QN_ATTR_I(name, read_option(u->options, row) > 0);
        else if (row)
            dst[count++] = QN_ATTR_F(name, read_option(u->options, row));
    }
    return count;
}

void qn_nn_update_add(const qn_nn_updates *u, const qn_nn_update *update, const char *op,
                      const qn_value *moments, int moments_count)
{
    qn_value inputs[INPUTS_MAX] = {update->param};
    qn_attr attrs[ATTRS_MAX];
    int count = 1;
    for (int i = 0; i < moments_count; i++) {
        if (moments[i] == QN_NONE)
            return;
        inputs[count++] = moments[i];
    }
    inputs[count++] = update->grad;
    inputs[count++] = update->lr;
    if (strcmp(op, "SgdUpdate") != 0 && strcmp(op, "MomentumUpdate") != 0)
        inputs[count++] = u->step;
    if (u->product != QN_NONE)
        inputs[count++] = u->product;
    inputs[count++] = u->scale;
    int attrs_count = collect_attrs(u, op, update->decay, attrs);
    qn_value out = qn_graph_node(u->graph, op, inputs, count, attrs, attrs_count);
    if (out == QN_NONE)
        return;
    qn_graph_assign(u->graph, update->param, out);
    for (int i = 0; i < moments_count; i++)
        qn_graph_assign(u->graph, moments[i], out + 1 + i);
}

/* A state of its own shape that belongs to a parameter only by name. */
static qn_value mean_state(const qn_nn_updates *u, qn_value param, const char *role, int flat_dim)
{
    qn_type type = *qn_graph_type(u->graph, param);
    type.shape.dims[type.shape.rank - flat_dim] = 1;
    char name[QN_NN_STATE_NAME];
    snprintf(name, sizeof name, "%s.%s", role, qn_graph_name(u->graph, param));
    return qn_graph_state(u->graph, name, type.dtype, type.shape, (qn_init){.kind = QN_INIT_ZERO},
                          false);
}

static void update_adafactor(const qn_nn_updates *u, const qn_nn_update *update)
{
    if (qn_graph_type(u->graph, update->param)->shape.rank < 2) {
        qn_value square = qn_graph_state_like(u->graph, update->param, "square");
        qn_nn_update_add(u, update, "AdafactorVectorUpdate", &square, 1);
        return;
    }
    qn_value means[2] = {mean_state(u, update->param, "row", 1),
                         mean_state(u, update->param, "col", 2)};
    qn_nn_update_add(u, update, "AdafactorUpdate", means, 2);
}

static void update_by_row(const qn_nn_updates *u, const qn_nn_update *update)
{
    const qn_nn_optimizer *o = u->options;
    const optimizer_row *row = &rows[o->kind];
    const char *op = row->op, *roles[ROLES_MAX];
    memcpy(roles, row->roles, sizeof roles);
    if (o->kind == QN_NN_SGD && o->momentum > 0) {
        op = "MomentumUpdate";
        roles[0] = "velocity";
    } else if (o->kind == QN_NN_RMSPROP && (o->centered || o->momentum > 0)) {
        op = o->centered ? "RmsPropCenteredUpdate" : "RmsPropMomentumUpdate";
        roles[1] = "velocity";
        roles[2] = o->centered ? "mean" : NULL;
    }
    qn_value moments[ROLES_MAX];
    int count = 0;
    for (; count < ROLES_MAX && roles[count]; count++)
        moments[count] = qn_graph_state_like(u->graph, update->param, roles[count]);
    qn_nn_update_add(u, update, op, moments, count);
}

static void update_one(const qn_nn_updates *u, qn_value param, qn_value grad)
{
    qn_nn_update update = qn_nn_update_of(u, param, grad);
    int rank = qn_graph_type(u->graph, param)->shape.rank;
    if (u->options->kind == QN_NN_ADAFACTOR)
        update_adafactor(u, &update);
    else if (u->options->kind == QN_NN_MUON && (rank == 2 || rank == 4))
        qn_nn_update_muon(u, &update);
    else
        update_by_row(u, &update);
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

/* NAdam's product of momenta, which has no closed form. */
static qn_value count_product(const qn_nn_updates *u)
{
    if (u->options->kind != QN_NN_NADAM || u->step == QN_NONE)
        return QN_NONE;
    qn_value product =
        qn_graph_state(u->graph, "train.momentum_product", qn_graph_type(u->graph, u->lr)->dtype,
                       QN_SCALAR, (qn_init){.kind = QN_INIT_ONE}, false);
    qn_attr attrs[] = {QN_ATTR_F("beta1", u->options->beta1),
                       QN_ATTR_F("momentum_decay", u->options->momentum_decay)};
    qn_value inputs[] = {product, u->step};
    qn_value next = qn_graph_node(u->graph, "NAdamProduct", inputs, 2, attrs, 2);
    if (next != QN_NONE)
        qn_graph_assign(u->graph, product, next);
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
    for (const option_row *row = options; row->name; row++)
        if (qn_nn_optimizer_takes(o->kind, row->name))
            QN_TRY(check_option(row, read_option(o, row), err));
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
    qn_nn_updates u = {.graph = graph, .options = optimizer};
    u.lr = qn_graph_input(graph, "train.lr", qn_graph_type(graph, params[0])->dtype, QN_SCALAR);
    u.step = count_step(graph);
    u.scale = clip_scale(graph, optimizer, clipped, count);
    u.product = count_product(&u);
    for (int i = 0; i < count && qn_graph_check(graph, NULL) == QN_OK; i++)
        update_one(&u, params[i], clipped[i]);
    qn_graph_scope(graph, NULL);
    qn_free(clipped);
    return qn_graph_check(graph, err);
}
