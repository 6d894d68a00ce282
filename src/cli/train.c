/*
 * quern train: a recipe or a table in, a new version of a model out.
 */
#include <stdio.h>
#include <string.h>

#include "cli/verbs.h"
#include "os/file.h"

static qn_status dry_run(const qn_recipe *recipe, qn_error *err)
{
    qn_buf text;
    qn_buf_init(&text, 0);
    qn_recipe_write_origins(recipe, &text);
    return qn_cli_print_free(&text, err);
}

/* "chosen  mlp: dense 64 relu, dense 1 (7041 parameters)" */
static void print_chosen(const qn_json *metrics, qn_buf *dst)
{
    const qn_json *candidates = qn_json_find(metrics, "candidates");
    for (int64_t i = 0; candidates && i < candidates->count; i++) {
        const qn_json *candidate = &candidates->items[i];
        qn_str name, network;
        int64_t parameters;
        bool chosen = false;
        if (qn_json_get_bool(candidate, "chosen", true, &chosen, NULL) != QN_OK || !chosen ||
            qn_json_get_str(candidate, "name", true, &name, NULL) != QN_OK ||
            qn_json_get_str(candidate, "network", true, &network, NULL) != QN_OK ||
            qn_json_get_i64(candidate, "parameters", true, &parameters, NULL) != QN_OK)
            continue;
        qn_buf_printf(dst, "chosen  %.*s: %.*s (%lld parameters)\n", QN_STR_ARG(name),
                      QN_STR_ARG(network), (long long)parameters);
    }
}

static qn_status print_result(qn_cli *cli, const qn_fit_result *result, qn_error *err)
{
    if (cli->json)
        return QN_OK; /* the RESULT event said it */
    qn_buf text;
    qn_buf_init(&text, 0);
    qn_cli_metrics_text(&result->metrics, "test part of ", &text);
    print_chosen(&result->metrics, &text);
    qn_buf_printf(&text, "model   %s\nreport  %s/report.html\n", result->folder, result->folder);
    const char *slash = strrchr(result->folder, '/');
    qn_buf_printf(&text, "next    quern serve %.*s\n",
                  slash ? (int)(slash - result->folder) : (int)strlen(result->folder),
                  result->folder);
    return qn_cli_print_free(&text, err);
}

static qn_status run_options(qn_cli *cli, qn_fit_run_options *options, qn_error *err)
{
    int64_t threads = 0;
    QN_TRY(qn_cli_i64(cli, "threads", 1, 256, &threads, err));
    QN_TRY(qn_cli_seconds(cli, "time", &options->seconds_max, err));
    QN_TRY(qn_cli_seconds(cli, "checkpoint", &options->checkpoint_every_s, err));
    QN_TRY(qn_cli_bytes(cli, "mem", &options->memory_max_bytes, err));
    options->threads = (int)threads;
    options->out = qn_cli_text(cli, "out");
    options->resume = qn_cli_has(cli, "resume");
    options->stop = qn_cli_stop();
    return QN_OK;
}

static qn_status run(qn_cli *cli, qn_error *err)
{
    qn_recipe recipe;
    qn_fit_run_options options = {0};
    qn_fit_result result;
    qn_progress progress;
    QN_TRY(qn_cli_check_fail_under(cli, err));
    QN_TRY(qn_cli_recipe(cli, cli->arguments[0], &recipe, err));
    QN_TRY(run_options(cli, &options, err));
    if (qn_cli_has(cli, "dry-run"))
        return dry_run(&recipe, err);
    qn_progress_init(&progress, cli);
    options.on_event = qn_progress_event;
    options.context = &progress;
    qn_cli_catch_signals(NULL);
    qn_status status = qn_fit_run(&recipe, &options, &cli->arena, &result, err);
    qn_progress_end(&progress);
    QN_TRY(status);
    cli->interrupted = result.stopped && qn_cli_signal();
    QN_TRY(print_result(cli, &result, err));
    return qn_cli_fail_under(cli, &result.metrics, err);
}

static const qn_flag flags[] = {
    QN_CLI_DATA_FLAGS,
    {"name", "NAME", "from the file name", "name of the model"},
    {"model", "TYPE", "auto", "auto, linear, logistic, mlp or cnn"},
    {"out", "DIR", "models/NAME", "folder of the model; each training adds a version"},
    {"resume", NULL, NULL, "goes on from the checkpoint that a stopped run left in --out"},
    {"checkpoint", "TIME", "10s", "how often a checkpoint is written, for --resume after a crash"},
    {"dry-run", NULL, NULL,
     "prints the merged recipe with the origin of every value, and trains nothing"},
    {"fail-under", "METRIC=VALUE", NULL, "exit 1 when the test part's metric is worse than this"},
    {0},
};

const qn_verb qn_verb_train = {
    .name = "train",
    .arguments = "RECIPE|DATA",
    .summary = "trains, evaluates and writes a new version of a model",
    .about = "Cleans, splits, fits the transforms on the training part, trains, evaluates on the "
             "test part and writes a model\n"
             "folder with metrics, a report and the complete recipe; training that recipe again "
             "gives the same bits.\n"
             "Ctrl-C finishes the step, keeps the best weights and writes the report; a second one "
             "stops at once and leaves\n"
             "a checkpoint for --resume.",
    .arguments_min = 1,
    .arguments_max = 1,
    .flags = flags,
    .common = QN_FLAG_JSON | QN_FLAG_QUIET | QN_FLAG_THREADS | QN_FLAG_SEED | QN_FLAG_SET |
              QN_FLAG_MEM | QN_FLAG_TIME,
    .examples = {"quern train sales.csv --target churn",
                 "everything decided from the data; the model is models/sales/1",
                 "quern train churn.yaml --set train.epochs=50 --out models/churn",
                 "a recipe, with one key changed"},
    .run = run,
};
