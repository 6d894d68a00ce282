/*
 * What the CSV reader's parts share: the scanner (csv_scan.c) cuts cells, the guesses (csv_guess.c) look at the first
 * rows, and csv.c fills columns.
 */
#ifndef QN_FORMAT_CSV_PRIV_H
#define QN_FORMAT_CSV_PRIV_H

#include "format/csv.h"

typedef struct {
    const char *at, *end; /* what is left to read */
    char delimiter;
    bool quotes;    /* a cell may be quoted; off for tab-separated files that do not quote */
    char line_end;  /* '\n', or '\r' for files that have no '\n' at all */
    int64_t record; /* 1 = the first row of the file, counting as a spreadsheet does */
    int64_t column; /* 0-based, of the cell at `at` */
    const char *file;
} qn_csv_scan;

typedef struct {
    qn_str text; /* trimmed; still with doubled quotes when `doubled` */
    bool quoted, doubled;
} qn_csv_cell;

/* Puts the scanner behind blank lines; false = the text is over. */
bool qn_csv_scan_row(qn_csv_scan *scan);
/* Cuts the cell at `at` and leaves `at` on its terminator: delimiter, line end or end. */
QN_MUST_USE qn_status qn_csv_scan_cell(qn_csv_scan *scan, qn_csv_cell *ret, qn_error *err);
/* The fast path: a plain number that ends at a terminator. false = untouched, use qn_csv_scan_cell. */
bool qn_csv_scan_number(qn_csv_scan *scan, double *ret);
/* Steps over the terminator; true = another cell of this row follows. */
bool qn_csv_scan_next(qn_csv_scan *scan);
/* An error of code ERR_DATA at the scanner's place. */
qn_status qn_csv_scan_fail(const qn_csv_scan *scan, qn_error *err, const char *format, ...)
    QN_PRINTF(3, 4);

/* A cell as a number column takes it. Numbers with a leading zero ("007") and integers beyond 2^53 are not numbers but
 * names: turning them into doubles would merge different keys. */
bool qn_csv_number(qn_str text, double *ret);
/* Undoes doubled quotes; NULL data = memory. */
qn_str qn_csv_unquote(qn_str text, qn_arena *arena);

/* The first rows of a file, cut. */
typedef struct {
    qn_csv_cell *cells; /* [rows, columns] */
    int64_t rows, columns;
} qn_csv_sample;

char qn_csv_guess_delimiter(qn_csv_scan start);
/* At most `lines` rows are there. */
QN_MUST_USE qn_status qn_csv_take_sample(qn_csv_scan start, int64_t lines, int64_t columns_max,
                                         qn_arena *arena, qn_csv_sample *ret, qn_error *err);
bool qn_csv_guess_header(const qn_csv_sample *sample);
/* Are all cells of the column (from row `first`) numbers or missing? */
bool qn_csv_guess_numeric(const qn_csv_sample *sample, int64_t first, int64_t column,
                          const qn_csv_options *options);
bool qn_csv_cell_missing(qn_str cell, const qn_csv_options *options);

#endif
