/*
 * The data of a run: opened, typed, split, looked through for leaks, transformed and packed. Split
 * comes first; everything fitted after it sees the training part alone.
 */
#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "os/clock.h"
#include "train/fit_priv.h"

const char *const qn_part_names[QN_PARTS] = {"train", "valid", "test"};

const int64_t *qn_fit_part_rows(const qn_fit *fit, qn_part part, int64_t *ret_count)
{
    const qn_split *split = &fit->split;
    *ret_count = part == QN_PART_TRAIN   ? split->train_count
                 : part == QN_PART_VALID ? split->valid_count
                                         : split->test_count;
    return part == QN_PART_TRAIN   ? split->train
           : part == QN_PART_VALID ? split->valid
                                   : split->test;
}

static qn_status open_dataset(qn_fit *fit, qn_error *err)
{
    QN_TRY(qn_recipe_open_data(&fit->recipe, fit->options->memory_max_bytes, &fit->load,
                               &fit->dataset, err));
    if (fit->dataset->target)
        return QN_OK;
    (void)qn_error_set(err, QN_ERR_ARG, "data.target", "no target column is named");
    return qn_error_hint(err, QN_ERR_ARG, "say which column to predict: --target NAME");
}

static void report_findings(qn_fit *fit, const qn_findings *findings)
{
    for (int64_t i = 0; i < findings->count; i++) {
        const qn_finding *finding = &findings->items[i];
        if (finding->level == QN_FINDING_NOTE)
            continue;
        qn_fit_note(fit, QN_FIT_WARNING, "%s", finding->text); /* names its column itself */
    }
}

static qn_status split_rows(qn_fit *fit, qn_error *err)
{
    const qn_recipe *recipe = &fit->recipe;
    qn_split_options options = {
        .by = recipe->split.by, .seed = (uint64_t)recipe->split.seed, .key = recipe->split.key};
    if (recipe->split.by == QN_SPLIT_TIME && !options.key)
        options.key = recipe->data.time;
    memcpy(options.parts, recipe->split.parts, sizeof options.parts);
    QN_TRY(qn_split_make(fit->dataset, &fit->schema, &options, &fit->load, &fit->split,
                         &fit->schema.findings, err));
    if (fit->split.train_count < 1)
        QN_FAIL(err, QN_ERR_DATA, "no rows are left to train on");
    qn_fit_note(fit, QN_FIT_NOTE, "split %s: %lld train, %lld valid, %lld test", fit->split.text,
                (long long)fit->split.train_count, (long long)fit->split.valid_count,
                (long long)fit->split.test_count);
    return QN_OK;
}

/* Types and statistics from the training rows alone, unless a class would then be unknown. */
static qn_status infer_from_training(qn_fit *fit, qn_error *err)
{
    qn_schema_options options = qn_recipe_schema_options(&fit->recipe, fit->dataset);
    qn_schema schema;
    qn_status status = qn_schema_infer(&fit->dataset->frame, fit->split.train,
                                       fit->split.train_count, &options, &fit->load, &schema, NULL);
    if (status == QN_ERR_MEMORY)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory for the schema");
    if (status == QN_OK && schema.labels_count == fit->schema.labels_count &&
        schema.task == fit->schema.task) {
        for (int64_t i = 0; i < fit->schema.findings.count; i++) {
            const qn_finding *finding = &fit->schema.findings.items[i];
            /* those of the table: the split's, the duplicates', and rows that no part has */
            if (finding->column.size == 0 || strcmp(finding->code, "TARGET_MISSING") == 0)
                qn_finding_add(&schema.findings, finding->level, finding->code, finding->column,
                               "%s", finding->text);
        }
        fit->schema = schema;
    }
    return QN_OK;
}

qn_status qn_fit_open_data(qn_fit *fit, qn_error *err)
{
    qn_fit_phase(fit, "open");
    QN_TRY(open_dataset(fit, err));
    qn_dataset *dataset = fit->dataset;
    qn_schema_options options = qn_recipe_schema_options(&fit->recipe, fit->dataset);
    QN_TRY(qn_schema_infer(&dataset->frame, NULL, dataset->frame.rows, &options, &fit->load,
                           &fit->schema, err));
    fit->task = fit->schema.task;
    fit->classes = fit->schema.labels_count;
    qn_fit_note(fit, QN_FIT_NOTE, "%lld rows, %lld columns; task %s: %s",
                (long long)dataset->frame.rows, (long long)fit->schema.columns_count,
                qn_task_name(fit->task), fit->schema.task_reason);
    qn_fit_phase(fit, "split");
    QN_TRY(split_rows(fit, err));
    qn_arena scratch;
    qn_arena_init(&scratch, 0);
    qn_status status =
        qn_split_find_duplicates(dataset, &fit->split, &scratch, &fit->schema.findings, err);
    if (status == QN_OK)
        status = infer_from_training(fit, err);
    if (status == QN_OK)
        status = qn_schema_find_leaks(&fit->schema, &dataset->frame, fit->split.train,
                                      fit->split.train_count, err);
    qn_arena_deinit(&scratch);
    if (status == QN_OK) {
        report_findings(fit, &dataset->findings);
        report_findings(fit, &fit->schema.findings);
    }
    return status;
}

/* --- transforms and packing --- */

static qn_status pack_parts(qn_fit *fit, qn_prepared_data *data, qn_error *err)
{
    for (int part = 0; part < QN_PARTS; part++) {
        int64_t count;
        const int64_t *rows = qn_fit_part_rows(fit, (qn_part)part, &count);
        if (count == 0)
            continue;
        QN_TRY(qn_pack(data->transforms, &fit->dataset->frame, rows, count, true, fit->pool,
                       &fit->load, &data->parts[part], err));
    }
    return QN_OK;
}

/* The layer that reads the data, when it is one that counts: an embedding or one_hot. NULL otherwise. */
static const qn_json *find_counter(const qn_recipe *recipe, int64_t *ret_count)
{
    const qn_json *layers = &recipe->model.layers;
    if (recipe->model.type != QN_MODEL_LAYERS || layers->kind != QN_JSON_ARRAY || layers->count < 1)
        return NULL;
    const qn_json *first = &layers->items[0];
    if (first->kind != QN_JSON_OBJECT || first->count != 1 ||
        !(qn_str_is(first->keys[0], "embedding") || qn_str_is(first->keys[0], "one_hot")))
        return NULL;
    return qn_json_get_i64(&first->items[0], "count", true, ret_count, NULL) == QN_OK ? first
                                                                                      : NULL;
}

static qn_status fail_integer(const qn_json *layer, const qn_feature_tensor *source, int64_t rows,
                              double number, qn_error *err)
{
    (void)qn_error_set(err, QN_ERR_DATA, "model.layers[0]",
                       "%.*s takes whole numbers from 0 to %lld; '%.*s' holds %g",
                       QN_STR_ARG(layer->keys[0]), (long long)rows - 1, QN_STR_ARG(source->name),
                       number);
    return qn_error_hint(err, QN_ERR_DATA,
                         source->table ? "columns of a table are scaled unless columns: {NAME: "
                                         "{scale: none}} says otherwise"
                                       : "raise count above the largest number");
}

/* What an embedding has no row for would be zeros to it, and nobody would know. */
static qn_status check_integers(const qn_fit *fit, const qn_prepared_data *data, qn_error *err)
{
    int64_t rows, sources;
    const qn_json *layer = find_counter(&fit->recipe, &rows);
    const qn_feature_tensor *source = qn_transforms_outputs(data->transforms, &sources);
    const qn_packed *part = &data->parts[QN_PART_TRAIN];
    if (!layer || sources != 1 || part->rows == 0 || part->tensors->stored == QN_DTYPE_U8)
        return QN_OK;
    const void *x = part->tensors->data;
    bool whole = part->tensors->stored == QN_DTYPE_I64;
    for (int64_t i = 0; i < part->rows * part->tensors->count; i++) {
        double number = whole ? (double)((const int64_t *)x)[i] : (double)((const float *)x)[i];
        if (!(number >= 0 && number < (double)rows && floor(number) >= number))
            return fail_integer(layer, source, rows, number, err);
    }
    return QN_OK;
}

/* A cell without a number is filled in; an element of an array has no such rule. */
static qn_status check_finite(const qn_fit *fit, const qn_prepared_data *data, qn_error *err)
{
    int64_t sources, rows;
    const qn_feature_tensor *source = qn_transforms_outputs(data->transforms, &sources);
    const int64_t *from = qn_fit_part_rows(fit, QN_PART_TRAIN, &rows);
    for (int64_t k = 0; k < sources; k++) {
        const qn_packed_tensor *x = &data->parts[QN_PART_TRAIN].tensors[k];
        if (source[k].table || x->stored != QN_DTYPE_F32)
            continue;
        for (int64_t i = 0; i < rows * x->count; i++) {
            float number = ((const float *)x->data)[i];
            if (isfinite(number))
                continue;
            (void)qn_error_set(err, QN_ERR_DATA, NULL, "'%.*s' holds %s in row %lld",
                               QN_STR_ARG(x->name), isnan(number) ? "NaN" : "infinity",
                               (long long)(from ? from[i / x->count] : i / x->count) + 1);
            return qn_error_hint(err, QN_ERR_DATA,
                                 "fill gaps before, and add an array or a channel that says where "
                                 "they were");
        }
    }
    return QN_OK;
}

/* Bytes of the packed features and of arrays to learn: known before any is made. Pictures count as bytes, which they are when packed best. */
static int64_t packed_bytes(const qn_fit *fit, const qn_transforms *transforms)
{
    int64_t count, row = 0;
    const qn_feature_tensor *outputs = qn_transforms_outputs(transforms, &count);
    for (int64_t i = 0; i < count; i++)
        row += outputs[i].count *
               (outputs[i].shape.rank == 3 ? 1 : (int64_t)qn_dtype_size(outputs[i].dtype));
    const qn_target_array *target = qn_transforms_target_array(transforms);
    bool labels = fit->task == QN_TASK_TRANSCRIBE;
    if (target) /* packed for the steps, and raw for the metrics */
        row += 2 * qn_shape_count(&target->shape) * (labels ? 8 : 4);
    return row * (fit->split.train_count + fit->split.valid_count + fit->split.test_count);
}

static qn_status check_room(const qn_fit *fit, const qn_transforms *transforms, qn_error *err)
{
    int64_t limit = fit->options->memory_max_bytes;
    int64_t needed = qn_rss_bytes() + packed_bytes(fit, transforms);
    int64_t width;
    (void)qn_transforms_features(transforms, &width);
    if (limit == 0)
        limit = qn_rss_bytes() + qn_memory_available_bytes();
    if (needed <= limit)
        return QN_OK;
    (void)qn_error_set(
        err, QN_ERR_BUDGET, NULL,
        "%lld features of %lld rows need about %lld MiB; the memory budget is %lld MiB",
        (long long)width, (long long)fit->dataset->frame.rows, (long long)(needed >> 20),
        (long long)(limit >> 20));
    return qn_error_hint(
        err, QN_ERR_BUDGET,
        "raise --mem, use fewer rows, or drop columns of many levels (a linear model "
        "takes one feature for each; --model mlp does not)");
}

static qn_status prepare_for(qn_fit *fit, qn_prepared_data *data, int64_t onehot_levels_max,
                             qn_error *err)
{
    qn_transform_options options = {.onehot_levels_max = onehot_levels_max,
                                    .target_loss = qn_fit_array_loss(fit),
                                    .target_blank = fit->recipe.train.blank,
                                    .labels_ignored = fit->recipe.data.ignore.items,
                                    .labels_ignored_count = fit->recipe.data.ignore.count};
    QN_TRY(qn_transforms_fit(&fit->schema, &fit->dataset->frame, fit->split.train,
                             fit->split.train_count, &options, &fit->load, &data->transforms, err));
    QN_TRY(check_room(fit, data->transforms, err));
    QN_TRY(pack_parts(fit, data, err));
    QN_TRY(check_finite(fit, data, err));
    return check_integers(fit, data, err);
}

static bool has_embeddings(const qn_transforms *transforms)
{
    int64_t count;
    const qn_feature_tensor *outputs = qn_transforms_outputs(transforms, &count);
    for (int64_t i = 0; i < count; i++)
        if (outputs[i].levels)
            return true;
    return false;
}

/* Rows of arrays, and how many classes their labels tell of: the blank and all up to the largest. */
static qn_status read_arrays(qn_fit *fit, qn_error *err)
{
    bool labels = fit->task == QN_TASK_TRANSCRIBE;
    int64_t width = qn_shape_count(&fit->array->shape);
    size_t size = qn_dtype_size(labels ? QN_DTYPE_I64 : QN_DTYPE_F32);
    fit->array_classes = fit->recipe.train.blank + 1;
    for (int part = 0; part < QN_PARTS; part++) {
        int64_t count;
        const int64_t *rows = qn_fit_part_rows(fit, (qn_part)part, &count);
        fit->arrays[part] = qn_arena_zero(&fit->load, count * width, size);
        if (!fit->arrays[part])
            QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
        QN_TRY(qn_transforms_arrays(fit->data[0].transforms, &fit->dataset->frame, rows, count,
                                    fit->arrays[part], err));
        const int64_t *label = fit->arrays[part];
        for (int64_t i = 0; labels && i < count * width; i++)
            fit->array_classes = qn_max_i64(fit->array_classes, label[i] + 1);
    }
    return QN_OK;
}

/* Truth of every part in raw terms, and what the trivial answer needs. */
static qn_status read_truth(qn_fit *fit, qn_error *err)
{
    const qn_transforms *transforms = fit->data[0].transforms;
    const qn_frame *frame = &fit->dataset->frame;
    fit->array = qn_transforms_target_array(transforms);
    if (fit->array)
        return read_arrays(fit, err);
    for (int part = 0; part < QN_PARTS; part++) {
        int64_t count;
        const int64_t *rows = qn_fit_part_rows(fit, (qn_part)part, &count);
        if (fit->classes > 0) {
            fit->labels[part] = QN_NEW(&fit->load, int64_t, count);
            if (!fit->labels[part])
                QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
            QN_TRY(qn_transforms_classes(transforms, frame, rows, count, fit->labels[part], err));
            continue;
        }
        float *numbers = QN_NEW(&fit->load, float, count);
        fit->truth[part] = QN_NEW(&fit->load, double, count);
        if (!numbers || !fit->truth[part])
            QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
        QN_TRY(qn_transforms_numbers(transforms, frame, rows, count, numbers, err));
        for (int64_t i = 0; i < count; i++)
            fit->truth[part][i] = (double)numbers[i];
    }
    return QN_OK;
}

static qn_status find_trivial_answer(qn_fit *fit, qn_error *err)
{
    int64_t count = fit->split.train_count;
    fit->shares = QN_NEW(&fit->load, double, fit->classes + 1);
    if (!fit->shares)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    for (int64_t i = 0; i < count && !fit->array; i++) {
        if (fit->classes > 0)
            fit->shares[fit->labels[QN_PART_TRAIN][i]] += 1 / (double)count;
        else
            fit->train_mean += fit->truth[QN_PART_TRAIN][i] / (double)count;
    }
    return QN_OK;
}

/* A network from a file learned on numbers as they are, or as its owner scaled them: what the recipe leaves open adds and
 * changes nothing. */
static void take_numbers_as_they_are(qn_schema *schema)
{
    for (int64_t i = 0; i < schema->columns_count; i++) {
        qn_column_options *options = &schema->columns[i].options;
        options->scale = options->scale == QN_SCALE_AUTO ? QN_SCALE_NONE : options->scale;
        options->log = options->log == QN_SWITCH_AUTO ? QN_SWITCH_OFF : options->log;
        options->bins = options->bins == QN_SWITCH_AUTO ? QN_SWITCH_OFF : options->bins;
        if (options->flag_missing == QN_SWITCH_AUTO)
            options->flag_missing = QN_SWITCH_OFF;
    }
}

qn_status qn_fit_prepare(qn_fit *fit, qn_error *err)
{
    qn_model_type type = fit->recipe.model.type;
    bool file = type == QN_MODEL_FILE;
    qn_fit_phase(fit, "prepare");
    if (file)
        take_numbers_as_they_are(&fit->schema);
    QN_TRY(prepare_for(fit, &fit->data[0], file ? INT64_MAX : 0, err));
    bool linear = type == QN_MODEL_AUTO || type == QN_MODEL_LINEAR || type == QN_MODEL_LOGISTIC;
    fit->data_differs = linear && has_embeddings(fit->data[0].transforms);
    if (fit->data_differs)
        QN_TRY(prepare_for(fit, &fit->data[1], INT64_MAX, err));
    QN_TRY(read_truth(fit, err));
    return find_trivial_answer(fit, err);
}
