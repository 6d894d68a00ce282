/*
 * The IDX reader. The header is read and checked first; only then is the size of the values known, bounded and allocated.
 */
#include "format/idx.h"

#include <stdio.h>

#include "base/checked.h"
#include "format/bytes_priv.h"
#include "format/inflate_priv.h"

enum { HEADER_MAX = 4 + 4 * QN_RANK_MAX };
static const size_t limit_default = (size_t)4 << 30;

/* Plain or gzipped bytes, read from the front. */
typedef struct {
    qn_str bytes; /* plain: what is left */
    qn_inflate inflate;
    bool gzip;
    const char *file;
} source;

static qn_status source_open(source *in, qn_str bytes, const char *file, qn_error *err)
{
    *in = (source){.bytes = bytes, .gzip = qn_inflate_is_gzip(bytes), .file = file};
    return in->gzip ? qn_inflate_open(&in->inflate, bytes, QN_INFLATE_GZIP, file, err) : QN_OK;
}

static void source_close(source *in)
{
    if (in->gzip)
        qn_inflate_close(&in->inflate);
}

static qn_status source_read(source *in, void *dst, size_t size, qn_error *err)
{
    if (in->gzip)
        return qn_inflate_read(&in->inflate, dst, size, err);
    if (in->bytes.size < size)
        return qn_error_set(err, QN_ERR_DATA, in->file, "the file ends after %zu of %zu bytes",
                            in->bytes.size, size);
    if (size > 0)
        memcpy(dst, in->bytes.data, size);
    in->bytes = (qn_str){in->bytes.data + size, in->bytes.size - size};
    return QN_OK;
}

static qn_status source_finish(source *in, qn_error *err)
{
    if (in->gzip)
        return qn_inflate_finish(&in->inflate, err);
    if (in->bytes.size > 0)
        return qn_error_set(err, QN_ERR_DATA, in->file,
                            "%zu bytes follow the values that the header promises", in->bytes.size);
    return QN_OK;
}

static bool find_dtype(uint8_t code, qn_dtype *ret)
{
    static const struct {
        uint8_t code;
        qn_dtype dtype;
    } table[] = {{0x08, QN_DTYPE_U8},  {0x09, QN_DTYPE_I8},  {0x0b, QN_DTYPE_I16},
                 {0x0c, QN_DTYPE_I32}, {0x0d, QN_DTYPE_F32}, {0x0e, QN_DTYPE_F64}};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (table[i].code == code) {
            *ret = table[i].dtype;
            return true;
        }
    return false;
}

static qn_status read_header(source *in, qn_tensor *ret, qn_error *err)
{
    char header[HEADER_MAX] = {0};
    qn_dtype dtype;
    QN_TRY(source_read(in, header, 4, err));
    if (header[0] != 0 || header[1] != 0)
        return qn_error_set(err, QN_ERR_DATA, in->file,
                            "not an IDX file: it begins with %02x %02x, expected 00 00",
                            (uint8_t)header[0], (uint8_t)header[1]);
    if (!find_dtype((uint8_t)header[2], &dtype))
        return qn_error_set(err, QN_ERR_DATA, in->file, "unknown IDX element type 0x%02x",
                            (uint8_t)header[2]);
    int rank = (uint8_t)header[3];
    if (rank < 1 || rank > QN_RANK_MAX)
        return qn_error_set(err, QN_ERR_DATA, in->file, "IDX rank %d, expected 1 to %d", rank,
                            QN_RANK_MAX);
    QN_TRY(source_read(in, header, (size_t)rank * 4, err));
    qn_shape shape = {.rank = rank};
    for (int i = 0; i < rank; i++)
        shape.dims[i] = qn_be32(header + (ptrdiff_t)4 * i);
    int64_t bytes;
    qn_status status = qn_shape_check(&shape, dtype, &bytes, err);
    if (status != QN_OK) {
        char text[128];
        return qn_error_set(err, QN_ERR_DATA, in->file, "shape %s of %s is too large",
                            qn_shape_text(&shape, text), qn_dtype_name(dtype));
    }
    *ret = qn_tensor_of(NULL, dtype, shape);
    return QN_OK;
}

/* The values that the header promises must fit into what the file can hold and into the limit. */
static qn_status check_size(const source *in, const qn_tensor *array, size_t file_size,
                            size_t limit_bytes, qn_error *err)
{
    size_t want = qn_tensor_bytes(array), most = file_size;
    if (in->gzip && !qn_mul_size(file_size, QN_INFLATE_RATIO_MAX, &most))
        most = SIZE_MAX;
    char shape[128];
    qn_shape_text(&array->shape, shape);
    if (want > most)
        return qn_error_set(err, QN_ERR_DATA, in->file,
                            "the header promises %s %s, %zu bytes; the file can hold %zu at most",
                            qn_dtype_name(array->dtype), shape, want, most);
    if (want > limit_bytes)
        return qn_error_set(err, QN_ERR_BUDGET, in->file, "%s %s takes %zu bytes, the limit is %zu",
                            qn_dtype_name(array->dtype), shape, want, limit_bytes);
    return QN_OK;
}

static qn_status read_values(source *in, const qn_tensor *array, void *dst, qn_error *err)
{
    QN_TRY(source_read(in, dst, qn_tensor_bytes(array), err));
    QN_TRY(source_finish(in, err));
    qn_swap_elements(dst, qn_shape_count(&array->shape), qn_dtype_size(array->dtype));
    return QN_OK;
}

qn_status qn_idx_peek(qn_str bytes, const char *file, qn_tensor *ret, qn_error *err)
{
    source in;
    qn_tensor array = {0};
    QN_TRY(source_open(&in, bytes, file, err));
    qn_status status = read_header(&in, &array, err);
    if (status == QN_OK)
        status = check_size(&in, &array, bytes.size, SIZE_MAX, err);
    source_close(&in);
    if (status == QN_OK)
        *ret = array;
    return status;
}

qn_status qn_idx_read_into(qn_str bytes, const char *file, void *dst, size_t size_bytes,
                           qn_error *err)
{
    source in;
    qn_tensor array = {0};
    QN_TRY(source_open(&in, bytes, file, err));
    qn_status status = read_header(&in, &array, err);
    if (status == QN_OK && qn_tensor_bytes(&array) != size_bytes)
        status =
            qn_error_set(err, QN_ERR_ARG, file, "the values take %zu bytes, there is room for %zu",
                         qn_tensor_bytes(&array), size_bytes);
    if (status == QN_OK)
        status = read_values(&in, &array, dst, err);
    source_close(&in);
    return status;
}

qn_status qn_idx_read(qn_str bytes, const char *file, size_t limit_bytes, qn_arena *arena,
                      qn_tensor *ret, qn_error *err)
{
    source in;
    qn_tensor array = {0};
    QN_TRY(source_open(&in, bytes, file, err));
    qn_status status = read_header(&in, &array, err);
    if (status == QN_OK)
        status =
            check_size(&in, &array, bytes.size, limit_bytes ? limit_bytes : limit_default, err);
    if (status != QN_OK)
        goto out;
    if (!in.gzip && qn_dtype_size(array.dtype) == 1 && in.bytes.size == qn_tensor_bytes(&array)) {
        array.data = qn_unconst(in.bytes.data);
        goto out;
    }
    array.data = qn_arena_alloc(arena, qn_tensor_bytes(&array));
    if (!array.data)
        status = qn_error_set(err, QN_ERR_MEMORY, file, "no memory for %zu bytes",
                              qn_tensor_bytes(&array));
    else
        status = read_values(&in, &array, array.data, err);
out:
    source_close(&in);
    if (status == QN_OK)
        *ret = array;
    return status;
}
