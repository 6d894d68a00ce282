/*
 * Bodies: graphs in attributes, and functions that a file defines for itself, mapped in the place of the node that names
 * them. A branch whose condition is known is one too. Nothing is renamed: a body has a scope of its own, in which its names
 * are looked up; a graph in an attribute also sees the values around it, a function only its inputs.
 *
 * Bodies in bodies nest only so deep, and all nodes put in places and the bytes of their constants are counted: a short file
 * can ask for any number of them.
 */
#include <string.h>

#include "model/onnx_import_priv.h"

enum { DEPTH_MAX = 16 }; /* of PyTorch's modules as functions 8 has been seen */

typedef struct {
    const qn_onnx_node *nodes;
    const qn_onnx_tensor *initializers;
    int nodes_count, initializers_count;
} onnx_body;

/* --- attributes of a function's nodes may be the caller's --- */

static const qn_onnx_attr *attr_of(const qn_onnx_attr *attrs, int count, const char *name)
{
    for (int i = 0; i < count; i++)
        if (strcmp(attrs[i].name, name) == 0)
            return &attrs[i];
    return NULL;
}

void qn_onnx_resolve(qn_onnx_call *call, qn_onnx_node *node)
{
    qn_onnx_importer *importer = call->importer;
    const qn_onnx_scope *scope = importer->scope;
    size_t used = importer->arena.used_bytes;
    bool refers = false;
    for (int i = 0; i < node->attrs_count; i++)
        refers = refers || node->attrs[i].ref[0] != 0;
    if (!refers)
        return;
    qn_onnx_attr *attrs = QN_NEW(&importer->arena, qn_onnx_attr, node->attrs_count);
    int kept = 0;
    for (int i = 0; attrs && i < node->attrs_count; i++) {
        const qn_onnx_attr *from = &node->attrs[i];
        if (from->ref[0] != 0)
            from = attr_of(scope->attrs, scope->attrs_count, from->ref);
        if (!from || from->ref[0] != 0) /* a default refers to nothing */
            continue;
        attrs[kept] = *from;
        attrs[kept++].name = node->attrs[i].name;
    }
    node->attrs = attrs;
    node->attrs_count = kept;
    if (!attrs)
        qn_onnx_fail(call, QN_ERR_MEMORY, "out of memory");
    qn_onnx_spend(call, importer->arena.used_bytes - used);
}

/* --- a body --- */

void qn_onnx_spend(qn_onnx_call *call, size_t bytes)
{
    qn_onnx_importer *importer = call->importer;
    if (importer->scope->depth == 0 || call->status != QN_OK)
        return;
    if ((int64_t)bytes > importer->constants_left)
        qn_onnx_fail(call, QN_ERR_BUDGET,
                     "functions and branches take %zu bytes more; %lld are left of what constants "
                     "may take",
                     bytes, (long long)importer->constants_left);
    else
        importer->constants_left -= (int64_t)bytes;
}

/* What was taken of the importer's memory since `used` bytes of it were. */
static void spend_since(qn_onnx_call *call, size_t used)
{
    qn_onnx_spend(call, call->importer->arena.used_bytes - used);
}

static void enter(qn_onnx_call *call, qn_onnx_scope *scope)
{
    qn_onnx_importer *importer = call->importer;
    scope->depth = importer->scope->depth + 1;
    scope->id = ++importer->scopes_count;
    if (scope->depth > DEPTH_MAX)
        qn_onnx_fail(call, QN_ERR_UNSUPPORTED, "bodies nest deeper than %d", (int)DEPTH_MAX);
    if (call->status == QN_OK)
        importer->scope = scope;
}

static void bind(qn_onnx_call *call, const char *name, const qn_onnx_value *value)
{
    if (call->status == QN_OK)
        call->status = qn_onnx_name(call->importer, name, *value, &call->err);
}

/* Errors name the inner node. */
static void map_nodes(qn_onnx_call *call, const onnx_body *body)
{
    qn_onnx_importer *importer = call->importer;
    importer->inlined_left -= body->nodes_count;
    if (importer->inlined_left < 0)
        qn_onnx_fail(call, QN_ERR_BUDGET, "functions and branches put too many nodes in places");
    for (int i = 0; i < body->initializers_count && call->status == QN_OK; i++) {
        qn_onnx_spend(call, qn_tensor_bytes(&body->initializers[i].tensor));
        if (call->status == QN_OK)
            call->status = qn_onnx_add_tensor(importer, &body->initializers[i], &call->err);
    }
    for (int i = 0; i < body->nodes_count && call->status == QN_OK; i++)
        call->status = qn_onnx_map_node(importer, &body->nodes[i], &call->err);
}

static void take(qn_onnx_call *call, const char *name, qn_onnx_value *ret)
{
    const qn_onnx_value *made = call->status == QN_OK ? qn_onnx_find(call->importer, name) : NULL;
    if (made)
        *ret = *made;
    else
        qn_onnx_fail(call, QN_ERR_DATA, "its body makes no value '%.80s'", name);
}

static qn_onnx_value *room(qn_onnx_call *call, int count)
{
    qn_onnx_value *values = QN_NEW(&call->importer->arena, qn_onnx_value, (int64_t)count + 1);
    if (!values)
        qn_onnx_fail(call, QN_ERR_MEMORY, "out of memory");
    return values;
}

static void give(qn_onnx_call *call, const qn_onnx_value *values, int count)
{
    for (int i = 0; i < count; i++)
        if (qn_onnx_wants(call, i))
            bind(call, call->node->outputs[i], &values[i]);
}

/* --- functions --- */

const qn_onnx_function *qn_onnx_function_find(const qn_onnx_model *model, const qn_onnx_node *node)
{
    for (int i = 0; i < model->functions_count; i++) {
        const qn_onnx_function *function = &model->functions[i];
        if (strcmp(function->op, node->op) == 0 && strcmp(function->domain, node->domain) == 0 &&
            strcmp(function->overload, node->overload) == 0)
            return function;
    }
    return NULL;
}

/* The caller's attributes before the function's defaults. */
static qn_onnx_attr *join_attrs(qn_onnx_call *call, const qn_onnx_function *function)
{
    const qn_onnx_node *node = call->node;
    int64_t count = (int64_t)node->attrs_count + function->attrs_count;
    qn_onnx_attr *attrs = QN_NEW(&call->importer->arena, qn_onnx_attr, count + 1);
    if (!attrs)
        qn_onnx_fail(call, QN_ERR_MEMORY, "out of memory");
    for (int i = 0; attrs && i < count; i++)
        attrs[i] = i < node->attrs_count ? node->attrs[i] : function->attrs[i - node->attrs_count];
    return attrs;
}

void qn_onnx_map_function(qn_onnx_call *call, const qn_onnx_function *function)
{
    qn_onnx_importer *importer = call->importer;
    const qn_onnx_scope *outer = importer->scope;
    size_t used = importer->arena.used_bytes;
    qn_onnx_scope scope = {.opsets = function->opsets,
                           .opsets_count = function->opsets_count,
                           .attrs = join_attrs(call, function),
                           .attrs_count = call->node->attrs_count + function->attrs_count};
    onnx_body body = {.nodes = function->nodes, .nodes_count = function->nodes_count};
    int inputs = call->node->inputs_count, outputs = function->outputs_count;
    qn_onnx_value *values = room(call, inputs > outputs ? inputs : outputs);
    if (inputs > function->inputs_count)
        qn_onnx_fail(call, QN_ERR_DATA, "%d inputs, the function takes %d", inputs,
                     function->inputs_count);
    for (int i = 0; values && i < inputs; i++)
        if (qn_onnx_has(call, i))
            take(call, call->node->inputs[i], &values[i]);
    enter(call, &scope);
    spend_since(call, used);
    for (int i = 0; i < inputs && call->status == QN_OK; i++)
        if (qn_onnx_has(call, i))
            bind(call, function->inputs[i], &values[i]);
    if (call->status == QN_OK)
        map_nodes(call, &body);
    for (int i = 0; i < outputs && call->status == QN_OK; i++)
        take(call, function->outputs[i], &values[i]);
    importer->scope = outer;
    give(call, values, outputs);
}

/* --- graphs in attributes --- */

/* The graph in an attribute, which must have so many inputs, and outputs at least. */
static bool read_graph(qn_onnx_call *call, const char *name, int inputs_count, int outputs_count,
                       qn_onnx_model *ret)
{
    const qn_onnx_attr *attr = qn_onnx_attr_find(call, name);
    if (!attr || attr->kind != QN_ONNX_ATTR_GRAPH) {
        qn_onnx_fail(call, QN_ERR_DATA, "attribute '%s' is no graph", name);
        return false;
    }
    if (call->status == QN_OK)
        call->status = qn_onnx_read_body(attr, &call->importer->arena, ret, &call->err);
    if (call->status == QN_OK &&
        (ret->inputs_count != inputs_count || ret->outputs_count < outputs_count))
        qn_onnx_fail(call, QN_ERR_DATA, "%s has %d inputs and %d outputs, expected %d and %d", name,
                     ret->inputs_count, ret->outputs_count, inputs_count, outputs_count);
    return call->status == QN_OK;
}

/* Maps the graph with `inputs` under its inputs' names, and finds the first of its outputs. */
static void map_graph(qn_onnx_call *call, const char *name, const qn_onnx_value *inputs,
                      int inputs_count, qn_onnx_value *outputs, int outputs_count)
{
    qn_onnx_importer *importer = call->importer;
    const qn_onnx_scope *outer = importer->scope;
    size_t used = importer->arena.used_bytes;
    qn_onnx_scope scope = *outer;
    qn_onnx_model graph = {0};
    scope.outer = outer;
    if (!read_graph(call, name, inputs_count, outputs_count, &graph))
        return;
    onnx_body body = {graph.nodes, graph.initializers, graph.nodes_count, graph.initializers_count};
    enter(call, &scope);
    spend_since(call, used);
    for (int i = 0; i < inputs_count && call->status == QN_OK; i++)
        bind(call, graph.inputs[i].name, &inputs[i]);
    if (call->status == QN_OK)
        map_nodes(call, &body);
    for (int i = 0; i < outputs_count && call->status == QN_OK; i++)
        take(call, graph.outputs[i].name, &outputs[i]);
    importer->scope = outer;
}

static qn_value in_order(qn_onnx_call *call, const qn_onnx_value *value)
{
    return value->plain == QN_NONE ? qn_onnx_to_first(call, value->last) : value->plain;
}

qn_value qn_onnx_apply(qn_onnx_call *call, const char *attr, qn_value x)
{
    int elem = qn_onnx_elem_of(qn_onnx_type(call, x)->dtype);
    qn_onnx_value input = {.elem = elem, .plain = x, .last = QN_NONE}, output = {0};
    if (call->status == QN_OK)
        map_graph(call, attr, &input, 1, &output, 1);
    return call->status == QN_OK ? in_order(call, &output) : QN_NONE;
}

/* Exporters ask for sizes, or whether a constant is empty: what they ask is known while importing. */
static void map_if(qn_onnx_call *call)
{
    double condition;
    int count = call->node->outputs_count;
    qn_onnx_value *outputs = room(call, count);
    if (!qn_onnx_const_number(call, 0, &condition))
        return;
    map_graph(call, condition != 0 ? "then_branch" : "else_branch", NULL, 0, outputs, count);
    give(call, outputs, count);
}

const qn_onnx_row qn_onnx_rows_body[] = {
    QN_ONNX_NOTED("If", 1, map_if, "where the condition is known while importing"),
    {0},
};
