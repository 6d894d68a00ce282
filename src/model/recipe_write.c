/*
 * Writing a recipe: the complete one that reading again gives the same run, with or without comments, and the
 * list of origins.
 */
#include <string.h>

#include "model/recipe_priv.h"

enum { COMMENT_COLUMN = 34 };

/* Keys that say nothing when they are absent or belong to another choice. */
static bool is_left_out(const qn_recipe *recipe, const qn_recipe_key *key)
{
    const void *field = (const char *)recipe + key->offset;
    switch (key->type) {
    case QN_KEY_LATER:
        return true;
    case QN_KEY_TEXT:
        return *(const char *const *)field == NULL;
    case QN_KEY_TEXTS:
        return ((const qn_recipe_texts *)field)->count == 0;
    case QN_KEY_LAYERS:
        return ((const qn_json *)field)->count == 0;
    default:
        return false;
    }
}

static void write_comment(const qn_recipe_key *key, size_t line_size, qn_buf *dst)
{
    char low[33];
    char high[33];
    int pad = line_size < COMMENT_COLUMN ? (int)(COMMENT_COLUMN - line_size) : 1;
    qn_buf_printf(dst, "%*s# %s", pad, "", key->doc);
    bool number = key->type == QN_KEY_INT || key->type == QN_KEY_FLOAT;
    if (number && key->high > key->low && key->high < 1e6) {
        low[qn_f64_to_text(key->low, low)] = '\0';
        high[qn_f64_to_text(key->high, high)] = '\0';
        qn_buf_printf(dst, "; %s to %s%s", low, high, key->choices ? " or auto" : "");
    } else if (key->choices && (key->type == QN_KEY_CHOICE || key->type == QN_KEY_WORD ||
                                key->type == QN_KEY_WEIGHTS)) {
        qn_buf_printf(dst, " (%s)", key->choices);
    }
}

static void write_key(const qn_recipe *recipe, const qn_recipe_key *key, const char *name,
                      bool commented, int indent, qn_buf *dst)
{
    size_t start = dst->size;
    bool left_out = is_left_out(recipe, key);
    if (key->type == QN_KEY_LATER || (left_out && !commented))
        return;
    qn_buf_printf(dst, "%*s%s%s:", indent, "", left_out ? "# " : "", name);
    if (!left_out && key->type != QN_KEY_LAYERS) {
        qn_buf_byte(dst, ' ');
        qn_recipe_value_write(key, recipe, dst);
    }
    if (commented)
        write_comment(key, dst->size - start, dst);
    qn_buf_byte(dst, '\n');
    if (!left_out && key->type == QN_KEY_LAYERS)
        qn_recipe_layers_write(&recipe->model.layers, indent + 2, dst);
}

static bool has_keys(const qn_recipe *recipe, const char *section)
{
    const char *name;
    for (const qn_recipe_key *key = qn_recipe_keys; key->path; key++)
        if (qn_recipe_key_in(key, section, &name) && !is_left_out(recipe, key))
            return true;
    return false;
}

/* {type: number, missing: median}: what belongs to the column's type. */
static void write_column(const qn_column_options *column, qn_buf *dst)
{
    bool dropped = column->drop || column->type == QN_TYPE_DROP;
    qn_buf_text(dst, "  ");
    qn_recipe_text_write(column->name, dst);
    if (dropped) {
        qn_buf_text(dst, ": {drop: true}\n");
        return;
    }
    qn_buf_text(dst, ": {");
    bool first = true;
    for (const qn_recipe_key *key = qn_recipe_column_keys; key->path; key++) {
        bool belongs = key->type != QN_KEY_LATER && (key->types >> column->type & 1) &&
                       strcmp(key->path, "drop") != 0 &&
                       !(key->type == QN_KEY_SIZE && column->height == 0);
        if (!belongs)
            continue;
        qn_buf_printf(dst, "%s%s: ", first ? "" : ", ", key->path);
        qn_recipe_value_write(key, column, dst);
        first = false;
    }
    qn_buf_text(dst, "}\n");
}

static void write_columns(const qn_recipe *recipe, const qn_recipe_section *section, bool commented,
                          qn_buf *dst)
{
    if (recipe->columns_count == 0 && !commented)
        return;
    if (commented)
        qn_buf_printf(dst, "\n# %s\n", section->doc);
    qn_buf_text(dst, recipe->columns_count ? "columns:\n" : "columns: {}\n");
    for (int64_t i = 0; i < recipe->columns_count; i++)
        write_column(&recipe->columns[i], dst);
}

static void write_section(const qn_recipe *recipe, const qn_recipe_section *section, bool commented,
                          qn_buf *dst)
{
    const char *name;
    bool top = section->name[0] == '\0';
    bool empty = !top && !has_keys(recipe, section->name);
    if (empty && !commented)
        return;
    if (commented && section->doc)
        qn_buf_printf(dst, "\n# %s\n", section->doc);
    if (!top)
        qn_buf_printf(dst, "%s%s:\n", empty ? "# " : "", section->name);
    for (const qn_recipe_key *key = qn_recipe_keys; key->path; key++)
        if (qn_recipe_key_in(key, section->name, &name))
            write_key(recipe, key, name, commented, top ? 0 : 2, dst);
}

void qn_recipe_write(const qn_recipe *recipe, bool commented, qn_buf *dst)
{
    for (const qn_recipe_section *section = qn_recipe_sections; section->name; section++) {
        if (strcmp(section->name, "columns") == 0)
            write_columns(recipe, section, commented, dst);
        else
            write_section(recipe, section, commented, dst);
    }
}

void qn_recipe_write_origins(const qn_recipe *recipe, qn_buf *dst)
{
    static const char *const names[] = {"default", "recipe", "environment", "flag", "data"};
    for (int i = 0; qn_recipe_keys[i].path; i++) {
        const qn_recipe_key *key = &qn_recipe_keys[i];
        if (is_left_out(recipe, key))
            continue;
        size_t start = dst->size;
        qn_buf_printf(dst, "%s: ", key->path);
        if (key->type == QN_KEY_LAYERS)
            qn_buf_printf(dst, "[%lld layers]", (long long)recipe->model.layers.count);
        else
            qn_recipe_value_write(key, recipe, dst);
        size_t size = dst->size - start;
        int pad = size < COMMENT_COLUMN ? (int)(COMMENT_COLUMN - size) : 1;
        qn_buf_printf(dst, "%*s# %s\n", pad, "", names[recipe->origins[i]]);
    }
    for (int64_t i = 0; i < recipe->columns_count; i++) {
        qn_buf_text(dst, "columns.");
        qn_recipe_text_write(recipe->columns[i].name, dst);
        qn_buf_text(dst, ": given\n");
    }
}
