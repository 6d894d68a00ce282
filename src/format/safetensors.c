/*
 * safetensors. The order of the checks follows the reference implementation (safetensors/src/tensor.rs): header size, JSON,
 * each entry alone, then all entries together: sorted by offset they must tile the data area exactly.
 */
#include "format/safetensors.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/json.h"
#include "format/bytes_priv.h"

enum { ALIGNMENT = 64, VALUES_MAX = 4 << 20 };

typedef struct {
    size_t begin, end;
    int64_t index;
} span;

static qn_status bad_tensor(const char *file, qn_str name, qn_error *err, const char *what)
{
    return qn_error_set(err, QN_ERR_DATA, file, "tensor '%.*s': %s",
                        (int)(name.size < 100 ? name.size : 100), name.data, what);
}

static bool read_dtype(const qn_json *entry, qn_dtype *ret)
{
    qn_str name;
    if (qn_json_get_str(entry, "dtype", true, &name, NULL) != QN_OK)
        return false;
    for (int dtype = 0; dtype < QN_DTYPE_COUNT; dtype++)
        if (qn_str_is(name, qn_dtype_safetensors((qn_dtype)dtype))) {
            *ret = (qn_dtype)dtype;
            return true;
        }
    return false;
}

static bool read_integer(const qn_json *array, int64_t index, int64_t *ret)
{
    qn_json value = qn_json_at(array, index);
    if (value.kind != QN_JSON_INT || value.integer < 0)
        return false;
    *ret = value.integer;
    return true;
}

static bool read_shape(const qn_json *entry, qn_shape *ret)
{
    const qn_json *array = qn_json_find(entry, "shape");
    int64_t rank = array ? qn_json_length(array) : -1;
    if (rank < 0 || rank > QN_RANK_MAX)
        return false;
    ret->rank = (int)rank;
    for (int64_t i = 0; i < rank; i++)
        if (!read_integer(array, i, &ret->dims[i]))
            return false;
    return true;
}

static qn_status read_entry(const char *file, qn_str name, const qn_json *entry, size_t data_size,
                            qn_tensor *ret, span *ret_span, qn_error *err)
{
    qn_dtype dtype;
    qn_shape shape = {0};
    const qn_json *offsets = qn_json_find(entry, "data_offsets");
    int64_t begin, end, size;
    if (entry->kind != QN_JSON_OBJECT || entry->count != 3)
        return bad_tensor(file, name, err, "expected an object of dtype, shape and data_offsets");
    if (!read_dtype(entry, &dtype))
        return bad_tensor(file, name, err, "its dtype is absent or unknown");
    if (!read_shape(entry, &shape) || qn_shape_check(&shape, dtype, &size, NULL) != QN_OK)
        return bad_tensor(file, name, err,
                          "its shape is not a list of up to 8 sizes with a product that fits");
    if (!offsets || qn_json_length(offsets) != 2 || !read_integer(offsets, 0, &begin) ||
        !read_integer(offsets, 1, &end) || begin > end)
        return bad_tensor(file, name, err, "its data_offsets are not [begin, end]");
    if ((uint64_t)end > data_size)
        return bad_tensor(file, name, err, "its data_offsets lie outside the file");
    if (end - begin != size)
        return bad_tensor(file, name, err, "its data_offsets do not fit its dtype and shape");
    *ret = qn_tensor_of(NULL, dtype, shape);
    *ret_span = (span){(size_t)begin, (size_t)end, 0};
    return QN_OK;
}

static int span_order(const void *left, const void *right)
{
    const span *a = left, *b = right;
    if (a->begin != b->begin)
        return a->begin < b->begin ? -1 : 1;
    return a->end < b->end ? -1 : a->end > b->end;
}

/* Sorted, the spans must follow each other without a gap from the first byte to the last. */
static qn_status check_tiling(const char *file, span *spans, const qn_safetensors *tensors,
                              size_t data_size, qn_error *err)
{
    size_t at = 0;
    if (tensors->count > 0)
        qsort(spans, (size_t)tensors->count, sizeof *spans, span_order);
    for (int64_t i = 0; i < tensors->count; i++) {
        qn_str name = qn_str_from(tensors->tensors[spans[i].index].name);
        if (spans[i].begin < at)
            return bad_tensor(file, name, err, "its data overlaps another tensor's");
        if (spans[i].begin > at)
            return bad_tensor(file, name, err, "there is a hole before its data");
        at = spans[i].end;
    }
    if (at != data_size)
        return qn_error_set(err, QN_ERR_DATA, file, "%zu bytes follow the last tensor",
                            data_size - at);
    return QN_OK;
}

static qn_status read_metadata(const char *file, const qn_json *object, qn_arena *arena,
                               qn_safetensors *ret, qn_error *err)
{
    if (object->kind != QN_JSON_OBJECT)
        return qn_error_set(err, QN_ERR_DATA, file, "__metadata__ is %s, expected an object",
                            qn_json_kind_name(object));
    ret->meta_keys = QN_NEW(arena, qn_str, object->count);
    ret->meta_values = QN_NEW(arena, qn_str, object->count);
    if (!ret->meta_keys || !ret->meta_values)
        return qn_error_set(err, QN_ERR_MEMORY, file, "no memory for the header");
    for (int64_t i = 0; i < object->count; i++) {
        if (object->items[i].kind != QN_JSON_STRING)
            return qn_error_set(err, QN_ERR_DATA, file,
                                "__metadata__ '%.*s' is %s, expected a string",
                                (int)qn_min_i64((int64_t)object->keys[i].size, 100),
                                object->keys[i].data, qn_json_kind_name(&object->items[i]));
        ret->meta_keys[i] = object->keys[i];
        ret->meta_values[i] = object->items[i].string;
    }
    ret->meta_count = object->count;
    return QN_OK;
}

/* Views into the file; a tensor that would be misaligned for its type is copied, since C may not read it in place. */
static qn_status point_tensor(const char *file, const char *values, qn_arena *arena,
                              qn_tensor *tensor, qn_error *err)
{
    if ((uintptr_t)values % qn_dtype_size(tensor->dtype) == 0) {
        tensor->data = qn_unconst(values);
        return QN_OK;
    }
    tensor->data = qn_arena_alloc(arena, qn_tensor_bytes(tensor));
    if (!tensor->data)
        return qn_error_set(err, QN_ERR_MEMORY, file, "no memory for %zu bytes",
                            qn_tensor_bytes(tensor));
    memcpy(tensor->data, values, qn_tensor_bytes(tensor));
    return QN_OK;
}

static qn_status read_entries(const char *file, const qn_json *header, qn_str data, qn_arena *arena,
                              qn_safetensors *ret, qn_error *err)
{
    ret->tensors = QN_NEW(arena, qn_named_tensor, header->count);
    span *spans = QN_NEW(arena, span, header->count);
    if (!ret->tensors || !spans)
        return qn_error_set(err, QN_ERR_MEMORY, file, "no memory for %lld tensors",
                            (long long)header->count);
    for (int64_t i = 0; i < header->count; i++) {
        qn_str name = header->keys[i];
        if (qn_str_is(name, "__metadata__")) {
            QN_TRY(read_metadata(file, &header->items[i], arena, ret, err));
            continue;
        }
        if (name.size == 0 || memchr(name.data, 0, name.size))
            return bad_tensor(file, name, err, "its name is empty or holds a zero byte");
        qn_named_tensor *tensor = &ret->tensors[ret->count];
        QN_TRY(read_entry(file, name, &header->items[i], data.size, &tensor->tensor,
                          &spans[ret->count], err));
        QN_TRY(
            point_tensor(file, data.data + spans[ret->count].begin, arena, &tensor->tensor, err));
        tensor->name = qn_arena_strndup(arena, name.data, name.size);
        if (!tensor->name)
            return qn_error_set(err, QN_ERR_MEMORY, file, "no memory for the header");
        spans[ret->count].index = ret->count;
        ret->count++;
    }
    return check_tiling(file, spans, ret, data.size, err);
}

qn_status qn_safetensors_read(qn_str bytes, const char *file, qn_arena *arena, qn_safetensors *ret,
                              qn_error *err)
{
    if (bytes.size < 8)
        return qn_error_set(err, QN_ERR_DATA, file, "%zu bytes are too few for a safetensors file",
                            bytes.size);
    uint64_t size = qn_le64(bytes.data);
    if (size > QN_SAFETENSORS_HEADER_MAX)
        return qn_error_set(err, QN_ERR_DATA, file, "a header of %llu bytes, the limit is %d",
                            (unsigned long long)size, QN_SAFETENSORS_HEADER_MAX);
    if (size > bytes.size - 8)
        return qn_error_set(err, QN_ERR_DATA, file, "a header of %llu bytes in a file of %zu",
                            (unsigned long long)size, bytes.size);
    if (size == 0 || bytes.data[8] != '{')
        return qn_error_set(err, QN_ERR_DATA, file, "the header does not begin with '{'");
    qn_json header;
    qn_str text = {bytes.data + 8, (size_t)size};
    qn_status status = qn_json_read(
        text, &(qn_json_limits){.depth_max = 8, .values_max = VALUES_MAX}, arena, &header, err);
    if (status != QN_OK)
        return qn_error_at(err, status, "%s, header", file);
    qn_safetensors result = {0};
    qn_str data = {text.data + size, bytes.size - 8 - (size_t)size};
    QN_TRY(read_entries(file, &header, data, arena, &result, err));
    *ret = result;
    return QN_OK;
}

const qn_named_tensor *qn_safetensors_find(const qn_safetensors *file, const char *name)
{
    for (int64_t i = 0; i < file->count; i++)
        if (strcmp(file->tensors[i].name, name) == 0)
            return &file->tensors[i];
    return NULL;
}

/* Writing */

static void write_entry(qn_json_writer *w, const qn_tensor *tensor, size_t *offset)
{
    qn_json_object_begin(w);
    qn_json_put_text(w, "dtype", qn_dtype_safetensors(tensor->dtype));
    qn_json_key(w, "shape");
    qn_json_array_begin(w);
    for (int i = 0; i < tensor->shape.rank; i++)
        qn_json_i64(w, tensor->shape.dims[i]);
    qn_json_array_end(w);
    qn_json_key(w, "data_offsets");
    qn_json_array_begin(w);
    qn_json_i64(w, (int64_t)*offset);
    *offset += qn_tensor_bytes(tensor);
    qn_json_i64(w, (int64_t)*offset);
    qn_json_array_end(w);
    qn_json_object_end(w);
}

static void write_header(qn_buf *dst, const qn_named_tensor *tensors, int64_t count,
                         const qn_str *meta_keys, const qn_str *meta_values, int64_t meta_count)
{
    qn_json_writer w;
    size_t offset = 0;
    qn_json_write_init(&w, dst);
    qn_json_object_begin(&w);
    if (meta_count > 0) {
        qn_json_key(&w, "__metadata__");
        qn_json_object_begin(&w);
        for (int64_t i = 0; i < meta_count; i++) {
            qn_json_key_str(&w, meta_keys[i]);
            qn_json_str(&w, meta_values[i]);
        }
        qn_json_object_end(&w);
    }
    for (int64_t i = 0; i < count; i++) {
        qn_json_key(&w, tensors[i].name);
        write_entry(&w, &tensors[i].tensor, &offset);
    }
    qn_json_object_end(&w);
}

static qn_status check_names(const qn_named_tensor *tensors, int64_t count, qn_error *err)
{
    for (int64_t i = 0; i < count; i++) {
        if (!tensors[i].name || !tensors[i].name[0] || strcmp(tensors[i].name, "__metadata__") == 0)
            QN_FAIL(err, QN_ERR_ARG, "tensor %lld has no usable name", (long long)i);
        for (int64_t j = 0; j < i; j++)
            if (strcmp(tensors[i].name, tensors[j].name) == 0)
                QN_FAIL(err, QN_ERR_ARG, "two tensors are named '%s'", tensors[i].name);
    }
    return QN_OK;
}

qn_status qn_safetensors_write(qn_buf *dst, const qn_named_tensor *tensors, int64_t count,
                               const qn_str *meta_keys, const qn_str *meta_values,
                               int64_t meta_count, qn_error *err)
{
    QN_TRY(check_names(tensors, count, err));
    size_t begin = dst->size;
    qn_buf_append(dst, "\0\0\0\0\0\0\0\0", 8);
    write_header(dst, tensors, count, meta_keys, meta_values, meta_count);
    while (!dst->failed && (dst->size - begin) % ALIGNMENT != 0)
        qn_buf_byte(dst, ' ');
    if (!dst->failed) {
        uint64_t size = dst->size - begin - 8;
        for (int i = 0; i < 8; i++)
            dst->data[begin + (size_t)i] = (char)(size >> (8 * i) & 0xff);
    }
    for (int64_t i = 0; i < count; i++) {
        QN_ASSERT(qn_tensor_contiguous(&tensors[i].tensor));
        qn_buf_append(dst, tensors[i].tensor.data, qn_tensor_bytes(&tensors[i].tensor));
    }
    if (dst->failed)
        QN_FAIL(err, QN_ERR_MEMORY, "no memory to write %lld tensors", (long long)count);
    return QN_OK;
}
