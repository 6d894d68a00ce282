/*
 * Memory that runs out: every allocation of a small scenario fails in turn. Each time the scenario
 * either still succeeds or ends with a clean error, and nothing leaks (the sanitizer build says).
 * With one thread, so that allocation k is the same one in every run.
 */
#include "testing.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "os/file.h"
#include "quern/quern.h"

static char folder[] = "/tmp/quern-fault-XXXXXX";
static char model[64], table[64];

static int make_folder(void **state)
{
    (void)state;
    if (!mkdtemp(folder))
        return -1;
    snprintf(model, sizeof model, "%s/model", folder);
    snprintf(table, sizeof table, "%s/table.csv", folder);
    FILE *file = fopen(table, "w");
    if (!file)
        return -1;
    fputs("age,city,churn\n", file);
    for (int i = 0; i < 60; i++)
        fprintf(file, "%d,%s,%s\n", 20 + i * 7 % 50, i % 3 ? "Oslo" : "Bergen",
                i * 7 % 50 > 25 ? "yes" : "no");
    return fclose(file);
}

static int remove_folder(void **state)
{
    (void)state;
    return qn_folder_remove(folder, NULL) != QN_OK;
}

/* A net written in C: fit, save, load, predict. */
static qn_status use_net(qn_error *err)
{
    static const float inputs[4][2] = {{1, 2}, {3, 4}, {5, 6}, {7, 8}};
    static const float targets[4][1] = {{1}, {2}, {3}, {4}};
    float answers[4][1];
    qn_fit_options fit = {.optimizer = qn_adam(0.01F), .epochs = 2, .batch = 3, .threads = 1};

    qn_net *net = qn_net_create(QN_INPUT(2), err);
    qn_net_dense(net, 3, QN_RELU);
    qn_net_dropout(net, 0.1F);
    qn_net_dense(net, 1, QN_LINEAR);
    qn_status status = qn_net_fit(net, QN_VIEW(inputs), QN_VIEW(targets), &fit, err);
    if (status == QN_OK)
        status = qn_net_save(net, model, err);
    qn_net_destroy(net);
    if (status != QN_OK)
        return status;

    net = qn_net_load(model, err);
    if (!net)
        return QN_ERR_MEMORY;
    status = qn_net_predict(net, QN_VIEW(inputs), QN_VIEW_OUT(answers), err);
    qn_net_destroy(net);
    return status;
}

/* A sequence model: fit, save, load, go on from a prompt in both ways. */
static qn_status use_sequence(qn_error *err)
{
    static const int32_t text[] = {0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2};
    int32_t made[3];
    int64_t count;
    qn_seq_options options = {
        .vocab = 3, .context = 4, .width = 4, .layers = 1, .heads = 2, .tied = true};
    qn_seq_fit_options fit = {
        .steps = 2, .batch = 2, .threads = 1, .valid_tokens = text, .valid_count = 12};
    qn_seq *seq = qn_seq_create(&options, err);
    if (!seq)
        return QN_ERR_MEMORY;
    qn_status status = qn_seq_fit(seq, text, 12, &fit, err);
    if (status == QN_OK)
        status = qn_seq_save(seq, model, err);
    qn_seq_destroy(seq);
    if (status != QN_OK)
        return status;

    seq = qn_seq_load(model, err);
    if (!seq)
        return QN_ERR_MEMORY;
    for (int64_t beams = 0; beams < 3 && status == QN_OK; beams += 2) {
        qn_seq_generate_options how = {.tokens_max = 3, .beams = beams, .threads = 1};
        status = qn_seq_generate(seq, &(qn_seq_prompt){.tokens = text, .count = 2}, 1, &how, made,
                                 &count, err);
    }
    qn_seq_destroy(seq);
    return status;
}

/* What `quern train` and `quern predict` do, on a table. */
static qn_status use_table(qn_error *err)
{
    static const char *const set[] = {"train.epochs=1", "model.type=mlp"};
    static const char rows[] = "age,city\n33,Oslo\n,Bergen\n";
    qn_train_options options = {
        .out = model, .target = "churn", .threads = 1, .set = set, .set_count = 2};
    QN_TRY(qn_train(table, &options, NULL, 0, err));

    const char *json;
    qn_model *opened = qn_model_open(model, err);
    if (!opened)
        return QN_ERR_MEMORY;
    qn_status status = qn_model_predict_csv(opened, rows, sizeof rows - 1, &json, err);
    qn_model_close(opened);
    return status;
}

/* Runs `scenario` with allocation 1, 2, ... failing, until a run makes fewer than that. */
static void fail_each(qn_status (*scenario)(qn_error *err))
{
    qn_error err = {0};
    assert_ok(scenario(&err), &err); /* warm: what is made once is made */
    assert_int_equal(qn_folder_remove(model, NULL), QN_OK);
    int64_t before = qn_alloc_count();
    assert_ok(scenario(&err), &err);
    int64_t total = qn_alloc_count() - before;
    int64_t failed = 0;
    for (int64_t nth = 1; nth <= total; nth++) {
        (void)!qn_folder_remove(model, NULL);
        err = (qn_error){0};
        qn_alloc_fail_at(nth);
        qn_status status = scenario(&err);
        qn_alloc_fail_at(0);
        if (status == QN_OK)
            continue; /* it could do without */
        failed++;
        if (err.code != QN_ERR_MEMORY && err.code != QN_ERR_BUDGET)
            fail_msg("allocation %d of %d: error %d '%s'", (int)nth, (int)total, (int)err.code,
                     err.text);
    }
    assert_true(failed > total / 2);
    (void)!qn_folder_remove(model, NULL);
    err = (qn_error){0};
    assert_ok(scenario(&err), &err); /* and all is well afterwards */
}

static void net_survives_each_failed_allocation(void **state)
{
    (void)state;
    fail_each(use_net);
}

static void sequence_survives_each_failed_allocation(void **state)
{
    (void)state;
    fail_each(use_sequence);
}

static void table_survives_each_failed_allocation(void **state)
{
    (void)state;
    fail_each(use_table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(net_survives_each_failed_allocation),
        cmocka_unit_test(sequence_survives_each_failed_allocation),
        cmocka_unit_test(table_survives_each_failed_allocation),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
