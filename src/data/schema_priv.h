/*
 * The parts of schema inference: columns (schema.c), the target (schema_target.c), leaks (schema_leaks.c).
 */
#ifndef QN_DATA_SCHEMA_PRIV_H
#define QN_DATA_SCHEMA_PRIV_H

#include "data/dates.h"
#include "data/schema.h"

QN_MUST_USE qn_status qn_schema_infer_target(qn_schema *schema, const qn_frame *frame,
                                             const int64_t *rows, int64_t rows_count, qn_task asked,
                                             qn_arena *arena, qn_error *err);
/* Do all present cells of a STRING column read as dates in one order? */
bool qn_schema_find_date(const qn_column *column, const int64_t *rows, int64_t rows_count,
                         qn_date_order *ret, bool *ret_ambiguous);
/* Adds "did you mean 'x'?" to an error about an unknown column; returns `status`. */
qn_status qn_schema_hint_name(const qn_frame *frame, qn_str name, qn_status status, qn_error *err);
/* The target's cell as a label; false = missing. */
bool qn_schema_label(const qn_column *column, int64_t row, char scratch[32], qn_str *ret);

#endif
