/*
 * PNG through libpng, with its memory from base/alloc and its errors turned into ours. Sizes are checked from the header
 * before a row is decoded.
 */
#include "format/image.h"

#include <png.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "format/bytes_priv.h"

enum { PIXELS_MAX = 64 << 20, SIDE_MAX = 1 << 16, IHDR_END = 33 };

/* libpng longjmps out of its error handler; this struct lives outside the jumping frame. */
typedef struct {
    qn_str bytes;
    size_t at;
    qn_buf *dst;
    const char *name;
    char message[160];
} png_job;

bool qn_image_is_known(qn_str bytes)
{
    return bytes.size >= 8 && memcmp(bytes.data, "\x89PNG\r\n\x1a\n", 8) == 0;
}

static void on_error(png_structp png, png_const_charp message)
{
    png_job *job = png_get_error_ptr(png);
    size_t size = strlen(message);
    size = size < sizeof job->message - 1 ? size : sizeof job->message - 1;
    memcpy(job->message, message, size);
    job->message[size] = 0;
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp message)
{
    (void)png;
    (void)message; /* libpng mends what it warns of */
}

static png_voidp on_alloc(png_structp png, png_alloc_size_t size)
{
    (void)png;
    return qn_alloc(size);
}

static void on_free(png_structp png, png_voidp memory)
{
    (void)png;
    qn_free(memory);
}

static void on_read(png_structp png, png_bytep dst, size_t size)
{
    png_job *job = png_get_io_ptr(png);
    if (size > job->bytes.size - job->at)
        png_error(png, "the file ends too early");
    memcpy(dst, job->bytes.data + job->at, size);
    job->at += size;
}

static void on_write(png_structp png, png_bytep src, size_t size)
{
    png_job *job = png_get_io_ptr(png);
    qn_buf_append(job->dst, src, size);
}

static void on_flush(png_structp png)
{
    (void)png;
}

qn_status qn_image_peek(qn_str bytes, const char *name, int64_t *ret_height, int64_t *ret_width,
                        int64_t *ret_channels, qn_error *err)
{
    if (!qn_image_is_known(bytes))
        return qn_error_set(err, QN_ERR_DATA, name,
                            "not an image that can be read here, expected PNG");
    if (bytes.size < IHDR_END || memcmp(bytes.data + 12, "IHDR", 4) != 0)
        return qn_error_set(err, QN_ERR_DATA, name, "the PNG header is cut off");
    int64_t width = qn_be32(bytes.data + 16), height = qn_be32(bytes.data + 20);
    if (width < 1 || height < 1)
        return qn_error_set(err, QN_ERR_DATA, name, "an image of %lld x %lld pixels",
                            (long long)height, (long long)width);
    if (width > SIDE_MAX || height > SIDE_MAX || width * height > PIXELS_MAX)
        return qn_error_set(err, QN_ERR_BUDGET, name,
                            "an image of %lld x %lld pixels, the limit is %d in all",
                            (long long)height, (long long)width, PIXELS_MAX);
    *ret_height = height;
    *ret_width = width;
    *ret_channels = (uint8_t)bytes.data[25] & PNG_COLOR_MASK_COLOR ? 3 : 1;
    return QN_OK;
}

/* Asks libpng for 8-bit grey or RGB over white, whatever the file holds. */
static void ask_for_bytes(png_structp png, png_infop info, int64_t channels)
{
    png_color_16 white = {.red = 0xffff, .green = 0xffff, .blue = 0xffff, .gray = 0xffff};
    png_byte colour = png_get_color_type(png, info);
    png_set_expand(png);
    png_set_strip_16(png);
    if (png_get_bit_depth(png, info) < 16)
        white = (png_color_16){.red = 255, .green = 255, .blue = 255, .gray = 255};
    if (colour & PNG_COLOR_MASK_ALPHA || png_get_valid(png, info, PNG_INFO_tRNS))
        png_set_background(png, &white, PNG_BACKGROUND_GAMMA_SCREEN, 0, 1.0);
    if (channels == 3 && !(colour & PNG_COLOR_MASK_COLOR))
        png_set_gray_to_rgb(png);
    if (channels == 1 && colour & PNG_COLOR_MASK_COLOR)
        png_set_rgb_to_gray_fixed(png, PNG_ERROR_ACTION_NONE, PNG_RGB_TO_GRAY_DEFAULT,
                                  PNG_RGB_TO_GRAY_DEFAULT);
    png_set_interlace_handling(png);
    png_read_update_info(png, info);
}

/* Decodes into pixels whose rows are `stride` bytes; false = job->message says why. Rows are checked to be what was
 * allocated before they are read. */
static bool decode(png_structp png, png_infop info, png_job *job, qn_image *image, png_bytep *rows)
{
    if (setjmp(png_jmpbuf(png)))
        return false;
    png_set_read_fn(png, job, on_read);
    png_set_user_limits(png, SIDE_MAX, SIDE_MAX);
    png_read_info(png, info);
    ask_for_bytes(png, info, image->channels);
    if (png_get_rowbytes(png, info) != (size_t)(image->width * image->channels))
        png_error(png, "rows of an unexpected size");
    png_read_image(png, rows);
    return true;
}

static qn_status decode_into(png_job *job, qn_image *image, png_bytep *rows, qn_error *err)
{
    png_structp png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, job, on_error, on_warning,
                                               job, on_alloc, on_free);
    if (!png)
        return qn_error_set(err, QN_ERR_MEMORY, job->name, "no memory to decode the image");
    png_infop info = png_create_info_struct(png);
    bool done = info && decode(png, info, job, image, rows);
    png_destroy_read_struct(&png, &info, NULL);
    if (!done)
        return qn_error_set(err, QN_ERR_DATA, job->name, "the image is damaged: %s",
                            job->message[0] ? job->message : "no memory");
    return QN_OK;
}

qn_status qn_image_read(qn_str bytes, const char *name, int64_t channels, qn_arena *arena,
                        qn_image *ret, qn_error *err)
{
    qn_image image = {0};
    int64_t own = 0;
    QN_TRY(qn_image_peek(bytes, name, &image.height, &image.width, &own, err));
    image.channels = channels ? channels : own;
    int64_t stride = image.width * image.channels;
    image.pixels = qn_arena_alloc(arena, (size_t)(image.height * stride));
    png_bytep *rows = QN_NEW(arena, png_bytep, image.height);
    if (!image.pixels || !rows)
        return qn_error_set(err, QN_ERR_MEMORY, name, "no memory for %lld x %lld pixels",
                            (long long)image.height, (long long)image.width);
    for (int64_t y = 0; y < image.height; y++)
        rows[y] = image.pixels + y * stride;
    png_job job = {.bytes = bytes, .name = name};
    QN_TRY(decode_into(&job, &image, rows, err));
    *ret = image;
    return QN_OK;
}

static bool encode(png_structp png, png_infop info, png_job *job, const qn_image *image)
{
    if (setjmp(png_jmpbuf(png)))
        return false;
    png_set_write_fn(png, job, on_write, on_flush);
    png_set_IHDR(png, info, (png_uint_32)image->width, (png_uint_32)image->height, 8,
                 image->channels == 3 ? PNG_COLOR_TYPE_RGB : PNG_COLOR_TYPE_GRAY,
                 PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_write_info(png, info);
    for (int64_t y = 0; y < image->height; y++)
        png_write_row(png, image->pixels + y * image->width * image->channels);
    png_write_end(png, info);
    return true;
}

qn_status qn_image_write_png(qn_buf *dst, const qn_image *image, qn_error *err)
{
    if (image->channels != 1 && image->channels != 3)
        QN_FAIL(err, QN_ERR_ARG, "an image of %lld channels, expected 1 or 3",
                (long long)image->channels);
    png_job job = {.dst = dst};
    png_structp png = png_create_write_struct_2(PNG_LIBPNG_VER_STRING, &job, on_error, on_warning,
                                                &job, on_alloc, on_free);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    bool done = info && encode(png, info, &job, image);
    png_destroy_write_struct(&png, &info);
    if (!done || dst->failed)
        QN_FAIL(err, QN_ERR_MEMORY, "no memory to write a PNG of %lld x %lld pixels",
                (long long)image->height, (long long)image->width);
    return QN_OK;
}

/* The source pixels under one target pixel along one axis: its own area when shrinking, two neighbours when growing. */
typedef struct {
    int64_t first, last;
    float low; /* weight of `first` when growing; -1 = all weigh the same */
} axis_span;

static axis_span span_axis(int64_t target, int64_t target_size, int64_t source_size)
{
    float scale = (float)source_size / (float)target_size;
    float begin = (float)target * scale, end = begin + scale;
    axis_span span;
    if (scale <= 1.0f) {
        float centre = (begin + end) * 0.5f - 0.5f;
        centre = centre < 0 ? 0 : centre;
        span.first = qn_min_i64((int64_t)centre, source_size - 1);
        span.last = qn_min_i64(span.first + 1, source_size - 1);
        span.low = 1.0f - (centre - (float)span.first);
        return span;
    }
    span.first = qn_min_i64((int64_t)begin, source_size - 1);
    span.last = qn_max_i64(span.first, qn_min_i64((int64_t)(end - 0.001f), source_size - 1));
    span.low = -1.0f;
    return span;
}

static float span_weight(const axis_span *span, int64_t at)
{
    if (span->low < 0)
        return 1.0f / (float)(span->last - span->first + 1);
    if (span->first == span->last)
        return 1.0f;
    return at == span->first ? span->low : 1.0f - span->low;
}

static void resize_pixel(uint8_t *dst, const qn_image *src, const axis_span *rows,
                         const axis_span *columns)
{
    float sums[4] = {0};
    for (int64_t y = rows->first; y <= rows->last; y++)
        for (int64_t x = columns->first; x <= columns->last; x++) {
            float weight = span_weight(rows, y) * span_weight(columns, x);
            const uint8_t *pixel = src->pixels + (y * src->width + x) * src->channels;
            for (int64_t c = 0; c < src->channels; c++)
                sums[c] += weight * (float)pixel[c];
        }
    for (int64_t c = 0; c < src->channels; c++)
        dst[c] = (uint8_t)(sums[c] + 0.5f);
}

void qn_image_resize(uint8_t *dst, int64_t height, int64_t width, const qn_image *src)
{
    QN_ASSERT(src->channels <= 4);
    for (int64_t y = 0; y < height; y++) {
        axis_span rows = span_axis(y, height, src->height);
        for (int64_t x = 0; x < width; x++) {
            axis_span columns = span_axis(x, width, src->width);
            resize_pixel(dst, src, &rows, &columns);
            dst += src->channels;
        }
    }
}
