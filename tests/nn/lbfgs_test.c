/* L-BFGS on problems whose answers are known. */
#include "testing.h"

#include <math.h>

#include "base/error.h"
#include "nn/lbfgs.h"

static qn_error err;

/* Rosenbrock's valley in n dimensions: the minimum is 0 at (1, ..., 1). */
typedef struct {
    int n, evaluations, fail_at;
} valley;

static qn_status rosenbrock(void *context, const double *x, double *grad, double *ret_loss,
                            qn_error *error)
{
    valley *v = context;
    double loss = 0;
    if (++v->evaluations == v->fail_at)
        return qn_error_set(error, QN_ERR_CANCELLED, NULL, "stopped");
    for (int i = 0; i < v->n; i++)
        grad[i] = 0;
    for (int i = 0; i + 1 < v->n; i++) {
        double a = x[i + 1] - x[i] * x[i], b = 1 - x[i];
        loss += 100 * a * a + b * b;
        grad[i] += -400 * x[i] * a - 2 * b;
        grad[i + 1] += 200 * a;
    }
    *ret_loss = loss;
    return QN_OK;
}

static void valley_is_descended_by_both_searches(void **unused)
{
    (void)unused;
    for (int search = 0; search < 2; search++) {
        valley v = {.n = 10};
        double x[10];
        for (int i = 0; i < 10; i++)
            x[i] = i % 2 ? 1 : -1.2;
        qn_lbfgs_problem lbfgs = {.iterations_max = 500,
                                  .search = search ? QN_LBFGS_BACKTRACKING : QN_LBFGS_STRONG_WOLFE,
                                  .tolerance_loss = 1e-16,
                                  .eval = rosenbrock,
                                  .context = &v};
        qn_lbfgs_report report;
        qn_arena scratch;
        qn_arena_init(&scratch, 0);
        assert_ok(qn_lbfgs_minimize(&lbfgs, x, 10, &scratch, &report, &err), &err);
        assert_int_equal(report.evaluations, v.evaluations);
        assert_int_equal(report.reason, QN_LBFGS_CONVERGED_GRADIENT);
        assert_true(report.evaluations < 250);
        for (int i = 0; i < 10; i++)
            assert_true(fabs(x[i] - 1) < 1e-5);
        qn_arena_deinit(&scratch);
    }
}

/* 1/2 sum k x^2 - x: the answer is 1 / k, over six orders of magnitude of curvature. */
static qn_status bowl(void *context, const double *x, double *grad, double *ret_loss,
                      qn_error *error)
{
    (void)context;
    (void)error;
    double loss = 0;
    for (int i = 0; i < 7; i++) {
        double k = pow(10, i - 3);
        grad[i] = k * x[i] - 1;
        loss += 0.5 * k * x[i] * x[i] - x[i];
    }
    *ret_loss = loss;
    return QN_OK;
}

static void ill_conditioned_bowl_is_solved(void **unused)
{
    (void)unused;
    double x[7] = {0};
    qn_lbfgs_problem lbfgs = {
        .eval = bowl, .tolerance_grad = 1e-9, .tolerance_loss = 1e-300, .iterations_max = 300};
    qn_lbfgs_report report;
    qn_arena scratch;
    qn_arena_init(&scratch, 0);
    assert_ok(qn_lbfgs_minimize(&lbfgs, x, 7, &scratch, &report, &err), &err);
    for (int i = 0; i < 7; i++)
        assert_true(fabs(x[i] * pow(10, i - 3) - 1) < 1e-5);
    qn_arena_deinit(&scratch);
}

static bool stop_at_three(void *context, const qn_lbfgs_report *report)
{
    (void)context;
    return report->iterations < 3;
}

static qn_status nowhere(void *context, const double *x, double *grad, double *ret_loss,
                         qn_error *error)
{
    (void)context;
    (void)error;
    grad[0] = x[0];
    *ret_loss = NAN;
    return QN_OK;
}

static void limits_stops_and_failures_are_told(void **unused)
{
    (void)unused;
    valley v = {.n = 2};
    double x[2] = {-1.2, 1};
    qn_lbfgs_problem lbfgs = {.eval = rosenbrock, .context = &v, .iterations_max = 2};
    qn_lbfgs_report report;
    qn_arena scratch;
    qn_arena_init(&scratch, 0);
    assert_ok(qn_lbfgs_minimize(&lbfgs, x, 2, &scratch, &report, &err), &err);
    assert_int_equal(report.reason, QN_LBFGS_ITERATIONS);
    assert_int_equal(report.iterations, 2);
    lbfgs.iterations_max = 50;
    lbfgs.progress = stop_at_three;
    assert_ok(qn_lbfgs_minimize(&lbfgs, x, 2, &scratch, &report, &err), &err);
    assert_int_equal(report.reason, QN_LBFGS_STOPPED);
    assert_int_equal(report.iterations, 3);
    v.fail_at = v.evaluations + 4;
    lbfgs.progress = NULL;
    assert_int_equal(qn_lbfgs_minimize(&lbfgs, x, 2, &scratch, &report, &err), QN_ERR_CANCELLED);
    double y[1] = {1};
    qn_lbfgs_problem bad = {.eval = nowhere};
    assert_int_equal(qn_lbfgs_minimize(&bad, y, 1, &scratch, &report, &err), QN_ERR_NUMERIC);
    assert_text(&err, "the loss at the start is");
    assert_int_equal(qn_lbfgs_minimize(&bad, y, 0, &scratch, &report, &err), QN_ERR_ARG);
    qn_arena_deinit(&scratch);
    qn_arena_init(&scratch, 100);
    assert_int_equal(qn_lbfgs_minimize(&lbfgs, x, 2, &scratch, &report, &err), QN_ERR_MEMORY);
    qn_arena_deinit(&scratch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(valley_is_descended_by_both_searches),
        cmocka_unit_test(ill_conditioned_bowl_is_solved),
        cmocka_unit_test(limits_stops_and_failures_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
