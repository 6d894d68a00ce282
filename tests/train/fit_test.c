/*
 * Training from a recipe: the same bits for any number of threads and for a run that was stopped
 * after every step, what a model folder then holds, and clean errors.
 */
#include "testing.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/rng.h"
#include "model/folder.h"
#include "model/predictor.h"
#include "model/recipe.h"
#include "os/file.h"
#include "train/fit.h"

static char folder[64];
static char table[96];

/* Two numbers and a category decide a class with some noise. */
static void write_table(void)
{
    qn_buf text;
    qn_error err;
    qn_rng rng = {.seed = 3};
    static const char *const cities[3] = {"Oslo", "Rome", "Kyiv"};
    qn_buf_init(&text, 0);
    qn_buf_text(&text, "age,income,city,owns\n");
    for (uint64_t row = 0; row < 400; row++) {
        double age = 18 + 60 * qn_rng_uniform_f64(rng, 4 * row);
        double income = 1000 + 4000 * qn_rng_uniform_f64(rng, 4 * row + 1);
        int city = (int)qn_rng_below(rng, 4 * row + 2, 3);
        double score = age / 30 + income / 2500 + (city == 1) - 3;
        bool owns = score + 0.5 * qn_rng_normal(rng, 4 * row + 3) > 0;
        qn_buf_printf(&text, "%.1f,%.0f,%s,%s\n", age, income, row % 17 ? cities[city] : "",
                      owns ? "yes" : "no");
    }
    assert_ok(qn_file_replace(table, text.data, text.size, &err), &err);
    qn_buf_deinit(&text);
}

static int setup(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/quern-fit-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    (void)snprintf(table, sizeof table, "%s/table.csv", folder);
    write_table();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    (void)!qn_folder_remove(folder, NULL);
    return 0;
}

typedef struct {
    volatile sig_atomic_t stop;
    bool stop_each_step;
    bool stop_twice; /* at the first step, and again when evaluation begins */
    int steps, epochs, results;
    int candidates; /* begun and done, none with a loss */
    int64_t best_epoch;
} watcher;

static void watch(void *context, const qn_fit_event *event)
{
    watcher *seen = context;
    seen->steps += event->kind == QN_FIT_STEP;
    seen->epochs += event->kind == QN_FIT_EPOCH;
    seen->results += event->kind == QN_FIT_RESULT;
    if (seen->stop_each_step && event->kind == QN_FIT_STEP)
        seen->stop = QN_STOP_NOW;
    if (seen->stop_twice && event->kind == QN_FIT_STEP)
        seen->stop = QN_STOP_STEP;
    if (seen->stop_twice && strcmp(event->phase, "evaluate") == 0)
        seen->stop = QN_STOP_NOW;
    if (event->kind == QN_FIT_CANDIDATE && event->metric)
        seen->best_epoch = event->epoch;
    seen->candidates += event->kind == QN_FIT_CANDIDATE && isnan(event->loss);
}

/* Trains `model` (the recipe's model and train sections) into FOLDER/name. */
static qn_status train(const char *sections, const char *name, int threads, watcher *seen,
                       bool resume, char *ret_path, qn_error *err)
{
    qn_arena arena;
    qn_recipe recipe;
    qn_fit_result result;
    char text[2048], out[128];
    (void)snprintf(text, sizeof text,
                   "quern: 1\nname: owns\ndata: {path: %s, target: owns}\n"
                   "split: {parts: [0.7, 0.15, 0.15]}\n%s",
                   table, sections);
    (void)snprintf(out, sizeof out, "%s/%s", folder, name);
    qn_arena_init(&arena, 0);
    qn_status status =
        qn_recipe_parse(qn_str_from(text), "test.yaml", NULL, 0, &arena, &recipe, err);
    if (status == QN_OK) {
        qn_fit_run_options options = {.out = out,
                                      .threads = threads,
                                      .resume = resume,
                                      .stop = seen ? &seen->stop : NULL,
                                      .on_event = seen ? watch : NULL,
                                      .context = seen};
        status = qn_fit_run(&recipe, &options, &arena, &result, err);
    }
    if (status == QN_OK && ret_path)
        (void)snprintf(ret_path, 128, "%s", result.folder);
    qn_arena_deinit(&arena);
    return status;
}

static void assert_same_file(const char *a, const char *b, const char *name)
{
    qn_arena arena;
    qn_error err;
    qn_str left, right;
    qn_arena_init(&arena, 0);
    assert_ok(qn_file_read(qn_path_join(&arena, a, name), 0, &arena, &left, &err), &err);
    assert_ok(qn_file_read(qn_path_join(&arena, b, name), 0, &arena, &right, &err), &err);
    assert_int_equal(left.size, right.size);
    assert_memory_equal(left.data, right.data, left.size);
    qn_arena_deinit(&arena);
}

static bool same_file(const char *a, const char *b, const char *name)
{
    qn_arena arena;
    qn_error err;
    qn_str left, right;
    qn_arena_init(&arena, 0);
    assert_ok(qn_file_read(qn_path_join(&arena, a, name), 0, &arena, &left, &err), &err);
    assert_ok(qn_file_read(qn_path_join(&arena, b, name), 0, &arena, &right, &err), &err);
    bool same = left.size == right.size && memcmp(left.data, right.data, left.size) == 0;
    qn_arena_deinit(&arena);
    return same;
}

static float weight_of(const qn_folder_model *model, const char *name)
{
    for (int i = 0; i < qn_state_count(model->state); i++) {
        const qn_named_tensor *named = qn_state_at(model->state, i);
        if (strstr(named->name, name))
            return *(const float *)named->tensor.data;
    }
    fail_msg("no weight %s", name);
    return 0;
}

static const char mlp[] = "model: {type: mlp, hidden: [16, 8]}\n"
                          "train: {epochs: 4, batch: 48, dropout: 0.2}\n";

static void threads_do_not_change_a_bit(void **state)
{
    (void)state;
    qn_error err;
    char one[128], other[128];
    assert_ok(train("", "one", 1, NULL, false, one, &err), &err);
    const int threads[2] = {2, 7};
    for (int i = 0; i < 2; i++) {
        assert_ok(train("", "other", threads[i], NULL, false, other, &err), &err);
        assert_same_file(one, other, "model.safetensors");
        assert_same_file(one, other, "metrics.json");
        assert_same_file(one, other, "quern.json");
    }
}

static void stopped_after_every_step_is_the_same(void **state)
{
    (void)state;
    qn_error err;
    char whole[128], pieces[128];
    assert_ok(train(mlp, "whole", 2, NULL, false, whole, &err), &err);
    qn_status status = QN_ERR_CANCELLED;
    int runs = 0;
    while (status == QN_ERR_CANCELLED && runs < 100) {
        watcher seen = {.stop_each_step = true};
        status = train(mlp, "pieces", 2, &seen, runs > 0, pieces, &err);
        runs++;
    }
    assert_ok(status, &err);
    assert_true(runs > 20); /* 4 epochs of 6 steps, each its own run */
    assert_same_file(whole, pieces, "model.safetensors");
    assert_same_file(whole, pieces, "metrics.json");
}

/* Averages of weights are states like any other. */
static void averages_survive_a_stop_after_every_step(void **state)
{
    (void)state;
    static const char *const sections[] = {
        "model: {type: mlp, hidden: [8]}\n"
        "train: {epochs: 3, batch: 70, optimizer: lion, lr: 0.01, ema: 0.9, accumulate: 2}\n",
        "model: {type: mlp, hidden: [8]}\n"
        "train: {epochs: 4, batch: 70, optimizer: nadam, swa: 0.5, schedule: constant}\n"};
    qn_error err;
    char whole[128], pieces[128], plain[128];
    for (int i = 0; i < 2; i++) {
        assert_ok(train(sections[i], "averaged", 2, NULL, false, whole, &err), &err);
        qn_status status = QN_ERR_CANCELLED;
        for (int runs = 0; status == QN_ERR_CANCELLED && runs < 50; runs++) {
            watcher seen = {.stop_each_step = true};
            status = train(sections[i], "parts", 2, &seen, runs > 0, pieces, &err);
        }
        assert_ok(status, &err);
        assert_same_file(whole, pieces, "model.safetensors");
        assert_same_file(whole, pieces, "metrics.json");
    }
    static const char without[] =
        "model: {type: mlp, hidden: [8]}\n"
        "train: {epochs: 4, batch: 70, optimizer: nadam, schedule: constant}\n";
    assert_ok(train(without, "plain", 2, NULL, false, plain, &err), &err);
    assert_false(same_file(whole, plain, "model.safetensors"));
}

/* A frozen layer ends as it began: the weights of two runs of different length are equal there. */
static void frozen_weights_stay(void **state)
{
    (void)state;
    qn_error err;
    char some[128], more[128];
    float first[2][2] = {{0}};
    const char *paths[2] = {some, more};
    static const char *const sections[] = {
        "model: {layers: [{dense: {units: 4}}, {dense: {units: 1}}]}\n"
        "train: {epochs: 1, groups: [{match: \"layers.0.*\", freeze: true}]}\n",
        "model: {layers: [{dense: {units: 4}}, {dense: {units: 1}}]}\n"
        "train: {epochs: 3, groups: [{match: \"layers.0.*\", freeze: true}]}\n"};
    assert_ok(train(sections[0], "some", 1, NULL, false, some, &err), &err);
    assert_ok(train(sections[1], "more", 1, NULL, false, more, &err), &err);
    for (int i = 0; i < 2; i++) {
        qn_arena arena;
        qn_folder_model model;
        qn_arena_init(&arena, 0);
        assert_ok(qn_folder_read(paths[i], 0, &arena, &model, &err), &err);
        first[i][0] = weight_of(&model, "layers.0.weight");
        first[i][1] = weight_of(&model, "layers.1.weight");
        qn_graph_destroy(model.graph);
        qn_state_destroy(model.state);
        qn_arena_deinit(&arena);
    }
    assert_true(first[0][0] == first[1][0]);
    assert_true(first[0][1] != first[1][1]);
}

static void stopped_again_in_evaluation_is_the_same(void **state)
{
    (void)state;
    qn_error err;
    char whole[128], pieces[128];
    assert_ok(train(mlp, "all", 2, NULL, false, whole, &err), &err);
    watcher seen = {.stop_twice = true};
    assert_int_equal(train(mlp, "twice", 2, &seen, false, NULL, &err), QN_ERR_CANCELLED);
    assert_text(&err, "checkpoint");
    assert_ok(train(mlp, "twice", 2, NULL, true, pieces, &err), &err);
    assert_same_file(whole, pieces, "model.safetensors");
    assert_same_file(whole, pieces, "metrics.json");
}

static void resume_refuses_another_recipe(void **state)
{
    (void)state;
    qn_error err;
    watcher seen = {.stop_each_step = true};
    assert_int_equal(train(mlp, "changed", 1, &seen, false, NULL, &err), QN_ERR_CANCELLED);
    static const char wider[] = "model: {type: mlp, hidden: [32, 8]}\n"
                                "train: {epochs: 4, batch: 48, dropout: 0.2}\n";
    assert_int_equal(train(wider, "changed", 1, NULL, true, NULL, &err), QN_ERR_DATA);
    assert_text(&err, "another recipe");
}

static void stop_after_the_step_writes_a_model(void **state)
{
    (void)state;
    qn_error err;
    char path[128];
    watcher seen = {.stop = QN_STOP_STEP};
    assert_ok(train(mlp, "stopped", 1, &seen, false, path, &err), &err);
    assert_int_equal(seen.results, 1);
    qn_arena arena;
    qn_arena_init(&arena, 0);
    assert_ok(qn_folder_verify(path, 0, &arena, &err), &err);
    qn_arena_deinit(&arena);
}

static void nan_names_step_and_op(void **state)
{
    (void)state;
    qn_error err;
    static const char wild[] =
        "model:\n  layers:\n    - dense: {units: 64}\n    - dense: {units: 64}\n    - dense: "
        "{units: 64}\n    - dense: {units: 1}\n"
        "train: {epochs: 4, batch: 48, optimizer: sgd, lr: 10, clip_norm: 0, schedule: constant, "
        "warmup: 0}\n";
    assert_int_equal(train(wild, "wild", 1, NULL, false, NULL, &err), QN_ERR_NUMERIC);
    assert_text(&err, "at step ");
    assert_text(&err, "model.layers");
}

static void every_kind_of_model_learns(void **state)
{
    (void)state;
    static const char *const kinds[] = {
        "model: {type: logistic}\n",
        "model: {type: logistic}\ntrain: {optimizer: adam, epochs: 3}\n",
        ("model:\n  layers:\n    - dense: {units: 8, activation: tanh}\n    - dense: {units: 2}\n"
         "train: {epochs: 3, schedule: plateau}\n"),
        "model: {type: mlp}\ntrain: {epochs: 3, accumulate: 2, class_weight: balanced}\n",
        "model: {type: mlp}\ntrain: {epochs: 3, optimizer: sgd, momentum: 0.9, metric: log_loss}\n",
        ("model: {type: mlp}\n"
         "train: {epochs: 3, optimizer: muon, loss: squared_hinge, margin: 2, options: {momentum: "
         "0.9}}\n"),
        ("model: {layers: [{dense: {units: 4}}, {dense: {units: 2, activation: log_softmax}}]}\n"
         "train: {epochs: 3, optimizer: adafactor, loss: nll, schedule: one_cycle}\n"),
    };
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        qn_error err;
        char path[128];
        watcher seen = {0};
        assert_ok(train(kinds[i], "kinds", 1, &seen, false, path, &err), &err);
        assert_int_equal(seen.candidates, 2);
        qn_predictor *predictor;
        assert_ok(qn_predictor_open(path, 0, NULL, &predictor, &err), &err);
        const qn_signature *signature = qn_predictor_signature(predictor);
        assert_int_equal(signature->labels_count, 2);
        assert_int_equal(signature->columns_count, 3);
        assert_string_equal(signature->target, "owns");
        qn_predictor_close(predictor);
    }
}

/* So slow that no answer changes its class: only the loss falls. */
static void among_equal_metrics_the_better_loss_is_kept(void **state)
{
    (void)state;
    qn_error err;
    watcher seen = {0};
    static const char slow[] = "model: {type: logistic}\n"
                               "train: {epochs: 4, optimizer: sgd, lr: 1e-5, momentum: 0, "
                               "schedule: constant, warmup: 0, metric: accuracy}\n";
    assert_ok(train(slow, "slow", 1, &seen, false, NULL, &err), &err);
    assert_int_equal(seen.best_epoch, 4);
}

static void class_loss_of_a_number_is_refused(void **state)
{
    (void)state;
    qn_error err;
    assert_int_equal(train("model: {type: linear}\n", "refused", 1, NULL, false, NULL, &err),
                     QN_ERR_ARG);
    assert_text(&err, "logistic");
    assert_int_equal(train("train: {loss: mse}\n", "refused", 1, NULL, false, NULL, &err),
                     QN_ERR_ARG);
    assert_int_equal(train("train: {metric: rmse}\n", "refused", 1, NULL, false, NULL, &err),
                     QN_ERR_ARG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_do_not_change_a_bit),
        cmocka_unit_test(stopped_after_every_step_is_the_same),
        cmocka_unit_test(averages_survive_a_stop_after_every_step),
        cmocka_unit_test(frozen_weights_stay),
        cmocka_unit_test(stopped_again_in_evaluation_is_the_same),
        cmocka_unit_test(resume_refuses_another_recipe),
        cmocka_unit_test(stop_after_the_step_writes_a_model),
        cmocka_unit_test(nan_names_step_and_op),
        cmocka_unit_test(every_kind_of_model_learns),
        cmocka_unit_test(among_equal_metrics_the_better_loss_is_kept),
        cmocka_unit_test(class_loss_of_a_number_is_refused),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
