/*
 * `model.layers`: from the recipe's tree to the JSON list that qn_nn_layers_build takes, with names and simple
 * values checked here, where line and column are known. What depends on shapes is checked when it is built.
 */
#include <string.h>

#include "model/recipe_priv.h"
#include "nn/layers.h"

/* NUMBERS_MAX: in lists, of masks above all. A model stores its recipe as YAML, of which 2^18 values are read. */
enum { NAMES_MAX = 128, LAYERS_MAX = 256, NUMBERS_MAX = 1 << 17 };

static const char ROWS[] = "rows of 0 and 1: [[1, 0], [1, 1]]";

static qn_status fail_memory(const qn_recipe_source *source)
{
    return qn_error_set(source->err, QN_ERR_MEMORY, NULL, "no memory for model.layers");
}

static qn_status fail_layer(const qn_recipe_source *source, const qn_yaml *node)
{
    const char *names[NAMES_MAX];
    int count = 0;
    for (; count < NAMES_MAX && qn_nn_layer_at(count); count++)
        names[count] = qn_nn_layer_at(count)->name;
    return qn_recipe_fail(source, node, "unknown layer '%.60s'%s", node->text.data,
                          qn_recipe_suggest(source->arena, node->text.data, names, count));
}

static qn_status fail_attr(const qn_recipe_source *source, const qn_yaml *node,
                           const qn_nn_layer *layer)
{
    const char *names[NAMES_MAX];
    int count = 0;
    for (const qn_nn_attr *attr = layer->attrs; attr && attr->name && count < NAMES_MAX; attr++)
        names[count++] = attr->name;
    return qn_recipe_fail(source, node, "layer %s has no '%.60s'%s", layer->name, node->text.data,
                          qn_recipe_suggest(source->arena, node->text.data, names, count));
}

/* A plain scalar by its looks: the attribute's own type is checked when the layer is built. */
static qn_json scalar_value(const qn_yaml *node, qn_nn_attr_kind kind)
{
    qn_json json = {.kind = QN_JSON_STRING, .string = node->text};
    if (node->quoted || kind == QN_NN_ATTR_CHOICE)
        return json;
    if (kind != QN_NN_ATTR_FLOAT && qn_str_to_i64(node->text, &json.integer)) {
        json.kind = QN_JSON_INT;
    } else if (qn_str_to_f64(node->text, false, &json.number)) {
        json.kind = QN_JSON_FLOAT;
    } else if (qn_str_is(node->text, "true") || qn_str_is(node->text, "false")) {
        json.kind = QN_JSON_BOOL;
        json.boolean = qn_str_is(node->text, "true");
    } else {
        json.string = node->text;
    }
    return json;
}

static bool read_integer(const qn_yaml *node, bool truths, int64_t *ret)
{
    bool scalar = node->kind == QN_YAML_SCALAR && !node->quoted, truth = scalar && truths;
    if (truth && (qn_str_is(node->text, "true") || qn_str_is(node->text, "false"))) {
        *ret = qn_str_is(node->text, "true");
        return true;
    }
    return scalar && qn_str_to_i64(node->text, ret);
}

/* [3, 3]: packed integers, as the JSON reader gives them. truths: true and false are 1 and 0. */
static qn_status read_integers(const qn_recipe_source *source, const qn_yaml *node, bool truths,
                               const char *label, qn_json *ret)
{
    int64_t *ints = QN_NEW(source->arena, int64_t, node->count);
    if (!ints)
        return fail_memory(source);
    for (int64_t i = 0; i < node->count; i++) {
        if (!read_integer(&node->items[i], truths, &ints[i]))
            return qn_recipe_fail(source, &node->items[i], "%s takes %s", label,
                                  truths ? ROWS : "a list of integers");
    }
    *ret = (qn_json){.kind = QN_JSON_NUMBERS, .all_int = true, .count = node->count, .ints = ints};
    if (node->count == 0)
        *ret = (qn_json){.kind = QN_JSON_ARRAY};
    return QN_OK;
}

/* [[1, 0], [true, true]]: each row packed integers. */
static qn_status read_rows(const qn_recipe_source *source, const qn_yaml *node, const char *label,
                           qn_json *ret)
{
    qn_json *rows = QN_NEW(source->arena, qn_json, node->count);
    if (!rows)
        return fail_memory(source);
    for (int64_t i = 0; i < node->count; i++) {
        const qn_yaml *row = &node->items[i];
        if (row->kind != QN_YAML_LIST || row->count < 1)
            return qn_recipe_fail(source, row, "%s takes %s", label, ROWS);
        QN_TRY(read_integers(source, row, true, label, &rows[i]));
    }
    *ret = (qn_json){.kind = QN_JSON_ARRAY, .count = node->count, .items = rows};
    return QN_OK;
}

static qn_status read_list(const qn_recipe_source *source, const qn_yaml *node, const char *label,
                           int depth, qn_json *ret);

static qn_status read_attr(const qn_recipe_source *source, const qn_nn_layer *layer,
                           const qn_yaml *name, const qn_yaml *node, int depth, qn_json *ret)
{
    const qn_nn_attr *attr = layer->attrs;
    while (attr && attr->name && !qn_str_is(name->text, attr->name))
        attr++;
    if (!attr || !attr->name)
        return fail_attr(source, name, layer);
    if (node->kind == QN_YAML_LIST && attr->kind == QN_NN_ATTR_LAYERS)
        return read_list(source, node, attr->name, depth + 1, ret);
    if (node->kind == QN_YAML_LIST && attr->kind == QN_NN_ATTR_ROWS)
        return read_rows(source, node, attr->name, ret);
    if (node->kind == QN_YAML_LIST)
        return read_integers(source, node, false, attr->name, ret);
    if (node->kind == QN_YAML_MAP)
        return qn_recipe_fail(source, node, "%s of layer %s is a map", attr->name, layer->name);
    *ret = scalar_value(node, attr->kind);
    return QN_OK;
}

static qn_status read_attrs(const qn_recipe_source *source, const qn_nn_layer *layer,
                            const qn_yaml *node, int depth, qn_json *ret)
{
    bool none = qn_yaml_is_null(node);
    if (!none && node->kind != QN_YAML_MAP)
        return qn_recipe_fail(
            source, node, "layer %s takes a map of attributes, such as {units: 10}", layer->name);
    int64_t count = none ? 0 : node->count;
    qn_json *items = QN_NEW(source->arena, qn_json, count);
    qn_str *keys = QN_NEW(source->arena, qn_str, count);
    if (!items || !keys)
        return fail_memory(source);
    for (int64_t i = 0; i < count; i++) {
        keys[i] = node->keys[i].text;
        QN_TRY(read_attr(source, layer, &node->keys[i], &node->items[i], depth, &items[i]));
    }
    *ret = (qn_json){.kind = QN_JSON_OBJECT, .count = count, .items = items, .keys = keys};
    return QN_OK;
}

/* A bare name, or {name: {attribute: value}}. */
static qn_status read_layer(const qn_recipe_source *source, const qn_yaml *node, int depth,
                            qn_json *ret)
{
    bool bare = node->kind == QN_YAML_SCALAR;
    if (!bare && (node->kind != QN_YAML_MAP || node->count != 1))
        return qn_recipe_fail(source, node,
                              "a layer is a name or one name with its attributes, such as "
                              "dense: {units: 10}");
    const qn_yaml *name = bare ? node : &node->keys[0];
    const qn_nn_layer *layer = qn_nn_layer_find(name->text.data);
    if (!layer)
        return fail_layer(source, name);
    if (bare) {
        *ret = (qn_json){.kind = QN_JSON_STRING, .string = name->text};
        return QN_OK;
    }
    qn_json *item = QN_NEW(source->arena, qn_json, 1);
    qn_str *key = QN_NEW(source->arena, qn_str, 1);
    if (!item || !key)
        return fail_memory(source);
    *key = name->text;
    QN_TRY(read_attrs(source, layer, &node->items[0], depth, item));
    *ret = (qn_json){.kind = QN_JSON_OBJECT, .count = 1, .items = item, .keys = key};
    return QN_OK;
}

static qn_status read_list(const qn_recipe_source *source, const qn_yaml *node, const char *label,
                           int depth, qn_json *ret)
{
    if (node->kind != QN_YAML_LIST || node->count < 1 || node->count > LAYERS_MAX)
        return qn_recipe_fail(source, node, "%s is a list of 1 to %d layers", label, LAYERS_MAX);
    if (depth > QN_NN_LISTS_MAX)
        return qn_recipe_fail(source, node, "layers stand in more than %d lists", QN_NN_LISTS_MAX);
    qn_json *items = QN_NEW(source->arena, qn_json, node->count);
    if (!items)
        return fail_memory(source);
    for (int64_t i = 0; i < node->count; i++)
        QN_TRY(read_layer(source, &node->items[i], depth, &items[i]));
    *ret = (qn_json){.kind = QN_JSON_ARRAY, .count = node->count, .items = items};
    return QN_OK;
}

/* As deep as lists of layers may stand in each other. */
static int64_t count_numbers(const qn_json *value)
{
    bool items = value->kind == QN_JSON_ARRAY || value->kind == QN_JSON_OBJECT;
    int64_t sum = value->kind == QN_JSON_NUMBERS ? value->count : 0;
    for (int64_t i = 0; items && i < value->count; i++)
        sum += count_numbers(&value->items[i]);
    return sum;
}

qn_status qn_recipe_layers_read(const qn_recipe_source *source, const qn_yaml *node, qn_json *ret)
{
    *ret = (qn_json){0};
    if (qn_yaml_is_null(node))
        return QN_OK;
    QN_TRY(read_list(source, node, "model.layers", 0, ret));
    int64_t numbers = count_numbers(ret);
    if (numbers > NUMBERS_MAX)
        return qn_recipe_fail(source, node, "model.layers has lists of %lld numbers, at most %d",
                              (long long)numbers, NUMBERS_MAX);
    return QN_OK;
}

static void write_layer(const qn_json *layer, qn_buf *dst);

/* [3, 3] */
static void write_numbers(const qn_json *value, qn_buf *dst)
{
    qn_buf_byte(dst, '[');
    for (int64_t i = 0; i < qn_json_length(value); i++)
        qn_buf_printf(dst, "%s%lld", i ? ", " : "", (long long)qn_json_at(value, i).integer);
    qn_buf_byte(dst, ']');
}

/* A list of layers, or of rows, within a line. */
static void write_inner(const qn_json *list, qn_buf *dst)
{
    qn_buf_byte(dst, '[');
    for (int64_t i = 0; i < list->count; i++) {
        const qn_json *item = &list->items[i];
        qn_buf_text(dst, i ? ", " : "");
        if (item->kind == QN_JSON_NUMBERS) {
            write_numbers(item, dst);
            continue;
        }
        qn_buf_text(dst, item->kind == QN_JSON_STRING ? "" : "{");
        write_layer(item, dst);
        qn_buf_text(dst, item->kind == QN_JSON_STRING ? "" : "}");
    }
    qn_buf_byte(dst, ']');
}

static void write_value(const qn_json *value, qn_buf *dst)
{
    char text[32];
    switch (value->kind) {
    case QN_JSON_STRING:
        qn_recipe_text_write(value->string, dst);
        break;
    case QN_JSON_INT:
        qn_buf_printf(dst, "%lld", (long long)value->integer);
        break;
    case QN_JSON_FLOAT:
        qn_buf_append(dst, text, (size_t)qn_f64_to_text(value->number, text));
        break;
    case QN_JSON_BOOL:
        qn_buf_text(dst, value->boolean ? "true" : "false");
        break;
    case QN_JSON_ARRAY:
        write_inner(value, dst);
        break;
    default:
        write_numbers(value, dst);
        break;
    }
}

static void write_layer(const qn_json *layer, qn_buf *dst)
{
    if (layer->kind == QN_JSON_STRING) {
        qn_buf_str(dst, layer->string);
        return;
    }
    const qn_json *attrs = &layer->items[0];
    qn_buf_printf(dst, "%.*s: {", QN_STR_ARG(layer->keys[0]));
    for (int64_t i = 0; i < attrs->count; i++) {
        qn_buf_printf(dst, "%s%.*s: ", i ? ", " : "", QN_STR_ARG(attrs->keys[i]));
        write_value(&attrs->items[i], dst);
    }
    qn_buf_byte(dst, '}');
}

void qn_recipe_layers_write(const qn_json *layers, int indent, qn_buf *dst)
{
    for (int64_t i = 0; i < layers->count; i++) {
        qn_buf_printf(dst, "%*s- ", indent, "");
        write_layer(&layers->items[i], dst);
        qn_buf_byte(dst, '\n');
    }
}
