/*
 * What the CSV reader guesses from the first rows: the delimiter, whether the first row names the columns, and which
 * columns hold numbers. A wrong guess of the last kind costs a second pass, never a wrong value.
 */
#include "base/checked.h"
#include "format/csv_priv.h"

enum {
    SAMPLE_ROWS =
        1000, /* a column whose first thousand cells are numbers is read as numbers at once */
    DELIMITER_ROWS = 64, /* enough to see a wrong delimiter's counts differ */
    NAME_SIZE_MAX = 64,  /* longer first-row cells are sentences, not names */
};

bool qn_csv_is_missing(qn_str cell)
{
    static const char *const tokens[] = {"NA",   "N/A", "n/a", "#N/A", "<NA>", "null",
                                         "NULL", "NaN", "nan", "?",    "-"};
    if (cell.size == 0)
        return true;
    if (cell.size > 4)
        return false;
    for (size_t i = 0; i < sizeof tokens / sizeof tokens[0]; i++)
        if (qn_str_is(cell, tokens[i]))
            return true;
    return false;
}

bool qn_csv_cell_missing(qn_str cell, const qn_csv_options *options)
{
    if (!options->missing)
        return qn_csv_is_missing(cell);
    if (cell.size == 0)
        return true;
    for (int64_t i = 0; i < options->missing_count; i++)
        if (qn_str_equal(cell, options->missing[i]))
            return true;
    return false;
}

/* Cells of the row at the scanner; -1 = quotes that make no sense with this delimiter. */
static int64_t count_cells(qn_csv_scan *scan)
{
    qn_csv_cell cell;
    int64_t cells = 0;
    do {
        if (qn_csv_scan_cell(scan, &cell, NULL) != QN_OK)
            return -1;
        cells++;
    } while (qn_csv_scan_next(scan));
    return cells;
}

/* How well rows agree on the number of cells: 0 = no use, else cells when all agree, a fraction of one when most do. */
static double delimiter_score(qn_csv_scan scan)
{
    int64_t first = -1, rows = 0, agree = 0;
    while (rows < DELIMITER_ROWS && qn_csv_scan_row(&scan)) {
        int64_t cells = count_cells(&scan);
        if (cells < 0)
            break;
        first = first < 0 ? cells : first;
        agree += cells == first;
        rows++;
    }
    if (first < 2)
        return 0;
    double share = (double)agree / (double)rows;
    return share == 1.0 ? (double)first : share * share;
}

char qn_csv_guess_delimiter(qn_csv_scan start)
{
    static const char candidates[] = {',', ';', '\t', '|'};
    char best = ',';
    double best_score = 0;
    for (size_t i = 0; i < sizeof candidates; i++) {
        qn_csv_scan scan = start;
        scan.delimiter = candidates[i];
        double score = delimiter_score(scan);
        if (score == 0 && scan.delimiter == '\t') {
            scan.quotes = false; /* as csv.c reads it when quotes make no sense */
            score = delimiter_score(scan);
        }
        if (score > best_score) {
            best = candidates[i];
            best_score = score;
        }
    }
    return best;
}

qn_status qn_csv_take_sample(qn_csv_scan start, int64_t lines, int64_t columns_max, qn_arena *arena,
                             qn_csv_sample *ret, qn_error *err)
{
    qn_csv_scan scan = start;
    if (!qn_csv_scan_row(&scan)) {
        *ret = (qn_csv_sample){0};
        return QN_OK;
    }
    qn_csv_scan counting = scan;
    int64_t columns = 0;
    do {
        qn_csv_cell cell;
        QN_TRY(qn_csv_scan_cell(&counting, &cell, err));
        columns++;
    } while (qn_csv_scan_next(&counting));
    if (columns > columns_max)
        return qn_error_set(err, QN_ERR_BUDGET, scan.file, "%lld columns, the limit is %lld",
                            (long long)columns, (long long)columns_max);
    int64_t rows_max = qn_min_i64(lines, SAMPLE_ROWS);
    qn_csv_cell *cells = QN_NEW(arena, qn_csv_cell, columns * rows_max);
    if (!cells)
        QN_FAIL(err, QN_ERR_MEMORY, "no memory for the first rows of %s", start.file);
    int64_t rows = 0;
    while (rows < rows_max && qn_csv_scan_row(&scan)) {
        int64_t column = 0;
        bool more = true;
        while (more && column < columns) {
            if (qn_csv_scan_cell(&scan, &cells[rows * columns + column], NULL) != QN_OK)
                goto out; /* the reading pass meets the same place and says so */
            column++;
            more = qn_csv_scan_next(&scan);
        }
        if (more || column < columns)
            break;
        rows++;
    }
out:
    *ret = (qn_csv_sample){cells, rows, columns};
    return QN_OK;
}

bool qn_csv_guess_numeric(const qn_csv_sample *sample, int64_t first, int64_t column,
                          const qn_csv_options *options)
{
    for (int64_t row = first; row < sample->rows; row++) {
        qn_str text = sample->cells[row * sample->columns + column].text;
        double value;
        if (!qn_csv_cell_missing(text, options) && !qn_csv_number(text, &value))
            return false;
    }
    return true;
}

/* A word above at least one number and nothing but numbers. */
static bool is_named_number(const qn_csv_sample *sample, int64_t column)
{
    qn_csv_options options = {0};
    if (sample->cells[column].text.size == 0 || !qn_csv_guess_numeric(sample, 1, column, &options))
        return false;
    for (int64_t row = 1; row < sample->rows; row++)
        if (!qn_csv_is_missing(sample->cells[row * sample->columns + column].text))
            return true;
    return false;
}

static bool column_repeats_first(const qn_csv_sample *sample, int64_t column)
{
    qn_str first = sample->cells[column].text;
    for (int64_t row = 1; row < sample->rows; row++)
        if (qn_str_equal(sample->cells[row * sample->columns + column].text, first))
            return true;
    return false;
}

static bool is_name(qn_str text)
{
    double value;
    if (text.size == 0)
        return true; /* the unnamed index column that data-frame libraries write */
    if (text.size > NAME_SIZE_MAX || qn_csv_number(text, &value))
        return false;
    char last = text.data[text.size - 1];
    return last != '.' && last != '!';
}

bool qn_csv_guess_header(const qn_csv_sample *sample)
{
    int64_t empty = 0;
    for (int64_t column = 0; column < sample->columns; column++) {
        if (!is_name(sample->cells[column].text))
            return false;
        empty += sample->cells[column].text.size == 0;
    }
    if (empty > 1 || empty == sample->columns)
        return false;
    if (sample->rows < 2)
        return true;
    bool repeats = false;
    for (int64_t column = 0; column < sample->columns; column++) {
        if (is_named_number(sample, column))
            return true;
        repeats = repeats || column_repeats_first(sample, column);
    }
    return !repeats;
}
