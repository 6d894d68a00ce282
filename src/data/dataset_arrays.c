/*
 * Data sets of arrays: IDX files under the usual names, and NPZ.
 */
#include <stdio.h>

#include "base/checked.h"
#include "data/dataset_priv.h"
#include "format/idx.h"
#include "format/npy.h"

/* Arrays of one row each become columns of numbers. */
static qn_status add_numbers(qn_open_dataset *set, qn_frame *frame, qn_str name,
                             const qn_tensor *array, qn_error *err)
{
    qn_column *column = qn_frame_add(frame, name, QN_COLUMN_NUMBER, &set->arena);
    if (!column)
        return qn_dataset_no_memory(set, err);
    column->boolean = array->dtype == QN_DTYPE_BOOL;
    qn_tensor_convert(column->numbers, QN_DTYPE_F64, array);
    return QN_OK;
}

static qn_status set_part(qn_open_dataset *set, qn_frame *frame, const char *file, qn_error *err)
{
    qn_frame_part *part = QN_NEW(&set->arena, qn_frame_part, 1);
    if (!part)
        return qn_dataset_no_memory(set, err);
    *part = (qn_frame_part){file, 0, 1};
    frame->parts = part;
    frame->parts_count = 1;
    return QN_OK;
}

/* IDX */

static const char *file_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

bool qn_dataset_is_idx(const char *path)
{
    return strstr(file_name(path), "idx") && (strstr(path, "ubyte") || strstr(path, ".idx"));
}

typedef struct {
    const char *images, *labels;
    qn_str images_bytes, labels_bytes;
    qn_tensor images_head, labels_head;
} idx_part;

typedef struct {
    idx_part main, test;
} idx_files;

static bool put_file(const char *path, bool all_test, idx_files *files)
{
    const char *name = file_name(path);
    bool test = all_test || strstr(name, "t10k") || strstr(name, "test");
    idx_part *part = test ? &files->test : &files->main;
    const char **place = strstr(name, "images")   ? &part->images
                         : strstr(name, "labels") ? &part->labels
                                                  : NULL;
    if (!place || *place)
        return false;
    *place = path;
    return true;
}

static qn_status list_folder(const char *folder, bool all_test, qn_arena *arena, idx_files *files,
                             qn_error *err)
{
    char **names;
    int64_t count;
    QN_TRY(qn_folder_list(folder, arena, &names, &count, err));
    for (int64_t i = 0; i < count; i++) {
        if (!qn_dataset_is_idx(names[i]))
            continue;
        const char *path = qn_path_join(arena, folder, names[i]);
        if (!path)
            QN_FAIL(err, QN_ERR_MEMORY, "no memory for a path");
        if (!put_file(path, all_test, files))
            return qn_error_set(err, QN_ERR_DATA, path,
                                "two IDX files for one part, or neither images nor labels");
    }
    return QN_OK;
}

bool qn_dataset_is_idx_folder(const char *path, qn_arena *scratch)
{
    idx_files files = {0};
    return list_folder(path, false, scratch, &files, NULL) == QN_OK &&
           (files.main.images || files.test.images);
}

static qn_status map_part(qn_open_dataset *set, idx_part *part, qn_error *err)
{
    if (part->images) {
        QN_TRY(qn_dataset_map(set, part->images, &part->images_bytes, err));
        QN_TRY(qn_idx_peek(part->images_bytes, part->images, &part->images_head, err));
    }
    if (part->labels) {
        QN_TRY(qn_dataset_map(set, part->labels, &part->labels_bytes, err));
        QN_TRY(qn_idx_peek(part->labels_bytes, part->labels, &part->labels_head, err));
    }
    int64_t images = part->images_head.shape.dims[0], labels = part->labels_head.shape.dims[0];
    if (part->images && part->labels && images != labels)
        return qn_error_set(err, QN_ERR_DATA, part->labels, "%lld labels for the %lld images of %s",
                            (long long)labels, (long long)images, part->images);
    if (part->labels && part->labels_head.shape.rank != 1)
        return qn_error_set(err, QN_ERR_DATA, part->labels, "labels of rank %d, expected 1",
                            part->labels_head.shape.rank);
    return QN_OK;
}

static int64_t part_rows(const idx_part *part)
{
    return part->images   ? part->images_head.shape.dims[0]
           : part->labels ? part->labels_head.shape.dims[0]
                          : 0;
}

static qn_status check_parts(const idx_files *files, qn_error *err)
{
    const idx_part *main = &files->main, *test = &files->test;
    if (!test->images && !test->labels)
        return QN_OK;
    if (!main->images != !test->images || !main->labels != !test->labels)
        QN_FAIL(err, QN_ERR_DATA,
                "the training and test parts must both have images, and both or neither labels");
    qn_shape expected = main->images_head.shape;
    if (!main->images)
        return QN_OK;
    expected.dims[0] = test->images_head.shape.dims[0];
    if (!qn_shape_equal(&expected, &test->images_head.shape) ||
        main->images_head.dtype != test->images_head.dtype) {
        char got[128], want[128];
        return qn_error_set(err, QN_ERR_DATA, test->images,
                            "images of shape %s, expected %s as in %s",
                            qn_shape_text(&test->images_head.shape, got),
                            qn_shape_text(&expected, want), main->images);
    }
    return QN_OK;
}

/* Decompresses both parts behind each other, so that nothing is copied twice. */
static qn_status read_images(qn_open_dataset *set, const idx_files *files, qn_frame *frame,
                             qn_error *err)
{
    qn_tensor all = files->main.images_head;
    size_t main_size = qn_tensor_bytes(&files->main.images_head), test_size = 0;
    if (files->test.images)
        test_size = qn_tensor_bytes(&files->test.images_head);
    all.shape.dims[0] = frame->rows;
    char *pixels = qn_arena_alloc_aligned(&set->arena, main_size + test_size, 64);
    if (!pixels)
        return qn_dataset_no_memory(set, err);
    QN_TRY(qn_idx_read_into(files->main.images_bytes, files->main.images, pixels, main_size, err));
    if (files->test.images)
        QN_TRY(qn_idx_read_into(files->test.images_bytes, files->test.images, pixels + main_size,
                                test_size, err));
    all = qn_tensor_of(pixels, all.dtype, all.shape);
    return qn_frame_add_array(frame, QN_STR("image"), &all) ? QN_OK
                                                            : qn_dataset_no_memory(set, err);
}

static qn_status read_labels(qn_open_dataset *set, const idx_part *part, double *dst, qn_error *err)
{
    qn_tensor labels;
    QN_TRY(qn_idx_read(part->labels_bytes, part->labels, 0, &set->arena, &labels, err));
    qn_tensor_convert(dst, QN_DTYPE_F64, &labels);
    return QN_OK;
}

static qn_status fill_frame(qn_open_dataset *set, const idx_files *files, qn_frame *frame,
                            qn_error *err)
{
    if (files->main.images)
        QN_TRY(read_images(set, files, frame, err));
    if (!files->main.labels)
        return QN_OK;
    double *labels = qn_frame_numbers(frame, QN_STR("label"), &set->arena);
    if (!labels)
        return qn_dataset_no_memory(set, err);
    QN_TRY(read_labels(set, &files->main, labels, err));
    if (files->test.labels)
        QN_TRY(read_labels(set, &files->test, labels + set->public.rows_main, err));
    set->public.target = "label";
    return QN_OK;
}

qn_status qn_dataset_open_idx(qn_open_dataset *set, const qn_path_list *paths, int64_t main_count,
                              qn_error *err)
{
    idx_files files = {0};
    for (int64_t i = 0; i < paths->count; i++) {
        const char *path = paths->paths[i];
        if (qn_path_is_folder(path))
            QN_TRY(list_folder(path, i >= main_count, &set->arena, &files, err));
        else if (!put_file(path, i >= main_count, &files))
            return qn_error_set(err, QN_ERR_DATA, path,
                                "two IDX files for one part, or neither images nor labels");
    }
    if (!files.main.images && !files.main.labels) { /* the test part alone is data like any other */
        files.main = files.test;
        files.test = (idx_part){0};
    }
    QN_TRY(map_part(set, &files.main, err));
    QN_TRY(map_part(set, &files.test, err));
    QN_TRY(check_parts(&files, err));
    set->public.rows_main = part_rows(&files.main);
    qn_frame frame;
    QN_TRY(
        qn_frame_init(&frame, &set->arena, 2, set->public.rows_main + part_rows(&files.test), err));
    QN_TRY(set_part(set, &frame, files.main.images ? files.main.images : files.main.labels, err));
    QN_TRY(fill_frame(set, &files, &frame, err));
    set->public.kind = "idx";
    set->public.frame = frame;
    return QN_OK;
}

/* NPZ */

static qn_status add_array(qn_open_dataset *set, qn_frame *frame, const qn_named_tensor *array,
                           qn_error *err)
{
    qn_tensor tensor = array->tensor;
    while (tensor.shape.rank > 1 && tensor.shape.dims[tensor.shape.rank - 1] == 1 &&
           tensor.shape.rank == 2)
        tensor.shape.rank--;
    tensor = qn_tensor_of(tensor.data, tensor.dtype, tensor.shape);
    if (tensor.shape.rank == 1)
        return add_numbers(set, frame, qn_str_from(array->name), &tensor, err);
    return qn_frame_add_array(frame, qn_str_from(array->name), &tensor)
               ? QN_OK
               : qn_dataset_no_memory(set, err);
}

static qn_status read_npz(qn_open_dataset *set, const char *path, qn_frame *ret, qn_error *err)
{
    qn_str bytes;
    qn_named_tensor *arrays;
    int64_t count;
    QN_TRY(qn_dataset_map(set, path, &bytes, err));
    QN_TRY(qn_npz_read(bytes, path, 0, &set->arena, &arrays, &count, err));
    if (count == 0)
        return qn_error_set(err, QN_ERR_DATA, path, "the archive holds no arrays");
    for (int64_t i = 0; i < count; i++) {
        const qn_shape *shape = &arrays[i].tensor.shape;
        int64_t rows = shape->rank ? shape->dims[0] : 1, first = arrays[0].tensor.shape.dims[0];
        if (shape->rank == 0 || rows != first)
            return qn_error_set(err, QN_ERR_DATA, path, "array '%s' has %lld rows, '%s' has %lld",
                                arrays[i].name, (long long)rows, arrays[0].name, (long long)first);
    }
    QN_TRY(qn_frame_init(ret, &set->arena, count, arrays[0].tensor.shape.dims[0], err));
    QN_TRY(set_part(set, ret, path, err));
    for (int64_t i = 0; i < count; i++)
        QN_TRY(add_array(set, ret, &arrays[i], err));
    return QN_OK;
}

qn_status qn_dataset_open_npz(qn_open_dataset *set, const qn_path_list *paths, int64_t main_count,
                              qn_error *err)
{
    qn_frame *frames = QN_NEW(&set->arena, qn_frame, paths->count);
    if (!frames)
        return qn_dataset_no_memory(set, err);
    for (int64_t i = 0; i < paths->count; i++) {
        QN_TRY(read_npz(set, paths->paths[i], &frames[i], err));
        set->public.rows_main += i < main_count ? frames[i].rows : 0;
    }
    set->public.kind = "npz";
    return qn_dataset_join(set, frames, paths->count, err);
}
