/* Nets in C under every loss and with every option of learning: what they reach, and what they keep. */
#include "testing.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "os/file.h"
#include "quern/net.h"

static qn_error err;

static double evaluate(qn_net *net, qn_view inputs, qn_view targets, double *ret_accuracy)
{
    qn_evaluation score;
    assert_ok(qn_net_evaluate(net, inputs, targets, &score, &err), &err);
    if (ret_accuracy)
        *ret_accuracy = score.accuracy;
    return score.loss;
}

/* A deterministic number in [-1, 1). */
static float noise(int i)
{
    return (float)((i * 7919 + 13) % 1000) / 500 - 1;
}

static void a_quantile_has_its_share_below_it(void **unused)
{
    (void)unused;
    enum { N = 200 };
    static float x[N][1], t[N][1], y[N][1];
    for (int i = 0; i < N; i++) {
        x[i][0] = 1;
        t[i][0] = noise(i);
    }
    qn_net *net = qn_net_create(QN_INPUT(1), &err);
    qn_net_dense(net, 1, QN_LINEAR);
    qn_fit_options fit = {.loss = QN_LOSS_QUANTILE,
                          .quantile = 0.8F,
                          .optimizer = qn_adam(0.02F),
                          .schedule = {.kind = QN_RATE_ONE_CYCLE},
                          .epochs = 60};
    assert_ok(qn_net_fit(net, QN_VIEW(x), QN_VIEW(t), &fit, &err), &err);
    assert_ok(qn_net_predict(net, QN_VIEW(x), QN_VIEW_OUT(y), &err), &err);
    assert_near((double)y[0][0], 0.6, 0.05); /* uniform in [-1, 1) */
    double loss = evaluate(net, QN_VIEW(x), QN_VIEW(t), NULL);
    assert_near(loss, 0.16, 0.01); /* the mean over [-1, 1): 0.8 * 0.2 */
    qn_net_destroy(net);
}

static void hinges_part_two_classes(void **unused)
{
    (void)unused;
    enum { N = 60 };
    static float x[N][2], t[N][1];
    for (int i = 0; i < N; i++) {
        x[i][0] = noise(3 * i);
        x[i][1] = noise(3 * i + 1);
        t[i][0] = x[i][0] > x[i][1] ? 1 : 0;
    }
    for (int kind = 0; kind < 2; kind++) {
        qn_net *net = qn_net_create(QN_INPUT(2), &err);
        qn_net_dense(net, 1, QN_LINEAR);
        qn_fit_options fit = {.loss = kind ? QN_LOSS_SQUARED_HINGE : QN_LOSS_HINGE,
                              .optimizer = qn_nadam(0.1F),
                              .epochs = 100};
        double accuracy;
        assert_ok(qn_net_fit(net, QN_VIEW(x), QN_VIEW(t), &fit, &err), &err);
        evaluate(net, QN_VIEW(x), QN_VIEW(t), &accuracy);
        assert_true(accuracy > 0.95);
        qn_net_destroy(net);
    }
}

/* Rare ones among many zeros: of one output and of two, and the loss that evaluation finds is the one of training. */
static void focal_loss_parts_rare_classes(void **unused)
{
    (void)unused;
    enum { N = 120 };
    static float x[N][2], t[N][1];
    static const double weights[2] = {1, 4};
    static const qn_activation closings[4] = {QN_LINEAR, QN_SIGMOID, QN_LINEAR, QN_SOFTMAX};
    double losses[4], accuracy;
    for (int i = 0; i < N; i++) {
        x[i][0] = noise(3 * i);
        x[i][1] = noise(3 * i + 1);
        t[i][0] = x[i][0] + x[i][1] > 1 ? 1 : 0;
    }
    for (int kind = 0; kind < 4; kind++) {
        qn_net *net = qn_net_create(QN_INPUT(2), &err);
        qn_net_dense(net, kind < 2 ? 1 : 2, closings[kind]);
        qn_fit_options fit = {.loss = QN_LOSS_FOCAL,
                              .focus = 1.5F,
                              .class_weights = weights,
                              .optimizer = qn_adam(0.1F),
                              .epochs = 60};
        assert_ok(qn_net_fit(net, QN_VIEW(x), QN_VIEW(t), &fit, &err), &err);
        losses[kind] = evaluate(net, QN_VIEW(x), QN_VIEW(t), &accuracy);
        assert_true(accuracy > 0.9);
        qn_net_destroy(net);
    }
    assert_near(losses[0], losses[1], 1e-5); /* a closing activation is part of the loss */
    assert_near(losses[2], losses[3], 1e-5);
    qn_net *net = qn_net_create(QN_INPUT(2), &err);
    qn_net_dense(net, 1, QN_LINEAR);
    qn_fit_options fit = {.loss = QN_LOSS_FOCAL, .focus = -1};
    assert_int_equal(qn_net_fit(net, QN_VIEW(x), QN_VIEW(t), &fit, &err), QN_ERR_ARG);
    assert_text(&err, "a focus of -1 is below 0");
    qn_net_destroy(net);
}

static void poisson_finds_the_rate(void **unused)
{
    (void)unused;
    static const float x[4][1] = {{1}, {1}, {1}, {1}};
    static const float t[4][1] = {{2}, {3}, {5}, {2}};
    float y[4][1];
    qn_net *net = qn_net_create(QN_INPUT(1), &err);
    qn_net_dense(net, 1, QN_LINEAR);
    qn_fit_options fit = {.loss = QN_LOSS_POISSON, .optimizer = qn_adagrad(0.3F), .epochs = 300};
    assert_ok(qn_net_fit(net, QN_VIEW(x), QN_VIEW(t), &fit, &err), &err);
    assert_ok(qn_net_predict(net, QN_VIEW(x), QN_VIEW_OUT(y), &err), &err);
    assert_near(exp((double)y[0][0]), 3, 0.01);
    qn_net_destroy(net);
}

static void divergence_learns_a_distribution(void **unused)
{
    (void)unused;
    static const float x[2][2] = {{1, 0}, {0, 1}};
    static const float t[2][3] = {{0.7F, 0.2F, 0.1F}, {0, 0.5F, 0.5F}};
    float y[2][3];
    qn_net *net = qn_net_create(QN_INPUT(2), &err);
    qn_net_dense(net, 3, QN_SOFTMAX);
    qn_fit_options fit = {.loss = QN_LOSS_KL, .optimizer = qn_rmsprop(0.02F, 0.9F), .epochs = 600};
    assert_ok(qn_net_fit(net, QN_VIEW(x), QN_VIEW(t), &fit, &err), &err);
    assert_ok(qn_net_predict(net, QN_VIEW(x), QN_VIEW_OUT(y), &err), &err);
    assert_near((double)y[0][0], 0.7, 0.02);
    assert_near((double)y[1][1], 0.5, 0.02);
    assert_true(evaluate(net, QN_VIEW(x), QN_VIEW(t), NULL) < 0.01);
    qn_net_destroy(net);
}

static void pairs_and_triplets_fall_into_place(void **unused)
{
    (void)unused;
    enum { N = 40 };
    static float pairs[N][2][3], triplets[N][3][3], sides[N][1];
    for (int i = 0; i < N; i++)
        for (int k = 0; k < 9; k++) {
            float value = 0.1F * noise(9 * i + k) + (k % 3 == (i + k / 6) % 3 ? 1.0F : 0.0F);
            triplets[i][k / 3][k % 3] = value;
            int from = i % 2 ? k % 3 : k; /* same: twice the anchor's kind */
            if (k < 6)
                pairs[i][k / 3][k % 3] =
                    0.1F * noise(6 * i + k) +
                    (from == (k < 3 ? i % 3 : 3 + (i + 1) % 3) || (i % 2 && k % 3 == i % 3) ? 1.0F
                                                                                            : 0.0F);
            sides[i][0] = i % 2 ? 1 : -1;
        }
    for (int kind = 0; kind < 2; kind++) {
        qn_net *net =
            kind ? qn_net_create(QN_INPUT(3, 3), &err) : qn_net_create(QN_INPUT(2, 3), &err);
        qn_net_dense(net, 4, QN_LINEAR);
        qn_view inputs = kind ? QN_VIEW(triplets) : QN_VIEW(pairs);
        qn_view targets = kind ? (qn_view){0} : QN_VIEW(sides);
        qn_fit_options fit = {.loss = kind ? QN_LOSS_TRIPLET : QN_LOSS_COSINE,
                              .optimizer = qn_lamb(0.02F, 0),
                              .epochs = 1};
        assert_ok(qn_net_fit(net, inputs, targets, &fit, &err), &err);
        double before = evaluate(net, inputs, targets, NULL);
        fit.epochs = 60;
        assert_ok(qn_net_fit(net, inputs, targets, &fit, &err), &err);
        assert_true(evaluate(net, inputs, targets, NULL) < 0.7 * before);
        qn_net_destroy(net);
    }
}

/* Three frames of two inputs spell one of two labels. */
static void ctc_learns_to_spell(void **unused)
{
    (void)unused;
    static const float x[4][5][2] = {{{1, 0}, {1, 0}, {0, 0}, {0, 1}, {0, 1}},
                                     {{0, 0}, {0, 1}, {0, 1}, {0, 0}, {1, 0}},
                                     {{0, 0}, {1, 0}, {1, 0}, {1, 0}, {0, 0}},
                                     {{0, 1}, {0, 0}, {0, 1}, {0, 1}, {0, 0}}};
    static const int64_t t[4][2] = {{1, 2}, {2, 1}, {1, -1}, {2, 2}};
    static float y[4][5][3];
    char folder[] = "/tmp/quern-ctc-XXXXXX";
    assert_non_null(mkdtemp(folder));
    qn_net *net = qn_net_create(QN_INPUT(5, 2), &err);
    qn_net_dense(net, 8, QN_TANH);
    qn_net_dense(net, 3, QN_SOFTMAX);
    qn_fit_options fit = {.loss = QN_LOSS_CTC, .optimizer = qn_muon(0.05F, 0), .epochs = 300};
    assert_ok(qn_net_fit(net, QN_VIEW(x), QN_VIEW(t), &fit, &err), &err);
    double loss = evaluate(net, QN_VIEW(x), QN_VIEW(t), NULL);
    assert_true(loss < 0.05);
    assert_ok(qn_net_predict(net, QN_VIEW(x), QN_VIEW_OUT(y), &err), &err);
    assert_true(y[0][0][1] > 0.5F && y[0][4][2] > 0.5F && y[0][2][0] > 0.5F);
    assert_ok(qn_net_save(net, folder, &err), &err);
    qn_net_destroy(net);
    net = qn_net_load(folder, &err);
    assert_non_null(net);
    assert_near(evaluate(net, QN_VIEW(x), QN_VIEW(t), NULL), loss, 1e-6);
    qn_net_destroy(net);
    (void)!qn_folder_remove(folder, NULL);
}

/* Three epochs; `ema` and `group` may be 0 and NULL. */
static qn_status fit_line(float ema, const qn_group *group, float answers[4][1])
{
    static const float x[4][2] = {{1, 2}, {3, 4}, {5, 6}, {7, 8}};
    static const float t[4][1] = {{1}, {2}, {3}, {4}};
    qn_net *net = qn_net_create(QN_INPUT(2), &err);
    qn_net_dense(net, 1, QN_LINEAR);
    qn_fit_options fit = {.optimizer = qn_adafactor(0.05F),
                          .epochs = 3,
                          .batch = 2,
                          .ema = ema,
                          .groups = group,
                          .groups_count = 1};
    qn_status status = qn_net_fit(net, QN_VIEW(x), QN_VIEW(t), &fit, &err);
    qn_view_out out = {answers, QN_DTYPE_F32, 2, {4, 1}};
    if (status == QN_OK)
        assert_ok(qn_net_predict(net, QN_VIEW(x), out, &err), &err);
    qn_net_destroy(net);
    return status;
}

static void averages_and_groups_change_what_is_learned(void **unused)
{
    (void)unused;
    float plain[4][1], averaged[4][1], slow[4][1];
    const qn_group all = {.names = "layers.*", .frozen = true};
    const qn_group half = {.names = "layers.0", .rate = 0.5F};
    assert_ok(fit_line(0, NULL, plain), &err);
    assert_ok(fit_line(0.9F, NULL, averaged), &err);
    assert_ok(fit_line(0, &half, slow), &err);
    assert_true(fabsf(plain[0][0] - averaged[0][0]) > 1e-4F);
    assert_true(fabsf(plain[0][0] - slow[0][0]) > 1e-4F);
    assert_int_equal(fit_line(0, &all, slow), QN_ERR_ARG);
    assert_text(&err, "all of it is frozen");
    assert_int_equal(fit_line(1, NULL, slow), QN_ERR_ARG);
    assert_text(&err, "not in [0, 1)");
}

/* Adam on one weight matrix; the mean of the weights after the last `share` of four epochs. */
static void fit_swa(float share, int epochs, float answers[4][1])
{
    static const float x[4][2] = {{1, 2}, {3, 4}, {5, 6}, {7, 8}};
    static const float t[4][1] = {{1}, {2}, {3}, {4}};
    qn_net *net = qn_net_create(QN_INPUT(2), &err);
    qn_net_dense(net, 1, QN_LINEAR);
    qn_fit_options fit = {.optimizer = qn_adam(0.05F), .epochs = epochs, .batch = 2, .swa = share};
    assert_ok(qn_net_fit(net, QN_VIEW(x), QN_VIEW(t), &fit, &err), &err);
    qn_view_out out = {answers, QN_DTYPE_F32, 2, {4, 1}};
    assert_ok(qn_net_predict(net, QN_VIEW(x), out, &err), &err);
    qn_net_destroy(net);
}

/* Answers are linear in the weights, so that they are the mean of the answers too. */
static void swa_is_the_mean_of_the_last_epochs(void **unused)
{
    (void)unused;
    float third[4][1], fourth[4][1], mean[4][1];
    fit_swa(0, 3, third);
    fit_swa(0, 4, fourth);
    fit_swa(0.5F, 4, mean);
    assert_true(fabsf(third[3][0] - fourth[3][0]) > 1e-3F);
    for (int i = 0; i < 4; i++)
        assert_near(mean[i][0], (third[i][0] + fourth[i][0]) / 2, 1e-5);
    qn_net *net = qn_net_create(QN_INPUT(2), &err);
    static const float x[1][2], t[1][1];
    qn_fit_options both = {.ema = 0.5F, .swa = 0.5F};
    qn_net_dense(net, 1, QN_LINEAR);
    assert_int_equal(qn_net_fit(net, QN_VIEW(x), QN_VIEW(t), &both, &err), QN_ERR_ARG);
    assert_text(&err, "choose one");
    qn_net_destroy(net);
}

/* After one update averages are what was averaged, the running statistics of batch_norm among it. */
static void averages_hold_running_statistics(void **unused)
{
    (void)unused;
    static const float x[4][2] = {{1, 20}, {3, 40}, {5, 60}, {7, 80}};
    static const float t[4][1] = {{1}, {2}, {3}, {4}};
    float answers[3][4][1];
    for (int run = 0; run < 3; run++) {
        qn_net *net = qn_net_create(QN_INPUT(2), &err);
        qn_net_batch_norm(net);
        qn_net_dense(net, 1, QN_LINEAR);
        qn_fit_options fit = {.optimizer = qn_adam(0.05F),
                              .epochs = run < 2 ? 1 : 2,
                              .batch = 4,
                              .ema = run > 0 ? 0.9F : 0};
        assert_ok(qn_net_fit(net, QN_VIEW(x), QN_VIEW(t), &fit, &err), &err);
        assert_ok(qn_net_predict(net, QN_VIEW(x), QN_VIEW_OUT(answers[run]), &err), &err);
        qn_net_destroy(net);
    }
    for (int i = 0; i < 4; i++)
        assert_near(answers[1][i][0], answers[0][i][0], 1e-5);
    assert_true(fabsf(answers[2][0][0] - answers[0][0][0]) > 1e-4F);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_quantile_has_its_share_below_it),
        cmocka_unit_test(hinges_part_two_classes),
        cmocka_unit_test(focal_loss_parts_rare_classes),
        cmocka_unit_test(poisson_finds_the_rate),
        cmocka_unit_test(divergence_learns_a_distribution),
        cmocka_unit_test(pairs_and_triplets_fall_into_place),
        cmocka_unit_test(ctc_learns_to_spell),
        cmocka_unit_test(averages_hold_running_statistics),
        cmocka_unit_test(swa_is_the_mean_of_the_last_epochs),
        cmocka_unit_test(averages_and_groups_change_what_is_learned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
