/* Schedules at the steps where their values are known. */
#include "testing.h"

#include <math.h>

#include "nn/schedules.h"

static void expect_lr(const qn_nn_schedule *schedule, int64_t step, double lr)
{
    double came = qn_nn_schedule_lr(schedule, step, 1);
    if (fabs(came - lr) > 1e-12)
        fail_msg("%s at step %d is %.15g, expected %.15g", qn_nn_schedule_name(schedule->kind),
                 (int)step, came, lr);
}

static void constant_and_step_follow_their_rule(void **unused)
{
    (void)unused;
    qn_nn_schedule constant = {.kind = QN_NN_SCHEDULE_CONSTANT, .lr = 0.3};
    expect_lr(&constant, 0, 0.3);
    expect_lr(&constant, 1000000, 0.3);
    qn_nn_schedule step = {.kind = QN_NN_SCHEDULE_STEP, .lr = 1, .step_size = 10, .gamma = 0.5};
    expect_lr(&step, 9, 1);
    expect_lr(&step, 10, 0.5);
    expect_lr(&step, 35, 0.125);
}

static void cosine_and_linear_end_at_the_minimum(void **unused)
{
    (void)unused;
    qn_nn_schedule cosine = {
        .kind = QN_NN_SCHEDULE_COSINE, .lr = 1, .lr_min = 0.2, .steps_total = 100};
    expect_lr(&cosine, 0, 1);
    expect_lr(&cosine, 50, 0.6);
    expect_lr(&cosine, 100, 0.2);
    expect_lr(&cosine, 5000, 0.2);
    qn_nn_schedule linear = {
        .kind = QN_NN_SCHEDULE_LINEAR, .lr = 1, .steps_total = 14, .steps_warmup = 4};
    expect_lr(&linear, 0, 0.25);
    expect_lr(&linear, 3, 1);
    expect_lr(&linear, 4, 1);
    expect_lr(&linear, 9, 0.5);
    expect_lr(&linear, 14, 0);
    qn_nn_schedule short_run = {.kind = QN_NN_SCHEDULE_COSINE, .lr = 1, .steps_total = 1};
    expect_lr(&short_run, 0, 1);
}

/* Numbers of torch.optim.lr_scheduler, torch 2.15.0: OneCycleLR, CosineAnnealingWarmRestarts, PolynomialLR, ExponentialLR. */
static void the_others_are_pytorchs(void **unused)
{
    (void)unused;
    qn_nn_schedule one = {.kind = QN_NN_SCHEDULE_ONE_CYCLE, .lr = 1, .steps_total = 20};
    expect_lr(&one, 0, 0.04);
    expect_lr(&one, 1, 0.1316718427000253);
    expect_lr(&one, 5, 1);
    expect_lr(&one, 6, 0.9874640062350873);
    expect_lr(&one, 12, 0.500002);
    expect_lr(&one, 19, 4e-6);
    one.steps_warmup = 8;
    expect_lr(&one, 3, 0.41318995170096917);
    expect_lr(&one, 7, 1);
    expect_lr(&one, 8, 0.9829629812928815);
    qn_nn_schedule again = {
        .kind = QN_NN_SCHEDULE_RESTARTS, .lr = 1, .lr_min = 0.1, .step_size = 4, .growth = 2};
    expect_lr(&again, 3, 0.23180194846605365);
    expect_lr(&again, 4, 1);
    expect_lr(&again, 11, 0.13425421036992097);
    expect_lr(&again, 12, 1);
    expect_lr(&again, 19, 0.6377906449072578);
    again.growth = 1;
    expect_lr(&again, 4001, 0.8681980515339464);
    qn_nn_schedule power = {
        .kind = QN_NN_SCHEDULE_POLYNOMIAL, .lr = 1, .steps_total = 10, .power = 2};
    expect_lr(&power, 3, 0.49);
    expect_lr(&power, 9, 0.01);
    expect_lr(&power, 11, 0);
    qn_nn_schedule falling = {
        .kind = QN_NN_SCHEDULE_EXPONENTIAL, .lr = 1, .step_size = 1, .gamma = 0.9};
    expect_lr(&falling, 3, 0.729);
    expect_lr(&falling, 11, 0.31381059609);
    falling.gamma = 0; /* 0.9, where a step of the other kinds is 0.1 */
    expect_lr(&falling, 3, 0.729);
    qn_nn_schedule root = {.kind = QN_NN_SCHEDULE_INVERSE_SQRT, .lr = 1, .steps_warmup = 4};
    expect_lr(&root, 1, 0.5);
    expect_lr(&root, 3, 1);
    expect_lr(&root, 15, 0.5);
}

static void plateau_lowers_after_patience(void **unused)
{
    (void)unused;
    qn_nn_plateau_options options = {.factor = 0.5, .patience = 2, .threshold = 0.01};
    qn_nn_plateau plateau;
    qn_nn_plateau_init(&plateau);
    static const struct {
        double metric;
        bool lowered;
    } reports[] = {{1, false},   {0.999, false}, {0.995, false}, {NAN, true},
                   {0.9, false}, {0.95, false},  {0.95, false},  {0.95, true}};
    for (size_t i = 0; i < sizeof reports / sizeof reports[0]; i++)
        assert_true(qn_nn_plateau_update(&plateau, &options, reports[i].metric) ==
                    reports[i].lowered);
    assert_true(fabs(plateau.scale - 0.25) < 1e-12 && fabs(plateau.best - 0.9) < 1e-12);
    qn_nn_schedule schedule = {.kind = QN_NN_SCHEDULE_PLATEAU, .lr = 0.8, .lr_min = 0.3};
    assert_true(fabs(qn_nn_schedule_lr(&schedule, 7, 0.5) - 0.4) < 1e-12);
    assert_true(fabs(qn_nn_schedule_lr(&schedule, 7, plateau.scale) - 0.3) < 1e-12);
    options.higher = true;
    qn_nn_plateau_init(&plateau);
    assert_false(qn_nn_plateau_update(&plateau, &options, 0.5));
    assert_false(qn_nn_plateau_update(&plateau, &options, 0.6));
    assert_true(fabs(plateau.best - 0.6) < 1e-12);
}

static void names_are_found(void **unused)
{
    (void)unused;
    qn_nn_schedule_kind kind;
    for (int i = 0; i < QN_NN_SCHEDULE_COUNT; i++)
        assert_true(qn_nn_schedule_find(qn_nn_schedule_name((qn_nn_schedule_kind)i), &kind) &&
                    (int)kind == i);
    assert_false(qn_nn_schedule_find("cosin", &kind));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(constant_and_step_follow_their_rule),
        cmocka_unit_test(cosine_and_linear_end_at_the_minimum),
        cmocka_unit_test(the_others_are_pytorchs),
        cmocka_unit_test(plateau_lowers_after_patience),
        cmocka_unit_test(names_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
