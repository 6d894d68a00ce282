/*
 * Precision bf16: the factors of products (matrices, convolutions, attention, recurrent layers: op->factors) are read
 * as bf16, everything else stays f32 - sums, norms, softmax, losses, reductions, gradients of weights, weights and
 * moments. See docs/decisions/0002-bf16.md.
 *
 *     x -> MatMul            x -> Cast bf16 -> Conv (f32 out)              x -> MatMul, which rounds as it packs
 *     x -> MatMulGradWeight                 -> ConvGradWeight
 *
 * A value that only factors read is stored in bf16: one Cast serves all products, forward and backward, and it is kept for
 * the backward pass in half the memory. A weight, or a value that others read in f32 too, lies there in f32 anyway; matrix
 * products, attention and recurrent layers round it as they pack it, and convolutions get a Cast.
 */
#include <string.h>

#include "base/alloc.h"
#include "graph/pass/pass.h"

typedef struct {
    qn_rewrite rewrite;
    qn_value *casts; /* by old value: its bf16 form, made on first use */
    bool *stored;    /* by old value: some reader wants it in bf16 */
} narrowing;

/* Whether the node's kernels round factors of f32 on their way. */
static bool rounds(const qn_node *node)
{
    static const char *const names[] = {
        "MatMul", "Gemm", "MatMulGradWeight", "Attention", "AttentionGrad", "LSTM",
        "GRU",    "RNN",  "LSTMGrad",         "GRUGrad",   "RNNGrad"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(node->op->name, names[i]) == 0)
            return true;
    return false;
}

static bool is_factor(const qn_graph *graph, const qn_node *node, int input)
{
    qn_value value = node->inputs[input];
    bool named =
        input < QN_OP_INPUTS_MAX && node->op->factors >> input & 1; /* no list of inputs is */
    return named && value != QN_NONE && graph->values[value].type.dtype == QN_DTYPE_F32;
}

/* A view of what others read too: its numbers lie there in f32 whatever its own readers want. */
static bool is_kept_wide(const qn_graph *graph, qn_value value, const int *uses)
{
    const qn_node *node = &graph->nodes[graph->values[value].node];
    return node->op->flags & QN_OP_VIEW && uses[node->inputs[0]] > 1;
}

/* A use as a factor, or any other: after all, stored[] says what to cast. */
static bool find_stored(narrowing *n, int *uses)
{
    const qn_graph *graph = n->rewrite.from;
    int *factors = qn_alloc_zero(graph->values_count + 1, sizeof *factors);
    if (!factors)
        return false;
    qn_graph_count_uses(graph, uses);
    for (int i = 0; i < graph->nodes_count; i++)
        for (int k = 0; k < graph->nodes[i].inputs_count; k++)
            if (is_factor(graph, &graph->nodes[i], k)) {
                qn_value value = graph->nodes[i].inputs[k];
                factors[value]++;
                n->stored[value] = n->stored[value] || !rounds(&graph->nodes[i]);
            }
    for (int v = 0; v < graph->values_count; v++)
        n->stored[v] = n->stored[v] ||
                       (factors[v] > 0 && factors[v] == uses[v] &&
                        graph->values[v].kind == QN_VALUE_NODE && !is_kept_wide(graph, v, uses));
    qn_free(factors);
    return true;
}

static qn_value narrowed(narrowing *n, qn_value old)
{
    qn_rewrite *rewrite = &n->rewrite;
    qn_attr to = QN_ATTR_S("to", "bf16");
    qn_value wide = qn_rewrite_get(rewrite, old);
    if (!n->stored[old])
        return wide;
    if (n->casts[old] == QN_NONE)
        n->casts[old] = qn_graph_node(rewrite->to, "Cast", &wide, 1, &to, 1);
    return n->casts[old];
}

static void copy_narrow(narrowing *n, const qn_node *node)
{
    qn_rewrite *rewrite = &n->rewrite;
    qn_value inputs[QN_OP_INPUTS_MAX];
    qn_node changed = *node;
    for (int i = 0; i < node->inputs_count; i++) {
        bool factor = is_factor(rewrite->from, node, i);
        changed.narrow = changed.narrow || factor;
        inputs[i] =
            factor ? narrowed(n, node->inputs[i]) : qn_rewrite_get(rewrite, node->inputs[i]);
    }
    qn_value first = qn_graph_copy_node(rewrite->to, &changed, inputs);
    for (int i = 0; i < node->op->outputs_count && first != QN_NONE; i++)
        rewrite->map[node->first + i] = first + i;
}

qn_status qn_pass_bf16(const qn_graph *graph, qn_graph **ret, qn_error *err)
{
    narrowing n = {0};
    QN_TRY(qn_rewrite_init(&n.rewrite, graph, err));
    int64_t values = graph->values_count + 1;
    int *uses = qn_alloc_zero(values, sizeof *uses);
    n.casts = qn_alloc((size_t)values * sizeof *n.casts);
    n.stored = qn_alloc_zero(values, sizeof *n.stored);
    if (uses && n.casts && n.stored && find_stored(&n, uses)) {
        for (int v = 0; v < graph->values_count; v++)
            n.casts[v] = QN_NONE;
        for (int i = 0; i < graph->nodes_count; i++) {
            if (graph->nodes[i].op->factors)
                copy_narrow(&n, &graph->nodes[i]);
            else
                qn_rewrite_copy(&n.rewrite, i);
        }
    } else {
        qn_graph_fail_memory(n.rewrite.to);
    }
    qn_free(uses);
    qn_free(n.casts);
    qn_free(n.stored);
    return qn_rewrite_finish(&n.rewrite, ret, err);
}
