/*
 * Checkpoint files over format/safetensors.
 */
#include "model/weights.h"

#include "base/buf.h"
#include "format/safetensors.h"

qn_status qn_weights_write(const char *path, const qn_named_tensor *tensors, int64_t count,
                           qn_str note, qn_error *err)
{
    qn_buf bytes;
    qn_str key = QN_STR("quern");
    qn_buf_init(&bytes, 0);
    qn_status status = qn_safetensors_write(&bytes, tensors, count, &key, &note, 1, err);
    if (status == QN_OK && bytes.failed)
        status = qn_error_set(err, QN_ERR_MEMORY, NULL, "out of memory");
    if (status == QN_OK)
        status = qn_file_replace(path, bytes.data, bytes.size, err);
    qn_buf_deinit(&bytes);
    return status;
}

qn_status qn_weights_open(const char *path, qn_arena *arena, qn_weights *ret, qn_error *err)
{
    qn_weights weights = {0};
    qn_safetensors file;
    QN_TRY(qn_map_open(path, &weights.map, err));
    qn_str bytes = {weights.map.data, weights.map.size};
    qn_status status = qn_safetensors_read(bytes, path, arena, &file, err);
    if (status != QN_OK) {
        qn_map_close(&weights.map);
        return status;
    }
    weights.tensors = file.tensors;
    weights.count = file.count;
    for (int64_t i = 0; i < file.meta_count; i++)
        if (qn_str_is(file.meta_keys[i], "quern"))
            weights.note = file.meta_values[i];
    *ret = weights;
    return QN_OK;
}

void qn_weights_close(qn_weights *weights)
{
    qn_map_close(&weights->map);
    *weights = (qn_weights){0};
}
