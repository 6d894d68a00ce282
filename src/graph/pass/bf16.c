/*
 * Precision bf16: the factors of products (matrices, convolutions, attention, recurrent layers: op->factors) are stored
 * in bf16, everything else stays f32 - sums, norms, softmax, losses, reductions, gradients of weights, weights and
 * moments. See docs/decisions/0002-bf16.md.
 *
 *     x -> MatMul            x -> Cast bf16 -> MatMul (f32 out)
 *     x -> MatMulGradWeight                 -> MatMulGradWeight
 *
 * One Cast serves all products that read a value, forward and backward, so an activation that only products read is
 * kept for the backward pass in half the memory.
 */
#include "base/alloc.h"
#include "graph/pass/pass.h"

/* The bf16 form of an old value, made on first use. */
static qn_value narrowed(qn_rewrite *rewrite, qn_value *casts, qn_value old)
{
    if (casts[old] != QN_NONE)
        return casts[old];
    qn_attr to = QN_ATTR_S("to", "bf16");
    qn_value wide = qn_rewrite_get(rewrite, old);
    return casts[old] = qn_graph_node(rewrite->to, "Cast", &wide, 1, &to, 1);
}

static void copy_narrow(qn_rewrite *rewrite, qn_value *casts, const qn_node *node)
{
    qn_value inputs[QN_OP_INPUTS_MAX];
    qn_node changed = *node;
    for (int i = 0; i < node->inputs_count; i++) {
        qn_value old = node->inputs[i];
        bool factor = node->op->factors >> i & 1 && old != QN_NONE &&
                      rewrite->from->values[old].type.dtype == QN_DTYPE_F32;
        changed.narrow = changed.narrow || factor;
        inputs[i] = factor ? narrowed(rewrite, casts, old) : qn_rewrite_get(rewrite, old);
    }
    qn_value first = qn_graph_copy_node(rewrite->to, &changed, inputs);
    for (int i = 0; i < node->op->outputs_count && first != QN_NONE; i++)
        rewrite->map[node->first + i] = first + i;
}

qn_status qn_pass_bf16(const qn_graph *graph, qn_graph **ret, qn_error *err)
{
    qn_rewrite rewrite;
    QN_TRY(qn_rewrite_init(&rewrite, graph, err));
    qn_value *casts = qn_alloc((size_t)(graph->values_count + 1) * sizeof *casts);
    if (!casts)
        qn_graph_fail_memory(rewrite.to);
    for (int v = 0; casts && v < graph->values_count; v++)
        casts[v] = QN_NONE;
    for (int i = 0; casts && i < graph->nodes_count; i++) {
        if (graph->nodes[i].op->factors)
            copy_narrow(&rewrite, casts, &graph->nodes[i]);
        else
            qn_rewrite_copy(&rewrite, i);
    }
    qn_free(casts);
    return qn_rewrite_finish(&rewrite, ret, err);
}
