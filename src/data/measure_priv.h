/*
 * Statistics of one column, shared by schema.c (what is this column?) and transform_fit.c (how is it scaled?).
 */
#ifndef QN_DATA_MEASURE_PRIV_H
#define QN_DATA_MEASURE_PRIV_H

#include "data/dates.h"
#include "data/schema.h"

typedef enum { QN_CELL_NUMBER, QN_CELL_MISSING, QN_CELL_BAD } qn_cell;

/* A cell of a NUMBER or STRING column as a number. */
qn_cell qn_cell_number(const qn_column *column, int64_t row, double *ret);
/* A cell of a STRING column as a date. */
qn_cell qn_cell_date(const qn_column *column, int64_t row, qn_date_order order, double *ret);

/* The finite values among the rows, ascending. Beyond SAMPLE_MAX values every k-th one only, so that a large table
 * costs no more than a medium one; `exact` says which. */
typedef struct {
    double *values;
    int64_t count;
    bool exact;
} qn_sorted;

static inline int64_t qn_row_at(const int64_t *rows, int64_t i)
{
    return rows ? rows[i] : i;
}

/* Fills what numbers have; `ret_sorted` (may be NULL) lies in `scratch`. order: for dates, else ignored. */
QN_MUST_USE qn_status qn_measure_numbers(const qn_column *column, bool dates, qn_date_order order,
                                         const int64_t *rows, int64_t rows_count, qn_arena *scratch,
                                         qn_arena *keep, qn_column_stats *ret,
                                         qn_sorted *ret_sorted, qn_error *err);
/* Fills what texts have. */
QN_MUST_USE qn_status qn_measure_texts(const qn_column *column, const int64_t *rows,
                                       int64_t rows_count, qn_arena *scratch, qn_column_stats *ret,
                                       qn_error *err);
double qn_sorted_quantile(const qn_sorted *sorted, double share);
void qn_sort_f64(double *values, double *scratch, int64_t count);

#endif
