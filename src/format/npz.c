/*
 * NPZ: a zip of npy files (APPNOTE.TXT 6.3.10: end record, central folder, local headers, zip64 fields). Only the central
 * folder is believed, and only after each of its numbers has been held against the file's size.
 */
#include <stdio.h>

#include "base/checked.h"
#include "base/hash.h"
#include "format/bytes_priv.h"
#include "format/inflate_priv.h"
#include "format/npy.h"

enum {
    END_SIZE = 22,
    END64_LOCATOR_SIZE = 20,
    END64_SIZE = 56,
    CENTRAL_SIZE = 46,
    LOCAL_SIZE = 30,
    COMMENT_MAX = 65535,
    METHOD_STORED = 0,
    METHOD_DEFLATE = 8,
};
static const size_t limit_default = (size_t)16 << 30;

typedef struct {
    qn_str name;
    unsigned flags, method;
    uint32_t crc;
    uint64_t packed, size, offset;
} member;

typedef struct {
    qn_str bytes;
    const char *file;
    uint64_t entries, central_at, central_size;
} archive;

static qn_status damaged(const archive *zip, const char *what, qn_error *err)
{
    return qn_error_set(err, QN_ERR_DATA, zip->file, "the zip archive is damaged: %s", what);
}

static bool inside(const archive *zip, uint64_t at, uint64_t size)
{
    return at <= zip->bytes.size && size <= zip->bytes.size - at;
}

/* The end record lies behind everything but a comment of at most 64 KiB. */
static const char *find_end(const archive *zip)
{
    if (zip->bytes.size < END_SIZE)
        return NULL;
    size_t last = zip->bytes.size - END_SIZE;
    size_t first = last > COMMENT_MAX ? last - COMMENT_MAX : 0;
    for (size_t at = last + 1; at-- > first;)
        if (memcmp(zip->bytes.data + at, "PK\5\6", 4) == 0)
            return zip->bytes.data + at;
    return NULL;
}

static qn_status open_archive(archive *zip, qn_error *err)
{
    const char *end = find_end(zip);
    if (!end)
        return qn_error_set(err, QN_ERR_DATA, zip->file, "not an npz file: no zip end record");
    zip->entries = qn_le16(end + 10);
    zip->central_size = qn_le32(end + 12);
    zip->central_at = qn_le32(end + 16);
    const char *locator = end - END64_LOCATOR_SIZE;
    if (locator >= zip->bytes.data && memcmp(locator, "PK\6\7", 4) == 0) {
        uint64_t at = qn_le64(locator + 8);
        if (!inside(zip, at, END64_SIZE) || memcmp(zip->bytes.data + at, "PK\6\6", 4) != 0)
            return damaged(zip, "no zip64 end record where its locator points", err);
        const char *end64 = zip->bytes.data + at;
        zip->entries = qn_le64(end64 + 32);
        zip->central_size = qn_le64(end64 + 40);
        zip->central_at = qn_le64(end64 + 48);
    }
    if (!inside(zip, zip->central_at, zip->central_size) ||
        zip->entries > zip->central_size / CENTRAL_SIZE)
        return damaged(zip, "its list of files lies outside the file", err);
    return QN_OK;
}

/* zip64's extra field holds, in this order, those of size, packed size and offset that are all ones in the record. */
static bool read_zip64(qn_str extra, member *entry)
{
    uint64_t *const fields[] = {&entry->size, &entry->packed, &entry->offset};
    for (size_t at = 0; at + 4 <= extra.size;) {
        size_t id = qn_le16(extra.data + at), size = qn_le16(extra.data + at + 2);
        at += 4;
        if (size > extra.size - at)
            return false;
        size_t used = 0;
        for (int i = 0; i < 3 && id == 1; i++) {
            if (*fields[i] != UINT32_MAX)
                continue;
            if (used + 8 > size)
                return false;
            *fields[i] = qn_le64(extra.data + at + used);
            used += 8;
        }
        at += size;
    }
    return true;
}

static qn_status read_member(const archive *zip, uint64_t *at, member *ret, qn_error *err)
{
    uint64_t end = zip->central_at + zip->central_size;
    const char *record = zip->bytes.data + *at;
    if (end - *at < CENTRAL_SIZE || memcmp(record, "PK\1\2", 4) != 0)
        return damaged(zip, "a broken entry in its list of files", err);
    size_t name = qn_le16(record + 28), extra = qn_le16(record + 30),
           comment = qn_le16(record + 32);
    if (end - *at - CENTRAL_SIZE < name + extra + comment)
        return damaged(zip, "an entry's name leaves its list of files", err);
    *ret = (member){.name = {record + CENTRAL_SIZE, name},
                    .flags = qn_le16(record + 8),
                    .method = qn_le16(record + 10),
                    .crc = qn_le32(record + 16),
                    .packed = qn_le32(record + 20),
                    .size = qn_le32(record + 24),
                    .offset = qn_le32(record + 42)};
    if (!read_zip64((qn_str){record + CENTRAL_SIZE + name, extra}, ret))
        return damaged(zip, "a broken zip64 field", err);
    *at += CENTRAL_SIZE + name + extra + comment;
    return QN_OK;
}

static qn_status find_packed(const archive *zip, const member *entry, qn_str *ret, qn_error *err)
{
    if (entry->flags & 1)
        return damaged(zip, "an encrypted entry", err);
    if (!inside(zip, entry->offset, LOCAL_SIZE) ||
        memcmp(zip->bytes.data + entry->offset, "PK\3\4", 4) != 0)
        return damaged(zip, "an entry points outside the file", err);
    const char *local = zip->bytes.data + entry->offset;
    uint64_t begin = entry->offset + LOCAL_SIZE + qn_le16(local + 26) + qn_le16(local + 28);
    if (!inside(zip, begin, entry->packed))
        return damaged(zip, "an entry's data leaves the file", err);
    *ret = (qn_str){zip->bytes.data + begin, (size_t)entry->packed};
    return QN_OK;
}

static qn_status unpack(const archive *zip, const member *entry, qn_str packed, qn_arena *arena,
                        qn_str *ret, qn_error *err)
{
    if (entry->method == METHOD_STORED) {
        if (entry->packed != entry->size)
            return damaged(zip, "a stored entry of two sizes", err);
        *ret = packed;
        return QN_OK;
    }
    if (entry->method != METHOD_DEFLATE)
        return damaged(zip, "a compression method other than stored and deflate", err);
    if (entry->size / QN_INFLATE_RATIO_MAX > entry->packed)
        return damaged(zip, "an entry promises more than its data can hold", err);
    char *dst = qn_arena_alloc_aligned(arena, (size_t)entry->size, 64);
    if (!dst)
        return qn_error_set(err, QN_ERR_MEMORY, zip->file, "no memory for %llu bytes",
                            (unsigned long long)entry->size);
    qn_inflate inflate;
    QN_TRY(qn_inflate_open(&inflate, packed, QN_INFLATE_RAW, zip->file, err));
    qn_status status = qn_inflate_read(&inflate, dst, (size_t)entry->size, err);
    if (status == QN_OK)
        status = qn_inflate_finish(&inflate, err);
    qn_inflate_close(&inflate);
    *ret = (qn_str){dst, (size_t)entry->size};
    return status;
}

static qn_status read_array(const archive *zip, const member *entry, qn_arena *arena,
                            qn_named_tensor *ret, qn_error *err)
{
    qn_str packed = {0}, bytes = {0};
    QN_TRY(find_packed(zip, entry, &packed, err));
    QN_TRY(unpack(zip, entry, packed, arena, &bytes, err));
    if (qn_crc32(bytes.data, bytes.size) != entry->crc)
        return damaged(zip, "a checksum is wrong", err);
    if (!qn_str_ends(entry->name, ".npy") || memchr(entry->name.data, 0, entry->name.size))
        return qn_error_set(err, QN_ERR_DATA, zip->file, "'%.*s' in the archive is not an npy file",
                            QN_STR_ARG(entry->name));
    ret->name = qn_arena_strndup(arena, entry->name.data, entry->name.size - 4);
    if (!ret->name)
        return qn_error_set(err, QN_ERR_MEMORY, zip->file, "no memory for a name");
    qn_status status = qn_npy_read(bytes, zip->file, arena, &ret->tensor, err);
    return status == QN_OK ? QN_OK : qn_error_at(err, status, "array '%s'", ret->name);
}

static bool name_repeats(const qn_named_tensor *arrays, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        if (strcmp(arrays[i].name, arrays[count].name) == 0)
            return true;
    return false;
}

qn_status qn_npz_read(qn_str bytes, const char *file, size_t limit_bytes, qn_arena *arena,
                      qn_named_tensor **ret_arrays, int64_t *ret_count, qn_error *err)
{
    archive zip = {.bytes = bytes, .file = file};
    QN_TRY(open_archive(&zip, err));
    size_t limit = limit_bytes ? limit_bytes : limit_default;
    qn_named_tensor *arrays = QN_NEW(arena, qn_named_tensor, (int64_t)zip.entries);
    if (!arrays)
        return qn_error_set(err, QN_ERR_MEMORY, file, "no memory for %llu entries",
                            (unsigned long long)zip.entries);
    uint64_t at = zip.central_at;
    for (int64_t i = 0; i < (int64_t)zip.entries; i++) {
        member entry = {.name = QN_STR("")};
        QN_TRY(read_member(&zip, &at, &entry, err));
        if (entry.size > limit)
            return qn_error_set(err, QN_ERR_BUDGET, file,
                                "the arrays unpack to more than the limit of %zu bytes",
                                limit_bytes ? limit_bytes : limit_default);
        limit -= (size_t)entry.size;
        QN_TRY(read_array(&zip, &entry, arena, &arrays[i], err));
        if (name_repeats(arrays, i))
            return qn_error_set(err, QN_ERR_DATA, file, "two arrays are named '%s'",
                                arrays[i].name);
    }
    *ret_arrays = arrays;
    *ret_count = (int64_t)zip.entries;
    return QN_OK;
}

/* Writing */

static void put_le(qn_buf *dst, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        qn_buf_byte(dst, (char)(value >> (8 * i) & 0xff));
}

/* The fields that a local header and a central entry share, from "version needed" to the name's length. */
static void put_common(qn_buf *dst, uint32_t crc, size_t size, size_t name_size)
{
    put_le(dst, 20, 2);
    put_le(dst, 0, 2);
    put_le(dst, METHOD_STORED, 2);
    put_le(dst, 0, 2);
    put_le(dst, 0x21, 2); /* 1980-01-01, so that equal arrays give equal files */
    put_le(dst, crc, 4);
    put_le(dst, size, 4);
    put_le(dst, size, 4);
    put_le(dst, name_size, 2);
    put_le(dst, 0, 2);
}

typedef struct {
    uint32_t crc;
    size_t size, offset;
} written;

static void put_array(qn_buf *dst, const qn_named_tensor *array, qn_buf *npy, written *ret)
{
    qn_buf_reset(npy);
    qn_npy_write(npy, &array->tensor);
    if (npy->failed)
        return;
    *ret = (written){qn_crc32(npy->data, npy->size), npy->size, dst->size};
    qn_buf_text(dst, "PK\3\4");
    put_common(dst, ret->crc, ret->size, strlen(array->name) + 4);
    qn_buf_text(dst, array->name);
    qn_buf_text(dst, ".npy");
    qn_buf_append(dst, npy->data, npy->size);
}

static void put_central(qn_buf *dst, size_t archive_begin, const qn_named_tensor *arrays,
                        const written *entries, int64_t count)
{
    size_t begin = dst->size;
    for (int64_t i = 0; i < count; i++) {
        qn_buf_text(dst, "PK\1\2");
        put_le(dst, 20, 2);
        put_common(dst, entries[i].crc, entries[i].size, strlen(arrays[i].name) + 4);
        put_le(dst, 0, 8); /* comment, disk, attributes: none */
        put_le(dst, 0, 2);
        put_le(dst, entries[i].offset - archive_begin, 4);
        qn_buf_text(dst, arrays[i].name);
        qn_buf_text(dst, ".npy");
    }
    size_t size = dst->size - begin;
    qn_buf_text(dst, "PK\5\6");
    put_le(dst, 0, 4);
    put_le(dst, (uint64_t)count, 2);
    put_le(dst, (uint64_t)count, 2);
    put_le(dst, size, 4);
    put_le(dst, begin - archive_begin, 4);
    put_le(dst, 0, 2);
}

qn_status qn_npz_write(qn_buf *dst, const qn_named_tensor *arrays, int64_t count, qn_error *err)
{
    enum { ARRAYS_MAX = 4096 };
    if (count > ARRAYS_MAX)
        QN_FAIL(err, QN_ERR_ARG, "%lld arrays in one npz, the limit is %d", (long long)count,
                ARRAYS_MAX);
    qn_arena scratch;
    qn_arena_init(&scratch, 0);
    qn_buf npy;
    qn_buf_init(&npy, 0);
    size_t begin = dst->size;
    written *entries = QN_NEW(&scratch, written, count);
    for (int64_t i = 0; entries && i < count; i++)
        put_array(dst, &arrays[i], &npy, &entries[i]);
    if (entries)
        put_central(dst, begin, arrays, entries, count);
    qn_status status = QN_OK;
    if (!entries || npy.failed || dst->failed)
        status = qn_error_set(err, QN_ERR_MEMORY, NULL, "no memory to write %lld arrays",
                              (long long)count);
    else if (dst->size - begin > UINT32_MAX)
        status = qn_error_set(err, QN_ERR_BUDGET, NULL,
                              "the arrays take %zu bytes, an npz is limited to 4 GiB",
                              dst->size - begin);
    qn_buf_deinit(&npy);
    qn_arena_deinit(&scratch);
    return status;
}
