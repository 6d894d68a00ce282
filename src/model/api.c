/*
 * quern/model.h, the part that asks a trained model: rows as text in, answers as JSON out.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/json.h"
#include "format/csv.h"
#include "model/predictor.h"
#include "os/pool.h"
#include "quern/model.h"

struct qn_model {
    qn_predictor *predictor;
    qn_arena request;
    qn_buf answer, signature;
};

qn_model *qn_model_open(const char *folder, qn_error *err)
{
    qn_model *model = qn_alloc_zero(1, sizeof *model);
    if (!model) {
        (void)qn_error_set(err, QN_ERR_MEMORY, NULL, "out of memory");
        return NULL;
    }
    qn_arena_init(&model->request, 0);
    qn_buf_init(&model->answer, 0);
    qn_buf_init(&model->signature, 0);
    qn_status status = qn_predictor_open(folder, 0, NULL, &model->predictor, err);
    if (status == QN_OK) {
        qn_json_writer w;
        qn_json_write_init(&w, &model->signature);
        qn_signature_write_json(qn_predictor_signature(model->predictor), &w);
        qn_buf_byte(&model->signature, '\0');
        if (model->signature.failed)
            status = qn_error_set(err, QN_ERR_MEMORY, NULL, "out of memory");
    }
    if (status != QN_OK) {
        qn_model_close(model);
        return NULL;
    }
    return model;
}

void qn_model_close(qn_model *model)
{
    if (!model)
        return;
    qn_predictor_close(model->predictor);
    qn_arena_deinit(&model->request);
    qn_buf_deinit(&model->answer);
    qn_buf_deinit(&model->signature);
    qn_free(model);
}

const char *qn_model_signature(const qn_model *model)
{
    return model->signature.data;
}

/* --- rows from text --- */

static qn_status frame_from_csv(qn_str text, qn_arena *arena, qn_frame *frame, qn_error *err)
{
    qn_csv_options options = {.file = "rows", .header = QN_CSV_HEADER_YES};
    qn_csv csv;
    QN_TRY(qn_csv_read(text, &options, arena, &csv, err));
    QN_TRY(qn_frame_init(frame, arena, csv.columns_count, csv.rows, err));
    for (int64_t i = 0; i < csv.columns_count; i++) {
        const qn_csv_column *from = &csv.columns[i];
        qn_column *column = &frame->columns[frame->columns_count++];
        *column = (qn_column){.name = from->name,
                              .kind = from->numeric ? QN_COLUMN_NUMBER : QN_COLUMN_STRING,
                              .missing = from->missing};
        if (from->numeric)
            column->numbers = from->numbers;
        else
            column->strings = from->texts;
    }
    return QN_OK;
}

/* The column of a key, made when new; a text among numbers makes all of it texts. */
static qn_status note_column(qn_frame *frame, qn_str name, const qn_json *cell, qn_arena *arena,
                             qn_error *err)
{
    qn_column_kind kind = cell->kind == QN_JSON_STRING ? QN_COLUMN_STRING : QN_COLUMN_NUMBER;
    qn_column *column = qn_frame_find(frame, name);
    if (!column)
        column = qn_frame_add(frame, name, kind, arena);
    if (column && kind == QN_COLUMN_STRING && column->kind == QN_COLUMN_NUMBER) {
        column->kind = kind;
        column->strings = QN_NEW(arena, qn_str, frame->rows);
    }
    if (!column || (column->kind == QN_COLUMN_STRING && !column->strings))
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    return QN_OK;
}

/* Every key of every object, in the order of first appearance. */
static qn_status find_columns(const qn_json *rows, qn_arena *arena, qn_frame *frame, qn_error *err)
{
    int64_t count = 0;
    for (int64_t i = 0; i < qn_json_length(rows); i++) {
        qn_json row = qn_json_at(rows, i);
        if (row.kind != QN_JSON_OBJECT)
            QN_FAIL(err, QN_ERR_ARG, "row %lld is %s; an object of columns is expected",
                    (long long)i, qn_json_kind_name(&row));
        count += row.count;
    }
    QN_TRY(qn_frame_init(frame, arena, count, qn_json_length(rows), err));
    for (int64_t i = 0; i < frame->rows; i++) {
        qn_json row = qn_json_at(rows, i);
        for (int64_t k = 0; k < row.count; k++)
            QN_TRY(note_column(frame, row.keys[k], &row.items[k], arena, err));
    }
    return QN_OK;
}

static qn_status set_cell(qn_column *column, const qn_frame *frame, int64_t row,
                          const qn_json *cell, qn_arena *arena, qn_error *err)
{
    char text[32];
    double number = 0;
    bool is_number = qn_json_as_f64(cell, &number);
    if (cell->kind == QN_JSON_BOOL) {
        column->boolean = column->kind == QN_COLUMN_NUMBER;
        number = cell->boolean;
        is_number = true;
    }
    if (cell->kind == QN_JSON_STRING) {
        column->strings[row] = cell->string;
    } else if (is_number && column->kind == QN_COLUMN_NUMBER) {
        column->numbers[row] = number;
    } else if (is_number) {
        size_t size = (size_t)qn_f64_to_text(number, text);
        column->strings[row] = (qn_str){qn_arena_strndup(arena, text, size), size};
        if (!column->strings[row].data)
            QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    } else if (cell->kind != QN_JSON_NULL) {
        QN_FAIL(err, QN_ERR_ARG, "row %lld, column '%.*s' is %s; a number or a text is expected",
                (long long)row, QN_STR_ARG(column->name), qn_json_kind_name(cell));
    } else if (!qn_column_set_missing(column, row, frame->rows, arena)) {
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    }
    return QN_OK;
}

static qn_status frame_from_json(qn_str text, qn_arena *arena, qn_frame *frame, qn_error *err)
{
    qn_json rows;
    QN_TRY(qn_json_read(text, NULL, arena, &rows, err));
    if (rows.kind != QN_JSON_ARRAY)
        QN_FAIL(err, QN_ERR_ARG, "the rows are %s; an array of objects is expected",
                qn_json_kind_name(&rows));
    QN_TRY(find_columns(&rows, arena, frame, err));
    for (int64_t i = 0; i < frame->rows; i++) {
        qn_json row = qn_json_at(&rows, i);
        for (int64_t c = 0; c < frame->columns_count; c++) {
            qn_json null = {.kind = QN_JSON_NULL};
            const qn_json *cell = NULL;
            for (int64_t k = 0; k < row.count && !cell; k++)
                if (qn_str_equal(row.keys[k], frame->columns[c].name))
                    cell = &row.items[k];
            QN_TRY(set_cell(&frame->columns[c], frame, i, cell ? cell : &null, arena, err));
        }
    }
    return QN_OK;
}

/* --- answers as text --- */

static void write_answer(const qn_predictions *answers, int64_t row, qn_json_writer *w)
{
    qn_json_object_begin(w);
    qn_json_key(w, "prediction");
    if (answers->classes == 0) {
        qn_json_f64(w, answers->number[row]);
    } else {
        qn_json_str(w, answers->labels[answers->choice[row]]);
        qn_json_key(w, "probability");
        qn_json_object_begin(w);
        for (int64_t c = 0; c < answers->classes; c++) {
            qn_json_key_str(w, answers->labels[c]);
            qn_json_f32(w, answers->probability[row * answers->classes + c]);
        }
        qn_json_object_end(w);
    }
    qn_json_object_end(w);
}

typedef qn_status (*qn_frame_reader)(qn_str text, qn_arena *arena, qn_frame *frame, qn_error *err);

static qn_status predict_text(qn_model *model, qn_frame_reader reader, qn_str text,
                              const char **ret_json, qn_error *err)
{
    qn_frame frame;
    qn_predictions answers;
    qn_arena_reset(&model->request);
    qn_buf_reset(&model->answer);
    QN_TRY(reader(text, &model->request, &frame, err));
    QN_TRY(qn_predictor_rows(model->predictor, &frame, false, &model->request, &answers, err));
    qn_json_writer w;
    qn_json_write_init(&w, &model->answer);
    qn_json_array_begin(&w);
    for (int64_t row = 0; row < answers.rows; row++)
        write_answer(&answers, row, &w);
    qn_json_array_end(&w);
    qn_buf_byte(&model->answer, '\0');
    if (model->answer.failed)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    *ret_json = model->answer.data;
    return QN_OK;
}

qn_status qn_model_predict_csv(qn_model *model, const char *rows, size_t size,
                               const char **ret_json, qn_error *err)
{
    return predict_text(model, frame_from_csv, (qn_str){rows, size}, ret_json, err);
}

qn_status qn_model_predict_json(qn_model *model, const char *rows, size_t size,
                                const char **ret_json, qn_error *err)
{
    return predict_text(model, frame_from_json, (qn_str){rows, size}, ret_json, err);
}

/* --- tensors --- */

static qn_shape shape_of(int rank, const int64_t *dims)
{
    qn_shape shape = {.rank = rank < 0 || rank > QN_RANK_MAX ? 0 : rank};
    memcpy(shape.dims, dims, (size_t)shape.rank * sizeof(int64_t));
    return shape;
}

qn_status qn_model_predict(qn_model *model, qn_view input, qn_view_out output, qn_error *err)
{
    const qn_signature *signature = qn_predictor_signature(model->predictor);
    char expected[128], received[128];
    int64_t bytes;
    if (signature->inputs_count != 1)
        QN_FAIL(err, QN_ERR_ARG, "model '%s' takes %d tensors; this call gives one",
                signature->name, signature->inputs_count);
    qn_shape shape = shape_of(input.rank, input.dims);
    QN_TRY(qn_shape_check(&shape, input.dtype, &bytes, err));
    qn_named_tensor in = {signature->inputs[0].name,
                          qn_tensor_of((void *)(uintptr_t)input.data, input.dtype, shape)};
    qn_named_tensor out;
    qn_arena_reset(&model->request);
    QN_TRY(qn_predictor_tensors(model->predictor, &in, 1, &model->request, &out, err));
    qn_shape room = shape_of(output.rank, output.dims);
    if (!qn_shape_equal(&room, &out.tensor.shape) || output.dtype != out.tensor.dtype)
        QN_FAIL(err, QN_ERR_ARG, "the output has shape %s of %s; %s of %s is expected",
                qn_shape_text(&room, received), qn_dtype_name(output.dtype),
                qn_shape_text(&out.tensor.shape, expected), qn_dtype_name(out.tensor.dtype));
    memcpy(output.data, out.tensor.data, qn_tensor_bytes(&out.tensor));
    return QN_OK;
}
