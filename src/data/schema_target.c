/*
 * The target: which task it asks for, and its labels in model order. The rules are AutoGluon's (core/utils/utils.py), with
 * a lower bound on classes made of numbers, since a count of 1 to 29 is more often an amount than a name.
 */
#include <math.h>
#include <stdlib.h>

#include "data/levels.h"
#include "data/measure_priv.h"
#include "data/schema_priv.h"

enum {
    LABELS_MAX = 10000,
    NUMBER_CLASSES_MAX = 30,
    LARGE_ROWS = 1000, /* from here on only 5 % of the rows may be distinct classes, below 10 % */
};

bool qn_schema_label(const qn_column *column, int64_t row, char scratch[32], qn_str *ret)
{
    if (qn_column_missing(column, row))
        return false;
    *ret = qn_column_text(column, row, scratch);
    return true;
}

typedef struct {
    qn_levels levels;
    bool numbers, integral; /* every label is a number; a whole one */
    int64_t present;
} target_view;

static qn_status no_memory(qn_error *err)
{
    QN_FAIL(err, QN_ERR_MEMORY, "no memory for the labels");
}

static qn_status view_target(const qn_column *column, const int64_t *rows, int64_t rows_count,
                             qn_arena *arena, target_view *ret, qn_error *err)
{
    qn_levels_init(&ret->levels, arena);
    for (int64_t i = 0; i < rows_count; i++) {
        char scratch[32];
        qn_str label;
        if (!qn_schema_label(column, qn_row_at(rows, i), scratch, &label))
            continue;
        ret->present++;
        int64_t known = qn_levels_find(&ret->levels, label);
        if (known < 0 && ret->levels.count > LABELS_MAX)
            continue; /* enough to know that these are not classes */
        if (known < 0 && label.data == scratch) {
            label.data = qn_arena_strndup(arena, scratch, label.size);
            if (!label.data)
                return no_memory(err);
        }
        if (qn_levels_add(&ret->levels, label, 1) < 0)
            return no_memory(err);
    }
    ret->numbers = ret->integral = ret->levels.count > 0;
    for (int64_t i = 0; i < ret->levels.count && ret->numbers; i++) {
        double value = 0;
        ret->numbers = qn_str_to_f64(ret->levels.keys[i], false, &value);
        ret->integral = ret->integral && value == floor(value);
    }
    return QN_OK;
}

static qn_task choose_task(const target_view *view)
{
    int64_t distinct = view->levels.count;
    if (distinct == 2)
        return QN_TASK_BINARY;
    if (!view->numbers)
        return QN_TASK_MULTICLASS;
    double share = (double)distinct / (double)view->present;
    bool few =
        share <= (view->present >= LARGE_ROWS ? 0.05 : 0.10) && distinct <= NUMBER_CLASSES_MAX;
    return view->integral && few ? QN_TASK_MULTICLASS : QN_TASK_REGRESSION;
}

static const char *task_reason(const target_view *view, qn_task task, bool asked, qn_arena *arena)
{
    const char *whose = asked ? "the recipe says so; " : "";
    long long distinct = view->levels.count;
    if (task == QN_TASK_BINARY && distinct == 2)
        return qn_arena_printf(arena, "%stwo distinct values, '%.*s' and '%.*s'", whose,
                               QN_STR_ARG(view->levels.keys[0]), QN_STR_ARG(view->levels.keys[1]));
    if (task == QN_TASK_REGRESSION)
        return qn_arena_printf(
            arena, "%s%s%lld distinct numbers in %lld rows%s", whose,
            distinct > LABELS_MAX ? "more than " : "", distinct, (long long)view->present,
            asked || distinct > 100 ? "" : "; --set task=multiclass makes them classes");
    return qn_arena_printf(arena, "%s%lld distinct %s in %lld rows%s", whose, distinct,
                           view->numbers ? "whole numbers" : "texts", (long long)view->present,
                           view->numbers && !asked ? "; --set task=regression makes them amounts"
                                                   : "");
}

typedef struct {
    qn_str text;
    int64_t count;
    double number;
    bool by_number;
} label;

static int label_order(const void *left, const void *right)
{
    const label *a = left, *b = right;
    if (a->by_number && a->number != b->number)
        return a->number < b->number ? -1 : 1;
    size_t size = a->text.size < b->text.size ? a->text.size : b->text.size;
    int order = size ? memcmp(a->text.data, b->text.data, size) : 0;
    return order ? order : a->text.size < b->text.size ? -1 : a->text.size > b->text.size;
}

static qn_status store_labels(qn_schema *schema, const target_view *view, qn_arena *arena,
                              qn_error *err)
{
    int64_t count = view->levels.count;
    label *sorted = QN_NEW(arena, label, count);
    schema->labels = QN_NEW(arena, qn_str, count);
    schema->label_counts = QN_NEW(arena, int64_t, count);
    if (!sorted || !schema->labels || !schema->label_counts)
        return no_memory(err);
    for (int64_t i = 0; i < count; i++) {
        sorted[i] = (label){view->levels.keys[i], view->levels.counts[i], 0, view->numbers};
        if (view->numbers && !qn_str_to_f64(sorted[i].text, false, &sorted[i].number))
            sorted[i].number = 0;
    }
    qsort(sorted, (size_t)count, sizeof *sorted, label_order);
    for (int64_t i = 0; i < count; i++) {
        schema->labels[i] = sorted[i].text;
        schema->label_counts[i] = sorted[i].count;
    }
    schema->labels_count = count;
    return QN_OK;
}

static void report_classes(qn_schema *schema, qn_str name, int64_t present)
{
    for (int64_t i = 0; i < schema->labels_count; i++) {
        int64_t count = schema->label_counts[i];
        if (schema->task == QN_TASK_BINARY && count * 20 < present)
            qn_finding_add(&schema->findings, QN_FINDING_WARNING, "IMBALANCE", name,
                           "only %lld of %lld rows are '%.*s': read accuracy beside the baseline",
                           (long long)count, (long long)present, QN_STR_ARG(schema->labels[i]));
        else if (count < 5)
            qn_finding_add(&schema->findings, QN_FINDING_WARNING, "RARE_LABEL", name,
                           "label '%.*s' has %lld row%s only", QN_STR_ARG(schema->labels[i]),
                           (long long)count, count == 1 ? "" : "s");
    }
}

static qn_status check_task(const qn_schema *schema, const target_view *view, qn_str name,
                            qn_error *err)
{
    long long distinct = view->levels.count;
    if (distinct == 0 && schema->rows == 0)
        QN_FAIL(err, QN_ERR_DATA, "there are no rows to learn '%.*s' from", QN_STR_ARG(name));
    if (distinct == 0)
        QN_FAIL(err, QN_ERR_DATA, "every cell of the target '%.*s' is missing", QN_STR_ARG(name));
    if (schema->task == QN_TASK_REGRESSION && !view->numbers)
        QN_FAIL(err, QN_ERR_DATA,
                "the target '%.*s' holds texts such as '%.*s', expected numbers for a regression",
                QN_STR_ARG(name), QN_STR_ARG(view->levels.keys[0]));
    if (distinct == 1)
        QN_FAIL(err, QN_ERR_DATA, "the target '%.*s' is always '%.*s': there is nothing to learn",
                QN_STR_ARG(name), QN_STR_ARG(view->levels.keys[0]));
    if (schema->task == QN_TASK_BINARY && distinct != 2)
        QN_FAIL(err, QN_ERR_DATA,
                "the target '%.*s' has %lld distinct values, a binary task needs 2",
                QN_STR_ARG(name), distinct);
    if (schema->task == QN_TASK_MULTICLASS &&
        (distinct > LABELS_MAX || (view->present >= 20 && distinct * 2 > view->present)))
        QN_FAIL(err, QN_ERR_DATA,
                "the target '%.*s' has %s%lld distinct values in %lld rows: these are no classes",
                QN_STR_ARG(name), distinct > LABELS_MAX ? "more than " : "", distinct,
                (long long)view->present);
    return QN_OK;
}

/* The target's cells are kept as texts, for labels; amounts have a range and a mean all the same. */
static qn_status measure_amounts(const qn_column *column, const int64_t *rows, int64_t rows_count,
                                 qn_arena *arena, qn_column_stats *ret, qn_error *err)
{
    qn_arena scratch;
    qn_arena_init(&scratch, 0);
    qn_status status = qn_measure_numbers(column, false, QN_DATE_ISO, rows, rows_count, &scratch,
                                          arena, ret, NULL, err);
    qn_arena_deinit(&scratch);
    return status;
}

/* Arrays of an NPZ: numbers, or sequences of labels when that is asked for. */
static qn_status infer_array(qn_schema *schema, const qn_column *column, qn_task asked,
                             qn_arena *arena, qn_error *err)
{
    char text[128];
    qn_shape shape = {.rank = column->array.shape.rank - 1};
    memcpy(shape.dims, column->array.shape.dims + 1, (size_t)shape.rank * sizeof *shape.dims);
    (void)qn_shape_text(&shape, text);
    if (asked == QN_TASK_BINARY || asked == QN_TASK_MULTICLASS)
        QN_FAIL(err, QN_ERR_DATA,
                "the target '%.*s' holds an array %s a row; task %s learns one label a row",
                QN_STR_ARG(column->name), text, qn_task_name(asked));
    if (asked == QN_TASK_TRANSCRIBE && shape.rank != 1)
        QN_FAIL(err, QN_ERR_DATA,
                "the target '%.*s' holds an array %s a row; task transcribe (loss ctc) learns "
                "sequences [S] of labels, filled up with -1",
                QN_STR_ARG(column->name), text);
    if (schema->rows == 0 || qn_shape_count(&shape) == 0)
        QN_FAIL(err, QN_ERR_DATA, "there are no rows to learn '%.*s' from",
                QN_STR_ARG(column->name));
    schema->task = asked == QN_TASK_TRANSCRIBE ? asked : QN_TASK_REGRESSION;
    bool labels = schema->task == QN_TASK_TRANSCRIBE;
    bool whole = column->array.dtype == QN_DTYPE_I64 || column->array.dtype == QN_DTYPE_I32;
    schema->task_reason = qn_arena_printf(arena, "%san array %s of %s in each row%s",
                                          asked == QN_TASK_AUTO ? "" : "the recipe says so; ", text,
                                          labels ? "labels" : "numbers",
                                          whole && shape.rank == 1 && asked == QN_TASK_AUTO
                                              ? "; --set train.loss=ctc makes them labels"
                                              : "");
    if (!schema->task_reason)
        return no_memory(err);
    schema->columns[schema->target].reason = schema->task_reason;
    schema->columns[schema->target].type = QN_TYPE_TENSOR;
    return QN_OK;
}

qn_status qn_schema_infer_target(qn_schema *schema, const qn_frame *frame, const int64_t *rows,
                                 int64_t rows_count, qn_task asked, qn_arena *arena, qn_error *err)
{
    const qn_column *column = &frame->columns[schema->target];
    qn_schema_column *out = &schema->columns[schema->target];
    target_view view = {0};
    if (column->kind == QN_COLUMN_ARRAY)
        return infer_array(schema, column, asked, arena, err);
    if (column->kind == QN_COLUMN_BYTES)
        QN_FAIL(err, QN_ERR_DATA, "the target '%.*s' holds files, expected one value per row",
                QN_STR_ARG(column->name));
    if (asked == QN_TASK_TRANSCRIBE)
        QN_FAIL(err, QN_ERR_DATA,
                "the target '%.*s' holds one value a row; task transcribe (loss ctc) learns "
                "sequences: an NPZ whose target is an array [rows, S] of whole numbers, filled up "
                "with -1",
                QN_STR_ARG(column->name));
    QN_TRY(view_target(column, rows, rows_count, arena, &view, err));
    schema->task = asked != QN_TASK_AUTO ? asked : choose_task(&view);
    QN_TRY(check_task(schema, &view, column->name, err));
    schema->task_reason = task_reason(&view, schema->task, asked != QN_TASK_AUTO, arena);
    if (!schema->task_reason)
        return no_memory(err);
    out->reason = schema->task_reason;
    out->type = schema->task == QN_TASK_REGRESSION ? QN_TYPE_NUMBER
                : schema->task == QN_TASK_BINARY   ? QN_TYPE_BINARY
                                                   : QN_TYPE_CATEGORY;
    if (view.present < rows_count)
        qn_finding_add(&schema->findings, QN_FINDING_WARNING, "TARGET_MISSING", column->name,
                       "%lld rows have no '%.*s' and are left out",
                       (long long)(rows_count - view.present), QN_STR_ARG(column->name));
    if (schema->task == QN_TASK_REGRESSION)
        return measure_amounts(column, rows, rows_count, arena, &out->stats, err);
    QN_TRY(store_labels(schema, &view, arena, err));
    report_classes(schema, column->name, view.present);
    return QN_OK;
}
