/*
 * The rows of the verb table, one file each, and what verbs that read data and recipes share.
 */
#ifndef QN_CLI_VERBS_H
#define QN_CLI_VERBS_H

#include "cli/verb.h"
#include "data/dataset.h"
#include "model/recipe.h"
#include "os/pool.h"
#include "train/fit.h"

extern const qn_verb qn_verb_look, qn_verb_init, qn_verb_check, qn_verb_train, qn_verb_eval,
    qn_verb_predict, qn_verb_serve, qn_verb_convert, qn_verb_doctor, qn_verb_schema,
    qn_verb_completion, qn_verb_help;

/* Flags that stand for recipe keys (--target, --test, ...): shared by look, init, check and train. */
#define QN_CLI_DATA_FLAGS                                                                          \
    {"target", "COLUMN", "what the data's layout implies", "the column to predict"},               \
        {"test", "DATA", "split off", "a second table or folder that is the test part"},           \
    {                                                                                              \
        "task", "TASK", "auto", "auto, binary, multiclass or regression"                           \
    }

/* The merged recipe of `path`: a recipe file, or data (then defaults around it), with QUERN_*, flags and --set on top. */
QN_MUST_USE qn_status qn_cli_recipe(qn_cli *cli, const char *path, qn_recipe *ret, qn_error *err);
/* Opens the recipe's data. Close with qn_dataset_close. */
QN_MUST_USE qn_status qn_cli_dataset(qn_cli *cli, const qn_recipe *recipe, qn_dataset **ret,
                                     qn_error *err);
/* Opens rows for a model: its columns name a table without a header, its categories stay as they are spelled, its
 * images are loaded. Close with qn_dataset_close. */
struct qn_predictor;
QN_MUST_USE qn_status qn_cli_model_data(qn_cli *cli, struct qn_predictor *predictor,
                                        const char *path, qn_dataset **ret, qn_error *err);
/* A pool of --threads. */
QN_MUST_USE qn_status qn_cli_pool(const qn_cli *cli, qn_pool **ret, qn_error *err);

/* Progress of training for people (live line or lines) or, with --json, as events. `context` is a qn_progress. */
typedef struct {
    const qn_cli *cli;
    bool live;
    int64_t next_step; /* the next power of two to say a line at */
} qn_progress;
void qn_progress_init(qn_progress *progress, const qn_cli *cli);
void qn_progress_event(void *context, const qn_fit_event *event);
void qn_progress_end(qn_progress *progress);

/* The table of metrics with intervals beside the baseline; `metrics` is metrics.json, `rows` the words before
 * the number of rows they are of. */
void qn_cli_metrics_text(const qn_json *metrics, const char *rows, qn_buf *dst);
/* Is --fail-under, where given, a known metric and a number? Before the work whose result it judges. */
QN_MUST_USE qn_status qn_cli_check_fail_under(const qn_cli *cli, qn_error *err);
/* --fail-under METRIC=VALUE against metrics.test: sets cli->negative and says so. */
QN_MUST_USE qn_status qn_cli_fail_under(qn_cli *cli, const qn_json *metrics, qn_error *err);

#endif
