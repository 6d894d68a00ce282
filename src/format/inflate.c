/*
 * zlib behind bounds: its memory comes from base/alloc, its input and output are counted.
 */
#include "format/inflate_priv.h"

#include "base/alloc.h"
#include "base/checked.h"

enum { STEP_MAX = 1 << 30 }; /* zlib counts in unsigned int */

static void *zlib_alloc(void *context, unsigned items, unsigned size)
{
    (void)context;
    return qn_alloc_zero(items, size);
}

static void zlib_free(void *context, void *memory)
{
    (void)context;
    qn_free(memory);
}

bool qn_inflate_is_gzip(qn_str bytes)
{
    return bytes.size >= 2 && (uint8_t)bytes.data[0] == 0x1f && (uint8_t)bytes.data[1] == 0x8b;
}

qn_status qn_inflate_open(qn_inflate *in, qn_str bytes, qn_inflate_form form, const char *file,
                          qn_error *err)
{
    *in = (qn_inflate){
        .left = bytes, .file = file, .stream = {.zalloc = zlib_alloc, .zfree = zlib_free}};
    int window = form == QN_INFLATE_GZIP ? 16 + MAX_WBITS : -MAX_WBITS;
    if (inflateInit2(&in->stream, window) != Z_OK)
        return qn_error_set(err, QN_ERR_MEMORY, file, "no memory to decompress");
    return QN_OK;
}

/* One call of zlib with what fits into its counters. */
static int step(qn_inflate *in)
{
    z_stream *stream = &in->stream;
    if (stream->avail_in == 0 && in->left.size > 0) {
        size_t size = in->left.size < STEP_MAX ? in->left.size : STEP_MAX;
        stream->next_in =
            (z_const Bytef *)(uintptr_t)in->left.data; /* zlib's type lacks the const */
        stream->avail_in = (unsigned)size;
        in->left.data += size;
        in->left.size -= size;
    }
    int result = inflate(stream, Z_NO_FLUSH);
    in->ended = result == Z_STREAM_END;
    return result;
}

qn_status qn_inflate_read(qn_inflate *in, void *dst, size_t size, qn_error *err)
{
    size_t done = 0;
    while (done < size && !in->ended) {
        size_t want = size - done < STEP_MAX ? size - done : STEP_MAX;
        in->stream.next_out = (Bytef *)dst + done;
        in->stream.avail_out = (unsigned)want;
        int result = step(in);
        size_t got = want - in->stream.avail_out;
        done += got;
        if (result == Z_MEM_ERROR)
            return qn_error_set(err, QN_ERR_MEMORY, in->file, "no memory to decompress");
        if (result == Z_BUF_ERROR && got == 0)
            break;
        if (result != Z_OK && result != Z_STREAM_END && result != Z_BUF_ERROR)
            return qn_error_set(err, QN_ERR_DATA, in->file, "the compressed data is damaged (%s)",
                                in->stream.msg ? in->stream.msg : "zlib refuses it");
    }
    if (done < size)
        return qn_error_set(err, QN_ERR_DATA, in->file,
                            "the compressed data ends after %zu of %zu bytes", done, size);
    return QN_OK;
}

qn_status qn_inflate_finish(qn_inflate *in, qn_error *err)
{
    Bytef extra;
    while (!in->ended) {
        in->stream.next_out = &extra;
        in->stream.avail_out = 1;
        int result = step(in);
        if (in->stream.avail_out == 0)
            return qn_error_set(err, QN_ERR_DATA, in->file,
                                "there is more data than the header says");
        if (result != Z_OK && result != Z_STREAM_END)
            return qn_error_set(err, QN_ERR_DATA, in->file,
                                "the compressed data is cut off or damaged");
    }
    if (in->stream.avail_in + in->left.size > 0)
        return qn_error_set(err, QN_ERR_DATA, in->file, "%zu bytes follow the compressed data",
                            in->stream.avail_in + in->left.size);
    return QN_OK;
}

void qn_inflate_close(qn_inflate *in)
{
    inflateEnd(&in->stream);
}
