/*
 * A model against labelled rows: metrics with intervals, the trivial baseline, and the same metric on slices of
 * the rows. What `quern eval` says; the slices are also part of a training's metrics.json.
 */
#ifndef QN_TRAIN_EVALUATE_H
#define QN_TRAIN_EVALUATE_H

#include "base/json.h"
#include "data/frame.h"
#include "data/transform.h"
#include "model/predictor.h"
#include "train/metrics.h"

/* The rows whose category column has one level. */
typedef struct {
    qn_str column, level;
    int64_t rows;
    double value; /* of the slicing metric; NaN: not defined on these rows */
} qn_slice;

typedef struct {
    qn_metric metric;
    qn_slice *items; /* worst first */
    int64_t count;
} qn_slices;

enum { QN_SLICE_ROWS_MIN = 30, QN_SLICES_MAX = 100 };

/* Slices by every category and binary column, the ten most frequent levels of each with at least 30 rows.
 * frame_rows: the frame's row of each row of the outcome, NULL = the same. Memory: results in `arena`. */
QN_MUST_USE qn_status qn_slices_of(const qn_outcome *outcome, const qn_frame *frame,
                                   const int64_t *frame_rows, const qn_transforms *transforms,
                                   qn_metric metric, qn_arena *arena, qn_slices *ret,
                                   qn_error *err);
/* [{"column":, "level":, "rows":, METRIC: value}, ...] */
void qn_slices_write_json(const qn_slices *slices, qn_json_writer *w);

typedef struct {
    bool ignore_unknown; /* columns that the model does not know */
    uint64_t seed;       /* of the bootstrap */
} qn_eval_options;

typedef struct {
    qn_task task;
    int64_t rows;            /* with a target */
    int64_t rows_unlabelled; /* left out */
    qn_metric_set metrics;
    /* the best constant answer: class shares of the training part, or its mean */
    qn_metric_set baseline;
    qn_slices slices;
} qn_eval;

/* `frame` holds the model's columns and its target. Memory: results in `arena`. Errors: ERR_ARG without a
 * target; ERR_DATA naming row and label when a label is unknown. */
QN_MUST_USE qn_status qn_eval_run(qn_predictor *predictor, const qn_frame *frame,
                                  const qn_eval_options *options, qn_arena *arena, qn_eval *ret,
                                  qn_error *err);
/* {"task":, "test": {...}, "baseline": {...}, "slices": [...], "rows": {"test":}} */
void qn_eval_write_json(const qn_eval *eval, qn_json_writer *w);

#endif
