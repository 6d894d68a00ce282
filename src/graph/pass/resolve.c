/*
 * From a graph with symbols to one with sizes: the first step of every plan, and without sizes the extraction
 * of an inference graph out of a training graph.
 */
#include <string.h>

#include "base/alloc.h"
#include "graph/pass/pass.h"
#include "graph/pass/pass_priv.h"

typedef struct {
    qn_rewrite rewrite;
    const qn_pass_sizes *sizes; /* NULL = keep the symbols */
} resolving;

static int64_t resolve_dim(const resolving *at, int64_t dim)
{
    if (!at->sizes)
        return dim;
    qn_dim_product product = qn_dim_product_of(&dim, 1);
    if (!qn_dim_is_symbolic(dim))
        return dim;
    if ((product.batch && at->sizes->batch <= 0) || (product.time && at->sizes->time <= 0)) {
        qn_graph_fail(at->rewrite.to, QN_ERR_ARG,
                      "the graph has a symbolic %s; a plan needs its size",
                      product.batch && at->sizes->batch <= 0 ? "batch" : "length");
        return dim;
    }
    int64_t sizes[3] = {product.known, product.batch ? at->sizes->batch : 1,
                        product.time ? at->sizes->time : 1};
    product = qn_dim_product_of(sizes, 3);
    if (product.known < 0)
        qn_graph_fail(at->rewrite.to, QN_ERR_ARG, "a batch of %lld rows is too large",
                      (long long)at->sizes->batch);
    return product.known;
}

/* Inputs of the new graph, also those that nothing reads: callers fill them by name. */
static void copy_inputs(resolving *at)
{
    const qn_graph *from = at->rewrite.from;
    for (int i = 0; i < from->values_count; i++) {
        const qn_value_info *value = &from->values[i];
        if (value->kind != QN_VALUE_INPUT)
            continue;
        qn_type type = value->type;
        for (int d = 0; d < type.shape.rank; d++)
            type.shape.dims[d] = resolve_dim(at, type.shape.dims[d]);
        at->rewrite.map[i] = qn_graph_copy_leaf(at->rewrite.to, value, &type);
    }
}

static bool has_symbolic(const qn_node *node)
{
    for (int i = 0; node->op->attrs && node->op->attrs[i].name; i++)
        if (node->op->attrs[i].symbolic)
            return true;
    return false;
}

/* Sizes in place of the symbols in attributes that are shapes. */
static void copy_with_sizes(resolving *at, const qn_node *node)
{
    qn_attr attrs[QN_OP_ATTRS_MAX];
    int count = 0;
    while (node->op->attrs[count].name)
        count++;
    QN_ASSERT(count <= QN_OP_ATTRS_MAX);
    memcpy(attrs, node->attrs, (size_t)count * sizeof *attrs);
    for (int i = 0; i < count; i++) {
        bool symbolic = node->op->attrs[i].symbolic;
        for (int d = 0; symbolic && d < attrs[i].count; d++)
            attrs[i].ints[d] = resolve_dim(at, attrs[i].ints[d]);
        if (symbolic && attrs[i].kind == QN_ATTR_INT)
            attrs[i].i = resolve_dim(at, attrs[i].i);
    }
    qn_node sized = *node;
    sized.attrs = attrs;
    qn_rewrite_copy_as(&at->rewrite, &sized);
}

static void copy_node(resolving *at, int index)
{
    const qn_node *node = &at->rewrite.from->nodes[index];
    if (at->sizes && !at->sizes->training && node->op->flags & QN_OP_TRAINING_ONLY) {
        at->rewrite.map[node->first] = qn_rewrite_get(&at->rewrite, node->inputs[0]);
        return;
    }
    if (at->sizes && has_symbolic(node))
        copy_with_sizes(at, node);
    else
        qn_rewrite_copy(&at->rewrite, index);
}

static bool is_chosen(const qn_output *output, const char *const *names, int count)
{
    for (int i = 0; i < count; i++)
        if (strcmp(output->name, names[i]) == 0)
            return true;
    return !names;
}

static void check_names(const qn_graph *graph, qn_graph *to, const char *const *names, int count)
{
    for (int k = 0; names && k < count; k++) {
        bool found = false;
        for (int i = 0; i < graph->outputs_count; i++)
            found = found || strcmp(graph->outputs[i].name, names[k]) == 0;
        if (!found)
            qn_graph_fail(to, QN_ERR_ARG, "the graph has no output '%s'", names[k]);
    }
}

static qn_status resolve(const qn_graph *graph, const qn_pass_sizes *sizes,
                         const char *const *names, int names_count, qn_graph **ret, qn_error *err)
{
    resolving at = {.sizes = sizes};
    QN_TRY(qn_rewrite_init(&at.rewrite, graph, err));
    qn_graph *to = at.rewrite.to;
    bool *live = qn_alloc_zero(graph->values_count + 1, sizeof *live);
    if (!live)
        qn_graph_fail_memory(to);
    else
        check_names(graph, to, names, names_count);
    if (live && qn_graph_check(to, NULL) == QN_OK) {
        for (int i = 0; i < graph->outputs_count; i++)
            if (is_chosen(&graph->outputs[i], names, names_count))
                live[graph->outputs[i].value] = true;
        for (int i = 0; i < graph->assigns_count && !names; i++)
            live[graph->assigns[i].value] = true;
        qn_pass_mark(graph, live);
        if (sizes)
            copy_inputs(&at);
        for (int i = 0; i < graph->nodes_count; i++)
            if (live[graph->nodes[i].first])
                copy_node(&at, i);
        for (int i = 0; i < graph->outputs_count; i++)
            if (is_chosen(&graph->outputs[i], names, names_count))
                qn_graph_output(to, graph->outputs[i].name,
                                qn_rewrite_get(&at.rewrite, graph->outputs[i].value));
        for (int i = 0; i < graph->assigns_count && !names; i++)
            qn_graph_assign(to, qn_rewrite_get(&at.rewrite, graph->assigns[i].state),
                            qn_rewrite_get(&at.rewrite, graph->assigns[i].value));
    }
    qn_free(live);
    return qn_rewrite_give(&at.rewrite, ret, err);
}

qn_status qn_pass_resolve(const qn_graph *graph, const qn_pass_sizes *sizes, qn_graph **ret,
                          qn_error *err)
{
    return resolve(graph, sizes, sizes->outputs, sizes->outputs_count, ret, err);
}

qn_status qn_graph_extract(const qn_graph *graph, const char *const *outputs, int outputs_count,
                           qn_graph **ret, qn_error *err)
{
    return resolve(graph, NULL, outputs, outputs_count, ret, err);
}
