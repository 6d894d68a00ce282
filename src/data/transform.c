/*
 * What fitted transforms look like from outside: the layout of their outputs, the names of their features, their
 * signature in raw terms, and whether a frame fits them.
 */
#include "data/transform.h"

#include <stdio.h>

#include "data/schema_priv.h"
#include "data/transform_priv.h"

static qn_status no_memory(qn_error *err)
{
    QN_FAIL(err, QN_ERR_MEMORY, "no memory for the transforms");
}

int64_t qn_date_width(unsigned parts)
{
    return (parts & QN_DATE_DAYS ? 1 : 0) + (parts & QN_DATE_MONTH ? 2 : 0) +
           (parts & QN_DATE_WEEKDAY ? 2 : 0) + (parts & QN_DATE_HOUR ? 2 : 0) +
           (parts & QN_DATE_FLAG ? 1 : 0);
}

static int64_t encoder_width(const qn_encoder *encoder)
{
    switch (encoder->input.type) {
    case QN_TYPE_NUMBER:
        return encoder->number.plain + encoder->number.log + encoder->number.flag +
               encoder->number.bins_count;
    case QN_TYPE_CATEGORY:
        return encoder->category.embed ? 0 : encoder->category.width;
    case QN_TYPE_BINARY:
        return 1 + encoder->binary.flag;
    case QN_TYPE_DATE:
        return qn_date_width(encoder->date.parts);
    case QN_TYPE_AUTO:
    case QN_TYPE_IMAGE:
    case QN_TYPE_TEXT:
    case QN_TYPE_TENSOR:
    case QN_TYPE_DROP:
    case QN_TYPES:
        break;
    }
    return 0;
}

/* Feature names, in the order transform_apply.c writes the features. */

typedef struct {
    qn_transforms *transforms;
    qn_arena *arena;
    int64_t at;
    bool failed;
} naming;

static void name_feature(naming *in, int64_t column, const char *text)
{
    in->failed = in->failed || !text;
    if (text)
        in->transforms->features[in->at++] = (qn_feature){qn_str_from(text), column};
}
#define NAME(in, column, ...)                                                                      \
    name_feature((in), (column), qn_arena_printf((in)->arena, __VA_ARGS__))

static void name_number(naming *in, int64_t column, qn_str name, const qn_number_transform *number)
{
    if (number->plain)
        NAME(in, column, "%.*s", QN_STR_ARG(name));
    if (number->log)
        NAME(in, column, "log %.*s", QN_STR_ARG(name));
    if (number->flag)
        NAME(in, column, "%.*s is missing", QN_STR_ARG(name));
    for (int64_t i = 0; i < number->bins_count; i++)
        NAME(in, column, "%.*s in %g..%g", QN_STR_ARG(name), number->edges[i],
             number->edges[i + 1]);
}

static void name_category(naming *in, int64_t column, qn_str name,
                          const qn_category_transform *category)
{
    for (int64_t i = 0; i < category->levels.count; i++)
        NAME(in, column, "%.*s = %.*s", QN_STR_ARG(name), QN_STR_ARG(category->levels.keys[i]));
    if (category->has_other)
        NAME(in, column, "%.*s = other", QN_STR_ARG(name));
    if (category->has_missing)
        NAME(in, column, "%.*s is missing", QN_STR_ARG(name));
}

static void name_date(naming *in, int64_t column, qn_str name, unsigned parts)
{
    static const struct {
        unsigned part;
        const char *words[2];
    } table[] = {{QN_DATE_DAYS, {"time", NULL}},
                 {QN_DATE_MONTH, {"month (sine)", "month (cosine)"}},
                 {QN_DATE_WEEKDAY, {"weekday (sine)", "weekday (cosine)"}},
                 {QN_DATE_HOUR, {"hour (sine)", "hour (cosine)"}},
                 {QN_DATE_FLAG, {"is missing", NULL}}};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        for (int word = 0; word < 2 && parts & table[i].part && table[i].words[word]; word++)
            NAME(in, column, "%.*s %s", QN_STR_ARG(name), table[i].words[word]);
}

static void name_encoder(naming *in, int64_t column, const qn_encoder *encoder)
{
    qn_str name = encoder->input.name;
    if (encoder->input.type == QN_TYPE_NUMBER)
        name_number(in, column, name, &encoder->number);
    if (encoder->input.type == QN_TYPE_CATEGORY && !encoder->category.embed)
        name_category(in, column, name, &encoder->category);
    if (encoder->input.type == QN_TYPE_BINARY) {
        NAME(in, column, "%.*s = %.*s", QN_STR_ARG(name), QN_STR_ARG(encoder->binary.level[1]));
        if (encoder->binary.flag)
            NAME(in, column, "%.*s is missing", QN_STR_ARG(name));
    }
    if (encoder->input.type == QN_TYPE_DATE)
        name_date(in, column, name, encoder->date.parts);
}

/* Outputs */

static int64_t add_output(qn_transforms *t, qn_str name, qn_dtype dtype, qn_shape shape)
{
    qn_feature_tensor *output = &t->outputs[t->outputs_count];
    *output = (qn_feature_tensor){
        .name = name, .dtype = dtype, .shape = shape, .count = qn_shape_count(&shape)};
    return t->outputs_count++;
}

static bool add_index(qn_transforms *t, qn_arena *arena)
{
    int64_t *levels = QN_NEW(arena, int64_t, t->indices_count);
    qn_str *columns = QN_NEW(arena, qn_str, t->indices_count);
    if (!levels || !columns)
        return false;
    for (int64_t i = 0; i < t->encoders_count; i++) {
        const qn_encoder *encoder = &t->encoders[i];
        if (encoder->input.type != QN_TYPE_CATEGORY || !encoder->category.embed)
            continue;
        levels[encoder->at] = encoder->category.width;
        columns[encoder->at] = encoder->input.name;
    }
    t->index_output = add_output(t, QN_STR("index"), QN_DTYPE_I64, QN_SHAPE(t->indices_count));
    t->outputs[t->index_output].levels = levels;
    t->outputs[t->index_output].columns = columns;
    return true;
}

static void add_arrays(qn_transforms *t)
{
    int64_t images = 0;
    for (int64_t i = 0; i < t->encoders_count; i++)
        images += t->encoders[i].input.type == QN_TYPE_IMAGE;
    for (int64_t i = 0; i < t->encoders_count; i++) {
        qn_encoder *encoder = &t->encoders[i];
        const qn_raw_input *input = &encoder->input;
        bool whole = input->dtype == QN_DTYPE_I64 || input->dtype == QN_DTYPE_I32;
        if (input->type == QN_TYPE_IMAGE)
            encoder->at = add_output(t, images == 1 ? QN_STR("image") : input->name, QN_DTYPE_F32,
                                     QN_SHAPE(input->height, input->width, input->channels));
        else if (input->type == QN_TYPE_TENSOR)
            encoder->at =
                add_output(t, input->name, whole ? QN_DTYPE_I64 : QN_DTYPE_F32, input->shape);
    }
}

static void place_features(qn_transforms *t)
{
    t->features_count = t->indices_count = 0;
    for (int64_t i = 0; i < t->encoders_count; i++) {
        qn_encoder *encoder = &t->encoders[i];
        encoder->width = encoder_width(encoder);
        encoder->at = t->features_count;
        t->features_count += encoder->width;
        if (encoder->input.type == QN_TYPE_CATEGORY && encoder->category.embed)
            encoder->at = t->indices_count++;
    }
}

qn_status qn_transforms_lay_out(qn_transforms *t, qn_arena *arena, qn_error *err)
{
    place_features(t);
    t->inputs = QN_NEW(arena, qn_raw_input, t->encoders_count);
    t->outputs = QN_NEW(arena, qn_feature_tensor, t->encoders_count + 2);
    t->features = QN_NEW(arena, qn_feature, t->features_count);
    if (!t->inputs || !t->outputs || !t->features)
        return no_memory(err);
    naming names = {.transforms = t, .arena = arena};
    for (int64_t i = 0; i < t->encoders_count; i++) {
        t->inputs[i] = t->encoders[i].input;
        name_encoder(&names, i, &t->encoders[i]);
    }
    if (names.failed)
        return no_memory(err);
    QN_ASSERT(names.at == t->features_count);
    t->outputs_count = 0;
    t->x_output = t->index_output = -1;
    if (t->features_count > 0)
        t->x_output = add_output(t, QN_STR("x"), QN_DTYPE_F32, QN_SHAPE(t->features_count));
    if (t->indices_count > 0 && !add_index(t, arena))
        return no_memory(err);
    for (int64_t i = 0; i < t->outputs_count; i++)
        t->outputs[i].table = true;
    add_arrays(t);
    return QN_OK;
}

const qn_feature_tensor *qn_transforms_outputs(const qn_transforms *transforms, int64_t *ret_count)
{
    *ret_count = transforms->outputs_count;
    return transforms->outputs;
}

const qn_raw_input *qn_transforms_inputs(const qn_transforms *transforms, int64_t *ret_count)
{
    *ret_count = transforms->encoders_count;
    return transforms->inputs;
}

const qn_str *qn_transforms_columns(const qn_transforms *transforms, int64_t *ret_count)
{
    *ret_count = transforms->columns_count;
    return transforms->columns;
}

const qn_feature *qn_transforms_features(const qn_transforms *transforms, int64_t *ret_count)
{
    *ret_count = transforms->features_count;
    return transforms->features;
}

qn_task qn_transforms_task(const qn_transforms *transforms)
{
    return transforms->task;
}

qn_str qn_transforms_target(const qn_transforms *transforms)
{
    return transforms->target;
}

const qn_str *qn_transforms_labels(const qn_transforms *transforms, int64_t *ret_count)
{
    *ret_count = transforms->labels_count;
    return transforms->labels;
}

const double *qn_transforms_shares(const qn_transforms *transforms)
{
    return transforms->shares;
}

void qn_transforms_target_scale(const qn_transforms *transforms, double *ret_mean,
                                double *ret_deviation)
{
    *ret_mean = transforms->target_mean;
    *ret_deviation = transforms->target_deviation;
}

const qn_target_array *qn_transforms_target_array(const qn_transforms *transforms)
{
    return transforms->target_array.shape.rank > 0 ? &transforms->target_array : NULL;
}

static bool is_known(const qn_transforms *t, qn_str name)
{
    for (int64_t i = 0; i < t->encoders_count; i++)
        if (qn_str_equal(t->encoders[i].input.name, name))
            return true;
    for (int64_t i = 0; i < t->ignored_count; i++)
        if (qn_str_equal(t->ignored[i], name))
            return true;
    return qn_str_equal(t->target, name);
}

/* The nearest input by name, for "did you mean". */
static qn_status unknown_column(const qn_transforms *t, qn_str name, qn_error *err)
{
    qn_arena scratch;
    qn_arena_init(&scratch, 0);
    qn_frame known = {0};
    qn_status status =
        qn_error_set(err, QN_ERR_DATA, NULL, "column '%.*s' is not one that the model knows",
                     (int)(name.size < 100 ? name.size : 100), name.data);
    if (qn_frame_init(&known, &scratch, t->encoders_count, 0, NULL) == QN_OK) {
        for (int64_t i = 0; i < t->encoders_count; i++)
            known.columns[known.columns_count++].name = t->encoders[i].input.name;
        qn_schema_hint_name(&known, name, status, err);
    }
    qn_arena_deinit(&scratch);
    return status;
}

qn_status qn_transforms_check(const qn_transforms *transforms, const qn_frame *frame,
                              bool ignore_unknown, qn_error *err)
{
    int64_t used = 0;
    for (int64_t i = 0; i < frame->columns_count; i++) {
        qn_str name = frame->columns[i].name;
        /* Most callers send the columns in the model's order: then no search is needed. */
        bool same = i < transforms->encoders_count &&
                    qn_str_equal(transforms->encoders[i].input.name, name);
        if (!same && !ignore_unknown && !is_known(transforms, name))
            return unknown_column(transforms, name, err);
        used += same || is_known(transforms, name);
    }
    if (used == 0 && frame->rows > 0 && transforms->encoders_count > 0)
        QN_FAIL(err, QN_ERR_DATA, "none of the model's %lld columns is there, '%.*s' for one",
                (long long)transforms->encoders_count,
                QN_STR_ARG(transforms->encoders[0].input.name));
    return QN_OK;
}
