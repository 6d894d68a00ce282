/*
 * Fitting: what each column needs to become numbers, learnt from the training rows and nothing else.
 */
#include <math.h>
#include <stdlib.h>

#include "base/checked.h"
#include "data/measure_priv.h"
#include "data/schema_priv.h"
#include "data/transform_priv.h"

enum {
    ONEHOT_DEFAULT = 64,
    ROWS_FOR_RARE = 200, /* below it a level of few rows is not yet rare */
    RARE_COUNT = 5,
    LEVELS_MAX = 100000, /* per column: more is an identifier that someone called a category */
    BINS = 8,
    EDGES_MAX = 2 * BINS, /* and three more: the ends and a heavy value */
    ROWS_FOR_BINS = 500,  /* fewer rows do not pay for a bend in the curve */
    DISTINCT_FOR_BINS = 4,
};
static const double skewness_for_log = 2.0;

typedef struct {
    const qn_schema *schema;
    const qn_frame *frame;
    const int64_t *rows;
    int64_t rows_count;
    qn_transform_options options;
    qn_arena *arena;
    qn_arena scratch;
} fitting;

static qn_status no_memory(qn_error *err)
{
    QN_FAIL(err, QN_ERR_MEMORY, "no memory for the transforms");
}

static bool keep_text(qn_arena *arena, qn_str *text)
{
    text->data = qn_arena_strndup(arena, text->data, text->size);
    return text->data != NULL;
}

static qn_affine standard(double mean, double deviation)
{
    if (!isfinite(mean) ||
        !isfinite(deviation)) /* values near the end of the range: their squares overflow */
        return (qn_affine){0, 1};
    return (qn_affine){mean, deviation > 0 ? 1.0 / deviation : 1.0};
}

static double signed_log(double value)
{
    return copysign(log1p(fabs(value)), value);
}

/* Quantile edges over the sorted values. A value that fills a bin by itself (the zeros of a column of amounts) gets an edge
 * of its own and one at its successor, so that "zero or not" is a step and the rest is shared out among the other bins. */
static int64_t place_edges(const qn_sorted *sorted, double edges[EDGES_MAX + 3])
{
    int64_t used = 0, count = 0, begin, end;
    int64_t left = sorted->count, share = qn_max_i64(1, sorted->count / BINS);
    edges[count++] = sorted->values[0];
    for (begin = 0; begin < sorted->count; begin = end) {
        double value = sorted->values[begin];
        for (end = begin + 1; end < sorted->count && sorted->values[end] == value;)
            end++;
        bool heavy = end - begin >= share;
        used += end - begin;
        left -= end - begin;
        if ((heavy || used >= share) && value > edges[count - 1] && left > 0 && count < EDGES_MAX)
            edges[count++] = value;
        if (heavy && left > 0 && count < EDGES_MAX)
            edges[count++] = sorted->values[end];
        if (heavy || used >= share) {
            used = 0;
            int64_t bins_left = qn_max_i64(1, BINS - count + 1);
            share = qn_max_i64(1, left / bins_left);
        }
    }
    double last = sorted->values[sorted->count - 1];
    if (last > edges[count - 1])
        edges[count++] = last;
    return count;
}

static qn_status fit_bins(fitting *in, const qn_sorted *sorted, qn_number_transform *number,
                          qn_error *err)
{
    double edges[EDGES_MAX + 3];
    int64_t count = place_edges(sorted, edges);
    number->edges = QN_NEW(in->arena, double, count);
    if (!number->edges)
        return no_memory(err);
    memcpy(number->edges, edges, (size_t)count * sizeof edges[0]);
    number->bins_count = count - 1;
    return QN_OK;
}

static double fill_value(qn_missing_rule rule, const qn_column_stats *s)
{
    return rule == QN_MISSING_ZERO ? 0 : rule == QN_MISSING_MEAN ? s->mean : s->quantiles[10];
}

static bool wants(qn_switch asked, bool otherwise)
{
    return asked == QN_SWITCH_AUTO ? otherwise : asked == QN_SWITCH_ON;
}

static void fit_log(const qn_sorted *sorted, qn_number_transform *number)
{
    double sum = 0, squares = 0, n = (double)sorted->count;
    for (int64_t i = 0; i < sorted->count; i++) {
        double value = signed_log(sorted->values[i]);
        sum += value;
        squares += value * value;
    }
    double mean = sum / n;
    number->log_value = standard(mean, sqrt(fmax(0, squares / n - mean * mean)));
}

static qn_affine fit_scale(const qn_column_options *options, const qn_column_stats *s,
                           const qn_number_transform *number)
{
    if (options->scale == QN_SCALE_NONE)
        return (qn_affine){0, 1};
    if (options->scale == QN_SCALE_MINMAX && number->clip)
        return standard(number->clip_low, number->clip_high - number->clip_low);
    if (options->scale == QN_SCALE_MINMAX)
        return standard(s->minimum, s->maximum - s->minimum);
    return standard(s->mean, s->deviation);
}

static qn_status fit_number(fitting *in, const qn_schema_column *column, const qn_column *raw,
                            qn_encoder *out, qn_error *err)
{
    const qn_column_options *options = &column->options;
    qn_number_transform *number = &out->number;
    qn_column_stats s;
    qn_sorted sorted;
    QN_TRY(qn_measure_numbers(raw, false, QN_DATE_ISO, in->rows, in->rows_count, &in->scratch,
                              &in->scratch, &s, &sorted, err));
    if (sorted.count == 0)
        s = (qn_column_stats){.rows = s.rows,
                              .missing = s.missing,
                              .deviation = 1}; /* nothing present: all are filled */
    number->fill = fill_value(options->missing, &s);
    number->flag = wants(options->flag_missing, s.missing > 0);
    if (options->clip && sorted.count > 0) {
        number->clip = true;
        number->clip_low = qn_sorted_quantile(&sorted, options->clip_low / 100);
        number->clip_high = qn_sorted_quantile(&sorted, options->clip_high / 100);
    }
    number->value = fit_scale(options, &s, number);
    number->log = sorted.count > 0 && wants(options->log, fabs(s.skewness) > skewness_for_log);
    if (number->log)
        fit_log(&sorted, number);
    bool bins = sorted.count >= ROWS_FOR_BINS && s.distinct >= DISTINCT_FOR_BINS;
    if (sorted.count > 1 && s.distinct > 1 && wants(options->bins, bins))
        QN_TRY(fit_bins(in, &sorted, number, err));
    /* The value itself of a heavy-tailed column would reach dozens of deviations; its logarithm and bins do not. */
    number->plain = !number->log || number->bins_count == 0 || options->scale != QN_SCALE_AUTO;
    return QN_OK;
}

/* Categories */

typedef struct {
    qn_str text;
    int64_t count;
} counted;

static int counted_order(const void *left, const void *right)
{
    const counted *a = left, *b = right;
    if (a->count != b->count)
        return a->count > b->count ? -1 : 1;
    size_t size = a->text.size < b->text.size ? a->text.size : b->text.size;
    int order = size ? memcmp(a->text.data, b->text.data, size) : 0;
    return order ? order : a->text.size < b->text.size ? -1 : a->text.size > b->text.size;
}

static qn_status count_levels(fitting *in, const qn_column *raw, qn_levels *ret,
                              int64_t *ret_missing, qn_error *err)
{
    qn_levels_init(ret, &in->scratch);
    *ret_missing = 0;
    for (int64_t i = 0; i < in->rows_count; i++) {
        char text[32];
        qn_str level;
        if (!qn_schema_label(raw, qn_row_at(in->rows, i), text, &level)) {
            ++*ret_missing;
            continue;
        }
        int64_t known = qn_levels_find(ret, level);
        if (known < 0 && ret->count >= LEVELS_MAX)
            QN_FAIL(err, QN_ERR_BUDGET,
                    "column '%.*s' has more than %d levels; drop it or make it a text",
                    QN_STR_ARG(raw->name), LEVELS_MAX);
        if (known < 0 && level.data == text && !keep_text(&in->scratch, &level))
            return no_memory(err);
        if (qn_levels_add(ret, level, 1) < 0)
            return no_memory(err);
    }
    return QN_OK;
}

static qn_status sort_levels(fitting *in, const qn_levels *levels, counted **ret, qn_error *err)
{
    counted *sorted = QN_NEW(&in->scratch, counted, levels->count);
    if (!sorted)
        return no_memory(err);
    for (int64_t i = 0; i < levels->count; i++)
        sorted[i] = (counted){levels->keys[i], levels->counts[i]};
    if (levels->count > 0)
        qsort(sorted, (size_t)levels->count, sizeof *sorted, counted_order);
    *ret = sorted;
    return QN_OK;
}

static qn_status fit_category(fitting *in, const qn_schema_column *column, const qn_column *raw,
                              qn_encoder *out, qn_error *err)
{
    qn_category_transform *category = &out->category;
    qn_levels levels;
    int64_t missing;
    counted *sorted = NULL;
    QN_TRY(count_levels(in, raw, &levels, &missing, err));
    QN_TRY(sort_levels(in, &levels, &sorted, err));
    int64_t least = column->options.min_count;
    if (least == 0)
        least = in->rows_count >= ROWS_FOR_RARE ? RARE_COUNT : 1;
    qn_levels_init(&category->levels, in->arena);
    for (int64_t i = 0; i < levels.count && sorted[i].count >= least; i++) {
        qn_str text = sorted[i].text;
        if (!keep_text(in->arena, &text) ||
            qn_levels_add(&category->levels, text, sorted[i].count) < 0)
            return no_memory(err);
    }
    category->has_missing = missing > 0;
    int64_t kept = category->levels.count + category->has_missing;
    category->embed =
        column->options.encode == QN_ENCODE_EMBED ||
        (column->options.encode == QN_ENCODE_AUTO && kept > in->options.onehot_levels_max);
    category->has_other = category->embed || category->levels.count < levels.count;
    category->width = kept + category->has_other;
    return QN_OK;
}

static qn_status fit_binary(fitting *in, const qn_column *raw, qn_encoder *out, qn_error *err)
{
    qn_binary_transform *binary = &out->binary;
    qn_levels levels;
    int64_t missing;
    counted *sorted = NULL;
    QN_TRY(count_levels(in, raw, &levels, &missing, err));
    QN_TRY(sort_levels(in, &levels, &sorted, err));
    /* The training part may miss one of the two, or (told by the recipe) hold more: the two most frequent count. */
    int64_t count = qn_min_i64(levels.count, 2), total = 0;
    for (int64_t i = 0; i < count; i++)
        total += sorted[i].count;
    binary->share = 0.5;
    binary->flag = missing > 0;
    for (int64_t i = 0; i < count; i++) {
        binary->level[i] = sorted[i].text;
        if (!keep_text(in->arena, &binary->level[i]))
            return no_memory(err);
    }
    bool swap = count == 2 &&
                counted_order(&(counted){binary->level[0], 0}, &(counted){binary->level[1], 0}) > 0;
    if (swap) {
        qn_str held = binary->level[0];
        binary->level[0] = binary->level[1];
        binary->level[1] = held;
    }
    if (count == 2)
        binary->share = (double)sorted[swap ? 0 : 1].count / (double)total;
    return QN_OK;
}

static qn_status fit_date(fitting *in, const qn_column *raw, qn_encoder *out, qn_error *err)
{
    qn_date_transform *date = &out->date;
    bool ambiguous;
    qn_column_stats s;
    qn_sorted sorted;
    if (raw->kind != QN_COLUMN_STRING ||
        !qn_schema_find_date(raw, in->rows, in->rows_count, &date->order, &ambiguous)) {
        qn_status status =
            qn_error_set(err, QN_ERR_DATA, NULL, "column '%.*s' does not hold dates in one form",
                         QN_STR_ARG(raw->name));
        return qn_error_hint(err, status, "write dates as 2026-01-31");
    }
    QN_TRY(qn_measure_numbers(raw, true, date->order, in->rows, in->rows_count, &in->scratch,
                              &in->scratch, &s, &sorted, err));
    date->seconds = standard(s.mean, s.deviation);
    date->parts = QN_DATE_DAYS | (s.missing > 0 ? QN_DATE_FLAG : 0);
    qn_date_parts first = sorted.count ? qn_date_split(sorted.values[0]) : (qn_date_parts){0};
    for (int64_t i = 0; i < sorted.count; i++) {
        qn_date_parts parts = qn_date_split(sorted.values[i]);
        date->parts |= parts.month != first.month ? QN_DATE_MONTH : 0;
        date->parts |= parts.weekday != first.weekday ? QN_DATE_WEEKDAY : 0;
        date->parts |= parts.hour != first.hour ? QN_DATE_HOUR : 0;
    }
    return QN_OK;
}

static qn_status fit_column(fitting *in, const qn_schema_column *column, const qn_column *raw,
                            qn_encoder *out, qn_error *err)
{
    qn_arena_reset(&in->scratch);
    *out = (qn_encoder){.input = {.name = column->name, .type = column->type, .kind = raw->kind}};
    if (!keep_text(in->arena, &out->input.name))
        return no_memory(err);
    switch (column->type) {
    case QN_TYPE_NUMBER:
        return fit_number(in, column, raw, out, err);
    case QN_TYPE_CATEGORY:
        return fit_category(in, column, raw, out, err);
    case QN_TYPE_BINARY:
        return fit_binary(in, raw, out, err);
    case QN_TYPE_DATE:
        return fit_date(in, raw, out, err);
    case QN_TYPE_IMAGE:
        out->input.height = column->options.height ? column->options.height : column->stats.height;
        out->input.width = column->options.width ? column->options.width : column->stats.width;
        out->input.channels =
            column->options.channels ? column->options.channels : column->stats.channels;
        return QN_OK;
    case QN_TYPE_TENSOR:
        out->input.dtype = raw->array.dtype;
        out->input.shape.rank = raw->array.shape.rank - 1;
        for (int i = 0; i < out->input.shape.rank; i++)
            out->input.shape.dims[i] = raw->array.shape.dims[i + 1];
        return QN_OK;
    case QN_TYPE_AUTO:
    case QN_TYPE_TEXT:
    case QN_TYPE_DROP:
    case QN_TYPES:
        break;
    }
    return qn_error_set(err, QN_ERR_INTERNAL, NULL, "a column of type '%s' has no transform",
                        qn_type_name(column->type));
}

/* Shares of the labels among the rows: the best answer of one who sees no column. */
static qn_status fit_shares(fitting *in, qn_transforms *out, qn_error *err)
{
    qn_arena_reset(&in->scratch);
    int64_t *classes = QN_NEW(&in->scratch, int64_t, in->rows_count);
    double *shares = QN_NEW(in->arena, double, out->labels_count);
    if (!classes || !shares)
        return no_memory(err);
    QN_TRY(qn_transforms_classes(out, in->frame, in->rows, in->rows_count, classes, err));
    int64_t present = 0;
    for (int64_t i = 0; i < in->rows_count; i++)
        present += classes[i] >= 0;
    for (int64_t i = 0; i < in->rows_count; i++)
        if (classes[i] >= 0)
            shares[classes[i]] += 1 / (double)present;
    out->shares = shares;
    return QN_OK;
}

static qn_status keep_ignored(fitting *in, qn_transforms *out, qn_error *err)
{
    int64_t count = in->options.labels_ignored_count;
    out->labels_ignored = QN_NEW(in->arena, qn_str, count);
    if (!out->labels_ignored)
        return no_memory(err);
    for (int64_t i = 0; i < count; i++) {
        out->labels_ignored[i] = qn_str_from(in->options.labels_ignored[i]);
        if (!keep_text(in->arena, &out->labels_ignored[i]))
            return no_memory(err);
    }
    out->labels_ignored_count = count;
    return QN_OK;
}

/* The mean over all numbers of all rows, or that of their squares about `centre`. */
static double array_mean(const fitting *in, const qn_tensor *array, bool squares, double centre)
{
    int64_t width = qn_shape_count(&array->shape) / array->shape.dims[0];
    double sum = 0;
    for (int64_t i = 0; i < in->rows_count * width; i++) {
        int64_t row = qn_row_at(in->rows, i / width);
        double off = qn_tensor_f64_at(array, row * width + i % width) - centre;
        sum += squares ? off * off : off;
    }
    return sum / (double)(in->rows_count * width);
}

static qn_status fit_array(const fitting *in, const qn_tensor *array, qn_transforms *out,
                           qn_error *err)
{
    qn_target_array *target = &out->target_array;
    target->shape.rank = array->shape.rank - 1;
    memcpy(target->shape.dims, array->shape.dims + 1,
           (size_t)target->shape.rank * sizeof *target->shape.dims);
    target->blank = in->options.target_blank;
    if (in->options.target_loss) {
        target->loss =
            qn_arena_strndup(in->arena, in->options.target_loss, strlen(in->options.target_loss));
        return target->loss ? QN_OK : no_memory(err);
    }
    /* One unit for all, so that the loss weighs them as they are. */
    double mean = array_mean(in, array, false, 0);
    double deviation = sqrt(array_mean(in, array, true, mean));
    if (!isfinite(mean) || !isfinite(deviation))
        return QN_OK; /* where the numbers are read, the row is named */
    out->target_mean = mean;
    out->target_deviation = deviation > 0 ? deviation : 1;
    return QN_OK;
}

static qn_status fit_target(fitting *in, qn_transforms *out, qn_error *err)
{
    const qn_schema *schema = in->schema;
    out->task = schema->task;
    out->target_deviation = 1;
    if (schema->target < 0)
        return QN_OK;
    out->target = schema->columns[schema->target].name;
    out->labels = QN_NEW(in->arena, qn_str, schema->labels_count);
    if (!out->labels || !keep_text(in->arena, &out->target))
        return no_memory(err);
    out->labels_count = schema->labels_count;
    for (int64_t i = 0; i < schema->labels_count; i++) {
        out->labels[i] = schema->labels[i];
        if (!keep_text(in->arena, &out->labels[i]))
            return no_memory(err);
    }
    const qn_column *column = &in->frame->columns[schema->target];
    if (column->kind == QN_COLUMN_ARRAY)
        return fit_array(in, &column->array, out, err);
    QN_TRY(keep_ignored(in, out, err));
    if (schema->task != QN_TASK_REGRESSION)
        return fit_shares(in, out, err);
    qn_column_stats s;
    qn_arena_reset(&in->scratch);
    QN_TRY(qn_measure_numbers(column, false, QN_DATE_ISO, in->rows, in->rows_count, &in->scratch,
                              &in->scratch, &s, NULL, err));
    out->target_mean = s.mean;
    out->target_deviation = s.deviation > 0 ? s.deviation : 1;
    return QN_OK;
}

static bool is_used(const qn_schema *schema, int64_t index)
{
    qn_column_type type = schema->columns[index].type;
    return index != schema->target && type != QN_TYPE_TEXT && type != QN_TYPE_DROP;
}

/* Why, by the first column that was left out. */
static qn_status no_columns(const qn_schema *schema, qn_error *err)
{
    qn_status status = qn_error_set(err, QN_ERR_DATA, NULL, "no column is left to learn from");
    for (int64_t i = 0; i < schema->columns_count; i++) {
        const qn_schema_column *column = &schema->columns[i];
        if (i == schema->target || !column->reason)
            continue;
        return qn_error_hint(err, status,
                             column->type == QN_TYPE_TEXT
                                 ? "'%.*s' was left out (%.120s)"
                                 : "'%.*s' was left out (%.120s); columns.NAME.type in a recipe "
                                   "says otherwise",
                             QN_STR_ARG(column->name), column->reason);
    }
    return status;
}

static qn_status fit_all(fitting *in, qn_transforms *out, qn_error *err)
{
    const qn_schema *schema = in->schema;
    int64_t count = schema->columns_count;
    qn_str *ignored = QN_NEW(in->arena, qn_str, count), *columns = QN_NEW(in->arena, qn_str, count);
    out->encoders = QN_NEW(in->arena, qn_encoder, count);
    if (!ignored || !columns || !out->encoders)
        return no_memory(err);
    out->ignored = ignored;
    out->columns = columns;
    out->columns_count = count;
    for (int64_t i = 0; i < count; i++) {
        columns[i] = schema->columns[i].name;
        if (!keep_text(in->arena, &columns[i]))
            return no_memory(err);
        if (is_used(schema, i)) {
            QN_TRY(fit_column(in, &schema->columns[i], &in->frame->columns[i],
                              &out->encoders[out->encoders_count], err));
            out->encoders_count++;
        } else if (i != schema->target) {
            ignored[out->ignored_count++] = columns[i];
        }
    }
    if (out->encoders_count == 0)
        return no_columns(schema, err);
    QN_TRY(fit_target(in, out, err));
    return qn_transforms_lay_out(out, in->arena, err);
}

qn_status qn_transforms_fit(const qn_schema *schema, const qn_frame *frame, const int64_t *rows,
                            int64_t rows_count, const qn_transform_options *options,
                            qn_arena *arena, qn_transforms **ret, qn_error *err)
{
    if (schema->columns_count != frame->columns_count || rows_count < 1)
        QN_FAIL(err, QN_ERR_ARG,
                "transforms need rows, and the frame that the schema was made from");
    qn_transforms *transforms = QN_NEW(arena, qn_transforms, 1);
    if (!transforms)
        return no_memory(err);
    fitting in = {
        .schema = schema, .frame = frame, .rows = rows, .rows_count = rows_count, .arena = arena};
    if (options)
        in.options = *options;
    if (in.options.onehot_levels_max == 0)
        in.options.onehot_levels_max = ONEHOT_DEFAULT;
    qn_arena_init(&in.scratch, 0);
    qn_status status = fit_all(&in, transforms, err);
    qn_arena_deinit(&in.scratch);
    if (status == QN_OK)
        *ret = transforms;
    return status;
}
