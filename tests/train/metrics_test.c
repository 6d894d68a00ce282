/*
 * Metrics against values worked out by hand or by definition, and the properties of their intervals.
 */
#include "testing.h"

#include <math.h>

#include "base/rng.h"
#include "os/clock.h"
#include "train/metrics.h"

static qn_arena scratch;

static int setup(void **state)
{
    (void)state;
    qn_arena_init(&scratch, 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    qn_arena_deinit(&scratch);
    return 0;
}

static double value_of(const qn_outcome *outcome, qn_metric metric)
{
    qn_error err;
    qn_score score;
    assert_ok(qn_metric_of(metric, outcome, &scratch, &score, &err), &err);
    return score.value;
}

/* Scores .1 .4 .35 .8 for labels 0 0 1 1: the example of scikit-learn's documentation. */
static const int64_t four_labels[4] = {0, 0, 1, 1};
static const float four_probability[8] = {0.9F, 0.1F, 0.6F, 0.4F, 0.65F, 0.35F, 0.2F, 0.8F};
static const qn_outcome four = {.task = QN_TASK_BINARY,
                                .rows = 4,
                                .classes = 2,
                                .labels = four_labels,
                                .probability = four_probability};

static void auroc_of_the_documented_example(void **state)
{
    (void)state;
    assert_near(value_of(&four, QN_METRIC_AUROC), 0.75, 1e-12);
    assert_near(value_of(&four, QN_METRIC_AUPRC), 0.8333333333, 1e-9);
}

static void the_loss_stands_beside_the_metric(void **state)
{
    (void)state;
    qn_error err;
    qn_score score;
    assert_ok(qn_metric_of(QN_METRIC_ACCURACY, &four, &scratch, &score, &err), &err);
    assert_near(score.value, 0.75, 1e-12);
    assert_near(score.loss, -log(0.9 * 0.6 * 0.35 * 0.8) / 4, 1e-6);
    const double truth[2] = {1, 5}, number[2] = {2, 8};
    const qn_outcome two = {
        .task = QN_TASK_REGRESSION, .rows = 2, .truth = truth, .number = number};
    assert_ok(qn_metric_of(QN_METRIC_MAE, &two, &scratch, &score, &err), &err);
    assert_near(score.value, 2, 1e-12);
    assert_near(score.loss, 5, 1e-12);
}

static void equal_metrics_are_told_apart_by_the_loss(void **state)
{
    (void)state;
    const qn_score low = {0.9, 0.5}, high = {0.9, 0.3}, other = {0.95, 9}, nan = {NAN, 0},
                   odd = {0.9, NAN};
    assert_true(qn_score_is_better(QN_METRIC_ACCURACY, &high, &low));
    assert_false(qn_score_is_better(QN_METRIC_ACCURACY, &low, &high));
    assert_false(qn_score_is_better(QN_METRIC_ACCURACY, &low, &low));
    assert_true(qn_score_is_better(QN_METRIC_ACCURACY, &other, &high));
    assert_true(qn_score_is_better(QN_METRIC_RMSE, &high, &other));
    assert_true(qn_score_is_better(QN_METRIC_RMSE, &other, &nan));
    assert_false(qn_score_is_better(QN_METRIC_RMSE, &nan, &other));
    assert_false(qn_score_is_better(QN_METRIC_RMSE, &nan, &nan));
    assert_true(qn_score_is_better(QN_METRIC_RMSE, &low, &odd));
    assert_false(qn_score_is_better(QN_METRIC_RMSE, &odd, &low));
}

static void confusion_metrics_by_hand(void **state)
{
    (void)state;
    /* choices 0 0 0 1: tp 1, fn 1, tn 2, fp 0 */
    assert_near(value_of(&four, QN_METRIC_ACCURACY), 0.75, 1e-12);
    assert_near(value_of(&four, QN_METRIC_BALANCED_ACCURACY), 0.75, 1e-12);
    assert_near(value_of(&four, QN_METRIC_F1), 2.0 / 3, 1e-12);
    assert_near(value_of(&four, QN_METRIC_F1_MACRO), (2.0 / 3 + 0.8) / 2, 1e-12);
    assert_near(value_of(&four, QN_METRIC_MCC), 2 / sqrt(12.0), 1e-12);
}

static void probability_metrics_by_hand(void **state)
{
    (void)state;
    double log_loss = -(log(0.9) + log(0.6) + log(0.35) + log(0.8)) / 4;
    assert_near(value_of(&four, QN_METRIC_LOG_LOSS), log_loss, 1e-6);
    double brier = (0.01 + 0.16 + 0.4225 + 0.04) / 4;
    assert_near(value_of(&four, QN_METRIC_BRIER), brier, 1e-6);
    /* Bins of 1/15: .6 (right) and .65 (wrong) share one. */
    double ece = (0.1 + fabs((0.6 - 1) + 0.65) + 0.2) / 4;
    assert_near(value_of(&four, QN_METRIC_ECE), ece, 1e-6);
}

static void ties_count_half(void **state)
{
    (void)state;
    static const float same[8] = {0.5F, 0.5F, 0.5F, 0.5F, 0.5F, 0.5F, 0.5F, 0.5F};
    qn_outcome outcome = four;
    outcome.probability = same;
    assert_near(value_of(&outcome, QN_METRIC_AUROC), 0.5, 1e-12);
    assert_near(value_of(&outcome, QN_METRIC_AUPRC), 0.5, 1e-12);
}

static void one_class_has_no_auroc(void **state)
{
    (void)state;
    static const int64_t ones[4] = {1, 1, 1, 1};
    qn_outcome outcome = four;
    outcome.labels = ones;
    assert_true(isnan(value_of(&outcome, QN_METRIC_AUROC)));
}

static void regression_by_hand(void **state)
{
    (void)state;
    static const double truth[4] = {3, -0.5, 2, 7}, number[4] = {2.5, 0.0, 2, 8};
    qn_outcome outcome = {.task = QN_TASK_REGRESSION, .rows = 4, .truth = truth, .number = number};
    assert_near(value_of(&outcome, QN_METRIC_MAE), 0.5, 1e-12);
    assert_near(value_of(&outcome, QN_METRIC_MSE), 0.375, 1e-12);
    assert_near(value_of(&outcome, QN_METRIC_RMSE), sqrt(0.375), 1e-12);
    assert_near(value_of(&outcome, QN_METRIC_R2), 0.9486081370449679, 1e-12);
    assert_near(value_of(&outcome, QN_METRIC_MAPE), 100 * 0.3273809523809524, 1e-9);
}

/* Labels follow the score with some noise; many rows. */
static qn_outcome make_rows(int64_t rows, int64_t classes)
{
    int64_t *labels = QN_NEW(&scratch, int64_t, rows);
    float *probability = QN_NEW(&scratch, float, rows *classes);
    qn_rng rng = {.seed = 7};
    for (int64_t row = 0; row < rows; row++) {
        double sum = 0;
        labels[row] = (int64_t)qn_rng_below(rng, (uint64_t)row, (uint64_t)classes);
        for (int64_t c = 0; c < classes; c++) {
            uint64_t element = (uint64_t)(rows + row * classes + c);
            double score = exp(2 * qn_rng_normal(rng, element) + (c == labels[row]));
            probability[row * classes + c] = (float)score;
            sum += score;
        }
        for (int64_t c = 0; c < classes; c++)
            probability[row * classes + c] /= (float)sum;
    }
    return (qn_outcome){.task = classes == 2 ? QN_TASK_BINARY : QN_TASK_MULTICLASS,
                        .rows = rows,
                        .classes = classes,
                        .labels = labels,
                        .probability = probability};
}

static void intervals_hold_the_value_and_repeat(void **state)
{
    (void)state;
    qn_error err;
    qn_metric_set first, second;
    qn_outcome outcome = make_rows(2000, 2);
    assert_ok(qn_metrics_of(&outcome, 200, 1, &scratch, &first, &err), &err);
    assert_ok(qn_metrics_of(&outcome, 200, 1, &scratch, &second, &err), &err);
    assert_memory_equal(first.items, second.items, sizeof first.items[0] * (size_t)first.count);
    const qn_metric_value *accuracy = qn_metric_set_find(&first, QN_METRIC_ACCURACY);
    assert_true(accuracy->low < accuracy->value && accuracy->value < accuracy->high);
    /* Binomial: 1.96 sqrt(p (1 - p) / n) on either side. */
    double wide = 2 * 1.96 * sqrt(accuracy->value * (1 - accuracy->value) / 2000);
    assert_near(accuracy->high - accuracy->low, wide, 0.25 * wide);
}

static void intervals_of_many_rows_are_narrow_and_fast(void **state)
{
    (void)state;
    qn_error err;
    qn_metric_set set;
    qn_outcome outcome = make_rows(100000, 2);
    int64_t begin = qn_now_ns();
    assert_ok(qn_metrics_of(&outcome, 200, 1, &scratch, &set, &err), &err);
    double seconds = (double)(qn_now_ns() - begin) / 1e9;
    assert_true(seconds < 5); /* about 0.3 alone; generous beside other work and sanitizers */
    const qn_metric_value *accuracy = qn_metric_set_find(&set, QN_METRIC_ACCURACY);
    double wide = 2 * 1.96 * sqrt(accuracy->value * (1 - accuracy->value) / 100000);
    assert_near(accuracy->high - accuracy->low, wide, 0.3 * wide);
}

static void baseline_of_shares(void **state)
{
    (void)state;
    qn_error err;
    qn_metric_set set;
    const double shares[2] = {0.75, 0.25};
    assert_ok(qn_metrics_baseline(&four, shares, 0, &scratch, &set, &err), &err);
    assert_near(qn_metric_set_find(&set, QN_METRIC_ACCURACY)->value, 0.5, 1e-12);
    assert_near(qn_metric_set_find(&set, QN_METRIC_AUROC)->value, 0.5, 1e-12);
}

static void multiclass_has_its_metrics(void **state)
{
    (void)state;
    qn_error err;
    qn_metric_set set;
    qn_outcome outcome = make_rows(3000, 10);
    assert_ok(qn_metrics_of(&outcome, 50, 1, &scratch, &set, &err), &err);
    assert_null(qn_metric_set_find(&set, QN_METRIC_F1));
    assert_true(qn_metric_set_find(&set, QN_METRIC_TOP5)->value >
                qn_metric_set_find(&set, QN_METRIC_ACCURACY)->value);
    assert_true(qn_metric_set_find(&set, QN_METRIC_AUROC)->value > 0.6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(auroc_of_the_documented_example),
        cmocka_unit_test(the_loss_stands_beside_the_metric),
        cmocka_unit_test(equal_metrics_are_told_apart_by_the_loss),
        cmocka_unit_test(confusion_metrics_by_hand),
        cmocka_unit_test(probability_metrics_by_hand),
        cmocka_unit_test(ties_count_half),
        cmocka_unit_test(one_class_has_no_auroc),
        cmocka_unit_test(regression_by_hand),
        cmocka_unit_test(intervals_hold_the_value_and_repeat),
        cmocka_unit_test(intervals_of_many_rows_are_narrow_and_fast),
        cmocka_unit_test(baseline_of_shares),
        cmocka_unit_test(multiclass_has_its_metrics),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
