/*
 * Metrics of predictions against truth, with bootstrap confidence intervals, the trivial baseline
 * beside them and slices by category.
 *
 * Definitions are those of scikit-learn where it has them; ece uses 15 equal-width bins of the top
 * probability (Guo et al., 2017); smape is in percent with the mean of both magnitudes below.
 */
#ifndef QN_TRAIN_METRICS_H
#define QN_TRAIN_METRICS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/json.h"
#include "data/schema.h"

typedef enum {
    QN_METRIC_ACCURACY,
    QN_METRIC_BALANCED_ACCURACY,
    QN_METRIC_AUROC, /* multiclass: mean of one against the rest */
    QN_METRIC_AUPRC, /* average precision */
    QN_METRIC_LOG_LOSS,
    QN_METRIC_BRIER,
    QN_METRIC_ECE,
    QN_METRIC_F1, /* of the second label */
    QN_METRIC_F1_MACRO,
    QN_METRIC_MCC,
    QN_METRIC_TOP5,
    QN_METRIC_RMSE,
    QN_METRIC_MAE,
    QN_METRIC_R2,
    QN_METRIC_MAPE,
    QN_METRIC_SMAPE,
    QN_METRIC_MSE,
    QN_METRIC_LOSS, /* the loss itself: bce, kl and ctc of arrays */
    QN_METRIC_CER, /* labels wrong, missing or too many among those there are; best path of each step */
    QN_METRIC_COUNT
} qn_metric;

const char *qn_metric_name(qn_metric metric); /* "auroc" */
bool qn_metric_find(qn_str name, qn_metric *ret);
bool qn_metric_higher_is_better(qn_metric metric);
bool qn_metric_applies(qn_metric metric, qn_task task, int64_t classes);
qn_metric qn_metric_default(qn_task task); /* auroc, accuracy, rmse, loss */

/* Targets that are arrays: what one row adds up to. */
typedef struct {
    double square, absolute, relative, symmetric; /* of errors, over the row's numbers */
    double spread;        /* squares of the truth about the mean of each place in the array */
    double loss;          /* by train.loss, where the metric `loss` applies */
    double edits, labels; /* task transcribe: the edit distance, and how many labels there are */
} qn_row_sums;

/* Truth and answers of `rows` rows. */
typedef struct {
    qn_task task;
    int64_t rows;
    int64_t classes;
    const int64_t *labels;    /* [rows] class index; classes only */
    const float *probability; /* [rows, classes] */
    const double *truth;      /* [rows] regression */
    const double *number;     /* [rows] regression */
    /* Arrays (train/arrays.h) have these instead: */
    const qn_row_sums *sums;    /* [rows]; NULL = one value a row */
    const qn_row_sums *trivial; /* [rows] of the trivial answer; NULL = not asked for */
    int64_t width;              /* numbers in one row */
    bool has_loss;
} qn_outcome;

typedef struct {
    qn_metric metric;
    double value; /* NaN: not defined on these rows */
    double low, high;
} qn_metric_value;

typedef struct {
    qn_metric_value items[QN_METRIC_COUNT];
    int count;
} qn_metric_set;

/* What weights are chosen by: the metric and, where that is equal, the loss. A NaN is the worst. */
typedef struct {
    double value;
    double loss; /* log loss of classes, mean squared error of numbers */
} qn_score;
bool qn_score_is_better(qn_metric metric, const qn_score *score, const qn_score *than);

/* For people: shares and losses with four decimals, amounts with as many digits as tell something, "-" for NaN. */
const char *qn_metric_text(double value, char dst[32]);

/* One metric, no interval: what early stopping watches. Memory: sorting space in `scratch`. */
QN_MUST_USE qn_status qn_metric_of(qn_metric metric, const qn_outcome *outcome, qn_arena *scratch,
                                   qn_score *ret, qn_error *err);
/* All that apply, with 95 % percentile intervals from `rounds` bootstrap samples (0 = values only).
 * Large parts are resampled as weighted histograms, so that the cost stays below a third of a
 * second whatever the rows. Same seed, same bits. */
QN_MUST_USE qn_status qn_metrics_of(const qn_outcome *outcome, int rounds, uint64_t seed,
                                    qn_arena *scratch, qn_metric_set *ret, qn_error *err);
/* The trivial answer for the same rows: class shares of training (or their mean) for everyone. */
QN_MUST_USE qn_status qn_metrics_baseline(const qn_outcome *outcome, const double *train_shares,
                                          double train_mean, qn_arena *scratch, qn_metric_set *ret,
                                          qn_error *err);
const qn_metric_value *qn_metric_set_find(const qn_metric_set *set, qn_metric metric);
/* {"auroc": {"value":, "low":, "high":}, ...} */
void qn_metric_set_write_json(const qn_metric_set *set, qn_json_writer *w);

#endif
