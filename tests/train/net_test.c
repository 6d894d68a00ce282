/*
 * The C interface of networks: the mission's first program, layers and losses, saving and loading,
 * the same bits for any number of threads, and what it says about wrong shapes.
 */
#include "testing.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/rng.h"
#include "os/file.h"
#include "quern/quern.h"

enum { IMAGES = 96, SIDE = 10, KINDS = 3 };

static char folder[64];
static float images[IMAGES][SIDE][SIDE];
static int32_t labels[IMAGES];

/* A bar across, a bar down, or nothing but noise. */
static void draw_images(void)
{
    qn_rng rng = {.seed = 5};
    for (int i = 0; i < IMAGES; i++) {
        labels[i] = i % KINDS;
        int at = (int)qn_rng_below(rng, (uint64_t)i, SIDE);
        for (int r = 0; r < SIDE; r++)
            for (int c = 0; c < SIDE; c++) {
                bool bar = labels[i] == 0 ? r == at : labels[i] == 1 && c == at;
                uint64_t element = (uint64_t)(IMAGES + (i * SIDE + r) * SIDE + c);
                images[i][r][c] = (bar ? 1.0F : 0.0F) + 0.2F * qn_rng_uniform(rng, element);
            }
    }
}

static int setup(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/quern-net-XXXXXX");
    draw_images();
    return mkdtemp(folder) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    (void)!qn_folder_remove(folder, NULL);
    return 0;
}

static qn_net *small_cnn(void)
{
    qn_net *net = qn_net_create(QN_INPUT(SIDE, SIDE, 1), NULL);
    qn_net_conv2d(net, 8, 3, QN_RELU, NULL);
    qn_net_max_pool2d(net, 2);
    qn_net_flatten(net);
    qn_net_dropout(net, 0.1F);
    qn_net_dense(net, KINDS, QN_SOFTMAX);
    return net;
}

static qn_view image_view(void)
{
    return QN_VIEW_OF(&images[0][0][0], IMAGES, SIDE, SIDE, 1);
}

static void mission_one_gives_five_and_six(void **state)
{
    (void)state;
    static const float inputs[4][2] = {{1, 2}, {3, 4}, {5, 6}, {7, 8}};
    static const float targets[4][1] = {{1}, {2}, {3}, {4}};
    static const float questions[2][2] = {{9, 10}, {11, 12}};
    float answers[2][1];
    qn_error err = {0};
    qn_net *net = qn_net_create(QN_INPUT(2), &err);
    qn_net_dense(net, 1, QN_LINEAR);
    qn_fit_options fit = {.loss = QN_LOSS_MSE, .optimizer = qn_sgd(0.01F), .epochs = 1000};
    assert_ok(qn_net_fit(net, QN_VIEW(inputs), QN_VIEW(targets), &fit, &err), &err);
    assert_ok(qn_net_predict(net, QN_VIEW(questions), QN_VIEW_OUT(answers), &err), &err);
    assert_near((double)answers[0][0], 5, 0.05);
    assert_near((double)answers[1][0], 6, 0.05);
    qn_net_destroy(net);
}

static void fit_cnn(qn_net *net, int threads, float answers[IMAGES][KINDS])
{
    qn_error err = {0};
    qn_fit_options fit = {.loss = QN_LOSS_CROSS_ENTROPY,
                          .optimizer = qn_adam(0.01F),
                          .epochs = 8,
                          .batch = 32,
                          .threads = threads};
    assert_ok(qn_net_fit(net, image_view(), QN_VIEW_1D(labels), &fit, &err), &err);
    qn_view_out out = QN_VIEW_OUT_OF(&answers[0][0], IMAGES, KINDS);
    assert_ok(qn_net_predict(net, image_view(), out, &err), &err);
}

static void threads_do_not_change_a_bit(void **state)
{
    (void)state;
    static float one[IMAGES][KINDS], other[IMAGES][KINDS];
    const int threads[2] = {2, 7};
    qn_net *net = small_cnn();
    fit_cnn(net, 1, one);
    qn_net_destroy(net);
    for (int i = 0; i < 2; i++) {
        net = small_cnn();
        fit_cnn(net, threads[i], other);
        qn_net_destroy(net);
        assert_memory_equal(one, other, sizeof one);
    }
}

static void cnn_learns_saves_and_loads(void **state)
{
    (void)state;
    static float before[IMAGES][KINDS], after[IMAGES][KINDS];
    qn_error err = {0};
    qn_evaluation first, second;
    qn_net *net = small_cnn();
    fit_cnn(net, 1, before);
    assert_ok(qn_net_evaluate(net, image_view(), QN_VIEW_1D(labels), &first, &err), &err);
    assert_true(first.accuracy > 0.9);
    assert_ok(qn_net_save(net, folder, &err), &err);
    qn_net_destroy(net);
    net = qn_net_load(folder, &err);
    assert_non_null(net);
    qn_view_out out = QN_VIEW_OUT_OF(&after[0][0], IMAGES, KINDS);
    assert_ok(qn_net_predict(net, image_view(), out, &err), &err);
    assert_memory_equal(before, after, sizeof before);
    assert_ok(qn_net_evaluate(net, image_view(), QN_VIEW_1D(labels), &second, &err), &err);
    assert_near(second.loss, first.loss, 0);
    /* and a loaded net goes on learning */
    fit_cnn(net, 1, after);
    qn_net_destroy(net);
}

static void samples_do_not_depend_on_their_batch(void **state)
{
    (void)state;
    static float together[IMAGES][KINDS], alone[1][KINDS];
    qn_error err = {0};
    qn_net *net = small_cnn();
    fit_cnn(net, 1, together);
    for (int i = 0; i < IMAGES; i++) {
        qn_view one = QN_VIEW_OF(&images[i][0][0], 1, SIDE, SIDE, 1);
        assert_ok(qn_net_predict(net, one, QN_VIEW_OUT(alone), &err), &err);
        assert_memory_equal(alone, together[i], sizeof alone);
    }
    qn_net_destroy(net);
}

static void onehot_targets_are_labels(void **state)
{
    (void)state;
    static float onehot[IMAGES][KINDS], by_label[IMAGES][KINDS], by_row[IMAGES][KINDS];
    qn_error err = {0};
    for (int i = 0; i < IMAGES; i++)
        onehot[i][labels[i]] = 1;
    qn_net *net = small_cnn();
    fit_cnn(net, 1, by_label);
    qn_net_destroy(net);
    net = small_cnn();
    qn_fit_options fit = {
        .loss = QN_LOSS_CROSS_ENTROPY, .optimizer = qn_adam(0.01F), .epochs = 8, .threads = 1};
    assert_ok(qn_net_fit(net, image_view(), QN_VIEW(onehot), &fit, &err), &err);
    qn_view_out out = QN_VIEW_OUT_OF(&by_row[0][0], IMAGES, KINDS);
    assert_ok(qn_net_predict(net, image_view(), out, &err), &err);
    assert_memory_equal(by_label, by_row, sizeof by_row);
    onehot[7][0] = 0.5F;
    assert_int_equal(qn_net_fit(net, image_view(), QN_VIEW(onehot), &fit, &err), QN_ERR_DATA);
    assert_text(&err, "target row 7 is not one-hot");
    qn_net_destroy(net);
}

static void wrong_shape_says_what_was_expected(void **state)
{
    (void)state;
    static const float wrong[1][1][4][2] = {{{{1, 2}, {3, 4}, {5, 6}, {7, 8}}}};
    static const int32_t label[1] = {0};
    qn_error err = {0};
    qn_net *net = small_cnn();
    qn_fit_options fit = {.loss = QN_LOSS_CROSS_ENTROPY};
    qn_view inputs = QN_VIEW_OF(&wrong[0][0][0][0], 1, 1, 4, 2);
    assert_int_equal(qn_net_fit(net, inputs, QN_VIEW_1D(label), &fit, &err), QN_ERR_ARG);
    assert_text(&err, "dimension 1 of 1 where 10 is expected");
    assert_text(&err, "[1, 4, 2]");
    assert_text(&err, "[10, 10, 1]");
    qn_net_destroy(net);
}

static void first_error_sticks(void **state)
{
    (void)state;
    static const float inputs[2][2] = {{1, 2}, {3, 4}}, targets[2][1] = {{1}, {2}};
    qn_error err = {0};
    qn_net *net = qn_net_create(QN_INPUT(2), &err);
    qn_net_conv2d(net, 4, 3, QN_RELU, NULL); /* wants images */
    qn_net_dense(net, 1, QN_LINEAR);
    assert_int_equal(qn_net_check(net, &err), QN_ERR_ARG);
    assert_text(&err, "layers[0] conv2d");
    err = (qn_error){0};
    assert_int_equal(qn_net_fit(net, QN_VIEW(inputs), QN_VIEW(targets), NULL, &err), QN_ERR_ARG);
    assert_text(&err, "layers[0] conv2d");
    qn_net_destroy(net);
    qn_net_dense(NULL, 1, QN_LINEAR);
    assert_int_equal(qn_net_check(NULL, &err), QN_ERR_MEMORY);
    assert_null(qn_net_create((qn_input){0}, &err));
}

static void labels_outside_the_classes_are_refused(void **state)
{
    (void)state;
    qn_error err = {0};
    qn_net *net = small_cnn();
    qn_fit_options fit = {.loss = QN_LOSS_CROSS_ENTROPY};
    static int32_t wrong[IMAGES];
    wrong[11] = KINDS;
    assert_int_equal(qn_net_fit(net, image_view(), QN_VIEW_1D(wrong), &fit, &err), QN_ERR_DATA);
    assert_text(&err, "label 3 of sample 11 is not one of 0 to 2");
    qn_net_destroy(net);
}

static int stop_at_two(void *context, const qn_epoch *epoch)
{
    *(int *)context = epoch->epoch;
    assert_true(isfinite(epoch->valid_loss));
    return epoch->epoch == 2;
}

static void epochs_are_reported_and_can_stop(void **state)
{
    (void)state;
    static const float inputs[4][2] = {{0, 0}, {0, 1}, {1, 0}, {1, 1}};
    static const float targets[4][1] = {{0}, {1}, {1}, {0}};
    qn_error err = {0};
    int last = 0;
    qn_net *net = qn_net_create(QN_INPUT(2), &err);
    qn_net_dense(net, 8, QN_TANH);
    qn_net_dense(net, 1, QN_SIGMOID);
    qn_fit_options fit = {.loss = QN_LOSS_BCE,
                          .epochs = 50,
                          .valid_inputs = QN_VIEW(inputs),
                          .valid_targets = QN_VIEW(targets),
                          .on_epoch = stop_at_two,
                          .context = &last};
    assert_ok(qn_net_fit(net, QN_VIEW(inputs), QN_VIEW(targets), &fit, &err), &err);
    assert_int_equal(last, 2);
    qn_net_destroy(net);
}

/* What one unit answers to 1 after learning 1 -> 9 from the same weights: gradients are equal and large. */
static float answer_after(const qn_fit_options *fit)
{
    static const float inputs[4][1] = {{1}, {1}, {1}, {1}}, targets[4][1] = {{9}, {9}, {9}, {9}};
    float answers[1][1] = {{-1}};
    qn_error err = {0};
    qn_net *net = qn_net_create(QN_INPUT(1), &err);
    qn_net_dense(net, 1, QN_LINEAR);
    assert_ok(qn_net_fit(net, QN_VIEW(inputs), QN_VIEW(targets), fit, &err), &err);
    assert_ok(
        qn_net_predict(net, (qn_view){inputs, QN_DTYPE_F32, 2, {1, 1}}, QN_VIEW_OUT(answers), &err),
        &err);
    qn_net_destroy(net);
    return answers[0][0];
}

static void clipping_accumulation_and_schedules_change_the_steps(void **state)
{
    (void)state;
    qn_fit_options fit = {.optimizer = qn_sgd(0.01F), .epochs = 1, .batch = 1};
    float plain = answer_after(&fit);
    fit.clip_value = 0.5F; /* 4 steps, weight and bias move by 0.005 each */
    float clipped = answer_after(&fit);
    fit.clip_value = 0;
    fit.optimizer = qn_sgd(1e-9F);
    float start = answer_after(&fit);
    assert_true(fabsf(clipped - start - 0.04F) < 1e-4F);
    fit = (qn_fit_options){.optimizer = qn_sgd(0.01F), .batch = 1, .clip_norm = 1};
    assert_true(fabsf(answer_after(&fit) - start - 4 * 0.0141421F) < 1e-4F);
    fit = (qn_fit_options){.optimizer = qn_sgd(0.01F), .batch = 1, .accumulate = 4};
    qn_fit_options whole = {.optimizer = qn_sgd(0.01F), .batch = 4};
    assert_true(fabsf(answer_after(&fit) - answer_after(&whole)) < 1e-5F);
    fit = (qn_fit_options){
        .optimizer = qn_sgd(0.01F), .batch = 1, .schedule = {.kind = QN_RATE_LINEAR}};
    float falling = answer_after(&fit);
    assert_true(falling > start && falling < plain);
}

/* At this rate each step throws the answer as far beyond 9 as it was before it: the loss never falls. */
static void plateau_ends_a_swing(void **state)
{
    (void)state;
    qn_fit_options fit = {.optimizer = qn_sgd(0.5F), .epochs = 60, .batch = 4};
    assert_true(fabsf(answer_after(&fit) - 9) > 5);
    fit.schedule = (qn_rate_schedule){.kind = QN_RATE_PLATEAU, .patience = 2};
    assert_true(fabsf(answer_after(&fit) - 9) < 0.1F);
}

static int note_epoch(void *context, const qn_epoch *epoch)
{
    qn_epoch *last = context;
    assert_int_equal(epoch->epoch, last->epoch + 1);
    *last = *epoch;
    return 0;
}

static void lbfgs_finds_the_minimum(void **state)
{
    (void)state;
    static const float inputs[4][2] = {{1, 2}, {3, 4}, {5, 6}, {7, 9}};
    static const float targets[4][1] = {{1}, {2}, {3}, {5}};
    qn_error err = {0};
    qn_epoch last = {0};
    qn_evaluation result;
    qn_net *net = qn_net_create(QN_INPUT(2), &err);
    qn_net_dense(net, 1, QN_LINEAR);
    qn_fit_options fit = {
        .optimizer = qn_lbfgs(0), .on_epoch = note_epoch, .context = &last, .threads = 1};
    assert_ok(qn_net_fit(net, QN_VIEW(inputs), QN_VIEW(targets), &fit, &err), &err);
    assert_ok(qn_net_evaluate(net, QN_VIEW(inputs), QN_VIEW(targets), &result, &err), &err);
    assert_true(result.loss < 1e-6);
    assert_true(last.epoch > 1 && last.epoch < 60 && last.epochs == 200);
    assert_true(fabs(last.loss - result.loss) < 1e-6);
    qn_net_destroy(net);
}

/* From weights that are all zero, hidden units would never differ. */
static void lbfgs_learns_with_hidden_units(void **state)
{
    (void)state;
    static const float inputs[4][2] = {{0, 0}, {0, 1}, {1, 0}, {1, 1}};
    static const uint8_t targets[4][1] = {{0}, {1}, {1}, {0}};
    qn_error err = {0};
    qn_epoch last = {0};
    qn_evaluation result;
    qn_net *net = qn_net_create(QN_INPUT(2), &err);
    qn_net_dense(net, 16, QN_TANH);
    qn_net_dense(net, 1, QN_SIGMOID);
    qn_fit_options fit = {.loss = QN_LOSS_BCE,
                          .optimizer = qn_lbfgs(1e-4F),
                          .on_epoch = note_epoch,
                          .context = &last};
    assert_ok(qn_net_fit(net, QN_VIEW(inputs), QN_VIEW(targets), &fit, &err), &err);
    assert_ok(qn_net_evaluate(net, QN_VIEW(inputs), QN_VIEW(targets), &result, &err), &err);
    assert_true(result.accuracy == 1 && result.loss < 0.1);
    assert_true(last.accuracy == 1);
    qn_net_destroy(net);
}

static void lbfgs_refuses_dropout(void **state)
{
    (void)state;
    static const float inputs[1][1] = {{1}}, targets[1][1] = {{0}};
    qn_error err = {0};
    qn_net *net = qn_net_create(QN_INPUT(1), &err);
    qn_net_dropout(net, 0.5F);
    qn_net_dense(net, 1, QN_LINEAR);
    qn_fit_options fit = {.optimizer = qn_lbfgs(0)};
    assert_int_equal(qn_net_fit(net, QN_VIEW(inputs), QN_VIEW(targets), &fit, &err), QN_ERR_ARG);
    assert_text(&err, "dropout");
    qn_net_destroy(net);
}

static void plans_are_shown_before_any_data(void **state)
{
    (void)state;
    qn_error err = {0};
    const char *text = NULL;
    qn_net *net = qn_net_create(QN_INPUT(28, 28, 1), &err);
    qn_net_conv2d(net, 8, 3, QN_RELU, NULL);
    qn_net_flatten(net);
    qn_net_dense(net, 10, QN_SOFTMAX);
    const qn_fit_options fit = {.loss = QN_LOSS_CROSS_ENTROPY};
    assert_ok(qn_net_plan(net, 32, &fit, &text, &err), &err);
    assert_non_null(strstr(text, "Conv"));
    assert_non_null(strstr(text, "[32, 28, 28, 1]"));
    assert_non_null(strstr(text, "SoftmaxCrossEntropy"));
    assert_non_null(strstr(text, "Adam"));
    assert_non_null(strstr(text, "states change from here"));
    assert_ok(qn_net_plan(net, 1, NULL, &text, &err), &err);
    assert_non_null(strstr(text, "[1, 28, 28, 1]"));
    assert_null(strstr(text, "Adam"));
    assert_int_equal(qn_net_plan(net, 0, NULL, &text, &err), QN_ERR_ARG);
    assert_text(&err, "a batch of 0");
    qn_net_destroy(net);
}

static void wrong_fit_options_are_refused(void **state)
{
    (void)state;
    static const float inputs[1][1] = {{1}}, targets[1][1] = {{0}};
    const struct {
        qn_fit_options fit;
        const char *text;
    } rows[] = {{{.clip_norm = -1}, "clipping at norm -1"},
                {{.accumulate = -2}, "-2 batches per update"},
                {{.label_smoothing = 1.5F}, "a label smoothing of 1.5"},
                {{.schedule = {.warmup = 2}}, "a warm-up of 2"},
                {{.schedule = {.kind = (qn_rate_kind)12}}, "schedule 12"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        qn_error err = {0};
        qn_net *net = qn_net_create(QN_INPUT(1), &err);
        qn_net_dense(net, 1, QN_LINEAR);
        assert_int_equal(qn_net_fit(net, QN_VIEW(inputs), QN_VIEW(targets), &rows[i].fit, &err),
                         QN_ERR_ARG);
        assert_text(&err, rows[i].text);
        qn_net_destroy(net);
    }
}

/* Both ways reach every kind of layer that has weights, and a layer that has none says so. */
static void weights_may_be_made_of_others(void **state)
{
    (void)state;
    static const float inputs[4][72] = {{1}, {0, 2}}, targets[4][1] = {{1}, {2}};
    const qn_view images_of = QN_VIEW_OF(&inputs[0][0], 4, 6, 6, 2);
    float answers[2][4][1];
    for (int kind = 0; kind < 2; kind++) {
        qn_error err = {0};
        qn_net *net = qn_net_create(QN_INPUT(6, 6, 2), &err);
        qn_net_conv2d(net, 4, 3, QN_RELU, NULL);
        qn_net_reparametrize(net, (qn_reparametrization)kind);
        qn_net_layer(net, "conv2d_transpose", "{\"filters\": 2, \"kernel\": 3 } ");
        qn_net_reparametrize(net, (qn_reparametrization)kind);
        qn_net_layer(net, "reshape", "{\"shape\": [6, 12]}");
        qn_net_layer(net, "lstm", "{\"units\": 3}");
        qn_net_reparametrize(net, (qn_reparametrization)kind);
        qn_net_dense(net, 1, QN_LINEAR);
        qn_net_reparametrize(net, (qn_reparametrization)kind);
        qn_fit_options fit = {.optimizer = qn_adam(0.1F), .epochs = 2};
        assert_ok(qn_net_fit(net, images_of, QN_VIEW(targets), &fit, &err), &err);
        assert_ok(qn_net_save(net, folder, &err), &err);
        assert_ok(qn_net_predict(net, images_of, QN_VIEW_OUT(answers[0]), &err), &err);
        qn_net_destroy(net);
        net = qn_net_load(folder, &err);
        assert_non_null(net);
        assert_ok(qn_net_predict(net, images_of, QN_VIEW_OUT(answers[1]), &err), &err);
        assert_memory_equal(answers[0], answers[1], sizeof answers[0]);
        qn_net_destroy(net);
    }
    qn_error err = {0};
    qn_net *net = qn_net_create(QN_INPUT(6), &err);
    qn_net_layer(net, "flatten", NULL);
    qn_net_reparametrize(net, QN_WEIGHT_NORM);
    assert_int_equal(qn_net_check(net, &err), QN_ERR_ARG);
    assert_text(&err, "layers[0] flatten: unknown attribute 'reparametrize'");
    qn_net_destroy(net);
    net = qn_net_create(QN_INPUT(6), &err);
    qn_net_reparametrize(net, QN_WEIGHT_NORM);
    assert_int_equal(qn_net_check(net, &err), QN_ERR_ARG);
    assert_text(&err, "no layer to reparametrize");
    qn_net_destroy(net);
}

/* Masks, beginnings made of the sample and unpooling from C: what JSON gives is what a recipe gives. */
static void layers_by_name_take_rows_and_lists(void **state)
{
    (void)state;
    static const float inputs[4][24] = {{1}, {0, 2}, {3, 4, 5}};
    static const float targets[4][1] = {{1}, {2}, {0}, {1}};
    const qn_view sequences = QN_VIEW_OF(&inputs[0][0], 4, 6, 4);
    float answers[2][4][1];
    qn_error err = {0};
    qn_net *net = qn_net_create(QN_INPUT(6, 4), &err);
    qn_net_layer(net, "transformer",
                 "{\"heads\": 2, \"mask\": [[1, 1, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0], [true, true, "
                 "true, false, false, false], [0, 0, 1, 1, 0, 0], [1, 0, 0, 0, 1, 1], [1, 1, 1, 1, "
                 "1, 1]]}");
    qn_net_layer(net, "max_unpool1d", "{\"layers\": [{\"dense\": {\"units\": 4}}]}");
    qn_net_layer(net, "lstm",
                 "{\"units\": 3, \"initial\": [\"flatten\", {\"dense\": {\"units\": 6}}]}");
    qn_net_dense(net, 1, QN_LINEAR);
    qn_fit_options fit = {.optimizer = qn_adam(0.1F), .epochs = 2};
    assert_ok(qn_net_fit(net, sequences, QN_VIEW(targets), &fit, &err), &err);
    assert_ok(qn_net_save(net, folder, &err), &err);
    assert_ok(qn_net_predict(net, sequences, QN_VIEW_OUT(answers[0]), &err), &err);
    qn_net_destroy(net);
    net = qn_net_load(folder, &err);
    assert_non_null(net);
    assert_ok(qn_net_predict(net, sequences, QN_VIEW_OUT(answers[1]), &err), &err);
    assert_memory_equal(answers[0], answers[1], sizeof answers[0]);
    qn_net_destroy(net);
}

/* An activation may be a layer of its own, and is the one that a dense layer has within. */
static void activations_stand_alone(void **state)
{
    (void)state;
    static const float inputs[4][2] = {{0, 0}, {0, 1}, {1, 0}, {1, 1}};
    static const float targets[4][3] = {{0}, {1}, {1}, {0}};
    float answers[2][4][3];
    qn_error err = {0};
    for (int apart = 0; apart < 2; apart++) {
        qn_net *net = qn_net_create(QN_INPUT(2), &err);
        qn_net_dense(net, 3, apart ? QN_LINEAR : QN_MISH);
        if (apart)
            qn_net_activation(net, QN_MISH);
        qn_fit_options fit = {.loss = QN_LOSS_MSE, .optimizer = qn_sgd(0.1F), .epochs = 3};
        assert_ok(qn_net_fit(net, QN_VIEW(inputs), QN_VIEW(targets), &fit, &err), &err);
        assert_ok(qn_net_predict(net, QN_VIEW(inputs), QN_VIEW_OUT(answers[apart]), &err), &err);
        qn_net_destroy(net);
    }
    for (int i = 0; i < 12; i++)
        assert_near(answers[1][i / 3][i % 3], answers[0][i / 3][i % 3], 1e-6);
    qn_net *net = qn_net_create(QN_INPUT(2), &err);
    qn_net_activation(net, (qn_activation)(QN_HARD_TANH + 1));
    qn_fit_options fit = {.loss = QN_LOSS_MSE, .optimizer = qn_sgd(0.1F), .epochs = 1};
    assert_int_equal(qn_net_fit(net, QN_VIEW(inputs), QN_VIEW(targets), &fit, &err), QN_ERR_ARG);
    assert_text(&err, "unknown activation");
    qn_net_destroy(net);
}

static void xor_is_learned(void **state)
{
    (void)state;
    static const float inputs[4][2] = {{0, 0}, {0, 1}, {1, 0}, {1, 1}};
    static const uint8_t targets[4][1] = {{0}, {1}, {1}, {0}};
    qn_error err = {0};
    qn_evaluation result;
    qn_net *net = qn_net_create(QN_INPUT(2), &err);
    qn_net_dense(net, 16, QN_TANH);
    qn_net_dense(net, 1, QN_SIGMOID);
    qn_fit_options fit = {.loss = QN_LOSS_BCE, .optimizer = qn_adam(0.05F), .epochs = 200};
    assert_ok(qn_net_fit(net, QN_VIEW(inputs), QN_VIEW(targets), &fit, &err), &err);
    assert_ok(qn_net_evaluate(net, QN_VIEW(inputs), QN_VIEW(targets), &result, &err), &err);
    assert_near(result.accuracy, 1, 0);
    assert_true(result.loss < 0.1);
    qn_net_destroy(net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mission_one_gives_five_and_six),
        cmocka_unit_test(threads_do_not_change_a_bit),
        cmocka_unit_test(cnn_learns_saves_and_loads),
        cmocka_unit_test(samples_do_not_depend_on_their_batch),
        cmocka_unit_test(onehot_targets_are_labels),
        cmocka_unit_test(wrong_shape_says_what_was_expected),
        cmocka_unit_test(first_error_sticks),
        cmocka_unit_test(labels_outside_the_classes_are_refused),
        cmocka_unit_test(epochs_are_reported_and_can_stop),
        cmocka_unit_test(weights_may_be_made_of_others),
        cmocka_unit_test(layers_by_name_take_rows_and_lists),
        cmocka_unit_test(activations_stand_alone),
        cmocka_unit_test(xor_is_learned),
        cmocka_unit_test(plateau_ends_a_swing),
        cmocka_unit_test(lbfgs_finds_the_minimum),
        cmocka_unit_test(lbfgs_learns_with_hidden_units),
        cmocka_unit_test(lbfgs_refuses_dropout),
        cmocka_unit_test(plans_are_shown_before_any_data),
        cmocka_unit_test(clipping_accumulation_and_schedules_change_the_steps),
        cmocka_unit_test(wrong_fit_options_are_refused),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
