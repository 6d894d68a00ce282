/*
 * `train.options` and `train.groups`: maps of the recipe whose keys are an optimiser's options and what a group of parameters
 * has of its own.
 */
#include <string.h>

#include "model/recipe_priv.h"

enum { NAMES_MAX = 32, GROUPS_MAX = 64 };

static const char *const group_keys[] = {"match", "lr", "weight_decay", "freeze"};

static qn_status fail_memory(const qn_recipe_source *source, const char *label)
{
    return qn_error_set(source->err, QN_ERR_MEMORY, NULL, "no memory for %s", label);
}

static qn_status fail_key(const qn_recipe_source *source, const qn_yaml *key, const char *label,
                          const char *const *names, int count)
{
    return qn_recipe_fail(source, key, "%s has no '%.60s'%s", label, key->text.data,
                          qn_recipe_suggest(source->arena, key->text.data, names, count));
}

/* A number, or true and false as 1 and 0. */
static bool read_number(const qn_yaml *node, double *ret)
{
    if (node->kind != QN_YAML_SCALAR || node->quoted)
        return false;
    bool yes = qn_str_is(node->text, "true"), no = qn_str_is(node->text, "false");
    if (yes || no) {
        *ret = yes;
        return true;
    }
    return qn_str_to_f64(node->text, false, ret);
}

static const char *find_option(qn_str text, const char **names, int *ret_count)
{
    const char *found = NULL;
    int count = 0;
    for (; count < NAMES_MAX && qn_nn_optimizer_option_at(count); count++) {
        names[count] = qn_nn_optimizer_option_at(count);
        if (qn_str_is(text, names[count]))
            found = names[count];
    }
    *ret_count = count;
    return found;
}

qn_status qn_recipe_options_read(const qn_recipe_source *source, const char *label,
                                 const qn_yaml *node, qn_recipe_options *ret)
{
    const char *names[NAMES_MAX];
    int count;
    if (node->kind != QN_YAML_MAP && !qn_yaml_is_null(node))
        return qn_recipe_fail(source, node, "%s is a map such as {beta1: 0.95}", label);
    int64_t items_count = node->kind == QN_YAML_MAP ? node->count : 0;
    qn_recipe_option *items = QN_NEW(source->arena, qn_recipe_option, items_count + 1);
    if (!items)
        return fail_memory(source, label);
    for (int64_t i = 0; i < items_count; i++) {
        items[i].name = find_option(node->keys[i].text, names, &count);
        if (!items[i].name)
            return fail_key(source, &node->keys[i], label, names, count);
        if (!read_number(&node->items[i], &items[i].value))
            return qn_recipe_fail(source, &node->items[i], "%s.%s is no number", label,
                                  items[i].name);
    }
    *ret = (qn_recipe_options){items, items_count};
    return QN_OK;
}

static qn_status read_group_number(const qn_recipe_source *source, const char *name,
                                   const qn_yaml *node, double *ret)
{
    if (!read_number(node, ret) || !(*ret >= 0 && *ret <= 1000))
        return qn_recipe_fail(source, node, "%s of a group is a number from 0 to 1000", name);
    return QN_OK;
}

static qn_status read_group(const qn_recipe_source *source, const char *label, const qn_yaml *node,
                            qn_recipe_group *ret)
{
    qn_recipe_group group = {.lr = QN_AUTO, .weight_decay = QN_AUTO};
    if (node->kind != QN_YAML_MAP)
        return qn_recipe_fail(source, node,
                              "%s is a list of maps such as {match: \"*.bias\", "
                              "weight_decay: 0}",
                              label);
    for (int64_t i = 0; i < node->count; i++) {
        const qn_yaml *key = &node->keys[i], *value = &node->items[i];
        double number = 0;
        if (qn_str_is(key->text, "match") && value->kind == QN_YAML_SCALAR) {
            group.match = value->text.data;
        } else if (qn_str_is(key->text, "lr")) {
            QN_TRY(read_group_number(source, "lr", value, &group.lr));
        } else if (qn_str_is(key->text, "weight_decay")) {
            QN_TRY(read_group_number(source, "weight_decay", value, &group.weight_decay));
        } else if (qn_str_is(key->text, "freeze")) {
            if (!read_number(value, &number))
                return qn_recipe_fail(source, value, "freeze is true or false");
            group.freeze = number > 0;
        } else {
            return fail_key(source, key, label, group_keys, 4);
        }
    }
    if (!group.match || !group.match[0])
        return qn_recipe_fail(source, node,
                              "a group of %s has no 'match', a pattern of names of "
                              "weights",
                              label);
    *ret = group;
    return QN_OK;
}

qn_status qn_recipe_groups_read(const qn_recipe_source *source, const char *label,
                                const qn_yaml *node, qn_recipe_groups *ret)
{
    bool none = qn_yaml_is_null(node);
    if (!none && (node->kind != QN_YAML_LIST || node->count > GROUPS_MAX))
        return qn_recipe_fail(source, node, "%s is a list of at most %d groups", label,
                              (int)GROUPS_MAX);
    int64_t count = none ? 0 : node->count;
    qn_recipe_group *items = QN_NEW(source->arena, qn_recipe_group, count + 1);
    if (!items)
        return fail_memory(source, label);
    for (int64_t i = 0; i < count; i++)
        QN_TRY(read_group(source, label, &node->items[i], &items[i]));
    *ret = (qn_recipe_groups){items, count};
    return QN_OK;
}

static void write_number(double number, qn_buf *dst)
{
    char text[32];
    qn_buf_append(dst, text, (size_t)qn_f64_to_text(number, text));
}

void qn_recipe_options_write(const qn_recipe_options *options, qn_buf *dst)
{
    qn_buf_byte(dst, '{');
    for (int64_t i = 0; i < options->count; i++) {
        qn_buf_printf(dst, "%s%s: ", i ? ", " : "", options->items[i].name);
        write_number(options->items[i].value, dst);
    }
    qn_buf_byte(dst, '}');
}

void qn_recipe_groups_write(const qn_recipe_groups *groups, qn_buf *dst)
{
    qn_buf_byte(dst, '[');
    for (int64_t i = 0; i < groups->count; i++) {
        const qn_recipe_group *group = &groups->items[i];
        qn_buf_text(dst, i ? ", {match: " : "{match: ");
        qn_recipe_text_write(qn_str_from(group->match), dst);
        if (group->lr >= 0) {
            qn_buf_text(dst, ", lr: ");
            write_number(group->lr, dst);
        }
        if (group->weight_decay >= 0) {
            qn_buf_text(dst, ", weight_decay: ");
            write_number(group->weight_decay, dst);
        }
        qn_buf_text(dst, group->freeze ? ", freeze: true}" : "}");
    }
    qn_buf_byte(dst, ']');
}

static void write_property(qn_json_writer *w, const char *name, const char *type, const char *doc)
{
    qn_json_key(w, name);
    qn_json_object_begin(w);
    qn_json_key(w, "type");
    qn_json_text(w, type);
    if (doc) {
        qn_json_key(w, "description");
        qn_json_text(w, doc);
    }
    qn_json_object_end(w);
}

static void begin_map(qn_json_writer *w)
{
    qn_json_key(w, "type");
    qn_json_text(w, "object");
    qn_json_key(w, "additionalProperties");
    qn_json_bool(w, false);
    qn_json_key(w, "properties");
    qn_json_object_begin(w);
}

void qn_recipe_options_schema(qn_json_writer *w)
{
    begin_map(w);
    for (int i = 0; qn_nn_optimizer_option_at(i); i++)
        write_property(w, qn_nn_optimizer_option_at(i), "number", NULL);
    qn_json_object_end(w);
}

void qn_recipe_groups_schema(qn_json_writer *w)
{
    qn_json_key(w, "type");
    qn_json_text(w, "array");
    qn_json_key(w, "items");
    qn_json_object_begin(w);
    begin_map(w);
    write_property(w, "match", "string", "names of weights; * stands for any text");
    write_property(w, "lr", "number", "their own peak learning rate");
    write_property(w, "weight_decay", "number", "their own pull towards 0");
    write_property(w, "freeze", "boolean", "they stay as they are");
    qn_json_object_end(w);
    qn_json_object_end(w);
}
