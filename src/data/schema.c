/*
 * What is each column? Rules after Ludwig's and AutoGluon's type inference, each with the reason that it prints.
 */
#include "data/schema.h"

#include <math.h>
#include <stdio.h>

#include "base/checked.h"
#include "data/levels.h"
#include "data/measure_priv.h"
#include "data/schema_priv.h"
#include "format/image.h"

enum {
    IDENTIFIER_ROWS_MIN = 20, /* in a smaller table any number may be unique */
    TEXT_WORDS_MIN = 4,       /* names have fewer words, sentences more */
    TEXT_LENGTH_MIN = 50,
};

typedef struct {
    const qn_frame *frame;
    const int64_t *rows;
    int64_t rows_count;
    const qn_schema_options *options;
    qn_arena *arena;
    qn_arena scratch;
    qn_schema *schema;
} inference;

static qn_status no_memory(qn_error *err)
{
    QN_FAIL(err, QN_ERR_MEMORY, "no memory for the schema");
}

static bool name_is(qn_str name, const char *given)
{
    return given && qn_str_is(name, given);
}

/* A finding's kind of verdict: sets type and reason; false = memory. */
static bool settle(const inference *in, qn_schema_column *column, qn_column_type type,
                   const char *reason)
{
    (void)in;
    column->type = type;
    column->reason = reason;
    return reason != NULL;
}
#define SETTLE(in, column, type, ...)                                                              \
    settle((in), (column), (type), qn_arena_printf((in)->arena, __VA_ARGS__))

static bool named_like_id(qn_str name)
{
    static const char *const words[] = {"id",   "index", "rowid",      "row_id", "rownames",
                                        "uuid", "guid",  "unnamed: 0", "key"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (qn_str_equal_nocase(name, qn_str_from(words[i])))
            return true;
    if (name.size < 3)
        return false;
    qn_str tail = {name.data + name.size - 3, 3};
    return qn_str_equal_nocase(tail, QN_STR("_id")) || qn_str_equal_nocase(tail, QN_STR(" id")) ||
           memcmp(name.data + name.size - 2, "Id", 2) == 0 ||
           memcmp(name.data + name.size - 2, "ID", 2) == 0;
}

/* 1, 2, 3, ... down the file: a row number that someone stored. */
static bool counts_rows(const inference *in, const qn_column *column)
{
    if (column->kind != QN_COLUMN_NUMBER || in->rows_count < IDENTIFIER_ROWS_MIN)
        return false;
    for (int64_t i = 1; i < in->rows_count; i++) {
        int64_t row = qn_row_at(in->rows, i), before = qn_row_at(in->rows, i - 1);
        if (column->numbers[row] - column->numbers[before] != (double)(row - before))
            return false;
    }
    return true;
}

static bool decide_number(const inference *in, const qn_column *column, qn_schema_column *out)
{
    const qn_column_stats *s = &out->stats;
    int64_t present = s->rows - s->missing;
    if (counts_rows(in, column))
        return SETTLE(in, out, QN_TYPE_DROP, "counts the rows: an identifier");
    if (s->integral && present >= IDENTIFIER_ROWS_MIN && named_like_id(out->name) &&
        s->distinct * 100 >= present * 95)
        return SETTLE(in, out, QN_TYPE_DROP,
                      "named like an identifier, and %lld of %lld values differ",
                      (long long)s->distinct, (long long)present);
    if (s->distinct == 2 && s->nonfinite == 0)
        return SETTLE(in, out, QN_TYPE_BINARY, "two distinct numbers, %.*s and %.*s",
                      QN_STR_ARG(s->top[0].level), QN_STR_ARG(s->top[1].level));
    return SETTLE(in, out, QN_TYPE_NUMBER, "all %lld present cells are numbers, %lld distinct",
                  (long long)present, (long long)s->distinct);
}

/* Do all present cells parse in one of the date orders? Sets the order; `ambiguous` when day and month could change places. */
bool qn_schema_find_date(const qn_column *column, const int64_t *rows, int64_t rows_count,
                         qn_date_order *ret, bool *ret_ambiguous)
{
    bool fits[QN_DATE_ORDERS] = {true, true, true};
    bool dotted = false;
    int64_t present = 0;
    for (int64_t i = 0; i < rows_count && (fits[0] || fits[1] || fits[2]); i++) {
        int64_t row = qn_row_at(rows, i);
        double seconds;
        if (qn_column_missing(column, row))
            continue;
        present++;
        for (int order = 0; order < QN_DATE_ORDERS; order++)
            fits[order] = fits[order] &&
                          qn_cell_date(column, row, (qn_date_order)order, &seconds) != QN_CELL_BAD;
        dotted = dotted || (present == 1 && memchr(column->strings[row].data, '.',
                                                   column->strings[row].size) != NULL);
    }
    if (present == 0 || (!fits[0] && !fits[1] && !fits[2]))
        return false;
    *ret = fits[QN_DATE_ISO]         ? QN_DATE_ISO
           : fits[QN_DATE_DAY_FIRST] ? QN_DATE_DAY_FIRST
                                     : QN_DATE_MONTH_FIRST;
    /* With dots the day comes first wherever dates are written so. */
    *ret_ambiguous = fits[QN_DATE_DAY_FIRST] && fits[QN_DATE_MONTH_FIRST] && !dotted;
    return true;
}

static bool decide_many_levels(const inference *in, qn_schema_column *out, int64_t present)
{
    const qn_column_stats *s = &out->stats;
    if (s->words_mean >= TEXT_WORDS_MIN || s->length_mean >= TEXT_LENGTH_MIN)
        return SETTLE(
            in, out, QN_TYPE_TEXT,
            "%lld distinct texts of %.1f words on average: kept for text models, left out here",
            (long long)s->distinct, s->words_mean);
    if (s->missing * 20 >= s->rows)
        return SETTLE(in, out, QN_TYPE_CATEGORY,
                      "%lld distinct texts in %lld cells, %lld missing: whether it is there may "
                      "tell something",
                      (long long)s->distinct, (long long)present, (long long)s->missing);
    return SETTLE(in, out, QN_TYPE_DROP,
                  "%lld distinct texts in %lld rows: an identifier or a name",
                  (long long)s->distinct, (long long)present);
}

/* "12,5", "1,234.00", "1.234,00": digits, signs, points and commas, at least one of each of digit and comma. */
static bool has_comma_digits(qn_str text)
{
    bool digit = false, comma = false;
    for (size_t i = 0; i < text.size; i++) {
        char c = text.data[i];
        digit = digit || (c >= '0' && c <= '9');
        comma = comma || c == ',';
        if (!(c >= '0' && c <= '9') && c != ',' && c != '.' && c != '-' && c != '+')
            return false;
    }
    return digit && comma;
}

/* A column that a few cells keep from being numbers, or a way of writing them, is a finding: people can mend it. */
static void report_near_numbers(inference *in, const qn_column *column, qn_str name)
{
    int64_t present = 0, numbers = 0, commas = 0, bad = -1;
    for (int64_t i = 0; i < in->rows_count; i++) {
        int64_t row = qn_row_at(in->rows, i);
        double value;
        qn_cell cell = qn_cell_number(column, row, &value);
        present += cell != QN_CELL_MISSING;
        numbers += cell == QN_CELL_NUMBER;
        if (cell != QN_CELL_BAD)
            continue;
        commas += has_comma_digits(column->strings[row]);
        bad = bad < 0 ? row : bad;
    }
    if (bad < 0 || present < IDENTIFIER_ROWS_MIN || (numbers + commas) * 10 < present * 9)
        return;
    char where[160];
    qn_str text = column->strings[bad];
    int size = (int)(text.size < 40 ? text.size : 40);
    qn_frame_where(in->frame, column, bad, where);
    if (commas * 2 > present - numbers)
        qn_finding_add(&in->schema->findings, QN_FINDING_WARNING, "NUMBER_COMMA", name,
                       "'%.*s' holds numbers written with commas ('%.*s'): write 1234.5 to have "
                       "them used as numbers",
                       QN_STR_ARG(name), size, text.data);
    else
        qn_finding_add(
            &in->schema->findings, QN_FINDING_WARNING, "ALMOST_NUMBERS", name,
            "%lld of %lld cells of '%.*s' are numbers, but not '%.*s' (%s): mend them or "
            "leave them empty to have numbers",
            (long long)numbers, (long long)present, QN_STR_ARG(name), size, text.data, where);
}

static bool decide_text(const inference *in, const qn_column *column, qn_schema_column *out)
{
    const qn_column_stats *s = &out->stats;
    int64_t present = s->rows - s->missing;
    qn_date_order order;
    bool ambiguous;
    if (qn_schema_find_date(column, in->rows, in->rows_count, &order, &ambiguous)) {
        if (!ambiguous)
            return SETTLE(in, out, QN_TYPE_DATE, "all %lld present cells are dates",
                          (long long)present);
        qn_finding_add(&in->schema->findings, QN_FINDING_WARNING, "AMBIGUOUS_DATE", out->name,
                       "dates in '%.*s' could be day first or month first; write them as "
                       "2026-01-31 to have them used",
                       QN_STR_ARG(out->name));
        return SETTLE(in, out, QN_TYPE_DROP, "dates whose day and month cannot be told apart");
    }
    if (s->distinct == 2)
        return SETTLE(in, out, QN_TYPE_BINARY, "two distinct texts, '%.*s' and '%.*s'",
                      QN_STR_ARG(s->top[0].level), QN_STR_ARG(s->top[1].level));
    if (present >= IDENTIFIER_ROWS_MIN && s->distinct * 2 > present)
        return decide_many_levels(in, out, present);
    if (s->words_mean >= 2 * TEXT_WORDS_MIN && s->distinct > 100)
        return decide_many_levels(in, out, present);
    return SETTLE(in, out, QN_TYPE_CATEGORY, "%lld distinct texts in %lld rows",
                  (long long)s->distinct, (long long)present);
}

static bool decide_array(const inference *in, const qn_column *column, qn_schema_column *out)
{
    const qn_shape *shape = &column->array.shape;
    char text[128];
    qn_shape_text(shape, text);
    bool image =
        column->array.dtype == QN_DTYPE_U8 &&
        (shape->rank == 3 || (shape->rank == 4 && (shape->dims[3] == 1 || shape->dims[3] == 3)));
    if (!image)
        return SETTLE(in, out, QN_TYPE_TENSOR, "an array %s of %s", text,
                      qn_dtype_name(column->array.dtype));
    out->stats.height = shape->dims[1];
    out->stats.width = shape->dims[2];
    out->stats.channels = shape->rank == 4 ? shape->dims[3] : 1;
    return SETTLE(in, out, QN_TYPE_IMAGE, "bytes of shape %s: %lld x %lld pixels, %lld channel%s",
                  text, (long long)out->stats.height, (long long)out->stats.width,
                  (long long)out->stats.channels, out->stats.channels == 1 ? "" : "s");
}

static bool decide_files(const inference *in, const qn_column *column, qn_schema_column *out)
{
    for (int64_t i = 0; i < in->rows_count; i++) {
        int64_t row = qn_row_at(in->rows, i);
        qn_column_stats *s = &out->stats;
        if (qn_column_missing(column, row))
            continue;
        if (qn_image_peek(column->strings[row], "", &s->height, &s->width, &s->channels, NULL) ==
            QN_OK)
            return SETTLE(in, out, QN_TYPE_IMAGE, "image files, the first of %lld x %lld pixels",
                          (long long)s->height, (long long)s->width);
    }
    return SETTLE(in, out, QN_TYPE_DROP, "no cell is an image file that can be read");
}

static bool decide_given(const inference *in, const qn_column *column, qn_schema_column *out,
                         bool *ret_done)
{
    const qn_column_options *given = &out->options;
    *ret_done = true;
    if (given->drop || given->type == QN_TYPE_DROP)
        out->given = true;
    if (out->given)
        return SETTLE(in, out, QN_TYPE_DROP, "the recipe drops it");
    if (name_is(out->name, in->options->id) || name_is(out->name, in->options->group))
        return SETTLE(in, out, QN_TYPE_DROP, "the recipe's %s column",
                      name_is(out->name, in->options->id) ? "id" : "group");
    if (given->type == QN_TYPE_IMAGE && column->kind == QN_COLUMN_ARRAY)
        return decide_array(in, column, out);
    if (given->type == QN_TYPE_IMAGE && column->kind == QN_COLUMN_BYTES)
        return decide_files(in, column, out);
    if (given->type != QN_TYPE_AUTO) {
        out->given = true;
        return SETTLE(in, out, given->type, "the recipe says so");
    }
    *ret_done = false;
    return true;
}

static bool decide(const inference *in, const qn_column *column, qn_schema_column *out)
{
    const qn_column_stats *s = &out->stats;
    bool done;
    if (!decide_given(in, column, out, &done) || done)
        return out->reason != NULL;
    if (column->kind == QN_COLUMN_ARRAY)
        return decide_array(in, column, out);
    if (column->kind == QN_COLUMN_BYTES)
        return decide_files(in, column, out);
    if (s->rows == s->missing)
        return SETTLE(in, out, QN_TYPE_DROP, "every cell is missing");
    if (s->distinct == 1 && s->missing == 0)
        return SETTLE(in, out, QN_TYPE_DROP, "constant: always '%.*s'",
                      QN_STR_ARG(s->top[0].level));
    return column->kind == QN_COLUMN_NUMBER ? decide_number(in, column, out)
                                            : decide_text(in, column, out);
}

static qn_status measure(inference *in, const qn_column *column, qn_schema_column *out,
                         qn_error *err)
{
    qn_arena_reset(&in->scratch);
    qn_column_stats kept = out->stats; /* image sizes stay */
    qn_date_order order;
    bool ambiguous;
    bool numbers = column->kind == QN_COLUMN_NUMBER ||
                   (column->kind == QN_COLUMN_STRING && out->type == QN_TYPE_NUMBER);
    if (numbers)
        QN_TRY(qn_measure_numbers(column, false, QN_DATE_ISO, in->rows, in->rows_count,
                                  &in->scratch, in->arena, &out->stats, NULL, err));
    else if (column->kind == QN_COLUMN_STRING && out->type == QN_TYPE_DATE &&
             qn_schema_find_date(column, in->rows, in->rows_count, &order, &ambiguous))
        QN_TRY(qn_measure_numbers(column, true, order, in->rows, in->rows_count, &in->scratch,
                                  in->arena, &out->stats, NULL, err));
    else if (column->kind != QN_COLUMN_ARRAY)
        QN_TRY(qn_measure_texts(column, in->rows, in->rows_count, &in->scratch, &out->stats, err));
    else
        out->stats.rows = in->rows_count;
    out->stats.height = kept.height;
    out->stats.width = kept.width;
    out->stats.channels = kept.channels;
    return QN_OK;
}

static const qn_column_options *find_options(const qn_schema_options *options, qn_str name)
{
    for (int64_t i = 0; i < options->columns_count; i++)
        if (qn_str_equal(options->columns[i].name, name))
            return &options->columns[i];
    return NULL;
}

static void report_column(inference *in, const qn_schema_column *column)
{
    const qn_column_stats *s = &column->stats;
    qn_findings *findings = &in->schema->findings;
    if (column->type == QN_TYPE_TEXT)
        qn_finding_add(findings, QN_FINDING_NOTE, "TEXT_LEFT_OUT", column->name,
                       "'%.*s' holds text, which this version does not learn from; it is left out",
                       QN_STR_ARG(column->name));
    if (column->type == QN_TYPE_DROP && !column->given)
        qn_finding_add(findings, QN_FINDING_NOTE, "DROPPED", column->name, "'%.*s' is left out: %s",
                       QN_STR_ARG(column->name), column->reason);
    if (s->missing * 2 > s->rows && s->missing < s->rows)
        qn_finding_add(findings, QN_FINDING_WARNING, "MISSING", column->name,
                       "%.0f %% of '%.*s' is missing", 100.0 * (double)s->missing / (double)s->rows,
                       QN_STR_ARG(column->name));
    if (s->nonfinite > 0)
        qn_finding_add(findings, QN_FINDING_WARNING, "INFINITE", column->name,
                       "%lld infinite values in '%.*s'", (long long)s->nonfinite,
                       QN_STR_ARG(column->name));
}

static qn_status infer_column(inference *in, int64_t index, qn_error *err)
{
    const qn_column *column = &in->frame->columns[index];
    qn_schema_column *out = &in->schema->columns[index];
    const qn_column_options *given = find_options(in->options, column->name);
    *out = (qn_schema_column){.name = column->name};
    if (given)
        out->options = *given;
    QN_TRY(measure(in, column, out, err));
    if (index == in->schema->target)
        return QN_OK; /* qn_schema_infer_target says what it is */
    if (!decide(in, column, out))
        return no_memory(err);
    if (out->type == QN_TYPE_DATE)
        QN_TRY(measure(in, column, out, err));
    report_column(in, out);
    if (column->kind == QN_COLUMN_STRING && !out->given)
        report_near_numbers(in, column, out->name);
    return QN_OK;
}

static qn_status check_name(const qn_frame *frame, qn_str name, const char *role, qn_error *err)
{
    if (qn_frame_find(frame, name))
        return QN_OK;
    const char *file = frame->parts_count ? frame->parts[0].file : "the data";
    qn_status status = qn_error_set(err, QN_ERR_ARG, NULL, "%s '%.*s' is not a column of %s", role,
                                    QN_STR_ARG(name), file);
    return qn_schema_hint_name(frame, name, status, err);
}

qn_status qn_schema_hint_name(const qn_frame *frame, qn_str name, qn_status status, qn_error *err)
{
    qn_arena scratch;
    qn_arena_init(&scratch, 0);
    const char **names = QN_NEW(&scratch, const char *, frame->columns_count);
    const char *word = qn_arena_strndup(&scratch, name.data, name.size);
    for (int64_t i = 0; names && i < frame->columns_count; i++) {
        names[i] =
            qn_arena_strndup(&scratch, frame->columns[i].name.data, frame->columns[i].name.size);
        if (!names[i])
            names = NULL;
    }
    const char *nearest =
        names && word ? qn_error_nearest(word, names, (int)frame->columns_count) : NULL;
    if (nearest)
        qn_error_hint(err, status, "did you mean '%s'?", nearest);
    qn_arena_deinit(&scratch);
    return status;
}

static qn_status check_names(const qn_frame *frame, const qn_schema_options *options, qn_error *err)
{
    const char *const names[] = {options->target, options->id, options->time, options->group};
    static const char *const roles[] = {"target", "id column", "time column", "group column"};
    for (int i = 0; i < 4; i++)
        if (names[i])
            QN_TRY(check_name(frame, qn_str_from(names[i]), roles[i], err));
    for (int64_t i = 0; i < options->columns_count; i++)
        QN_TRY(check_name(frame, options->columns[i].name, "column", err));
    return QN_OK;
}

static qn_status infer(inference *in, qn_error *err)
{
    qn_schema *schema = in->schema;
    QN_TRY(check_names(in->frame, in->options, err));
    schema->columns_count = in->frame->columns_count;
    schema->columns = QN_NEW(in->arena, qn_schema_column, schema->columns_count);
    if (!schema->columns)
        return no_memory(err);
    schema->rows = in->rows_count;
    schema->findings.arena = in->arena;
    schema->target =
        in->options->target
            ? qn_frame_find(in->frame, qn_str_from(in->options->target)) - in->frame->columns
            : -1;
    for (int64_t i = 0; i < schema->columns_count; i++)
        QN_TRY(infer_column(in, i, err));
    if (schema->target < 0)
        return QN_OK;
    return qn_schema_infer_target(schema, in->frame, in->rows, in->rows_count, in->options->task,
                                  in->arena, err);
}

qn_status qn_schema_infer(const qn_frame *frame, const int64_t *rows, int64_t rows_count,
                          const qn_schema_options *options, qn_arena *arena, qn_schema *ret,
                          qn_error *err)
{
    qn_schema schema = {0};
    inference in = {.frame = frame,
                    .rows = rows,
                    .rows_count = rows_count,
                    .options = options,
                    .arena = arena,
                    .schema = &schema};
    qn_arena_init(&in.scratch, 0);
    qn_status status = infer(&in, err);
    qn_arena_deinit(&in.scratch);
    if (status == QN_OK)
        *ret = schema;
    return status;
}

qn_status qn_schema_measure(qn_schema *schema, const qn_frame *frame, const int64_t *rows,
                            int64_t rows_count, qn_arena *arena, qn_error *err)
{
    inference in = {
        .frame = frame, .rows = rows, .rows_count = rows_count, .arena = arena, .schema = schema};
    qn_status status = QN_OK;
    qn_arena_init(&in.scratch, 0);
    for (int64_t i = 0; i < schema->columns_count && status == QN_OK; i++)
        status = measure(&in, &frame->columns[i], &schema->columns[i], err);
    schema->rows = rows_count;
    qn_arena_deinit(&in.scratch);
    return status;
}

const qn_schema_column *qn_schema_find(const qn_schema *schema, qn_str name)
{
    for (int64_t i = 0; i < schema->columns_count; i++)
        if (qn_str_equal(schema->columns[i].name, name))
            return &schema->columns[i];
    return NULL;
}
