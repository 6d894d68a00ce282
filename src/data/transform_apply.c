/*
 * Replaying fitted transforms: rows of a frame into the tensors of a model. The same few loops run in training, predict and
 * the server. A row's features depend on that row alone, so any cut of the rows gives the same bits.
 */
#include <math.h>
#include <stdio.h>

#include "base/checked.h"
#include "data/measure_priv.h"
#include "data/schema_priv.h"
#include "data/transform_priv.h"
#include "format/csv.h"
#include "format/image.h"

enum {
    CHUNK_ROWS = 512
}; /* a few hundred kilobytes of features: stays in the second-level cache */

typedef struct {
    const qn_transforms *transforms;
    const qn_frame *frame;
    const qn_column **columns; /* per encoder; NULL = absent, all missing */
    const int64_t *rows;
    int64_t count;
    void *const *dst;
    qn_status *statuses; /* per chunk */
} job;

/* One column's part of the job: rows [begin, end). */
typedef struct {
    const job *in;
    const qn_encoder *encoder;
    const qn_column *column;
    int64_t begin, end;
} task;

static qn_status bad_cell(const task *t, int64_t row, const char *expected, qn_error *err)
{
    char where[160], scratch[32];
    qn_str text = qn_column_text(t->column, row, scratch);
    qn_frame_where(t->in->frame, t->column, row, where);
    return qn_error_set(err, QN_ERR_DATA, where, "expected %s, got '%.*s'", expected,
                        (int)(text.size < 60 ? text.size : 60), text.data);
}

static float *feature_row(const task *t, int64_t i)
{
    const qn_transforms *transforms = t->in->transforms;
    float *x = t->in->dst[transforms->x_output];
    return x + i * transforms->features_count + t->encoder->at;
}

static double scaled(qn_affine affine, double value)
{
    return (value - affine.shift) * affine.scale;
}

static void write_bins(const qn_number_transform *number, double value, float *dst)
{
    for (int64_t b = 0; b < number->bins_count; b++) {
        double low = number->edges[b], part = (value - low) / (number->edges[b + 1] - low);
        dst[b] = (float)fmin(1.0, fmax(0.0, part));
    }
}

static void write_number(const qn_number_transform *number, double value, bool missing, float *dst)
{
    if (missing)
        value = number->fill;
    if (number->clip)
        value = fmin(number->clip_high, fmax(number->clip_low, value));
    if (number->plain)
        *dst++ = (float)scaled(number->value, value);
    if (number->log)
        *dst++ = (float)scaled(number->log_value, copysign(log1p(fabs(value)), value));
    if (number->flag)
        *dst++ = missing;
    write_bins(number, value, dst);
}

static qn_status apply_number(const task *t, qn_error *err)
{
    for (int64_t i = t->begin; i < t->end; i++) {
        int64_t row = qn_row_at(t->in->rows, i);
        double value = 0;
        qn_cell cell = t->column ? qn_cell_number(t->column, row, &value) : QN_CELL_MISSING;
        if (cell == QN_CELL_BAD)
            return bad_cell(t, row, "a number", err);
        write_number(&t->encoder->number, value, cell == QN_CELL_MISSING || !isfinite(value),
                     feature_row(t, i));
    }
    return QN_OK;
}

/* A cell as a level's text; false = missing. */
static bool cell_level(const qn_column *column, int64_t row, char scratch[32], qn_str *ret)
{
    if (!column || qn_column_missing(column, row))
        return false;
    *ret = qn_column_text(column, row, scratch);
    return column->kind == QN_COLUMN_NUMBER || !qn_csv_is_missing(*ret);
}

/* Other spellings of the same value, tried when a level is not known as it stands: " Oslo", "1.0" for 1, and the words that
 * files use where JSON says true and false. false = no more. */
static bool respell(const qn_column *column, qn_str text, int attempt, char scratch[32],
                    qn_str *ret)
{
    static const char *const words[2][3] = {{"False", "FALSE", "0"}, {"True", "TRUE", "1"}};
    double value;
    if (column->boolean) {
        *ret = qn_str_from(attempt < 3 ? words[text.size == 4][attempt] : NULL);
        return attempt < 3;
    }
    if (attempt == 0) {
        *ret = qn_str_trim(text);
        return true;
    }
    if (attempt > 1 || column->kind != QN_COLUMN_STRING ||
        !qn_str_to_f64(qn_str_trim(text), false, &value))
        return false;
    *ret = (qn_str){scratch, (size_t)qn_f64_to_text(value, scratch)};
    return true;
}

static int64_t find_level(const qn_levels *levels, const qn_column *column, qn_str text)
{
    char scratch[32];
    qn_str other;
    int64_t level = qn_levels_find(levels, text);
    for (int attempt = 0; level < 0 && respell(column, text, attempt, scratch, &other); attempt++)
        level = qn_levels_find(levels, other);
    return level;
}

/* Place among the category's features or indices; -1 = none of them is set. */
static int64_t category_place(const qn_category_transform *category, const qn_column *column,
                              int64_t row)
{
    char scratch[32];
    qn_str text;
    int64_t other = category->has_other ? category->levels.count : -1;
    if (!cell_level(column, row, scratch, &text))
        return category->has_missing ? category->width - 1 : other;
    int64_t level = find_level(&category->levels, column, text);
    return level >= 0 ? level : other;
}

static void apply_category(const task *t)
{
    const qn_category_transform *category = &t->encoder->category;
    const qn_transforms *transforms = t->in->transforms;
    for (int64_t i = t->begin; i < t->end; i++) {
        int64_t place = category_place(category, t->column, qn_row_at(t->in->rows, i));
        if (category->embed) {
            int64_t *index = t->in->dst[transforms->index_output];
            index[i * transforms->indices_count + t->encoder->at] = place;
            continue;
        }
        float *dst = feature_row(t, i);
        memset(dst, 0, (size_t)category->width * sizeof *dst);
        if (place >= 0)
            dst[place] = 1;
    }
}

/* 0 or 1; -1 = neither. */
static int find_binary(const qn_binary_transform *binary, const qn_column *column, qn_str text)
{
    char scratch[32];
    qn_str spelled = text;
    for (int attempt = 0;; attempt++) {
        if (qn_str_equal(spelled, binary->level[1]))
            return 1;
        if (qn_str_equal(spelled, binary->level[0]))
            return 0;
        if (!respell(column, text, attempt, scratch, &spelled))
            return -1;
    }
}

static float binary_value(const qn_binary_transform *binary, const qn_column *column, qn_str text)
{
    int level = find_binary(binary, column, text);
    return level < 0 ? (float)binary->share : (float)level;
}

static void apply_binary(const task *t)
{
    const qn_binary_transform *binary = &t->encoder->binary;
    for (int64_t i = t->begin; i < t->end; i++) {
        char scratch[32];
        qn_str text;
        float *dst = feature_row(t, i);
        bool present = cell_level(t->column, qn_row_at(t->in->rows, i), scratch, &text);
        dst[0] = present ? binary_value(binary, t->column, text) : (float)binary->share;
        if (binary->flag)
            dst[1] = !present;
    }
}

static float *write_circle(float *dst, double turns)
{
    const double circle = 6.283185307179586;
    dst[0] = (float)sin(circle * turns);
    dst[1] = (float)cos(circle * turns);
    return dst + 2;
}

static void write_date(const qn_date_transform *date, double seconds, bool missing, float *dst)
{
    if (missing)
        seconds = date->seconds.shift;
    qn_date_parts parts = qn_date_split(seconds);
    if (date->parts & QN_DATE_DAYS)
        *dst++ = (float)scaled(date->seconds, seconds);
    if (date->parts & QN_DATE_MONTH)
        dst = write_circle(dst, (parts.month - 1) / 12.0);
    if (date->parts & QN_DATE_WEEKDAY)
        dst = write_circle(dst, parts.weekday / 7.0);
    if (date->parts & QN_DATE_HOUR)
        dst = write_circle(dst, parts.hour / 24.0);
    if (date->parts & QN_DATE_FLAG)
        *dst = missing;
}

static qn_status apply_date(const task *t, qn_error *err)
{
    const qn_date_transform *date = &t->encoder->date;
    for (int64_t i = t->begin; i < t->end; i++) {
        int64_t row = qn_row_at(t->in->rows, i);
        double seconds = 0;
        qn_cell cell =
            t->column ? qn_cell_date(t->column, row, date->order, &seconds) : QN_CELL_MISSING;
        if (cell == QN_CELL_BAD)
            return bad_cell(t, row, "a date such as 2026-01-31", err);
        write_date(date, seconds, cell == QN_CELL_MISSING, feature_row(t, i));
    }
    return QN_OK;
}

/* Images and arrays */

static qn_status check_array(const task *t, const qn_shape *expected, qn_error *err)
{
    const qn_shape *shape = &t->column->array.shape;
    int64_t rows = shape->dims[0], each = rows ? qn_shape_count(shape) / rows : 0;
    if (rows == 0 || each == qn_shape_count(expected))
        return QN_OK;
    char got[128], want[128];
    qn_shape one = {.rank = shape->rank - 1};
    for (int i = 0; i < one.rank; i++)
        one.dims[i] = shape->dims[i + 1];
    return qn_error_set(
        err, QN_ERR_DATA, NULL, "column '%.*s' holds arrays of shape %s, expected %s",
        QN_STR_ARG(t->column->name), qn_shape_text(&one, got), qn_shape_text(expected, want));
}

static void copy_pixels(float *dst, const uint8_t *src, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        dst[i] = (float)src[i] * (1.0f / 255.0f);
}

/* Rows [begin, end) of an array column, converted; `scale` for pixels. */
static void copy_array(const task *t, qn_dtype dtype, int64_t each, void *dst, bool pixels)
{
    size_t size = (size_t)each * qn_dtype_size(dtype);
    for (int64_t i = t->begin; i < t->end; i++) {
        int64_t row = qn_row_at(t->in->rows, i);
        qn_tensor one = qn_tensor_rows(&t->column->array, row, row + 1);
        char *to = (char *)dst + (size_t)i * size;
        if (pixels && one.dtype == QN_DTYPE_U8) {
            copy_pixels((float *)(void *)to, one.data, each);
            continue;
        }
        qn_tensor_convert(to, dtype, &one);
        for (int64_t k = 0; pixels && k < each; k++)
            ((float *)(void *)to)[k] *= 1.0f / 255.0f;
    }
}

static qn_status decode_pixels(const task *t, int64_t row, uint8_t *pixels, qn_arena *scratch,
                               qn_error *err)
{
    const qn_raw_input *input = &t->encoder->input;
    qn_image image;
    char where[160];
    qn_frame_where(t->in->frame, t->column, row, where);
    QN_TRY(qn_image_read(t->column->strings[row], where, input->channels, scratch, &image, err));
    if (image.height == input->height && image.width == input->width)
        memcpy(pixels, image.pixels, (size_t)(image.height * image.width * image.channels));
    else
        qn_image_resize(pixels, input->height, input->width, &image);
    return QN_OK;
}

static qn_status apply_files(const task *t, int64_t each, float *dst, qn_error *err)
{
    qn_arena scratch;
    qn_arena_init(&scratch, 0);
    qn_status status = QN_OK;
    for (int64_t i = t->begin; i < t->end && status == QN_OK; i++) {
        int64_t row = qn_row_at(t->in->rows, i);
        if (qn_column_missing(t->column, row)) {
            memset(dst + i * each, 0, (size_t)each * sizeof *dst);
            continue;
        }
        qn_arena_reset(&scratch);
        uint8_t *pixels = qn_arena_alloc(&scratch, (size_t)each);
        status = pixels ? decode_pixels(t, row, pixels, &scratch, err)
                        : qn_error_set(err, QN_ERR_MEMORY, NULL, "no memory for an image");
        if (status == QN_OK)
            copy_pixels(dst + i * each, pixels, each);
    }
    qn_arena_deinit(&scratch);
    return status;
}

/* A flat or shaped array, or files; absent pixels are zeros. */
static qn_status apply_image(const task *t, qn_error *err)
{
    const qn_raw_input *input = &t->encoder->input;
    qn_shape shape = QN_SHAPE(input->height, input->width, input->channels);
    int64_t each = qn_shape_count(&shape);
    float *dst = t->in->dst[t->encoder->at];
    if (!dst) /* the caller keeps the pixels as they are (qn_pack) */
        return QN_OK;
    if (!t->column) {
        memset(dst + t->begin * each, 0, (size_t)((t->end - t->begin) * each) * sizeof *dst);
        return QN_OK;
    }
    if (t->column->kind == QN_COLUMN_ARRAY) {
        QN_TRY(check_array(t, &shape, err));
        copy_array(t, QN_DTYPE_F32, each, dst, true);
        return QN_OK;
    }
    if (t->column->kind == QN_COLUMN_NUMBER)
        return bad_cell(t, qn_row_at(t->in->rows, t->begin), "an image", err);
    return apply_files(t, each, dst, err);
}

static qn_status apply_tensor(const task *t, qn_error *err)
{
    const qn_feature_tensor *output = &t->in->transforms->outputs[t->encoder->at];
    if (!t->column || t->column->kind != QN_COLUMN_ARRAY)
        return qn_error_set(err, QN_ERR_DATA, NULL, "the array '%.*s' is missing",
                            QN_STR_ARG(output->name));
    QN_TRY(check_array(t, &output->shape, err));
    copy_array(t, output->dtype, output->count, t->in->dst[t->encoder->at], false);
    return QN_OK;
}

static qn_status apply_column(const task *t, qn_error *err)
{
    switch (t->encoder->input.type) {
    case QN_TYPE_NUMBER:
        return apply_number(t, err);
    case QN_TYPE_CATEGORY:
        apply_category(t);
        return QN_OK;
    case QN_TYPE_BINARY:
        apply_binary(t);
        return QN_OK;
    case QN_TYPE_DATE:
        return apply_date(t, err);
    case QN_TYPE_IMAGE:
        return apply_image(t, err);
    case QN_TYPE_TENSOR:
        return apply_tensor(t, err);
    case QN_TYPE_AUTO:
    case QN_TYPE_TEXT:
    case QN_TYPE_DROP:
    case QN_TYPES:
        break;
    }
    return QN_OK;
}

static qn_status apply_chunk(const job *in, int64_t chunk, qn_error *err)
{
    int64_t begin = chunk * CHUNK_ROWS, end = qn_min_i64(begin + CHUNK_ROWS, in->count);
    for (int64_t i = 0; i < in->transforms->encoders_count; i++) {
        task t = {in, &in->transforms->encoders[i], in->columns[i], begin, end};
        QN_TRY(apply_column(&t, err));
    }
    return QN_OK;
}

static void run_chunk(void *context, int64_t chunk, int worker)
{
    (void)worker;
    job *in = context;
    in->statuses[chunk] = apply_chunk(in, chunk, NULL);
}

static qn_status find_columns(const qn_transforms *transforms, const qn_frame *frame,
                              qn_arena *scratch, const qn_column ***ret, qn_error *err)
{
    const qn_column **columns = QN_NEW(scratch, const qn_column *, transforms->encoders_count);
    if (!columns)
        QN_FAIL(err, QN_ERR_MEMORY, "no memory to look up columns");
    for (int64_t i = 0; i < transforms->encoders_count; i++) {
        qn_str name = transforms->encoders[i].input.name;
        bool same = i < frame->columns_count && qn_str_equal(frame->columns[i].name, name);
        columns[i] = same ? &frame->columns[i] : qn_frame_find(frame, name);
    }
    *ret = columns;
    return QN_OK;
}

qn_status qn_transforms_apply(const qn_transforms *transforms, const qn_frame *frame,
                              const int64_t *rows, int64_t count, void *const *dst, qn_pool *pool,
                              qn_arena *scratch, qn_error *err)
{
    job in = {.transforms = transforms, .frame = frame, .rows = rows, .count = count, .dst = dst};
    QN_TRY(find_columns(transforms, frame, scratch, &in.columns, err));
    int64_t chunks = (count + CHUNK_ROWS - 1) / CHUNK_ROWS;
    if (chunks <= 1)
        return count > 0 ? apply_chunk(&in, 0, err) : QN_OK;
    in.statuses = QN_NEW(scratch, qn_status, chunks);
    if (!in.statuses)
        QN_FAIL(err, QN_ERR_MEMORY, "no memory for %lld chunks", (long long)chunks);
    qn_pool_run(pool, run_chunk, &in, chunks);
    for (int64_t chunk = 0; chunk < chunks; chunk++)
        if (in.statuses[chunk] != QN_OK)
            return apply_chunk(&in, chunk,
                               err); /* again, for its words: the first bad row in file order */
    return QN_OK;
}

/* Targets */

static qn_status find_target(const qn_transforms *transforms, const qn_frame *frame,
                             const qn_column **ret, qn_error *err)
{
    *ret = qn_frame_find(frame, transforms->target);
    if (!*ret)
        QN_FAIL(err, QN_ERR_DATA, "the target column '%.*s' is not in the data",
                QN_STR_ARG(transforms->target));
    return QN_OK;
}

static int64_t find_label(const qn_transforms *transforms, qn_str text)
{
    for (int64_t i = 0; i < transforms->labels_count; i++)
        if (qn_str_equal(transforms->labels[i], text))
            return i;
    return -1;
}

static int64_t match_label(const qn_transforms *transforms, const qn_column *column, qn_str text)
{
    char scratch[32];
    qn_str other;
    int64_t label = find_label(transforms, text);
    for (int attempt = 0; label < 0 && respell(column, text, attempt, scratch, &other); attempt++)
        label = find_label(transforms, other);
    /* Some test files end their labels in a dot that the training file lacks. */
    if (label < 0 && text.size > 1 && text.data[text.size - 1] == '.')
        label = find_label(transforms, (qn_str){text.data, text.size - 1});
    return label;
}

static qn_status unknown_label(const qn_transforms *transforms, const qn_frame *frame,
                               const qn_column *column, int64_t row, qn_error *err)
{
    char where[160], scratch[32], known[200];
    size_t used = 0;
    qn_str text = qn_column_text(column, row, scratch);
    for (int64_t i = 0; i < transforms->labels_count && used < sizeof known - 40; i++)
        used += (size_t)snprintf(known + used, sizeof known - used, "%s'%.30s'", i ? ", " : "",
                                 transforms->labels[i].data);
    qn_frame_where(frame, column, row, where);
    return qn_error_set(err, QN_ERR_DATA, where, "label '%.*s' is not one of %s",
                        (int)(text.size < 60 ? text.size : 60), text.data, known);
}

static bool is_unseen(const qn_encoder *encoder, const qn_column *column, int64_t row)
{
    char scratch[32];
    qn_str text;
    if (!cell_level(column, row, scratch, &text))
        return false;
    if (encoder->input.type == QN_TYPE_BINARY)
        return find_binary(&encoder->binary, column, text) < 0;
    return encoder->input.type == QN_TYPE_CATEGORY &&
           find_level(&encoder->category.levels, column, text) < 0;
}

int64_t qn_transforms_unseen(const qn_transforms *transforms, const qn_frame *frame)
{
    int64_t count = 0;
    for (int64_t i = 0; i < transforms->encoders_count; i++) {
        const qn_encoder *encoder = &transforms->encoders[i];
        const qn_column *column = qn_frame_find(frame, encoder->input.name);
        bool levels =
            encoder->input.type == QN_TYPE_BINARY || encoder->input.type == QN_TYPE_CATEGORY;
        for (int64_t row = 0; levels && column && row < frame->rows; row++)
            count += is_unseen(encoder, column, row);
    }
    return count;
}

static bool is_ignored(const qn_transforms *transforms, qn_str label)
{
    for (int64_t i = 0; i < transforms->labels_ignored_count; i++)
        if (qn_str_equal(label, transforms->labels_ignored[i]))
            return true;
    return false;
}

qn_status qn_transforms_classes(const qn_transforms *transforms, const qn_frame *frame,
                                const int64_t *rows, int64_t count, int64_t *dst, qn_error *err)
{
    const qn_column *column;
    QN_TRY(find_target(transforms, frame, &column, err));
    int64_t last = -1; /* runs of equal labels, and small label sets, need no search */
    for (int64_t i = 0; i < count; i++) {
        char scratch[32];
        qn_str text;
        int64_t row = qn_row_at(rows, i);
        dst[i] = -1;
        if (!qn_schema_label(column, row, scratch, &text))
            continue;
        if (last < 0 || !qn_str_equal(transforms->labels[last], text))
            last = match_label(transforms, column, text);
        if (last < 0 && is_ignored(transforms, text))
            continue;
        if (last < 0)
            return unknown_label(transforms, frame, column, row, err);
        dst[i] = last;
    }
    return QN_OK;
}

qn_status qn_transforms_numbers(const qn_transforms *transforms, const qn_frame *frame,
                                const int64_t *rows, int64_t count, float *dst, qn_error *err)
{
    const qn_column *column;
    QN_TRY(find_target(transforms, frame, &column, err));
    for (int64_t i = 0; i < count; i++) {
        int64_t row = qn_row_at(rows, i);
        double value = NAN;
        if (qn_cell_number(column, row, &value) == QN_CELL_BAD) {
            char where[160], scratch[32];
            qn_str text = qn_column_text(column, row, scratch);
            qn_frame_where(frame, column, row, where);
            return qn_error_set(err, QN_ERR_DATA, where, "expected a number, got '%.*s'",
                                (int)(text.size < 60 ? text.size : 60), text.data);
        }
        dst[i] = (float)value;
    }
    return QN_OK;
}

static qn_status bad_number(const qn_frame *frame, const qn_column *column, int64_t row,
                            double number, qn_error *err)
{
    char where[160];
    qn_frame_where(frame, column, row, where);
    return qn_error_set(err, QN_ERR_DATA, where, "the target holds %g", number);
}

qn_status qn_transforms_arrays(const qn_transforms *transforms, const qn_frame *frame,
                               const int64_t *rows, int64_t count, void *dst, qn_error *err)
{
    const qn_column *column;
    const qn_shape *want = &transforms->target_array.shape;
    int64_t width = qn_shape_count(want);
    qn_dtype dtype = transforms->task == QN_TASK_TRANSCRIBE ? QN_DTYPE_I64 : QN_DTYPE_F32;
    char expected[128], received[128] = "one value";
    QN_TRY(find_target(transforms, frame, &column, err));
    qn_shape shape = {0};
    if (column->kind == QN_COLUMN_ARRAY) {
        shape.rank = column->array.shape.rank - 1;
        memcpy(shape.dims, column->array.shape.dims + 1, (size_t)shape.rank * sizeof *shape.dims);
        (void)qn_shape_text(&shape, received);
    }
    if (!qn_shape_equal(&shape, want))
        QN_FAIL(err, QN_ERR_DATA, "the target '%.*s' holds %s a row, expected %s",
                QN_STR_ARG(transforms->target), received, qn_shape_text(want, expected));
    for (int64_t i = 0; i < count; i++) {
        int64_t row = qn_row_at(rows, i);
        qn_tensor from = qn_tensor_rows(&column->array, row, row + 1);
        for (int64_t k = 0; k < width; k++) {
            double number = qn_tensor_f64_at(&from, k);
            bool whole = dtype == QN_DTYPE_F32 || number == floor(number);
            if (!isfinite(number) || !whole)
                return bad_number(frame, column, row, number, err);
        }
        qn_tensor_convert((char *)dst + (size_t)(i * width) * qn_dtype_size(dtype), dtype, &from);
    }
    return QN_OK;
}
