/*
 * JSON rows and columns as a frame. A column's cells are gathered first, then get the kind that holds them all:
 * numbers, booleans, strings (numbers among strings become their text), images as bytes or pixels.
 */
#include "tfs.h"

#include "base/error.h"

typedef struct {
    qn_str name;
    qn_json *cells; /* [rows]; NULL where absent */
} gathered;

typedef struct {
    gathered *columns;
    int64_t count, room, rows;
    const qn_signature *signature;
    const qn_serve_limits *limits;
    bool ignore_unknown;
    qn_arena *arena;
} table;

bool qn_json_is_b64(const qn_json *value)
{
    return value->kind == QN_JSON_OBJECT && value->count == 1 && qn_str_is(value->keys[0], "b64");
}

static const qn_raw_input *column_of(const qn_signature *signature, qn_str name)
{
    for (int64_t i = 0; i < signature->columns_count; i++)
        if (qn_str_equal(signature->columns[i].name, name))
            return &signature->columns[i];
    return NULL;
}

/* ---- gathering ---- */

/* The column called `name`, made when new; *ret is NULL for one to leave out. `hint`: where it was in the row before. */
static qn_status column_for(table *t, qn_str name, int64_t hint, gathered **ret, qn_error *err)
{
    *ret = NULL;
    if (hint < t->count && qn_str_equal(t->columns[hint].name, name)) {
        *ret = &t->columns[hint];
        return QN_OK;
    }
    for (int64_t i = 0; i < t->count; i++) {
        if (qn_str_equal(t->columns[i].name, name)) {
            *ret = &t->columns[i];
            return QN_OK;
        }
    }
    if (t->ignore_unknown && !column_of(t->signature, name))
        return QN_OK;
    if (t->count >= t->limits->inputs_max)
        QN_FAIL(err, QN_ERR_BUDGET, "more than %lld columns", (long long)t->limits->inputs_max);
    if (t->count == t->room) {
        int64_t room = t->room ? t->room * 2 : 16;
        gathered *larger = QN_NEW(t->arena, gathered, room);
        if (!larger)
            QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
        if (t->count)
            memcpy(larger, t->columns, (size_t)t->count * sizeof(*larger));
        t->columns = larger;
        t->room = room;
    }
    gathered *column = &t->columns[t->count++];
    column->name = name;
    column->cells = QN_NEW(t->arena, qn_json, t->rows); /* zeroed: QN_JSON_NULL */
    if (!column->cells)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    *ret = column;
    return QN_OK;
}

static qn_status only_column(const qn_signature *signature, qn_str *ret, qn_error *err)
{
    if (signature->columns_count != 1)
        QN_FAIL(err, QN_ERR_ARG,
                "model '%s' takes %lld columns: each row must be an object of column "
                "names and values",
                signature->name, (long long)signature->columns_count);
    *ret = signature->columns[0].name;
    return QN_OK;
}

static qn_status gather_row(table *t, const qn_json *object, int64_t row, qn_error *err)
{
    for (int64_t k = 0; k < object->count; k++) {
        gathered *column;
        QN_TRY(column_for(t, object->keys[k], k, &column, err));
        if (column)
            column->cells[row] = object->items[k];
    }
    return QN_OK;
}

/* ---- kinds ---- */

typedef struct {
    int64_t nulls, bools, numbers, strings, coded, arrays, others;
} kinds;

static kinds count_kinds(const gathered *column, int64_t rows)
{
    kinds seen = {0};
    for (int64_t i = 0; i < rows; i++) {
        const qn_json *cell = &column->cells[i];
        switch (cell->kind) {
        case QN_JSON_NULL:
            seen.nulls++;
            break;
        case QN_JSON_BOOL:
            seen.bools++;
            break;
        case QN_JSON_INT:
        case QN_JSON_FLOAT:
            seen.numbers++;
            break;
        case QN_JSON_STRING:
            seen.strings++;
            break;
        case QN_JSON_ARRAY:
        case QN_JSON_NUMBERS:
            seen.arrays++;
            break;
        default:
            if (qn_json_is_b64(cell))
                seen.coded++;
            else
                seen.others++;
        }
    }
    return seen;
}

static qn_status add_missing(const gathered *from, qn_column *to, const table *t, qn_error *err)
{
    for (int64_t i = 0; i < t->rows; i++)
        if (from->cells[i].kind == QN_JSON_NULL && !qn_column_set_missing(to, i, t->rows, t->arena))
            QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    return QN_OK;
}

static qn_status add_numbers(const gathered *from, bool boolean, const table *t, qn_frame *frame,
                             qn_error *err)
{
    qn_column *to = qn_frame_add(frame, from->name, QN_COLUMN_NUMBER, t->arena);
    if (!to)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    to->boolean = boolean;
    for (int64_t i = 0; i < t->rows; i++) {
        const qn_json *cell = &from->cells[i];
        if (cell->kind == QN_JSON_BOOL)
            to->numbers[i] = cell->boolean;
        else if (cell->kind != QN_JSON_NULL)
            (void)qn_json_as_f64(cell, &to->numbers[i]);
    }
    return add_missing(from, to, t, err);
}

static qn_str cell_text(const qn_json *cell, qn_arena *arena)
{
    if (cell->kind == QN_JSON_STRING)
        return cell->string;
    if (cell->kind == QN_JSON_BOOL)
        return cell->boolean ? QN_STR("true") : QN_STR("false");
    char text[32];
    double number = 0;
    if (!qn_json_as_f64(cell, &number))
        return (qn_str){"", 0};
    size_t size = (size_t)qn_f64_to_text(number, text);
    char *copy = qn_arena_strndup(arena, text, size);
    return (qn_str){copy, copy ? size : 0};
}

static qn_status add_strings(const gathered *from, const table *t, qn_frame *frame, qn_error *err)
{
    qn_column *to = qn_frame_add(frame, from->name, QN_COLUMN_STRING, t->arena);
    if (!to)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    for (int64_t i = 0; i < t->rows; i++)
        to->strings[i] = cell_text(&from->cells[i], t->arena);
    return add_missing(from, to, t, err);
}

static qn_status add_bytes(const gathered *from, const table *t, qn_frame *frame, qn_error *err)
{
    qn_column *to = qn_frame_add(frame, from->name, QN_COLUMN_BYTES, t->arena);
    if (!to)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    for (int64_t i = 0; i < t->rows; i++) {
        if (from->cells[i].kind == QN_JSON_NULL)
            continue;
        const qn_json *coded = qn_json_find(&from->cells[i], "b64");
        qn_str text = coded->kind == QN_JSON_STRING ? coded->string : QN_STR("?");
        to->strings[i].data = qn_b64_decode(text, t->arena, &to->strings[i].size);
        if (!to->strings[i].data)
            QN_FAIL(err, QN_ERR_ARG, "instance %lld, column '%.*s': \"b64\" is not base64",
                    (long long)i, QN_STR_ARG(from->name));
    }
    return add_missing(from, to, t, err);
}

/* All rows' arrays, one under the other. Missing rows are zeros. */
static qn_status add_arrays(const gathered *from, const qn_raw_input *column, const table *t,
                            qn_frame *frame, qn_error *err)
{
    qn_shape row_shape = {0}, shape;
    const char *name = qn_arena_printf(t->arena, "column '%.*s'", QN_STR_ARG(from->name));
    bool bytes = column->type == QN_TYPE_IMAGE;
    bool first = true;
    for (int64_t i = 0; name && i < t->rows; i++) {
        if (from->cells[i].kind == QN_JSON_NULL)
            continue;
        char a[128], b[128];
        QN_TRY(qn_json_tensor_shape(&from->cells[i], name, &shape, err));
        if (!first && !qn_shape_equal(&shape, &row_shape))
            QN_FAIL(err, QN_ERR_ARG, "%s: instance %lld has shape %s, the ones before have %s",
                    name, (long long)i, qn_shape_text(&shape, a), qn_shape_text(&row_shape, b));
        row_shape = shape;
        first = false;
        bytes = bytes && qn_json_tensor_is_bytes(&from->cells[i]);
    }
    if (!name || row_shape.rank + 1 > QN_RANK_MAX)
        QN_FAIL(err, QN_ERR_ARG, "column '%.*s': arrays nest too deep", QN_STR_ARG(from->name));
    qn_dtype dtype = bytes                            ? QN_DTYPE_U8
                     : column->type == QN_TYPE_TENSOR ? column->dtype
                                                      : QN_DTYPE_F32;
    int64_t each = qn_shape_count(&row_shape);
    shape = (qn_shape){.rank = row_shape.rank + 1};
    shape.dims[0] = t->rows;
    memcpy(shape.dims + 1, row_shape.dims, (size_t)row_shape.rank * sizeof(int64_t));
    int64_t total_bytes;
    QN_TRY(qn_shape_check(&shape, dtype, &total_bytes, err));
    char *data = qn_arena_zero(t->arena, total_bytes, 1);
    if (!data)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    for (int64_t i = 0; i < t->rows; i++)
        if (from->cells[i].kind != QN_JSON_NULL)
            QN_TRY(qn_json_tensor_fill(&from->cells[i], name, dtype,
                                       data + (size_t)(i * each) * qn_dtype_size(dtype), err));
    qn_tensor tensor = qn_tensor_of(data, dtype, shape);
    qn_column *to = qn_frame_add_array(frame, from->name, &tensor);
    if (!to)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    return add_missing(from, to, t, err);
}

/* Names the first row whose cell is none of what the column takes, or says that rows differ. */
static qn_status refuse(const gathered *from, const table *t, bool (*takes)(const qn_json *cell),
                        const char *expected, qn_error *err)
{
    for (int64_t i = 0; i < t->rows; i++)
        if (from->cells[i].kind != QN_JSON_NULL && !takes(&from->cells[i]))
            QN_FAIL(err, QN_ERR_ARG, "instance %lld, column '%.*s' is %s, expected %s",
                    (long long)i, QN_STR_ARG(from->name), qn_json_kind_name(&from->cells[i]),
                    expected);
    QN_FAIL(err, QN_ERR_ARG, "column '%.*s' differs in kind from row to row, expected %s alike",
            QN_STR_ARG(from->name), expected);
}

static bool is_array(const qn_json *cell)
{
    return cell->kind == QN_JSON_ARRAY || cell->kind == QN_JSON_NUMBERS;
}

static bool is_picture(const qn_json *cell)
{
    return is_array(cell) || qn_json_is_b64(cell);
}

static bool is_plain(const qn_json *cell)
{
    return !is_array(cell) && cell->kind != QN_JSON_OBJECT;
}

static qn_status add_column(const gathered *from, const table *t, qn_frame *frame, qn_error *err)
{
    const qn_raw_input *column = column_of(t->signature, from->name);
    bool arrays = column && (column->type == QN_TYPE_IMAGE || column->type == QN_TYPE_TENSOR);
    bool bytes = column && (column->type == QN_TYPE_IMAGE || column->kind == QN_COLUMN_BYTES);
    kinds seen = count_kinds(from, t->rows);
    int64_t present = t->rows - seen.nulls;
    if (arrays && seen.arrays == present && present)
        return add_arrays(from, column, t, frame, err);
    if (bytes && seen.coded == present)
        return add_bytes(from, t, frame, err);
    if (bytes)
        return refuse(from, t, is_picture,
                      "the file as {\"b64\": \"...\"} or its pixels as arrays of numbers", err);
    if (arrays)
        return refuse(from, t, is_array, "an array of numbers", err);
    if (seen.arrays || seen.coded || seen.others)
        return refuse(from, t, is_plain, "a number, a string, true, false or null", err);
    if (seen.strings)
        return add_strings(from, t, frame, err);
    if (!present && column && column->kind == QN_COLUMN_STRING)
        return add_strings(from, t, frame, err);
    return add_numbers(from, seen.bools && !seen.numbers, t, frame, err);
}

static qn_status build(const table *t, qn_frame *ret, qn_error *err)
{
    qn_frame frame;
    QN_TRY(qn_frame_init(&frame, t->arena, t->count + 1, t->rows, err));
    for (int64_t i = 0; i < t->count; i++)
        QN_TRY(add_column(&t->columns[i], t, &frame, err));
    *ret = frame;
    return QN_OK;
}

static qn_status check_rows(int64_t rows, const qn_serve_limits *limits, qn_error *err)
{
    if (rows > limits->rows_max)
        QN_FAIL(err, QN_ERR_BUDGET, "%lld rows came, the limit is %lld", (long long)rows,
                (long long)limits->rows_max);
    return QN_OK;
}

/* Bare values: the cells of the one column. */
static qn_status gather_bare(table *t, const qn_json *values, qn_error *err)
{
    qn_str name;
    gathered *column;
    QN_TRY(only_column(t->signature, &name, err));
    QN_TRY(column_for(t, name, 0, &column, err));
    for (int64_t i = 0; i < t->rows; i++)
        column->cells[i] = qn_json_at(values, i);
    return QN_OK;
}

qn_status qn_rows_from_instances(const qn_json *instances, const qn_signature *signature,
                                 const qn_serve_limits *limits, bool ignore_unknown,
                                 qn_arena *arena, qn_frame *ret, qn_error *err)
{
    table t = {.rows = qn_json_length(instances),
               .signature = signature,
               .limits = limits,
               .ignore_unknown = ignore_unknown,
               .arena = arena};
    QN_TRY(check_rows(t.rows, limits, err));
    bool objects = instances->kind == QN_JSON_ARRAY && t.rows > 0 &&
                   instances->items[0].kind == QN_JSON_OBJECT &&
                   !qn_json_is_b64(&instances->items[0]);
    if (t.rows > 0 && !objects)
        QN_TRY(gather_bare(&t, instances, err));
    for (int64_t i = 0; objects && i < t.rows; i++) {
        const qn_json *row = &instances->items[i];
        if (row->kind != QN_JSON_OBJECT)
            QN_FAIL(err, QN_ERR_ARG, "instance %lld is %s, expected an object like the ones before",
                    (long long)i, qn_json_kind_name(row));
        QN_TRY(gather_row(&t, row, i, err));
    }
    return build(&t, ret, err);
}

qn_status qn_rows_from_columns(const qn_json *inputs, const qn_signature *signature,
                               const qn_serve_limits *limits, bool ignore_unknown, qn_arena *arena,
                               qn_frame *ret, qn_error *err)
{
    table t = {
        .signature = signature, .limits = limits, .ignore_unknown = ignore_unknown, .arena = arena};
    bool object = inputs->kind == QN_JSON_OBJECT;
    for (int64_t k = 0; object && k < inputs->count; k++) {
        int64_t length = qn_json_length(&inputs->items[k]);
        if (length < 0)
            QN_FAIL(err, QN_ERR_ARG, "column '%.*s' is %s, expected an array of one value per row",
                    QN_STR_ARG(inputs->keys[k]), qn_json_kind_name(&inputs->items[k]));
        if (k > 0 && length != t.rows)
            QN_FAIL(err, QN_ERR_ARG, "column '%.*s' has %lld values, '%.*s' has %lld",
                    QN_STR_ARG(inputs->keys[k]), (long long)length, QN_STR_ARG(inputs->keys[0]),
                    (long long)t.rows);
        t.rows = length;
    }
    if (!object)
        t.rows = qn_json_length(inputs);
    QN_TRY(check_rows(t.rows, limits, err));
    if (!object)
        QN_TRY(gather_bare(&t, inputs, err));
    for (int64_t k = 0; object && k < inputs->count; k++) {
        gathered *column;
        QN_TRY(column_for(&t, inputs->keys[k], k, &column, err));
        for (int64_t i = 0; column && i < t.rows; i++)
            column->cells[i] = qn_json_at(&inputs->items[k], i);
    }
    return build(&t, ret, err);
}
