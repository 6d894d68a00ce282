/*
 * Metrics and their bootstrap intervals.
 *
 * Every metric here is a function of weighted rows. The rows are prepared once (errors per row, the
 * order of scores with ties marked); a value is one pass with weight 1 everywhere, and a bootstrap
 * sample (Efron, 1979) is the same pass with the row's count in a sample drawn with replacement, so
 * that nothing is sorted or copied again. Above SAMPLE_ROWS rows the samples are drawn from a
 * random subset of that size and the deviations are scaled by sqrt(subset / rows), the m out of n
 * bootstrap.
 */
#include "train/metrics.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/rng.h"

enum { SAMPLE_ROWS = 20000, ECE_BINS = 15, TOP = 5 };
enum { STREAM_SUBSET = 0x6d657401, STREAM_SAMPLE = 0x6d657402 };
/* Passes over rows x classes that all samples together may take: about 0.1 s. */
static const double WORK_MAX = 1.5e7;
enum { ROUNDS_MIN = 20 };

static const struct {
    const char *name;
    bool higher;
    bool classes;     /* of class tasks, otherwise of regression */
    bool binary_only; /* two labels */
    int64_t classes_min;
} table[QN_METRIC_COUNT] = {
    [QN_METRIC_ACCURACY] = {"accuracy", true, true, false, 2},
    [QN_METRIC_BALANCED_ACCURACY] = {"balanced_accuracy", true, true, false, 2},
    [QN_METRIC_AUROC] = {"auroc", true, true, false, 2},
    [QN_METRIC_AUPRC] = {"auprc", true, true, false, 2},
    [QN_METRIC_LOG_LOSS] = {"log_loss", false, true, false, 2},
    [QN_METRIC_BRIER] = {"brier", false, true, false, 2},
    [QN_METRIC_ECE] = {"ece", false, true, false, 2},
    [QN_METRIC_F1] = {"f1", true, true, true, 2},
    [QN_METRIC_F1_MACRO] = {"f1_macro", true, true, false, 2},
    [QN_METRIC_MCC] = {"mcc", true, true, false, 2},
    [QN_METRIC_TOP5] = {"top5", true, true, false, TOP + 1},
    [QN_METRIC_RMSE] = {"rmse", false, false, false, 0},
    [QN_METRIC_MAE] = {"mae", false, false, false, 0},
    [QN_METRIC_R2] = {"r2", true, false, false, 0},
    [QN_METRIC_MAPE] = {"mape", false, false, false, 0},
    [QN_METRIC_SMAPE] = {"smape", false, false, false, 0},
    [QN_METRIC_MSE] = {"mse", false, false, false, 0},
    [QN_METRIC_LOSS] = {"loss", false, false, false, 0},
    [QN_METRIC_CER] = {"cer", false, false, false, 0},
};

const char *qn_metric_name(qn_metric metric)
{
    return table[metric].name;
}

bool qn_metric_find(qn_str name, qn_metric *ret)
{
    for (int i = 0; i < QN_METRIC_COUNT; i++) {
        if (qn_str_is(name, table[i].name)) {
            *ret = (qn_metric)i;
            return true;
        }
    }
    return false;
}

bool qn_metric_higher_is_better(qn_metric metric)
{
    return table[metric].higher;
}

bool qn_metric_applies(qn_metric metric, qn_task task, int64_t classes)
{
    bool labels = metric == QN_METRIC_LOSS || metric == QN_METRIC_CER;
    if (task == QN_TASK_TRANSCRIBE || labels)
        return task == QN_TASK_TRANSCRIBE && labels;
    if (task == QN_TASK_REGRESSION)
        return !table[metric].classes;
    return table[metric].classes && classes >= table[metric].classes_min &&
           (!table[metric].binary_only || classes == 2);
}

bool qn_score_is_better(qn_metric metric, const qn_score *score, const qn_score *than)
{
    double sign = table[metric].higher ? 1 : -1;
    if (isnan(score->value) || isnan(than->value))
        return !isnan(score->value);
    if (score->value != than->value)
        return sign * score->value > sign * than->value;
    return score->loss < than->loss || (isnan(than->loss) && !isnan(score->loss));
}

const char *qn_metric_text(double value, char dst[32])
{
    double size = fabs(value);
    if (isnan(value))
        (void)snprintf(dst, 32, "-");
    else if (size < 1000)
        (void)snprintf(dst, 32, "%.4f", value);
    else
        (void)snprintf(dst, 32, size < 1e7 ? "%.1f" : "%.4g", value);
    return dst;
}

qn_metric qn_metric_default(qn_task task)
{
    if (task == QN_TASK_BINARY)
        return QN_METRIC_AUROC;
    if (task == QN_TASK_TRANSCRIBE)
        return QN_METRIC_LOSS;
    return task == QN_TASK_REGRESSION ? QN_METRIC_RMSE : QN_METRIC_ACCURACY;
}

/* --- preparing --- */

typedef struct {
    float score;
    int32_t row;
} qn_ranked;

/* Rows of one evaluation, or of the subset that samples are drawn from. */
typedef struct {
    int64_t rows, classes;
    int64_t ranked_classes; /* 1 for binary (the second label), otherwise all */
    const qn_outcome *source;
    const int32_t *subset;   /* row i here is row subset[i] of the source; NULL = row i */
    int32_t *label, *choice; /* classes */
    double *log_loss, *brier, *confidence;
    uint8_t *top;
    qn_ranked *ranked; /* [ranked_classes, rows], ascending scores */
    double *truth, *error;
    double *confusion; /* [classes, classes] of the pass in hand */
} qn_prepared;

static int64_t source_row(const qn_prepared *p, int64_t row)
{
    return p->subset ? p->subset[row] : row;
}

static int compare_ranked(const void *a, const void *b)
{
    const qn_ranked *left = a, *right = b;
    if (left->score != right->score)
        return left->score < right->score ? -1 : 1;
    return (left->row > right->row) - (left->row < right->row);
}

static void rank_class(qn_prepared *p, int64_t index, int64_t class)
{
    qn_ranked *ranked = p->ranked + index * p->rows;
    for (int64_t row = 0; row < p->rows; row++) {
        float score = p->source->probability[source_row(p, row) * p->classes + class];
        ranked[row] = (qn_ranked){isnan(score) ? 0 : score, (int32_t)row};
    }
    qsort(ranked, (size_t)p->rows, sizeof *ranked, compare_ranked);
}

static void prepare_class_row(qn_prepared *p, int64_t row)
{
    const float *probability = p->source->probability + source_row(p, row) * p->classes;
    int32_t label = (int32_t)p->source->labels[source_row(p, row)];
    int32_t best = 0;
    int above = 0;
    double brier = 0;
    for (int32_t c = 0; c < p->classes; c++) {
        best = probability[c] > probability[best] ? c : best;
        above += probability[c] > probability[label];
        double miss = (double)probability[c] - (c == label);
        brier += miss * miss;
    }
    p->label[row] = label;
    p->choice[row] = best;
    p->confidence[row] = (double)probability[best];
    p->top[row] = above < TOP;
    p->brier[row] = p->classes == 2 ? brier / 2 : brier;
    p->log_loss[row] = -log(fmax((double)probability[label], 1e-15));
}

static bool allocate_classes(qn_prepared *p, bool ranks, qn_arena *scratch)
{
    p->label = QN_NEW(scratch, int32_t, p->rows);
    p->choice = QN_NEW(scratch, int32_t, p->rows);
    p->log_loss = QN_NEW(scratch, double, p->rows);
    p->brier = QN_NEW(scratch, double, p->rows);
    p->confidence = QN_NEW(scratch, double, p->rows);
    p->top = QN_NEW(scratch, uint8_t, p->rows);
    p->confusion = QN_NEW(scratch, double, p->classes * p->classes);
    if (ranks)
        p->ranked = QN_NEW(scratch, qn_ranked, p->rows * p->ranked_classes);
    return p->label && p->choice && p->log_loss && p->brier && p->confidence && p->top &&
           p->confusion && (!ranks || p->ranked);
}

static qn_status prepare(const qn_outcome *outcome, const int32_t *subset, int64_t rows, bool ranks,
                         qn_arena *scratch, qn_prepared *p, qn_error *err)
{
    *p = (qn_prepared){
        .rows = rows, .classes = outcome->classes, .source = outcome, .subset = subset};
    if (outcome->sums)
        return QN_OK;
    if (outcome->task == QN_TASK_REGRESSION) {
        p->truth = QN_NEW(scratch, double, rows);
        p->error = QN_NEW(scratch, double, rows);
        if (!p->truth || !p->error)
            QN_FAIL(err, QN_ERR_MEMORY, "out of memory for metrics of %lld rows", (long long)rows);
        for (int64_t row = 0; row < rows; row++) {
            p->truth[row] = outcome->truth[source_row(p, row)];
            p->error[row] = outcome->number[source_row(p, row)] - p->truth[row];
        }
        return QN_OK;
    }
    p->ranked_classes = outcome->classes == 2 ? 1 : outcome->classes;
    if (!allocate_classes(p, ranks, scratch))
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory for metrics of %lld rows", (long long)rows);
    for (int64_t row = 0; row < rows; row++)
        prepare_class_row(p, row);
    for (int64_t c = 0; ranks && c < p->ranked_classes; c++)
        rank_class(p, c, outcome->classes == 2 ? 1 : c);
    return QN_OK;
}

/* --- one pass; weights[row] counts the row, NULL counts each once --- */

static double weight_of(const uint16_t *weights, int64_t row)
{
    return weights ? weights[row] : 1;
}

typedef struct {
    double auroc, auprc;
    bool defined;
} qn_ranking;

/* Both curves in one walk from the highest score down. Rows of equal score enter together: the
 * trapezoid for the ROC curve, the step for average precision. */
static qn_ranking walk_ranking(const qn_prepared *p, int64_t index, int32_t class,
                               const uint16_t *weights)
{
    const qn_ranked *ranked = p->ranked + index * p->rows;
    double positives = 0, negatives = 0, area = 0, precision = 0;
    for (int64_t i = p->rows - 1; i >= 0;) {
        double group_positives = 0, group_negatives = 0;
        float score = ranked[i].score;
        for (; i >= 0 && ranked[i].score == score; i--) {
            double weight = weight_of(weights, ranked[i].row);
            if (p->label[ranked[i].row] == class)
                group_positives += weight;
            else
                group_negatives += weight;
        }
        area += group_negatives * (positives + group_positives / 2);
        positives += group_positives;
        negatives += group_negatives;
        if (group_positives > 0)
            precision += group_positives * positives / (positives + negatives);
    }
    if (positives <= 0 || negatives <= 0)
        return (qn_ranking){NAN, NAN, false};
    return (qn_ranking){area / (positives * negatives), precision / positives, true};
}

static void set_rankings(const qn_prepared *p, const uint16_t *weights, double *values)
{
    double auroc = 0, auprc = 0;
    int64_t defined = 0;
    for (int64_t c = 0; c < p->ranked_classes; c++) {
        int32_t class = p->classes == 2 ? 1 : (int32_t)c;
        qn_ranking ranking = walk_ranking(p, c, class, weights);
        if (!ranking.defined)
            continue;
        auroc += ranking.auroc;
        auprc += ranking.auprc;
        defined++;
    }
    values[QN_METRIC_AUROC] = defined > 0 ? auroc / (double)defined : (double)NAN;
    values[QN_METRIC_AUPRC] = defined > 0 ? auprc / (double)defined : (double)NAN;
}

/* Everything that follows from the confusion matrix [label, choice]. */
static void set_confusion(const qn_prepared *p, double total, double *values)
{
    double right = 0, recall = 0, f1_sum = 0, f1_last = 0;
    double square_labels = 0, square_choices = 0, cross = 0;
    int64_t present = 0, mentioned = 0;
    for (int64_t c = 0; c < p->classes; c++) {
        double labels = 0, choices = 0, hits = p->confusion[c * p->classes + c];
        for (int64_t k = 0; k < p->classes; k++) {
            labels += p->confusion[c * p->classes + k];
            choices += p->confusion[k * p->classes + c];
        }
        right += hits;
        if (labels > 0) {
            recall += hits / labels;
            present++;
        }
        f1_last = labels + choices > 0 ? 2 * hits / (labels + choices) : 0;
        mentioned += labels + choices > 0;
        f1_sum += f1_last;
        square_labels += labels * labels;
        square_choices += choices * choices;
        cross += labels * choices;
    }
    values[QN_METRIC_ACCURACY] = right / total;
    values[QN_METRIC_BALANCED_ACCURACY] = present > 0 ? recall / (double)present : (double)NAN;
    values[QN_METRIC_F1] = f1_last;
    values[QN_METRIC_F1_MACRO] = mentioned > 0 ? f1_sum / (double)mentioned : (double)NAN;
    /* Gorodkin, 2004: Matthews' coefficient for any number of classes. */
    double spread = (total * total - square_choices) * (total * total - square_labels);
    values[QN_METRIC_MCC] = spread > 0 ? (right * total - cross) / sqrt(spread) : 0;
}

static void set_classes(qn_prepared *p, const uint16_t *weights, double *values)
{
    double total = 0, log_loss = 0, brier = 0, top = 0;
    double bin_weight[ECE_BINS] = {0}, bin_gap[ECE_BINS] = {0};
    memset(p->confusion, 0, (size_t)(p->classes * p->classes) * sizeof *p->confusion);
    for (int64_t row = 0; row < p->rows; row++) {
        double weight = weight_of(weights, row);
        int bin = (int)(p->confidence[row] * ECE_BINS);
        bin = bin < 0 ? 0 : bin >= ECE_BINS ? ECE_BINS - 1 : bin;
        bool right = p->label[row] == p->choice[row];
        total += weight;
        log_loss += weight * p->log_loss[row];
        brier += weight * p->brier[row];
        top += weight * p->top[row];
        p->confusion[p->label[row] * p->classes + p->choice[row]] += weight;
        bin_weight[bin] += weight;
        bin_gap[bin] += weight * (p->confidence[row] - right);
    }
    double ece = 0;
    for (int bin = 0; bin < ECE_BINS; bin++)
        ece += fabs(bin_gap[bin]);
    values[QN_METRIC_LOG_LOSS] = log_loss / total;
    values[QN_METRIC_BRIER] = brier / total;
    values[QN_METRIC_TOP5] = top / total;
    values[QN_METRIC_ECE] = ece / total;
    set_confusion(p, total, values);
    if (p->ranked)
        set_rankings(p, weights, values);
}

static void set_regression(const qn_prepared *p, const uint16_t *weights, double *values)
{
    double total = 0, square = 0, absolute = 0, relative = 0, symmetric = 0, sum = 0;
    for (int64_t row = 0; row < p->rows; row++) {
        double weight = weight_of(weights, row), truth = p->truth[row], error = p->error[row];
        double both = fabs(truth) + fabs(truth + error);
        total += weight;
        sum += weight * truth;
        square += weight * error * error;
        absolute += weight * fabs(error);
        relative += weight * (truth != 0 ? fabs(error / truth) : (double)INFINITY);
        symmetric += weight * (both > 0 ? 2 * fabs(error) / both : 0);
    }
    double mean = sum / total, variance = 0;
    for (int64_t row = 0; row < p->rows; row++)
        variance += weight_of(weights, row) * (p->truth[row] - mean) * (p->truth[row] - mean);
    values[QN_METRIC_MSE] = square / total;
    values[QN_METRIC_RMSE] = sqrt(square / total);
    values[QN_METRIC_MAE] = absolute / total;
    values[QN_METRIC_MAPE] = isfinite(relative) ? 100 * relative / total : (double)NAN;
    values[QN_METRIC_SMAPE] = 100 * symmetric / total;
    values[QN_METRIC_R2] = variance > 0 ? 1 - square / variance : (double)NAN;
}

/* The same over the numbers of arrays; R2 beside the mean of each place, whose squares are added up (scikit-learn's
 * variance_weighted). A bootstrap sample keeps those means. */
static void set_arrays(const qn_prepared *p, const uint16_t *weights, double *values)
{
    qn_row_sums sum = {0};
    double rows = 0;
    for (int64_t row = 0; row < p->rows; row++) {
        const qn_row_sums *of = &p->source->sums[source_row(p, row)];
        double weight = weight_of(weights, row);
        rows += weight;
        sum.square += weight * of->square;
        sum.absolute += weight * of->absolute;
        sum.relative += weight * of->relative;
        sum.symmetric += weight * of->symmetric;
        sum.spread += weight * of->spread;
        sum.loss += weight * of->loss;
        sum.edits += weight * of->edits;
        sum.labels += weight * of->labels;
    }
    double count = rows * (double)p->source->width;
    values[QN_METRIC_LOSS] = sum.loss / rows;
    values[QN_METRIC_CER] = sum.labels > 0 ? sum.edits / sum.labels : (double)NAN;
    values[QN_METRIC_MSE] = sum.square / count;
    values[QN_METRIC_RMSE] = sqrt(sum.square / count);
    values[QN_METRIC_MAE] = sum.absolute / count;
    values[QN_METRIC_MAPE] = isfinite(sum.relative) ? 100 * sum.relative / count : (double)NAN;
    values[QN_METRIC_SMAPE] = 100 * sum.symmetric / count;
    values[QN_METRIC_R2] = sum.spread > 0 ? 1 - sum.square / sum.spread : (double)NAN;
}

static void pass(qn_prepared *p, const uint16_t *weights, double *values)
{
    for (int i = 0; i < QN_METRIC_COUNT; i++)
        values[i] = NAN;
    if (p->rows == 0)
        return;
    if (p->source->sums)
        set_arrays(p, weights, values);
    else if (p->source->task == QN_TASK_REGRESSION)
        set_regression(p, weights, values);
    else
        set_classes(p, weights, values);
}

/* --- intervals --- */

static void draw_sample(uint16_t *weights, int64_t rows, uint64_t seed, uint32_t round)
{
    qn_rng rng = {.seed = seed, .stream = STREAM_SAMPLE, .step = round};
    memset(weights, 0, (size_t)rows * sizeof *weights);
    for (int64_t i = 0; i < rows; i += 4) {
        uint32_t words[4];
        qn_rng_block(rng, (uint64_t)(i / 4), words);
        for (int64_t k = 0; k < 4 && i + k < rows; k++) {
            /* Lemire's multiplication instead of a remainder; the bias is below rows / 2^32. */
            uint64_t row = ((uint64_t)words[k] * (uint64_t)rows) >> 32;
            weights[row]++;
        }
    }
}

static int compare_doubles(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

/* 2.5 and 97.5 percent of the samples' deviations from `centre`, laid around `value`. */
static void set_interval(qn_metric_value *item, double *samples, int count, double centre,
                         double scale)
{
    int kept = 0;
    for (int i = 0; i < count; i++)
        if (isfinite(samples[i]))
            samples[kept++] = samples[i];
    item->low = item->high = item->value;
    if (kept < ROUNDS_MIN / 2 || !isfinite(item->value))
        return;
    qsort(samples, (size_t)kept, sizeof *samples, compare_doubles);
    double low = samples[(int)(0.025 * (kept - 1))], high = samples[(int)ceil(0.975 * (kept - 1))];
    item->low = item->value + (low - centre) * scale;
    item->high = item->value + (high - centre) * scale;
}

static int32_t *draw_subset(int64_t rows, uint64_t seed, qn_arena *scratch)
{
    int64_t *all = QN_NEW(scratch, int64_t, rows);
    int32_t *subset = QN_NEW(scratch, int32_t, SAMPLE_ROWS);
    if (!all || !subset)
        return NULL;
    for (int64_t i = 0; i < rows; i++)
        all[i] = i;
    qn_rng_shuffle((qn_rng){.seed = seed, .stream = STREAM_SUBSET}, all, rows);
    for (int64_t i = 0; i < SAMPLE_ROWS; i++)
        subset[i] = (int32_t)all[i];
    return subset;
}

static qn_status set_intervals(const qn_outcome *outcome, qn_prepared *whole, int rounds,
                               uint64_t seed, qn_arena *scratch, qn_metric_set *set, qn_error *err)
{
    qn_prepared part = *whole;
    double scale = 1, centre[QN_METRIC_COUNT], values[QN_METRIC_COUNT];
    if (outcome->rows > SAMPLE_ROWS) {
        int32_t *subset = draw_subset(outcome->rows, seed, scratch);
        if (!subset)
            QN_FAIL(err, QN_ERR_MEMORY, "out of memory for confidence intervals");
        QN_TRY(prepare(outcome, subset, SAMPLE_ROWS, whole->ranked != NULL, scratch, &part, err));
        scale = sqrt((double)SAMPLE_ROWS / (double)outcome->rows);
    }
    double work = (double)part.rows * (double)qn_max_i64(2, part.ranked_classes);
    rounds = (int)fmax(ROUNDS_MIN, fmin(rounds, WORK_MAX / work));
    uint16_t *weights = QN_NEW(scratch, uint16_t, part.rows);
    double *samples = QN_NEW(scratch, double, (int64_t)rounds *QN_METRIC_COUNT);
    if (!weights || !samples)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory for confidence intervals");
    pass(&part, NULL, centre);
    for (int round = 0; round < rounds; round++) {
        draw_sample(weights, part.rows, seed, (uint32_t)round);
        pass(&part, weights, values);
        for (int i = 0; i < QN_METRIC_COUNT; i++)
            samples[i * rounds + round] = values[i];
    }
    for (int i = 0; i < set->count; i++) {
        qn_metric metric = set->items[i].metric;
        set_interval(&set->items[i], samples + (int64_t)metric * rounds, rounds, centre[metric],
                     scale);
    }
    return QN_OK;
}

/* --- the public calls --- */

static qn_status check_rows(const qn_outcome *outcome, qn_error *err)
{
    if (outcome->rows > INT32_MAX)
        QN_FAIL(err, QN_ERR_BUDGET, "metrics of %lld rows; at most %d fit",
                (long long)outcome->rows, INT32_MAX);
    return QN_OK;
}

qn_status qn_metric_of(qn_metric metric, const qn_outcome *outcome, qn_arena *scratch,
                       qn_score *ret, qn_error *err)
{
    qn_prepared p;
    double values[QN_METRIC_COUNT];
    bool ranks = metric == QN_METRIC_AUROC || metric == QN_METRIC_AUPRC;
    QN_TRY(check_rows(outcome, err));
    QN_TRY(prepare(outcome, NULL, outcome->rows, ranks, scratch, &p, err));
    pass(&p, NULL, values);
    qn_metric loss = outcome->has_loss                     ? QN_METRIC_LOSS
                     : outcome->task == QN_TASK_REGRESSION ? QN_METRIC_MSE
                                                           : QN_METRIC_LOG_LOSS;
    *ret = (qn_score){values[metric], values[loss]};
    return QN_OK;
}

qn_status qn_metrics_of(const qn_outcome *outcome, int rounds, uint64_t seed, qn_arena *scratch,
                        qn_metric_set *ret, qn_error *err)
{
    qn_prepared p;
    qn_metric_set set = {0};
    double values[QN_METRIC_COUNT];
    QN_TRY(check_rows(outcome, err));
    QN_TRY(prepare(outcome, NULL, outcome->rows, true, scratch, &p, err));
    pass(&p, NULL, values);
    for (int i = 0; i < QN_METRIC_COUNT; i++) {
        bool loss = i == QN_METRIC_LOSS && outcome->has_loss;
        if (!loss && !qn_metric_applies((qn_metric)i, outcome->task, outcome->classes))
            continue;
        set.items[set.count++] = (qn_metric_value){(qn_metric)i, values[i], values[i], values[i]};
    }
    if (rounds > 0 && outcome->rows > 0)
        QN_TRY(set_intervals(outcome, &p, rounds, seed, scratch, &set, err));
    *ret = set;
    return QN_OK;
}

qn_status qn_metrics_baseline(const qn_outcome *outcome, const double *train_shares,
                              double train_mean, qn_arena *scratch, qn_metric_set *ret,
                              qn_error *err)
{
    qn_outcome trivial = *outcome;
    if (outcome->sums) {
        QN_ASSERT(outcome->trivial);
        trivial.sums = outcome->trivial;
    } else if (outcome->task == QN_TASK_REGRESSION) {
        double *number = QN_NEW(scratch, double, outcome->rows);
        if (!number)
            QN_FAIL(err, QN_ERR_MEMORY, "out of memory for the baseline");
        for (int64_t row = 0; row < outcome->rows; row++)
            number[row] = train_mean;
        trivial.number = number;
    } else {
        float *probability = QN_NEW(scratch, float, outcome->rows * outcome->classes);
        if (!probability)
            QN_FAIL(err, QN_ERR_MEMORY, "out of memory for the baseline");
        for (int64_t i = 0; i < outcome->rows * outcome->classes; i++)
            probability[i] = (float)train_shares[i % outcome->classes];
        trivial.probability = probability;
    }
    return qn_metrics_of(&trivial, 0, 0, scratch, ret, err);
}

const qn_metric_value *qn_metric_set_find(const qn_metric_set *set, qn_metric metric)
{
    for (int i = 0; i < set->count; i++)
        if (set->items[i].metric == metric)
            return &set->items[i];
    return NULL;
}

void qn_metric_set_write_json(const qn_metric_set *set, qn_json_writer *w)
{
    qn_json_object_begin(w);
    for (int i = 0; i < set->count; i++) {
        qn_json_key(w, qn_metric_name(set->items[i].metric));
        qn_json_object_begin(w);
        qn_json_put_f64(w, "value", set->items[i].value);
        qn_json_put_f64(w, "low", set->items[i].low);
        qn_json_put_f64(w, "high", set->items[i].high);
        qn_json_object_end(w);
    }
    qn_json_object_end(w);
}
