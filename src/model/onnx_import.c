/*
 * Importing an ONNX graph: inputs, weights, then each node through the row of its operator, in the file's order, which the
 * format promises to be a topological one.
 */
#include "model/onnx_import.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "model/onnx_import_priv.h"
#include "nn/optimizers.h"

static const int64_t CONSTANTS_DEFAULT = (int64_t)1 << 30;

/* Nodes that bodies may put in the places of nodes, ten times those of the largest networks that people export: functions
 * that call one another twice each grow without end. */
static const int64_t INLINED_MAX = (int64_t)1 << 18;

/* --- names --- */

static uint64_t hash_of(const char *name, int scope)
{
    uint64_t hash = 14695981039346656037U ^ (uint64_t)scope; /* FNV-1a */
    for (; *name; name++)
        hash = (hash ^ (uint8_t)*name) * 1099511628211U;
    return hash ^ hash >> 29;
}

static int *slot_of(const qn_onnx_importer *importer, const char *name, int scope)
{
    size_t mask = (size_t)importer->slots_count - 1, at = (size_t)hash_of(name, scope) & mask;
    for (; importer->slots[at] >= 0; at = (at + 1) & mask) {
        const qn_onnx_value *value = &importer->values[importer->slots[at]];
        if (value->scope == scope && strcmp(value->name, name) == 0)
            break;
    }
    return &importer->slots[at];
}

qn_onnx_value *qn_onnx_find(qn_onnx_importer *importer, const char *name)
{
    for (const qn_onnx_scope *scope = importer->scope; scope; scope = scope->outer) {
        int *slot = slot_of(importer, name, scope->id);
        if (*slot >= 0)
            return &importer->values[*slot];
    }
    return NULL;
}

/* Tables for `count` values, with those that there are. */
static qn_status grow_tables(qn_onnx_importer *importer, int64_t count, qn_error *err)
{
    int64_t slots = 16;
    while (slots < 2 * count)
        slots *= 2;
    if (slots > INT32_MAX / 2)
        QN_FAIL(err, QN_ERR_BUDGET, "the graph has %lld values", (long long)count);
    qn_onnx_value *values = QN_NEW(&importer->arena, qn_onnx_value, count + 1);
    importer->slots = QN_NEW(&importer->arena, int, slots);
    importer->slots_count = (int)slots;
    if (!values || !importer->slots)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    if (importer->values_count > 0)
        memcpy(values, importer->values, (size_t)importer->values_count * sizeof *values);
    importer->values = values;
    importer->values_max = (int)count;
    for (int64_t i = 0; i < slots; i++)
        importer->slots[i] = -1;
    for (int i = 0; i < importer->values_count; i++)
        *slot_of(importer, values[i].name, values[i].scope) = i;
    return QN_OK;
}

qn_status qn_onnx_name(qn_onnx_importer *importer, const char *name, qn_onnx_value value,
                       qn_error *err)
{
    int scope = importer->scope->id;
    if (*slot_of(importer, name, scope) >= 0)
        QN_FAIL(err, QN_ERR_DATA, "two nodes make the value '%.100s'", name);
    if (importer->values_count == importer->values_max)
        QN_TRY(grow_tables(importer, 2 * (int64_t)importer->values_max + 1, err));
    *slot_of(importer, name, scope) = importer->values_count;
    value.name = name;
    value.scope = scope;
    importer->values[importer->values_count++] = value;
    return QN_OK;
}

bool qn_onnx_mark(qn_onnx_importer *importer, qn_value value, const char *weight, bool symbolic)
{
    if (value == QN_NONE)
        return false;
    if (value >= importer->marks_max) {
        int max = importer->marks_max ? importer->marks_max : 1024;
        while (max <= value)
            max *= 2;
        void *weights = qn_realloc(importer->weights, (size_t)max * sizeof *importer->weights);
        if (weights)
            importer->weights = weights;
        void *marks = qn_realloc(importer->symbolic, (size_t)max * sizeof *importer->symbolic);
        if (marks)
            importer->symbolic = marks;
        if (!weights || !marks)
            return false;
        for (int i = importer->marks_max; i < max; i++) {
            importer->weights[i] = NULL;
            importer->symbolic[i] = false;
        }
        importer->marks_max = max;
    }
    importer->weights[value] = weight;
    importer->symbolic[value] = symbolic;
    return true;
}

static qn_status make_tables(qn_onnx_importer *importer, qn_error *err)
{
    const qn_onnx_model *model = importer->model;
    int64_t count = (int64_t)model->inputs_count + model->initializers_count;
    for (int i = 0; i < model->nodes_count; i++)
        count += model->nodes[i].outputs_count;
    return grow_tables(importer, count, err);
}

/* --- weights and inputs --- */

/* What forbids positions holds -inf, or a number that acts like it: no training may move that. */
static bool is_mask(const qn_tensor *tensor)
{
    static const float huge = 1e9F;
    const float *numbers = tensor->data;
    int64_t count = tensor->dtype == QN_DTYPE_F32 ? qn_shape_count(&tensor->shape) : 0;
    for (int64_t i = 0; i < count; i++)
        if (!(fabsf(numbers[i]) < huge))
            return true;
    return false;
}

qn_status qn_onnx_add_tensor(qn_onnx_importer *importer, const qn_onnx_tensor *tensor,
                             qn_error *err)
{
    if (tensor->elem == QN_ONNX_STRING)
        QN_FAIL(err, QN_ERR_UNSUPPORTED, "tensor '%.100s' holds strings, which are not read",
                tensor->name);
    qn_value value = qn_graph_const(importer->graph, &tensor->tensor);
    QN_TRY(qn_graph_check(importer->graph, err));
    bool is_weight = qn_dtype_is_float(tensor->tensor.dtype) && tensor->tensor.shape.rank > 0 &&
                     !is_mask(&tensor->tensor);
    if (!qn_onnx_mark(importer, value, is_weight ? tensor->name : NULL, false))
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    if (importer->options->constants_max == 0 && importer->scope->depth == 0)
        importer->constants_left += 8 * (int64_t)qn_tensor_bytes(&tensor->tensor);
    return qn_onnx_name(importer, tensor->name,
                        (qn_onnx_value){.elem = tensor->elem, .plain = value, .last = QN_NONE},
                        err);
}

static const qn_named_tensor *find_given(const qn_onnx_import_options *options, const char *name)
{
    for (int i = 0; i < options->given_count; i++)
        if (strcmp(options->given[i].name, name) == 0)
            return &options->given[i];
    return NULL;
}

/* The first name of an open size is the batch, the second the length; a nameless one is the batch where it stands first. */
static qn_status open_dim(qn_onnx_importer *importer, const qn_onnx_info *info, int at,
                          int64_t *ret, qn_error *err)
{
    const char *name = info->params[at];
    if (importer->options->open_size > 0) {
        *ret = importer->options->open_size;
        return QN_OK;
    }
    for (int i = 0; i < importer->params_count; i++)
        if (strcmp(importer->params[i], name) == 0) {
            *ret = i == 0 ? QN_DIM_BATCH : QN_DIM_TIME;
            return QN_OK;
        }
    if (importer->params_count == 2)
        QN_FAIL(err, QN_ERR_UNSUPPORTED,
                "input '%.80s': size '%.40s' is open, beside '%.40s' and '%.40s'; two may be",
                info->name, name, importer->params[0], importer->params[1]);
    if (importer->params_count == 0 && at != 0) {
        importer->params[importer->params_count++] = ""; /* the batch is never anywhere else */
        return open_dim(importer, info, at, ret, err);
    }
    importer->params[importer->params_count++] = name;
    return open_dim(importer, info, at, ret, err);
}

/* [B, C, H, W] -> [B, H, W, C] */
static qn_shape shape_last(const qn_shape *shape)
{
    qn_shape last = *shape;
    for (int i = 1; i + 1 < shape->rank; i++)
        last.dims[i] = shape->dims[i + 1];
    if (shape->rank > 2)
        last.dims[shape->rank - 1] = shape->dims[1];
    return last;
}

static qn_status input_shape(qn_onnx_importer *importer, const qn_onnx_info *info,
                             const qn_named_tensor *given, qn_shape *ret, qn_error *err)
{
    qn_shape shape = {.rank = info->rank};
    char text[128];
    if (given && info->rank >= 0 && given->tensor.shape.rank != info->rank)
        QN_FAIL(err, QN_ERR_ARG, "input '%.100s' has %d dimensions, got %s", info->name, info->rank,
                qn_shape_text(&given->tensor.shape, text));
    if (given)
        shape = given->tensor.shape;
    if (!given && info->rank < 0)
        QN_FAIL(err, QN_ERR_UNSUPPORTED, "input '%.100s' has no declared shape; give its sizes",
                info->name);
    for (int i = 0; i < info->rank; i++) {
        if (given && info->dims[i] >= 0 && info->dims[i] != shape.dims[i])
            QN_FAIL(err, QN_ERR_ARG, "input '%.100s': dimension %d is %lld, got %s", info->name, i,
                    (long long)info->dims[i], qn_shape_text(&given->tensor.shape, text));
        if (!given)
            shape.dims[i] = info->dims[i];
        if (!given && info->dims[i] < 0)
            QN_TRY(open_dim(importer, info, i, &shape.dims[i], err));
    }
    *ret = shape;
    return QN_OK;
}

static bool is_fixed(const qn_onnx_import_options *options, const qn_named_tensor *given,
                     qn_dtype dtype)
{
    if (!given || !given->tensor.data || options->fix == QN_ONNX_FIX_NONE)
        return false;
    return options->fix == QN_ONNX_FIX_ALL || !qn_dtype_is_float(dtype);
}

static qn_status add_input(qn_onnx_importer *importer, const qn_onnx_info *info, qn_error *err)
{
    if (qn_onnx_find(importer, info->name))
        return QN_OK; /* before IR version 4 weights are listed as inputs too */
    qn_dtype dtype = QN_DTYPE_F32;
    if (!qn_onnx_elem_dtype(info->elem, &dtype))
        QN_FAIL(err, QN_ERR_UNSUPPORTED, "input '%.100s' is not a tensor of numbers (type %s)",
                info->name,
                info->elem ? qn_onnx_elem_name(info->elem) : "sequence, map or optional");
    const qn_named_tensor *given = find_given(importer->options, info->name);
    qn_shape shape = {0};
    QN_TRY(input_shape(importer, info, given, &shape, err));
    if (given && given->tensor.data && given->tensor.dtype != dtype)
        QN_FAIL(err, QN_ERR_ARG, "input '%.100s' is of type %s, got %s", info->name,
                qn_dtype_name(dtype), qn_dtype_name(given->tensor.dtype));
    const char *turned = importer->options->channels_last;
    bool is_turned = turned && strcmp(turned, info->name) == 0;
    if (is_turned)
        shape = shape_last(&shape);
    qn_value value = is_fixed(importer->options, given, dtype)
                         ? qn_graph_const(importer->graph, &given->tensor)
                         : qn_graph_input(importer->graph, info->name, dtype, shape);
    QN_TRY(qn_graph_check(importer->graph, err));
    qn_onnx_value named = {.elem = info->elem,
                           .plain = is_turned ? QN_NONE : value,
                           .last = is_turned ? value : QN_NONE};
    return qn_onnx_name(importer, info->name, named, err);
}

/* --- nodes --- */

static int64_t version_of(const qn_onnx_opset *opsets, int count, const char *domain)
{
    for (int i = 0; i < count; i++)
        if (strcmp(opsets[i].domain, domain) == 0)
            return opsets[i].version;
    return 0;
}

qn_status qn_onnx_map_node(qn_onnx_importer *importer, const qn_onnx_node *node, qn_error *err)
{
    const qn_onnx_scope *scope = importer->scope;
    qn_onnx_node own = *node;
    qn_onnx_call call = {.importer = importer,
                         .graph = importer->graph,
                         .node = &own,
                         .version = version_of(scope->opsets, scope->opsets_count, node->domain)};
    if (call.version == 0 && node->domain[0] == 0)
        call.version = 1;
    qn_onnx_resolve(&call, &own);
    call.row = qn_onnx_row_find(node->domain, node->op, call.version);
    const qn_onnx_function *function =
        call.row ? NULL : qn_onnx_function_find(importer->model, node);
    if (function)
        qn_onnx_map_function(&call, function);
    else if (!call.row)
        qn_onnx_fail(&call, QN_ERR_UNSUPPORTED, "operator %.40s%s%.60s is not read", node->domain,
                     node->domain[0] ? "." : "", node->op);
    else {
        qn_graph_scope(importer->graph, node->name[0] ? node->name : node->op);
        call.row->map(&call);
        qn_graph_scope(importer->graph, NULL);
    }
    qn_error graph_err = {0};
    if (call.status == QN_OK && qn_graph_check(importer->graph, &graph_err) != QN_OK)
        qn_onnx_fail(&call, graph_err.code, "%s", graph_err.text);
    if (call.status != QN_OK && err)
        *err = call.err;
    return call.status;
}

/* The last values of the file are those that one would go on from. */
static qn_status fail_output(qn_onnx_importer *importer, const char *name, qn_error *err)
{
    enum { SHOWN = 5 };
    const char *text = "";
    int count = importer->values ? importer->values_count : 0;
    for (int i = count - 1, left = SHOWN; i >= 0 && left > 0 && text; i--)
        if (importer->values[i].scope == importer->scope->id)
            text = qn_arena_printf(&importer->arena, "%s%s%.40s", text, left-- < SHOWN ? ", " : "",
                                   importer->values[i].name);
    (void)qn_error_set(err, QN_ERR_ARG, NULL, "no node makes a value '%.100s'", name);
    return qn_error_hint(err, QN_ERR_ARG, "its values are, from the end: %s", text ? text : "");
}

static qn_status add_one_output(qn_onnx_importer *importer, const char *name, qn_error *err)
{
    qn_onnx_value *value = qn_onnx_find(importer, name);
    if (!value)
        return fail_output(importer, name, err);
    qn_graph_output(importer->graph, name, value->last != QN_NONE ? value->last : value->plain);
    return qn_graph_check(importer->graph, err);
}

static qn_status add_outputs(qn_onnx_importer *importer, qn_error *err)
{
    const qn_onnx_model *model = importer->model;
    if (importer->options->output)
        return add_one_output(importer, importer->options->output, err);
    for (int i = 0; i < model->outputs_count; i++) {
        const char *name = model->outputs[i].name;
        qn_onnx_value *value = qn_onnx_find(importer, name);
        if (!value)
            QN_FAIL(err, QN_ERR_DATA, "no node makes the output '%.100s'", name);
        if (value->plain == QN_NONE) {
            qn_onnx_node none = {.op = "output", .domain = "", .name = name};
            qn_onnx_call call = {.importer = importer, .graph = importer->graph, .node = &none};
            value->plain = qn_onnx_to_first(&call, value->last);
            if (call.status != QN_OK && err)
                *err = call.err;
            QN_TRY(call.status);
        }
        qn_graph_output(importer->graph, name, value->plain);
    }
    return qn_graph_check(importer->graph, err);
}

/* --- weights become states --- */

static int compare_weights(const qn_graph_weight *a, const qn_graph_weight *b)
{
    int order = strcmp(a->name, b->name);
    return order ? order : (a->value > b->value) - (a->value < b->value);
}

/* One tensor of the file may be used in two forms: each is a state, the later ones named w#2, w#3. */
static qn_status unique_names(qn_onnx_importer *importer, qn_graph_weight *weights, int count,
                              qn_error *err)
{
    for (int gap = count / 2; gap > 0; gap /= 2) /* Shell's sort: no library's order of equals */
        for (int i = gap; i < count; i++)
            for (int k = i; k >= gap && compare_weights(&weights[k - gap], &weights[k]) > 0;
                 k -= gap) {
                qn_graph_weight held = weights[k];
                weights[k] = weights[k - gap];
                weights[k - gap] = held;
            }
    for (int i = 0, same = 1; i + 1 < count; i++) {
        const char *base = weights[i - same + 1].name;
        same = strcmp(base, weights[i + 1].name) == 0 ? same + 1 : 1;
        if (same > 1)
            weights[i + 1].name = qn_arena_printf(&importer->arena, "%s#%d", base, same);
        if (!weights[i + 1].name)
            QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    }
    return QN_OK;
}

static qn_status fill_state(const qn_onnx_importer *importer, const qn_graph *graph,
                            const qn_graph_weight *weights, int count, qn_state **ret,
                            qn_error *err)
{
    qn_state *state;
    QN_TRY(qn_state_create(&state, err));
    qn_status status = qn_state_add_graph(state, graph, 0, err);
    for (int i = 0; i < count && status == QN_OK; i++) {
        qn_tensor tensor;
        if (qn_state_find(state, weights[i].name) &&
            qn_graph_const_read(importer->graph, weights[i].value, &tensor))
            status = qn_state_set(state, weights[i].name, &tensor, err);
    }
    if (status == QN_OK)
        *ret = state;
    else
        qn_state_destroy(state);
    return status;
}

/* Batch normalisation's running statistics take no gradient. */
static void find_statistics(const qn_graph *graph, qn_graph_weight *weights, int count)
{
    for (int i = 0, nodes = qn_graph_nodes_count(graph); i < nodes; i++) {
        qn_graph_node_view node = qn_graph_node_at(graph, i);
        if (strcmp(node.op, "BatchNormalization") != 0)
            continue;
        for (int w = 0; w < count; w++)
            if (weights[w].value == node.inputs[3] || weights[w].value == node.inputs[4])
                weights[w].trainable = false;
    }
}

/* --- for further training --- */

bool qn_onnx_is_frozen(const qn_onnx_training *training, const char *name)
{
    for (int64_t i = 0; i < training->frozen_count; i++)
        if (qn_nn_pattern_matches(training->frozen[i], name))
            return true;
    return false;
}

/* "conv.weight, conv.bias, ...": enough to see how the file names them. */
static const char *some_names(qn_onnx_importer *importer, const qn_graph_weight *weights, int count)
{
    enum { SHOWN = 8 };
    const char *text = "";
    for (int i = 0; i < count && i < SHOWN && text; i++)
        text = qn_arena_printf(&importer->arena, "%s%s%.60s", text, i ? ", " : "", weights[i].name);
    if (text && count > SHOWN)
        text = qn_arena_printf(&importer->arena, "%s and %d more", text, count - SHOWN);
    return text ? text : "";
}

static qn_status freeze(qn_onnx_importer *importer, qn_graph_weight *weights, int count,
                        qn_error *err)
{
    const qn_onnx_training *training = importer->options->training;
    for (int64_t i = 0; i < training->frozen_count; i++) {
        bool found = false;
        for (int w = 0; w < count && !found; w++)
            found = qn_nn_pattern_matches(training->frozen[i], weights[w].name);
        if (found)
            continue;
        (void)qn_error_set(err, QN_ERR_ARG, NULL, "no weight matches '%.80s'", training->frozen[i]);
        return qn_error_hint(err, QN_ERR_ARG, "its weights are: %s",
                             some_names(importer, weights, count));
    }
    for (int w = 0; w < count; w++) {
        weights[w].trainable =
            weights[w].trainable && !qn_onnx_is_frozen(training, weights[w].name);
        qn_dtype dtype = qn_graph_type(importer->graph, weights[w].value)->dtype;
        if (weights[w].trainable && dtype != QN_DTYPE_F32)
            QN_FAIL(err, QN_ERR_ARG,
                    "weight '%.100s' is %s, and training takes f32; export the model in f32",
                    weights[w].name, qn_dtype_name(dtype));
    }
    return QN_OK;
}

static bool trains(const qn_graph_node_view *node)
{
    for (int i = 0; strcmp(node->op, "BatchNormalization") == 0 && i < node->attrs_count; i++)
        if (strcmp(node->attrs[i].name, "training_mode") == 0)
            return node->attrs[i].i != 0;
    return false;
}

/* Running statistics of the normalisations that train move with each step; those that two share, by the first. */
static qn_status move_statistics(qn_onnx_importer *importer, qn_graph *graph, qn_error *err)
{
    bool *moved = QN_NEW(&importer->arena, bool, qn_graph_values_count(graph) + 1);
    if (!moved)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    for (int i = 0, count = qn_graph_nodes_count(graph); i < count; i++) {
        qn_graph_node_view node = qn_graph_node_at(graph, i);
        for (int k = 3; trains(&node) && k < 5; k++) {
            qn_value state = node.inputs[k];
            if (qn_graph_kind(graph, state) == QN_VALUE_STATE && !moved[state])
                qn_graph_assign(graph, state, node.first + k - 2);
            moved[state] = true;
        }
    }
    return qn_graph_check(graph, err);
}

/* What an output needs, as far as it is made by nodes or is a constant. */
static bool *find_needed(qn_onnx_importer *importer)
{
    const qn_graph *graph = importer->graph;
    bool *needed = QN_NEW(&importer->arena, bool, qn_graph_values_count(graph) + 1);
    for (int i = 0, count = qn_graph_outputs_count(graph); needed && i < count; i++) {
        qn_value value;
        (void)qn_graph_output_at(graph, i, &value);
        needed[value] = true;
    }
    for (int i = qn_graph_nodes_count(graph) - 1; needed && i >= 0; i--) {
        qn_graph_node_view node = qn_graph_node_at(graph, i);
        bool any = false;
        for (int k = 0; k < node.outputs_count; k++)
            any = any || needed[node.first + k];
        for (int k = 0; any && k < node.inputs_count; k++)
            if (node.inputs[k] != QN_NONE)
                needed[node.inputs[k]] = true;
    }
    return needed;
}

static qn_status promote(qn_onnx_importer *importer, qn_graph **ret_graph, qn_state **ret_state,
                         qn_error *err)
{
    int count = 0, values = qn_graph_values_count(importer->graph);
    qn_graph_weight *weights = QN_NEW(&importer->arena, qn_graph_weight, values + 1);
    const bool *needed = find_needed(importer);
    if (!weights || !needed)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    for (qn_value v = 0; v < values && v < importer->marks_max; v++)
        if (needed[v] && importer->weights[v] &&
            qn_graph_kind(importer->graph, v) == QN_VALUE_CONST)
            weights[count++] = (qn_graph_weight){v, importer->weights[v], true};
    find_statistics(importer->graph, weights, count);
    if (importer->options->training)
        QN_TRY(freeze(importer, weights, count, err));
    QN_TRY(unique_names(importer, weights, count, err));
    qn_graph *graph;
    QN_TRY(qn_graph_promote(importer->graph, weights, count, &graph, err));
    qn_status status = importer->options->training ? move_statistics(importer, graph, err) : QN_OK;
    if (status == QN_OK)
        status = fill_state(importer, graph, weights, count, ret_state, err);
    if (status == QN_OK)
        *ret_graph = graph;
    else
        qn_graph_destroy(graph);
    return status;
}

static qn_status import(qn_onnx_importer *importer, qn_graph **ret_graph, qn_state **ret_state,
                        qn_error *err)
{
    const qn_onnx_model *model = importer->model;
    QN_TRY(make_tables(importer, err));
    for (int i = 0; i < model->initializers_count; i++)
        QN_TRY(qn_onnx_add_tensor(importer, &model->initializers[i], err));
    for (int i = 0; i < model->inputs_count; i++)
        QN_TRY(add_input(importer, &model->inputs[i], err));
    for (int i = 0; i < model->nodes_count; i++)
        QN_TRY(qn_onnx_map_node(importer, &model->nodes[i], err));
    QN_TRY(add_outputs(importer, err));
    return promote(importer, ret_graph, ret_state, err);
}

static qn_status check_opset(const qn_onnx_model *model, qn_error *err)
{
    int64_t version = version_of(model->opsets, model->opsets_count, "");
    if (version > QN_ONNX_OPSET_MAX)
        QN_FAIL(err, QN_ERR_UNSUPPORTED, "the model is of opset %lld, opsets up to %d are read",
                (long long)version, (int)QN_ONNX_OPSET_MAX);
    return QN_OK;
}

qn_status qn_onnx_import(const qn_onnx_model *model, const qn_onnx_import_options *options,
                         qn_graph **ret_graph, qn_state **ret_state, qn_error *err)
{
    static const qn_onnx_import_options none = {0};
    QN_TRY(check_opset(model, err));
    qn_onnx_scope scope = {.opsets = model->opsets, .opsets_count = model->opsets_count};
    qn_onnx_importer importer = {.model = model,
                                 .options = options ? options : &none,
                                 .scope = &scope,
                                 .inlined_left = INLINED_MAX};
    importer.constants_left =
        importer.options->constants_max > 0 ? importer.options->constants_max : CONSTANTS_DEFAULT;
    qn_arena_init(&importer.arena, 0);
    importer.graph = qn_graph_create();
    qn_status status = QN_ERR_MEMORY;
    if (importer.graph)
        status = import(&importer, ret_graph, ret_state, err);
    else
        (void)qn_error_set(err, QN_ERR_MEMORY, NULL, "out of memory");
    qn_graph_destroy(importer.graph);
    qn_free(importer.weights);
    qn_free(importer.symbolic);
    qn_arena_deinit(&importer.arena);
    return status;
}
