/*
 * Frames: building them cheaply in an arena, finding columns, saying where a cell is.
 */
#include "data/frame.h"

#include <stdio.h>

#include "base/checked.h"

qn_status qn_frame_init(qn_frame *frame, qn_arena *arena, int64_t columns_max, int64_t rows,
                        qn_error *err)
{
    qn_column *columns = QN_NEW(arena, qn_column, columns_max);
    if (!columns)
        QN_FAIL(err, QN_ERR_MEMORY, "no memory for a table of %lld columns",
                (long long)columns_max);
    *frame = (qn_frame){.columns = columns, .columns_max = columns_max, .rows = rows};
    return QN_OK;
}

qn_column *qn_frame_add(qn_frame *frame, qn_str name, qn_column_kind kind, qn_arena *arena)
{
    QN_ASSERT(kind != QN_COLUMN_ARRAY);
    if (frame->columns_count == frame->columns_max)
        return NULL;
    qn_column *column = &frame->columns[frame->columns_count];
    *column = (qn_column){.name = name, .kind = kind};
    if (kind == QN_COLUMN_NUMBER)
        column->numbers = QN_NEW(arena, double, frame->rows);
    else
        column->strings = QN_NEW(arena, qn_str, frame->rows);
    if (!column->numbers) /* shares its place with strings */
        return NULL;
    frame->columns_count++;
    return column;
}

double *qn_frame_numbers(qn_frame *frame, qn_str name, qn_arena *arena)
{
    qn_column *column = qn_frame_add(frame, name, QN_COLUMN_NUMBER, arena);
    return column ? column->numbers : NULL;
}

qn_str *qn_frame_strings(qn_frame *frame, qn_str name, qn_arena *arena)
{
    qn_column *column = qn_frame_add(frame, name, QN_COLUMN_STRING, arena);
    return column ? column->strings : NULL;
}

qn_column *qn_frame_add_array(qn_frame *frame, qn_str name, const qn_tensor *array)
{
    QN_ASSERT(array->shape.rank >= 1 && array->shape.dims[0] == frame->rows);
    if (frame->columns_count == frame->columns_max)
        return NULL;
    qn_column *column = &frame->columns[frame->columns_count++];
    *column = (qn_column){.name = name, .kind = QN_COLUMN_ARRAY, .array = *array};
    return column;
}

qn_column *qn_frame_find(const qn_frame *frame, qn_str name)
{
    for (int64_t i = 0; i < frame->columns_count; i++)
        if (qn_str_equal(frame->columns[i].name, name))
            return &frame->columns[i];
    return NULL;
}

qn_status qn_frame_rows(const qn_frame *frame, int64_t first, int64_t count, qn_arena *arena,
                        qn_frame *ret, qn_error *err)
{
    QN_ASSERT(first >= 0 && count >= 0 && first + count <= frame->rows);
    qn_frame slice;
    QN_TRY(qn_frame_init(&slice, arena, frame->columns_count, count, err));
    qn_frame_part *parts = QN_NEW(arena, qn_frame_part, frame->parts_count);
    if (!parts)
        QN_FAIL(err, QN_ERR_MEMORY, "no memory for a slice of a table");
    for (int64_t i = 0; i < frame->parts_count; i++) {
        parts[i] = frame->parts[i];
        parts[i].begin -= first;
    }
    slice.parts = parts;
    slice.parts_count = frame->parts_count;
    for (int64_t i = 0; i < frame->columns_count; i++) {
        qn_column column = frame->columns[i];
        if (column.missing)
            column.missing += first;
        if (column.kind == QN_COLUMN_NUMBER)
            column.numbers += first;
        else if (column.kind == QN_COLUMN_ARRAY)
            column.array = qn_tensor_rows(&column.array, first, first + count);
        else
            column.strings += first;
        slice.columns[slice.columns_count++] = column;
    }
    *ret = slice;
    return QN_OK;
}

bool qn_column_set_missing(qn_column *column, int64_t row, int64_t rows, qn_arena *arena)
{
    if (!column->missing && !(column->missing = QN_NEW(arena, uint8_t, rows)))
        return false;
    column->missing[row] = 1;
    return true;
}

qn_str qn_column_text(const qn_column *column, int64_t row, char scratch[32])
{
    if (column->kind == QN_COLUMN_STRING || column->kind == QN_COLUMN_BYTES)
        return column->strings[row];
    double value = column->kind == QN_COLUMN_NUMBER ? column->numbers[row]
                                                    : qn_tensor_f64_at(&column->array, row);
    if (column->boolean)
        return value != 0.0 ? QN_STR("true") : QN_STR("false");
    return (qn_str){scratch, (size_t)qn_f64_to_text(value, scratch)};
}

void qn_frame_where(const qn_frame *frame, const qn_column *column, int64_t row, char dst[160])
{
    const qn_frame_part *part = NULL;
    for (int64_t i = 0; i < frame->parts_count; i++)
        if (frame->parts[i].begin <= row)
            part = &frame->parts[i];
    int name_size = (int)(column->name.size < 40 ? column->name.size : 40);
    if (!part) {
        snprintf(dst, 160, "instance %lld, column '%.*s'", (long long)row, name_size,
                 column->name.data);
        return;
    }
    snprintf(dst, 160, "%.80s, row %lld, column %lld '%.*s'", part->file,
             (long long)(row - part->begin + part->row_first),
             (long long)(column - frame->columns) + 1, name_size, column->name.data);
}
