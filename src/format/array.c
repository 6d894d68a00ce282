/*
 * The public reader of single arrays (quern/array.h): finds the file, plain or gzipped, tells IDX
 * from NPY, and gives bytes of images as floats. What the formats are is said in idx.c and npy.c.
 */
#include "quern/array.h"

#include <string.h>

#include "base/alloc.h"
#include "base/arena.h"
#include "base/error.h"
#include "format/idx.h"
#include "format/npy.h"
#include "os/file.h"

struct qn_array {
    qn_arena memory; /* lifetime: the array's */
    qn_tensor values;
};

static qn_status read_values(const char *folder, const char *name, qn_array *array, qn_error *err)
{
    const char *path = qn_path_join(&array->memory, folder, name);
    const char *zipped = path ? qn_arena_printf(&array->memory, "%s.gz", path) : NULL;
    if (!zipped)
        QN_FAIL(err, QN_ERR_MEMORY, "no memory for a path");
    if (!qn_path_exists(path) && qn_path_exists(zipped))
        path = zipped;

    qn_str bytes;
    QN_TRY(qn_file_read(path, 0, &array->memory, &bytes, err));
    if (qn_str_starts(bytes, "\x93NUMPY"))
        return qn_npy_read(bytes, path, &array->memory, &array->values, err);
    return qn_idx_read(bytes, path, 0, &array->memory, &array->values, err);
}

/* Divides bytes by 255 and names the channel dimension where the file left it out. */
static qn_status to_images(qn_array *array, const char *name, qn_error *err)
{
    const qn_tensor *bytes = &array->values;
    if (bytes->dtype != QN_DTYPE_U8 || bytes->shape.rank < 3 || bytes->shape.rank > 4) {
        char text[128];
        QN_FAIL(err, QN_ERR_DATA,
                "%s holds %s of %s; images are uint8 of [images, height, width] or [images, "
                "height, width, channels]",
                name, qn_dtype_name(bytes->dtype), qn_shape_text(&bytes->shape, text));
    }
    qn_shape shape = bytes->shape;
    if (shape.rank == 3)
        shape.dims[shape.rank++] = 1;
    int64_t count = qn_shape_count(&shape);
    float *pixels = qn_arena_zero(&array->memory, count, sizeof(float));
    if (!pixels)
        QN_FAIL(err, QN_ERR_MEMORY, "no memory for %lld pixels of %s", (long long)count, name);
    const uint8_t *from = bytes->data;
    for (int64_t i = 0; i < count; i++)
        pixels[i] = (float)from[i] / 255.0F;
    array->values = qn_tensor_of(pixels, QN_DTYPE_F32, shape);
    return QN_OK;
}

static qn_array *read_array(const char *folder, const char *name, bool images, qn_error *err)
{
    qn_array *array = qn_alloc_zero(1, sizeof *array);
    if (!array) {
        qn_error_set(err, QN_ERR_MEMORY, NULL, "no memory to read %s", name);
        return NULL;
    }
    qn_arena_init(&array->memory, 0);
    qn_status status = read_values(folder, name, array, err);
    if (status == QN_OK && images)
        status = to_images(array, name, err);
    if (status != QN_OK) {
        qn_array_destroy(array);
        return NULL;
    }
    return array;
}

qn_array *qn_array_read(const char *folder, const char *name, qn_error *err)
{
    return read_array(folder, name, false, err);
}

qn_array *qn_array_read_images(const char *folder, const char *name, qn_error *err)
{
    return read_array(folder, name, true, err);
}

qn_view qn_array_view(const qn_array *array)
{
    const qn_tensor *values = &array->values;
    qn_view view = {.data = values->data, .dtype = values->dtype, .rank = values->shape.rank};
    memcpy(view.dims, values->shape.dims, sizeof view.dims);
    return view;
}

void qn_array_destroy(qn_array *array)
{
    if (!array)
        return;
    qn_arena_deinit(&array->memory);
    qn_free(array);
}
