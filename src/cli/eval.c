/*
 * quern eval: a model against labelled rows.
 */
#include <stdio.h>

#include "cli/verbs.h"
#include "model/predictor.h"
#include "train/evaluate.h"

enum { SLICES_SHOWN = 5 };

static void slices_text(const qn_slices *slices, qn_buf *dst)
{
    for (int64_t i = 0; i < slices->count && i < SLICES_SHOWN; i++) {
        const qn_slice *slice = &slices->items[i];
        if (i == 0)
            qn_buf_text(dst, "worst slices\n");
        qn_buf_printf(dst, "  %.*s = %.*s: %s %.4f on %lld rows\n", QN_STR_ARG(slice->column),
                      QN_STR_ARG(slice->level), qn_metric_name(slices->metric), slice->value,
                      (long long)slice->rows);
    }
}

/* {"event": "result", "metrics": {...}} or the table for people; `metrics` is the same as JSON text. */
static qn_status print(qn_cli *cli, const qn_eval *eval, const qn_json *metrics, const char *rows,
                       qn_error *err)
{
    qn_buf text;
    qn_buf_init(&text, 0);
    if (cli->json) {
        qn_json_writer w;
        qn_cli_event_begin(&w, &text, "result");
        qn_json_key(&w, "metrics");
        qn_eval_write_json(eval, &w);
        qn_cli_event_end(&w, &text);
    } else {
        qn_cli_metrics_text(metrics, rows, &text);
        slices_text(&eval->slices, &text);
    }
    if (eval->rows_unlabelled > 0 && !cli->quiet)
        fprintf(stderr, "note: %lld rows without a target were left out\n",
                (long long)eval->rows_unlabelled);
    return qn_cli_print_free(&text, err);
}

static qn_status to_tree(qn_cli *cli, const qn_eval *eval, qn_json *ret, qn_error *err)
{
    qn_buf text;
    qn_json_writer w;
    qn_buf_init(&text, 0);
    qn_json_write_init(&w, &text);
    qn_eval_write_json(eval, &w);
    char *copy = text.failed ? NULL : qn_arena_strndup(&cli->arena, text.data, text.size);
    qn_str view = {copy, text.size};
    qn_buf_deinit(&text);
    if (!copy)
        QN_FAIL(err, QN_ERR_MEMORY, "no memory for the metrics");
    return qn_json_read(view, NULL, &cli->arena, ret, err);
}

static qn_status evaluate(qn_cli *cli, qn_predictor *predictor, qn_error *err)
{
    qn_eval eval;
    qn_json metrics;
    qn_dataset *dataset;
    int64_t seed = 1;
    QN_TRY(qn_cli_i64(cli, "seed", 0, INT64_MAX, &seed, err));
    QN_TRY(qn_cli_model_data(cli, predictor, cli->arguments[1], &dataset, err));
    const qn_eval_options options = {.ignore_unknown = qn_cli_has(cli, "ignore-unknown"),
                                     .seed = (uint64_t)seed};
    /* Data that brings its own test part (an IDX folder) is evaluated on that part. */
    qn_frame frame = dataset->frame;
    bool test_part = dataset->rows_main < frame.rows;
    qn_status status = QN_OK;
    if (test_part)
        status = qn_frame_rows(&dataset->frame, dataset->rows_main, frame.rows - dataset->rows_main,
                               &cli->arena, &frame, err);
    if (status == QN_OK)
        status = qn_eval_run(predictor, &frame, &options, &cli->arena, &eval, err);
    if (status == QN_OK)
        status = to_tree(cli, &eval, &metrics, err);
    if (status == QN_OK)
        status = print(cli, &eval, &metrics, test_part ? "test part of " : "", err);
    qn_dataset_close(dataset);
    QN_TRY(status);
    return qn_cli_fail_under(cli, &metrics, err);
}

static qn_status run(qn_cli *cli, qn_error *err)
{
    qn_pool *pool;
    qn_predictor *predictor;
    QN_TRY(qn_cli_check_fail_under(cli, err));
    QN_TRY(qn_cli_pool(cli, &pool, err));
    qn_predictor_options options = {.pool = pool};
    qn_status status = qn_predictor_open(cli->arguments[0], 0, &options, &predictor, err);
    if (status == QN_OK) {
        status = evaluate(cli, predictor, err);
        qn_predictor_close(predictor);
    }
    qn_pool_destroy(pool);
    return status;
}

static const qn_flag flags[] = {
    {"fail-under", "METRIC=VALUE", NULL, "exit 1 when the metric is worse than this"},
    {"ignore-unknown", NULL, NULL, "leaves columns aside that the model does not know"},
    {0},
};

const qn_verb qn_verb_eval = {
    .name = "eval",
    .arguments = "MODEL DATA",
    .summary = "metrics on labelled data, with intervals, slices and the trivial baseline",
    .about =
        "Predicts every row of the data that has a target and compares. Each metric comes with its "
        "95 % bootstrap\n"
        "interval and the value of the best constant answer. Slices are rows of one level of a "
        "category column.",
    .arguments_min = 2,
    .arguments_max = 2,
    .flags = flags,
    .common = QN_FLAG_JSON | QN_FLAG_QUIET | QN_FLAG_THREADS | QN_FLAG_SEED | QN_FLAG_MEM,
    .examples = {"quern eval models/churn labelled.csv", "metrics of the newest version",
                 "quern eval models/churn labelled.csv --fail-under auroc=0.9",
                 "exit 1 when it has become worse"},
    .run = run,
};
