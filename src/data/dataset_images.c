/*
 * Data sets of image files: a folder per class, and tables whose cells are paths.
 */
#include "base/checked.h"
#include "data/dataset_priv.h"
#include "format/image.h"

enum {
    FILES_MAX = 2000000,
    SAMPLE_PATHS = 20, /* so many paths that exist make a column of images */
    SAMPLE_LEAST = 3,
    FILE_SIZE_MAX = 64 << 20,
};

typedef struct {
    qn_open_dataset *set;
    qn_str *images, *labels;
    int64_t count, capacity;
} gathering;

static bool is_image_name(const char *name)
{
    size_t size = strlen(name);
    return size > 4 && qn_str_equal_nocase((qn_str){name + size - 4, 4}, QN_STR(".png"));
}

static qn_status grow(gathering *in, qn_error *err)
{
    int64_t capacity = in->capacity ? 2 * in->capacity : 1024;
    qn_str *images = QN_NEW(&in->set->arena, qn_str, capacity),
           *labels = QN_NEW(&in->set->arena, qn_str, capacity);
    if (!images || !labels)
        return qn_dataset_no_memory(in->set, err);
    for (int64_t i = 0; i < in->count; i++) {
        images[i] = in->images[i];
        labels[i] = in->labels[i];
    }
    in->images = images;
    in->labels = labels;
    in->capacity = capacity;
    return QN_OK;
}

static qn_status add_class(gathering *in, const char *folder, const char *label, qn_error *err)
{
    char **names;
    int64_t count;
    qn_arena *arena = &in->set->arena;
    QN_TRY(qn_folder_list(folder, arena, &names, &count, err));
    for (int64_t i = 0; i < count; i++) {
        if (!is_image_name(names[i]))
            continue;
        if (in->count == FILES_MAX)
            QN_FAIL(err, QN_ERR_BUDGET, "more than %d image files", FILES_MAX);
        if (in->count == in->capacity)
            QN_TRY(grow(in, err));
        QN_ASSERT(in->images && in->labels);
        const char *path = qn_path_join(arena, folder, names[i]);
        if (!path)
            return qn_dataset_no_memory(in->set, err);
        QN_TRY(qn_file_read(path, FILE_SIZE_MAX, arena, &in->images[in->count], err));
        in->labels[in->count++] = qn_str_from(label);
    }
    return QN_OK;
}

static qn_status add_classes(gathering *in, const char *folder, qn_error *err)
{
    char **names;
    int64_t count, before = in->count;
    QN_TRY(qn_folder_list(folder, &in->set->arena, &names, &count, err));
    for (int64_t i = 0; i < count; i++) {
        const char *path = qn_path_join(&in->set->arena, folder, names[i]);
        if (!path)
            return qn_dataset_no_memory(in->set, err);
        if (qn_path_is_folder(path))
            QN_TRY(add_class(in, path, names[i], err));
    }
    if (in->count > before)
        return QN_OK;
    qn_status status =
        qn_error_set(err, QN_ERR_DATA, folder, "the folder holds no data that can be read");
    return qn_error_hint(err, status,
                         "expected CLASS/file.png, or IDX files such as train-images-idx3-ubyte");
}

/* train/CLASS/file.png beside test/CLASS/file.png is one data set with its own test part. */
static qn_status find_halves(qn_open_dataset *set, const char **folder, const char **test,
                             qn_error *err)
{
    const char *train = qn_path_join(&set->arena, *folder, "train");
    const char *other = qn_path_join(&set->arena, *folder, "test");
    if (!train || !other)
        return qn_dataset_no_memory(set, err);
    if (!*test && qn_path_is_folder(train) && qn_path_is_folder(other)) {
        *folder = train;
        *test = other;
    }
    return QN_OK;
}

qn_status qn_dataset_open_images(qn_open_dataset *set, const char *folder, const char *test,
                                 qn_error *err)
{
    gathering in = {.set = set};
    QN_TRY(find_halves(set, &folder, &test, err));
    QN_TRY(add_classes(&in, folder, err));
    set->public.rows_main = in.count;
    if (test)
        QN_TRY(add_classes(&in, test, err));
    qn_frame frame;
    qn_frame_part *part = QN_NEW(&set->arena, qn_frame_part, 1);
    QN_TRY(qn_frame_init(&frame, &set->arena, 2, in.count, err));
    if (!part)
        return qn_dataset_no_memory(set, err);
    *part = (qn_frame_part){folder, 0, 1};
    frame.parts = part;
    frame.parts_count = 1;
    frame.columns[0] =
        (qn_column){.name = QN_STR("image"), .kind = QN_COLUMN_BYTES, .strings = in.images};
    frame.columns[1] =
        (qn_column){.name = QN_STR("label"), .kind = QN_COLUMN_STRING, .strings = in.labels};
    frame.columns_count = 2;
    set->public.frame = frame;
    set->public.target = "label";
    set->public.kind = "image folder";
    return QN_OK;
}

/* Paths in tables: relative, without "..", so that a table cannot reach out of its folder. */
static const char *image_path(qn_open_dataset *set, const char *table, qn_str cell)
{
    const char *slash = strrchr(table, '/');
    int folder = slash ? (int)(slash - table) + 1 : 0;
    bool inside = cell.size > 0 && cell.data[0] != '/' && !memmem(cell.data, cell.size, "..", 2);
    return inside ? qn_arena_printf(&set->arena, "%.*s%.*s", folder, table, QN_STR_ARG(cell))
                  : NULL;
}

static const char *table_of(const qn_frame *frame, int64_t row)
{
    const char *file = NULL;
    for (int64_t i = 0; i < frame->parts_count; i++)
        if (frame->parts[i].begin <= row)
            file = frame->parts[i].file;
    return file;
}

static bool holds_images(qn_open_dataset *set, const qn_column *column)
{
    const qn_frame *frame = &set->public.frame;
    int64_t seen = 0;
    for (int64_t row = 0; row < frame->rows && seen < SAMPLE_PATHS; row++) {
        if (qn_column_missing(column, row))
            continue;
        qn_str cell = column->strings[row];
        if (cell.size < 5 ||
            !qn_str_equal_nocase((qn_str){cell.data + cell.size - 4, 4}, QN_STR(".png")))
            return false;
        const char *path = image_path(set, table_of(frame, row), cell);
        if (!path || !qn_path_exists(path))
            return false;
        seen++;
    }
    return seen >= SAMPLE_LEAST;
}

static qn_status load_column(qn_open_dataset *set, qn_column *column, qn_error *err)
{
    qn_frame *frame = &set->public.frame;
    for (int64_t row = 0; row < frame->rows; row++) {
        if (qn_column_missing(column, row))
            continue;
        char where[160];
        const char *path = image_path(set, table_of(frame, row), column->strings[row]);
        qn_frame_where(frame, column, row, where);
        if (!path)
            return qn_error_set(err, QN_ERR_DATA, where, "'%.*s' is not a path beside the table",
                                (int)qn_min_i64((int64_t)column->strings[row].size, 100),
                                column->strings[row].data);
        qn_status status =
            qn_file_read(path, FILE_SIZE_MAX, &set->arena, &column->strings[row], err);
        if (status != QN_OK)
            return qn_error_at(err, status, "%s", where);
    }
    column->kind = QN_COLUMN_BYTES;
    return QN_OK;
}

static bool is_known(const qn_open_dataset *set, const qn_column *column)
{
    for (int64_t i = 0; i < set->options->images_count; i++)
        if (qn_str_is(column->name, set->options->images[i]))
            return true;
    return false;
}

qn_status qn_dataset_load_images(qn_open_dataset *set, qn_error *err)
{
    qn_frame *frame = &set->public.frame;
    for (int64_t i = 0; i < frame->columns_count; i++) {
        qn_column *column = &frame->columns[i];
        if (column->kind == QN_COLUMN_STRING &&
            (is_known(set, column) || holds_images(set, column)))
            QN_TRY(load_column(set, column, err));
    }
    return QN_OK;
}
