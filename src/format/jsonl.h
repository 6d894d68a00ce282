/*
 * JSON Lines (NDJSON) to the same columns that the CSV reader makes: one object per line, its keys are columns. No
 * policy: a column is numeric when every present cell is a number, text otherwise (true and false are their words).
 *
 * A key that a line lacks, and null, are missing cells. Columns stand in the order in which keys are first seen. Cells
 * that are arrays or objects are refused with line, column and key. Blank lines are skipped.
 */
#ifndef QN_FORMAT_JSONL_H
#define QN_FORMAT_JSONL_H

#include "format/csv.h"

/* Used of the options: file, texts, columns_max, rows_max. `text` must outlive the result.
 * Errors: ERR_DATA at "file:line:column"; ERR_BUDGET over a limit or the arena's; ERR_MEMORY. Threads: any. */
QN_MUST_USE qn_status qn_jsonl_read(qn_str text, const qn_csv_options *options, qn_arena *arena,
                                    qn_csv *ret, qn_error *err);

/* Does a text begin as a line of JSON Lines does? By its first bytes; for data without a telling name. */
bool qn_jsonl_is(qn_str text);

#endif
