/*
 * Averages of weights as one update each; neighbours join into one call over all of them.
 */
#include "nn/average.h"

#include <stdio.h>
#include <string.h>

#include "nn/optimizers.h"

void qn_nn_average_name(const char *name, char *dst, int size)
{
    snprintf(dst, (size_t)size, "average.%s", name);
}

/* Trained weights, and what batch_norm keeps of its batches. */
static bool is_averaged(const qn_graph *model, qn_value value)
{
    if (qn_graph_kind(model, value) != QN_VALUE_STATE ||
        !qn_dtype_is_float(qn_graph_type(model, value)->dtype))
        return false;
    return qn_graph_is_trainable(model, value) ||
           qn_nn_pattern_matches("*.running_*", qn_graph_name(model, value));
}

/* Weights have mirrors by role; what is not trained has states of the same names. */
static qn_value average_state(qn_graph *graph, qn_value weight)
{
    char name[256];
    const qn_type type = *qn_graph_type(graph, weight);
    if (qn_graph_is_trainable(graph, weight))
        return qn_graph_state_like(graph, weight, "average");
    qn_nn_average_name(qn_graph_name(graph, weight), name, sizeof name);
    return qn_graph_state(graph, name, type.dtype, type.shape, (qn_init){.kind = QN_INIT_ZERO},
                          false);
}

static void add_average(qn_graph *graph, const qn_graph *model, qn_value value, qn_value *share)
{
    const qn_type *type = qn_graph_type(model, value);
    if (*share == QN_NONE)
        *share = qn_graph_input(graph, "train.share", type->dtype, QN_SCALAR);
    qn_value weight =
        qn_graph_state(graph, qn_graph_name(model, value), type->dtype, type->shape,
                       (qn_init){.kind = QN_INIT_ZERO}, qn_graph_is_trainable(model, value));
    if (weight == QN_NONE)
        return;
    qn_value average = average_state(graph, weight);
    qn_value inputs[] = {average, weight, *share};
    if (average == QN_NONE)
        return;
    qn_value next = qn_graph_node(graph, "AverageUpdate", inputs, 3, NULL, 0);
    if (next != QN_NONE)
        qn_graph_assign(graph, average, next);
}

qn_status qn_nn_average_create(const qn_graph *model, qn_graph **ret, qn_error *err)
{
    qn_value share = QN_NONE;
    qn_graph *graph = qn_graph_create();
    if (!graph)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory for averages of weights");
    for (qn_value v = 0; v < qn_graph_values_count(model); v++)
        if (is_averaged(model, v) && qn_graph_check(graph, NULL) == QN_OK)
            add_average(graph, model, v, &share);
    qn_status status = qn_graph_check(graph, err);
    if (status != QN_OK) {
        qn_graph_destroy(graph);
        return status;
    }
    *ret = graph;
    return QN_OK;
}
