/*
 * The CSV reader: guesses from the first rows, then one pass that fills typed columns straight from the file's bytes. A
 * column taken for numbers that turns out otherwise is filled as text by a second pass.
 */
#include <math.h>
#include <stdio.h>

#include "base/checked.h"
#include "base/hash.h"
#include "format/csv_priv.h"

enum { COLUMNS_MAX = 16384 }; /* beyond it a "table" is a wrong delimiter or an attack */

typedef struct {
    const qn_csv_options *options;
    qn_arena *arena;
    qn_csv *table;
    uint8_t *demoted; /* per column: taken for numbers, is text; filled by the second pass */
    int64_t rows_max; /* storage per column */
    int64_t demoted_count;
    bool number_is_missing; /* a missing token is itself a number: no fast path */
    bool second;            /* the pass that fills demoted columns only */
} reader;

static qn_status out_of_memory(const reader *r, qn_error *err)
{
    return qn_error_set(err, r->arena->limit_bytes ? QN_ERR_BUDGET : QN_ERR_MEMORY,
                        r->options->file, "the table needs more memory than %s (%zu bytes so far)",
                        r->arena->limit_bytes ? "its budget" : "there is", r->arena->used_bytes);
}

/* Rows cannot outnumber line ends by more than one, so columns are allocated once. */
static int64_t count_line_ends(qn_str text, char line_end)
{
    int64_t count = 0;
    for (size_t i = 0; i < text.size; i++)
        count += text.data[i] == line_end;
    return count;
}

static bool set_missing(const reader *r, qn_csv_column *column, int64_t row)
{
    if (!column->missing && !(column->missing = QN_NEW(r->arena, uint8_t, r->rows_max)))
        return false;
    column->missing[row] = 1;
    column->missing_count++;
    return true;
}

static qn_status store_text(const reader *r, const qn_csv_cell *cell, qn_csv_column *column,
                            int64_t row, qn_error *err)
{
    if (qn_csv_cell_missing(cell->text, r->options)) {
        column->texts[row] = (qn_str){"", 0};
        return set_missing(r, column, row) ? QN_OK : out_of_memory(r, err);
    }
    column->texts[row] = cell->doubled ? qn_csv_unquote(cell->text, r->arena) : cell->text;
    return column->texts[row].data ? QN_OK : out_of_memory(r, err);
}

/* A cell of a number column that the fast path did not take. */
static qn_status store_number(reader *r, const qn_csv_cell *cell, int64_t index, int64_t row,
                              qn_error *err)
{
    qn_csv_column *column = &r->table->columns[index];
    if (qn_csv_cell_missing(cell->text, r->options)) {
        column->numbers[row] = NAN;
        return set_missing(r, column, row) ? QN_OK : out_of_memory(r, err);
    }
    if (!qn_csv_number(cell->text, &column->numbers[row])) {
        r->demoted[index] = 1;
        r->demoted_count++;
    }
    return QN_OK;
}

static qn_status read_cell(reader *r, qn_csv_scan *scan, int64_t index, int64_t row, qn_error *err)
{
    qn_csv_column *column = &r->table->columns[index];
    bool numbers = !r->second && !r->demoted[index] && column->numeric;
    if (numbers && !r->number_is_missing && qn_csv_scan_number(scan, &column->numbers[row]))
        return QN_OK;
    qn_csv_cell cell;
    QN_TRY(qn_csv_scan_cell(scan, &cell, err));
    if (numbers)
        return store_number(r, &cell, index, row, err);
    if (r->demoted[index] != r->second)
        return QN_OK;
    return store_text(r, &cell, column, row, err);
}

static qn_status wrong_count(const qn_csv_scan *scan, int64_t record, int64_t cells,
                             const qn_csv *table, qn_error *err)
{
    char where[160];
    snprintf(where, sizeof where, "%.100s, row %lld", scan->file, (long long)record);
    qn_status status =
        qn_error_set(err, QN_ERR_DATA, where, "the row has %s%lld cells, expected %lld",
                     cells > table->columns_count ? "at least " : "", (long long)cells,
                     (long long)table->columns_count);
    return qn_error_hint(err, status, "cells that hold a '%c' must be in double quotes",
                         scan->delimiter);
}

static qn_status read_rows(reader *r, qn_csv_scan scan, qn_error *err)
{
    int64_t row = 0, columns = r->table->columns_count;
    while (row < r->rows_max && qn_csv_scan_row(&scan)) {
        int64_t record = scan.record, column = 0;
        bool more = true;
        while (more && column < columns) {
            QN_TRY(read_cell(r, &scan, column, row, err));
            column++;
            more = qn_csv_scan_next(&scan);
        }
        if (more || column < columns)
            return wrong_count(&scan, record, column + more, r->table, err);
        row++;
    }
    r->table->rows = row;
    return QN_OK;
}

/* Names */

static bool keeps_text(const qn_csv_options *options, qn_str name)
{
    for (int64_t i = 0; i < options->texts_count; i++)
        if (qn_str_equal(options->texts[i], name))
            return true;
    return false;
}

static qn_status name_column(reader *r, const qn_csv_sample *sample, int64_t index, qn_error *err)
{
    qn_csv_column *column = &r->table->columns[index];
    const qn_csv_cell *cell = &sample->cells[index];
    if (r->table->header && cell->text.size > 0)
        column->name = cell->doubled ? qn_csv_unquote(cell->text, r->arena) : cell->text;
    else if (!r->table->header && r->options->names)
        column->name = r->options->names[index];
    else
        column->name = qn_str_from(qn_arena_printf(r->arena, "c%lld", (long long)index + 1));
    if (!column->name.data)
        return out_of_memory(r, err);
    for (int64_t i = 0; i < index; i++)
        if (qn_str_equal(r->table->columns[i].name, column->name))
            return qn_error_set(err, QN_ERR_DATA, r->options->file,
                                "columns %lld and %lld are both named '%.*s'", (long long)i + 1,
                                (long long)index + 1, QN_STR_ARG(column->name));
    return QN_OK;
}

static qn_status make_column(reader *r, const qn_csv_sample *sample, int64_t index, qn_error *err)
{
    QN_TRY(name_column(r, sample, index, err));
    qn_csv_column *column = &r->table->columns[index];
    column->numeric = !keeps_text(r->options, column->name) &&
                      qn_csv_guess_numeric(sample, r->table->header, index, r->options);
    if (column->numeric)
        column->numbers = QN_NEW(r->arena, double, r->rows_max);
    else
        column->texts = QN_NEW(r->arena, qn_str, r->rows_max);
    return column->numbers || column->texts ? QN_OK : out_of_memory(r, err);
}

static qn_status make_columns(reader *r, const qn_csv_sample *sample, qn_error *err)
{
    qn_csv *table = r->table;
    table->columns_count = sample->columns;
    if (!table->header && r->options->names && r->options->names_count != sample->columns)
        return qn_error_set(err, QN_ERR_DATA, r->options->file,
                            "%lld names are given for %lld columns",
                            (long long)r->options->names_count, (long long)sample->columns);
    table->columns = QN_NEW(r->arena, qn_csv_column, sample->columns);
    r->demoted = QN_NEW(r->arena, uint8_t, sample->columns);
    if (!table->columns || !r->demoted)
        return out_of_memory(r, err);
    for (int64_t i = 0; i < sample->columns; i++)
        QN_TRY(make_column(r, sample, i, err));
    return QN_OK;
}

static qn_status demote_columns(reader *r, qn_error *err)
{
    for (int64_t i = 0; i < r->table->columns_count; i++) {
        if (!r->demoted[i])
            continue;
        qn_csv_column *column = &r->table->columns[i];
        *column =
            (qn_csv_column){.name = column->name, .texts = QN_NEW(r->arena, qn_str, r->rows_max)};
        if (!column->texts)
            return out_of_memory(r, err);
    }
    r->second = true;
    return QN_OK;
}

/* The whole text */

/* Files that are no text at all, by their first bytes. */
static qn_status check_magic(qn_str text, const char *file, qn_error *err)
{
    static const struct {
        const char *magic, *what, *hint;
    } kinds[] = {
        {"\x1f\x8b", "gzip-compressed", "unpack it: gunzip FILE"},
        {"\x28\xb5\x2f\xfd", "zstd-compressed", "unpack it: unzstd FILE"},
        {"BZh", "bzip2-compressed", "unpack it: bunzip2 FILE"},
        {"\xfd"
         "7zXZ",
         "xz-compressed", "unpack it: unxz FILE"},
        {"PK\x03\x04", "a ZIP archive or a spreadsheet", "unpack it, or save the sheet as CSV"},
        {"PAR1", "a Parquet file", "this version reads CSV and JSON Lines tables"},
        {"SQLite format 3", "an SQLite database", "export the table as CSV"},
        {"%PDF", "a PDF", "tables are read from CSV and JSON Lines"},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (!qn_str_starts(text, kinds[i].magic))
            continue;
        qn_status status = qn_error_set(err, QN_ERR_DATA, file,
                                        "the file is %s, expected a table as text", kinds[i].what);
        return qn_error_hint(err, status, "%s", kinds[i].hint);
    }
    return QN_OK;
}

static qn_status fail_byte(qn_str text, const char *at, const char *file, const char *what,
                           qn_error *err)
{
    char where[160];
    int64_t row = 1 + count_line_ends((qn_str){text.data, (size_t)(at - text.data)}, '\n');
    snprintf(where, sizeof where, "%.100s, row %lld", file, (long long)row);
    return qn_error_set(err, QN_ERR_DATA, where, "%s", what);
}

static qn_status check_bytes(qn_str *text, const char *file, qn_error *err)
{
    QN_TRY(check_magic(*text, file, err));
    if (text->size >= 3 && memcmp(text->data, "\xEF\xBB\xBF", 3) == 0)
        *text = (qn_str){text->data + 3, text->size - 3};
    if (text->size >= 2 &&
        (memcmp(text->data, "\xFF\xFE", 2) == 0 || memcmp(text->data, "\xFE\xFF", 2) == 0)) {
        qn_status status =
            qn_error_set(err, QN_ERR_DATA, file, "the text is UTF-16, expected UTF-8");
        return qn_error_hint(err, status, "convert it: iconv -f UTF-16 -t UTF-8 FILE");
    }
    size_t bad = 0;
    if (!qn_utf8_check(text->data, text->size, &bad)) {
        char what[64];
        snprintf(what, sizeof what, "byte 0x%02x is not valid UTF-8",
                 (unsigned char)text->data[bad]);
        qn_status status = fail_byte(*text, text->data + bad, file, what, err);
        return qn_error_hint(err, status, "convert it: iconv -f ISO-8859-1 -t UTF-8 FILE");
    }
    const char *zero = text->size > 0 ? memchr(text->data, 0, text->size) : NULL;
    return zero ? fail_byte(*text, zero, file, "a zero byte: this is not a text file", err) : QN_OK;
}

static bool has_number_token(const qn_csv_options *options)
{
    double value;
    for (int64_t i = 0; i < options->missing_count; i++)
        if (qn_csv_number(options->missing[i], &value))
            return true;
    return false;
}

static qn_csv_scan start_scan(qn_str text, const qn_csv_options *options)
{
    bool has_newline = text.size > 0 && memchr(text.data, '\n', text.size);
    qn_csv_scan scan = {.at = text.data,
                        .end = text.data + text.size,
                        .delimiter = options->delimiter,
                        .quotes = true,
                        .line_end = has_newline ? '\n' : '\r',
                        .record = 1,
                        .file = options->file};
    if (!scan.delimiter)
        scan.delimiter = qn_csv_guess_delimiter(scan);
    return scan;
}

static qn_status read_table(reader *r, qn_csv_scan scan, qn_error *err)
{
    r->number_is_missing = has_number_token(r->options);
    int64_t lines =
        1 + count_line_ends((qn_str){scan.at, (size_t)(scan.end - scan.at)}, scan.line_end);
    r->rows_max = r->options->rows_max ? qn_min_i64(lines, r->options->rows_max) : lines;
    qn_csv_sample sample;
    QN_TRY(qn_csv_take_sample(scan, lines,
                              r->options->columns_max ? r->options->columns_max : COLUMNS_MAX,
                              r->arena, &sample, err));
    if (sample.columns == 0)
        return qn_error_set(err, QN_ERR_DATA, r->options->file, "the file holds no rows");
    r->table->delimiter = scan.delimiter;
    r->table->header = r->options->header == QN_CSV_HEADER_AUTO
                           ? qn_csv_guess_header(&sample)
                           : r->options->header == QN_CSV_HEADER_YES;
    QN_TRY(make_columns(r, &sample, err));
    if (r->table->header && qn_csv_scan_row(&scan)) {
        qn_csv_cell cell;
        do
            QN_TRY(qn_csv_scan_cell(&scan, &cell, err));
        while (qn_csv_scan_next(&scan));
    }
    QN_TRY(read_rows(r, scan, err));
    if (r->demoted_count == 0)
        return QN_OK;
    QN_TRY(demote_columns(r, err));
    return read_rows(r, scan, err);
}

qn_status qn_csv_read(qn_str text, const qn_csv_options *given, qn_arena *arena, qn_csv *ret,
                      qn_error *err)
{
    qn_csv_options options = given ? *given : (qn_csv_options){0};
    if (!options.file)
        options.file = "input";
    QN_TRY(check_bytes(&text, options.file, err));
    qn_csv table = {0};
    reader r = {.options = &options, .arena = arena, .table = &table};
    qn_csv_scan scan = start_scan(text, &options);
    qn_status status = read_table(&r, scan, err);
    if (status == QN_ERR_DATA && scan.delimiter == '\t') {
        /* Tab-separated files often do not quote, and hold lone quotes in their texts. */
        qn_error unquoted = {0};
        table = (qn_csv){0};
        r = (reader){.options = &options, .arena = arena, .table = &table};
        scan.quotes = false;
        if (read_table(&r, scan, &unquoted) == QN_OK)
            status = QN_OK;
    }
    table.row_first = table.header ? 2 : 1;
    if (status == QN_OK)
        *ret = table;
    return status;
}

void qn_csv_write_cell(qn_buf *dst, qn_str cell, char delimiter)
{
    bool quote = cell.size > 0 && (cell.data[0] == ' ' || cell.data[cell.size - 1] == ' ');
    for (size_t i = 0; i < cell.size && !quote; i++)
        quote = cell.data[i] == delimiter || cell.data[i] == '"' || cell.data[i] == '\n' ||
                cell.data[i] == '\r';
    if (!quote) {
        qn_buf_append(dst, cell.data, cell.size);
        return;
    }
    qn_buf_byte(dst, '"');
    for (size_t i = 0; i < cell.size; i++) {
        if (cell.data[i] == '"')
            qn_buf_byte(dst, '"');
        qn_buf_byte(dst, cell.data[i]);
    }
    qn_buf_byte(dst, '"');
}
