/*
 * The schema and drift sketch of quern.json.
 */
#include "data/schema.h"

static void write_numbers(const qn_column_stats *s, qn_json_writer *w)
{
    qn_json_put_f64(w, "min", s->minimum);
    qn_json_put_f64(w, "max", s->maximum);
    qn_json_put_f64(w, "mean", s->mean);
    qn_json_put_f64(w, "deviation", s->deviation);
    qn_json_put_f64(w, "skewness", s->skewness);
    qn_json_put_i64(w, "zeros", s->zeros);
    qn_json_key(w, "quantiles");
    qn_json_array_begin(w);
    for (int i = 0; i <= 20; i++)
        qn_json_f64(w, s->quantiles[i]);
    qn_json_array_end(w);
}

static void write_top(const qn_column_stats *s, qn_json_writer *w)
{
    qn_json_key(w, "top");
    qn_json_array_begin(w);
    for (int64_t i = 0; i < s->top_count; i++) {
        qn_json_object_begin(w);
        qn_json_key(w, "value");
        qn_json_str(w, s->top[i].level);
        qn_json_put_i64(w, "count", s->top[i].count);
        qn_json_object_end(w);
    }
    qn_json_array_end(w);
}

static void write_column(const qn_schema_column *column, qn_json_writer *w)
{
    const qn_column_stats *s = &column->stats;
    qn_json_object_begin(w);
    qn_json_key(w, "name");
    qn_json_str(w, column->name);
    qn_json_put_text(w, "type", qn_type_name(column->type));
    qn_json_put_text(w, "reason", column->reason);
    qn_json_put_i64(w, "missing", s->missing);
    qn_json_put_i64(w, "distinct", s->distinct);
    bool counted = column->type == QN_TYPE_NUMBER || column->type == QN_TYPE_DATE;
    if (counted && s->distinct > 0)
        write_numbers(s, w);
    /* Levels of a text or an identifier may name people; a model's folder does not carry them. */
    if (column->type == QN_TYPE_CATEGORY || column->type == QN_TYPE_BINARY)
        write_top(s, w);
    if (column->type == QN_TYPE_IMAGE) {
        qn_json_key(w, "size");
        qn_json_array_begin(w);
        qn_json_i64(w, s->height);
        qn_json_i64(w, s->width);
        qn_json_i64(w, s->channels);
        qn_json_array_end(w);
    }
    qn_json_object_end(w);
}

void qn_schema_write_json(const qn_schema *schema, qn_json_writer *w)
{
    qn_json_object_begin(w);
    qn_json_put_i64(w, "rows", schema->rows);
    if (schema->target >= 0) {
        qn_json_key(w, "target");
        qn_json_str(w, schema->columns[schema->target].name);
        qn_json_put_text(w, "task", qn_task_name(schema->task));
        qn_json_put_text(w, "task_reason", schema->task_reason);
        qn_json_key(w, "labels");
        qn_json_array_begin(w);
        for (int64_t i = 0; i < schema->labels_count; i++)
            qn_json_str(w, schema->labels[i]);
        qn_json_array_end(w);
    }
    qn_json_key(w, "columns");
    qn_json_array_begin(w);
    for (int64_t i = 0; i < schema->columns_count; i++)
        write_column(&schema->columns[i], w);
    qn_json_array_end(w);
    qn_json_object_end(w);
}
