/*
 * Batch norm by running statistics into the convolution before it:
 *
 *     BatchNormalization(conv(x, w) + b) = conv(x, w s) + (b - mean) s + shift,    s = scale / sqrt(var + epsilon)
 *
 * s scales the output channels, which are the last dimension of the weights. What is made of weights alone are ordinary nodes.
 */
#include <string.h>

#include "base/alloc.h"
#include "graph/pass/pass.h"

typedef struct {
    qn_rewrite rewrite;
    int *uses;
    int *norm; /* by value: the batch norm that reads it + 1 */
} folding;

static const qn_attr *find_attr(const qn_node *node, const char *name)
{
    int i = 0;
    while (strcmp(node->op->attrs[i].name, name) != 0)
        i++;
    return &node->attrs[i];
}

/* Whether the convolution that made the norm's input can take it in. */
static bool takes_norm(const folding *f, const qn_node *norm)
{
    const qn_graph *graph = f->rewrite.from;
    const qn_value_info *x = &graph->values[norm->inputs[0]];
    if (strcmp(norm->op->name, "BatchNormalization") != 0 || x->kind != QN_VALUE_NODE ||
        f->uses[norm->inputs[0]] != 1)
        return false;
    for (int k = 1; k < norm->op->outputs_count; k++)
        if (f->uses[norm->first + k] > 0)
            return false;
    const qn_node *conv = &graph->nodes[x->node];
    return strcmp(conv->op->name, "Conv") == 0 && conv->inputs_count < 4 &&
           strcmp(find_attr(conv, "activation")->s, "none") == 0;
}

static void emit(folding *f, const qn_node *conv, const qn_node *norm)
{
    qn_rewrite *rewrite = &f->rewrite;
    qn_graph *to = rewrite->to;
    qn_value in[5]; /* of the norm; the first is the convolution, which is made here */
    for (int i = 1; i < 5; i++)
        in[i] = qn_rewrite_get(rewrite, norm->inputs[i]);
    qn_dtype dtype = rewrite->from->values[norm->inputs[0]].type.dtype;
    qn_value epsilon = qn_graph_scalar(to, dtype, find_attr(norm, "epsilon")->f);
    qn_graph_scope(to, conv->scope[0] ? conv->scope : NULL);
    qn_value deviation = qn_graph_op1(to, "Sqrt", qn_graph_op2(to, "Add", in[4], epsilon));
    qn_value scale = qn_graph_op2(to, "Div", in[1], deviation), mean = in[3];
    if (conv->inputs_count > 2 && conv->inputs[2] != QN_NONE)
        mean = qn_graph_op2(to, "Sub", mean, qn_rewrite_get(rewrite, conv->inputs[2]));
    qn_value inputs[3] = {
        qn_rewrite_get(rewrite, conv->inputs[0]),
        qn_graph_op2(to, "Mul", qn_rewrite_get(rewrite, conv->inputs[1]), scale),
        qn_graph_op2(to, "Sub", in[2], qn_graph_op2(to, "Mul", mean, scale)),
    };
    int count = 0;
    while (conv->op->attrs[count].name)
        count++;
    rewrite->map[norm->first] = qn_graph_node(to, "Conv", inputs, 3, conv->attrs, count);
    qn_graph_scope(to, NULL);
}

static void rewrite_all(folding *f)
{
    const qn_graph *graph = f->rewrite.from;
    qn_graph_count_uses(graph, f->uses);
    for (int i = 0; i < graph->nodes_count; i++)
        if (takes_norm(f, &graph->nodes[i]))
            f->norm[graph->nodes[i].inputs[0]] = i + 1;
    for (int i = 0; i < graph->nodes_count; i++) {
        const qn_node *node = &graph->nodes[i];
        if (f->norm[node->first]) /* made where its norm stands */
            continue;
        if (takes_norm(f, node))
            emit(f, &graph->nodes[graph->values[node->inputs[0]].node], node);
        else
            qn_rewrite_copy(&f->rewrite, i);
    }
}

qn_status qn_pass_fuse_norm(const qn_graph *graph, qn_graph **ret, qn_error *err)
{
    folding f = {0};
    QN_TRY(qn_rewrite_init(&f.rewrite, graph, err));
    f.uses = qn_alloc_zero(graph->values_count + 1, sizeof *f.uses);
    f.norm = qn_alloc_zero(graph->values_count + 1, sizeof *f.norm);
    if (f.uses && f.norm)
        rewrite_all(&f);
    else
        qn_graph_fail_memory(f.rewrite.to);
    qn_free(f.uses);
    qn_free(f.norm);
    return qn_rewrite_finish(&f.rewrite, ret, err);
}
