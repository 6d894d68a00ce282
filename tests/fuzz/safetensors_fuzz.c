/* safetensors: what is read tiles the file, and writes and reads back; or an error. */
#include "format/safetensors.h"

#include "base/error.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    qn_arena arena;
    qn_safetensors file, again;
    qn_error err = {0};
    qn_arena_init(&arena, 64 << 20);
    if (qn_safetensors_read((qn_str){(const char *)data, size}, "f", &arena, &file, &err) ==
        QN_OK) {
        qn_buf copy;
        qn_buf_init(&copy, 0);
        if (qn_safetensors_write(&copy, file.tensors, file.count, file.meta_keys, file.meta_values,
                                 file.meta_count, &err) == QN_OK)
            QN_ASSERT(qn_safetensors_read(qn_buf_view(&copy), "f", &arena, &again, &err) == QN_OK &&
                      again.count == file.count);
        qn_buf_deinit(&copy);
    }
    qn_arena_deinit(&arena);
    return 0;
}
