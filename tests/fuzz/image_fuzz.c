/* PNG: pixels or an error. */
#include "format/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    qn_str bytes = {(const char *)data, size};
    for (int64_t channels = 0; channels <= 3; channels += channels ? 2 : 1) {
        qn_arena arena;
        qn_image image;
        qn_error err = {0};
        uint8_t small[8 * 8 * 3];
        qn_arena_init(&arena, 64 << 20);
        if (qn_image_read(bytes, "f", channels, &arena, &image, &err) == QN_OK)
            qn_image_resize(small, 8, 8, &image);
        qn_arena_deinit(&arena);
    }
    return 0;
}
