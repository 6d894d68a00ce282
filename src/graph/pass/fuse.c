/*
 * Fusion: a product or convolution takes in the bias added to its result and the activation applied to it, where
 * nothing else reads what lies between. The kernels do both on values that are still in registers. A convolution
 * also takes in a tensor added to it, as residual blocks do.
 *
 *     MatMul | Gemm | Conv  ->  Add bias  ->  (Conv) Add tensor  ->  Relu | LeakyRelu | Sigmoid | Tanh | Gelu | Silu
 */
#include <string.h>

#include "base/alloc.h"
#include "graph/pass/pass.h"

/* What a product becomes. */
typedef struct {
    qn_value bias;          /* QN_NONE = as it was */
    qn_value added;         /* QN_NONE = nothing */
    const char *activation; /* NULL = as it was */
    double slope;
    int end; /* the last node taken in */
} fused_tail;

typedef struct {
    qn_rewrite rewrite;
    int *uses;
    int *
        reader; /* by value: a node that reads it (the only one where uses is 1 and it is no output) */
    int *chain;        /* by node: the product that ends here after fusion, or -1 */
    bool *absorbed;    /* by node */
    fused_tail *tails; /* by product */
} fusing;

static bool is_op(const qn_node *node, const char *name)
{
    return strcmp(node->op->name, name) == 0;
}

static const qn_attr *find_attr(const qn_node *node, const char *name)
{
    for (int i = 0; node->op->attrs && node->op->attrs[i].name; i++)
        if (strcmp(node->op->attrs[i].name, name) == 0)
            return &node->attrs[i];
    return NULL;
}

static bool is_product(const fusing *f, const qn_node *node)
{
    const qn_graph *graph = f->rewrite.from;
    if (is_op(node, "MatMul"))
        return graph->values[node->inputs[1]].type.shape.rank == 2 &&
               (graph->values[node->inputs[0]].type.shape.rank == 2 ||
                find_attr(node, "transA")->i == 0);
    return (is_op(node, "Gemm") || is_op(node, "Conv")) &&
           strcmp(find_attr(node, "activation")->s, "none") == 0;
}

/* The one node that reads `value`, or -1. */
static int only_reader(const fusing *f, qn_value value)
{
    return f->uses[value] == 1 ? f->reader[value] : -1;
}

/* The bias that the Add gives to the columns of `value`, or QN_NONE. */
static qn_value find_bias(const fusing *f, const qn_node *add, qn_value value)
{
    const qn_graph *graph = f->rewrite.from;
    qn_value other = add->inputs[add->inputs[0] == value ? 1 : 0];
    const qn_shape *out = &graph->values[value].type.shape;
    const qn_shape *bias = &graph->values[other].type.shape;
    bool row = bias->rank == 1 && bias->dims[0] == out->dims[out->rank - 1];
    return row ? other : QN_NONE;
}

static bool read_activation(const qn_node *node, fused_tail *tail)
{
    static const char *const names[][2] = {{"Relu", "relu"},       {"LeakyRelu", "leaky_relu"},
                                           {"Sigmoid", "sigmoid"}, {"Tanh", "tanh"},
                                           {"Gelu", "gelu"},       {"Silu", "silu"}};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (!is_op(node, names[i][0]))
            continue;
        tail->activation = names[i][1];
        if (is_op(node, "Gelu") && strcmp(find_attr(node, "approximate")->s, "tanh") == 0)
            tail->activation = "gelu_tanh";
        if (is_op(node, "LeakyRelu"))
            tail->slope = find_attr(node, "alpha")->f;
        return true;
    }
    return false;
}

/* What the Add adds to the convolution's whole result, or QN_NONE; an Add that another chain has taken is not free. */
static qn_value find_added(const fusing *f, const qn_node *node, int add, qn_value value)
{
    const qn_graph *graph = f->rewrite.from;
    const qn_node *sum = &graph->nodes[add];
    if (!is_op(node, "Conv") || !is_op(sum, "Add") || f->absorbed[add] || f->chain[add] >= 0 ||
        (node->inputs_count > 3 && node->inputs[3] != QN_NONE))
        return QN_NONE;
    qn_value other = sum->inputs[sum->inputs[0] == value ? 1 : 0];
    const qn_type *a = &graph->values[value].type, *b = &graph->values[other].type;
    return other != value && qn_shape_equal(&a->shape, &b->shape) ? other : QN_NONE;
}

static fused_tail look_ahead(const fusing *f, int index)
{
    const qn_graph *graph = f->rewrite.from;
    const qn_node *node = &graph->nodes[index];
    fused_tail tail = {.bias = QN_NONE, .added = QN_NONE, .end = index};
    qn_value value = node->first;
    bool has_bias = node->inputs_count > 2 && node->inputs[2] != QN_NONE;
    int next = only_reader(f, value);
    if (next >= 0 && !has_bias && is_op(&graph->nodes[next], "Add")) {
        tail.bias = find_bias(f, &graph->nodes[next], value);
        if (tail.bias != QN_NONE) {
            tail.end = next;
            value = graph->nodes[next].first;
            next = only_reader(f, value);
        }
    }
    if (next >= 0 && is_op(&graph->nodes[next], "Add")) {
        tail.added = find_added(f, node, next, value);
        if (tail.added == QN_NONE)
            return tail;
        tail.end = next;
        value = graph->nodes[next].first;
        next = only_reader(f, value);
    }
    if (next >= 0 && read_activation(&graph->nodes[next], &tail))
        tail.end = next;
    return tail;
}

static void mark_chain(fusing *f, int index, const fused_tail *tail)
{
    const qn_graph *graph = f->rewrite.from;
    for (int at = index; at != tail->end; at = f->reader[graph->nodes[at].first])
        f->absorbed[at] = true;
    f->chain[tail->end] = index;
    f->tails[index] = *tail;
}

static void set_text(qn_attr *attrs, int count, const char *name, const char *text)
{
    for (int i = 0; i < count; i++)
        if (strcmp(attrs[i].name, name) == 0)
            attrs[i].s = text;
}

static void set_number(qn_attr *attrs, int count, const char *name, double number)
{
    for (int i = 0; i < count; i++)
        if (strcmp(attrs[i].name, name) == 0)
            attrs[i].f = number;
}

/* The product's own attributes, completed by those that MatMul does not have. */
static int collect_attrs(const qn_node *node, qn_attr *attrs)
{
    int count = 0;
    for (; node->op->attrs[count].name; count++)
        attrs[count] = node->attrs[count];
    if (is_op(node, "MatMul")) {
        attrs[count++] = QN_ATTR_F("beta", 1);
        attrs[count++] = QN_ATTR_S("activation", "none");
        attrs[count++] = QN_ATTR_F("slope", 0.01);
    }
    return count;
}

static void emit(fusing *f, int start, int end)
{
    qn_rewrite *rewrite = &f->rewrite;
    const qn_node *node = &rewrite->from->nodes[start];
    fused_tail tail = f->tails[start];
    qn_attr attrs[QN_OP_ATTRS_MAX + 3];
    int count = collect_attrs(node, attrs);
    qn_value inputs[4] = {QN_NONE, QN_NONE, QN_NONE, QN_NONE};
    for (int i = 0; i < node->inputs_count; i++)
        inputs[i] = qn_rewrite_get(rewrite, node->inputs[i]);
    if (tail.added != QN_NONE)
        inputs[3] = qn_rewrite_get(rewrite, tail.added);
    if (tail.bias != QN_NONE) {
        inputs[2] = qn_rewrite_get(rewrite, tail.bias);
        set_number(attrs, count, "beta", 1);
    }
    if (tail.activation) {
        set_text(attrs, count, "activation", tail.activation);
        set_number(attrs, count, "slope", tail.slope);
    }
    qn_graph_scope(rewrite->to, node->scope[0] ? node->scope : NULL);
    rewrite->map[rewrite->from->nodes[end].first] =
        qn_graph_node(rewrite->to, is_op(node, "Conv") ? "Conv" : "Gemm", inputs,
                      inputs[3] == QN_NONE ? 3 : 4, attrs, count);
    qn_graph_scope(rewrite->to, NULL);
}

static void find_chains(fusing *f)
{
    const qn_graph *graph = f->rewrite.from;
    qn_graph_count_uses(graph, f->uses);
    for (int v = 0; v < graph->values_count; v++)
        f->reader[v] = -1;
    for (int i = 0; i < graph->nodes_count; i++)
        for (int k = 0; k < graph->nodes[i].inputs_count; k++)
            if (graph->nodes[i].inputs[k] != QN_NONE)
                f->reader[graph->nodes[i].inputs[k]] = i;
    for (int i = 0; i < graph->nodes_count; i++)
        f->chain[i] = -1;
    for (int i = 0; i < graph->nodes_count; i++) {
        if (!is_product(f, &graph->nodes[i]))
            continue;
        fused_tail tail = look_ahead(f, i);
        if (tail.end != i)
            mark_chain(f, i, &tail);
    }
}

qn_status qn_pass_fuse(const qn_graph *graph, qn_graph **ret, qn_error *err)
{
    fusing f = {0};
    QN_TRY(qn_rewrite_init(&f.rewrite, graph, err));
    int values = graph->values_count + 1, nodes = graph->nodes_count + 1;
    f.uses = qn_alloc_zero(values, sizeof *f.uses);
    f.reader = qn_alloc_zero(values, sizeof *f.reader);
    f.chain = qn_alloc_zero(nodes, sizeof *f.chain);
    f.absorbed = qn_alloc_zero(nodes, sizeof *f.absorbed);
    f.tails = qn_alloc_zero(nodes, sizeof *f.tails);
    if (f.uses && f.reader && f.chain && f.absorbed && f.tails) {
        find_chains(&f);
        for (int i = 0; i < graph->nodes_count; i++) {
            if (f.chain[i] >= 0)
                emit(&f, f.chain[i], i);
            else if (!f.absorbed[i])
                qn_rewrite_copy(&f.rewrite, i);
        }
    } else {
        qn_graph_fail_memory(f.rewrite.to);
    }
    qn_free(f.uses);
    qn_free(f.reader);
    qn_free(f.chain);
    qn_free(f.absorbed);
    qn_free(f.tails);
    return qn_rewrite_finish(&f.rewrite, ret, err);
}
