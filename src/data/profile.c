/*
 * The profile: what `quern look` says about a data set before anything is trained on it.
 */
#include "data/profile.h"

#include <math.h>
#include <stdio.h>

#include "data/dates.h"
#include "data/duplicates_priv.h"

qn_status qn_look_make(const qn_dataset *dataset, const qn_schema_options *options, qn_arena *arena,
                       qn_look *ret, qn_error *err)
{
    qn_look look = {.rows = dataset->rows_main,
                    .rows_test = dataset->frame.rows - dataset->rows_main,
                    .kind = dataset->kind,
                    .files = dataset->files,
                    .files_count = dataset->files_count};
    qn_arena scratch;
    qn_row_set seen;
    QN_TRY(qn_schema_infer(&dataset->frame, NULL, dataset->rows_main, options, arena, &look.schema,
                           err));
    for (int64_t i = 0; i < dataset->findings.count; i++) {
        const qn_finding *finding = &dataset->findings.items[i];
        qn_finding_add(&look.schema.findings, finding->level, finding->code, finding->column, "%s",
                       finding->text);
    }
    for (int64_t i = 0; i < look.schema.columns_count; i++)
        look.cells_missing += look.schema.columns[i].stats.missing;
    qn_arena_init(&scratch, 0);
    qn_status status = QN_OK;
    if (look.schema.target >= 0)
        status = qn_schema_find_leaks(&look.schema, &dataset->frame, NULL, look.rows, err);
    if (status == QN_OK && !qn_row_set_init(&seen, look.rows, &scratch))
        status = qn_error_set(err, QN_ERR_MEMORY, NULL, "no memory to look for duplicate rows");
    for (int64_t row = 0; status == QN_OK && row < look.rows; row++) {
        uint64_t hash = qn_row_hash(&dataset->frame, row);
        look.duplicates += qn_row_set_has(&seen, hash);
        qn_row_set_add(&seen, hash);
    }
    qn_arena_deinit(&scratch);
    if (status != QN_OK)
        return status;
    if (look.duplicates > 0)
        qn_finding_add(&look.schema.findings, QN_FINDING_NOTE, "DUPLICATE_ROWS", (qn_str){"", 0},
                       "%lld rows equal an earlier one", (long long)look.duplicates);
    *ret = look;
    return QN_OK;
}

/* Text */

/* A line cut to the width, at a character's border, with an ellipsis where something is lost. */
static void put_line(qn_buf *dst, char *text, int columns)
{
    size_t size = strlen(text), room = columns > 10 ? (size_t)columns : 10;
    qn_text_hide_controls(text);
    if (size > room) {
        size = room - 3;
        while (size > 0 && ((unsigned char)text[size] & 0xc0) == 0x80)
            size--;
        qn_buf_append(dst, text, size);
        qn_buf_text(dst, "...");
    } else {
        qn_buf_append(dst, text, size);
    }
    qn_buf_byte(dst, '\n');
}

/* "2026-01-31", with the time where there is one. */
static void date_text(double seconds, char dst[32])
{
    qn_date_parts date = qn_date_split(seconds);
    int minutes = (int)(date.hour * 60);
    int used = snprintf(dst, 32, "%04d-%02d-%02d", date.year, date.month, date.day);
    if (minutes > 0)
        snprintf(dst + used, 32 - (size_t)used, " %02d:%02d", minutes / 60, minutes % 60);
}

/* Whole numbers as they are, others with the digits that tell something, dates as dates. */
static const char *value_text(double value, qn_column_type type, char dst[32])
{
    if (type == QN_TYPE_DATE)
        date_text(value, dst);
    else if (fabs(value) < 1e15 && value == floor(value))
        snprintf(dst, 32, "%.0f", value);
    else
        snprintf(dst, 32, "%.5g", value);
    return dst;
}

enum { LEVEL_BYTES_MAX = 24 };

/* Bytes of `text` to show, at most `most`: characters stay whole. */
static int cut_at(qn_str text, size_t most)
{
    if (text.size <= most)
        return (int)text.size;
    while (most > 0 && ((unsigned char)text.data[most] & 0xC0) == 0x80)
        most--;
    return (int)most;
}

static void describe_values(const qn_schema_column *column, char *dst, size_t size)
{
    const qn_column_stats *s = &column->stats;
    bool ranged = column->type == QN_TYPE_NUMBER || column->type == QN_TYPE_DATE;
    dst[0] = 0;
    if (column->type == QN_TYPE_IMAGE || column->type == QN_TYPE_TENSOR)
        return; /* the reason has told the size, and bytes tell people nothing */
    if (ranged && s->distinct > 0 && s->length_mean == 0) {
        char low[32], high[32], middle[32];
        snprintf(dst, size, "%s .. %s, median %s", value_text(s->minimum, column->type, low),
                 value_text(s->maximum, column->type, high),
                 value_text(s->quantiles[10], column->type, middle));
        return;
    }
    size_t used = 0;
    for (int64_t i = 0; i < s->top_count && i < 3 && used < size; i++)
        used += (size_t)snprintf(dst + used, size - used, "%s%.*s (%lld)", i ? ", " : "",
                                 cut_at(s->top[i].level, LEVEL_BYTES_MAX), s->top[i].level.data,
                                 (long long)s->top[i].count);
}

static void put_column(const qn_look *look, int64_t index, int name_width, int columns, qn_buf *dst)
{
    const qn_schema_column *column = &look->schema.columns[index];
    const qn_column_stats *s = &column->stats;
    char line[512], values[160], missing[32] = "";
    describe_values(column, values, sizeof values);
    if (s->missing > 0)
        snprintf(missing, sizeof missing, "%.1f %%",
                 100.0 * (double)s->missing / (double)(s->rows ? s->rows : 1));
    int name_size = (int)(column->name.size < 60 ? column->name.size : 60);
    snprintf(line, sizeof line, "  %-*.*s  %-8s  %7s  %s%s", name_width, name_size,
             column->name.data, qn_type_name(column->type), missing,
             column->reason ? column->reason : "",
             index == look->schema.target ? "  <- target" : "");
    put_line(dst, line, columns);
    if (values[0] && column->type != QN_TYPE_DROP && column->type != QN_TYPE_TEXT) {
        snprintf(line, sizeof line, "  %-*s  %-8s  %7s  %s", name_width, "", "", "", values);
        put_line(dst, line, columns);
    }
}

static const char *finding_word(qn_finding_level level)
{
    return level == QN_FINDING_PROBLEM   ? "problem"
           : level == QN_FINDING_WARNING ? "warning"
                                         : "note";
}

void qn_look_write_text(const qn_look *look, int columns, qn_buf *dst)
{
    char line[700];
    int name_width = 6;
    int64_t types[QN_TYPES] = {0};
    const qn_schema *schema = &look->schema;
    for (int64_t i = 0; i < schema->columns_count; i++) {
        int size = (int)(schema->columns[i].name.size < 60 ? schema->columns[i].name.size : 60);
        name_width = size > name_width ? size : name_width;
        types[schema->columns[i].type] += i != schema->target;
    }
    qn_buf_printf(dst, "%lld rows", (long long)look->rows);
    if (look->rows_test > 0)
        qn_buf_printf(dst, " and %lld test rows", (long long)look->rows_test);
    qn_buf_printf(dst, ", %lld columns (%s)", (long long)schema->columns_count, look->kind);
    for (int type = 0; type < QN_TYPES; type++)
        if (types[type] > 0)
            qn_buf_printf(dst, ", %lld %s", (long long)types[type],
                          qn_type_name((qn_column_type)type));
    qn_buf_printf(dst, "; %lld missing cells, %lld duplicate rows\n",
                  (long long)look->cells_missing, (long long)look->duplicates);
    if (schema->target >= 0)
        qn_buf_printf(dst, "task: %s (%s)\n", qn_task_name(schema->task), schema->task_reason);
    qn_buf_printf(dst, "\n  %-*s  %-8s  %7s  %s\n", name_width, "column", "type", "missing",
                  "why, and what is in it");
    for (int64_t i = 0; i < schema->columns_count; i++)
        put_column(look, i, name_width, columns, dst);
    if (schema->findings.count > 0)
        qn_buf_byte(dst, '\n');
    for (int64_t i = 0; i < schema->findings.count; i++) {
        const qn_finding *finding = &schema->findings.items[i];
        snprintf(line, sizeof line, "%s: %s", finding_word(finding->level), finding->text);
        put_line(dst, line, 10000);
    }
}

void qn_look_write_json(const qn_look *look, qn_json_writer *w)
{
    qn_json_object_begin(w);
    qn_json_put_text(w, "kind", look->kind);
    qn_json_key(w, "files");
    qn_json_array_begin(w);
    for (int64_t i = 0; i < look->files_count; i++)
        qn_json_text(w, look->files[i]);
    qn_json_array_end(w);
    qn_json_put_i64(w, "rows", look->rows);
    qn_json_put_i64(w, "rows_test", look->rows_test);
    qn_json_put_i64(w, "cells_missing", look->cells_missing);
    qn_json_put_i64(w, "duplicate_rows", look->duplicates);
    qn_json_key(w, "schema");
    qn_schema_write_json(&look->schema, w);
    qn_json_key(w, "findings");
    qn_json_array_begin(w);
    for (int64_t i = 0; i < look->schema.findings.count; i++) {
        const qn_finding *finding = &look->schema.findings.items[i];
        qn_json_object_begin(w);
        qn_json_put_text(w, "level", finding_word(finding->level));
        qn_json_put_text(w, "code", finding->code);
        qn_json_key(w, "column");
        qn_json_str(w, finding->column);
        qn_json_put_text(w, "text", finding->text);
        qn_json_object_end(w);
    }
    qn_json_array_end(w);
    qn_json_object_end(w);
}
