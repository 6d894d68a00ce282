/*
 * Rewriting: a walk over a graph that makes another. Passes differ in what they do with each node; leaves,
 * outputs and assignments are carried over here.
 */
#include <string.h>

#include "base/alloc.h"
#include "graph/graph_priv.h"

qn_value qn_graph_copy_leaf(qn_graph *graph, const qn_value_info *value, const qn_type *type)
{
    if (graph->error.code != QN_OK)
        return QN_NONE;
    qn_value_info copy = *value;
    copy.type = *type;
    if (value->name)
        copy.name = qn_arena_strndup(&graph->arena, value->name, strlen(value->name));
    if (value->role)
        copy.role = qn_arena_strndup(&graph->arena, value->role, strlen(value->role));
    if (value->kind == QN_VALUE_CONST) {
        qn_tensor tensor = {.dtype = type->dtype, .shape = type->shape};
        size_t size = qn_tensor_bytes(&tensor);
        void *data = qn_arena_alloc_aligned(&graph->arena, size, 64);
        if (data)
            memcpy(data, value->data, size);
        copy.data = data;
    }
    if ((value->name && !copy.name) || (value->role && !copy.role) || (value->data && !copy.data))
        return qn_graph_fail_memory(graph);
    return qn_graph_add_value(graph, &copy);
}

qn_status qn_rewrite_init(qn_rewrite *rewrite, const qn_graph *from, qn_error *err)
{
    QN_TRY(qn_graph_check(from, err));
    qn_graph *to = qn_graph_create();
    qn_value *map = qn_alloc((size_t)(from->values_count + 1) * sizeof *map);
    if (!to || !map) {
        qn_graph_destroy(to);
        qn_free(map);
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory while rewriting a graph");
    }
    to->streams_count = from->streams_count;
    for (int i = 0; i < from->values_count; i++)
        map[i] = QN_NONE;
    *rewrite = (qn_rewrite){from, to, map};
    return QN_OK;
}

qn_value qn_rewrite_get(qn_rewrite *rewrite, qn_value old)
{
    if (old == QN_NONE || rewrite->map[old] != QN_NONE)
        return old == QN_NONE ? QN_NONE : rewrite->map[old];
    const qn_value_info *value = &rewrite->from->values[old];
    if (value->kind == QN_VALUE_NODE)
        return QN_NONE;
    qn_value owner = QN_NONE;
    if (value->owner != QN_NONE)
        owner = qn_rewrite_get(rewrite, value->owner); /* a parameter has no owner itself */
    qn_value made = qn_graph_copy_leaf(rewrite->to, value, &value->type);
    if (made != QN_NONE)
        rewrite->to->values[made].owner = owner;
    return rewrite->map[old] = made;
}

void qn_rewrite_copy(qn_rewrite *rewrite, int index)
{
    qn_rewrite_copy_as(rewrite, &rewrite->from->nodes[index]);
}

void qn_rewrite_copy_as(qn_rewrite *rewrite, const qn_node *node)
{
    qn_value few[QN_OP_INPUTS_MAX], *inputs = few;
    if (node->inputs_count > QN_OP_INPUTS_MAX)
        inputs = qn_alloc((size_t)node->inputs_count * sizeof *inputs);
    if (!inputs) {
        qn_graph_fail_memory(rewrite->to);
        return;
    }
    for (int i = 0; i < node->inputs_count; i++)
        inputs[i] = qn_rewrite_get(rewrite, node->inputs[i]);
    qn_value first = qn_graph_copy_node(rewrite->to, node, inputs);
    for (int i = 0; i < node->op->outputs_count && first != QN_NONE; i++)
        rewrite->map[node->first + i] = first + i;
    if (inputs != few)
        qn_free(inputs);
}

qn_status qn_rewrite_give(qn_rewrite *rewrite, qn_graph **ret, qn_error *err)
{
    qn_free(rewrite->map);
    qn_status status = qn_graph_check(rewrite->to, err);
    if (status == QN_OK)
        *ret = rewrite->to;
    else
        qn_graph_destroy(rewrite->to);
    return status;
}

qn_status qn_rewrite_finish(qn_rewrite *rewrite, qn_graph **ret, qn_error *err)
{
    const qn_graph *from = rewrite->from;
    qn_graph *to = rewrite->to;
    /* Inputs stay although nothing reads them any more: callers fill them by name. */
    for (int i = 0; i < from->values_count; i++)
        if (from->values[i].kind == QN_VALUE_INPUT)
            qn_rewrite_get(rewrite, i);
    for (int i = 0; i < from->outputs_count; i++)
        qn_graph_output(to, from->outputs[i].name, qn_rewrite_get(rewrite, from->outputs[i].value));
    for (int i = 0; i < from->assigns_count; i++)
        qn_graph_assign(to, qn_rewrite_get(rewrite, from->assigns[i].state),
                        qn_rewrite_get(rewrite, from->assigns[i].value));
    return qn_rewrite_give(rewrite, ret, err);
}
