/*
 * JSON Lines: one pass finds the columns and their kinds, a second fills them, each with one line's tree in memory at a
 * time. Parsing twice costs less than keeping every line's tree, and no cell is ever converted back.
 */
#include "format/jsonl.h"

#include <math.h>
#include <stdio.h>

#include "base/checked.h"
#include "base/hash.h"
#include "base/json.h"

enum {
    COLUMNS_MAX = 16384, /* as the CSV reader */
    SLOTS = 65536,       /* of the name table: at most a quarter full */
};
static const int64_t EXACT = (int64_t)1 << 53; /* whole numbers beyond it are not exact as double */

typedef struct {
    const char *file;
    const qn_csv_options *options;
    qn_arena *arena;
    qn_arena line; /* one line's tree */
    qn_csv table;
    int64_t columns_room, columns_max, lines;
    uint32_t *slots; /* hash of a name -> its column + 1; 0 = free */
    int64_t next;    /* the column after the last one found: keys mostly come in one order */
} reader;

/* What a pass does with a cell. */
typedef qn_status take_cell(reader *r, int64_t row, qn_str key, const qn_json *cell, qn_error *err);

static qn_status out_of_memory(const reader *r, qn_error *err)
{
    return qn_error_set(err, r->arena->limit_bytes ? QN_ERR_BUDGET : QN_ERR_MEMORY, r->file,
                        "the table needs more memory than %s (%zu bytes so far)",
                        r->arena->limit_bytes ? "its budget" : "there is", r->arena->used_bytes);
}

/* --- columns by name --- */

/* The slot of a name: its own, or the free one where it belongs. */
static uint32_t *slot_of(reader *r, qn_str name)
{
    uint64_t at = qn_hash64(name.data, name.size, 0);
    while (r->slots[at % SLOTS] &&
           !qn_str_equal(r->table.columns[r->slots[at % SLOTS] - 1].name, name))
        at++;
    return &r->slots[at % SLOTS];
}

static bool keeps_text(const qn_csv_options *options, qn_str name)
{
    for (int64_t i = 0; i < options->texts_count; i++)
        if (qn_str_equal(options->texts[i], name))
            return true;
    return false;
}

static qn_status grow_columns(reader *r, qn_error *err)
{
    if (r->table.columns_count < r->columns_room)
        return QN_OK;
    int64_t room = r->columns_room ? 2 * r->columns_room : 16;
    qn_csv_column *columns = QN_NEW(r->arena, qn_csv_column, room);
    if (!columns)
        return out_of_memory(r, err);
    for (int64_t i = 0; i < r->table.columns_count; i++)
        columns[i] = r->table.columns[i];
    r->table.columns = columns;
    r->columns_room = room;
    return QN_OK;
}

static qn_status add_column(reader *r, qn_str name, uint32_t *slot, qn_error *err)
{
    if (r->table.columns_count == r->columns_max)
        return qn_error_set(err, QN_ERR_BUDGET, r->file, "more than %lld columns",
                            (long long)r->columns_max);
    QN_TRY(grow_columns(r, err));
    const char *copy = qn_arena_strndup(r->arena, name.data, name.size);
    if (!copy)
        return out_of_memory(r, err);
    qn_csv_column *column = &r->table.columns[r->table.columns_count++];
    *column = (qn_csv_column){.name = {copy, name.size}};
    column->numeric = !keeps_text(r->options, column->name);
    *slot = (uint32_t)r->table.columns_count;
    return QN_OK;
}

static qn_csv_column *find_column(reader *r, qn_str name)
{
    if (r->next < r->table.columns_count && qn_str_equal(r->table.columns[r->next].name, name))
        return &r->table.columns[r->next++];
    uint32_t slot = *slot_of(r, name);
    r->next = slot;
    return slot ? &r->table.columns[slot - 1] : NULL;
}

/* --- cells --- */

static bool is_number(const qn_json *cell)
{
    if (cell->kind == QN_JSON_INT)
        return cell->integer >= -EXACT && cell->integer <= EXACT;
    return cell->kind == QN_JSON_FLOAT;
}

static bool is_nested(const qn_json *cell)
{
    return cell->kind == QN_JSON_ARRAY || cell->kind == QN_JSON_NUMBERS ||
           cell->kind == QN_JSON_OBJECT;
}

/* First pass: which columns there are, and whether all their cells are numbers. */
static qn_status see_cell(reader *r, int64_t row, qn_str key, const qn_json *cell, qn_error *err)
{
    (void)row;
    qn_csv_column *column = find_column(r, key);
    if (!column) {
        QN_TRY(add_column(r, key, slot_of(r, key), err));
        column = &r->table.columns[r->table.columns_count - 1];
        r->next = r->table.columns_count;
    }
    if (memchr(key.data, 0, key.size) ||
        (cell->kind == QN_JSON_STRING && memchr(cell->string.data, 0, cell->string.size)))
        QN_FAIL(err, QN_ERR_DATA, "a text with a zero character (\\u0000)");
    if (is_nested(cell))
        QN_FAIL(err, QN_ERR_DATA, "'%.*s' is %s; a cell is a number, a string, true, false or null",
                (int)qn_min_i64((int64_t)key.size, 40), key.data, qn_json_kind_name(cell));
    if (cell->kind != QN_JSON_NULL && !is_number(cell))
        column->numeric = false;
    return QN_OK;
}

/* Numbers among texts are written as the server writes them, so that both see the same levels. */
static qn_str cell_text(const qn_json *cell, qn_arena *arena)
{
    char text[32];
    double number = 0;
    size_t size;
    if (cell->kind == QN_JSON_BOOL)
        return cell->boolean ? QN_STR("true") : QN_STR("false");
    if (cell->kind == QN_JSON_STRING) {
        const char *copy = qn_arena_strndup(arena, cell->string.data, cell->string.size);
        return (qn_str){copy, cell->string.size};
    }
    if (cell->kind == QN_JSON_INT)
        size = (size_t)snprintf(text, sizeof text, "%lld", (long long)cell->integer);
    else
        size = qn_json_as_f64(cell, &number) ? (size_t)qn_f64_to_text(number, text) : 0;
    const char *copy = qn_arena_strndup(arena, text, size);
    return (qn_str){copy, size};
}

static qn_status fill_cell(reader *r, int64_t row, qn_str key, const qn_json *cell, qn_error *err)
{
    qn_csv_column *column = find_column(r, key);
    if (!column || cell->kind == QN_JSON_NULL)
        return QN_OK;
    column->missing[row] = 0;
    column->missing_count--;
    if (column->numeric)
        return qn_json_as_f64(cell, &column->numbers[row]) ? QN_OK : QN_ERR_INTERNAL;
    column->texts[row] = cell_text(cell, r->arena);
    return column->texts[row].data ? QN_OK : out_of_memory(r, err);
}

/* --- lines --- */

/* "1:7" of a line's own text becomes "rows.jsonl:12:7". */
static qn_status fail_line(const reader *r, int64_t line, qn_status status, qn_error *err)
{
    if (status != QN_ERR_DATA || !err)
        return status;
    char where[160];
    const char *colon = strchr(err->where, ':');
    snprintf(where, sizeof where, "%.100s:%lld%.20s", r->file, (long long)line, colon ? colon : "");
    memcpy(err->where, where, sizeof where);
    if (line == 1)
        return qn_error_hint(err, status, "JSON Lines is one object per line: {\"age\": 39, ...}");
    return status;
}

static qn_status take_line(reader *r, qn_str text, int64_t row, take_cell *take, qn_error *err)
{
    qn_json object;
    qn_arena_reset(&r->line);
    QN_TRY(qn_json_read(text, NULL, &r->line, &object, err));
    if (object.kind != QN_JSON_OBJECT)
        QN_FAIL(err, QN_ERR_DATA, "the line is %s, expected an object of columns and values",
                qn_json_kind_name(&object));
    r->next = 0;
    for (int64_t i = 0; i < object.count; i++)
        QN_TRY(take(r, row, object.keys[i], &object.items[i], err));
    return QN_OK;
}

static qn_status each_line(reader *r, qn_str text, take_cell *take, qn_error *err)
{
    const char *at = text.data, *end = text.data + text.size;
    int64_t row = 0;
    for (int64_t line = 1; at < end && row < r->lines; line++) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        stop = stop ? stop : end;
        qn_str trimmed = qn_str_trim((qn_str){at, (size_t)(stop - at)});
        at = stop + 1;
        if (trimmed.size == 0)
            continue;
        qn_status status = take_line(r, trimmed, row, take, err);
        if (status != QN_OK)
            return fail_line(r, line, status, err);
        row++;
    }
    r->table.rows = row;
    return QN_OK;
}

/* Every cell is missing until a line has it. */
static qn_status make_storage(reader *r, qn_error *err)
{
    int64_t rows = r->table.rows;
    for (int64_t i = 0; i < r->table.columns_count; i++) {
        qn_csv_column *column = &r->table.columns[i];
        column->missing = QN_NEW(r->arena, uint8_t, rows);
        if (column->numeric)
            column->numbers = QN_NEW(r->arena, double, rows);
        else
            column->texts = QN_NEW(r->arena, qn_str, rows);
        if (!column->missing || (!column->numbers && !column->texts))
            return out_of_memory(r, err);
        memset(column->missing, 1, (size_t)rows);
        column->missing_count = rows;
        for (int64_t row = 0; row < rows; row++)
            if (column->numeric)
                column->numbers[row] = NAN;
            else
                column->texts[row] = (qn_str){"", 0};
    }
    return QN_OK;
}

static qn_status read_text(reader *r, qn_str text, qn_error *err)
{
    r->slots = QN_NEW(r->arena, uint32_t, SLOTS);
    if (!r->slots)
        return out_of_memory(r, err);
    QN_TRY(each_line(r, text, see_cell, err));
    if (r->table.rows == 0)
        return qn_error_set(err, QN_ERR_DATA, r->file, "the file holds no rows");
    r->lines = r->table.rows;
    QN_TRY(make_storage(r, err));
    return each_line(r, text, fill_cell, err);
}

qn_status qn_jsonl_read(qn_str text, const qn_csv_options *given, qn_arena *arena, qn_csv *ret,
                        qn_error *err)
{
    qn_csv_options options = given ? *given : (qn_csv_options){0};
    if (text.size >= 3 && memcmp(text.data, "\xEF\xBB\xBF", 3) == 0)
        text = (qn_str){text.data + 3, text.size - 3};
    reader r = {.file = options.file ? options.file : "input",
                .options = &options,
                .arena = arena,
                .lines = options.rows_max ? options.rows_max : INT64_MAX};
    r.columns_max =
        options.columns_max ? qn_min_i64(options.columns_max, COLUMNS_MAX) : COLUMNS_MAX;
    qn_arena_init(&r.line, arena->limit_bytes);
    qn_status status = read_text(&r, text, err);
    qn_arena_deinit(&r.line);
    if (status != QN_OK)
        return status;
    r.table.header = true;
    r.table.row_first = 1;
    *ret = r.table;
    return QN_OK;
}

/* An object with a key: no CSV file that people write begins so. */
bool qn_jsonl_is(qn_str text)
{
    text = qn_str_trim((qn_str){text.data, text.size < 4096 ? text.size : 4096});
    if (text.size < 2 || text.data[0] != '{')
        return false;
    text = qn_str_trim((qn_str){text.data + 1, text.size - 1});
    return text.size > 0 && (text.data[0] == '"' || text.data[0] == '}');
}
