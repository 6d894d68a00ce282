/*
 * One NumPy array: a magic, a version, and a header that is a Python dictionary in text, of which exactly three keys are
 * allowed (numpy/lib/format.py). Object arrays would be pickles: programs, not data. They are refused.
 */
#include "format/npy.h"

#include <stdio.h>

#include "base/checked.h"
#include "format/bytes_priv.h"

enum { HEADER_MAX = 65536, ALIGNMENT = 64 };

typedef struct {
    const char *at, *end;
    const char *file;
} text_cursor;

typedef struct {
    bool has_descr, has_order, has_shape;
    qn_dtype dtype;
    bool big_endian, fortran;
    qn_shape shape;
} header;

static qn_status bad_header(const text_cursor *in, const char *what, qn_error *err)
{
    size_t left = (size_t)(in->end - in->at);
    return qn_error_set(err, QN_ERR_DATA, in->file,
                        "the npy header is damaged: expected %s at \"%.*s\"", what,
                        (int)(left < 24 ? left : 24), in->at);
}

static void skip_space(text_cursor *in)
{
    while (in->at < in->end && (*in->at == ' ' || *in->at == '\n' || *in->at == '\t'))
        in->at++;
}

static bool take(text_cursor *in, const char *word)
{
    skip_space(in);
    size_t size = strlen(word);
    if ((size_t)(in->end - in->at) < size || memcmp(in->at, word, size) != 0)
        return false;
    in->at += size;
    return true;
}

static bool take_string(text_cursor *in, qn_str *ret)
{
    skip_space(in);
    if (in->at == in->end || (*in->at != '\'' && *in->at != '"'))
        return false;
    const char *begin = in->at + 1;
    const char *close = memchr(begin, *in->at, (size_t)(in->end - begin));
    if (!close)
        return false;
    *ret = (qn_str){begin, (size_t)(close - begin)};
    in->at = close + 1;
    return true;
}

static bool find_dtype(qn_str descr, qn_dtype *ret)
{
    static const struct {
        char code[3];
        qn_dtype dtype;
    } table[] = {{"b1", QN_DTYPE_BOOL}, {"i1", QN_DTYPE_I8},  {"u1", QN_DTYPE_U8},
                 {"i2", QN_DTYPE_I16},  {"u2", QN_DTYPE_U16}, {"i4", QN_DTYPE_I32},
                 {"u4", QN_DTYPE_U32},  {"i8", QN_DTYPE_I64}, {"u8", QN_DTYPE_U64},
                 {"f2", QN_DTYPE_F16},  {"f4", QN_DTYPE_F32}, {"f8", QN_DTYPE_F64}};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (qn_str_is(descr, table[i].code)) {
            *ret = table[i].dtype;
            return true;
        }
    return false;
}

static qn_status read_descr(text_cursor *in, header *h, qn_error *err)
{
    qn_str descr;
    if (!take_string(in, &descr))
        return bad_header(in, "an element type in quotes (records are not supported)", err);
    qn_str code = descr;
    if (code.size > 0 && memchr("<>|=", code.data[0], 4)) {
        h->big_endian = code.data[0] == '>';
        code = (qn_str){code.data + 1, code.size - 1};
    }
    if (!find_dtype(code, &h->dtype)) {
        qn_status status =
            qn_error_set(err, QN_ERR_DATA, in->file,
                         "elements of type '%.*s', expected plain numbers", QN_STR_ARG(descr));
        if (code.size > 0 && memchr("USO", code.data[0], 3))
            return qn_error_hint(err, status,
                                 "words as labels: numpy.unique(y, return_inverse=True)[1] numbers "
                                 "them; or put them into a CSV or JSONL file");
        return qn_error_hint(err, status, "save it as float32, float64, int64 or uint8");
    }
    return QN_OK;
}

static qn_status read_shape(text_cursor *in, header *h, qn_error *err)
{
    if (!take(in, "("))
        return bad_header(in, "'(' of the shape", err);
    while (!take(in, ")")) {
        const char *begin = in->at;
        while (in->at < in->end && *in->at >= '0' && *in->at <= '9')
            in->at++;
        int64_t size;
        if (!qn_str_to_i64((qn_str){begin, (size_t)(in->at - begin)}, &size))
            return bad_header(in, "a size", err);
        if (h->shape.rank == QN_RANK_MAX)
            return qn_error_set(err, QN_ERR_DATA, in->file, "an array of more than %d dimensions",
                                QN_RANK_MAX);
        h->shape.dims[h->shape.rank++] = size;
        if (!take(in, ",") && (skip_space(in), in->at == in->end || *in->at != ')'))
            return bad_header(in, "',' or ')'", err);
    }
    return QN_OK;
}

static qn_status read_entry(text_cursor *in, header *h, qn_error *err)
{
    qn_str key;
    if (!take_string(in, &key) || !take(in, ":"))
        return bad_header(in, "a key", err);
    bool *seen = qn_str_is(key, "descr")           ? &h->has_descr
                 : qn_str_is(key, "fortran_order") ? &h->has_order
                 : qn_str_is(key, "shape")         ? &h->has_shape
                                                   : NULL;
    if (!seen || *seen)
        return bad_header(in, "each of descr, fortran_order and shape once", err);
    *seen = true;
    if (seen == &h->has_descr)
        return read_descr(in, h, err);
    if (seen == &h->has_shape)
        return read_shape(in, h, err);
    h->fortran = take(in, "True");
    return h->fortran || take(in, "False") ? QN_OK : bad_header(in, "True or False", err);
}

static qn_status read_header(text_cursor *in, header *h, qn_error *err)
{
    if (!take(in, "{"))
        return bad_header(in, "'{'", err);
    while (!take(in, "}")) {
        QN_TRY(read_entry(in, h, err));
        if (!take(in, ",") && (skip_space(in), in->at == in->end || *in->at != '}'))
            return bad_header(in, "',' or '}'", err);
    }
    skip_space(in);
    if (in->at != in->end || !h->has_descr || !h->has_order || !h->has_shape)
        return bad_header(in, "descr, fortran_order and shape, then its end", err);
    return QN_OK;
}

/* Where the header's text lies and where the values begin. */
static qn_status find_header(qn_str bytes, const char *file, text_cursor *ret, qn_error *err)
{
    if (bytes.size < 10 || memcmp(bytes.data, "\x93NUMPY", 6) != 0)
        return qn_error_set(err, QN_ERR_DATA, file,
                            "not an npy file: it does not begin with \\x93NUMPY");
    int major = (uint8_t)bytes.data[6];
    if (major < 1 || major > 3)
        return qn_error_set(err, QN_ERR_DATA, file, "npy version %d, expected 1 to 3", major);
    size_t begin = major == 1 ? 10 : 12;
    if (bytes.size < begin)
        return qn_error_set(err, QN_ERR_DATA, file, "the npy header is cut off");
    size_t size = major == 1 ? qn_le16(bytes.data + 8) : qn_le32(bytes.data + 8);
    if (size > HEADER_MAX || size > bytes.size - begin)
        return qn_error_set(err, QN_ERR_DATA, file, "an npy header of %zu bytes in a file of %zu",
                            size, bytes.size);
    *ret = (text_cursor){bytes.data + begin, bytes.data + begin + size, file};
    return QN_OK;
}

/* Column-major values into row-major ones: walks the target in order and the source by its strides. */
static void copy_fortran(char *dst, const char *src, const qn_shape *shape, size_t each)
{
    int64_t index[QN_RANK_MAX] = {0}, strides[QN_RANK_MAX] = {0}, stride = 1;
    for (int i = 0; i < shape->rank; i++) {
        strides[i] = stride;
        stride *= shape->dims[i];
    }
    int64_t from = 0;
    for (int64_t done = 0, count = stride; done < count; done++, dst += each) {
        memcpy(dst, src + (size_t)from * each, each);
        for (int axis = shape->rank - 1; axis >= 0; axis--) {
            from += strides[axis];
            if (++index[axis] < shape->dims[axis])
                break;
            from -= strides[axis] * shape->dims[axis];
            index[axis] = 0;
        }
    }
}

static qn_status take_values(const header *h, const char *values, qn_tensor *array, qn_arena *arena,
                             const char *file, qn_error *err)
{
    size_t size = qn_tensor_bytes(array), each = qn_dtype_size(h->dtype);
    bool swap = h->big_endian && each > 1, turn = h->fortran && h->shape.rank > 1;
    if (!swap && !turn && (uintptr_t)values % each == 0) {
        array->data = qn_unconst(values);
        return QN_OK;
    }
    array->data = qn_arena_alloc(arena, size);
    if (!array->data)
        return qn_error_set(err, QN_ERR_MEMORY, file, "no memory for %zu bytes", size);
    if (turn)
        copy_fortran(array->data, values, &h->shape, each);
    else
        memcpy(array->data, values, size);
    if (swap)
        qn_swap_elements(array->data, qn_shape_count(&h->shape), each);
    return QN_OK;
}

qn_status qn_npy_read(qn_str bytes, const char *file, qn_arena *arena, qn_tensor *ret,
                      qn_error *err)
{
    text_cursor in = {0};
    header h = {0};
    QN_TRY(find_header(bytes, file, &in, err));
    QN_TRY(read_header(&in, &h, err));
    int64_t size;
    qn_status status = qn_shape_check(&h.shape, h.dtype, &size, err);
    if (status != QN_OK) {
        char shape[128];
        return qn_error_set(err, QN_ERR_DATA, file, "shape %s of %s is negative or too large",
                            qn_shape_text(&h.shape, shape), qn_dtype_name(h.dtype));
    }
    size_t left = (size_t)(bytes.data + bytes.size - in.end);
    if ((size_t)size != left) {
        char shape[128];
        return qn_error_set(err, QN_ERR_DATA, file, "%s %s takes %lld bytes, the file holds %zu",
                            qn_dtype_name(h.dtype), qn_shape_text(&h.shape, shape), (long long)size,
                            left);
    }
    qn_tensor array = qn_tensor_of(NULL, h.dtype, h.shape);
    QN_TRY(take_values(&h, in.end, &array, arena, file, err));
    *ret = array;
    return QN_OK;
}

static const char *descr_of(qn_dtype dtype)
{
    static const char *const table[QN_DTYPE_COUNT] = {
        [QN_DTYPE_F32] = "<f4", [QN_DTYPE_F64] = "<f8", [QN_DTYPE_F16] = "<f2",
        [QN_DTYPE_I64] = "<i8", [QN_DTYPE_I32] = "<i4", [QN_DTYPE_I16] = "<i2",
        [QN_DTYPE_I8] = "|i1",  [QN_DTYPE_U64] = "<u8", [QN_DTYPE_U32] = "<u4",
        [QN_DTYPE_U16] = "<u2", [QN_DTYPE_U8] = "|u1",  [QN_DTYPE_BOOL] = "|b1",
        [QN_DTYPE_BF16] = "<V2"}; /* NumPy has no bf16; two opaque bytes keep the values */
    return table[dtype];
}

void qn_npy_write(qn_buf *dst, const qn_tensor *array)
{
    QN_ASSERT(qn_tensor_contiguous(array));
    char shape[256];
    size_t used = 0;
    for (int i = 0; i < array->shape.rank; i++)
        used += (size_t)snprintf(shape + used, sizeof shape - used, "%lld%s",
                                 (long long)array->shape.dims[i],
                                 array->shape.rank == 1      ? ","
                                 : i + 1 < array->shape.rank ? ", "
                                                             : "");
    shape[used] = 0;
    char text[512];
    int size =
        snprintf(text, sizeof text, "{'descr': '%s', 'fortran_order': False, 'shape': (%s), }",
                 descr_of(array->dtype), shape);
    /* The values start at a multiple of 64 so that others can map them (numpy/lib/format.py). */
    int padded = (10 + size + 1 + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT - 10;
    qn_buf_append(dst, "\x93NUMPY\x01\x00", 8);
    qn_buf_byte(dst, (char)(padded & 0xff));
    qn_buf_byte(dst, (char)(padded >> 8));
    qn_buf_append(dst, text, (size_t)size);
    for (int i = size; i < padded - 1; i++)
        qn_buf_byte(dst, ' ');
    qn_buf_byte(dst, '\n');
    qn_buf_append(dst, array->data, qn_tensor_bytes(array));
}
