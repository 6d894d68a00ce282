/*
 * What the files of the report share.
 */
#ifndef QN_TRAIN_REPORT_PRIV_H
#define QN_TRAIN_REPORT_PRIV_H

#include "train/chart.h"
#include "train/result_priv.h"

typedef struct {
    const qn_result *result;
    qn_buf *dst;
    qn_arena *scratch;
} qn_report;

/* --- report_curves.c: learning curves, ROC, calibration, confusion matrix, residuals --- */
QN_MUST_USE qn_status qn_report_learning(qn_report *report, qn_error *err);
QN_MUST_USE qn_status qn_report_classes(qn_report *report, qn_error *err);
QN_MUST_USE qn_status qn_report_residuals(qn_report *report, qn_error *err);

/* --- report_examples.c --- */
QN_MUST_USE qn_status qn_report_examples(qn_report *report, qn_error *err);

/* --- report_data.c: columns, split, findings, files, recipe --- */
QN_MUST_USE qn_status qn_report_data(qn_report *report, qn_error *err);

#endif
