/*
 * Typed access to a JSON tree, with errors that name the key, what came and what was expected.
 */
#include "base/json.h"

#include <stdio.h>

const qn_json *qn_json_find(const qn_json *object, const char *key)
{
    if (!object || object->kind != QN_JSON_OBJECT)
        return NULL;
    qn_str name = qn_str_from(key);
    for (int64_t i = 0; i < object->count; i++)
        if (qn_str_equal(object->keys[i], name))
            return &object->items[i];
    return NULL;
}

const char *qn_json_kind_name(const qn_json *value)
{
    static const char *const names[] = {
        [QN_JSON_NULL] = "null",
        [QN_JSON_BOOL] = "a boolean",
        [QN_JSON_INT] = "an integer",
        [QN_JSON_FLOAT] = "a number",
        [QN_JSON_STRING] = "a string",
        [QN_JSON_ARRAY] = "an array",
        [QN_JSON_NUMBERS] = "an array of numbers",
        [QN_JSON_OBJECT] = "an object",
    };
    return names[value->kind];
}

/* The value under `key`; NULL with QN_OK when it is absent or null and may be. */
static qn_status find_member(const qn_json *object, const char *key, bool required,
                             const char *expected, const qn_json **ret, qn_error *err)
{
    const qn_json *value = qn_json_find(object, key);
    if (value && value->kind == QN_JSON_NULL && !required)
        value = NULL;
    if (!value && required)
        QN_FAIL(err, QN_ERR_DATA, "\"%s\" is missing; expected %s", key, expected);
    *ret = value;
    return QN_OK;
}

static qn_status fail_kind(qn_error *err, const char *key, const qn_json *value,
                           const char *expected)
{
    char number[33];
    int size = 0;
    if (value->kind == QN_JSON_STRING)
        QN_FAIL(err, QN_ERR_DATA, "\"%s\" is the string \"%.*s\"; expected %s", key,
                value->string.size > 60 ? 60 : (int)value->string.size, value->string.data,
                expected);
    if (value->kind == QN_JSON_FLOAT)
        size = qn_f64_to_text(value->number, number);
    else if (value->kind == QN_JSON_INT)
        size = snprintf(number, sizeof number, "%lld", (long long)value->integer);
    if (size > 0)
        QN_FAIL(err, QN_ERR_DATA, "\"%s\" is %.*s; expected %s", key, size, number, expected);
    QN_FAIL(err, QN_ERR_DATA, "\"%s\" is %s; expected %s", key, qn_json_kind_name(value), expected);
}

qn_status qn_json_get_str(const qn_json *object, const char *key, bool required, qn_str *ret,
                          qn_error *err)
{
    const qn_json *value = NULL;
    QN_TRY(find_member(object, key, required, "a string", &value, err));
    if (!value)
        return QN_OK;
    if (value->kind != QN_JSON_STRING)
        return fail_kind(err, key, value, "a string");
    *ret = value->string;
    return QN_OK;
}

/* An INT, or a FLOAT such as 3.0 that is an exact int64. */
static bool as_i64(const qn_json *value, int64_t *ret)
{
    if (value->kind == QN_JSON_INT) {
        *ret = value->integer;
        return true;
    }
    if (value->kind != QN_JSON_FLOAT || !(value->number >= -0x1p63 && value->number < 0x1p63) ||
        (double)(int64_t)value->number != value->number)
        return false;
    *ret = (int64_t)value->number;
    return true;
}

qn_status qn_json_get_i64(const qn_json *object, const char *key, bool required, int64_t *ret,
                          qn_error *err)
{
    const qn_json *value = NULL;
    int64_t integer;
    QN_TRY(find_member(object, key, required, "an integer", &value, err));
    if (!value)
        return QN_OK;
    if (!as_i64(value, &integer))
        return fail_kind(err, key, value, "an integer");
    *ret = integer;
    return QN_OK;
}

bool qn_json_as_f64(const qn_json *value, double *ret)
{
    if (value->kind == QN_JSON_FLOAT)
        *ret = value->number;
    else if (value->kind == QN_JSON_INT)
        *ret = (double)value->integer;
    else
        return false;
    return true;
}

qn_status qn_json_get_f64(const qn_json *object, const char *key, bool required, double *ret,
                          qn_error *err)
{
    const qn_json *value = NULL;
    double number;
    QN_TRY(find_member(object, key, required, "a number", &value, err));
    if (!value)
        return QN_OK;
    if (!qn_json_as_f64(value, &number))
        return fail_kind(err, key, value, "a number");
    if (value->kind == QN_JSON_INT && (number >= 0x1p63 || (int64_t)number != value->integer))
        return fail_kind(err, key, value, "a number that a double holds exactly");
    *ret = number;
    return QN_OK;
}

qn_status qn_json_get_bool(const qn_json *object, const char *key, bool required, bool *ret,
                           qn_error *err)
{
    const qn_json *value = NULL;
    QN_TRY(find_member(object, key, required, "true or false", &value, err));
    if (!value)
        return QN_OK;
    if (value->kind != QN_JSON_BOOL)
        return fail_kind(err, key, value, "true or false");
    *ret = value->boolean;
    return QN_OK;
}

int64_t qn_json_length(const qn_json *array)
{
    bool has_length = array->kind == QN_JSON_ARRAY || array->kind == QN_JSON_NUMBERS;
    return has_length ? array->count : -1;
}

qn_json qn_json_at(const qn_json *array, int64_t index)
{
    QN_ASSERT(index >= 0 && index < qn_json_length(array));
    if (array->kind == QN_JSON_ARRAY)
        return array->items[index];
    if (array->all_int)
        return (qn_json){
            .kind = QN_JSON_INT, .offset = array->offset, .integer = array->ints[index]};
    return (qn_json){
        .kind = QN_JSON_FLOAT, .offset = array->offset, .number = array->floats[index]};
}
