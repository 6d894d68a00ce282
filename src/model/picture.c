/*
 * Data URIs of pictures over format/image.
 */
#include "model/picture.h"

#include "base/arena.h"
#include "base/checked.h"
#include "format/image.h"

/* RFC 4648, section 4. */
static void append_base64(qn_buf *dst, const uint8_t *bytes, size_t size)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < size; i += 3) {
        size_t left = size - i;
        uint32_t group = (uint32_t)bytes[i] << 16;
        group |= left > 1 ? (uint32_t)bytes[i + 1] << 8 : 0;
        group |= left > 2 ? bytes[i + 2] : 0;
        qn_buf_byte(dst, digits[group >> 18]);
        qn_buf_byte(dst, digits[group >> 12 & 63]);
        qn_buf_byte(dst, left > 1 ? digits[group >> 6 & 63] : '=');
        qn_buf_byte(dst, left > 2 ? digits[group & 63] : '=');
    }
}

qn_status qn_picture_write(qn_buf *dst, const uint8_t *pixels, int64_t height, int64_t width,
                           int64_t channels, qn_error *err)
{
    qn_arena scratch;
    qn_buf png;
    qn_arena_init(&scratch, 0);
    qn_buf_init(&png, 0);
    int64_t longest = qn_max_i64(height, width), side = QN_PICTURE_SIDE_MAX;
    int64_t count = height * width * channels;
    uint8_t *copy = qn_arena_alloc(&scratch, (size_t)count);
    qn_status status = copy ? QN_OK : qn_error_set(err, QN_ERR_MEMORY, NULL, "out of memory");
    if (copy) {
        for (int64_t i = 0; i < count; i++)
            copy[i] = pixels[i];
        qn_image image = {height, width, channels, copy};
        if (longest > side) {
            qn_image small = {qn_max_i64(1, height * side / longest),
                              qn_max_i64(1, width * side / longest), channels, NULL};
            small.pixels =
                qn_arena_alloc(&scratch, (size_t)(small.height * small.width * channels));
            if (small.pixels) {
                qn_image_resize(small.pixels, small.height, small.width, &image);
                image = small;
            }
        }
        status = qn_image_write_png(&png, &image, err);
    }
    if (status == QN_OK) {
        qn_buf_text(dst, "data:image/png;base64,");
        append_base64(dst, (const uint8_t *)png.data, png.size);
    }
    qn_buf_deinit(&png);
    qn_arena_deinit(&scratch);
    return status;
}
