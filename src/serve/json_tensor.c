/*
 * Nested JSON arrays as tensors and back. The reader packs runs of numbers (QN_JSON_NUMBERS), so a large tensor is a
 * few memory copies here.
 */
#include "oip.h"

#include "base/error.h"

static bool is_array(const qn_json *value)
{
    return value->kind == QN_JSON_ARRAY || value->kind == QN_JSON_NUMBERS;
}

qn_status qn_json_tensor_shape(const qn_json *value, const char *name, qn_shape *ret, qn_error *err)
{
    qn_shape shape = {0};
    while (is_array(value)) {
        if (shape.rank == QN_RANK_MAX)
            QN_FAIL(err, QN_ERR_ARG, "%s: arrays nest deeper than %d", name, QN_RANK_MAX);
        shape.dims[shape.rank++] = value->count;
        if (value->kind == QN_JSON_NUMBERS || value->count == 0)
            break;
        value = &value->items[0];
    }
    *ret = shape;
    return QN_OK;
}

/* Is every array at this level as long as the shape says? Depth is bounded by QN_RANK_MAX. */
static qn_status check_nesting(const qn_json *value, const char *name, const qn_shape *shape,
                               int level, qn_error *err)
{
    if (level == shape->rank) {
        if (is_array(value))
            QN_FAIL(err, QN_ERR_ARG, "%s: some elements are arrays and others are not", name);
        return QN_OK;
    }
    if (!is_array(value))
        QN_FAIL(err, QN_ERR_ARG, "%s: some elements are arrays and others are not", name);
    if (value->count != shape->dims[level])
        QN_FAIL(err, QN_ERR_ARG, "%s: arrays of one level have %lld and %lld elements", name,
                (long long)shape->dims[level], (long long)value->count);
    if (value->kind == QN_JSON_NUMBERS) {
        if (level + 1 != shape->rank)
            QN_FAIL(err, QN_ERR_ARG, "%s: some elements are arrays and others are not", name);
        return QN_OK;
    }
    for (int64_t i = 0; i < value->count; i++)
        QN_TRY(check_nesting(&value->items[i], name, shape, level + 1, err));
    return QN_OK;
}

int64_t qn_json_tensor_count(const qn_json *value)
{
    if (!is_array(value))
        return 1;
    if (value->kind == QN_JSON_NUMBERS)
        return value->count;
    int64_t sum = 0;
    for (int64_t i = 0; i < value->count; i++)
        sum += qn_json_tensor_count(&value->items[i]);
    return sum;
}

/* ---- numbers ---- */

typedef struct {
    double low, high; /* of integers; equal = not an integer type */
} range;

static range range_of(qn_dtype dtype)
{
    switch (dtype) {
    case QN_DTYPE_I8:
        return (range){-128, 127};
    case QN_DTYPE_I16:
        return (range){-32768, 32767};
    case QN_DTYPE_I32:
        return (range){-2147483648.0, 2147483647.0};
    case QN_DTYPE_I64:
        return (range){-9223372036854775808.0, 9223372036854774784.0};
    case QN_DTYPE_U8:
        return (range){0, 255};
    case QN_DTYPE_U16:
        return (range){0, 65535};
    case QN_DTYPE_U32:
        return (range){0, 4294967295.0};
    case QN_DTYPE_U64:
        return (range){0, 9223372036854774784.0};
    case QN_DTYPE_BOOL:
        return (range){0, 1};
    default:
        return (range){0, 0};
    }
}

static void store_int(qn_dtype dtype, void *dst, int64_t at, int64_t value)
{
    switch (dtype) {
    case QN_DTYPE_I8:
        ((int8_t *)dst)[at] = (int8_t)value;
        break;
    case QN_DTYPE_I16:
        ((int16_t *)dst)[at] = (int16_t)value;
        break;
    case QN_DTYPE_I32:
        ((int32_t *)dst)[at] = (int32_t)value;
        break;
    case QN_DTYPE_I64:
        ((int64_t *)dst)[at] = value;
        break;
    case QN_DTYPE_U8:
    case QN_DTYPE_BOOL:
        ((uint8_t *)dst)[at] = (uint8_t)value;
        break;
    case QN_DTYPE_U16:
        ((uint16_t *)dst)[at] = (uint16_t)value;
        break;
    case QN_DTYPE_U32:
        ((uint32_t *)dst)[at] = (uint32_t)value;
        break;
    default:
        ((uint64_t *)dst)[at] = (uint64_t)value;
        break;
    }
}

static qn_status store(const char *name, qn_dtype dtype, void *dst, int64_t at, double value,
                       const int64_t *exact, qn_error *err)
{
    if (dtype == QN_DTYPE_F32) {
        ((float *)dst)[at] = (float)value;
        return QN_OK;
    }
    if (dtype == QN_DTYPE_F64) {
        ((double *)dst)[at] = value;
        return QN_OK;
    }
    range limits = range_of(dtype);
    bool inside = value >= limits.low && value <= limits.high;
    if (exact && (dtype == QN_DTYPE_I64 || (dtype == QN_DTYPE_U64 && *exact >= 0)))
        inside = true;
    if (limits.low == limits.high)
        QN_FAIL(err, QN_ERR_ARG, "%s: %s does not come as JSON, send it as binary data", name,
                qn_dtype_oip(dtype));
    if (!inside || (!exact && value != (double)(int64_t)value))
        QN_FAIL(err, QN_ERR_ARG, "%s: element %lld is %g, expected a whole number that fits %s",
                name, (long long)at, value, qn_dtype_oip(dtype));
    store_int(dtype, dst, at, exact ? *exact : (int64_t)value);
    return QN_OK;
}

static qn_status fill_packed(const qn_json *value, const char *name, qn_dtype dtype, void *dst,
                             int64_t at, qn_error *err)
{
    if (dtype == QN_DTYPE_F32) {
        float *to = (float *)dst + at;
        for (int64_t i = 0; i < value->count; i++)
            to[i] = value->all_int ? (float)value->ints[i] : (float)value->floats[i];
        return QN_OK;
    }
    for (int64_t i = 0; i < value->count; i++) {
        if (value->all_int)
            QN_TRY(store(name, dtype, dst, at + i, (double)value->ints[i], &value->ints[i], err));
        else
            QN_TRY(store(name, dtype, dst, at + i, value->floats[i], NULL, err));
    }
    return QN_OK;
}

static qn_status fill(const qn_json *value, const char *name, qn_dtype dtype, void *dst,
                      int64_t *at, qn_error *err)
{
    switch (value->kind) {
    case QN_JSON_NUMBERS:
        QN_TRY(fill_packed(value, name, dtype, dst, *at, err));
        *at += value->count;
        return QN_OK;
    case QN_JSON_ARRAY:
        for (int64_t i = 0; i < value->count; i++)
            QN_TRY(fill(&value->items[i], name, dtype, dst, at, err));
        return QN_OK;
    case QN_JSON_INT:
        return store(name, dtype, dst, (*at)++, (double)value->integer, &value->integer, err);
    case QN_JSON_FLOAT:
        return store(name, dtype, dst, (*at)++, value->number, NULL, err);
    case QN_JSON_BOOL: {
        int64_t number = value->boolean;
        return store(name, dtype, dst, (*at)++, (double)number, &number, err);
    }
    default:
        QN_FAIL(err, QN_ERR_ARG, "%s: element %lld is %s, expected a number", name, (long long)*at,
                qn_json_kind_name(value));
    }
}

qn_status qn_json_tensor_fill(const qn_json *value, const char *name, qn_dtype dtype, void *dst,
                              qn_error *err)
{
    qn_shape shape;
    int64_t at = 0;
    QN_TRY(qn_json_tensor_shape(value, name, &shape, err));
    QN_TRY(check_nesting(value, name, &shape, 0, err));
    return fill(value, name, dtype, dst, &at, err);
}

bool qn_json_tensor_is_bytes(const qn_json *value)
{
    switch (value->kind) {
    case QN_JSON_NUMBERS:
        for (int64_t i = 0; i < value->count; i++)
            if (!value->all_int || value->ints[i] < 0 || value->ints[i] > 255)
                return false;
        return true;
    case QN_JSON_ARRAY:
        for (int64_t i = 0; i < value->count; i++)
            if (!qn_json_tensor_is_bytes(&value->items[i]))
                return false;
        return true;
    case QN_JSON_INT:
        return value->integer >= 0 && value->integer <= 255;
    default:
        return false;
    }
}

/* ---- strings ---- */

static qn_status text_of(const qn_json *value, const char *name, int64_t at, qn_arena *arena,
                         qn_str *ret, qn_error *err)
{
    if (value->kind == QN_JSON_STRING) {
        *ret = value->string;
        return QN_OK;
    }
    const qn_json *coded = qn_json_find(value, "b64");
    if (!coded || coded->kind != QN_JSON_STRING || value->count != 1)
        QN_FAIL(err, QN_ERR_ARG, "%s: element %lld is %s, expected a string or {\"b64\": ...}",
                name, (long long)at, qn_json_kind_name(value));
    ret->data = qn_b64_decode(coded->string, arena, &ret->size);
    if (!ret->data)
        QN_FAIL(err, QN_ERR_ARG, "%s: element %lld is not base64", name, (long long)at);
    return QN_OK;
}

static qn_status texts(const qn_json *value, const char *name, qn_arena *arena, qn_str *dst,
                       int64_t *at, qn_error *err)
{
    if (value->kind == QN_JSON_NUMBERS)
        QN_FAIL(err, QN_ERR_ARG, "%s: element %lld is a number, expected a string", name,
                (long long)*at);
    if (value->kind != QN_JSON_ARRAY) {
        QN_TRY(text_of(value, name, *at, arena, &dst[*at], err));
        ++*at;
        return QN_OK;
    }
    for (int64_t i = 0; i < value->count; i++)
        QN_TRY(texts(&value->items[i], name, arena, dst, at, err));
    return QN_OK;
}

qn_status qn_json_tensor_texts(const qn_json *value, const char *name, qn_arena *arena, qn_str *dst,
                               qn_error *err)
{
    int64_t at = 0;
    return texts(value, name, arena, dst, &at, err);
}

/* ---- writing ---- */

static void write_number(qn_json_writer *w, qn_dtype dtype, const void *data, int64_t at)
{
    qn_tensor one = qn_tensor_of((void *)(uintptr_t)data, dtype, QN_SHAPE(at + 1));
    if (dtype == QN_DTYPE_I64)
        qn_json_i64(w, ((const int64_t *)data)[at]);
    else if (dtype == QN_DTYPE_BOOL)
        qn_json_bool(w, ((const uint8_t *)data)[at] != 0);
    else
        qn_json_f64(w, qn_tensor_f64_at(&one, at));
}

void qn_json_tensor_write_flat(qn_json_writer *w, qn_dtype dtype, const void *data, int64_t count)
{
    if (dtype == QN_DTYPE_F32) {
        qn_json_f32_array(w, data, count);
        return;
    }
    qn_json_array_begin(w);
    for (int64_t i = 0; i < count; i++)
        write_number(w, dtype, data, i);
    qn_json_array_end(w);
}

void qn_json_tensor_write(qn_json_writer *w, qn_dtype dtype, const void *data,
                          const qn_shape *shape, int from)
{
    if (from >= shape->rank) {
        if (dtype == QN_DTYPE_F32)
            qn_json_f32(w, *(const float *)data);
        else
            write_number(w, dtype, data, 0);
        return;
    }
    if (from == shape->rank - 1) {
        qn_json_tensor_write_flat(w, dtype, data, shape->dims[from]);
        return;
    }
    size_t each = qn_dtype_size(dtype);
    for (int i = from + 1; i < shape->rank; i++)
        each *= (size_t)shape->dims[i];
    qn_json_array_begin(w);
    for (int64_t i = 0; i < shape->dims[from]; i++)
        qn_json_tensor_write(w, dtype, (const char *)data + each * (size_t)i, shape, from + 1);
    qn_json_array_end(w);
}
