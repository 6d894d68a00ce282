/* NPY and NPZ: arrays whose bytes are all there, or an error. */
#include "format/npy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void touch(const qn_tensor *array)
{
    volatile uint8_t sum = 0;
    for (size_t i = 0; i < qn_tensor_bytes(array); i++)
        sum = (uint8_t)(sum + ((const uint8_t *)array->data)[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    qn_arena arena;
    qn_tensor array;
    qn_named_tensor *arrays;
    int64_t count;
    qn_error err = {0};
    qn_arena_init(&arena, 64 << 20);
    qn_str bytes = {(const char *)data, size};
    if (qn_npy_read(bytes, "f", &arena, &array, &err) == QN_OK)
        touch(&array);
    if (qn_npz_read(bytes, "f", 16 << 20, &arena, &arrays, &count, &err) == QN_OK)
        for (int64_t i = 0; i < count; i++)
            touch(&arrays[i].tensor);
    qn_arena_deinit(&arena);
    return 0;
}
