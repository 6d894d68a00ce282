/*
 * Constants of an imported graph: nodes over constants computed while the graph is built, since their results decide
 * shapes, and constants that are a model's weights turned into states.
 */
#include <string.h>

#include "base/alloc.h"
#include "graph/pass/pass.h"
#include "graph/pass/pass_priv.h"

bool qn_graph_const_read(const qn_graph *graph, qn_value value, qn_tensor *ret)
{
    if (value < 0 || value >= graph->values_count || graph->values[value].kind != QN_VALUE_CONST)
        return false;
    const qn_value_info *info = &graph->values[value];
    /* Readers of constants do not write; a tensor merely lacks the const. */
    *ret = qn_tensor_of((void *)(uintptr_t)info->data, info->type.dtype, info->type.shape);
    return true;
}

static bool can_fold(const qn_graph *graph, const qn_node *node, int64_t bytes_max)
{
    if (node->op->flags & (QN_OP_RANDOM | QN_OP_INPLACE))
        return false;
    for (int i = 0; i < node->inputs_count; i++)
        if (node->inputs[i] != QN_NONE && graph->values[node->inputs[i]].kind != QN_VALUE_CONST)
            return false;
    int64_t bytes = 0;
    for (int i = 0; i < node->op->outputs_count; i++) {
        const qn_type *type = &graph->values[node->first + i].type;
        int64_t each = 0;
        if (qn_shape_count(&type->shape) < 0 ||
            qn_shape_check(&type->shape, type->dtype, &each, NULL) != QN_OK)
            return false;
        bytes = bytes > bytes_max - each ? bytes_max + 1 : bytes + each;
    }
    return bytes <= bytes_max;
}

/* Inputs, then outputs with memory of their own; NULL = memory. */
static qn_tensor *gather_tensors(const qn_graph *graph, const qn_node *node, const qn_tensor *given,
                                 qn_arena *scratch)
{
    int count = node->inputs_count;
    qn_tensor *tensors = QN_NEW(scratch, qn_tensor, count + node->op->outputs_count);
    if (!tensors)
        return NULL;
    for (int i = 0; i < count; i++) {
        tensors[i] = (qn_tensor){.shape.rank = -1};
        if (node->inputs[i] != QN_NONE && given)
            tensors[i] = given[i];
        else if (node->inputs[i] != QN_NONE)
            (void)qn_graph_const_read(graph, node->inputs[i], &tensors[i]);
    }
    for (int i = 0; i < node->op->outputs_count; i++) {
        const qn_type *type = &graph->values[node->first + i].type;
        qn_tensor *output = &tensors[count + i];
        *output = qn_tensor_of(NULL, type->dtype, type->shape);
        size_t size = qn_tensor_bytes(output);
        output->data = qn_arena_alloc_aligned(scratch, size + 1, 64);
        if (!output->data)
            return NULL;
        memset(output->data, 0, size);
    }
    return tensors;
}

static qn_value fold(qn_graph *graph, const qn_node *node, const qn_tensor *given,
                     qn_arena *scratch)
{
    qn_node_types types;
    qn_tensor *tensors = gather_tensors(graph, node, given, scratch);
    if (!tensors || !qn_node_types_init(&types, graph, node))
        return qn_graph_fail_memory(graph);
    qn_tensor *outputs = tensors + node->inputs_count;
    node->op->ref(&(qn_op_run){.types = &types.types, .inputs = tensors, .outputs = outputs});
    qn_node_types_deinit(&types);
    qn_value first = QN_NONE;
    int count = node->op->outputs_count; /* the table of nodes stays, that of values moves */
    for (int i = 0; i < count; i++) {
        qn_value made = qn_graph_const(graph, &outputs[i]);
        first = i == 0 ? made : first;
    }
    return first;
}

qn_value qn_graph_fold(qn_graph *graph, qn_value first, const qn_tensor *inputs, int64_t bytes_max)
{
    if (first == QN_NONE || graph->values[first].kind != QN_VALUE_NODE)
        return first;
    const qn_node *node = &graph->nodes[graph->values[first].node];
    QN_ASSERT(node->first == first);
    if (!can_fold(graph, node, bytes_max))
        return first;
    qn_arena scratch;
    qn_arena_init(&scratch, 0);
    qn_value folded = fold(graph, node, inputs, &scratch);
    qn_arena_deinit(&scratch);
    return folded;
}

static void promote(qn_rewrite *rewrite, const qn_graph_weight *weight)
{
    const qn_type *type = &rewrite->from->values[weight->value].type;
    rewrite->map[weight->value] =
        qn_graph_state(rewrite->to, weight->name, type->dtype, type->shape,
                       (qn_init){.kind = QN_INIT_ZERO}, weight->trainable);
}

qn_status qn_graph_promote(const qn_graph *graph, const qn_graph_weight *weights, int weights_count,
                           qn_graph **ret, qn_error *err)
{
    qn_rewrite rewrite;
    QN_TRY(qn_rewrite_init(&rewrite, graph, err));
    bool *live = qn_alloc_zero(graph->values_count + 1, sizeof *live);
    if (!live)
        qn_graph_fail_memory(rewrite.to);
    else {
        for (int i = 0; i < graph->outputs_count; i++)
            live[graph->outputs[i].value] = true;
        qn_pass_mark(graph, live);
        for (int i = 0; i < weights_count; i++)
            if (live[weights[i].value])
                promote(&rewrite, &weights[i]);
        for (int i = 0; i < graph->nodes_count; i++)
            if (live[graph->nodes[i].first])
                qn_rewrite_copy(&rewrite, i);
    }
    qn_free(live);
    return qn_rewrite_finish(&rewrite, ret, err);
}
