/* Rows of JSON as a frame (tfs_rows.c), for the V1 protocol. */
#ifndef QN_SERVE_TFS_H
#define QN_SERVE_TFS_H

#include "oip.h"

/* {"b64": "..."}: a value, not a row */
bool qn_json_is_b64(const qn_json *value);

/* [{"age": 39, "city": "Oslo"}, ...], or bare values for a model with one column. Columns that are missing in a row are
 * missing values. Errors: ERR_ARG names instance and column. */
QN_MUST_USE qn_status qn_rows_from_instances(const qn_json *instances,
                                             const qn_signature *signature,
                                             const qn_serve_limits *limits, bool ignore_unknown,
                                             qn_arena *arena, qn_frame *ret, qn_error *err);
/* {"age": [39, 40], "city": ["Oslo", "Bergen"]}, or a bare list for a model with one column. */
QN_MUST_USE qn_status qn_rows_from_columns(const qn_json *inputs, const qn_signature *signature,
                                           const qn_serve_limits *limits, bool ignore_unknown,
                                           qn_arena *arena, qn_frame *ret, qn_error *err);

#endif
