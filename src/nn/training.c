/*
 * The training graph: what is added to a forward graph to make one run a training step.
 *
 *     inputs -> forward -> predictions \
 *                                       loss -> gradients -> clip -> update -> states
 *     train.target, train.weight ------/                          train.lr
 *
 * With micro-batches the right half is a graph of its own, fed by the sums in the states "accum.NAME".
 */
#include "nn/training.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"

enum { NAME_SIZE = 256 };

static qn_value add_loss(qn_graph *graph, qn_value predictions, const qn_nn_training *training)
{
    if (predictions == QN_NONE || qn_graph_check(graph, NULL) != QN_OK)
        return QN_NONE;
    qn_type type = *qn_graph_type(graph, predictions);
    qn_type want = qn_nn_loss_target(&training->loss, &type);
    qn_value target = QN_NONE;
    if (qn_nn_loss_has_target(training->loss.kind))
        target = qn_graph_input(graph, "train.target", want.dtype, want.shape);
    qn_value weight = QN_NONE;
    if (training->weighted && type.shape.rank > 0)
        weight = qn_graph_input(graph, "train.weight", type.dtype, QN_SHAPE(type.shape.dims[0]));
    qn_value loss = qn_nn_loss_add(graph, &training->loss, predictions, target, weight);
    if (loss != QN_NONE)
        qn_graph_output(graph, "train.loss", loss);
    return loss;
}

static void output_grads(qn_graph *graph, const qn_value *params, const qn_value *grads, int count)
{
    char name[NAME_SIZE];
    for (int i = 0; i < count; i++) {
        snprintf(name, sizeof(name), "grad.%s", qn_graph_name(graph, params[i]));
        qn_graph_output(graph, name, grads[i]);
    }
}

static void accumulate(qn_graph *graph, const qn_value *params, const qn_value *grads, int count,
                       int batches)
{
    qn_graph_scope(graph, "accumulate");
    for (int i = 0; i < count && qn_graph_check(graph, NULL) == QN_OK; i++) {
        qn_value share =
            qn_graph_scalar(graph, qn_graph_type(graph, params[i])->dtype, 1.0 / batches);
        qn_value sum = qn_graph_state_like(graph, params[i], "accum");
        qn_value part = qn_graph_op2(graph, "Mul", grads[i], share);
        qn_value next = qn_graph_op2(graph, "Add", sum, part);
        if (next != QN_NONE)
            qn_graph_assign(graph, sum, next);
    }
    qn_graph_scope(graph, NULL);
}

/* The states of `from` again in `graph`, and their sums; the sums are the gradients, and end as zeros. */
static void take_sums(qn_graph *graph, const qn_graph *from, qn_value *params, qn_value *sums,
                      int count)
{
    for (int i = 0; i < count && qn_graph_check(graph, NULL) == QN_OK; i++) {
        const qn_type *type = qn_graph_type(from, params[i]);
        params[i] = qn_graph_state(graph, qn_graph_name(from, params[i]), type->dtype, type->shape,
                                   (qn_init){.kind = QN_INIT_ZERO}, true);
        if (params[i] != QN_NONE)
            sums[i] = qn_graph_state_like(graph, params[i], "accum");
        if (params[i] == QN_NONE || sums[i] == QN_NONE)
            return;
        qn_graph_assign(graph, sums[i], qn_graph_op1(graph, "ZerosLike", sums[i]));
    }
}

/* `params` are values of `from`. */
static qn_status make_apply(const qn_graph *from, const qn_nn_optimizer *optimizer,
                            const qn_value *params, int count, qn_graph **ret, qn_error *err)
{
    qn_graph *graph = qn_graph_create();
    qn_value *own = qn_alloc((size_t)count * 2 * sizeof(*own));
    qn_status status = QN_OK;
    if (graph && own) {
        memcpy(own, params, (size_t)count * sizeof(*own));
        take_sums(graph, from, own, own + count, count);
        status = qn_graph_check(graph, err);
        if (status == QN_OK)
            status = qn_nn_optimizer_add(graph, optimizer, own, own + count, count, err);
    } else {
        status = qn_error_set(err, QN_ERR_MEMORY, NULL, "out of memory for a training graph");
    }
    qn_free(own);
    if (status != QN_OK) {
        qn_graph_destroy(graph);
        return status;
    }
    *ret = graph;
    return QN_OK;
}

/* Trainable states that no group freezes; returns how many. */
static int list_params(const qn_graph *graph, const qn_nn_optimizer *optimizer, qn_value *params,
                       int most)
{
    int count = 0;
    qn_graph_trainable(graph, params, most);
    for (int i = 0; i < most; i++) {
        const qn_nn_group *group = qn_nn_group_find(optimizer, qn_graph_name(graph, params[i]));
        if (!group || !group->frozen)
            params[count++] = params[i];
    }
    return count;
}

/* A group that matches nothing is a name misspelt, and would leave weights to learn that should not. */
static qn_status check_groups(const qn_graph *graph, const qn_nn_optimizer *optimizer,
                              const qn_value *params, int count, qn_error *err)
{
    for (int g = 0; g < optimizer->groups_count; g++) {
        const char *pattern = optimizer->groups[g].pattern;
        int i = 0;
        while (i < count && !qn_nn_pattern_matches(pattern, qn_graph_name(graph, params[i])))
            i++;
        if (i == count)
            QN_FAIL(err, QN_ERR_ARG,
                    "no trained weight matches the group '%.100s'; the first is '%s'", pattern,
                    count > 0 ? qn_graph_name(graph, params[0]) : "none");
    }
    return QN_OK;
}

static qn_status add_backward(qn_graph *graph, qn_value loss, const qn_nn_training *training,
                              qn_value *params, int count, qn_graph **ret_apply, qn_error *err)
{
    qn_value *grads = params + count;
    if (training->recompute)
        QN_TRY(qn_graph_grad_recompute(graph, loss, params, count, grads, err));
    else
        QN_TRY(qn_graph_grad(graph, loss, params, count, grads, err));
    if (training->gradients)
        output_grads(graph, params, grads, count);
    if (training->loss_only)
        return qn_graph_check(graph, err);
    if (training->accumulate <= 1)
        return qn_nn_optimizer_add(graph, &training->optimizer, params, grads, count, err);
    accumulate(graph, params, grads, count, training->accumulate);
    QN_TRY(qn_graph_check(graph, err));
    return make_apply(graph, &training->optimizer, params, count, ret_apply, err);
}

qn_status qn_nn_training_add(qn_graph *graph, qn_value predictions, const qn_nn_training *training,
                             qn_graph **ret_apply, qn_error *err)
{
    qn_graph *apply = NULL;
    qn_value loss = add_loss(graph, predictions, training);
    QN_TRY(qn_graph_check(graph, err));
    bool backward = !training->loss_only || training->gradients;
    int most = qn_graph_trainable(graph, NULL, 0);
    if (backward) {
        qn_value *params = qn_alloc((size_t)(most + 1) * 2 * sizeof(*params));
        if (!params)
            QN_FAIL(err, QN_ERR_MEMORY, "out of memory for a training graph");
        (void)qn_graph_trainable(graph, params, most);
        qn_status status = check_groups(graph, &training->optimizer, params, most, err);
        int count = list_params(graph, &training->optimizer, params, most);
        if (status == QN_OK && count == 0)
            status = qn_error_set(err, QN_ERR_ARG, NULL, "the model has nothing to train%s",
                                  most > 0 ? ": all of it is frozen" : "");
        else if (status == QN_OK)
            status = add_backward(graph, loss, training, params, count, &apply, err);
        qn_free(params);
        QN_TRY(status);
    }
    if (ret_apply)
        *ret_apply = apply;
    else
        qn_graph_destroy(apply);
    return QN_OK;
}
