/*
 * Reading a layer's attributes from a recipe. Each reader says false when the value is not of its kind or out of
 * range; the message is made in one place.
 */
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "nn/table_priv.h"

static bool in_range(const qn_nn_attr *attr, double value)
{
    return (attr->low >= 0 && attr->high <= 0 && attr->low <= 0) ||
           (value >= attr->low && value <= attr->high);
}

static bool read_int(const qn_nn_attr *attr, const qn_json *value, int64_t *ret)
{
    if (value->kind != QN_JSON_INT || !in_range(attr, (double)value->integer))
        return false;
    *ret = value->integer;
    return true;
}

static bool read_ints(const qn_nn_attr *attr, const qn_json *value, qn_nn_slot *ret)
{
    int64_t length = qn_json_length(value);
    if (length < 1 || length > QN_RANK_MAX)
        return false;
    for (int64_t i = 0; i < length; i++) {
        qn_json item = qn_json_at(value, i);
        if (!read_int(attr, &item, &ret->ints[i]))
            return false;
    }
    ret->count = (int)length;
    return true;
}

/* One number for all of `count`, or a list of so many. */
static bool read_each(const qn_nn_attr *attr, const qn_json *value, int count, qn_nn_slot *ret)
{
    if (qn_json_length(value) >= 0)
        return read_ints(attr, value, ret) && ret->count == count;
    bool read = read_int(attr, value, &ret->ints[0]);
    for (int i = 1; i < count; i++)
        ret->ints[i] = ret->ints[0];
    ret->count = count;
    return read;
}

/* attr->high: dimensions. */
static bool read_padding(const qn_nn_attr *attr, const qn_json *value, qn_nn_slot *ret)
{
    const qn_nn_attr pixels = {.low = 0, .high = 65536};
    int rank = (int)attr->high;
    if (value->kind == QN_JSON_STRING) {
        bool same = qn_str_is(value->string, "same");
        ret->padding = same ? QN_NN_PAD_SAME : QN_NN_PAD_VALID;
        return same || qn_str_is(value->string, "valid");
    }
    ret->padding = QN_NN_PAD_EXPLICIT;
    if (qn_json_length(value) == 2 * (int64_t)rank)
        return read_ints(&pixels, value, ret);
    if (!read_each(&pixels, value, rank, ret))
        return false;
    memcpy(ret->ints + rank, ret->ints,
           (size_t)rank * sizeof *ret->ints); /* the ends as the begins */
    return true;
}

static bool is_word(const char *words, qn_str word)
{
    for (const char *at = words; *at;) {
        size_t span = strcspn(at, " ");
        if (span == word.size && memcmp(at, word.data, span) == 0)
            return true;
        at += span + (at[span] == ' ');
    }
    return false;
}

static bool read_text(const qn_json *value, qn_nn_slot *ret)
{
    if (value->kind != QN_JSON_STRING || value->string.size >= QN_NN_WORD_SIZE)
        return false;
    memcpy(ret->word, value->string.data, value->string.size);
    ret->word[value->string.size] = 0;
    return true;
}

static bool read_choice(const qn_nn_attr *attr, const qn_json *value, qn_nn_slot *ret)
{
    return value->kind == QN_JSON_STRING && is_word(attr->choices, value->string) &&
           read_text(value, ret);
}

/* A list of layers or of rows, or a word where there are such. */
static bool read_list(const qn_nn_attr *attr, const qn_json *value, qn_nn_slot *ret)
{
    bool lists = value->kind == QN_JSON_ARRAY && value->count > 0;
    for (int64_t i = 0; lists && attr->kind == QN_NN_ATTR_ROWS && i < value->count; i++)
        lists = qn_json_length(&value->items[i]) > 0;
    ret->list = lists ? *value : (qn_json){.kind = QN_JSON_NULL};
    return lists || (attr->choices && read_choice(attr, value, ret));
}

static bool read_indices(const qn_nn_attr *attr, const qn_json *value, qn_nn_slot *ret)
{
    enum { INDICES_MAX = 1 << 16 };
    bool whole = value->kind == QN_JSON_NUMBERS && value->all_int && value->count <= INDICES_MAX;
    for (int64_t i = 0; whole && i < value->count; i++)
        whole = in_range(attr, (double)value->ints[i]);
    ret->list = *value;
    return whole;
}

static bool read_units(const qn_nn_attr *attr, const qn_json *value, int64_t units_auto,
                       qn_nn_slot *ret)
{
    if (value->kind != QN_JSON_STRING)
        return read_int(attr, value, &ret->i);
    ret->i = units_auto;
    return qn_str_is(value->string, "auto") && units_auto > 0;
}

static bool read_value(const qn_nn_attr *attr, const qn_json *value, int64_t units_auto,
                       qn_nn_slot *ret)
{
    switch (attr->kind) {
    case QN_NN_ATTR_INT:
        return read_each(attr, value, 1, ret) && read_int(attr, value, &ret->i);
    case QN_NN_ATTR_FLOAT:
        return (qn_json_as_f64(value, &ret->f) && in_range(attr, ret->f)) ||
               (attr->choices && read_choice(attr, value, ret));
    case QN_NN_ATTR_BOOL:
        ret->i = value->kind == QN_JSON_BOOL && value->boolean;
        return value->kind == QN_JSON_BOOL;
    case QN_NN_ATTR_CHOICE:
        return read_choice(attr, value, ret);
    case QN_NN_ATTR_TEXT:
        return read_text(value, ret);
    case QN_NN_ATTR_PAIR:
        return read_each(attr, value, 2, ret);
    case QN_NN_ATTR_TRIPLE:
        return read_each(attr, value, 3, ret);
    case QN_NN_ATTR_PADDING:
        return read_padding(attr, value, ret);
    case QN_NN_ATTR_LAYERS:
    case QN_NN_ATTR_ROWS:
        return read_list(attr, value, ret);
    case QN_NN_ATTR_INTS:
        return read_ints(attr, value, ret);
    case QN_NN_ATTR_INDICES:
        return read_indices(attr, value, ret);
    case QN_NN_ATTR_UNITS:
        return read_units(attr, value, units_auto, ret);
    }
    return false;
}

/* What the attribute takes, in words. */
static void expectation(const qn_nn_attr *attr, char *dst, size_t size)
{
    static const char *const kinds[] = {
        [QN_NN_ATTR_INT] = "an integer",
        [QN_NN_ATTR_FLOAT] = "a number",
        [QN_NN_ATTR_BOOL] = "true or false",
        [QN_NN_ATTR_CHOICE] = "a word",
        [QN_NN_ATTR_TEXT] = "a text of up to 63 bytes",
        [QN_NN_ATTR_PAIR] = "an integer or [height, width]",
        [QN_NN_ATTR_TRIPLE] = "an integer or [depth, height, width]",
        [QN_NN_ATTR_LAYERS] = "a list of layers",
        [QN_NN_ATTR_ROWS] = "rows of 0 and 1, such as [[1, 0], [1, 1]]",
        [QN_NN_ATTR_INTS] = "a list of up to 8 integers",
        [QN_NN_ATTR_INDICES] = "a list of up to 65536 integers",
        [QN_NN_ATTR_UNITS] = "an integer or auto",
    };
    const char *kind = attr->kind == QN_NN_ATTR_PADDING ? attr->doc : kinds[attr->kind];
    if (attr->kind == QN_NN_ATTR_CHOICE)
        snprintf(dst, size, "one of %s", attr->choices);
    else if (attr->choices && attr->kind != QN_NN_ATTR_FLOAT)
        snprintf(dst, size, "%s or %s%s", kind, strchr(attr->choices, ' ') ? "one of " : "",
                 attr->choices);
    else if (attr->low < attr->high && attr->kind != QN_NN_ATTR_PADDING)
        snprintf(dst, size, "%s from %.15g to %.15g", kind, attr->low, attr->high);
    else
        snprintf(dst, size, "%s", kind);
}

/* "; did you mean 'softmax'?" for a word of a choice that is almost one, or nothing. */
static void suggest(const qn_nn_attr *attr, const qn_json *value, char dst[96])
{
    enum { WORDS_MAX = 64 };
    char words[1024], got[QN_NN_WORD_SIZE];
    const char *names[WORDS_MAX];
    int count = 0;
    dst[0] = '\0';
    if (!attr->choices || value->kind != QN_JSON_STRING)
        return;
    snprintf(words, sizeof words, "%s", attr->choices);
    snprintf(got, sizeof got, "%.*s", QN_STR_ARG(value->string));
    for (char *at = words; *at && count < WORDS_MAX;) {
        size_t span = strcspn(at, " ");
        bool more = at[span] != '\0';
        at[span] = '\0';
        names[count++] = at;
        at += span + more;
    }
    const char *nearest = qn_error_nearest(got, names, count);
    if (nearest)
        snprintf(dst, 96, "; did you mean '%s'?", nearest);
}

static qn_status fail_value(const char *label, const qn_nn_attr *attr, const qn_json *value,
                            qn_error *err)
{
    char want[400], near[96];
    qn_json_writer writer;
    qn_buf came = {0};
    qn_buf_init(&came, 256);
    qn_json_write_init(&writer, &came);
    qn_json_value(&writer, value);
    expectation(attr, want, sizeof(want));
    suggest(attr, value, near);
    qn_status status = qn_error_set(err, QN_ERR_ARG, NULL, "%s: '%s' is %.*s, expected %s%s", label,
                                    attr->name, came.data ? (int)came.size : 0,
                                    came.data ? (const char *)came.data : "", want, near);
    qn_buf_deinit(&came);
    return status;
}

/* The default, written as the recipe would. */
static qn_json fallback_value(const char *text)
{
    qn_json value = {.kind = QN_JSON_STRING, .string = qn_str_from(text)};
    if (strcmp(text, "true") == 0 || strcmp(text, "false") == 0)
        return (qn_json){.kind = QN_JSON_BOOL, .boolean = text[0] == 't'};
    int64_t integer = 0;
    double number = 0;
    if (qn_str_to_i64(value.string, &integer))
        return (qn_json){.kind = QN_JSON_INT, .integer = integer};
    if (qn_str_to_f64(value.string, false, &number))
        return (qn_json){.kind = QN_JSON_FLOAT, .number = number};
    return value;
}

qn_status qn_nn_fail_unknown(const char *what, qn_str word, const char *const *names, int count,
                             const char *label, qn_error *err)
{
    char text[64];
    snprintf(text, sizeof(text), "%.*s", QN_STR_ARG(word));
    const char *nearest = qn_error_nearest(text, names, count);
    if (nearest)
        QN_FAIL(err, QN_ERR_ARG, "%s: unknown %s '%s'; did you mean '%s'?", label, what, text,
                nearest);
    QN_FAIL(err, QN_ERR_ARG, "%s: unknown %s '%s'", label, what, text);
}

static qn_status check_keys(const char *label, const qn_nn_layer *layer, const qn_json *attrs,
                            qn_error *err)
{
    const char *names[QN_NN_ATTRS_MAX];
    int count = 0;
    while (layer->attrs[count].name) {
        names[count] = layer->attrs[count].name;
        count++;
    }
    if (attrs->kind == QN_JSON_NULL)
        return QN_OK;
    if (attrs->kind != QN_JSON_OBJECT)
        QN_FAIL(err, QN_ERR_ARG, "%s: %s, expected its attributes as {name: value}", label,
                qn_json_kind_name(attrs));
    for (int64_t i = 0; i < attrs->count; i++) {
        bool known = false;
        for (int k = 0; k < count; k++)
            known = known || qn_str_is(attrs->keys[i], names[k]);
        if (!known)
            return qn_nn_fail_unknown("attribute", attrs->keys[i], names, count, label, err);
    }
    return QN_OK;
}

qn_status qn_nn_slots_read(const char *label, const qn_nn_layer *layer, const qn_json *attrs,
                           int64_t units_auto, qn_nn_slot *slots, qn_error *err)
{
    QN_TRY(check_keys(label, layer, attrs, err));
    for (int i = 0; layer->attrs[i].name; i++) {
        const qn_nn_attr *attr = &layer->attrs[i];
        const qn_json *given = qn_json_find(attrs, attr->name);
        if (!given && attr->required)
            QN_FAIL(err, QN_ERR_ARG, "%s needs '%s': %s", label, attr->name, attr->doc);
        qn_json value = given ? *given : fallback_value(attr->fallback);
        if (!read_value(attr, &value, units_auto, &slots[i]))
            return fail_value(label, attr, &value, err);
    }
    return QN_OK;
}
