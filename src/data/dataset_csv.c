/*
 * Tables: one or more CSV, TSV or JSON Lines files for training, and perhaps others for the test, as one frame. A column must mean the same
 * in every file: where one of the training files holds text, it is text in all of them.
 */
#include <stdio.h>

#include "data/dataset_priv.h"
#include "data/measure_priv.h"
#include "format/csv.h"
#include "format/jsonl.h"

typedef struct {
    qn_str bytes;
    const char *path;
    bool json; /* JSON Lines */
    qn_csv csv;
} table;

typedef struct {
    qn_open_dataset *set;
    table *tables;
    int64_t count, main_count;
    qn_str *names; /* of the recipe */
    qn_str *texts; /* columns that stay text */
    int64_t texts_count, texts_max;
} reading;

static qn_status add_text(reading *in, qn_str name, qn_error *err)
{
    if (in->texts_count == in->texts_max) {
        int64_t most = in->texts_max ? 2 * in->texts_max : 16;
        qn_str *texts = QN_NEW(&in->set->arena, qn_str, most);
        if (!texts)
            return qn_dataset_no_memory(in->set, err);
        for (int64_t i = 0; i < in->texts_count; i++)
            texts[i] = in->texts[i];
        in->texts = texts;
        in->texts_max = most;
    }
    const char *copy = qn_arena_strndup(&in->set->arena, name.data, name.size);
    if (!copy)
        return qn_dataset_no_memory(in->set, err);
    in->texts[in->texts_count++] = (qn_str){copy, name.size};
    return QN_OK;
}

/* By name; a name that says nothing (standard input) by the first bytes. */
static bool is_json(const table *here)
{
    static const char *const endings[] = {".jsonl", ".ndjson", ".json"};
    qn_str name = qn_str_from(here->path);
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
        if (qn_str_ends(name, endings[i]))
            return true;
    return !qn_str_ends(name, ".csv") && !qn_str_ends(name, ".tsv") && qn_jsonl_is(here->bytes);
}

static qn_status prepare(reading *in, const qn_path_list *paths, qn_error *err)
{
    const qn_dataset_options *options = in->set->options;
    in->tables = QN_NEW(&in->set->arena, table, paths->count);
    in->names = QN_NEW(&in->set->arena, qn_str, options->names_count);
    if (!in->tables || !in->names)
        return qn_dataset_no_memory(in->set, err);
    for (int64_t i = 0; i < options->names_count; i++)
        in->names[i] = qn_str_from(options->names[i]);
    for (int64_t i = 0; i < options->texts_count; i++)
        QN_TRY(add_text(in, qn_str_from(options->texts[i]), err));
    if (options->target) /* labels and amounts alike are spelled as in the file */
        QN_TRY(add_text(in, qn_str_from(options->target), err));
    for (int64_t i = 0; i < paths->count; i++) {
        bool piped = strcmp(paths->paths[i], "-") == 0;
        in->tables[i].path = piped ? "standard input" : paths->paths[i];
        QN_TRY(qn_dataset_map(in->set, paths->paths[i], &in->tables[i].bytes, err));
        in->tables[i].json = is_json(&in->tables[i]);
    }
    return QN_OK;
}

static qn_status read_table(reading *in, int64_t index, const qn_csv_options *options,
                            qn_error *err)
{
    table *here = &in->tables[index];
    qn_arena *arena = &in->set->arena;
    qn_status status = here->json ? qn_jsonl_read(here->bytes, options, arena, &here->csv, err)
                                  : qn_csv_read(here->bytes, options, arena, &here->csv, err);
    if (status == QN_ERR_BUDGET && in->set->arena.limit_bytes)
        return qn_dataset_no_memory(in->set, err);
    return status;
}

/* A first file without a header that looks like the one a model was trained on has its columns, and may lack the target. */
static qn_status expect_names(const reading *in, qn_csv_options *options, bool *ret_again,
                              qn_error *err)
{
    const qn_dataset_options *given = in->set->options;
    const qn_csv *csv = &in->tables[0].csv;
    int64_t count = 0;
    bool whole = csv->columns_count == given->expected_count;
    *ret_again = false;
    if (csv->header || options->names ||
        (!whole && csv->columns_count != given->expected_count - 1))
        return QN_OK;
    qn_str *names = QN_NEW(&in->set->arena, qn_str, given->expected_count);
    if (!names)
        return qn_dataset_no_memory(in->set, err);
    for (int64_t i = 0; i < given->expected_count; i++)
        if (whole || !given->target || !qn_str_is(given->expected[i], given->target))
            names[count++] = given->expected[i];
    *ret_again = count == csv->columns_count;
    if (*ret_again) {
        options->names = names;
        options->names_count = count;
    }
    return QN_OK;
}

/* Later files without a header have the first one's columns, if they are as many. */
static qn_status read_tables(reading *in, qn_error *err)
{
    const qn_dataset_options *given = in->set->options;
    qn_str *first_names = NULL;
    for (int64_t i = 0; i < in->count; i++) {
        qn_csv_options options = {.file = in->tables[i].path,
                                  .header = (qn_csv_header)given->header,
                                  .texts = in->texts,
                                  .texts_count = in->texts_count,
                                  .names = given->names_count ? in->names : NULL,
                                  .names_count = given->names_count};
        if (qn_str_ends(qn_str_from(in->tables[i].path), ".tsv"))
            options.delimiter = '\t';
        if (i > 0 && !options.names && in->tables[0].csv.header) {
            options.names = first_names;
            options.names_count = in->tables[0].csv.columns_count;
        }
        QN_TRY(read_table(in, i, &options, err));
        bool again = false;
        if (i == 0 && given->expected_count > 0)
            QN_TRY(expect_names(in, &options, &again, err));
        if (again)
            QN_TRY(read_table(in, i, &options, err));
        const qn_csv *csv = &in->tables[i].csv;
        if (i == 0 && !(first_names = QN_NEW(&in->set->arena, qn_str, csv->columns_count)))
            return qn_dataset_no_memory(in->set, err);
        for (int64_t c = 0; i == 0 && c < csv->columns_count; c++)
            first_names[c] = csv->columns[c].name;
    }
    return QN_OK;
}

static const qn_csv_column *find_column(const qn_csv *csv, qn_str name)
{
    for (int64_t i = 0; i < csv->columns_count; i++)
        if (qn_str_equal(csv->columns[i].name, name))
            return &csv->columns[i];
    return NULL;
}

/* A test file must not turn the training file's numbers into texts: the first cell that would is an error. */
static qn_status text_in_test(const reading *in, int64_t index, const qn_csv_column *column,
                              qn_error *err)
{
    const qn_csv *csv = &in->tables[index].csv;
    qn_frame_part part = {in->tables[index].path, 0, csv->row_first};
    for (int64_t row = 0; row < csv->rows; row++) {
        double value;
        qn_column cell = {.name = column->name,
                          .kind = QN_COLUMN_STRING,
                          .strings = column->texts,
                          .missing = column->missing};
        if (qn_cell_number(&cell, row, &value) != QN_CELL_BAD)
            continue;
        char where[160];
        snprintf(where, sizeof where, "%.80s, row %lld, column %lld '%.*s'", part.file,
                 (long long)(row + part.row_first), (long long)(column - csv->columns) + 1,
                 (int)(column->name.size < 40 ? column->name.size : 40), column->name.data);
        return qn_error_set(err, QN_ERR_DATA, where, "expected a number as in %s, got '%.*s'",
                            in->tables[0].path,
                            (int)(column->texts[row].size < 60 ? column->texts[row].size : 60),
                            column->texts[row].data);
    }
    return QN_OK; /* such as "007": a number to the test file's reader as well */
}

/* Adds columns that files disagree on to the texts; *ret_changed = read again. */
static qn_status settle_kinds(reading *in, bool *ret_changed, qn_error *err)
{
    const qn_csv *first = &in->tables[0].csv;
    *ret_changed = false;
    for (int64_t c = 0; c < first->columns_count; c++) {
        const qn_csv_column *column = &first->columns[c];
        bool empty = column->missing_count == first->rows;
        for (int64_t i = 1; i < in->count; i++) {
            const qn_csv_column *other = find_column(&in->tables[i].csv, column->name);
            if (!other || other->numeric == column->numeric)
                continue;
            if (i >= in->main_count && column->numeric && !empty)
                QN_TRY(text_in_test(in, i, other, err));
            QN_TRY(add_text(in, column->name, err));
            *ret_changed = true;
            break;
        }
    }
    return QN_OK;
}

static qn_status make_frame(const reading *in, int64_t index, qn_frame *ret, qn_error *err)
{
    const qn_csv *csv = &in->tables[index].csv;
    qn_arena *arena = &in->set->arena;
    qn_frame_part *part = QN_NEW(arena, qn_frame_part, 1);
    QN_TRY(qn_frame_init(ret, arena, csv->columns_count, csv->rows, err));
    if (!part)
        return qn_dataset_no_memory(in->set, err);
    *part = (qn_frame_part){in->tables[index].path, 0, csv->row_first};
    ret->parts = part;
    ret->parts_count = 1;
    for (int64_t c = 0; c < csv->columns_count; c++) {
        const qn_csv_column *from = &csv->columns[c];
        qn_column *to = &ret->columns[ret->columns_count++];
        *to = (qn_column){.name = from->name,
                          .kind = from->numeric ? QN_COLUMN_NUMBER : QN_COLUMN_STRING,
                          .missing = from->missing};
        if (from->numeric)
            to->numbers = from->numbers;
        else
            to->strings = from->texts;
    }
    return QN_OK;
}

static void report_header(const reading *in)
{
    const qn_csv *first = &in->tables[0].csv;
    bool guessed = in->set->options->header == QN_HEADER_AUTO;
    if (!first->header && guessed && qn_str_is(first->columns[0].name, "c1"))
        qn_finding_add(&in->set->public.findings, QN_FINDING_NOTE, "NO_HEADER", (qn_str){"", 0},
                       "%s has no header: its columns are called c1 to c%lld", in->tables[0].path,
                       (long long)first->columns_count);
}

qn_status qn_dataset_open_csv(qn_open_dataset *set, const qn_path_list *paths, int64_t main_count,
                              qn_error *err)
{
    reading in = {.set = set, .count = paths->count, .main_count = main_count};
    bool changed = true;
    QN_TRY(prepare(&in, paths, err));
    for (int passes = 0; changed && passes < 3;
         passes++) { /* each pass settles every column it saw disagree */
        QN_TRY(read_tables(&in, err));
        QN_TRY(settle_kinds(&in, &changed, err));
    }
    qn_frame *frames = QN_NEW(&set->arena, qn_frame, in.count);
    if (!frames)
        return qn_dataset_no_memory(set, err);
    for (int64_t i = 0; i < in.count; i++) {
        QN_TRY(make_frame(&in, i, &frames[i], err));
        set->public.rows_main += i < main_count ? frames[i].rows : 0;
    }
    set->public.kind = in.tables[0].json                    ? "json lines"
                       : in.tables[0].csv.delimiter == '\t' ? "tsv"
                                                            : "csv";
    report_header(&in);
    return qn_dataset_join(set, frames, in.count, err);
}
