/*
 * Targets that are arrays: errors, losses and the trivial answer row by row, for the metrics. Not here: what a network learns
 * them with (learner.h), and single values (metrics.h takes those as they are).
 */
#ifndef QN_TRAIN_ARRAYS_H
#define QN_TRAIN_ARRAYS_H

#include "data/transform.h"
#include "nn/losses.h"
#include "train/metrics.h"

typedef struct {
    const qn_target_array *target;
    qn_task task;
    int64_t rows;
    const void *truth;    /* [rows, target...] f32; i64 of task transcribe */
    const float *answers; /* [rows, answer...] as the model gives them */
    qn_shape answer;      /* of one row */
} qn_array_rows;

/* The loss that the target is learned by as it is (bce, kl, ctc), and the activation before the answers; false = scaled numbers. */
bool qn_arrays_loss(const qn_target_array *target, qn_nn_loss *ret, const char **ret_closing);

/* The answer of one who knows nothing of a row: the mean of each place over these rows; of labels all classes alike. Memory:
 * `arena`; NULL = no memory. */
const float *qn_arrays_constant(const qn_array_rows *in, qn_arena *arena);

/* What the metrics need. constant: the trivial answer, NULL = not wanted. Memory: `arena`. */
QN_MUST_USE qn_status qn_arrays_outcome(const qn_array_rows *in, const float *constant,
                                        qn_arena *arena, qn_outcome *ret, qn_error *err);

/* Rows of labels against answers [T, classes]: ERR_DATA names the row (frame_rows NULL = as counted here, from 1) whose labels are no
 * classes, are not filled up from behind, or need more steps than T. */
QN_MUST_USE qn_status qn_arrays_check_labels(const qn_array_rows *in, qn_str name,
                                             const int64_t *frame_rows, qn_error *err);

#endif
