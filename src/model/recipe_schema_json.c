/*
 * The JSON Schema of the recipe (2020-12), from the key table and the layer table: what editors use to complete
 * and check a recipe.
 */
#include <string.h>

#include "model/recipe_priv.h"
#include "nn/layers.h"

static void write_words(qn_json_writer *w, const char *words)
{
    qn_str word;
    for (int i = 0; qn_recipe_word(words, i, &word); i++) {
        if (qn_str_is(word, "true") || qn_str_is(word, "false"))
            qn_json_bool(w, qn_str_is(word, "true"));
        else
            qn_json_str(w, word);
    }
}

static void write_enum(qn_json_writer *w, const char *words)
{
    qn_json_key(w, "enum");
    qn_json_array_begin(w);
    write_words(w, words);
    qn_json_array_end(w);
}

static void write_number(qn_json_writer *w, const char *type, const qn_recipe_key *key)
{
    qn_json_put_text(w, "type", type);
    if (key->low == 0 && key->high == 0)
        return;
    qn_json_put_f64(w, "minimum", key->low);
    qn_json_put_f64(w, "maximum", key->high);
}

/* A number, or one of the words it may be. */
static void write_number_or_word(qn_json_writer *w, const char *type, const qn_recipe_key *key)
{
    if (!key->choices) {
        write_number(w, type, key);
        return;
    }
    qn_json_key(w, "anyOf");
    qn_json_array_begin(w);
    qn_json_object_begin(w);
    write_number(w, type, key);
    qn_json_object_end(w);
    qn_json_object_begin(w);
    write_enum(w, key->choices);
    qn_json_object_end(w);
    qn_json_array_end(w);
}

static void write_type(qn_json_writer *w, const char *type)
{
    qn_json_put_text(w, "type", type);
}

static void write_types(qn_json_writer *w, const char *first, const char *second)
{
    qn_json_key(w, "type");
    qn_json_array_begin(w);
    qn_json_text(w, first);
    qn_json_text(w, second);
    qn_json_array_end(w);
}

static void write_list(qn_json_writer *w, const char *item, int count)
{
    qn_json_key(w, "items");
    qn_json_object_begin(w);
    if (item)
        write_type(w, item);
    qn_json_object_end(w);
    if (count == 0)
        return;
    qn_json_put_i64(w, "minItems", count);
    qn_json_put_i64(w, "maxItems", count);
}

/* The forms that an attribute may have: one, or a list of them. */
static void write_attr_types(qn_json_writer *w, const qn_nn_attr *attr)
{
    static const char *const types[][3] = {
        [QN_NN_ATTR_INT] = {"integer"},
        [QN_NN_ATTR_FLOAT] = {"number"},
        [QN_NN_ATTR_BOOL] = {"boolean"},
        [QN_NN_ATTR_TEXT] = {"string"},
        [QN_NN_ATTR_PAIR] = {"integer", "array"},
        [QN_NN_ATTR_TRIPLE] = {"integer", "array"},
        [QN_NN_ATTR_PADDING] = {"integer", "array", "string"},
        [QN_NN_ATTR_INTS] = {"array"},
        [QN_NN_ATTR_INDICES] = {"array"},
        [QN_NN_ATTR_UNITS] = {"integer", "string"},
        [QN_NN_ATTR_LAYERS] = {"array", "string"},
        [QN_NN_ATTR_ROWS] = {"array", "string"},
    };
    qn_json_key(w, "type");
    qn_json_array_begin(w);
    for (int i = 0; i < 3 && types[attr->kind][i]; i++)
        qn_json_text(w, types[attr->kind][i]);
    if (attr->choices && attr->kind == QN_NN_ATTR_FLOAT) /* a word in place of the number */
        qn_json_text(w, "string");
    qn_json_array_end(w);
}

static void write_attr(qn_json_writer *w, const qn_nn_attr *attr)
{
    qn_json_key(w, attr->name);
    qn_json_object_begin(w);
    qn_json_put_text(w, "description", attr->doc);
    if (attr->kind == QN_NN_ATTR_CHOICE)
        write_enum(w, attr->choices);
    else
        write_attr_types(w, attr);
    if (attr->low < attr->high &&
        attr->kind != QN_NN_ATTR_PADDING) { /* of numbers, wherever they stand */
        qn_json_put_f64(w, "minimum", attr->low);
        qn_json_put_f64(w, "maximum", attr->high);
    }
    qn_json_object_end(w);
}

static void begin_object(qn_json_writer *w, const char *doc)
{
    write_type(w, "object");
    if (doc) {
        qn_json_put_text(w, "description", doc);
    }
    qn_json_put_bool(w, "additionalProperties", false);
    qn_json_key(w, "properties");
    qn_json_object_begin(w);
}

/* {conv2d: {...}} */
static void write_layer(qn_json_writer *w, const qn_nn_layer *layer)
{
    qn_json_object_begin(w);
    begin_object(w, layer->doc);
    qn_json_key(w, layer->name);
    qn_json_object_begin(w);
    begin_object(w, NULL);
    for (const qn_nn_attr *attr = layer->attrs; attr && attr->name; attr++)
        write_attr(w, attr);
    qn_json_object_end(w);
    qn_json_object_end(w);
    qn_json_object_end(w);
    qn_json_object_end(w);
}

/* Bare names of layers, or one object per layer. */
static void write_layers(qn_json_writer *w)
{
    write_type(w, "array");
    qn_json_key(w, "items");
    qn_json_object_begin(w);
    qn_json_key(w, "anyOf");
    qn_json_array_begin(w);
    qn_json_object_begin(w);
    qn_json_key(w, "enum");
    qn_json_array_begin(w);
    for (int i = 0; qn_nn_layer_at(i); i++)
        qn_json_text(w, qn_nn_layer_at(i)->name);
    qn_json_array_end(w);
    qn_json_object_end(w);
    for (int i = 0; qn_nn_layer_at(i); i++)
        write_layer(w, qn_nn_layer_at(i));
    qn_json_array_end(w);
    qn_json_object_end(w);
}

/* One of the words, or a map from names to numbers. */
static void write_weights(qn_json_writer *w, const qn_recipe_key *key)
{
    qn_json_key(w, "anyOf");
    qn_json_array_begin(w);
    qn_json_object_begin(w);
    write_enum(w, key->choices);
    qn_json_object_end(w);
    qn_json_object_begin(w);
    write_type(w, "object");
    qn_json_put_i64(w, "minProperties", 1);
    qn_json_key(w, "additionalProperties");
    qn_json_object_begin(w);
    write_number(w, "number", key);
    qn_json_object_end(w);
    qn_json_object_end(w);
    qn_json_array_end(w);
}

static void write_key_type(qn_json_writer *w, const qn_recipe_key *key)
{
    switch (key->type) {
    case QN_KEY_INT:
        write_number_or_word(w, "integer", key);
        break;
    case QN_KEY_FLOAT:
        write_number_or_word(w, "number", key);
        break;
    case QN_KEY_BOOL:
        write_type(w, "boolean");
        break;
    case QN_KEY_TEXT:
        write_types(w, "string", "null");
        break;
    case QN_KEY_TEXTS:
        write_types(w, "string", "array");
        write_list(w, "string", 0);
        break;
    case QN_KEY_WORD:
    case QN_KEY_CHOICE:
        write_enum(w, key->choices);
        break;
    case QN_KEY_INTS:
        write_types(w, "array", "string");
        write_list(w, "integer", 0);
        break;
    case QN_KEY_WEIGHTS:
        write_weights(w, key);
        break;
    case QN_KEY_PARTS:
        write_type(w, "array");
        write_list(w, "number", 3);
        break;
    case QN_KEY_PERCENTILES:
        write_types(w, "array", "null");
        write_list(w, NULL, 2);
        break;
    case QN_KEY_SIZE:
        write_type(w, "array");
        write_list(w, "integer", 2);
        break;
    case QN_KEY_LAYERS:
        write_layers(w);
        break;
    case QN_KEY_OPTIONS:
        qn_recipe_options_schema(w);
        break;
    case QN_KEY_GROUPS:
        qn_recipe_groups_schema(w);
        break;
    case QN_KEY_LATER:
    default:
        break;
    }
}

/* The default as a JSON value: a number, a word, or left out for lists. */
static void write_default(qn_json_writer *w, const qn_recipe_key *key)
{
    double number;
    if (!key->fallback || key->fallback[0] == '[')
        return;
    qn_json_key(w, "default");
    if (qn_str_to_f64(qn_str_from(key->fallback), false, &number))
        qn_json_f64(w, number);
    else if (key->type == QN_KEY_BOOL)
        qn_json_bool(w, strcmp(key->fallback, "true") == 0);
    else
        qn_json_text(w, key->fallback);
}

static void write_key(qn_json_writer *w, const char *name, const qn_recipe_key *key)
{
    if (key->type == QN_KEY_LATER)
        return;
    qn_json_key(w, name);
    qn_json_object_begin(w);
    qn_json_put_text(w, "description", key->doc);
    write_key_type(w, key);
    write_default(w, key);
    qn_json_object_end(w);
}

static void write_columns(qn_json_writer *w, const char *doc)
{
    qn_json_key(w, "columns");
    qn_json_object_begin(w);
    write_type(w, "object");
    qn_json_put_text(w, "description", doc);
    qn_json_key(w, "additionalProperties");
    qn_json_object_begin(w);
    begin_object(w, NULL);
    for (const qn_recipe_key *key = qn_recipe_column_keys; key->path; key++)
        write_key(w, key->path, key);
    qn_json_object_end(w);
    qn_json_object_end(w);
    qn_json_object_end(w);
}

static void write_section(qn_json_writer *w, const qn_recipe_section *section)
{
    const char *name;
    bool top = section->name[0] == '\0';
    if (strcmp(section->name, "columns") == 0) {
        write_columns(w, section->doc);
        return;
    }
    if (!top) {
        qn_json_key(w, section->name);
        qn_json_object_begin(w);
        begin_object(w, section->doc);
    }
    for (const qn_recipe_key *key = qn_recipe_keys; key->path; key++)
        if (qn_recipe_key_in(key, section->name, &name))
            write_key(w, name, key);
    if (top)
        return;
    qn_json_object_end(w);
    if (strcmp(section->name, "data") == 0) {
        qn_json_key(w, "required");
        qn_json_array_begin(w);
        qn_json_text(w, "path");
        qn_json_array_end(w);
    }
    qn_json_object_end(w);
}

void qn_recipe_write_schema(qn_json_writer *w)
{
    qn_json_object_begin(w);
    qn_json_put_text(w, "$schema", "https://json-schema.org/draft/2020-12/schema");
    qn_json_put_text(w, "title", "Quern recipe, version 1");
    qn_json_key(w, "required");
    qn_json_array_begin(w);
    qn_json_text(w, "data");
    qn_json_array_end(w);
    begin_object(w, NULL);
    for (const qn_recipe_section *section = qn_recipe_sections; section->name; section++)
        write_section(w, section);
    qn_json_object_end(w);
    qn_json_object_end(w);
}
