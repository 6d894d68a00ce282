/* Targets that are arrays: sums of rows against numbers worked out by hand, and labels that cannot be learned. */
#include "testing.h"

#include <math.h>

#include "train/arrays.h"

typedef struct {
    qn_arena arena;
    qn_error err;
} fixture;

static int setup(void **state)
{
    static fixture f;
    memset(&f, 0, sizeof f);
    qn_arena_init(&f.arena, 0);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    qn_arena_deinit(&((fixture *)*state)->arena);
    return 0;
}

static double metric_of(fixture *f, const qn_outcome *outcome, qn_metric metric)
{
    qn_score score;
    assert_ok(qn_metric_of(metric, outcome, &f->arena, &score, &f->err), &f->err);
    return score.value;
}

static void numbers_are_measured_over_all_places(void **state)
{
    fixture *f = *state;
    static const float truth[] = {0, 10, 2, 14}, answers[] = {1, 10, 2, 12};
    const qn_target_array target = {.shape = QN_SHAPE(2)};
    const qn_array_rows rows = {&target, QN_TASK_REGRESSION, 2, truth, answers, QN_SHAPE(2)};
    const float *constant = qn_arrays_constant(&rows, &f->arena);
    qn_outcome outcome;
    assert_true(constant[0] == 1 && constant[1] == 12);
    assert_ok(qn_arrays_outcome(&rows, constant, &f->arena, &outcome, &f->err), &f->err);
    assert_near(metric_of(f, &outcome, QN_METRIC_MSE), 5.0 / 4, 1e-12);
    assert_near(metric_of(f, &outcome, QN_METRIC_RMSE), sqrt(5.0 / 4), 1e-12);
    assert_near(metric_of(f, &outcome, QN_METRIC_MAE), 3.0 / 4, 1e-12);
    /* squares about the means 1 and 12: 1 + 1 + 4 + 4; sklearn.metrics.r2_score(multioutput="variance_weighted") */
    assert_near(metric_of(f, &outcome, QN_METRIC_R2), 0.5, 1e-12);
    assert_true(isnan(metric_of(f, &outcome, QN_METRIC_MAPE))); /* a truth is 0 */
    qn_metric_set baseline, all;
    assert_ok(qn_metrics_baseline(&outcome, NULL, 0, &f->arena, &baseline, &f->err), &f->err);
    assert_near(qn_metric_set_find(&baseline, QN_METRIC_MSE)->value, 10.0 / 4, 1e-12);
    assert_near(qn_metric_set_find(&baseline, QN_METRIC_R2)->value, 0, 1e-12);
    assert_ok(qn_metrics_of(&outcome, 50, 1, &f->arena, &all, &f->err), &f->err);
    assert_null(qn_metric_set_find(&all, QN_METRIC_LOSS));
    assert_null(qn_metric_set_find(&all, QN_METRIC_ACCURACY));
    const qn_metric_value *mse = qn_metric_set_find(&all, QN_METRIC_MSE);
    assert_near(mse->low, 0.5, 1e-12); /* the first row alone, and the second */
    assert_near(mse->high, 2, 1e-12);
}

static void losses_are_those_of_training(void **state)
{
    fixture *f = *state;
    static const float truth[] = {0.5F, 0.5F, 0, 1}, answers[] = {0.25F, 0.75F, 0.5F, 0.5F};
    const char *const names[] = {"kl", "bce"};
    /* rows by hand: sum t log(t / p); mean of the two cross-entropies */
    const double expected[] = {(log(2) / 2 + log(0.5 / 0.75) / 2 + log(2)) / 2,
                               ((-log(0.1875) - log(0.1875)) / 4 + log(2)) / 2};
    for (int i = 0; i < 2; i++) {
        const qn_target_array target = {.shape = QN_SHAPE(2), .loss = names[i]};
        const qn_array_rows rows = {&target, QN_TASK_REGRESSION, 2, truth, answers, QN_SHAPE(2)};
        qn_outcome outcome;
        assert_ok(qn_arrays_outcome(&rows, NULL, &f->arena, &outcome, &f->err), &f->err);
        assert_true(outcome.has_loss && !outcome.trivial);
        assert_near(metric_of(f, &outcome, QN_METRIC_LOSS), expected[i], 1e-6);
    }
}

/* Classes a, b and a blank of 2; three steps. */
static void labels_are_read_from_the_best_path(void **state)
{
    fixture *f = *state;
    enum { T = 3, C = 3 };
    static const int64_t truth[] = {0, -1, 0, 1};
    static const float answers[2 * T * C] = {
        0.9F, 0.05F, 0.05F, 0.8F, 0.1F, 0.1F, 0.1F, 0.1F, 0.8F, /* a a - : a */
        0.1F, 0.8F,  0.1F,  0.1F, 0.1F, 0.8F, 0.1F, 0.8F, 0.1F, /* b - b : b b, of a b one edit */
    };
    const qn_target_array target = {.shape = QN_SHAPE(2), .loss = "ctc", .blank = 2};
    const qn_array_rows rows = {&target, QN_TASK_TRANSCRIBE, 2, truth, answers, QN_SHAPE(T, C)};
    const float *constant = qn_arrays_constant(&rows, &f->arena);
    qn_outcome outcome;
    qn_metric_set baseline;
    assert_ok(qn_arrays_outcome(&rows, constant, &f->arena, &outcome, &f->err), &f->err);
    assert_near(metric_of(f, &outcome, QN_METRIC_CER), 1.0 / 3, 1e-12);
    /* paths of "a" over three steps: aaa aa- a-- -aa --a -a- ; of "a b": aab abb ab- a-b -ab */
    const double one = 0.9 * 0.8 * 0.1 + 0.9 * 0.8 * 0.8 + 0.9 * 0.1 * 0.8 + 0.05 * 0.8 * 0.1 +
                       0.05 * 0.1 * 0.1 + 0.05 * 0.8 * 0.8;
    const double two =
        0.1 * 0.1 * 0.8 + 0.1 * 0.1 * 0.8 + 0.1 * 0.1 * 0.1 + 0.1 * 0.8 * 0.8 + 0.1 * 0.1 * 0.8;
    assert_near(metric_of(f, &outcome, QN_METRIC_LOSS), (-log(one) - log(two) / 2) / 2, 1e-5);
    assert_ok(qn_metrics_baseline(&outcome, NULL, 0, &f->arena, &baseline, &f->err), &f->err);
    assert_near(qn_metric_set_find(&baseline, QN_METRIC_CER)->value, 1, 0); /* nothing is said */
    assert_near(qn_metric_set_find(&baseline, QN_METRIC_LOSS)->value,
                (-log(6.0 / 27) - log(5.0 / 27) / 2) / 2, 1e-5);
}

static void labels_that_cannot_be_learned_are_named(void **state)
{
    fixture *f = *state;
    static const struct {
        int64_t labels[3];
        const char *text; /* NULL = they can */
    } cases[] = {
        {{1, 2, -1}, NULL},
        {{-1, -1, -1}, NULL},
        {{1, 1, -1}, NULL}, /* a blank between them: three steps */
        {{1, 1, 2}, "holds 3 labels in row 8, which need 4 steps"},
        {{1, 3, -1}, "holds 3 in row 8; labels are 0 to 2 without 0"},
        {{0, -1, -1}, "holds 0 in row 8"},
        {{1, -2, -1}, "holds -2 in row 8"},
        {{1, -1, 2}, "holds 2 behind a -1 in row 8"},
    };
    const qn_target_array target = {.shape = QN_SHAPE(3), .loss = "ctc"};
    const int64_t from[] = {7};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const qn_array_rows rows = {&target, QN_TASK_TRANSCRIBE, 1, cases[i].labels,
                                    NULL,    QN_SHAPE(3, 3)};
        qn_status status = qn_arrays_check_labels(&rows, QN_STR("y"), from, &f->err);
        assert_int_equal(status, cases[i].text ? QN_ERR_DATA : QN_OK);
        if (cases[i].text)
            assert_text(&f->err, cases[i].text);
    }
    const qn_target_array far = {.shape = QN_SHAPE(3), .loss = "ctc", .blank = 3};
    const qn_array_rows rows = {&far, QN_TASK_TRANSCRIBE, 1, cases[0].labels, NULL, QN_SHAPE(3, 3)};
    assert_int_equal(qn_arrays_check_labels(&rows, QN_STR("y"), NULL, &f->err), QN_ERR_ARG);
    assert_text(&f->err, "the blank is class 3; the network gives 3 classes");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(numbers_are_measured_over_all_places),
        TEST(losses_are_those_of_training),
        TEST(labels_are_read_from_the_best_path),
        TEST(labels_that_cannot_be_learned_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
