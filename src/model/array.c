/*
 * quern/array.h: IDX files as arrays of the C interface.
 */
#include "quern/array.h"

#include <string.h>

#include "base/alloc.h"
#include "base/arena.h"
#include "format/idx.h"
#include "os/file.h"

struct qn_array {
    qn_arena arena;
    qn_map map;
    qn_tensor tensor;
};

static qn_status read_into(qn_array *array, const char *folder, const char *name, qn_error *err)
{
    const char *path = qn_path_join(&array->arena, folder, name);
    if (path && !qn_path_exists(path)) {
        const char *packed = qn_arena_printf(&array->arena, "%s.gz", path);
        path = packed && qn_path_exists(packed) ? packed : path;
    }
    if (!path)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    QN_TRY(qn_map_open(path, &array->map, err));
    qn_str bytes = {array->map.data, array->map.size};
    return qn_idx_read(bytes, path, 0, &array->arena, &array->tensor, err);
}

qn_array *qn_array_read(const char *folder, const char *name, qn_error *err)
{
    qn_array *array = qn_alloc_zero(1, sizeof *array);
    if (!array) {
        (void)qn_error_set(err, QN_ERR_MEMORY, NULL, "out of memory");
        return NULL;
    }
    qn_arena_init(&array->arena, 0);
    if (read_into(array, folder, name, err) != QN_OK) {
        qn_array_destroy(array);
        return NULL;
    }
    return array;
}

static qn_status scale_images(qn_array *array, const char *name, qn_error *err)
{
    char text[128];
    qn_tensor *tensor = &array->tensor;
    if (tensor->dtype != QN_DTYPE_U8 || tensor->shape.rank != 3)
        QN_FAIL(err, QN_ERR_DATA, "'%s' holds %s of shape %s; images are u8 [count, height, width]",
                name, qn_dtype_name(tensor->dtype), qn_shape_text(&tensor->shape, text));
    int64_t count = qn_shape_count(&tensor->shape);
    float *pixels = qn_arena_zero(&array->arena, count, sizeof *pixels);
    if (!pixels)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory for the images of '%s'", name);
    const uint8_t *bytes = tensor->data;
    for (int64_t i = 0; i < count; i++)
        pixels[i] = (float)bytes[i] / 255;
    qn_shape shape = tensor->shape;
    shape.dims[shape.rank++] = 1;
    *tensor = qn_tensor_of(pixels, QN_DTYPE_F32, shape);
    return QN_OK;
}

qn_array *qn_array_read_images(const char *folder, const char *name, qn_error *err)
{
    qn_array *array = qn_array_read(folder, name, err);
    if (array && scale_images(array, name, err) != QN_OK) {
        qn_array_destroy(array);
        return NULL;
    }
    return array;
}

void qn_array_destroy(qn_array *array)
{
    if (!array)
        return;
    qn_map_close(&array->map);
    qn_arena_deinit(&array->arena);
    qn_free(array);
}

qn_view qn_array_view(const qn_array *array)
{
    qn_view view = {
        .data = array->tensor.data, .dtype = array->tensor.dtype, .rank = array->tensor.shape.rank};
    memcpy(view.dims, array->tensor.shape.dims, sizeof view.dims);
    return view;
}
