/*
 * Graphs as JSON, for quern.json:
 *
 *     {"inputs": [{"name": "x", "dtype": "f32", "shape": ["B", 784]}],
 *      "states": [{"name": "w", "dtype": "f32", "shape": [784, 10], "trainable": true,
 *                  "init": {"kind": "uniform", "value": 0.05}}],
 *      "constants": [{"dtype": "f32", "shape": [], "data": [2]}],
 *      "nodes": [{"op": "Gemm", "inputs": [0, 1, null], "attributes": {"activation": "relu"}, "scope": "dense"}],
 *      "assigns": [{"state": 1, "value": 5}],
 *      "outputs": [{"name": "y", "value": 4}]}
 *
 * Values are numbered in this order: inputs, states, constants, outputs of nodes. Reading goes through the same calls
 * that build a graph in C, so everything is checked that they check, and nothing in the file is trusted.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "graph/graph_priv.h"

static const char *const init_names[] = {[QN_INIT_ZERO] = "zero",
                                         [QN_INIT_ONE] = "one",
                                         [QN_INIT_CONST] = "const",
                                         [QN_INIT_UNIFORM] = "uniform",
                                         [QN_INIT_NORMAL] = "normal"};
enum { INITS_COUNT = sizeof init_names / sizeof init_names[0] };

/* Writing. */

static void write_number(qn_json_writer *w, double value)
{
    if (isnan(value))
        qn_json_text(w, "NaN");
    else if (isinf(value))
        qn_json_text(w, value > 0 ? "Infinity" : "-Infinity");
    else
        qn_json_f64(w, value);
}

static void write_type(qn_json_writer *w, const qn_type *type)
{
    qn_json_key(w, "dtype");
    qn_json_text(w, qn_dtype_name(type->dtype));
    qn_json_key(w, "shape");
    qn_json_array_begin(w);
    for (int i = 0; i < type->shape.rank; i++) {
        int64_t dim = type->shape.dims[i];
        if (dim == QN_DIM_BATCH || dim == QN_DIM_TIME)
            qn_json_text(w, dim == QN_DIM_BATCH ? "B" : "T");
        else
            qn_json_i64(w, dim);
    }
    qn_json_array_end(w);
}

static void write_state(qn_json_writer *w, const qn_value_info *value, const int *numbers)
{
    qn_json_key(w, "trainable");
    qn_json_bool(w, value->trainable);
    qn_json_key(w, "init");
    qn_json_object_begin(w);
    qn_json_key(w, "kind");
    qn_json_text(w, init_names[value->init.kind]);
    qn_json_key(w, "value");
    write_number(w, value->init.value);
    qn_json_object_end(w);
    if (value->owner == QN_NONE)
        return;
    qn_json_key(w, "owner");
    qn_json_i64(w, numbers[value->owner]);
    qn_json_key(w, "role");
    qn_json_text(w, value->role);
}

static void write_data(qn_json_writer *w, const qn_value_info *value)
{
    qn_tensor tensor =
        qn_tensor_of((void *)(uintptr_t)value->data, value->type.dtype, value->type.shape);
    int64_t count = qn_shape_count(&tensor.shape);
    bool exact = tensor.dtype == QN_DTYPE_I64 || tensor.dtype == QN_DTYPE_U64;
    qn_json_key(w, "data");
    qn_json_array_begin(w);
    for (int64_t i = 0; i < count; i++) {
        if (exact)
            qn_json_i64(w, ((const int64_t *)value->data)[i]);
        else if (tensor.dtype == QN_DTYPE_F32 && isfinite(((const float *)value->data)[i]))
            qn_json_f32(w, ((const float *)value->data)[i]);
        else
            write_number(w, qn_tensor_f64_at(&tensor, i));
    }
    qn_json_array_end(w);
}

/* numbers: QN_NONE where a value is not written. */
static int write_leaves(const qn_graph *graph, qn_json_writer *w, int *numbers, int next)
{
    static const struct {
        const char *key;
        qn_value_kind kind;
    } lists[] = {
        {"inputs", QN_VALUE_INPUT}, {"states", QN_VALUE_STATE}, {"constants", QN_VALUE_CONST}};
    for (int list = 0; list < 3; list++) {
        qn_json_key(w, lists[list].key);
        qn_json_array_begin(w);
        for (int v = 0; v < graph->values_count; v++) {
            const qn_value_info *value = &graph->values[v];
            if (value->kind != lists[list].kind)
                continue;
            numbers[v] = next++;
            qn_json_object_begin(w);
            if (value->name) {
                qn_json_key(w, "name");
                qn_json_text(w, value->name);
            }
            write_type(w, &value->type);
            if (value->kind == QN_VALUE_STATE)
                write_state(w, value, numbers);
            else if (value->kind == QN_VALUE_CONST)
                write_data(w, value);
            qn_json_object_end(w);
        }
        qn_json_array_end(w);
    }
    return next;
}

static void write_attr(qn_json_writer *w, const qn_attr *attr)
{
    qn_json_key(w, attr->name);
    switch (attr->kind) {
    case QN_ATTR_INT:
        qn_json_i64(w, attr->i);
        return;
    case QN_ATTR_FLOAT:
        write_number(w, attr->f);
        return;
    case QN_ATTR_STRING:
        qn_json_text(w, attr->s);
        return;
    case QN_ATTR_INTS:
        qn_json_array_begin(w);
        for (int i = 0; i < attr->count; i++)
            qn_json_i64(w, attr->ints[i]);
        qn_json_array_end(w);
        return;
    }
}

static void write_node(const qn_node *node, qn_json_writer *w, const int *numbers)
{
    qn_json_object_begin(w);
    qn_json_key(w, "op");
    qn_json_text(w, node->op->name);
    qn_json_key(w, "inputs");
    qn_json_array_begin(w);
    for (int k = 0; k < node->inputs_count; k++)
        if (node->inputs[k] == QN_NONE)
            qn_json_null(w);
        else
            qn_json_i64(w, numbers[node->inputs[k]]);
    qn_json_array_end(w);
    if (node->attrs) {
        qn_json_key(w, "attributes");
        qn_json_object_begin(w);
        for (int i = 0; node->op->attrs[i].name; i++)
            write_attr(w, &node->attrs[i]);
        qn_json_object_end(w);
    }
    if (node->scope[0]) {
        qn_json_key(w, "scope");
        qn_json_text(w, node->scope);
    }
    qn_json_object_end(w);
}

static void write_pair(qn_json_writer *w, const char *key, int value)
{
    qn_json_key(w, key);
    qn_json_i64(w, value);
}

void qn_graph_write(const qn_graph *graph, qn_json_writer *w)
{
    int *numbers = qn_alloc_zero(graph->values_count + 1, sizeof *numbers);
    if (!numbers) {
        qn_json_null(w); /* the writer wants a value after its key; the text is not used */
        w->buf->failed = true;
        return;
    }
    qn_json_object_begin(w);
    int next = write_leaves(graph, w, numbers, 0);
    qn_json_key(w, "nodes");
    qn_json_array_begin(w);
    for (int i = 0; i < graph->nodes_count; i++) {
        const qn_node *node = &graph->nodes[i];
        for (int k = 0; k < node->op->outputs_count; k++)
            numbers[node->first + k] = next++;
        write_node(node, w, numbers);
    }
    qn_json_array_end(w);
    qn_json_key(w, "assigns");
    qn_json_array_begin(w);
    for (int i = 0; i < graph->assigns_count; i++) {
        qn_json_object_begin(w);
        write_pair(w, "state", numbers[graph->assigns[i].state]);
        write_pair(w, "value", numbers[graph->assigns[i].value]);
        qn_json_object_end(w);
    }
    qn_json_array_end(w);
    qn_json_key(w, "outputs");
    qn_json_array_begin(w);
    for (int i = 0; i < graph->outputs_count; i++) {
        qn_json_object_begin(w);
        qn_json_key(w, "name");
        qn_json_text(w, graph->outputs[i].name);
        write_pair(w, "value", numbers[graph->outputs[i].value]);
        qn_json_object_end(w);
    }
    qn_json_array_end(w);
    qn_json_object_end(w);
    qn_free(numbers);
}

/* Reading. */

typedef struct {
    qn_graph *graph;
    qn_arena scratch; /* strings with an end, constants */
} reader;

/* Names are looked up one by one: this bounds what a hostile file can cost. */
enum { ITEMS_MAX = 1 << 15 };

static qn_status get_text(reader *r, const qn_json *object, const char *key, bool required,
                          const char **ret, qn_error *err)
{
    qn_str text = {NULL, 0};
    QN_TRY(qn_json_get_str(object, key, required, &text, err));
    if (!text.data)
        return QN_OK;
    if (memchr(text.data, 0, text.size))
        QN_FAIL(err, QN_ERR_DATA, "'%s' holds a zero byte", key);
    *ret = qn_arena_strndup(&r->scratch, text.data, text.size);
    if (!*ret)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory while reading a graph");
    return QN_OK;
}

static qn_status get_dim(const qn_json *item, int64_t *ret, qn_error *err)
{
    if (item->kind == QN_JSON_STRING && qn_str_is(item->string, "B"))
        *ret = QN_DIM_BATCH;
    else if (item->kind == QN_JSON_STRING && qn_str_is(item->string, "T"))
        *ret = QN_DIM_TIME;
    else if (item->kind == QN_JSON_INT && item->integer >= 0)
        *ret = item->integer;
    else
        QN_FAIL(err, QN_ERR_DATA, "a dimension is %s; it must be an integer >= 0, \"B\" or \"T\"",
                qn_json_kind_name(item));
    return QN_OK;
}

static qn_status get_type(reader *r, const qn_json *object, qn_type *ret, qn_error *err)
{
    const char *dtype = NULL;
    QN_TRY(get_text(r, object, "dtype", true, &dtype, err));
    if (!qn_dtype_find(dtype, &ret->dtype))
        QN_FAIL(err, QN_ERR_DATA, "unknown dtype '%s'", dtype);
    const qn_json *shape = qn_json_find(object, "shape");
    int64_t rank = shape ? qn_json_length(shape) : -1;
    if (rank < 0 || rank > QN_RANK_MAX)
        QN_FAIL(err, QN_ERR_DATA, "'shape' must be an array of at most %d dimensions",
                (int)QN_RANK_MAX);
    ret->shape = (qn_shape){.rank = (int)rank};
    for (int64_t i = 0; i < rank; i++) {
        qn_json item = qn_json_at(shape, i);
        QN_TRY(get_dim(&item, &ret->shape.dims[i], err));
    }
    return QN_OK;
}

static qn_status read_input(reader *r, const qn_json *item, qn_error *err)
{
    const char *name = NULL;
    qn_type type = {0};
    QN_TRY(get_text(r, item, "name", true, &name, err));
    QN_TRY(get_type(r, item, &type, err));
    qn_graph_input(r->graph, name, type.dtype, type.shape);
    return qn_graph_check(r->graph, err);
}

static bool word_to_number(const qn_json *item, double *ret)
{
    if (item->kind != QN_JSON_STRING)
        return qn_json_as_f64(item, ret);
    if (qn_str_is(item->string, "NaN"))
        *ret = (double)NAN;
    else if (qn_str_is(item->string, "Infinity"))
        *ret = (double)INFINITY;
    else if (qn_str_is(item->string, "-Infinity"))
        *ret = -(double)INFINITY;
    else
        return false;
    return true;
}

static qn_status get_init(reader *r, const qn_json *item, qn_init *ret, qn_error *err)
{
    const qn_json *init = qn_json_find(item, "init");
    const char *kind = NULL;
    if (!init)
        return QN_OK;
    QN_TRY(get_text(r, init, "kind", true, &kind, err));
    int found = 0;
    while (found < INITS_COUNT && strcmp(init_names[found], kind) != 0)
        found++;
    if (found == INITS_COUNT)
        QN_FAIL(err, QN_ERR_DATA, "unknown kind of initial values '%s'", kind);
    ret->kind = (qn_init_kind)found;
    const qn_json *value = qn_json_find(init, "value");
    if (value && !word_to_number(value, &ret->value))
        QN_FAIL(err, QN_ERR_DATA, "'value' of initial values is %s, not a number",
                qn_json_kind_name(value));
    return QN_OK;
}

static qn_status read_state(reader *r, const qn_json *item, qn_error *err)
{
    const char *name = NULL, *role = NULL;
    qn_type type = {0};
    qn_init init = {QN_INIT_ZERO, 0};
    bool trainable = false;
    int64_t owner = QN_NONE;
    QN_TRY(get_text(r, item, "name", true, &name, err));
    QN_TRY(get_type(r, item, &type, err));
    QN_TRY(qn_json_get_bool(item, "trainable", false, &trainable, err));
    QN_TRY(get_init(r, item, &init, err));
    QN_TRY(qn_json_get_i64(item, "owner", false, &owner, err));
    QN_TRY(get_text(r, item, "role", owner != QN_NONE, &role, err));
    if (owner == QN_NONE) {
        qn_graph_state(r->graph, name, type.dtype, type.shape, init, trainable);
        return qn_graph_check(r->graph, err);
    }
    if (owner < 0 || owner >= r->graph->values_count)
        QN_FAIL(err, QN_ERR_DATA, "state '%s' belongs to value %lld, which is not there", name,
                (long long)owner);
    qn_value made = qn_graph_state_like(r->graph, (qn_value)owner, role);
    QN_TRY(qn_graph_check(r->graph, err));
    QN_ASSERT(name); /* required above */
    if (strcmp(r->graph->values[made].name, name) != 0)
        QN_FAIL(err, QN_ERR_DATA, "state '%s' should be called '%s'", name,
                r->graph->values[made].name);
    return QN_OK;
}

static qn_status read_constant(reader *r, const qn_json *item, qn_error *err)
{
    qn_type type = {0};
    QN_TRY(get_type(r, item, &type, err));
    QN_TRY(qn_shape_check(&type.shape, type.dtype, NULL, err));
    const qn_json *data = qn_json_find(item, "data");
    int64_t count = qn_shape_count(&type.shape), have = data ? qn_json_length(data) : -1;
    if (have != count)
        QN_FAIL(err, QN_ERR_DATA, "a constant of %lld elements has %lld in 'data'",
                (long long)count, (long long)have);
    size_t each = qn_dtype_size(type.dtype);
    char *elements = qn_arena_zero(&r->scratch, count + 1, each);
    if (!elements)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory while reading a graph");
    for (int64_t i = 0; i < count; i++) {
        qn_json element = qn_json_at(data, i);
        double number;
        if (!word_to_number(&element, &number))
            QN_FAIL(err, QN_ERR_DATA, "element %lld of a constant is %s, not a number",
                    (long long)i, qn_json_kind_name(&element));
        bool integer = element.kind == QN_JSON_INT;
        qn_tensor one = qn_tensor_of(integer ? (void *)&element.integer : (void *)&number,
                                     integer ? QN_DTYPE_I64 : QN_DTYPE_F64, QN_SCALAR);
        qn_tensor_convert(elements + (size_t)i * each, type.dtype, &one);
    }
    qn_tensor tensor = qn_tensor_of(elements, type.dtype, type.shape);
    qn_graph_const(r->graph, &tensor);
    return qn_graph_check(r->graph, err);
}

static qn_status read_attr(reader *r, const char *op, qn_str key, const qn_json *value,
                           qn_attr *ret, qn_error *err)
{
    *ret = (qn_attr){.name = qn_arena_strndup(&r->scratch, key.data, key.size)};
    int64_t length = qn_json_length(value);
    if (!ret->name)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory while reading a graph");
    if (value->kind == QN_JSON_INT) {
        ret->kind = QN_ATTR_INT;
        ret->i = value->integer;
    } else if (value->kind == QN_JSON_FLOAT) {
        ret->kind = QN_ATTR_FLOAT;
        ret->f = value->number;
    } else if (value->kind == QN_JSON_STRING &&
               !memchr(value->string.data, 0, value->string.size)) {
        ret->kind = QN_ATTR_STRING;
        ret->s = qn_arena_strndup(&r->scratch, value->string.data, value->string.size);
        if (!ret->s)
            QN_FAIL(err, QN_ERR_MEMORY, "out of memory while reading a graph");
    } else if (length >= 0 && length <= QN_RANK_MAX) {
        ret->kind = QN_ATTR_INTS;
        ret->count = (int)length;
        for (int64_t i = 0; i < length; i++) {
            qn_json item = qn_json_at(value, i);
            if (item.kind != QN_JSON_INT)
                QN_FAIL(err, QN_ERR_DATA, "%s: attribute '%s' holds %s, not an integer", op,
                        ret->name, qn_json_kind_name(&item));
            ret->ints[i] = item.integer;
        }
    } else {
        QN_FAIL(err, QN_ERR_DATA, "%s: attribute '%s' cannot be %s", op, ret->name,
                qn_json_kind_name(value));
    }
    return QN_OK;
}

static qn_status read_attrs(reader *r, const char *op, const qn_json *item, qn_attr *dst,
                            int *ret_count, qn_error *err)
{
    const qn_json *attrs = qn_json_find(item, "attributes");
    *ret_count = 0;
    if (!attrs)
        return QN_OK;
    if (attrs->kind != QN_JSON_OBJECT || attrs->count > QN_OP_ATTRS_MAX)
        QN_FAIL(err, QN_ERR_DATA, "%s: 'attributes' must be an object of at most %d", op,
                (int)QN_OP_ATTRS_MAX);
    for (int64_t i = 0; i < attrs->count; i++)
        QN_TRY(read_attr(r, op, attrs->keys[i], &attrs->items[i], &dst[i], err));
    *ret_count = (int)attrs->count;
    return QN_OK;
}

static qn_status read_node(reader *r, const qn_json *item, qn_error *err)
{
    const char *op = NULL, *scope = NULL;
    qn_attr attrs[QN_OP_ATTRS_MAX];
    int attrs_count = 0;
    QN_TRY(get_text(r, item, "op", true, &op, err));
    QN_TRY(get_text(r, item, "scope", false, &scope, err));
    QN_TRY(read_attrs(r, op, item, attrs, &attrs_count, err));
    const qn_json *inputs = qn_json_find(item, "inputs");
    int64_t count = inputs ? qn_json_length(inputs) : -1;
    if (count < 0 || count > QN_OP_VARIADIC_MAX)
        QN_FAIL(err, QN_ERR_DATA, "%s: 'inputs' must be an array of at most %d", op,
                (int)QN_OP_VARIADIC_MAX);
    qn_value *values = QN_NEW(&r->scratch, qn_value, count + 1);
    if (!values)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory while reading a graph");
    for (int64_t i = 0; i < count; i++) {
        qn_json value = qn_json_at(inputs, i);
        bool valid = value.kind == QN_JSON_INT && value.integer >= 0 &&
                     value.integer < r->graph->values_count;
        if (!valid && value.kind != QN_JSON_NULL)
            QN_FAIL(err, QN_ERR_DATA, "%s: input %lld is not the number of an earlier value", op,
                    (long long)i);
        values[i] = valid ? (qn_value)value.integer : QN_NONE;
    }
    qn_graph_scope(r->graph, scope);
    qn_graph_node(r->graph, op, values, (int)count, attrs, attrs_count);
    return qn_graph_check(r->graph, err);
}

static qn_status get_value(const reader *r, const qn_json *item, const char *key, qn_value *ret,
                           qn_error *err)
{
    int64_t value = QN_NONE;
    QN_TRY(qn_json_get_i64(item, key, true, &value, err));
    if (value < 0 || value >= r->graph->values_count)
        QN_FAIL(err, QN_ERR_DATA, "'%s' is %lld; the graph has values 0 to %d", key,
                (long long)value, r->graph->values_count - 1);
    *ret = (qn_value)value;
    return QN_OK;
}

static qn_status read_assign(reader *r, const qn_json *item, qn_error *err)
{
    qn_value state = QN_NONE, value = QN_NONE;
    QN_TRY(get_value(r, item, "state", &state, err));
    QN_TRY(get_value(r, item, "value", &value, err));
    qn_graph_assign(r->graph, state, value);
    return qn_graph_check(r->graph, err);
}

static qn_status read_output(reader *r, const qn_json *item, qn_error *err)
{
    const char *name = NULL;
    qn_value value = QN_NONE;
    QN_TRY(get_text(r, item, "name", true, &name, err));
    QN_TRY(get_value(r, item, "value", &value, err));
    qn_graph_output(r->graph, name, value);
    return qn_graph_check(r->graph, err);
}

typedef qn_status (*read_fn)(reader *r, const qn_json *item, qn_error *err);

static qn_status read_list(reader *r, const qn_json *json, const char *key, read_fn read,
                           qn_error *err)
{
    const qn_json *list = qn_json_find(json, key);
    int64_t count = list ? qn_json_length(list) : 0;
    if (count < 0 || count > ITEMS_MAX)
        QN_FAIL(err, QN_ERR_DATA, "'%s' must be an array of at most %d", key, (int)ITEMS_MAX);
    for (int64_t i = 0; i < count; i++) {
        qn_json item = qn_json_at(list, i);
        qn_status status = read(r, &item, err);
        if (status != QN_OK)
            return qn_error_at(err, status, "%s[%lld]", key, (long long)i);
    }
    return QN_OK;
}

static qn_status read_all(reader *r, const qn_json *json, qn_error *err)
{
    static const struct {
        const char *key;
        read_fn read;
    } lists[] = {{"inputs", read_input}, {"states", read_state},   {"constants", read_constant},
                 {"nodes", read_node},   {"assigns", read_assign}, {"outputs", read_output}};
    if (json->kind != QN_JSON_OBJECT)
        QN_FAIL(err, QN_ERR_DATA, "a graph is an object, not %s", qn_json_kind_name(json));
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        QN_TRY(read_list(r, json, lists[i].key, lists[i].read, err));
    qn_graph_scope(r->graph, NULL);
    return QN_OK;
}

qn_status qn_graph_read(const qn_json *json, qn_graph **ret, qn_error *err)
{
    reader r = {.graph = qn_graph_create()};
    if (!r.graph)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory while reading a graph");
    qn_arena_init(&r.scratch, 0);
    qn_status status = read_all(&r, json, err);
    qn_arena_deinit(&r.scratch);
    if (status == QN_OK)
        *ret = r.graph;
    else
        qn_graph_destroy(r.graph);
    return status;
}
