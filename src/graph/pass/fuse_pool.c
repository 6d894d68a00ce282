/*
 * Fusion of convolution + ReLU with the 2x2 max pool behind it, forward and backward:
 *
 *     Conv(relu) -> yc -> MaxPool 2x2/2 -> y, choice            =>  ConvReluPool -> y, choice
 *     MaxPoolGrad(dy, choice) -> ReluGrad(., yc) -> dz
 *         -> ConvGradWeight(x, dz), ConvGradData(dz, weight)    =>  ConvReluPoolGrad(dy, y, choice, x, weight)
 *
 * Where the largest is above 0 it is so before and after the pool, so ReluGrad can ask the pooled y. All or nothing: any
 * other reader of a value between leaves the nodes as they are.
 */
#include <string.h>

#include "base/alloc.h"
#include "graph/pass/pass.h"

/* Node indices; -1 = not there. */
typedef struct {
    int conv, pool;
    int pool_grad, relu_grad, weight_grad, data_grad;
} pool_match;

typedef struct {
    qn_rewrite rewrite;
    int *uses;
    int *forward;  /* by node: the match whose forward is made here + 1 */
    int *backward; /* by node: the match whose backward is made here + 1 */
    bool *skipped; /* by node */
    pool_match *matches;
    int matches_count;
} pool_fusing;

static bool is_op(const qn_node *node, const char *name)
{
    return strcmp(node->op->name, name) == 0;
}

static const qn_attr *find_attr(const qn_node *node, const char *name)
{
    int i = 0;
    while (strcmp(node->op->attrs[i].name, name) != 0)
        i++;
    return &node->attrs[i];
}

/* Absent, or all elements equal to `number`. */
static bool all_are(const qn_node *node, const char *name, int64_t number)
{
    const qn_attr *attr = find_attr(node, name);
    for (int i = 0; i < attr->count; i++)
        if (attr->ints[i] != number)
            return false;
    return true;
}

static bool is_half_pool(const qn_node *node)
{
    return is_op(node, "MaxPool") && find_attr(node, "kernel_shape")->count == 2 &&
           strncmp(find_attr(node, "auto_pad")->s, "SAME", 4) != 0 &&
           find_attr(node, "ceil_mode")->i == 0 && all_are(node, "kernel_shape", 2) &&
           find_attr(node, "strides")->count == 2 && all_are(node, "strides", 2) &&
           all_are(node, "pads", 0) && all_are(node, "dilations", 1);
}

/* Sorts the readers of `value` by op name into at most two places; false = there is another, or an output. */
static bool find_readers(const pool_fusing *f, qn_value value, const char *const names[2],
                         int ret[2])
{
    const qn_graph *graph = f->rewrite.from;
    int found = 0;
    ret[0] = ret[1] = -1;
    for (int i = 0; i < graph->nodes_count; i++) {
        const qn_node *node = &graph->nodes[i];
        for (int k = 0; k < node->inputs_count; k++) {
            if (node->inputs[k] != value)
                continue;
            int place = is_op(node, names[0]) ? 0 : names[1] && is_op(node, names[1]) ? 1 : -1;
            if (place < 0 || ret[place] >= 0)
                return false;
            ret[place] = i;
            found++;
        }
    }
    return found == f->uses[value];
}

static const qn_node *node_at(const pool_fusing *f, int index)
{
    return &f->rewrite.from->nodes[index];
}

/* The backward nodes from `relu_grad` on both sides; false = something does not fit. */
static bool match_backward(const pool_fusing *f, pool_match *m)
{
    static const char *const grads[2] = {"MaxPoolGrad", NULL};
    static const char *const relus[2] = {"ReluGrad", NULL};
    static const char *const ends[2] = {"ConvGradWeight", "ConvGradData"};
    const qn_node *conv = node_at(f, m->conv), *pool = node_at(f, m->pool);
    int found[2];
    if (!find_readers(f, pool->first + 1, grads, found) || found[0] < 0)
        return false;
    m->pool_grad = found[0];
    const qn_node *pool_grad = node_at(f, m->pool_grad);
    if (!find_readers(f, pool_grad->first, relus, found) || found[0] != m->relu_grad)
        return false;
    const qn_node *relu_grad = node_at(f, m->relu_grad);
    if (relu_grad->inputs[0] != pool_grad->first || relu_grad->inputs[1] != conv->first ||
        !find_readers(f, relu_grad->first, ends, found))
        return false;
    m->weight_grad = found[0];
    m->data_grad = found[1];
    if (m->weight_grad >= 0 && node_at(f, m->weight_grad)->inputs[0] != conv->inputs[0])
        return false;
    return m->data_grad < 0 || node_at(f, m->data_grad)->inputs[1] == conv->inputs[1];
}

static bool match(const pool_fusing *f, int index, pool_match *ret)
{
    static const char *const readers[2] = {"MaxPool", "ReluGrad"};
    const qn_node *conv = node_at(f, index);
    int found[2];
    if (!is_op(conv, "Conv") || conv->inputs_count > 3 ||
        strcmp(find_attr(conv, "activation")->s, "relu") != 0 ||
        !find_readers(f, conv->first, readers, found) || found[0] < 0 ||
        !is_half_pool(node_at(f, found[0])))
        return false;
    pool_match m = {index, found[0], -1, found[1], -1, -1};
    const qn_type *y = &f->rewrite.from->values[node_at(f, m.pool)->first].type;
    if (qn_shape_count(&y->shape) < 1)
        return false;
    if (m.relu_grad < 0 ? f->uses[node_at(f, m.pool)->first + 1] > 0 : !match_backward(f, &m))
        return false;
    *ret = m;
    return true;
}

static void take(pool_fusing *f, const pool_match *m)
{
    const int parts[] = {m->conv, m->pool_grad, m->weight_grad, m->data_grad};
    f->matches[f->matches_count++] = *m;
    f->forward[m->pool] = f->matches_count;
    for (int i = 0; i < 4; i++)
        if (parts[i] >= 0)
            f->skipped[parts[i]] = true;
    if (m->relu_grad >= 0)
        f->backward[m->relu_grad] = f->matches_count;
}

static qn_value add_node(pool_fusing *f, const pool_match *m, const char *op, const qn_value *old,
                         int count)
{
    const qn_node *conv = node_at(f, m->conv);
    const qn_attr attrs[] = {*find_attr(conv, "strides"), *find_attr(conv, "pads"),
                             *find_attr(conv, "dilations"), *find_attr(conv, "auto_pad"),
                             *find_attr(conv, "group")};
    qn_value inputs[5];
    for (int i = 0; i < count; i++)
        inputs[i] = qn_rewrite_get(&f->rewrite, old[i]);
    qn_graph_scope(f->rewrite.to, conv->scope[0] ? conv->scope : NULL);
    qn_value first = qn_graph_node(f->rewrite.to, op, inputs, count, attrs, 5);
    qn_graph_scope(f->rewrite.to, NULL);
    return first;
}

static void emit_forward(pool_fusing *f, const pool_match *m)
{
    const qn_node *conv = node_at(f, m->conv), *pool = node_at(f, m->pool);
    qn_value bias = conv->inputs_count > 2 ? conv->inputs[2] : QN_NONE;
    const qn_value inputs[] = {conv->inputs[0], conv->inputs[1], bias};
    qn_value first = add_node(f, m, "ConvReluPool", inputs, 3);
    for (int k = 0; k < 2 && first != QN_NONE; k++)
        f->rewrite.map[pool->first + k] = first + k;
}

static void emit_backward(pool_fusing *f, const pool_match *m)
{
    const qn_node *conv = node_at(f, m->conv), *pool = node_at(f, m->pool);
    const qn_value inputs[] = {node_at(f, m->pool_grad)->inputs[0], pool->first, pool->first + 1,
                               conv->inputs[0], conv->inputs[1]};
    qn_value first = add_node(f, m, "ConvReluPoolGrad", inputs, 5);
    if (first == QN_NONE)
        return;
    if (m->data_grad >= 0)
        f->rewrite.map[node_at(f, m->data_grad)->first] = first;
    for (int k = 0; k < 2 && m->weight_grad >= 0; k++)
        f->rewrite.map[node_at(f, m->weight_grad)->first + k] = first + 1 + k;
}

static void rewrite_all(pool_fusing *f)
{
    const qn_graph *graph = f->rewrite.from;
    qn_graph_count_uses(graph, f->uses);
    for (int i = 0; i < graph->nodes_count; i++) {
        pool_match m;
        if (match(f, i, &m))
            take(f, &m);
    }
    for (int i = 0; i < graph->nodes_count; i++) {
        if (f->forward[i])
            emit_forward(f, &f->matches[f->forward[i] - 1]);
        else if (f->backward[i])
            emit_backward(f, &f->matches[f->backward[i] - 1]);
        else if (!f->skipped[i])
            qn_rewrite_copy(&f->rewrite, i);
    }
}

qn_status qn_pass_fuse_pool(const qn_graph *graph, qn_graph **ret, qn_error *err)
{
    pool_fusing f = {0};
    QN_TRY(qn_rewrite_init(&f.rewrite, graph, err));
    int nodes = graph->nodes_count + 1;
    f.uses = qn_alloc_zero(graph->values_count + 1, sizeof *f.uses);
    f.forward = qn_alloc_zero(nodes, sizeof *f.forward);
    f.backward = qn_alloc_zero(nodes, sizeof *f.backward);
    f.skipped = qn_alloc_zero(nodes, sizeof *f.skipped);
    f.matches = qn_alloc_zero(nodes, sizeof *f.matches);
    if (f.uses && f.forward && f.backward && f.skipped && f.matches)
        rewrite_all(&f);
    else
        qn_graph_fail_memory(f.rewrite.to);
    qn_free(f.uses);
    qn_free(f.forward);
    qn_free(f.backward);
    qn_free(f.skipped);
    qn_free(f.matches);
    return qn_rewrite_finish(&f.rewrite, ret, err);
}
