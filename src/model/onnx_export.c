/*
 * Exporting a graph to ONNX: names, weights, the two layouts of a value, and the model around it.
 */
#include "model/onnx_export.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "graph/op.h"
#include "model/onnx_export_priv.h"

void qn_onnx_export_fail(qn_onnx_exporter *e, qn_status code, const char *format, ...)
{
    char text[320];
    if (e->status != QN_OK)
        return;
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    e->status = qn_error_set(&e->err, code, NULL, "%s", text);
}

void *qn_onnx_export_keep(qn_onnx_exporter *e, const void *data, int64_t count, size_t each)
{
    void *copy = e->status == QN_OK ? qn_arena_zero(&e->arena, count + 1, each) : NULL;
    if (copy && count > 0)
        memcpy(copy, data, (size_t)count * each);
    if (!copy)
        qn_onnx_export_fail(e, QN_ERR_MEMORY, "out of memory");
    return copy;
}

const char *qn_onnx_export_name(qn_onnx_exporter *e)
{
    const char *name = qn_arena_printf(&e->arena, "t%d", ++e->made);
    if (!name)
        qn_onnx_export_fail(e, QN_ERR_MEMORY, "out of memory");
    return name ? name : "";
}

static bool grow(qn_onnx_exporter *e, void **table, int *max, int count, size_t each)
{
    if (e->status != QN_OK)
        return false;
    if (count < *max)
        return true;
    int room = *max ? 2 * *max : 64;
    void *grown = qn_realloc(*table, (size_t)room * each);
    if (!grown) {
        qn_onnx_export_fail(e, QN_ERR_MEMORY, "out of memory");
        return false;
    }
    *table = grown;
    *max = room;
    return true;
}

/* --- nodes --- */

static qn_onnx_attr *copy_attrs(qn_onnx_exporter *e, const qn_onnx_attr *attrs, int count)
{
    qn_onnx_attr *copy = qn_onnx_export_keep(e, attrs, count, sizeof *attrs);
    for (int i = 0; copy && i < count; i++)
        if (copy[i].kind == QN_ONNX_ATTR_INTS)
            copy[i].ints =
                qn_onnx_export_keep(e, copy[i].ints, copy[i].count, sizeof *copy[i].ints);
        else if (copy[i].kind == QN_ONNX_ATTR_FLOATS)
            copy[i].floats =
                qn_onnx_export_keep(e, copy[i].floats, copy[i].count, sizeof *copy[i].floats);
        else if (copy[i].kind == QN_ONNX_ATTR_STRINGS) /* the texts are the caller's */
            copy[i].strings =
                qn_onnx_export_keep(e, copy[i].strings, copy[i].count, sizeof *copy[i].strings);
    return copy;
}

void qn_onnx_export_many(qn_onnx_exporter *e, const char *op, const char *const *inputs,
                         int inputs_count, const qn_onnx_attr *attrs, int attrs_count,
                         const char **outputs, int outputs_count)
{
    void *table = e->nodes;
    for (int i = 0; i < outputs_count; i++)
        outputs[i] = qn_onnx_export_name(e);
    bool room = grow(e, &table, &e->nodes_max, e->nodes_count, sizeof *e->nodes);
    e->nodes = table;
    if (!room)
        return;
    while (inputs_count > 0 && inputs[inputs_count - 1][0] == 0)
        inputs_count--;
    qn_onnx_node node = {.op = op,
                         .domain = "",
                         .name = qn_onnx_export_name(e),
                         .inputs = qn_onnx_export_keep(e, inputs, inputs_count, sizeof *inputs),
                         .outputs = qn_onnx_export_keep(e, outputs, outputs_count, sizeof *outputs),
                         .attrs = copy_attrs(e, attrs, attrs_count),
                         .inputs_count = inputs_count,
                         .outputs_count = outputs_count,
                         .attrs_count = attrs_count};
    e->nodes[e->nodes_count++] = node;
}

const char *qn_onnx_export_emit(qn_onnx_exporter *e, const char *op, const char *const *inputs,
                                int inputs_count, const qn_onnx_attr *attrs, int attrs_count)
{
    const char *output = "";
    qn_onnx_export_many(e, op, inputs, inputs_count, attrs, attrs_count, &output, 1);
    return output;
}

const char *qn_onnx_export_1(qn_onnx_exporter *e, const char *op, const char *x)
{
    return qn_onnx_export_emit(e, op, &x, 1, NULL, 0);
}

const char *qn_onnx_export_2(qn_onnx_exporter *e, const char *op, const char *a, const char *b)
{
    const char *inputs[] = {a, b};
    return qn_onnx_export_emit(e, op, inputs, 2, NULL, 0);
}

const char *qn_onnx_export_turn(qn_onnx_exporter *e, const char *x, const int64_t *perm, int rank)
{
    return qn_onnx_export_emit(e, "Transpose", &x, 1, &QN_ONNX_INTS("perm", perm, rank), 1);
}

/* --- tensors --- */

static const char *add_tensor(qn_onnx_exporter *e, const char *name, const qn_tensor *tensor)
{
    void *table = e->tensors;
    bool room = grow(e, &table, &e->tensors_max, e->tensors_count, sizeof *e->tensors);
    e->tensors = table;
    if (!room)
        return "";
    e->tensors[e->tensors_count++] =
        (qn_onnx_tensor){name, qn_onnx_elem_of(tensor->dtype), *tensor};
    return name;
}

const char *qn_onnx_export_tensor(qn_onnx_exporter *e, const qn_tensor *tensor)
{
    qn_tensor copy = *tensor;
    copy.data = qn_onnx_export_keep(e, tensor->data, (int64_t)qn_tensor_bytes(tensor), 1);
    return add_tensor(e, qn_onnx_export_name(e), &copy);
}

const char *qn_onnx_export_ints(qn_onnx_exporter *e, const int64_t *numbers, int count)
{
    qn_tensor tensor = qn_tensor_of((void *)(uintptr_t)numbers, QN_DTYPE_I64, QN_SHAPE(count));
    return qn_onnx_export_tensor(e, &tensor);
}

const char *qn_onnx_export_number(qn_onnx_exporter *e, double number)
{
    float narrow = (float)number;
    qn_tensor tensor = qn_tensor_of(&narrow, QN_DTYPE_F32, QN_SCALAR);
    return qn_onnx_export_tensor(e, &tensor);
}

bool qn_onnx_export_read(qn_onnx_exporter *e, qn_value value, qn_tensor *ret)
{
    if (qn_graph_kind(e->graph, value) == QN_VALUE_CONST)
        return qn_graph_const_read(e->graph, value, ret);
    if (e->computed[value].data) {
        *ret = e->computed[value];
        return true;
    }
    if (qn_graph_kind(e->graph, value) != QN_VALUE_STATE)
        return false;
    const qn_named_tensor *found = qn_state_find(e->state, qn_graph_name(e->graph, value));
    if (!found)
        return false;
    *ret = found->tensor;
    return true;
}

/* --- values --- */

const char *qn_onnx_export_plain(qn_onnx_exporter *e, qn_value value)
{
    qn_tensor tensor;
    int64_t perm[QN_RANK_MAX] = {0};
    if (value == QN_NONE || e->status != QN_OK)
        return "";
    qn_onnx_names *names = &e->names[value];
    int rank = qn_graph_type(e->graph, value)->shape.rank;
    if (!names->plain && names->first) {
        for (int i = 1; i < rank; i++)
            perm[i] = i + 1 < rank ? i + 1 : 1;
        names->plain = qn_onnx_export_turn(e, names->first, perm, rank);
    } else if (!names->plain && qn_onnx_export_read(e, value, &tensor)) {
        const char *name = qn_graph_name(e->graph, value);
        names->plain = add_tensor(e, name ? name : qn_onnx_export_name(e), &tensor);
    }
    if (!names->plain)
        qn_onnx_export_fail(e, QN_ERR_INTERNAL, "a value of the graph was never made");
    return names->plain ? names->plain : "";
}

const char *qn_onnx_export_first(qn_onnx_exporter *e, qn_value value)
{
    int64_t perm[QN_RANK_MAX] = {0};
    if (e->status != QN_OK)
        return "";
    int rank = qn_graph_type(e->graph, value)->shape.rank;
    if (rank < 3)
        return qn_onnx_export_plain(e, value);
    if (!e->names[value].first) {
        perm[1] = rank - 1;
        for (int i = 2; i < rank; i++)
            perm[i] = i - 1;
        e->names[value].first = qn_onnx_export_turn(e, qn_onnx_export_plain(e, value), perm, rank);
    }
    return e->names[value].first;
}

/* --- attributes --- */

const qn_attr *qn_onnx_export_attr(qn_onnx_view node, const char *name)
{
    for (int i = 0; i < node->attrs_count; i++)
        if (strcmp(node->attrs[i].name, name) == 0)
            return &node->attrs[i];
    return NULL;
}

int64_t qn_onnx_export_i(qn_onnx_view node, const char *name, int64_t fallback)
{
    const qn_attr *attr = qn_onnx_export_attr(node, name);
    return attr ? attr->i : fallback;
}

double qn_onnx_export_f(qn_onnx_view node, const char *name, double fallback)
{
    const qn_attr *attr = qn_onnx_export_attr(node, name);
    return attr ? attr->f : fallback;
}

const char *qn_onnx_export_s(qn_onnx_view node, const char *name, const char *fallback)
{
    const qn_attr *attr = qn_onnx_export_attr(node, name);
    return attr ? attr->s : fallback;
}

/* --- what hangs on weights alone: weights by gain and direction, say --- */

/* The node's results when all of its inputs can be read; false = it stays a node. */
static bool compute(qn_onnx_exporter *e, const qn_graph_node_view *node)
{
    enum { FEW = 16 };
    qn_value inputs[FEW], first = QN_NONE;
    qn_tensor tensor;
    int64_t bytes = 1 << 20; /* no node makes much more than it takes */
    bool known = node->inputs_count > 0 && node->inputs_count <= FEW;
    for (int i = 0; i < node->inputs_count && known; i++)
        known = node->inputs[i] != QN_NONE && qn_onnx_export_read(e, node->inputs[i], &tensor);
    qn_graph *alone = known ? qn_graph_create() : NULL;
    for (int i = 0; i < node->inputs_count && alone; i++) {
        (void)qn_onnx_export_read(e, node->inputs[i], &tensor);
        bytes += (int64_t)qn_tensor_bytes(&tensor);
        inputs[i] = qn_graph_const(alone, &tensor);
    }
    if (alone)
        first = qn_graph_node(alone, node->op, inputs, node->inputs_count, node->attrs,
                              node->attrs_count);
    if (first != QN_NONE)
        first = qn_graph_fold(alone, first, NULL, bytes);
    known = first != QN_NONE && qn_graph_const_read(alone, first, &tensor);
    for (int i = 0; i < node->outputs_count && known; i++) {
        known = qn_graph_const_read(alone, first + i, &tensor);
        tensor.data =
            known ? qn_onnx_export_keep(e, tensor.data, (int64_t)qn_tensor_bytes(&tensor), 1)
                  : NULL;
        e->computed[node->first + i] = tensor;
    }
    qn_graph_destroy(alone);
    return known;
}

/* Outside training these give their first input. */
static bool is_training_only(const qn_graph_node_view *node)
{
    const qn_op *op = qn_op_find(node->op);
    return op && op->flags & QN_OP_TRAINING_ONLY;
}

static void pass_on(qn_onnx_exporter *e, const qn_graph_node_view *node)
{
    qn_tensor tensor;
    if (qn_onnx_export_read(e, node->inputs[0], &tensor))
        e->computed[node->first] = tensor;
    e->names[node->first] = e->names[node->inputs[0]];
    if (!e->names[node->first].plain && !e->names[node->first].first)
        e->names[node->first].plain = qn_onnx_export_plain(e, node->inputs[0]);
}

/* Values that an output needs; NULL = memory. */
static bool *find_needed(qn_onnx_exporter *e)
{
    bool *needed = QN_NEW(&e->arena, bool, qn_graph_values_count(e->graph) + 1);
    for (int i = 0, count = qn_graph_outputs_count(e->graph); needed && i < count; i++) {
        qn_value value;
        (void)qn_graph_output_at(e->graph, i, &value);
        needed[value] = true;
    }
    for (int i = qn_graph_nodes_count(e->graph) - 1; needed && i >= 0; i--) {
        qn_graph_node_view node = qn_graph_node_at(e->graph, i);
        int reads = is_training_only(&node) ? 1 : node.inputs_count;
        bool any = false;
        for (int k = 0; k < node.outputs_count; k++)
            any = any || needed[node.first + k];
        for (int k = 0; any && k < reads; k++)
            if (node.inputs[k] != QN_NONE)
                needed[node.inputs[k]] = true;
    }
    return needed;
}

static qn_status write_nodes(qn_onnx_exporter *e, qn_error *err)
{
    const bool *needed = find_needed(e);
    if (!needed)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    for (int i = 0; i < qn_graph_nodes_count(e->graph) && e->status == QN_OK; i++) {
        qn_graph_node_view node = qn_graph_node_at(e->graph, i);
        bool wanted = false;
        for (int k = 0; k < node.outputs_count; k++)
            wanted = wanted || needed[node.first + k];
        if (!wanted)
            continue;
        if (is_training_only(&node))
            pass_on(e, &node);
        else if (!compute(e, &node))
            qn_onnx_export_node(e, &node);
    }
    return QN_OK;
}

/* --- the model --- */

static qn_onnx_info info_of(const qn_graph *graph, qn_value value, const char *name)
{
    const qn_type *type = qn_graph_type(graph, value);
    qn_onnx_info info = {
        .name = name, .elem = qn_onnx_elem_of(type->dtype), .rank = type->shape.rank};
    for (int i = 0; i < info.rank; i++) {
        int64_t size = type->shape.dims[i];
        info.dims[i] = size < 0 ? -1 : size;
        info.params[i] = size == QN_DIM_BATCH ? "batch" : size == QN_DIM_TIME ? "time" : "";
    }
    return info;
}

static int take_inputs(qn_onnx_exporter *e, qn_onnx_info *infos)
{
    int count = 0;
    for (qn_value v = 0; v < qn_graph_values_count(e->graph); v++)
        if (qn_graph_kind(e->graph, v) == QN_VALUE_INPUT) {
            e->names[v].plain = qn_graph_name(e->graph, v);
            infos[count++] = info_of(e->graph, v, e->names[v].plain);
        }
    return count;
}

/* Outputs get their names by one node more each: a value may be two of them, or an input. */
static int name_outputs(qn_onnx_exporter *e, qn_onnx_info *infos)
{
    int count = qn_graph_outputs_count(e->graph);
    for (int i = 0; i < count && e->status == QN_OK; i++) {
        qn_value value;
        const char *name = qn_graph_output_at(e->graph, i, &value),
                   *from = qn_onnx_export_plain(e, value);
        (void)qn_onnx_export_emit(e, "Identity", &from, 1, NULL, 0);
        if (e->status == QN_OK)
            e->nodes[e->nodes_count - 1].outputs = qn_onnx_export_keep(e, &name, 1, sizeof name);
        infos[i] = info_of(e->graph, value, name);
    }
    return count;
}

static qn_status write(qn_onnx_exporter *e, qn_buf *dst, const char *name, qn_error *err)
{
    static const qn_onnx_opset opset = {"", QN_ONNX_EXPORT_OPSET};
    int values = qn_graph_values_count(e->graph);
    qn_onnx_info *infos =
        QN_NEW(&e->arena, qn_onnx_info, values + qn_graph_outputs_count(e->graph) + 1);
    e->names = QN_NEW(&e->arena, qn_onnx_names, values + 1);
    e->computed = QN_NEW(&e->arena, qn_tensor, values + 1);
    if (!infos || !e->names || !e->computed)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    int inputs = take_inputs(e, infos);
    QN_TRY(write_nodes(e, err));
    int outputs = name_outputs(e, infos + inputs);
    if (e->status != QN_OK && err)
        *err = e->err;
    QN_TRY(e->status);
    qn_onnx_model model = {.ir_version = 10, /* of opset 21 */
                           .producer = "quern",
                           .producer_version = QN_VERSION,
                           .graph_name = name,
                           .opsets = &opset,
                           .nodes = e->nodes,
                           .initializers = e->tensors,
                           .inputs = infos,
                           .outputs = infos + inputs,
                           .opsets_count = 1,
                           .nodes_count = e->nodes_count,
                           .initializers_count = e->tensors_count,
                           .inputs_count = inputs,
                           .outputs_count = outputs};
    return qn_onnx_write(dst, &model, err);
}

qn_status qn_onnx_export(qn_buf *dst, const qn_graph *graph, const qn_state *state,
                         const char *name, qn_error *err)
{
    qn_onnx_exporter e = {.graph = graph, .state = state};
    qn_arena_init(&e.arena, 0);
    qn_status status = write(&e, dst, name, err);
    qn_free(e.nodes);
    qn_free(e.tensors);
    qn_arena_deinit(&e.arena);
    return status;
}
