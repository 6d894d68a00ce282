/*
 * Making nodes: arity and attributes are checked against the op's row, defaults filled in, types inferred.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "graph/graph_priv.h"

bool qn_node_types_init(qn_node_types *dst, const qn_graph *graph, const qn_node *node)
{
    dst->many = NULL;
    qn_type *inputs = dst->few;
    if (node->inputs_count > QN_OP_INPUTS_MAX) {
        dst->many = qn_alloc((size_t)node->inputs_count * sizeof *dst->many);
        if (!dst->many)
            return false;
        inputs = dst->many;
    }
    for (int i = 0; i < node->inputs_count; i++) {
        inputs[i] = (qn_type){QN_DTYPE_F32, {.rank = -1}};
        if (node->inputs[i] != QN_NONE)
            inputs[i] = graph->values[node->inputs[i]].type;
    }
    int outputs_count = node->op->outputs_count;
    for (int i = 0; i < outputs_count && node->first != QN_NONE; i++)
        dst->outputs[i] = graph->values[node->first + i].type;
    dst->types = (qn_op_types){.op = node->op,
                               .attrs = node->attrs,
                               .inputs_count = node->inputs_count,
                               .outputs_count = outputs_count,
                               .inputs = inputs,
                               .outputs = dst->outputs};
    return true;
}

void qn_node_types_deinit(qn_node_types *types)
{
    qn_free(types->many);
}

static bool is_choice(const char *choices, const char *word)
{
    size_t length = strlen(word);
    for (const char *at = choices; *at;) {
        size_t span = strcspn(at, " ");
        if (span == length && memcmp(at, word, length) == 0)
            return true;
        at += span + (at[span] == ' ');
    }
    return false;
}

static void set_default(qn_graph *graph, const qn_attr_spec *spec, qn_attr *dst)
{
    *dst = (qn_attr){.name = spec->name, .kind = spec->kind};
    if (spec->kind == QN_ATTR_INT)
        dst->i = (int64_t)spec->value;
    else if (spec->kind == QN_ATTR_FLOAT)
        dst->f = spec->value;
    else if (spec->kind == QN_ATTR_STRING) {
        const char *choices = spec->choices ? spec->choices : "";
        dst->s = qn_arena_strndup(&graph->arena, choices, strcspn(choices, " "));
        if (!dst->s)
            qn_graph_fail_memory(graph);
    }
}

static bool in_range(const qn_attr_spec *spec, double value)
{
    return (spec->low == 0 && spec->high == 0) || (value >= spec->low && value <= spec->high);
}

/* An integer stands for a float of the same value, as recipes write them. */
static void take_attr(qn_graph *graph, const char *op, const qn_attr_spec *spec,
                      const qn_attr *given, qn_attr *dst)
{
    static const char *const kinds[] = {"an integer", "a number", "a list of integers", "a string"};
    *dst = *given;
    dst->name = spec->name;
    dst->kind = spec->kind;
    if (given->kind == QN_ATTR_INT && spec->kind == QN_ATTR_FLOAT)
        dst->f = (double)given->i;
    else if (given->kind != spec->kind) {
        qn_graph_fail(graph, QN_ERR_ARG, "%s: attribute '%s' must be %s", op, spec->name,
                      kinds[spec->kind]);
        return;
    }
    double number = spec->kind == QN_ATTR_INT ? (double)dst->i : dst->f;
    if ((spec->kind == QN_ATTR_INT || spec->kind == QN_ATTR_FLOAT) && !in_range(spec, number))
        qn_graph_fail(graph, QN_ERR_ARG, "%s: attribute '%s' is %g; it must lie in %g to %g", op,
                      spec->name, number, spec->low, spec->high);
    if (spec->kind == QN_ATTR_INTS && (given->count < 0 || given->count > QN_RANK_MAX))
        qn_graph_fail(graph, QN_ERR_ARG, "%s: attribute '%s' has %d elements, at most %d fit", op,
                      spec->name, given->count, (int)QN_RANK_MAX);
    if (spec->kind != QN_ATTR_STRING)
        return;
    if (spec->choices && !is_choice(spec->choices, given->s)) {
        qn_graph_fail(graph, QN_ERR_ARG, "%s: attribute '%s' is '%s'; it must be one of: %s", op,
                      spec->name, given->s, spec->choices);
        return;
    }
    dst->s = qn_arena_strndup(&graph->arena, given->s, strlen(given->s));
    if (!dst->s)
        qn_graph_fail_memory(graph);
}

static const qn_attr *find_given(const qn_attr *attrs, int count, const char *name)
{
    for (int i = 0; i < count; i++)
        if (strcmp(attrs[i].name, name) == 0)
            return &attrs[i];
    return NULL;
}

static void refuse_unknown_attrs(qn_graph *graph, const qn_op *op, const qn_attr *attrs, int count)
{
    for (int i = 0; i < count; i++) {
        const qn_attr_spec *spec = op->attrs;
        while (spec && spec->name && strcmp(spec->name, attrs[i].name) != 0)
            spec++;
        if (!spec || !spec->name)
            qn_graph_fail(graph, QN_ERR_ARG, "%s has no attribute '%s'", op->name, attrs[i].name);
    }
}

/* NULL after a sticky error (or for an op without attributes). */
static qn_attr *complete_attrs(qn_graph *graph, const qn_op *op, const qn_attr *attrs, int count)
{
    refuse_unknown_attrs(graph, op, attrs, count);
    int specs = 0;
    while (op->attrs && op->attrs[specs].name)
        specs++;
    if (specs == 0)
        return NULL;
    qn_attr *complete = QN_NEW(&graph->arena, qn_attr, specs);
    if (!complete) {
        qn_graph_fail_memory(graph);
        return NULL;
    }
    for (int i = 0; i < specs; i++) {
        const qn_attr *given = find_given(attrs, count, op->attrs[i].name);
        if (given)
            take_attr(graph, op->name, &op->attrs[i], given, &complete[i]);
        else if (op->attrs[i].required)
            qn_graph_fail(graph, QN_ERR_ARG, "%s needs the attribute '%s'", op->name,
                          op->attrs[i].name);
        else
            set_default(graph, &op->attrs[i], &complete[i]);
    }
    return complete;
}

static void check_inputs(qn_graph *graph, const qn_op *op, const qn_value *inputs, int count)
{
    if (count < op->inputs_min || count > op->inputs_max)
        qn_graph_fail(graph, QN_ERR_ARG, "%s takes %d to %d inputs, not %d", op->name,
                      op->inputs_min, op->inputs_max, count);
    for (int i = 0; i < count; i++) {
        if (inputs[i] < QN_NONE || inputs[i] >= graph->values_count)
            qn_graph_fail(graph, QN_ERR_ARG, "%s: input %d is not a value of the graph", op->name,
                          i);
        else if (inputs[i] == QN_NONE && i < op->inputs_min)
            qn_graph_fail(graph, QN_ERR_ARG, "%s: input %d is missing", op->name, i);
    }
}

static void describe_inputs(const qn_op_types *types, char *dst, size_t size)
{
    size_t used = 0;
    dst[0] = 0;
    for (int i = 0; i < types->inputs_count && i < 4; i++) {
        char shape[128];
        const qn_type *type = &types->inputs[i];
        if (type->shape.rank < 0)
            continue;
        int wrote = snprintf(dst + used, size - used, "%s%s %s", used ? ", " : "",
                             qn_dtype_name(type->dtype), qn_shape_text(&type->shape, shape));
        if (wrote < 0 || (size_t)wrote >= size - used)
            return;
        used += (size_t)wrote;
    }
}

/* Runs infer and checks what it says, since everything later relies on it. */
static bool infer_types(qn_graph *graph, const qn_op_types *types, qn_type *outputs)
{
    qn_error err = {0};
    qn_status status = types->op->infer(types, outputs, &err);
    for (int i = 0; status == QN_OK && i < types->outputs_count; i++) {
        qn_shape shape = outputs[i].shape;
        for (int d = 0; d < shape.rank && d < QN_RANK_MAX; d++)
            if (qn_dim_is_symbolic(shape.dims[d]))
                shape.dims[d] = qn_dim_product_of(&shape.dims[d], 1).known;
        status = qn_shape_check(&shape, outputs[i].dtype, NULL, &err);
    }
    if (status == QN_OK)
        return true;
    char inputs[300];
    describe_inputs(types, inputs, sizeof inputs);
    qn_graph_fail(graph, status, "%s of %s: %s", types->op->name, inputs, err.text);
    return false;
}

/* An attribute `stream` of 0 takes the chosen number, so that the node's gradient draws the same numbers. */
static uint32_t choose_stream(qn_graph *graph, qn_node *node)
{
    if (!(node->op->flags & QN_OP_RANDOM))
        return 0;
    for (int i = 0; node->op->attrs && node->op->attrs[i].name; i++) {
        if (strcmp(node->op->attrs[i].name, "stream") != 0)
            continue;
        if (node->attrs[i].i == 0)
            node->attrs[i].i = ++graph->streams_count;
        return (uint32_t)node->attrs[i].i;
    }
    return ++graph->streams_count;
}

static qn_value push_node(qn_graph *graph, const qn_node *node, const qn_type *outputs)
{
    void *table = graph->nodes;
    bool grown = qn_graph_grow(graph, &table, &graph->nodes_room, graph->nodes_count + 1,
                               sizeof *graph->nodes);
    graph->nodes = table;
    if (!grown)
        return QN_NONE;
    int first = graph->values_count;
    for (int i = 0; i < node->op->outputs_count; i++) {
        qn_value_info info = {.type = outputs[i],
                              .kind = QN_VALUE_NODE,
                              .node = graph->nodes_count,
                              .owner = QN_NONE};
        if (qn_graph_add_value(graph, &info) == QN_NONE)
            return QN_NONE;
    }
    graph->nodes[graph->nodes_count] = *node;
    graph->nodes[graph->nodes_count++].first = first;
    return first;
}

/* The rest of making a node, when op and attributes are settled. */
static qn_value finish_node(qn_graph *graph, qn_node *node, const qn_value *inputs)
{
    while (node->inputs_count > node->op->inputs_min && inputs[node->inputs_count - 1] == QN_NONE)
        node->inputs_count--;
    node->inputs =
        qn_arena_alloc(&graph->arena, (size_t)(node->inputs_count + 1) * sizeof(qn_value));
    if (!node->inputs)
        return qn_graph_fail_memory(graph);
    if (node->inputs_count > 0)
        memcpy(node->inputs, inputs, (size_t)node->inputs_count * sizeof(qn_value));
    node->first = QN_NONE;
    qn_node_types types;
    if (!qn_node_types_init(&types, graph, node))
        return qn_graph_fail_memory(graph);
    for (int i = 0; node->narrow && i < node->inputs_count; i++)
        if (node->op->factors >> i & 1 && types.few[i].dtype == QN_DTYPE_BF16)
            types.few[i].dtype = QN_DTYPE_F32;
    qn_value first = QN_NONE;
    if (infer_types(graph, &types.types, types.outputs))
        first = push_node(graph, node, types.outputs);
    qn_node_types_deinit(&types);
    return first;
}

qn_value qn_graph_node(qn_graph *graph, const char *op_name, const qn_value *inputs,
                       int inputs_count, const qn_attr *attrs, int attrs_count)
{
    if (graph->error.code != QN_OK)
        return QN_NONE;
    qn_node node = {.op = qn_op_find(op_name), .inputs_count = inputs_count};
    if (!node.op)
        return qn_graph_fail(graph, QN_ERR_UNSUPPORTED, "unknown op '%s'", op_name);
    check_inputs(graph, node.op, inputs, inputs_count);
    node.attrs = complete_attrs(graph, node.op, attrs, attrs_count);
    if (graph->error.code != QN_OK)
        return QN_NONE;
    node.scope = graph->scope ? graph->scope : "";
    node.stream = choose_stream(graph, &node);
    return finish_node(graph, &node, inputs);
}

qn_value qn_graph_try(qn_graph *graph, const char *op, const qn_value *inputs, int inputs_count,
                      const qn_attr *attrs, int attrs_count, qn_error *err)
{
    if (graph->error.code != QN_OK) {
        *err = graph->error;
        return QN_NONE;
    }
    qn_value made = qn_graph_node(graph, op, inputs, inputs_count, attrs, attrs_count);
    if (made == QN_NONE) {
        *err = graph->error;
        graph->error = (qn_error){0};
    }
    return made;
}

qn_value qn_graph_op1(qn_graph *graph, const char *op, qn_value a)
{
    return qn_graph_node(graph, op, &a, 1, NULL, 0);
}

qn_value qn_graph_op2(qn_graph *graph, const char *op, qn_value a, qn_value b)
{
    qn_value inputs[] = {a, b};
    return qn_graph_node(graph, op, inputs, 2, NULL, 0);
}

/* Strings and lists of another graph are copied, since that graph may go first. */
static qn_attr *copy_attrs(qn_graph *graph, const qn_node *node)
{
    int count = 0;
    while (node->op->attrs && node->op->attrs[count].name)
        count++;
    if (count == 0)
        return NULL;
    qn_attr *copy = QN_NEW(&graph->arena, qn_attr, count);
    if (!copy) {
        qn_graph_fail_memory(graph);
        return NULL;
    }
    memcpy(copy, node->attrs, (size_t)count * sizeof *copy);
    for (int i = 0; i < count; i++) {
        if (copy[i].kind != QN_ATTR_STRING)
            continue;
        copy[i].s = qn_arena_strndup(&graph->arena, copy[i].s, strlen(copy[i].s));
        if (!copy[i].s)
            qn_graph_fail_memory(graph);
    }
    return copy;
}

qn_value qn_graph_copy_node(qn_graph *graph, const qn_node *node, const qn_value *inputs)
{
    if (graph->error.code != QN_OK)
        return QN_NONE;
    qn_node copy = *node;
    copy.attrs = copy_attrs(graph, node);
    copy.scope = qn_arena_strndup(&graph->arena, node->scope, strlen(node->scope));
    if (!copy.scope)
        qn_graph_fail_memory(graph);
    if (!copy.scope || graph->error.code != QN_OK)
        return QN_NONE;
    graph->scope = copy.scope[0] ? copy.scope : NULL; /* for messages */
    qn_value first = finish_node(graph, &copy, inputs);
    graph->scope = NULL;
    return first;
}
