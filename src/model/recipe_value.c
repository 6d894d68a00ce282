/*
 * One value of a recipe: from a node of the tree to its field with the type of its key, and back to text. Every
 * refusal says the key, what stood there and what was expected.
 */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "model/recipe_priv.h"

typedef struct {
    const qn_recipe_source *source;
    const qn_recipe_key *key;
    const char *label;
    const qn_yaml *node;
} value;

qn_status qn_recipe_fail(const qn_recipe_source *source, const qn_yaml *node, const char *format,
                         ...)
{
    char text[400];
    char where[160];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    if (source->file && node)
        snprintf(where, sizeof where, "%s:%d:%d", source->file, node->line, node->column);
    else
        snprintf(where, sizeof where, "%s", source->file ? source->file : source->where);
    return qn_error_set(source->err, QN_ERR_ARG, where, "%s", text);
}

const char *qn_recipe_suggest(qn_arena *arena, const char *word, const char *const *names,
                              int count)
{
    const char *near = qn_error_nearest(word, names, count);
    const char *text = near ? qn_arena_printf(arena, "; did you mean '%s'?", near) : "";
    return text ? text : "";
}

static qn_status fail_memory(const value *v)
{
    return qn_error_set(v->source->err, QN_ERR_MEMORY, NULL, "no memory for %s", v->label);
}

/* "20", "the text \"20\"", "a list". */
static void describe(const qn_yaml *node, char dst[80])
{
    if (node->kind != QN_YAML_SCALAR)
        snprintf(dst, 80, "%s", node->kind == QN_YAML_LIST ? "a list" : "a map");
    else if (node->quoted)
        snprintf(dst, 80, "the text \"%.50s\"", node->text.data);
    else
        snprintf(dst, 80, "%.60s", node->text.size ? node->text.data : "empty");
}

static qn_status fail_expected(const value *v, const qn_yaml *node, const char *expected)
{
    char got[80];
    describe(node, got);
    return qn_recipe_fail(v->source, node, "%s is %s; expected %s", v->label, got, expected);
}

static bool is_plain(const qn_yaml *node)
{
    return node->kind == QN_YAML_SCALAR && !node->quoted;
}

/* What a number may be: "an integer from 1 to 65536, or auto". */
static qn_status fail_number(const value *v, const qn_yaml *node, const char *kind)
{
    char low[33];
    char high[33];
    char expected[160];
    low[qn_f64_to_text(v->key->low, low)] = '\0';
    high[qn_f64_to_text(v->key->high, high)] = '\0';
    if (v->key->low == v->key->high)
        return fail_expected(v, node, low);
    snprintf(expected, sizeof expected, "%s from %s to %s%s%s", kind, low, high,
             v->key->choices ? ", or " : "", v->key->choices ? v->key->choices : "");
    return fail_expected(v, node, expected);
}

static bool is_auto(const value *v, const qn_yaml *node)
{
    return v->key->choices && is_plain(node) && qn_str_is(node->text, "auto");
}

static qn_status read_int(const value *v, const qn_yaml *node, int64_t *ret)
{
    int64_t number;
    if (!is_plain(node) || !qn_str_to_i64(node->text, &number) || (double)number < v->key->low ||
        (double)number > v->key->high)
        return fail_number(v, node, "an integer");
    *ret = number;
    return QN_OK;
}

static qn_status read_float(const value *v, const qn_yaml *node, double *ret)
{
    double number;
    if (!is_plain(node) || !qn_str_to_f64(node->text, false, &number) || number < v->key->low ||
        number > v->key->high)
        return fail_number(v, node, "a number");
    *ret = number;
    return QN_OK;
}

static qn_status read_bool(const value *v, bool *ret)
{
    static const char *const words[] = {"false", "true", "no", "yes", "off", "on"};
    for (int i = 0; is_plain(v->node) && i < 6; i++)
        if (qn_str_is(v->node->text, words[i])) {
            *ret = i % 2;
            return QN_OK;
        }
    return fail_expected(v, v->node, "true or false");
}

static qn_status read_text(const value *v, const char **ret)
{
    if (v->node->kind != QN_YAML_SCALAR)
        return fail_expected(v, v->node, "a text");
    *ret = qn_yaml_is_null(v->node) ? NULL : v->node->text.data;
    return QN_OK;
}

static qn_status read_texts(const value *v, qn_recipe_texts *ret)
{
    bool list = v->node->kind == QN_YAML_LIST;
    int64_t count = list ? v->node->count : !qn_yaml_is_null(v->node);
    const char **items = QN_NEW(v->source->arena, const char *, count);
    if (!items)
        return fail_memory(v);
    for (int64_t i = 0; i < count; i++) {
        const qn_yaml *item = list ? &v->node->items[i] : v->node;
        if (item->kind != QN_YAML_SCALAR || item->text.size == 0)
            return fail_expected(v, item, "a text or a list of texts");
        items[i] = item->text.data;
    }
    *ret = (qn_recipe_texts){items, count};
    return QN_OK;
}

/* The words of a list as an array of C strings; NULL = memory. */
static const char **split_words(qn_arena *arena, const char *words, int *ret_count)
{
    qn_str word;
    int count = 0;
    while (qn_recipe_word(words, count, &word))
        count++;
    const char **items = QN_NEW(arena, const char *, count);
    for (int i = 0; items && qn_recipe_word(words, i, &word); i++)
        if (!(items[i] = qn_arena_strndup(arena, word.data, word.size)))
            return NULL;
    *ret_count = count;
    return items;
}

static bool has_word(const char *words, qn_str text)
{
    qn_str word;
    for (int i = 0; words && qn_recipe_word(words, i, &word); i++)
        if (qn_str_equal(word, text))
            return true;
    return false;
}

static qn_status fail_choice(const value *v)
{
    char expected[400];
    char got[80];
    int count = 0;
    const qn_yaml *node = v->node;
    const char **words = split_words(v->source->arena, v->key->choices, &count);
    if (!words)
        return fail_memory(v);
    if (node->kind == QN_YAML_SCALAR && has_word(v->key->later, node->text))
        return qn_recipe_fail(v->source, node,
                              "%s is %s, which this version does not have; it has: %s", v->label,
                              node->text.data, v->key->choices);
    for (const qn_recipe_refusal *r = v->key->refusals; r && r->word; r++)
        if (node->kind == QN_YAML_SCALAR && qn_str_is(node->text, r->word))
            return qn_recipe_fail(v->source, node, "%s is %s, %s", v->label, r->word, r->why);
    snprintf(expected, sizeof expected, "one of: %s", v->key->choices);
    describe(node, got);
    const char *near = node->kind == QN_YAML_SCALAR
                           ? qn_recipe_suggest(v->source->arena, node->text.data, words, count)
                           : "";
    return qn_recipe_fail(v->source, node, "%s is %s; expected %s%s", v->label, got, expected,
                          near);
}

/* `given` in split.by is what auto does anyway with a given test part. */
static qn_str choice_text(const value *v)
{
    if (strcmp(v->key->path, "split.by") == 0 && qn_str_is(v->node->text, "given"))
        return QN_STR("auto");
    return v->node->text;
}

static qn_status read_choice(const value *v, int *ret)
{
    qn_str word;
    for (int i = 0; v->node->kind == QN_YAML_SCALAR && qn_recipe_word(v->key->choices, i, &word);
         i++)
        if (qn_str_equal(word, choice_text(v))) {
            *ret = i;
            return QN_OK;
        }
    return fail_choice(v);
}

static qn_status read_word(const value *v, const char **ret)
{
    int index;
    QN_TRY(read_choice(v, &index));
    *ret = v->node->text.data;
    return QN_OK;
}

static qn_status read_ints(const value *v, qn_recipe_integers *ret)
{
    if (v->node->kind != QN_YAML_LIST)
        return fail_expected(v, v->node, "a list of integers, or auto");
    int64_t *items = QN_NEW(v->source->arena, int64_t, v->node->count);
    if (!items)
        return fail_memory(v);
    for (int64_t i = 0; i < v->node->count; i++)
        QN_TRY(read_int(v, &v->node->items[i], &items[i]));
    *ret = (qn_recipe_integers){items, v->node->count};
    return QN_OK;
}

static qn_status read_weight_map(const value *v, qn_recipe_weights *ret)
{
    const qn_yaml *node = v->node;
    const char **labels = QN_NEW(v->source->arena, const char *, node->count);
    double *weights = QN_NEW(v->source->arena, double, node->count);
    if (!labels || !weights)
        return fail_memory(v);
    for (int64_t i = 0; i < node->count; i++) {
        QN_TRY(read_float(v, &node->items[i], &weights[i]));
        labels[i] = node->keys[i].text.data;
    }
    if (node->count == 0)
        return fail_expected(v, node, "at least one label with its weight");
    *ret = (qn_recipe_weights){QN_CLASS_WEIGHT_GIVEN, labels, weights, node->count};
    return QN_OK;
}

static qn_status read_weights(const value *v, qn_recipe_weights *ret)
{
    int index;
    if (v->node->kind == QN_YAML_MAP)
        return read_weight_map(v, ret);
    if (v->node->kind == QN_YAML_LIST)
        return fail_expected(v, v->node, "none, balanced or a map such as {yes: 3}");
    QN_TRY(read_choice(v, &index));
    *ret = (qn_recipe_weights){.kind = (qn_class_weight)index};
    return QN_OK;
}

static qn_status read_parts(const value *v, double *ret)
{
    const char *expected = "three shares that sum to 1, such as [0.7, 0.1, 0.2]";
    double parts[3];
    double sum = 0;
    if (v->node->kind != QN_YAML_LIST || v->node->count != 3)
        return fail_expected(v, v->node, expected);
    for (int i = 0; i < 3; i++) {
        const qn_yaml *item = &v->node->items[i];
        if (!is_plain(item) || !qn_str_to_f64(item->text, false, &parts[i]) || parts[i] < 0 ||
            parts[i] > 1)
            return fail_expected(v, item, expected);
        sum += parts[i];
    }
    if (fabs(sum - 1) > 1e-6 || parts[0] <= 0) {
        char text[33];
        text[qn_f64_to_text(sum, text)] = '\0';
        return qn_recipe_fail(v->source, v->node, "%s sum to %s with %s for training; expected %s",
                              v->label, text, parts[0] > 0 ? "some" : "none", expected);
    }
    memcpy(ret, parts, sizeof parts);
    return QN_OK;
}

/* "p1", "p99.5" or a plain number of percent. */
static bool read_percentile(const qn_yaml *node, double *ret)
{
    if (node->kind != QN_YAML_SCALAR || node->text.size == 0)
        return false;
    qn_str text = node->text;
    if (text.data[0] == 'p')
        text = (qn_str){text.data + 1, text.size - 1};
    return qn_str_to_f64(text, false, ret) && *ret >= 0 && *ret <= 100;
}

static qn_status read_percentiles(const value *v, qn_column_options *ret)
{
    double ends[2] = {0};
    if (qn_yaml_is_null(v->node)) {
        ret->clip = false;
        return QN_OK;
    }
    if (v->node->kind != QN_YAML_LIST || v->node->count != 2 ||
        !read_percentile(&v->node->items[0], &ends[0]) ||
        !read_percentile(&v->node->items[1], &ends[1]) || ends[0] >= ends[1])
        return fail_expected(v, v->node, "two rising percentiles such as [p1, p99]");
    ret->clip = true;
    ret->clip_low = ends[0];
    ret->clip_high = ends[1];
    return QN_OK;
}

static qn_status read_size(const value *v, qn_column_options *ret)
{
    int64_t sides[2] = {0};
    if (v->node->kind != QN_YAML_LIST || v->node->count != 2)
        return fail_expected(v, v->node, "[height, width]");
    for (int i = 0; i < 2; i++)
        QN_TRY(read_int(v, &v->node->items[i], &sides[i]));
    ret->height = sides[0];
    ret->width = sides[1];
    return QN_OK;
}

/* Enums are ints or unsigned ints, as the compiler chose: both take these bytes. */
static qn_status read_enum(const value *v, void *field)
{
    int index;
    QN_TRY(read_choice(v, &index));
    memcpy(field, &index, sizeof index);
    return QN_OK;
}

qn_status qn_recipe_value_read(const qn_recipe_source *source, const qn_recipe_key *key,
                               const char *label, const qn_yaml *node, void *base)
{
    const value v = {source, key, label, node};
    void *field = (char *)base + key->offset;
    bool automatic = is_auto(&v, node);
    switch (key->type) {
    case QN_KEY_INT:
        *(int64_t *)field = QN_AUTO;
        return automatic ? QN_OK : read_int(&v, node, field);
    case QN_KEY_FLOAT:
        *(double *)field = QN_AUTO;
        return automatic ? QN_OK : read_float(&v, node, field);
    case QN_KEY_BOOL:
        return read_bool(&v, field);
    case QN_KEY_TEXT:
        return read_text(&v, field);
    case QN_KEY_TEXTS:
        return read_texts(&v, field);
    case QN_KEY_WORD:
        return read_word(&v, field);
    case QN_KEY_CHOICE:
        return read_enum(&v, field);
    case QN_KEY_INTS:
        *(qn_recipe_integers *)field = (qn_recipe_integers){0};
        return automatic ? QN_OK : read_ints(&v, field);
    case QN_KEY_WEIGHTS:
        return read_weights(&v, field);
    case QN_KEY_PARTS:
        return read_parts(&v, field);
    case QN_KEY_PERCENTILES:
        return read_percentiles(&v, base);
    case QN_KEY_SIZE:
        return read_size(&v, base);
    case QN_KEY_LAYERS:
        return qn_recipe_layers_read(source, node, field);
    case QN_KEY_OPTIONS:
        return qn_recipe_options_read(source, label, node, field);
    case QN_KEY_GROUPS:
        return qn_recipe_groups_read(source, label, node, field);
    case QN_KEY_LATER:
    default:
        return qn_recipe_fail(source, node, "'%s' belongs to recipes, but this version has no %s",
                              label, key->doc);
    }
}

/* Letters, digits and what paths are made of; a word that YAML readers take for something else is quoted. */
static bool is_safe(qn_str text)
{
    static const char *const special[] = {"null", "true", "false", "yes", "no",
                                          "on",   "off",  "y",     "n"};
    double number;
    if (text.size == 0 || qn_str_to_f64(text, true, &number) || strchr("-.*?", text.data[0]))
        return false;
    for (size_t i = 0; i < sizeof special / sizeof *special; i++)
        if (qn_str_equal_nocase(text, qn_str_from(special[i])))
            return false;
    for (size_t i = 0; i < text.size; i++) {
        unsigned char c = (unsigned char)text.data[i];
        bool word = (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z');
        if (!word && !strchr("_-./", c))
            return false;
    }
    return true;
}

/* Bytes of the character at `at` if YAML lets it stand in a text only as an escape, else 0: DEL and the C1 controls,
 * line and paragraph separators (which fold like line ends), the byte order mark, U+FFFE and U+FFFF. Valid UTF-8. */
static size_t unprintable_size(const char *at, unsigned *ret_code)
{
    unsigned char first = (unsigned char)at[0];
    if (first == 0x7f) {
        *ret_code = first;
        return 1;
    }
    if (first == 0xc2 && (unsigned char)at[1] < 0xa0) {
        *ret_code = (unsigned char)at[1];
        return 2;
    }
    if (first != 0xe2 && first != 0xef)
        return 0;
    *ret_code =
        (first & 15U) << 12 | ((unsigned char)at[1] & 63U) << 6 | ((unsigned char)at[2] & 63U);
    bool escape =
        *ret_code == 0x2028 || *ret_code == 0x2029 || *ret_code == 0xfeff || *ret_code >= 0xfffe;
    return escape ? 3 : 0;
}

/* YAML's double quotes read JSON's escapes, and want them for more characters. */
void qn_recipe_text_write(qn_str text, qn_buf *dst)
{
    if (is_safe(text)) {
        qn_buf_str(dst, text);
        return;
    }
    qn_buf json;
    qn_buf_init(&json, 0);
    qn_json_writer w;
    qn_json_write_init(&w, &json);
    qn_json_str(&w, text);
    size_t from = 0;
    for (size_t at = 0; at < json.size;) {
        unsigned code;
        size_t size = unprintable_size(json.data + at, &code);
        if (size) {
            qn_buf_append(dst, json.data + from, at - from);
            qn_buf_printf(dst, "\\u%04x", code);
            from = at + size;
        }
        at += size ? size : 1;
    }
    qn_buf_append(dst, json.data + from, json.size - from);
    dst->failed |= json.failed;
    qn_buf_deinit(&json);
}

static void write_text(const char *text, qn_buf *dst)
{
    if (text)
        qn_recipe_text_write(qn_str_from(text), dst);
    else
        qn_buf_text(dst, "null");
}

static void write_f64(double number, qn_buf *dst)
{
    char text[32];
    if (number == QN_AUTO)
        qn_buf_text(dst, "auto");
    else
        qn_buf_append(dst, text, (size_t)qn_f64_to_text(number, text));
}

static void write_texts(const qn_recipe_texts *texts, qn_buf *dst)
{
    qn_buf_byte(dst, '[');
    for (int64_t i = 0; i < texts->count; i++) {
        qn_buf_text(dst, i ? ", " : "");
        write_text(texts->items[i], dst);
    }
    qn_buf_byte(dst, ']');
}

static void write_ints(const qn_recipe_integers *ints, qn_buf *dst)
{
    if (ints->count == 0) {
        qn_buf_text(dst, "auto");
        return;
    }
    for (int64_t i = 0; i < ints->count; i++)
        qn_buf_printf(dst, "%s%lld", i ? ", " : "[", (long long)ints->items[i]);
    qn_buf_byte(dst, ']');
}

static void write_weights(const qn_recipe_key *key, const qn_recipe_weights *weights, qn_buf *dst)
{
    qn_str word;
    if (weights->kind != QN_CLASS_WEIGHT_GIVEN) {
        if (qn_recipe_word(key->choices, (int)weights->kind, &word))
            qn_buf_str(dst, word);
        return;
    }
    for (int64_t i = 0; i < weights->count; i++) {
        qn_buf_text(dst, i ? ", " : "{");
        write_text(weights->labels[i], dst);
        qn_buf_text(dst, ": ");
        write_f64(weights->items[i], dst);
    }
    qn_buf_byte(dst, '}');
}

static void write_parts(const double *parts, qn_buf *dst)
{
    for (int i = 0; i < 3; i++) {
        qn_buf_text(dst, i ? ", " : "[");
        write_f64(parts[i], dst);
    }
    qn_buf_byte(dst, ']');
}

static void write_percentiles(const qn_column_options *options, qn_buf *dst)
{
    if (!options->clip) {
        qn_buf_text(dst, "null");
        return;
    }
    qn_buf_text(dst, "[p");
    write_f64(options->clip_low, dst);
    qn_buf_text(dst, ", p");
    write_f64(options->clip_high, dst);
    qn_buf_byte(dst, ']');
}

static void write_choice(const qn_recipe_key *key, const void *field, qn_buf *dst)
{
    int index;
    qn_str word = QN_STR("auto");
    memcpy(&index, field, sizeof index);
    qn_recipe_word(key->choices, index, &word);
    qn_buf_str(dst, word);
}

void qn_recipe_value_write(const qn_recipe_key *key, const void *base, qn_buf *dst)
{
    const void *field = (const char *)base + key->offset;
    const qn_column_options *column = base;
    switch (key->type) {
    case QN_KEY_INT:
        if (*(const int64_t *)field == QN_AUTO)
            qn_buf_text(dst, "auto");
        else
            qn_buf_printf(dst, "%lld", (long long)*(const int64_t *)field);
        break;
    case QN_KEY_FLOAT:
        write_f64(*(const double *)field, dst);
        break;
    case QN_KEY_BOOL:
        qn_buf_text(dst, *(const bool *)field ? "true" : "false");
        break;
    case QN_KEY_TEXT:
    case QN_KEY_WORD:
        write_text(*(const char *const *)field, dst);
        break;
    case QN_KEY_TEXTS:
        write_texts(field, dst);
        break;
    case QN_KEY_CHOICE:
        write_choice(key, field, dst);
        break;
    case QN_KEY_INTS:
        write_ints(field, dst);
        break;
    case QN_KEY_WEIGHTS:
        write_weights(key, field, dst);
        break;
    case QN_KEY_PARTS:
        write_parts(field, dst);
        break;
    case QN_KEY_PERCENTILES:
        write_percentiles(column, dst);
        break;
    case QN_KEY_SIZE:
        qn_buf_printf(dst, "[%lld, %lld]", (long long)column->height, (long long)column->width);
        break;
    case QN_KEY_OPTIONS:
        qn_recipe_options_write(field, dst);
        break;
    case QN_KEY_GROUPS:
        qn_recipe_groups_write(field, dst);
        break;
    case QN_KEY_LAYERS:
    case QN_KEY_LATER:
    default:
        break;
    }
}
