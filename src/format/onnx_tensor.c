/*
 * Tensors of ONNX files. A tensor's elements come in one of three ways: raw bytes, a typed list (most narrow types use the
 * list of int32), or a range of another file. Whichever it is, as many must be there as the shape says.
 */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "format/bytes_priv.h"
#include "format/onnx_priv.h"

typedef struct {
    const char *name;
    qn_dtype dtype;
    int bits; /* 0 = no such type, or none that tensors hold */
} elem_row;

static const elem_row elems[QN_ONNX_ELEM_COUNT] = {
#define X(number, name, dtype, bits) [number] = {#name, QN_DTYPE_##dtype, bits},
    QN_ONNX_ELEMS(X)
#undef X
        [QN_ONNX_STRING] = {"STRING", QN_DTYPE_U8, 0},
    [14] = {"COMPLEX64", QN_DTYPE_U8, 0},
    [15] = {"COMPLEX128", QN_DTYPE_U8, 0},
};

const char *qn_onnx_elem_name(int elem)
{
    bool known = elem > 0 && elem < QN_ONNX_ELEM_COUNT && elems[elem].name;
    return known ? elems[elem].name : "unknown";
}

int qn_onnx_elem_bits(int elem)
{
    return elem > 0 && elem < QN_ONNX_ELEM_COUNT ? elems[elem].bits : 0;
}

bool qn_onnx_elem_dtype(int elem, qn_dtype *ret)
{
    if (qn_onnx_elem_bits(elem) == 0)
        return false;
    *ret = elems[elem].dtype;
    return true;
}

int qn_onnx_elem_of(qn_dtype dtype)
{
    for (int elem = 1; elem < QN_ONNX_ELEM_COUNT; elem++)
        if (elems[elem].bits > 0 && elems[elem].dtype == dtype)
            return elem;
    return 0;
}

/* What a tensor's elements are made from. */
typedef struct {
    const char *name;
    int elem, bits;
    int64_t count;
    size_t raw_bytes; /* of all elements as raw data */
    size_t bytes;     /* of all elements as a tensor */
    const Onnx__Tensor *message;
    const qn_onnx_reader *reader;
} source;

static qn_status bad(const source *from, qn_error *err, const char *what, int64_t there)
{
    return qn_error_set(
        err, QN_ERR_DATA, from->reader->file,
        "tensor '%.100s' has %lld %s, its shape and type take %lld", from->name, (long long)there,
        what, (long long)(strcmp(what, "bytes") == 0 ? (int64_t)from->raw_bytes : from->count));
}

static qn_status out_of_memory(qn_error *err)
{
    return qn_error_set(err, QN_ERR_MEMORY, NULL, "out of memory while reading an ONNX file");
}

/* Parts of a byte, low bits first, to one byte each; signed types are extended. */
static void unpack_bits(const source *from, const uint8_t *src, uint8_t *dst)
{
    int each = 8 / from->bits;
    unsigned mask = (1U << from->bits) - 1, sign = 1U << (from->bits - 1);
    bool is_signed = from->elem == QN_ONNX_INT4 || from->elem == QN_ONNX_INT2;
    for (int64_t i = 0; i < from->count; i++) {
        unsigned value = (unsigned)src[i / each] >> (unsigned)(i % each * from->bits) & mask;
        dst[i] = (uint8_t)(is_signed ? (value ^ sign) - sign : value);
    }
}

static qn_status take_raw(const source *from, const void *data, size_t size, qn_tensor *dst,
                          qn_error *err)
{
    if (size != from->raw_bytes)
        return bad(from, err, "bytes", (int64_t)size);
    size_t each = qn_dtype_size(dst->dtype);
    bool plain = from->bits >= 8 && dst->dtype != QN_DTYPE_BOOL;
    if (plain && (uintptr_t)data % each == 0) {
        dst->data = qn_unconst(data);
        return QN_OK;
    }
    uint8_t *copy = qn_arena_alloc_aligned(from->reader->arena, from->bytes + 1, 64);
    if (!copy)
        return out_of_memory(err);
    if (from->bits < 8)
        unpack_bits(from, data, copy);
    else if (size > 0)
        memcpy(copy, data, size);
    for (int64_t i = 0; dst->dtype == QN_DTYPE_BOOL && i < from->count; i++)
        copy[i] = copy[i] != 0;
    dst->data = copy;
    return QN_OK;
}

/* A list of wider numbers, each holding one element (or one byte of packed ones). */
static qn_status take_narrowed(const source *from, const int32_t *list, size_t length,
                               qn_tensor *dst, qn_error *err)
{
    size_t each = from->bits < 8 ? 1 : qn_dtype_size(dst->dtype);
    size_t expected = from->bits < 8 ? from->raw_bytes : (size_t)from->count;
    if (length != expected)
        return bad(from, err, "elements", (int64_t)length);
    uint8_t *bytes = qn_arena_alloc_aligned(from->reader->arena, length * each + 1, 64);
    if (!bytes)
        return out_of_memory(err);
    for (size_t i = 0; i < length; i++)
        memcpy(bytes + i * each, &list[i], each); /* little-endian: the low bytes come first */
    return take_raw(from, bytes, length * each, dst, err);
}

static qn_status take_same(const source *from, const void *list, size_t length, qn_tensor *dst,
                           qn_error *err)
{
    if (length != (size_t)from->count)
        return bad(from, err, "elements", (int64_t)length);
    return take_raw(from, list, from->raw_bytes, dst, err);
}

static qn_status take_list(const source *from, qn_tensor *dst, qn_error *err)
{
    const Onnx__Tensor *message = from->message;
    switch (from->elem) {
    case QN_ONNX_FLOAT:
        return take_same(from, message->float_data, message->n_float_data, dst, err);
    case QN_ONNX_DOUBLE:
        return take_same(from, message->double_data, message->n_double_data, dst, err);
    case QN_ONNX_INT64:
        return take_same(from, message->int64_data, message->n_int64_data, dst, err);
    case QN_ONNX_UINT64:
        return take_same(from, message->uint64_data, message->n_uint64_data, dst, err);
    case QN_ONNX_UINT32: {
        if (message->n_uint64_data != (size_t)from->count)
            return bad(from, err, "elements", (int64_t)message->n_uint64_data);
        uint32_t *narrow = QN_NEW(from->reader->arena, uint32_t, from->count + 1);
        if (!narrow)
            return out_of_memory(err);
        for (int64_t i = 0; i < from->count; i++)
            narrow[i] = (uint32_t)message->uint64_data[i];
        return take_same(from, narrow, (size_t)from->count, dst, err);
    }
    default:
        return take_narrowed(from, message->int32_data, message->n_int32_data, dst, err);
    }
}

/* --- external data --- */

static const char *find_entry(const Onnx__Tensor *message, const char *key)
{
    for (size_t i = 0; i < message->n_external_data; i++)
        if (strcmp(message->external_data[i]->key, key) == 0)
            return message->external_data[i]->value;
    return NULL;
}

/* A relative path that never climbs: what a file names may only lie beside it or below. */
static bool stays_inside(const char *location)
{
    if (location[0] == 0 || location[0] == '/')
        return false;
    for (const char *part = location; *part;) {
        size_t length = strcspn(part, "/\\");
        if (length == 2 && part[0] == '.' && part[1] == '.')
            return false;
        part += length + (part[length] != 0);
    }
    return true;
}

static bool read_size(const char *text, size_t fallback, size_t *ret)
{
    int64_t value = (int64_t)fallback;
    if (text && (!qn_str_to_i64(qn_str_from(text), &value) || value < 0))
        return false;
    *ret = (size_t)value;
    return true;
}

/* The mapped file of this name. Each is mapped once, however many tensors lie in it. */
static qn_status find_map(const qn_onnx_reader *reader, const char *location, const qn_map **ret,
                          const char ***names, qn_error *err)
{
    qn_onnx_model *model = reader->model;
    enum { FILES_MAX = 1024 };
    if (!model->maps) {
        /* Names lie behind the maps; the sizes are constants, so one allocation serves both. */
        model->maps = qn_arena_zero(reader->arena, FILES_MAX, sizeof(qn_map) + sizeof(char *));
        if (!model->maps)
            return out_of_memory(err);
    }
    *names = (const char **)(void *)(model->maps + FILES_MAX);
    for (int i = 0; i < model->maps_count; i++)
        if (strcmp((*names)[i], location) == 0) {
            *ret = &model->maps[i];
            return QN_OK;
        }
    if (model->maps_count == FILES_MAX)
        return qn_error_set(err, QN_ERR_BUDGET, reader->file,
                            "external data lies in more than %d files", (int)FILES_MAX);
    const char *path = qn_path_join(reader->arena, reader->folder, location);
    if (!path)
        return out_of_memory(err);
    QN_TRY(qn_map_open(path, &model->maps[model->maps_count], err));
    (*names)[model->maps_count] = location;
    *ret = &model->maps[model->maps_count++];
    return QN_OK;
}

static qn_status take_external(const source *from, qn_tensor *dst, qn_error *err)
{
    const qn_onnx_reader *reader = from->reader;
    const char *location = find_entry(from->message, "location");
    if (!reader->folder || !reader->model)
        return qn_error_set(err, QN_ERR_DATA, reader->file,
                            "tensor '%.100s' lies in another file, and only the model is here",
                            from->name);
    if (!location || !stays_inside(location))
        return qn_error_set(
            err, QN_ERR_DATA, reader->file,
            "tensor '%.100s' names the file '%.100s', which is not beside the model", from->name,
            location ? location : "");
    location = qn_arena_strndup(reader->arena, location, strlen(location));
    if (!location)
        return out_of_memory(err);
    static const qn_map none = {0};
    const qn_map *map = &none;
    const char **names;
    QN_TRY(find_map(reader, location, &map, &names, err));
    size_t offset = 0, length = 0;
    if (!read_size(find_entry(from->message, "offset"), 0, &offset) || offset > map->size ||
        !read_size(find_entry(from->message, "length"), map->size - offset, &length) ||
        length > map->size - offset)
        return qn_error_set(err, QN_ERR_DATA, reader->file,
                            "tensor '%.100s' lies outside '%.100s', which has %zu bytes",
                            from->name, location, map->size);
    return take_raw(from, map->data ? map->data + offset : "", length, dst, err);
}

/* --- all of it --- */

static qn_status read_shape(const source *from, qn_shape *ret, qn_error *err)
{
    const Onnx__Tensor *message = from->message;
    if (message->n_dims > QN_RANK_MAX)
        return qn_error_set(err, QN_ERR_DATA, from->reader->file,
                            "tensor '%.100s' has %zu dimensions, at most %d fit", from->name,
                            message->n_dims, (int)QN_RANK_MAX);
    ret->rank = (int)message->n_dims;
    for (int i = 0; i < ret->rank; i++)
        ret->dims[i] = message->dims[i];
    return QN_OK;
}

qn_status qn_onnx_tensor_of(const qn_onnx_reader *reader, const Onnx__Tensor *message,
                            const char *what, qn_onnx_tensor *ret, qn_error *err)
{
    source from = {.name = message->name && message->name[0] ? message->name : what,
                   .elem = message->data_type,
                   .bits = qn_onnx_elem_bits(message->data_type),
                   .message = message,
                   .reader = reader};
    qn_onnx_tensor tensor = {.name = message->name, .elem = message->data_type};
    int64_t bytes = 0;
    QN_TRY(read_shape(&from, &tensor.tensor.shape, err));
    QN_TRY(qn_shape_check(&tensor.tensor.shape, QN_DTYPE_F64, NULL, err));
    if (from.bits == 0 && message->data_type != QN_ONNX_STRING)
        return qn_error_set(err, QN_ERR_UNSUPPORTED, reader->file,
                            "tensor '%.100s' has elements of type %d (%s)", from.name,
                            message->data_type, qn_onnx_elem_name(message->data_type));
    (void)qn_onnx_elem_dtype(message->data_type, &tensor.tensor.dtype);
    QN_TRY(qn_shape_check(&tensor.tensor.shape, tensor.tensor.dtype, &bytes, err));
    from.bytes = (size_t)bytes;
    from.count = qn_shape_count(&tensor.tensor.shape);
    from.raw_bytes = from.bits < 8 ? ((size_t)from.count * (size_t)from.bits + 7) / 8
                                   : (size_t)from.count * (size_t)from.bits / 8;
    qn_tensor whole = qn_tensor_of(NULL, tensor.tensor.dtype, tensor.tensor.shape);
    if (message->data_type == QN_ONNX_STRING)
        ;
    else if (message->data_location == 1)
        QN_TRY(take_external(&from, &whole, err));
    else if (message->raw_data.len > 0 || from.count == 0)
        QN_TRY(take_raw(&from,
                        message->raw_data.len ? (const uint8_t *)message->raw_data.data
                                              : (const uint8_t *)"",
                        message->raw_data.len, &whole, err));
    else
        QN_TRY(take_list(&from, &whole, err));
    tensor.tensor = whole;
    *ret = tensor;
    return QN_OK;
}
