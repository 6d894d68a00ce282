/*
 * What is known at the end of a run, for metrics.json, the model card and the report.
 */
#ifndef QN_TRAIN_RESULT_PRIV_H
#define QN_TRAIN_RESULT_PRIV_H

#include "train/evaluate.h"
#include "train/fit_priv.h"

typedef struct {
    const qn_fit *fit;
    const qn_candidate *winner;
    qn_outcome outcome[QN_PARTS]; /* rows 0: not measured (train, or an empty part) */
    qn_metric_set metrics[QN_PARTS];
    qn_part shown;          /* the part that tables and pictures show: test, or valid, or train */
    qn_metric_set baseline; /* on the shown part */
    qn_slices slices;       /* of the shown part */
} qn_result;

/* --- card.c --- */
void qn_card_write(const qn_result *result, qn_buf *dst);

/* --- report.c --- */
QN_MUST_USE qn_status qn_report_write(const qn_result *result, qn_arena *scratch, qn_buf *dst,
                                      qn_error *err);

#endif
