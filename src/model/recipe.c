/*
 * Reading a recipe: defaults, then the file, QUERN_* and settings, each through the same table; then what
 * must hold between keys.
 */
#include "model/recipe.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/folder.h"
#include "model/recipe_priv.h"
#include "os/file.h"

enum { TEXT_MAX = 1 << 20, COLUMNS_MAX = 16384, NAMES_MAX = 128 };

static qn_status fail_memory(const qn_recipe_source *source)
{
    return qn_error_set(source->err, QN_ERR_MEMORY, NULL, "no memory for the recipe");
}

/* Key `i` from a node; its origin is kept. */
static qn_status apply_key(const qn_recipe_source *source, int i, const qn_yaml *node,
                           qn_recipe *recipe)
{
    QN_TRY(qn_recipe_value_read(source, &qn_recipe_keys[i], qn_recipe_keys[i].path, node, recipe));
    recipe->origins[i] = (uint8_t)source->origin;
    return QN_OK;
}

/* The keys of a section and, at the top, the sections: for "did you mean". */
static int gather_names(const char *section, const char *names[NAMES_MAX])
{
    int count = 0;
    const char *name;
    for (const qn_recipe_key *key = qn_recipe_keys; key->path && count < NAMES_MAX; key++)
        if (key->type != QN_KEY_LATER && qn_recipe_key_in(key, section, &name))
            names[count++] = name;
    for (const qn_recipe_section *s = qn_recipe_sections; !*section && s->name && count < NAMES_MAX;
         s++)
        if (*s->name)
            names[count++] = s->name;
    return count;
}

static qn_status fail_unknown(const qn_recipe_source *source, const qn_yaml *node,
                              const char *section, const char *name)
{
    const char *names[NAMES_MAX];
    char hint[200] = "";
    int count = gather_names(section, names);
    for (int i = 0; i < count; i++) {
        size_t used = strlen(hint);
        snprintf(hint + used, sizeof hint - used, "%s%s", i ? ", " : "", names[i]);
    }
    const char *near = qn_recipe_suggest(source->arena, name, names, count);
    qn_status status = qn_recipe_fail(source, node, "unknown key '%s%s%.60s'%s", section,
                                      *section ? "." : "", name, near);
    if (*near)
        return status;
    return qn_error_hint(source->err, status, "%s%s: %s", *section ? "keys of " : "keys", section,
                         hint);
}

static qn_column_options *find_column(const qn_recipe_source *source, qn_str name,
                                      qn_recipe *recipe)
{
    for (int64_t i = 0; i < recipe->columns_count; i++)
        if (qn_str_equal(recipe->columns[i].name, name))
            return &recipe->columns[i];
    int64_t count = recipe->columns_count;
    qn_column_options *columns = recipe->columns;
    if ((count & (count - 1)) == 0) { /* full at powers of two */
        columns = QN_NEW(source->arena, qn_column_options, count ? 2 * count : 1);
        if (columns && count)
            memcpy(columns, recipe->columns, (size_t)count * sizeof *columns);
    }
    char *copy = qn_arena_strndup(source->arena, name.data, name.size);
    if (!columns || !copy)
        return NULL;
    recipe->columns = columns;
    columns[count] = (qn_column_options){.name = {copy, name.size}};
    recipe->columns_count = count + 1;
    return &columns[count];
}

static qn_status fail_option(const qn_recipe_source *source, const qn_yaml *node,
                             const char *column, const char *name)
{
    const char *names[NAMES_MAX];
    int count = 0;
    for (const qn_recipe_key *key = qn_recipe_column_keys; key->path && count < NAMES_MAX; key++)
        names[count++] = key->path;
    return qn_recipe_fail(source, node, "unknown key 'columns.%.60s.%.60s'%s", column, name,
                          qn_recipe_suggest(source->arena, name, names, count));
}

static qn_status apply_option(const qn_recipe_source *source, qn_column_options *column,
                              const qn_yaml *name_node, const char *name, const qn_yaml *node)
{
    const qn_recipe_key *key = qn_recipe_column_key_find(qn_str_from(name));
    if (!key)
        return fail_option(source, name_node, column->name.data, name);
    const char *label =
        qn_arena_printf(source->arena, "columns.%.*s.%s", QN_STR_ARG(column->name), key->path);
    if (!label)
        return fail_memory(source);
    return qn_recipe_value_read(source, key, label, node, column);
}

/* An option of another type of column is a slip that would otherwise do nothing. */
static qn_status check_options(const qn_recipe_source *source, const qn_column_options *column,
                               const qn_yaml *node)
{
    for (int64_t i = 0; column->type != QN_TYPE_AUTO && i < node->count; i++) {
        const qn_recipe_key *key = qn_recipe_column_key_find(node->keys[i].text);
        if (key && key->types && !(key->types >> column->type & 1))
            return qn_recipe_fail(source, &node->keys[i],
                                  "columns.%.*s.%s does nothing for a %s column",
                                  QN_STR_ARG(column->name), key->path, qn_type_name(column->type));
    }
    return QN_OK;
}

static qn_status apply_column(const qn_recipe_source *source, qn_str name, const qn_yaml *node,
                              qn_recipe *recipe)
{
    if (node->kind != QN_YAML_MAP)
        return qn_recipe_fail(source, node, "columns.%.*s takes a map, such as {type: number}",
                              QN_STR_ARG(name));
    qn_column_options *column = find_column(source, name, recipe);
    if (!column)
        return fail_memory(source);
    for (int64_t i = 0; i < node->count; i++)
        QN_TRY(
            apply_option(source, column, &node->keys[i], node->keys[i].text.data, &node->items[i]));
    return check_options(source, column, node);
}

static qn_status apply_columns(const qn_recipe_source *source, const qn_yaml *node,
                               qn_recipe *recipe)
{
    if (qn_yaml_is_null(node))
        return QN_OK;
    if (node->kind != QN_YAML_MAP || node->count > COLUMNS_MAX)
        return qn_recipe_fail(source, node, "columns takes a map of at most %d columns",
                              COLUMNS_MAX);
    for (int64_t i = 0; i < node->count; i++)
        QN_TRY(apply_column(source, node->keys[i].text, &node->items[i], recipe));
    return QN_OK;
}

static bool is_section(const char *name)
{
    for (const qn_recipe_section *s = qn_recipe_sections; s->name; s++)
        if (*s->name && strcmp(s->name, name) == 0)
            return true;
    return false;
}

/* A map of keys of `section` ("" = the top). */
static qn_status apply_map(const qn_recipe_source *source, const char *section, const qn_yaml *node,
                           qn_recipe *recipe)
{
    if (*section && qn_yaml_is_null(node))
        return QN_OK;
    if (node->kind != QN_YAML_MAP)
        return qn_recipe_fail(source, node, "%s takes a map of keys",
                              *section ? section : "a recipe");
    for (int64_t i = 0; i < node->count; i++) {
        const char *name = node->keys[i].text.data;
        const char *path =
            qn_arena_printf(source->arena, "%s%s%s", section, *section ? "." : "", name);
        if (!path)
            return fail_memory(source);
        int key = qn_recipe_key_find(qn_str_from(path));
        if (!*section && strcmp(name, "columns") == 0)
            QN_TRY(apply_columns(source, &node->items[i], recipe));
        else if (!*section && is_section(name))
            QN_TRY(apply_map(source, name, &node->items[i], recipe));
        else if (key < 0)
            return fail_unknown(source, &node->keys[i], section, name);
        else
            QN_TRY(apply_key(source, key, &node->items[i], recipe));
    }
    return QN_OK;
}

/* "columns.NAME.OPTION" or "columns.NAME"; a name may hold dots. */
static qn_status apply_column_path(const qn_recipe_source *source, const char *path,
                                   const qn_yaml *node, qn_recipe *recipe)
{
    const char *dot = strrchr(path, '.');
    if (node->kind == QN_YAML_MAP || !dot)
        return apply_column(source, qn_str_from(path), node, recipe);
    qn_column_options *column = find_column(source, (qn_str){path, (size_t)(dot - path)}, recipe);
    if (!column)
        return fail_memory(source);
    return apply_option(source, column, node, dot + 1, node);
}

/* "trian" ".epochs": "; did you mean 'train.epochs'?" when that is a key, "" otherwise. */
static const char *suggest_path(qn_arena *arena, const char *section, const char *rest)
{
    const char *names[NAMES_MAX];
    int count = gather_names("", names);
    const char *near = qn_error_nearest(section, names, count);
    const char *path = near ? qn_arena_printf(arena, "%s%s", near, rest) : NULL;
    bool known =
        path && (qn_recipe_key_find(qn_str_from(path)) >= 0 || strncmp(path, "columns.", 8) == 0);
    const char *text = known ? qn_arena_printf(arena, "; did you mean '%s'?", path) : NULL;
    return text ? text : "";
}

static qn_status apply_path(const qn_recipe_source *source, const char *path, const qn_yaml *node,
                            qn_recipe *recipe)
{
    int key = qn_recipe_key_find(qn_str_from(path));
    if (key >= 0)
        return apply_key(source, key, node, recipe);
    if (strcmp(path, "columns") == 0)
        return apply_columns(source, node, recipe);
    if (strncmp(path, "columns.", 8) == 0)
        return apply_column_path(source, path + 8, node, recipe);
    if (is_section(path))
        return apply_map(source, path, node, recipe);
    const char *dot = strchr(path, '.');
    const char *section = dot ? qn_arena_strndup(source->arena, path, (size_t)(dot - path)) : "";
    if (!section)
        return fail_memory(source);
    if (dot && is_section(section))
        return fail_unknown(source, node, section, dot + 1);
    const char *meant = dot ? suggest_path(source->arena, section, dot) : "";
    if (*meant)
        return qn_recipe_fail(source, node, "unknown key '%.60s'%s", path, meant);
    return fail_unknown(source, node, "", path);
}

static qn_status apply_defaults(qn_arena *arena, qn_recipe *recipe, qn_error *err)
{
    const qn_recipe_source source = {
        .where = "built-in", .origin = QN_ORIGIN_DEFAULT, .arena = arena, .err = err};
    for (int i = 0; qn_recipe_keys[i].path; i++) {
        qn_yaml node;
        const char *fallback = qn_recipe_keys[i].fallback;
        if (!fallback)
            continue;
        QN_TRY(qn_yaml_read(qn_str_from(fallback), "built-in", arena, &node, err));
        QN_TRY(apply_key(&source, i, &node, recipe));
    }
    return QN_OK;
}

/* A value from outside the file, read as YAML. */
static qn_status apply_text(const qn_recipe_source *source, const char *path, const char *text,
                            qn_recipe *recipe)
{
    qn_yaml node = {.kind = QN_YAML_SCALAR, .text = {"", 0}};
    const char *value = *text ? qn_arena_strndup(source->arena, text, strlen(text)) : "";
    if (!value)
        return fail_memory(source);
    if (*value)
        QN_TRY(qn_yaml_read(qn_str_from(value), source->where, source->arena, &node, source->err));
    return apply_path(source, path, &node, recipe);
}

static qn_status apply_settings(const qn_recipe_setting *settings, int count, qn_arena *arena,
                                qn_recipe *recipe, qn_error *err)
{
    for (int i = 0; i < count; i++) {
        const qn_recipe_source source = {
            .where = settings[i].where, .origin = QN_ORIGIN_FLAG, .arena = arena, .err = err};
        QN_TRY(apply_text(&source, settings[i].path, settings[i].value, recipe));
    }
    return QN_OK;
}

/* "train.epochs" -> "QUERN_TRAIN_EPOCHS" */
static void environment_name(const char *path, char dst[64])
{
    int size = snprintf(dst, 64, "QUERN_%s", path);
    for (int i = 0; i < size && i < 63; i++)
        dst[i] = dst[i] == '.' ? '_' : (char)toupper((unsigned char)dst[i]);
}

static qn_status apply_environment(qn_arena *arena, qn_recipe *recipe, qn_error *err)
{
    for (int i = 0; qn_recipe_keys[i].path; i++) {
        char name[64];
        environment_name(qn_recipe_keys[i].path, name);
        const char *text = qn_recipe_keys[i].type == QN_KEY_LATER ? NULL : getenv(name);
        if (!text)
            continue;
        const qn_recipe_source source = {
            .where = name, .origin = QN_ORIGIN_ENVIRONMENT, .arena = arena, .err = err};
        QN_TRY(apply_text(&source, qn_recipe_keys[i].path, text, recipe));
    }
    return QN_OK;
}

static qn_status apply_file(qn_str text, const char *file, qn_arena *arena, qn_recipe *recipe,
                            qn_error *err)
{
    qn_yaml root;
    const qn_recipe_source source = {
        .file = file, .origin = QN_ORIGIN_FILE, .arena = arena, .err = err};
    QN_TRY(qn_yaml_read(text, file, arena, &root, err));
    recipe->file = qn_arena_strndup(arena, file, strlen(file));
    return apply_map(&source, "", &root, recipe);
}

static qn_status check_model(qn_recipe *recipe, qn_error *err)
{
    qn_model_type *type = &recipe->model.type;
    bool layers = recipe->model.layers.count > 0, file = recipe->model.file != NULL;
    if (*type == QN_MODEL_AUTO && (file || layers))
        *type = file ? QN_MODEL_FILE : QN_MODEL_LAYERS;
    if (file && *type != QN_MODEL_FILE)
        return qn_error_set(err, QN_ERR_ARG, recipe->file,
                            "model.file is given and model.type is not 'file'; give one of them");
    if (layers && !file && *type != QN_MODEL_LAYERS)
        return qn_error_set(
            err, QN_ERR_ARG, recipe->file,
            "model.layers is given and model.type is not 'layers'; give one of them");
    if (recipe->model.hidden.count > 0 && *type != QN_MODEL_AUTO && *type != QN_MODEL_MLP)
        return qn_error_set(err, QN_ERR_ARG, recipe->file,
                            "model.hidden is for mlp; model.type is %s", qn_model_type_name(*type));
    if (!layers && *type == QN_MODEL_LAYERS)
        return qn_error_set(err, QN_ERR_ARG, recipe->file,
                            "model.type is layers; model.layers is missing");
    if (!file && *type == QN_MODEL_FILE)
        return qn_error_set(err, QN_ERR_ARG, recipe->file,
                            "model.type is file; model.file is missing");
    if (!file && (recipe->model.output || recipe->model.freeze.count > 0))
        return qn_error_set(err, QN_ERR_ARG, recipe->file,
                            "model.%s is about the network of model.file, which is missing",
                            recipe->model.output ? "output" : "freeze");
    return QN_OK;
}

static qn_status check_split(const qn_recipe *recipe, qn_error *err)
{
    qn_split_by by = recipe->split.by;
    bool needs_key = by == QN_SPLIT_GROUP || by == QN_SPLIT_HASH || by == QN_SPLIT_COLUMN;
    if (needs_key && !recipe->split.key)
        return qn_error_set(err, QN_ERR_ARG, recipe->file,
                            "split.by is group, hash or column; split.key must name the column");
    if (by == QN_SPLIT_TIME && !recipe->split.key && !recipe->data.time)
        return qn_error_set(err, QN_ERR_ARG, recipe->file,
                            "split.by is time; data.time must name the column");
    return QN_OK;
}

/* A name becomes a folder and a part of URLs. */
static qn_status check_name(const qn_recipe *recipe, qn_error *err)
{
    const char *name = recipe->name;
    if (!name || qn_folder_name_check(name))
        return QN_OK;
    return qn_error_set(
        err, QN_ERR_ARG, recipe->file,
        "name is '%.60s'; expected letters, digits, '-', '_' and '.', first a letter "
        "or digit, 128 at most",
        name);
}

static qn_status check_whole(qn_recipe *recipe, qn_error *err)
{
    if (recipe->data.path.count == 0) {
        qn_error_set(err, QN_ERR_ARG, recipe->file,
                     "data.path is missing: which file holds the rows?");
        return qn_error_hint(err, QN_ERR_ARG, "data: {path: sales.csv, target: churn}");
    }
    QN_TRY(check_name(recipe, err));
    QN_TRY(check_model(recipe, err));
    return check_split(recipe, err);
}

/* `text` NULL = no file. */
static qn_status read_recipe(const qn_str *text, const char *file, bool environment,
                             const qn_recipe_setting *settings, int settings_count, qn_arena *arena,
                             qn_recipe *ret, qn_error *err)
{
    qn_recipe recipe = {0};
    QN_TRY(apply_defaults(arena, &recipe, err));
    if (text)
        QN_TRY(apply_file(*text, file, arena, &recipe, err));
    if (environment)
        QN_TRY(apply_environment(arena, &recipe, err));
    QN_TRY(apply_settings(settings, settings_count, arena, &recipe, err));
    QN_TRY(check_whole(&recipe, err));
    *ret = recipe;
    return QN_OK;
}

qn_status qn_recipe_read(const char *path, const qn_recipe_setting *settings, int settings_count,
                         qn_arena *arena, qn_recipe *ret, qn_error *err)
{
    qn_str text;
    if (path)
        QN_TRY(qn_file_read(path, TEXT_MAX, arena, &text, err));
    return read_recipe(path ? &text : NULL, path, true, settings, settings_count, arena, ret, err);
}

qn_status qn_recipe_parse(qn_str text, const char *file, const qn_recipe_setting *settings,
                          int settings_count, qn_arena *arena, qn_recipe *ret, qn_error *err)
{
    return read_recipe(&text, file ? file : "recipe", false, settings, settings_count, arena, ret,
                       err);
}

/* A JSON object whose first key is "quern" or "data". */
static bool is_json_recipe(const char *path)
{
    char head[256];
    FILE *file = fopen(path, "re");
    if (!file)
        return false;
    size_t size = fread(head, 1, sizeof head - 1, file);
    fclose(file);
    head[size] = '\0';
    const char *at = head + strspn(head, " \t\r\n");
    if (*at++ != '{')
        return false;
    at += strspn(at, " \t\r\n");
    return strncmp(at, "\"quern\"", 7) == 0 || strncmp(at, "\"data\"", 6) == 0;
}

bool qn_recipe_is(const char *path)
{
    qn_str name = qn_str_from(path);
    if (qn_str_ends(name, ".yaml") || qn_str_ends(name, ".yml"))
        return true;
    return qn_str_ends(name, ".json") && is_json_recipe(path);
}

void qn_recipe_decided(qn_recipe *recipe, const char *key)
{
    int i = qn_recipe_key_find(qn_str_from(key));
    QN_ASSERT(i >= 0);
    recipe->origins[i] = QN_ORIGIN_DATA;
}

/* Letters, digits, '-' and '_' stay; a name is a folder and a part of URLs. */
const char *qn_recipe_model_name(const qn_recipe *recipe, qn_arena *arena)
{
    if (recipe->name && *recipe->name)
        return recipe->name;
    const char *path = recipe->data.path.count ? recipe->data.path.items[0] : "model";
    size_t size = strlen(path);
    while (size > 1 && path[size - 1] == '/')
        size--;
    size_t start = size;
    while (start > 0 && path[start - 1] != '/')
        start--;
    const char *dot = memchr(path + start + (start < size), '.', size - start - (start < size));
    size_t end = dot ? (size_t)(dot - path) : size;
    char *name = qn_arena_strndup(arena, path + start, end - start);
    if (!name)
        return NULL;
    size_t kept = 0;
    for (size_t i = 0; name[i]; i++)
        if (isalnum((unsigned char)name[i]) || name[i] == '-' || name[i] == '_')
            name[kept++] = name[i];
    name[kept] = '\0';
    return kept ? name : "model";
}
