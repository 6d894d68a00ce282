/*
 * Delimited text (RFC 4180 and what people really write) to columns. No policy: it decides only
 * whether a column is all numbers; what a column means is data/'s business.
 *
 * Understood: quotes with doubled quotes and line breaks inside, a byte order mark, LF and CRLF, a
 * sniffed delimiter, blank lines, missing tokens, spaces around unquoted cells. Checked: UTF-8,
 * equal cell counts, closed quotes, limits. Every error says the file, the row as a spreadsheet
 * counts it (the first row is 1), and the column.
 */
#ifndef QN_FORMAT_CSV_H
#define QN_FORMAT_CSV_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/str.h"

typedef enum { QN_CSV_HEADER_AUTO, QN_CSV_HEADER_YES, QN_CSV_HEADER_NO } qn_csv_header;

typedef struct {
    const char *file;     /* for messages; NULL = "input" */
    char delimiter;       /* 0 = sniffed among , ; tab | */
    qn_csv_header header; /* AUTO: a first row of distinct names above different data is a header */
    const qn_str *names;  /* column names when there is no header; NULL = c1..cN */
    int64_t names_count;
    const qn_str *texts; /* columns that stay text even if every cell is a number (targets, keys) */
    int64_t texts_count;
    const qn_str *missing; /* tokens besides the empty cell; NULL = NA N/A n/a #N/A <NA> null NULL
                              NaN nan ? - */
    int64_t missing_count;
    int64_t columns_max; /* 0 = 16384 */
    int64_t rows_max;    /* 0 = none: stop reading after so many data rows */
} qn_csv_options;

/* One column: numbers when `numeric`, texts otherwise; the other pointer is NULL. The cell of a
 * missing value holds NaN or an empty view. Texts point into the file's bytes unless a quote had to
 * be undone. */
typedef struct {
    qn_str name;
    bool numeric;
    double *numbers;
    qn_str *texts;
    uint8_t *missing; /* per row; NULL = none is missing */
    int64_t missing_count;
} qn_csv_column;

typedef struct {
    qn_csv_column *columns;
    int64_t columns_count;
    int64_t rows;
    char delimiter;
    bool header;       /* the first row was taken for names */
    int64_t row_first; /* what messages call the first row of data */
} qn_csv;

/* Reads a whole text. `text` must outlive the result (map it).
 * Errors: ERR_DATA with "file, row R, column C 'name'"; ERR_BUDGET over a limit or the arena's;
 * ERR_MEMORY. Threads: any. */
QN_MUST_USE qn_status qn_csv_read(qn_str text, const qn_csv_options *options, qn_arena *arena,
                                  qn_csv *ret, qn_error *err);

/* Appends one cell, quoted when it must be (delimiter, quote, line break, outer space). */
void qn_csv_write_cell(qn_buf *dst, qn_str cell, char delimiter);

/* The default missing tokens, case kept; also used for JSON strings that feed a number column. */
bool qn_csv_is_missing(qn_str cell);

#endif
