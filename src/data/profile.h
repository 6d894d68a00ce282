/*
 * The profile of a data set that `quern look` prints and the report embeds: types with reasons,
 * statistics, problems.
 */
#ifndef QN_DATA_PROFILE_H
#define QN_DATA_PROFILE_H

#include "base/buf.h"
#include "data/dataset.h"
#include "data/schema.h"

typedef struct {
    qn_schema schema; /* findings of the data set and of the schema together */
    int64_t rows, rows_test;
    int64_t cells_missing;
    int64_t duplicates; /* rows equal to an earlier one */
    const char *kind;
    const char *const *files;
    int64_t files_count;
} qn_look;

QN_MUST_USE qn_status qn_look_make(const qn_dataset *dataset, const qn_schema_options *options,
                                   qn_arena *arena, qn_look *ret, qn_error *err);
/* For people: at most `columns` characters wide. */
void qn_look_write_text(const qn_look *look, int columns, qn_buf *dst);
void qn_look_write_json(const qn_look *look, qn_json_writer *w);

#endif
