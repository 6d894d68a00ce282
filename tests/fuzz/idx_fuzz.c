/* IDX, plain and gzipped: an array whose bytes are all there, or an error. */
#include "format/idx.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    qn_arena arena;
    qn_tensor array;
    qn_error err = {0};
    volatile uint8_t sum = 0;
    qn_arena_init(&arena, 64 << 20);
    qn_str bytes = {(const char *)data, size};
    if (qn_idx_read(bytes, "f", 16 << 20, &arena, &array, &err) == QN_OK)
        for (size_t i = 0; i < qn_tensor_bytes(&array); i++)
            sum = (uint8_t)(sum + ((const uint8_t *)array.data)[i]);
    (void)(qn_idx_peek(bytes, "f", &array, &err) == QN_OK);
    qn_arena_deinit(&arena);
    return 0;
}
