/*
 * A frame: a table in raw terms, column by column, as the user's file or request has it. Built by
 * the CSV reader and, at serving time, by the protocol decoders in the request's arena. A frame
 * owns nothing: its arrays live in the arena (or mapped file) that its maker used.
 *
 *     qn_frame frame;
 *     QN_TRY(qn_frame_init(&frame, request, columns, rows, err));
 *     double *age = qn_frame_numbers(&frame, QN_STR("age"), request);      // fill rows values;
 * NULL = memory qn_str *city = qn_frame_strings(&frame, QN_STR("city"), request);
 *     qn_frame_set_missing(&frame, column, row, request);
 */
#ifndef QN_DATA_FRAME_H
#define QN_DATA_FRAME_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/str.h"
#include "tensor/tensor.h"

typedef enum {
    QN_COLUMN_NUMBER, /* double; booleans are 0 and 1, integers up to 2^53 exact */
    QN_COLUMN_STRING, /* UTF-8 */
    QN_COLUMN_BYTES,  /* one file's content per row: an image */
    QN_COLUMN_ARRAY,  /* one array per row, all of one kind and shape: pixels, features */
} qn_column_kind;

typedef struct {
    qn_str name;
    qn_column_kind kind;
    bool boolean; /* NUMBER that came as true/false: category levels then read "true" and "false" */
    uint8_t *missing; /* one byte per row; NULL = nothing is missing. A NaN number counts as missing
                         too */
    union {
        double *numbers;
        qn_str *strings; /* STRING, BYTES */
        qn_tensor array; /* ARRAY: contiguous, the first dimension is rows */
    };
} qn_column;

/* Where rows came from. */
typedef struct {
    const char *file;
    int64_t begin;     /* first row of the frame that is from this file */
    int64_t row_first; /* what a spreadsheet calls that row */
} qn_frame_part;

typedef struct {
    qn_column *columns;
    int64_t columns_count;
    int64_t columns_max; /* room in `columns` */
    int64_t rows;
    /* For messages; NULL for requests, which say "instance N" (from 0). */
    const qn_frame_part *parts;
    int64_t parts_count;
} qn_frame;

/* Room for `columns_max` columns of `rows` rows, none present yet. Errors: ERR_MEMORY. Threads: any
 * (one per frame). */
QN_MUST_USE qn_status qn_frame_init(qn_frame *frame, qn_arena *arena, int64_t columns_max,
                                    int64_t rows, qn_error *err);
/* Adds a column and returns it with its storage allocated and zeroed; NULL = memory, or no room
 * left. */
qn_column *qn_frame_add(qn_frame *frame, qn_str name, qn_column_kind kind, qn_arena *arena);
double *qn_frame_numbers(qn_frame *frame, qn_str name, qn_arena *arena);
qn_str *qn_frame_strings(qn_frame *frame, qn_str name, qn_arena *arena);
/* An ARRAY column over the caller's array; its first dimension must be rows. */
qn_column *qn_frame_add_array(qn_frame *frame, qn_str name, const qn_tensor *array);
qn_column *qn_frame_find(const qn_frame *frame, qn_str name); /* NULL = absent */
/* Rows [first, first + count) as a frame of their own, over the same cells; messages keep the file's row numbers. */
QN_MUST_USE qn_status qn_frame_rows(const qn_frame *frame, int64_t first, int64_t count,
                                    qn_arena *arena, qn_frame *ret, qn_error *err);
/* false = memory */
bool qn_column_set_missing(qn_column *column, int64_t row, int64_t rows, qn_arena *arena);

static inline bool qn_column_missing(const qn_column *column, int64_t row)
{
    if (column->missing && column->missing[row])
        return true;
    return column->kind == QN_COLUMN_NUMBER && column->numbers[row] != column->numbers[row];
}
/* A cell as text: strings as they are, numbers in shortest form (into `scratch`), booleans as
 * true/false. */
qn_str qn_column_text(const qn_column *column, int64_t row, char scratch[32]);
/* "adult.csv, row 17, column 3 'age'" or "instance 2, column 'age'" into dst. */
void qn_frame_where(const qn_frame *frame, const qn_column *column, int64_t row, char dst[160]);

#endif
