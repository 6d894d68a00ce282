/*
 * Transforms to and from quern.json. What is read comes from outside: every number and text is checked before it becomes a
 * size, and sizes of features are computed again, never believed.
 */
#include <math.h>

#include "data/transform_priv.h"

enum {
    VERSION = 1,
    BINS_MAX = 256,
    LEVELS_MAX = 1 << 20,
    IMAGE_SIDE_MAX = 1 << 16,
    IMAGE_COUNT_MAX = 1 << 28
};

static void write_true(qn_json_writer *w, const char *key, bool value)
{
    if (!value)
        return;
    qn_json_put_bool(w, key, true);
}

static void write_texts(qn_json_writer *w, const char *key, const qn_str *texts, int64_t count)
{
    qn_json_key(w, key);
    qn_json_array_begin(w);
    for (int64_t i = 0; i < count; i++)
        qn_json_str(w, texts[i]);
    qn_json_array_end(w);
}

static void write_affine(qn_json_writer *w, const char *key, qn_affine affine)
{
    qn_json_key(w, key);
    qn_json_object_begin(w);
    qn_json_put_f64(w, "shift", affine.shift);
    qn_json_put_f64(w, "scale", affine.scale);
    qn_json_object_end(w);
}

static void write_number(qn_json_writer *w, const qn_number_transform *number)
{
    qn_json_put_f64(w, "fill", number->fill);
    write_true(w, "flag_missing", number->flag);
    if (number->clip) {
        qn_json_put_f64(w, "clip_low", number->clip_low);
        qn_json_put_f64(w, "clip_high", number->clip_high);
    }
    if (number->plain)
        write_affine(w, "value", number->value);
    if (number->log)
        write_affine(w, "log", number->log_value);
    if (number->bins_count == 0)
        return;
    qn_json_key(w, "edges");
    qn_json_array_begin(w);
    for (int64_t i = 0; i <= number->bins_count; i++)
        qn_json_f64(w, number->edges[i]);
    qn_json_array_end(w);
}

static void write_category(qn_json_writer *w, const qn_category_transform *category)
{
    write_texts(w, "levels", category->levels.keys, category->levels.count);
    write_true(w, "embed", category->embed);
    write_true(w, "other", category->has_other);
    write_true(w, "missing", category->has_missing);
}

static void write_shape(qn_json_writer *w, const qn_shape *shape)
{
    qn_json_key(w, "shape");
    qn_json_array_begin(w);
    for (int i = 0; i < shape->rank; i++)
        qn_json_i64(w, shape->dims[i]);
    qn_json_array_end(w);
}

static const char *const kind_names[] = {"number", "string", "bytes", "array"};

static void write_encoder(qn_json_writer *w, const qn_encoder *encoder)
{
    const qn_raw_input *input = &encoder->input;
    qn_json_object_begin(w);
    qn_json_key(w, "name");
    qn_json_str(w, input->name);
    qn_json_put_text(w, "type", qn_type_name(input->type));
    qn_json_put_text(w, "kind", kind_names[input->kind]);
    if (input->type == QN_TYPE_NUMBER)
        write_number(w, &encoder->number);
    if (input->type == QN_TYPE_CATEGORY)
        write_category(w, &encoder->category);
    if (input->type == QN_TYPE_BINARY) {
        write_texts(w, "levels", encoder->binary.level, 2);
        qn_json_put_f64(w, "share", encoder->binary.share);
        write_true(w, "flag_missing", encoder->binary.flag);
    }
    if (input->type == QN_TYPE_DATE) {
        qn_json_put_i64(w, "order", encoder->date.order);
        qn_json_put_i64(w, "parts", encoder->date.parts);
        write_affine(w, "seconds", encoder->date.seconds);
    }
    if (input->type == QN_TYPE_IMAGE)
        write_shape(w, &QN_SHAPE(input->height, input->width, input->channels));
    if (input->type == QN_TYPE_TENSOR) {
        qn_json_put_text(w, "dtype", qn_dtype_name(input->dtype));
        write_shape(w, &input->shape);
    }
    qn_json_object_end(w);
}

static void write_shares(qn_json_writer *w, const qn_transforms *transforms)
{
    if (!transforms->shares)
        return;
    qn_json_key(w, "label_shares");
    qn_json_array_begin(w);
    for (int64_t i = 0; i < transforms->labels_count; i++)
        qn_json_f64(w, transforms->shares[i]);
    qn_json_array_end(w);
}

static void write_array(qn_json_writer *w, const qn_target_array *array)
{
    if (array->shape.rank == 0)
        return;
    qn_json_key(w, "target_array");
    qn_json_object_begin(w);
    write_shape(w, &array->shape);
    if (array->loss)
        qn_json_put_text(w, "loss", array->loss);
    qn_json_put_i64(w, "blank", array->blank);
    qn_json_object_end(w);
}

void qn_transforms_write_json(const qn_transforms *transforms, qn_json_writer *w)
{
    qn_json_object_begin(w);
    qn_json_put_i64(w, "version", VERSION);
    qn_json_put_text(w, "task", qn_task_name(transforms->task));
    qn_json_key(w, "target");
    qn_json_str(w, transforms->target);
    write_texts(w, "labels", transforms->labels, transforms->labels_count);
    if (transforms->labels_ignored_count > 0)
        write_texts(w, "labels_ignored", transforms->labels_ignored,
                    transforms->labels_ignored_count);
    write_shares(w, transforms);
    qn_json_put_f64(w, "target_mean", transforms->target_mean);
    qn_json_put_f64(w, "target_deviation", transforms->target_deviation);
    write_array(w, &transforms->target_array);
    write_texts(w, "ignored", transforms->ignored, transforms->ignored_count);
    write_texts(w, "file_columns", transforms->columns, transforms->columns_count);
    qn_json_key(w, "columns");
    qn_json_array_begin(w);
    for (int64_t i = 0; i < transforms->encoders_count; i++)
        write_encoder(w, &transforms->encoders[i]);
    qn_json_array_end(w);
    qn_json_object_end(w);
}

/* Reading */

static qn_status no_memory(qn_error *err)
{
    QN_FAIL(err, QN_ERR_MEMORY, "no memory for the transforms");
}

static qn_status bad_value(const char *key, const char *expected, qn_error *err)
{
    QN_FAIL(err, QN_ERR_DATA, "transforms: '%s' is not %s", key, expected);
}

static qn_status read_text(const qn_json *object, const char *key, qn_arena *arena, qn_str *ret,
                           qn_error *err)
{
    qn_str text;
    QN_TRY(qn_json_get_str(object, key, true, &text, err));
    const char *copy = qn_arena_strndup(arena, text.data, text.size);
    if (!copy)
        return no_memory(err);
    *ret = (qn_str){copy, text.size};
    return QN_OK;
}

static qn_status read_texts(const qn_json *object, const char *key, int64_t count_max,
                            qn_arena *arena, qn_str **ret, int64_t *ret_count, qn_error *err)
{
    const qn_json *array = qn_json_find(object, key);
    if (!array || array->kind != QN_JSON_ARRAY || array->count > count_max)
        return bad_value(key, "a list of texts", err);
    qn_str *texts = QN_NEW(arena, qn_str, array->count);
    if (!texts)
        return no_memory(err);
    for (int64_t i = 0; i < array->count; i++) {
        if (array->items[i].kind != QN_JSON_STRING)
            return bad_value(key, "a list of texts", err);
        qn_str text = array->items[i].string;
        texts[i] = (qn_str){qn_arena_strndup(arena, text.data, text.size), text.size};
        if (!texts[i].data)
            return no_memory(err);
    }
    *ret = texts;
    *ret_count = array->count;
    return QN_OK;
}

static qn_status read_f64(const qn_json *object, const char *key, double *ret, qn_error *err)
{
    QN_TRY(qn_json_get_f64(object, key, true, ret, err));
    return isfinite(*ret) ? QN_OK : bad_value(key, "a finite number", err);
}

static qn_status read_affine(const qn_json *object, const char *key, bool *ret_present,
                             qn_affine *ret, qn_error *err)
{
    const qn_json *affine = qn_json_find(object, key);
    *ret_present = affine != NULL;
    if (!affine)
        return QN_OK;
    QN_TRY(read_f64(affine, "shift", &ret->shift, err));
    return read_f64(affine, "scale", &ret->scale, err);
}

static qn_status read_edges(const qn_json *object, qn_arena *arena, qn_number_transform *ret,
                            qn_error *err)
{
    const qn_json *array = qn_json_find(object, "edges");
    if (!array)
        return QN_OK;
    int64_t count = qn_json_length(array);
    if (count < 2 || count > BINS_MAX)
        return bad_value("edges", "a list of 2 to 256 numbers", err);
    ret->edges = QN_NEW(arena, double, count);
    if (!ret->edges)
        return no_memory(err);
    for (int64_t i = 0; i < count; i++) {
        qn_json item = qn_json_at(array, i);
        if (!qn_json_as_f64(&item, &ret->edges[i]) || !isfinite(ret->edges[i]) ||
            (i > 0 && ret->edges[i] <= ret->edges[i - 1]))
            return bad_value("edges", "a list of rising numbers", err);
    }
    ret->bins_count = count - 1;
    return QN_OK;
}

static qn_status read_number(const qn_json *object, qn_arena *arena, qn_number_transform *ret,
                             qn_error *err)
{
    QN_TRY(read_f64(object, "fill", &ret->fill, err));
    QN_TRY(qn_json_get_bool(object, "flag_missing", false, &ret->flag, err));
    ret->clip = qn_json_find(object, "clip_low") != NULL;
    if (ret->clip) {
        QN_TRY(read_f64(object, "clip_low", &ret->clip_low, err));
        QN_TRY(read_f64(object, "clip_high", &ret->clip_high, err));
    }
    QN_TRY(read_affine(object, "value", &ret->plain, &ret->value, err));
    QN_TRY(read_affine(object, "log", &ret->log, &ret->log_value, err));
    return read_edges(object, arena, ret, err);
}

static qn_status read_category(const qn_json *object, qn_arena *arena, qn_category_transform *ret,
                               qn_error *err)
{
    qn_str *texts = NULL;
    int64_t count = 0;
    QN_TRY(read_texts(object, "levels", LEVELS_MAX, arena, &texts, &count, err));
    QN_TRY(qn_json_get_bool(object, "embed", false, &ret->embed, err));
    QN_TRY(qn_json_get_bool(object, "other", false, &ret->has_other, err));
    QN_TRY(qn_json_get_bool(object, "missing", false, &ret->has_missing, err));
    if (ret->embed && !ret->has_other)
        return bad_value("other", "true for an embedded category", err);
    qn_levels_init(&ret->levels, arena);
    for (int64_t i = 0; i < count; i++)
        if (qn_levels_add(&ret->levels, texts[i], 1) < 0)
            return no_memory(err);
    if (ret->levels.count != count)
        return bad_value("levels", "a list without repeats", err);
    ret->width = count + ret->has_other + ret->has_missing;
    return QN_OK;
}

static qn_status read_binary(const qn_json *object, qn_arena *arena, qn_binary_transform *ret,
                             qn_error *err)
{
    qn_str *texts = NULL;
    int64_t count = 0;
    QN_TRY(read_texts(object, "levels", 2, arena, &texts, &count, err));
    if (count != 2)
        return bad_value("levels", "a list of two texts", err);
    ret->level[0] = texts[0];
    ret->level[1] = texts[1];
    QN_TRY(qn_json_get_bool(object, "flag_missing", false, &ret->flag, err));
    return read_f64(object, "share", &ret->share, err);
}

static qn_status read_date(const qn_json *object, qn_date_transform *ret, qn_error *err)
{
    int64_t order, parts;
    bool present;
    QN_TRY(qn_json_get_i64(object, "order", true, &order, err));
    QN_TRY(qn_json_get_i64(object, "parts", true, &parts, err));
    if (order < 0 || order >= QN_DATE_ORDERS || parts < 0 || parts > 31)
        return bad_value("order or parts", "known", err);
    ret->order = (qn_date_order)order;
    ret->parts = (unsigned)parts;
    QN_TRY(read_affine(object, "seconds", &present, &ret->seconds, err));
    return present ? QN_OK : bad_value("seconds", "there", err);
}

static qn_status read_shape(const qn_json *object, qn_dtype dtype, qn_shape *ret, qn_error *err)
{
    const qn_json *array = qn_json_find(object, "shape");
    int64_t rank = array ? qn_json_length(array) : -1, bytes;
    if (rank < 0 || rank >= QN_RANK_MAX)
        return bad_value("shape", "a list of up to 7 sizes", err);
    ret->rank = (int)rank;
    for (int64_t i = 0; i < rank; i++) {
        qn_json item = qn_json_at(array, i);
        if (item.kind != QN_JSON_INT || item.integer < 1)
            return bad_value("shape", "a list of sizes", err);
        ret->dims[i] = item.integer;
    }
    QN_TRY(qn_shape_check(ret, dtype, &bytes, err));
    return bytes <= IMAGE_COUNT_MAX ? QN_OK
                                    : bad_value("shape", "of a size that can be served", err);
}

static qn_status read_image(const qn_json *object, qn_raw_input *ret, qn_error *err)
{
    qn_shape shape = {0};
    QN_TRY(read_shape(object, QN_DTYPE_F32, &shape, err));
    if (shape.rank != 3 || shape.dims[0] > IMAGE_SIDE_MAX || shape.dims[1] > IMAGE_SIDE_MAX ||
        (shape.dims[2] != 1 && shape.dims[2] != 3))
        return bad_value("shape", "[height, width, 1 or 3]", err);
    ret->height = shape.dims[0];
    ret->width = shape.dims[1];
    ret->channels = shape.dims[2];
    return QN_OK;
}

static qn_status read_tensor(const qn_json *object, qn_raw_input *ret, qn_error *err)
{
    qn_str name;
    QN_TRY(qn_json_get_str(object, "dtype", true, &name, err));
    for (int dtype = 0; dtype < QN_DTYPE_COUNT; dtype++)
        if (qn_str_is(name, qn_dtype_name((qn_dtype)dtype))) {
            ret->dtype = (qn_dtype)dtype;
            return read_shape(object, QN_DTYPE_F64, &ret->shape, err);
        }
    return bad_value("dtype", "a known element type", err);
}

static qn_status read_kind(const qn_json *object, qn_raw_input *ret, qn_error *err)
{
    qn_str type, kind;
    QN_TRY(qn_json_get_str(object, "type", true, &type, err));
    QN_TRY(qn_json_get_str(object, "kind", true, &kind, err));
    if (!qn_type_find(type, &ret->type))
        return bad_value("type", "a column type", err);
    for (int i = 0; i < 4; i++)
        if (qn_str_is(kind, kind_names[i])) {
            ret->kind = (qn_column_kind)i;
            return QN_OK;
        }
    return bad_value("kind", "number, string, bytes or array", err);
}

static qn_status read_encoder(const qn_json *object, qn_arena *arena, qn_encoder *ret,
                              qn_error *err)
{
    QN_TRY(read_text(object, "name", arena, &ret->input.name, err));
    QN_TRY(read_kind(object, &ret->input, err));
    switch (ret->input.type) {
    case QN_TYPE_NUMBER:
        return read_number(object, arena, &ret->number, err);
    case QN_TYPE_CATEGORY:
        return read_category(object, arena, &ret->category, err);
    case QN_TYPE_BINARY:
        return read_binary(object, arena, &ret->binary, err);
    case QN_TYPE_DATE:
        return read_date(object, &ret->date, err);
    case QN_TYPE_IMAGE:
        return read_image(object, &ret->input, err);
    case QN_TYPE_TENSOR:
        return read_tensor(object, &ret->input, err);
    case QN_TYPE_AUTO:
    case QN_TYPE_TEXT:
    case QN_TYPE_DROP:
    case QN_TYPES:
        break;
    }
    return bad_value("type", "one that is transformed", err);
}

static qn_status read_shares(const qn_json *json, qn_arena *arena, qn_transforms *ret,
                             qn_error *err)
{
    const qn_json *array = qn_json_find(json, "label_shares");
    if (!array)
        return QN_OK;
    double *shares = QN_NEW(arena, double, ret->labels_count);
    if (!shares)
        return no_memory(err);
    if (qn_json_length(array) != ret->labels_count)
        return bad_value("label_shares", "one number per label", err);
    for (int64_t i = 0; i < ret->labels_count; i++) {
        qn_json item = qn_json_at(array, i);
        if (!qn_json_as_f64(&item, &shares[i]) || !(shares[i] >= 0 && shares[i] <= 1))
            return bad_value("label_shares", "a list of shares from 0 to 1", err);
    }
    ret->shares = shares;
    return QN_OK;
}

static qn_status read_array(const qn_json *json, qn_arena *arena, qn_transforms *ret, qn_error *err)
{
    const qn_json *array = qn_json_find(json, "target_array");
    qn_target_array *target = &ret->target_array;
    if (!array)
        return ret->task == QN_TASK_TRANSCRIBE ? bad_value("target_array", "there", err) : QN_OK;
    const qn_json *loss = qn_json_find(array, "loss");
    bool labels = ret->task == QN_TASK_TRANSCRIBE;
    if (!labels && ret->task != QN_TASK_REGRESSION)
        return bad_value("target_array", "only there for tasks regression and transcribe", err);
    QN_TRY(read_shape(array, QN_DTYPE_I64, &target->shape, err));
    if (target->shape.rank < 1 || (labels && target->shape.rank > 1))
        return bad_value("target_array.shape", labels ? "one size" : "1 to 7 sizes", err);
    QN_TRY(qn_json_get_i64(array, "blank", true, &target->blank, err));
    if (target->blank < 0)
        return bad_value("target_array.blank", "a class", err);
    if (!loss)
        return labels ? bad_value("target_array.loss", "ctc", err) : QN_OK;
    bool known = loss->kind == QN_JSON_STRING &&
                 (labels ? qn_str_is(loss->string, "ctc")
                         : qn_str_is(loss->string, "bce") || qn_str_is(loss->string, "kl"));
    if (!known)
        return bad_value("target_array.loss", "bce, kl or, of task transcribe, ctc", err);
    target->loss = qn_arena_strndup(arena, loss->string.data, loss->string.size);
    return target->loss ? QN_OK : no_memory(err);
}

static qn_status read_head(const qn_json *json, qn_arena *arena, qn_transforms *ret, qn_error *err)
{
    int64_t version;
    qn_str task, *ignored = NULL, *columns = NULL;
    QN_TRY(qn_json_get_i64(json, "version", true, &version, err));
    if (version != VERSION)
        QN_FAIL(err, QN_ERR_DATA, "transforms of version %lld, this program reads version %d",
                (long long)version, VERSION);
    QN_TRY(qn_json_get_str(json, "task", true, &task, err));
    if (!qn_task_find(task, &ret->task))
        return bad_value("task", "a known task", err);
    QN_TRY(read_text(json, "target", arena, &ret->target, err));
    QN_TRY(read_texts(json, "labels", LEVELS_MAX, arena, &ret->labels, &ret->labels_count, err));
    if (qn_json_find(json, "labels_ignored"))
        QN_TRY(read_texts(json, "labels_ignored", LEVELS_MAX, arena, &ret->labels_ignored,
                          &ret->labels_ignored_count, err));
    QN_TRY(read_shares(json, arena, ret, err));
    QN_TRY(read_f64(json, "target_mean", &ret->target_mean, err));
    QN_TRY(read_f64(json, "target_deviation", &ret->target_deviation, err));
    QN_TRY(read_array(json, arena, ret, err));
    QN_TRY(read_texts(json, "ignored", LEVELS_MAX, arena, &ignored, &ret->ignored_count, err));
    ret->ignored = ignored;
    QN_TRY(read_texts(json, "file_columns", LEVELS_MAX, arena, &columns, &ret->columns_count, err));
    ret->columns = columns;
    return QN_OK;
}

qn_status qn_transforms_read_json(const qn_json *json, qn_arena *arena, qn_transforms **ret,
                                  qn_error *err)
{
    const qn_json *columns = qn_json_find(json, "columns");
    qn_transforms *transforms = QN_NEW(arena, qn_transforms, 1);
    if (!transforms)
        return no_memory(err);
    QN_TRY(read_head(json, arena, transforms, err));
    if (!columns || columns->kind != QN_JSON_ARRAY || columns->count < 1)
        return bad_value("columns", "a list", err);
    transforms->encoders = QN_NEW(arena, qn_encoder, columns->count);
    if (!transforms->encoders)
        return no_memory(err);
    for (int64_t i = 0; i < columns->count; i++)
        QN_TRY(read_encoder(&columns->items[i], arena, &transforms->encoders[i], err));
    transforms->encoders_count = columns->count;
    QN_TRY(qn_transforms_lay_out(transforms, arena, err));
    *ret = transforms;
    return QN_OK;
}
