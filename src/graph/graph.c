/*
 * Building graphs: values of every kind, names, outputs and assignments. Nodes are made in node.c.
 */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "graph/graph_priv.h"

qn_graph *qn_graph_create(void)
{
    qn_graph *graph = qn_alloc_zero(1, sizeof *graph);
    if (graph)
        qn_arena_init(&graph->arena, 0);
    return graph;
}

void qn_graph_destroy(qn_graph *graph)
{
    if (!graph)
        return;
    qn_free(graph->values);
    qn_free(graph->nodes);
    qn_free(graph->assigns);
    qn_free(graph->outputs);
    qn_free(graph->marks);
    qn_arena_deinit(&graph->arena);
    qn_free(graph);
}

qn_status qn_graph_check(const qn_graph *graph, qn_error *err)
{
    if (graph->error.code != QN_OK && err)
        *err = graph->error;
    return graph->error.code;
}

qn_value qn_graph_fail(qn_graph *graph, qn_status code, const char *format, ...)
{
    if (graph->error.code != QN_OK)
        return QN_NONE;
    char text[sizeof graph->error.text];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    qn_error_set(&graph->error, code, graph->scope, "%s", text);
    return QN_NONE;
}

qn_value qn_graph_fail_memory(qn_graph *graph)
{
    return qn_graph_fail(graph, QN_ERR_MEMORY, "out of memory while building a graph");
}

bool qn_graph_grow(qn_graph *graph, void **table, int *room, int need, size_t each_bytes)
{
    if (need <= *room)
        return true;
    if (need > QN_GRAPH_VALUES_MAX) {
        qn_graph_fail(graph, QN_ERR_BUDGET, "a graph of more than %d values", QN_GRAPH_VALUES_MAX);
        return false;
    }
    int grown_room = *room ? *room : 32;
    while (grown_room < need)
        grown_room *= 2;
    void *grown = qn_realloc(*table, (size_t)grown_room * each_bytes);
    if (!grown) {
        qn_graph_fail_memory(graph);
        return false;
    }
    *table = grown;
    *room = grown_room;
    return true;
}

qn_value qn_graph_add_value(qn_graph *graph, const qn_value_info *value)
{
    void *table = graph->values;
    bool grown = qn_graph_grow(graph, &table, &graph->values_room, graph->values_count + 1,
                               sizeof *graph->values);
    graph->values = table;
    if (!grown)
        return QN_NONE;
    graph->values[graph->values_count] = *value;
    return graph->values_count++;
}

/* Types of inputs and states: sizes are positive or symbolic, and the concrete part fits. */
static bool check_type(qn_graph *graph, const char *name, qn_dtype dtype, const qn_shape *shape)
{
    qn_shape concrete = *shape;
    for (int i = 0; i < shape->rank && i < QN_RANK_MAX; i++)
        if (shape->dims[i] == QN_DIM_BATCH || shape->dims[i] == QN_DIM_TIME)
            concrete.dims[i] = 1;
    qn_error err = {0};
    if (qn_shape_check(&concrete, dtype, NULL, &err) == QN_OK)
        return true;
    qn_graph_fail(graph, err.code, "'%s': %s", name, err.text);
    return false;
}

/* Copies the name; NULL after a sticky error. Names of inputs and states are one space. */
static const char *take_name(qn_graph *graph, const char *name)
{
    if (graph->error.code != QN_OK)
        return NULL;
    if (!name || !name[0]) {
        qn_graph_fail(graph, QN_ERR_ARG, "an input or state needs a name");
        return NULL;
    }
    for (int i = 0; i < graph->values_count; i++)
        if (graph->values[i].name && strcmp(graph->values[i].name, name) == 0) {
            qn_graph_fail(graph, QN_ERR_ARG, "the graph already has an input or state '%s'", name);
            return NULL;
        }
    const char *copy = qn_arena_strndup(&graph->arena, name, strlen(name));
    if (!copy)
        qn_graph_fail_memory(graph);
    return copy;
}

qn_value qn_graph_input(qn_graph *graph, const char *name, qn_dtype dtype, qn_shape shape)
{
    const char *copy = take_name(graph, name);
    if (!copy || !check_type(graph, copy, dtype, &shape))
        return QN_NONE;
    return qn_graph_add_value(
        graph, &(qn_value_info){
                   .type = {dtype, shape}, .kind = QN_VALUE_INPUT, .name = copy, .owner = QN_NONE});
}

qn_value qn_graph_state(qn_graph *graph, const char *name, qn_dtype dtype, qn_shape shape,
                        qn_init init, bool trainable)
{
    const char *copy = take_name(graph, name);
    if (!copy || !check_type(graph, copy, dtype, &shape))
        return QN_NONE;
    if (qn_shape_count(&shape) < 0)
        return qn_graph_fail(graph, QN_ERR_ARG, "state '%s' needs concrete sizes", name);
    if (trainable && !qn_dtype_is_float(dtype))
        return qn_graph_fail(graph, QN_ERR_ARG, "state '%s' of %s cannot be trained", name,
                             qn_dtype_name(dtype));
    return qn_graph_add_value(graph, &(qn_value_info){.type = {dtype, shape},
                                                      .kind = QN_VALUE_STATE,
                                                      .name = copy,
                                                      .init = init,
                                                      .trainable = trainable,
                                                      .owner = QN_NONE});
}

qn_value qn_graph_state_like(qn_graph *graph, qn_value param, const char *role)
{
    if (graph->error.code != QN_OK)
        return QN_NONE;
    QN_ASSERT(param >= 0 && param < graph->values_count);
    qn_value_info like = graph->values[param];
    if (like.kind != QN_VALUE_STATE || !like.trainable)
        return qn_graph_fail(graph, QN_ERR_ARG, "a state of role '%s' needs a trainable state",
                             role);
    const char *name = qn_arena_printf(&graph->arena, "%s.%s", role, like.name);
    const char *copy = qn_arena_strndup(&graph->arena, role, strlen(role));
    if (!name || !copy)
        return qn_graph_fail_memory(graph);
    qn_value value = qn_graph_state(graph, name, like.type.dtype, like.type.shape,
                                    (qn_init){.kind = QN_INIT_ZERO}, false);
    if (value == QN_NONE)
        return QN_NONE;
    graph->values[value].owner = param;
    graph->values[value].role = copy;
    return value;
}

qn_value qn_graph_const(qn_graph *graph, const qn_tensor *tensor)
{
    if (graph->error.code != QN_OK)
        return QN_NONE;
    if (!check_type(graph, "constant", tensor->dtype, &tensor->shape))
        return QN_NONE;
    void *data = qn_arena_alloc_aligned(&graph->arena, qn_tensor_bytes(tensor), 64);
    if (!data)
        return qn_graph_fail_memory(graph);
    qn_tensor_convert(data, tensor->dtype, tensor);
    return qn_graph_add_value(graph, &(qn_value_info){.type = {tensor->dtype, tensor->shape},
                                                      .kind = QN_VALUE_CONST,
                                                      .data = data,
                                                      .owner = QN_NONE});
}

qn_value qn_graph_scalar(qn_graph *graph, qn_dtype dtype, double value)
{
    double element = 0;
    qn_tensor wide = qn_tensor_of(&value, QN_DTYPE_F64, QN_SCALAR);
    qn_tensor_convert(&element, dtype, &wide);
    qn_tensor narrow = qn_tensor_of(&element, dtype, QN_SCALAR);
    return qn_graph_const(graph, &narrow);
}

void qn_graph_mark(qn_graph *graph, qn_value value)
{
    if (graph->error.code != QN_OK || value == QN_NONE)
        return;
    void *table = graph->marks;
    if (!qn_graph_grow(graph, &table, &graph->marks_room, graph->marks_count + 1,
                       sizeof *graph->marks))
        return;
    graph->marks = table;
    graph->marks[graph->marks_count++] = value;
}

void qn_graph_assign(qn_graph *graph, qn_value state, qn_value value)
{
    if (graph->error.code != QN_OK)
        return;
    if (state == QN_NONE || value == QN_NONE || graph->values[state].kind != QN_VALUE_STATE) {
        qn_graph_fail(graph, QN_ERR_ARG, "only states can be assigned to, and only values");
        return;
    }
    const qn_value_info *to = &graph->values[state], *from = &graph->values[value];
    char want[128], got[128];
    if (to->type.dtype != from->type.dtype || !qn_shape_equal(&to->type.shape, &from->type.shape)) {
        qn_graph_fail(graph, QN_ERR_ARG, "cannot assign %s %s to state '%s' of %s %s",
                      qn_dtype_name(from->type.dtype), qn_shape_text(&from->type.shape, got),
                      to->name, qn_dtype_name(to->type.dtype),
                      qn_shape_text(&to->type.shape, want));
        return;
    }
    for (int i = 0; i < graph->assigns_count; i++)
        if (graph->assigns[i].state == state) {
            qn_graph_fail(graph, QN_ERR_ARG, "state '%s' is assigned to twice", to->name);
            return;
        }
    void *table = graph->assigns;
    bool grown = qn_graph_grow(graph, &table, &graph->assigns_room, graph->assigns_count + 1,
                               sizeof *graph->assigns);
    graph->assigns = table;
    if (grown)
        graph->assigns[graph->assigns_count++] = (qn_assign){state, value};
}

void qn_graph_output(qn_graph *graph, const char *name, qn_value value)
{
    if (graph->error.code != QN_OK)
        return;
    if (value == QN_NONE || !name || !name[0]) {
        qn_graph_fail(graph, QN_ERR_ARG, "an output needs a name and a value");
        return;
    }
    for (int i = 0; i < graph->outputs_count; i++)
        if (strcmp(graph->outputs[i].name, name) == 0) {
            qn_graph_fail(graph, QN_ERR_ARG, "the graph already has an output '%s'", name);
            return;
        }
    const char *copy = qn_arena_strndup(&graph->arena, name, strlen(name));
    void *table = graph->outputs;
    bool grown = qn_graph_grow(graph, &table, &graph->outputs_room, graph->outputs_count + 1,
                               sizeof *graph->outputs);
    graph->outputs = table;
    if (!copy)
        qn_graph_fail_memory(graph);
    else if (grown)
        graph->outputs[graph->outputs_count++] = (qn_output){copy, value};
}

const qn_type *qn_graph_type(const qn_graph *graph, qn_value value)
{
    /* Building code may ask about the result of a failed call; a scalar keeps it going to the check. */
    static const qn_type none = {QN_DTYPE_F32, {0, {0}}};
    if (value == QN_NONE)
        return &none;
    QN_ASSERT(value >= 0 && value < graph->values_count);
    return &graph->values[value].type;
}

qn_value_kind qn_graph_kind(const qn_graph *graph, qn_value value)
{
    QN_ASSERT(value >= 0 && value < graph->values_count);
    return graph->values[value].kind;
}

const char *qn_graph_name(const qn_graph *graph, qn_value value)
{
    QN_ASSERT(value >= 0 && value < graph->values_count);
    return graph->values[value].name;
}

int qn_graph_values_count(const qn_graph *graph)
{
    return graph->values_count;
}

bool qn_graph_is_trainable(const qn_graph *graph, qn_value value)
{
    return graph->values[value].trainable;
}

int qn_graph_trainable(const qn_graph *graph, qn_value *dst, int max)
{
    int count = 0;
    for (int i = 0; i < graph->values_count; i++) {
        if (graph->values[i].kind != QN_VALUE_STATE || !graph->values[i].trainable)
            continue;
        if (count < max)
            dst[count] = i;
        count++;
    }
    return count;
}

bool qn_graph_is_random(const qn_graph *graph)
{
    for (int i = 0; i < graph->nodes_count; i++)
        if (graph->nodes[i].op->flags & QN_OP_RANDOM)
            return true;
    return false;
}

qn_value qn_graph_find(const qn_graph *graph, const char *name)
{
    for (int i = 0; i < graph->values_count; i++)
        if (graph->values[i].name && strcmp(graph->values[i].name, name) == 0)
            return i;
    for (int i = 0; i < graph->outputs_count; i++)
        if (strcmp(graph->outputs[i].name, name) == 0)
            return graph->outputs[i].value;
    return QN_NONE;
}

void qn_graph_scope(qn_graph *graph, const char *label)
{
    graph->scope = NULL;
    if (!label || graph->error.code != QN_OK)
        return;
    graph->scope = qn_arena_strndup(&graph->arena, label, strlen(label));
    if (!graph->scope)
        qn_graph_fail_memory(graph);
}

void qn_graph_count_uses(const qn_graph *graph, int *counts)
{
    memset(counts, 0, (size_t)graph->values_count * sizeof *counts);
    for (int i = 0; i < graph->nodes_count; i++)
        for (int k = 0; k < graph->nodes[i].inputs_count; k++)
            if (graph->nodes[i].inputs[k] != QN_NONE)
                counts[graph->nodes[i].inputs[k]]++;
    for (int i = 0; i < graph->assigns_count; i++)
        counts[graph->assigns[i].value]++;
    for (int i = 0; i < graph->outputs_count; i++)
        counts[graph->outputs[i].value]++;
}

int qn_graph_nodes_count(const qn_graph *graph)
{
    return graph->nodes_count;
}

qn_graph_node_view qn_graph_node_at(const qn_graph *graph, int index)
{
    QN_ASSERT(index >= 0 && index < graph->nodes_count);
    const qn_node *node = &graph->nodes[index];
    qn_graph_node_view view = {.op = node->op->name,
                               .attrs = node->attrs,
                               .inputs = node->inputs,
                               .inputs_count = node->inputs_count,
                               .outputs_count = node->op->outputs_count,
                               .first = node->first};
    while (node->op->attrs && node->op->attrs[view.attrs_count].name)
        view.attrs_count++;
    return view;
}

int qn_graph_outputs_count(const qn_graph *graph)
{
    return graph->outputs_count;
}

const char *qn_graph_output_at(const qn_graph *graph, int index, qn_value *ret)
{
    QN_ASSERT(index >= 0 && index < graph->outputs_count);
    *ret = graph->outputs[index].value;
    return graph->outputs[index].name;
}
