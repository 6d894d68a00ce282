/*
 * The report's pictures of how a model learned and how it errs: learning curves, confusion matrix,
 * ROC, calibration, and for numbers the residuals.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "train/report_priv.h"

enum { CURVE_POINTS = 200, BINS = 10, CONFUSION_MAX = 30, LEGEND_MAX = 10, SCATTER_MAX = 1500 };
enum { RESIDUAL_BINS = 31 };

static qn_status no_memory(qn_error *err)
{
    return qn_error_set(err, QN_ERR_MEMORY, NULL, "out of memory for the report");
}

static void widen(double value, double *low, double *high)
{
    if (!isfinite(value))
        return;
    *low = isnan(*low) ? value : fmin(*low, value);
    *high = isnan(*high) ? value : fmax(*high, value);
}

/* --- learning curves --- */

typedef double (*qn_record_value)(const qn_epoch_record *record);
static double record_loss(const qn_epoch_record *record)
{
    return record->loss;
}
static double record_metric(const qn_epoch_record *record)
{
    return record->value;
}

static qn_status draw_history(qn_report *report, const char *title, qn_record_value value,
                              qn_error *err)
{
    const qn_fit *fit = report->result->fit;
    qn_chart chart = {
        .dst = report->dst, .x_low = 1, .x_high = 1, .y_low = (double)NAN, .y_high = (double)NAN};
    for (int c = 0; c < fit->candidates_count; c++)
        for (int64_t i = 0; i < fit->candidates[c].history_count; i++) {
            widen((double)(i + 1), &chart.x_low, &chart.x_high);
            widen(value(&fit->candidates[c].history[i]), &chart.y_low, &chart.y_high);
        }
    qn_chart_begin(&chart, title, "epoch", title);
    for (int c = 0; c < fit->candidates_count; c++) {
        const qn_candidate *candidate = &fit->candidates[c];
        int64_t count = candidate->history_count;
        int64_t stride = 1 + count / CURVE_POINTS, points = 0;
        double *x = QN_NEW(report->scratch, double, count + 1);
        double *y = QN_NEW(report->scratch, double, count + 1);
        if (!x || !y)
            return no_memory(err);
        for (int64_t i = 0; i < count; i += stride) {
            x[points] = (double)(i + 1);
            y[points++] = value(&candidate->history[i]);
        }
        if (count == 1) /* whole-data training: its level across the chart */
            qn_chart_level(&chart, y[0], c);
        else
            qn_chart_line(&chart, x, y, points, c);
        if (count > 1 && candidate->best_epoch > 0 && candidate->best_epoch <= count)
            qn_chart_dot(&chart, (double)candidate->best_epoch,
                         value(&candidate->history[candidate->best_epoch - 1]), 4, c);
    }
    qn_chart_end(&chart);
    return QN_OK;
}

qn_status qn_report_learning(qn_report *report, qn_error *err)
{
    const qn_fit *fit = report->result->fit;
    const char *names[QN_CANDIDATES_MAX];
    int64_t longest = 0;
    for (int c = 0; c < fit->candidates_count; c++) {
        names[c] = fit->candidates[c].name;
        longest = qn_max_i64(longest, fit->candidates[c].history_count);
    }
    if (longest < 2)
        return QN_OK;
    qn_buf_text(report->dst, "<h2>How it learned</h2><div class='row'>");
    QN_TRY(draw_history(report, "training loss", record_loss, err));
    QN_TRY(draw_history(report, qn_metric_name(fit->metric), record_metric, err));
    qn_buf_text(report->dst, "</div>");
    qn_chart_legend(report->dst, names, fit->candidates_count);
    qn_buf_printf(
        report->dst,
        "<p class='note'>The metric is measured on the %s part after each epoch; the dot "
        "marks the weights that were kept. A dashed line is a model without epochs.</p>\n",
        fit->split.valid_count > 0 ? "validation" : "training");
    return QN_OK;
}

/* --- confusion matrix --- */

static int64_t choice_of(const qn_outcome *outcome, int64_t row)
{
    const float *probability = outcome->probability + row * outcome->classes;
    int64_t best = 0;
    for (int64_t c = 1; c < outcome->classes; c++)
        best = probability[c] > probability[best] ? c : best;
    return best;
}

static void write_confusion_row(qn_buf *dst, const int64_t *row, int64_t label, int64_t classes)
{
    int64_t total = 0;
    for (int64_t c = 0; c < classes; c++)
        total += row[c];
    for (int64_t c = 0; c < classes; c++) {
        double share = total > 0 ? (double)row[c] / (double)total : 0;
        const char *colour = c == label ? "61,125,78" : "180,67,47";
        qn_buf_printf(dst, "<td style='background:rgba(%s,%.2f)'>%lld</td>", colour,
                      c == label ? 0.08 + 0.5 * share : fmin(0.75, 2.5 * share), (long long)row[c]);
    }
}

static qn_status write_confusion(qn_report *report, const qn_outcome *outcome, const qn_str *labels,
                                 qn_error *err)
{
    int64_t classes = outcome->classes;
    qn_buf *dst = report->dst;
    if (classes > CONFUSION_MAX)
        return QN_OK;
    int64_t *counts = QN_NEW(report->scratch, int64_t, classes * classes);
    if (!counts)
        return no_memory(err);
    for (int64_t row = 0; row < outcome->rows; row++)
        counts[outcome->labels[row] * classes + choice_of(outcome, row)]++;
    qn_buf_text(dst, "<h3>Confusion matrix</h3><div class='wide'><table class='conf'><tr><th>true "
                     "&#92; predicted</th>");
    for (int64_t c = 0; c < classes; c++) {
        qn_buf_text(dst, "<th>");
        qn_html_text(dst, labels[c]);
        qn_buf_text(dst, "</th>");
    }
    qn_buf_text(dst, "</tr>");
    for (int64_t label = 0; label < classes; label++) {
        qn_buf_text(dst, "<tr><th>");
        qn_html_text(dst, labels[label]);
        qn_buf_text(dst, "</th>");
        write_confusion_row(dst, counts + label * classes, label, classes);
        qn_buf_text(dst, "</tr>");
    }
    qn_buf_text(dst, "</table></div>\n");
    return QN_OK;
}

/* --- ROC --- */

typedef struct {
    float score;
    bool positive;
} qn_scored;

static int compare_scored(const void *a, const void *b)
{
    const qn_scored *left = a, *right = b;
    if (left->score != right->score)
        return left->score > right->score ? -1 : 1;
    return (int)right->positive - (int)left->positive;
}

static qn_status draw_roc_of(qn_report *report, qn_chart *chart, const qn_outcome *outcome,
                             int64_t class, int colour, qn_error *err)
{
    int64_t rows = outcome->rows, positives = 0, points = 0;
    qn_scored *scored = QN_NEW(report->scratch, qn_scored, rows);
    double *x = QN_NEW(report->scratch, double, CURVE_POINTS + 3);
    double *y = QN_NEW(report->scratch, double, CURVE_POINTS + 3);
    if (!scored || !x || !y)
        return no_memory(err);
    for (int64_t row = 0; row < rows; row++) {
        scored[row].score = outcome->probability[row * outcome->classes + class];
        scored[row].positive = outcome->labels[row] == class;
        positives += scored[row].positive;
    }
    int64_t negatives = rows - positives, hits = 0, alarms = 0;
    if (positives == 0 || negatives == 0)
        return QN_OK;
    qsort(scored, (size_t)rows, sizeof *scored, compare_scored);
    x[points] = y[points] = 0;
    points++;
    double moved = 0; /* along the curve since the last point, in both directions together */
    for (int64_t i = 0; i < rows; i++) {
        hits += scored[i].positive;
        alarms += !scored[i].positive;
        moved += scored[i].positive ? 1 / (double)positives : 1 / (double)negatives;
        bool tie = i + 1 < rows && scored[i + 1].score == scored[i].score;
        if (tie || (moved < 2.0 / CURVE_POINTS && i + 1 < rows))
            continue;
        x[points] = (double)alarms / (double)negatives;
        y[points++] = (double)hits / (double)positives;
        moved = 0;
    }
    qn_chart_line(chart, x, y, points, colour);
    return QN_OK;
}

static qn_status draw_roc(qn_report *report, const qn_outcome *outcome, qn_error *err)
{
    qn_chart chart = {.dst = report->dst, .x_high = 1, .y_high = 1};
    qn_chart_begin(&chart, "ROC", "false positive rate", "true positive rate");
    qn_chart_dashed(&chart, 0, 0, 1, 1);
    int64_t first = outcome->classes == 2 ? 1 : 0;
    for (int64_t c = first; c < qn_min_i64(outcome->classes, LEGEND_MAX); c++)
        QN_TRY(draw_roc_of(report, &chart, outcome, c, (int)(c - first), err));
    qn_chart_end(&chart);
    return QN_OK;
}

/* --- calibration --- */

typedef struct {
    double predicted[BINS], observed[BINS], rows[BINS];
} qn_reliability;

/* Two classes: probability of the second; more: of the chosen one. */
static qn_reliability collect_reliability(const qn_outcome *outcome)
{
    qn_reliability bins = {0};
    for (int64_t row = 0; row < outcome->rows; row++) {
        int64_t class = outcome->classes == 2 ? 1 : choice_of(outcome, row);
        double probability = (double)outcome->probability[row * outcome->classes + class];
        int bin = (int)(probability * BINS);
        bin = bin < 0 ? 0 : bin >= BINS ? BINS - 1 : bin;
        bins.predicted[bin] += probability;
        bins.observed[bin] += outcome->labels[row] == class;
        bins.rows[bin]++;
    }
    return bins;
}

static void draw_calibration(qn_report *report, const qn_outcome *outcome)
{
    qn_reliability bins = collect_reliability(outcome);
    double most = 1;
    double x[BINS], y[BINS];
    int points = 0;
    qn_chart chart = {.dst = report->dst, .x_high = 1, .y_high = 1};
    for (int bin = 0; bin < BINS; bin++)
        most = fmax(most, bins.rows[bin]);
    qn_chart_begin(&chart, "Calibration", "predicted probability", "share that was right");
    for (int bin = 0; bin < BINS; bin++)
        if (bins.rows[bin] > 0)
            qn_chart_bar(&chart, bin / (double)BINS, (bin + 1) / (double)BINS,
                         0.25 * bins.rows[bin] / most, 8);
    qn_chart_dashed(&chart, 0, 0, 1, 1);
    for (int bin = 0; bin < BINS; bin++) {
        if (bins.rows[bin] == 0)
            continue;
        x[points] = bins.predicted[bin] / bins.rows[bin];
        y[points] = bins.observed[bin] / bins.rows[bin];
        qn_chart_dot(&chart, x[points], y[points], 4, 0);
        points++;
    }
    qn_chart_line(&chart, x, y, points, 0);
    qn_chart_end(&chart);
}

qn_status qn_report_classes(qn_report *report, qn_error *err)
{
    const qn_outcome *outcome = &report->result->outcome[report->result->shown];
    int64_t count;
    const qn_str *labels = qn_transforms_labels(report->result->winner->data->transforms, &count);
    const char *names[LEGEND_MAX];
    int shown = 0;
    qn_buf_printf(report->dst,
                  "<h2>Where it errs</h2><p class='note'>%lld rows of the %s part.</p>",
                  (long long)outcome->rows, qn_part_names[report->result->shown]);
    QN_TRY(write_confusion(report, outcome, labels, err));
    qn_buf_text(report->dst, "<h3>Ranking and probabilities</h3><div class='row'>");
    QN_TRY(draw_roc(report, outcome, err));
    draw_calibration(report, outcome);
    qn_buf_text(report->dst, "</div>");
    for (int64_t c = count == 2 ? 1 : 0; c < count && shown < LEGEND_MAX; c++) {
        names[shown] = qn_arena_strndup(report->scratch, labels[c].data, labels[c].size);
        if (!names[shown++])
            return no_memory(err);
    }
    qn_chart_legend(report->dst, names, shown);
    qn_buf_text(report->dst, "<p class='note'>Grey bars: how many rows have such a probability. On "
                             "the dashed line probabilities are what they say.</p>\n");
    return QN_OK;
}

/* --- residuals --- */

static void draw_scatter(qn_report *report, const qn_outcome *outcome)
{
    double low = (double)NAN, high = (double)NAN;
    int64_t stride = 1 + outcome->rows / SCATTER_MAX;
    for (int64_t row = 0; row < outcome->rows; row++) {
        widen(outcome->truth[row], &low, &high);
        widen(outcome->number[row], &low, &high);
    }
    qn_chart chart = {
        .dst = report->dst, .x_low = low, .x_high = high, .y_low = low, .y_high = high};
    qn_chart_begin(&chart, "Prediction against truth", "truth", "prediction");
    qn_chart_dashed(&chart, chart.x_low, chart.x_low, chart.x_high, chart.x_high);
    for (int64_t row = 0; row < outcome->rows; row += stride)
        qn_chart_dot(&chart, outcome->truth[row], outcome->number[row], 2, 0);
    qn_chart_end(&chart);
}

static void draw_residuals(qn_report *report, const qn_outcome *outcome)
{
    double squares = 0, counts[RESIDUAL_BINS] = {0}, most = 1;
    for (int64_t row = 0; row < outcome->rows; row++) {
        double residual = outcome->number[row] - outcome->truth[row];
        squares += residual * residual;
    }
    double width = 6 * sqrt(squares / (double)qn_max_i64(outcome->rows, 1));
    width = width > 0 ? width : 1;
    for (int64_t row = 0; row < outcome->rows; row++) {
        double residual = outcome->number[row] - outcome->truth[row];
        int bin = (int)floor((residual / width + 0.5) * RESIDUAL_BINS);
        bin = bin < 0 ? 0 : bin >= RESIDUAL_BINS ? RESIDUAL_BINS - 1 : bin;
        most = fmax(most, ++counts[bin]);
    }
    qn_chart chart = {.dst = report->dst, .x_low = -width / 2, .x_high = width / 2, .y_high = most};
    qn_chart_begin(&chart, "Errors", "prediction - truth (ends hold the rest)", "rows");
    for (int bin = 0; bin < RESIDUAL_BINS; bin++)
        qn_chart_bar(&chart, width * (bin / (double)RESIDUAL_BINS - 0.5),
                     width * ((bin + 1) / (double)RESIDUAL_BINS - 0.5), counts[bin], 0);
    qn_chart_dashed(&chart, 0, 0, 0, most);
    qn_chart_end(&chart);
}

qn_status qn_report_residuals(qn_report *report, qn_error *err)
{
    const qn_outcome *outcome = &report->result->outcome[report->result->shown];
    (void)err;
    qn_buf_printf(report->dst,
                  "<h2>Where it errs</h2><p class='note'>%lld rows of the %s part.</p><div "
                  "class='row'>",
                  (long long)outcome->rows, qn_part_names[report->result->shown]);
    draw_scatter(report, outcome);
    draw_residuals(report, outcome);
    qn_buf_text(report->dst, "</div>\n");
    return QN_OK;
}
