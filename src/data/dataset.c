/*
 * Data sets: which form is it, open it as one frame, and note what a reader of the log should know.
 */
#include "data/dataset.h"

#include <glob.h>
#include <stdio.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "data/dataset_priv.h"
#include "data/levels.h"
#include "data/schema_priv.h"
#include "os/clock.h"

enum { FILES_MAX = 100000 };

qn_status qn_dataset_no_memory(const qn_open_dataset *set, qn_error *err)
{
    if (!set->arena.limit_bytes)
        QN_FAIL(err, QN_ERR_MEMORY, "no memory for the data (%zu bytes so far)",
                set->arena.used_bytes);
    qn_status status =
        qn_error_set(err, QN_ERR_BUDGET, NULL, "the data does not fit into %zu bytes of memory",
                     set->arena.limit_bytes);
    return qn_error_hint(err, status, "raise --mem, or use fewer rows");
}

qn_status qn_dataset_reserve(qn_open_dataset *set, int64_t files, qn_error *err)
{
    int64_t most = set->maps_count + files;
    qn_map *maps = QN_NEW(&set->arena, qn_map, most);
    const char **names = QN_NEW(&set->arena, const char *, most);
    qn_digest *digests = QN_NEW(&set->arena, qn_digest, most);
    if (!maps || !names || !digests)
        return qn_dataset_no_memory(set, err);
    for (int64_t i = 0; i < set->maps_count; i++) {
        maps[i] = set->maps[i];
        names[i] = set->files[i];
        digests[i] = set->digests[i];
    }
    set->maps = maps;
    set->files = names;
    set->digests = digests;
    set->maps_max = most;
    set->public.files = names;
    set->public.digests = digests;
    return QN_OK;
}

qn_status qn_dataset_map(qn_open_dataset *set, const char *path, qn_str *ret, qn_error *err)
{
    QN_ASSERT(set->maps_count < set->maps_max);
    qn_map map = {0};
    if (qn_path_is_stream(path)) {
        qn_str all; /* read twice as large as it is at worst; /dev/zero has no end */
        size_t limit = set->arena.limit_bytes;
        if (!limit)
            limit = (size_t)qn_max_i64(qn_memory_available_bytes() / 4, 1 << 20);
        QN_TRY(qn_stream_read(path, limit, &set->arena, &all, err));
        map.data = all.data;
        map.size = all.size;
    } else {
        QN_TRY(qn_map_open(path, &map, err));
    }
    set->maps[set->maps_count] = map;
    set->files[set->maps_count] = path;
    set->digests[set->maps_count] = qn_digest_of(map.data, map.size);
    set->maps_count++;
    set->public.files_count = set->maps_count;
    *ret = (qn_str){map.size ? map.data : "", map.size};
    return QN_OK;
}

/* Paths */

static bool is_pattern(const char *path)
{
    return strpbrk(path, "*?[") != NULL && !qn_path_exists(path);
}

static qn_status add_path(qn_open_dataset *set, const char *path, qn_path_list *list, qn_error *err)
{
    if (list->count == FILES_MAX)
        QN_FAIL(err, QN_ERR_BUDGET, "more than %d files", FILES_MAX);
    if ((list->count & (list->count - 1)) == 0) { /* grows at powers of two */
        const char **paths = QN_NEW(&set->arena, const char *, list->count ? 2 * list->count : 1);
        if (!paths)
            return qn_dataset_no_memory(set, err);
        for (int64_t i = 0; i < list->count; i++)
            paths[i] = list->paths[i];
        list->paths = paths;
    }
    char *copy = qn_arena_strndup(&set->arena, path, strlen(path));
    if (!copy)
        return qn_dataset_no_memory(set, err);
    list->paths[list->count++] = copy;
    return QN_OK;
}

static qn_status expand(qn_open_dataset *set, const char *path, qn_path_list *list, qn_error *err)
{
    if (!is_pattern(path))
        return add_path(set, path, list, err);
    glob_t found = {0};
    int result = glob(path, 0, NULL, &found);
    qn_status status = QN_OK;
    if (result == GLOB_NOMATCH)
        status = qn_error_set(err, QN_ERR_NOT_FOUND, path, "no file matches the pattern");
    else if (result != 0)
        status = qn_error_set(err, QN_ERR_IO, path, "the pattern cannot be read");
    for (size_t i = 0; status == QN_OK && i < found.gl_pathc; i++)
        status = add_path(set, found.gl_pathv[i], list, err);
    globfree(&found);
    return status;
}

/* Joining frames */

static qn_status missing_column(const qn_frame *frame, qn_str name, const qn_frame *other,
                                qn_error *err)
{
    qn_status status =
        qn_error_set(err, QN_ERR_DATA, frame->parts[0].file, "column '%.*s' of %s is not here",
                     QN_STR_ARG(name), other->parts[0].file);
    return qn_schema_hint_name(frame, name, status, err);
}

static bool same_rows(const qn_column *a, const qn_column *b)
{
    if (a->kind != b->kind)
        return false;
    if (a->kind != QN_COLUMN_ARRAY)
        return true;
    if (a->array.dtype != b->array.dtype || a->array.shape.rank != b->array.shape.rank)
        return false;
    for (int axis = 1; axis < a->array.shape.rank; axis++)
        if (a->array.shape.dims[axis] != b->array.shape.dims[axis])
            return false;
    return true;
}

/* Bytes of one row's cell. */
static size_t cell_size(const qn_column *column)
{
    if (column->kind == QN_COLUMN_NUMBER)
        return sizeof(double);
    if (column->kind != QN_COLUMN_ARRAY)
        return sizeof(qn_str);
    int64_t rows = column->array.shape.dims[0];
    return rows ? qn_tensor_bytes(&column->array) / (size_t)rows : 0;
}

static void *cells(const qn_column *column)
{
    return column->kind == QN_COLUMN_ARRAY ? column->array.data : (void *)column->numbers;
}

static qn_status join_column(qn_open_dataset *set, const qn_frame *frames, int64_t count,
                             int64_t rows, qn_column *ret, qn_error *err)
{
    size_t each = cell_size(ret), size;
    int64_t at = 0;
    char *joined = qn_mul_size(each, (size_t)rows, &size)
                       ? qn_arena_alloc_aligned(&set->arena, size, 64)
                       : NULL;
    uint8_t *missing = QN_NEW(&set->arena, uint8_t, rows);
    if (!joined || !missing)
        return qn_dataset_no_memory(set, err);
    for (int64_t i = 0; i < count; i++) {
        const qn_column *column = qn_frame_find(&frames[i], ret->name);
        if (!column)
            return missing_column(&frames[i], ret->name, &frames[0], err);
        if (!same_rows(ret, column))
            return qn_error_set(err, QN_ERR_DATA, frames[i].parts[0].file,
                                "column '%.*s' has another type or shape than in %s",
                                QN_STR_ARG(ret->name), frames[0].parts[0].file);
        if (frames[i].rows > 0)
            memcpy(joined + (size_t)at * each, cells(column), (size_t)frames[i].rows * each);
        if (column->missing)
            memcpy(missing + at, column->missing, (size_t)frames[i].rows);
        at += frames[i].rows;
    }
    ret->missing = missing;
    if (ret->kind == QN_COLUMN_ARRAY) {
        ret->array.data = joined;
        ret->array.shape.dims[0] = rows;
        ret->array = qn_tensor_of(joined, ret->array.dtype, ret->array.shape);
    } else if (ret->kind == QN_COLUMN_NUMBER) {
        ret->numbers = (double *)(void *)joined;
    } else {
        ret->strings = (qn_str *)(void *)joined;
    }
    return QN_OK;
}

static qn_status join_parts(qn_open_dataset *set, const qn_frame *frames, int64_t count,
                            qn_frame *ret, qn_error *err)
{
    qn_frame_part *parts = QN_NEW(&set->arena, qn_frame_part, count);
    if (!parts)
        return qn_dataset_no_memory(set, err);
    int64_t rows = 0;
    for (int64_t i = 0; i < count; i++) {
        parts[i] = frames[i].parts[0];
        parts[i].begin = rows;
        rows += frames[i].rows;
    }
    ret->parts = parts;
    ret->parts_count = count;
    ret->rows = rows;
    return QN_OK;
}

qn_status qn_dataset_join(qn_open_dataset *set, const qn_frame *frames, int64_t count,
                          qn_error *err)
{
    if (count == 1) {
        set->public.frame = frames[0];
        return QN_OK;
    }
    qn_frame joined = frames[0];
    QN_TRY(join_parts(set, frames, count, &joined, err));
    for (int64_t i = 1; i < count; i++)
        for (int64_t c = 0; c < frames[i].columns_count; c++)
            if (!qn_frame_find(&frames[0], frames[i].columns[c].name))
                return missing_column(&frames[0], frames[i].columns[c].name, &frames[i], err);
    for (int64_t c = 0; c < joined.columns_count; c++)
        QN_TRY(join_column(set, frames, count, joined.rows, &joined.columns[c], err));
    set->public.frame = joined;
    return QN_OK;
}

/* Opening */

/* Files that people have and that are not tables of text: what to do with them. */
static const struct {
    const char *ending, *what, *hint;
} foreign[] = {
    {".npy", "one array without a name", "numpy.savez(\"data.npz\", x=inputs, y=targets)"},
    {".parquet", "a Parquet file", "pandas.read_parquet(file).to_csv(\"data.csv\", index=False)"},
    {".xlsx", "a spreadsheet", "save its sheet as CSV"},
    {".xls", "a spreadsheet", "save its sheet as CSV"},
};

static qn_status check_ending(const char *path, qn_error *err)
{
    for (size_t i = 0; i < sizeof foreign / sizeof foreign[0]; i++) {
        if (!qn_str_ends(qn_str_from(path), foreign[i].ending))
            continue;
        (void)qn_error_set(err, QN_ERR_DATA, path,
                           "%s is not read as data; CSV, TSV, JSON Lines, NPZ, IDX and folders of "
                           "pictures are",
                           foreign[i].what);
        return qn_error_hint(err, QN_ERR_DATA, "%s", foreign[i].hint);
    }
    return QN_OK;
}

static qn_status open_form(qn_open_dataset *set, const qn_path_list *paths, int64_t main_count,
                           qn_error *err)
{
    const char *first = paths->paths[0];
    if (qn_path_is_folder(first) && !qn_dataset_is_idx_folder(first, &set->arena))
        return qn_dataset_open_images(
            set, first, main_count < paths->count ? paths->paths[main_count] : NULL, err);
    QN_TRY(qn_dataset_reserve(set, paths->count + 4, err)); /* an IDX folder is four files */
    if (qn_path_is_folder(first) || qn_dataset_is_idx(first))
        return qn_dataset_open_idx(set, paths, main_count, err);
    if (qn_str_ends(qn_str_from(first), ".npz"))
        return qn_dataset_open_npz(set, paths, main_count, err);
    QN_TRY(check_ending(first, err));
    QN_TRY(qn_dataset_open_csv(set, paths, main_count, err));
    return qn_dataset_load_images(set, err);
}

/* Test labels that are the training file's plus a dot are those labels: said once, mapped everywhere. */
static qn_status map_dotted_labels(qn_open_dataset *set, qn_column *target, qn_error *err)
{
    qn_levels known;
    qn_levels_init(&known, &set->arena);
    const qn_frame *frame = &set->public.frame;
    for (int64_t row = 0; row < set->public.rows_main; row++)
        if (!qn_column_missing(target, row) && qn_levels_add(&known, target->strings[row], 1) < 0)
            return qn_dataset_no_memory(set, err);
    int64_t dotted = 0;
    qn_str example = {0};
    for (int64_t row = set->public.rows_main; row < frame->rows; row++) {
        qn_str text = target->strings[row];
        if (qn_column_missing(target, row) || qn_levels_find(&known, text) >= 0)
            continue;
        if (!qn_str_ends(text, ".") ||
            qn_levels_find(&known, (qn_str){text.data, text.size - 1}) < 0)
            return QN_OK; /* something else is wrong: said where labels are read */
        example = text;
        dotted++;
    }
    for (int64_t row = set->public.rows_main; row < frame->rows && dotted > 0; row++)
        if (qn_levels_find(&known, target->strings[row]) < 0 && target->strings[row].size > 0)
            target->strings[row].size--;
    if (dotted > 0)
        qn_finding_add(&set->public.findings, QN_FINDING_NOTE, "LABEL_SPELLING", target->name,
                       "test labels differ from the training file's by a final dot only ('%.*s'): "
                       "read without it",
                       QN_STR_ARG(example));
    return QN_OK;
}

static bool is_ignored(const qn_dataset_options *options, qn_str label)
{
    for (int64_t i = 0; i < options->ignored_count; i++)
        if (qn_str_is(label, options->ignored[i]))
            return true;
    return false;
}

/* Rows of an ignored label are rows without a target from here on. */
static qn_status ignore_labels(qn_open_dataset *set, qn_column *target, qn_error *err)
{
    const qn_frame *frame = &set->public.frame;
    int64_t count = 0;
    if (target->kind != QN_COLUMN_NUMBER && target->kind != QN_COLUMN_STRING)
        return qn_error_set(err, QN_ERR_ARG, "data.ignore",
                            "'%.*s' is no column of labels that could be ignored",
                            QN_STR_ARG(target->name));
    for (int64_t row = 0; row < frame->rows; row++) {
        char scratch[32];
        if (qn_column_missing(target, row) ||
            !is_ignored(set->options, qn_column_text(target, row, scratch)))
            continue;
        if (!qn_column_set_missing(target, row, frame->rows, &set->arena))
            return qn_dataset_no_memory(set, err);
        count++;
    }
    qn_finding_add(&set->public.findings, count ? QN_FINDING_NOTE : QN_FINDING_WARNING,
                   "LABELS_IGNORED", target->name,
                   "%lld rows of '%.*s' have a label that data.ignore names", (long long)count,
                   QN_STR_ARG(target->name));
    return QN_OK;
}

static qn_status settle_target(qn_open_dataset *set, qn_error *err)
{
    qn_dataset *dataset = &set->public;
    if (set->options->target)
        dataset->target = set->options->target;
    if (!dataset->target)
        return QN_OK;
    qn_column *target = qn_frame_find(&dataset->frame, qn_str_from(dataset->target));
    if (!target)
        return QN_OK; /* qn_schema_infer and qn_transforms say so where one is needed */
    if (target->kind == QN_COLUMN_STRING && dataset->rows_main < dataset->frame.rows)
        QN_TRY(map_dotted_labels(set, target, err));
    return set->options->ignored_count > 0 ? ignore_labels(set, target, err) : QN_OK;
}

static qn_status fail_absent(const char *path, qn_error *err)
{
    qn_status status = qn_error_set(err, QN_ERR_NOT_FOUND, NULL, "'%s' does not exist", path);
    if (path[0] == '/')
        return status;
    return qn_error_hint(err, status, "relative paths begin at the current folder");
}

static qn_status open_all(qn_open_dataset *set, qn_error *err)
{
    const qn_dataset_options *options = set->options;
    qn_path_list paths = {0};
    for (int64_t i = 0; i < options->paths_count; i++)
        QN_TRY(expand(set, options->paths[i], &paths, err));
    int64_t main_count = paths.count;
    if (main_count == 0)
        QN_FAIL(err, QN_ERR_ARG, "no data is given");
    if (options->test)
        QN_TRY(expand(set, options->test, &paths, err));
    for (int64_t i = 0; i < paths.count; i++)
        if (!qn_path_exists(paths.paths[i]) && !qn_path_is_stream(paths.paths[i]))
            return fail_absent(paths.paths[i], err);
    QN_TRY(open_form(set, &paths, main_count, err));
    return settle_target(set, err);
}

qn_status qn_dataset_open(const qn_dataset_options *options, qn_dataset **ret, qn_error *err)
{
    qn_open_dataset *set = qn_alloc_zero(1, sizeof *set);
    if (!set)
        QN_FAIL(err, QN_ERR_MEMORY, "no memory to open the data");
    set->options = options;
    qn_arena_init(&set->arena, (size_t)options->memory_max);
    set->public.findings.arena = &set->arena;
    qn_status status = open_all(set, err);
    set->options = NULL;
    if (status == QN_OK)
        *ret = &set->public;
    else
        qn_dataset_close(&set->public);
    return status;
}

void qn_dataset_close(qn_dataset *dataset)
{
    if (!dataset)
        return;
    qn_open_dataset *set = (qn_open_dataset *)(void *)dataset;
    for (int64_t i = 0; i < set->maps_count; i++)
        qn_map_close(&set->maps[i]);
    qn_arena_deinit(&set->arena);
    qn_free(set);
}
