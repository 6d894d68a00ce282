/*
 * Constant folding: a node whose inputs are all constants is computed now, by its reference. And the few
 * identities that differentiation leaves behind: x * 1, x / 1, x + 0, x - 0.
 */
#include <string.h>

#include "base/alloc.h"
#include "graph/pass/pass.h"

/* A larger result costs more to keep than to compute again (an Expand of a scalar, say). */
enum { FOLD_BYTES_MAX = 1 << 16 };

static const qn_value_info *find_const(const qn_rewrite *rewrite, qn_value old)
{
    if (old == QN_NONE)
        return NULL;
    qn_value made = rewrite->map[old];
    const qn_value_info *value =
        made == QN_NONE ? &rewrite->from->values[old] : &rewrite->to->values[made];
    return value->kind == QN_VALUE_CONST ? value : NULL;
}

static bool is_all(const qn_value_info *value, double number)
{
    qn_tensor tensor = qn_tensor_of(NULL, value->type.dtype, value->type.shape);
    int64_t count = qn_shape_count(&tensor.shape);
    if (count < 1 || count > 64)
        return false;
    double elements[64];
    char copy[64 * 8];
    memcpy(copy, value->data, qn_tensor_bytes(&tensor));
    tensor.data = copy;
    qn_tensor_convert(elements, QN_DTYPE_F64, &tensor);
    for (int64_t i = 0; i < count; i++)
        if (!(elements[i] == number))
            return false;
    return true;
}

/* The input that the node merely repeats, or QN_NONE. */
static qn_value find_same(const qn_rewrite *rewrite, const qn_node *node)
{
    static const struct {
        const char *op;
        double neutral;
        bool either_side;
    } rules[] = {{"Mul", 1, true}, {"Div", 1, false}, {"Add", 0, true}, {"Sub", 0, false}};
    const qn_type *type = &rewrite->from->values[node->first].type;
    for (size_t r = 0; r < sizeof rules / sizeof rules[0]; r++) {
        if (strcmp(node->op->name, rules[r].op) != 0)
            continue;
        for (int side = 1; side >= (rules[r].either_side ? 0 : 1); side--) {
            qn_value other = node->inputs[1 - side];
            const qn_value_info *constant = find_const(rewrite, node->inputs[side]);
            if (constant && is_all(constant, rules[r].neutral) &&
                qn_shape_equal(&rewrite->from->values[other].type.shape, &type->shape))
                return other;
        }
    }
    return QN_NONE;
}

static bool can_fold(const qn_rewrite *rewrite, const qn_node *node)
{
    if (node->op->flags & (QN_OP_RANDOM | QN_OP_INPLACE) || node->inputs_count > QN_OP_INPUTS_MAX)
        return false;
    for (int i = 0; i < node->inputs_count; i++)
        if (node->inputs[i] != QN_NONE && !find_const(rewrite, node->inputs[i]))
            return false;
    int64_t bytes = 0;
    for (int i = 0; i < node->op->outputs_count; i++) {
        const qn_type *type = &rewrite->from->values[node->first + i].type;
        bytes += qn_shape_count(&type->shape) * (int64_t)qn_dtype_size(type->dtype);
    }
    return bytes <= FOLD_BYTES_MAX;
}

static void fold_node(qn_rewrite *rewrite, const qn_node *node, qn_arena *scratch)
{
    qn_tensor inputs[QN_OP_INPUTS_MAX], outputs[QN_OP_OUTPUTS_MAX];
    for (int i = 0; i < node->inputs_count; i++) {
        const qn_value_info *value = find_const(rewrite, node->inputs[i]);
        inputs[i] = (qn_tensor){.shape.rank = -1};
        if (!value)
            continue;
        /* References do not write to their inputs; their tensors merely lack the const. */
        void *data = qn_arena_alloc(scratch, (size_t)qn_shape_count(&value->type.shape) *
                                                 qn_dtype_size(value->type.dtype));
        inputs[i] = qn_tensor_of(data, value->type.dtype, value->type.shape);
        if (data)
            memcpy(data, value->data, qn_tensor_bytes(&inputs[i]));
        else
            qn_graph_fail_memory(rewrite->to);
    }
    for (int i = 0; i < node->op->outputs_count; i++) {
        const qn_type *type = &rewrite->from->values[node->first + i].type;
        outputs[i] = qn_tensor_of(NULL, type->dtype, type->shape);
        outputs[i].data = qn_arena_zero(scratch, (int64_t)qn_tensor_bytes(&outputs[i]), 1);
        if (!outputs[i].data)
            qn_graph_fail_memory(rewrite->to);
    }
    qn_node_types types;
    if (rewrite->to->error.code != QN_OK || !qn_node_types_init(&types, rewrite->from, node))
        return;
    node->op->ref(&(qn_op_run){.types = &types.types, .inputs = inputs, .outputs = outputs});
    qn_node_types_deinit(&types);
    for (int i = 0; i < node->op->outputs_count; i++)
        rewrite->map[node->first + i] = qn_graph_const(rewrite->to, &outputs[i]);
}

qn_status qn_pass_fold(const qn_graph *graph, qn_graph **ret, qn_error *err)
{
    qn_rewrite rewrite;
    QN_TRY(qn_rewrite_init(&rewrite, graph, err));
    qn_arena scratch;
    qn_arena_init(&scratch, 0);
    for (int i = 0; i < graph->nodes_count && rewrite.to->error.code == QN_OK; i++) {
        const qn_node *node = &graph->nodes[i];
        qn_value same = find_same(&rewrite, node);
        if (same != QN_NONE)
            rewrite.map[node->first] = qn_rewrite_get(&rewrite, same);
        else if (can_fold(&rewrite, node))
            fold_node(&rewrite, node, &scratch);
        else
            qn_rewrite_copy(&rewrite, i);
    }
    qn_arena_deinit(&scratch);
    return qn_rewrite_finish(&rewrite, ret, err);
}
