/*
 * quern look: what is in the data.
 */
#include <unistd.h>

#include "cli/verbs.h"
#include "data/profile.h"
#include "os/term.h"

static qn_status print_look(qn_cli *cli, const qn_look *look, qn_error *err)
{
    qn_buf text;
    qn_buf_init(&text, 0);
    if (cli->json) {
        qn_json_writer w;
        qn_cli_event_begin(&w, &text, "result");
        qn_json_key(&w, "look");
        qn_look_write_json(look, &w);
        qn_cli_event_end(&w, &text);
    } else {
        qn_look_write_text(look, qn_term_is(STDOUT_FILENO) ? qn_term_columns(STDOUT_FILENO) : 100,
                           &text);
    }
    return qn_cli_print_free(&text, err);
}

static qn_status run(qn_cli *cli, qn_error *err)
{
    qn_recipe recipe;
    qn_dataset *dataset;
    qn_look look;
    QN_TRY(qn_cli_recipe(cli, cli->arguments[0], &recipe, err));
    QN_TRY(qn_cli_dataset(cli, &recipe, &dataset, err));
    qn_schema_options options = qn_recipe_schema_options(&recipe, dataset);
    qn_status status = qn_look_make(dataset, &options, &cli->arena, &look, err);
    if (status == QN_OK)
        status = print_look(cli, &look, err);
    qn_dataset_close(dataset);
    return status;
}

static const qn_flag flags[] = {QN_CLI_DATA_FLAGS, {0}};

const qn_verb qn_verb_look = {
    .name = "look",
    .arguments = "DATA",
    .summary = "shows what is in the data: types with reasons, missing values, problems",
    .about = "Reads a table (CSV, TSV), a folder of IDX files, an NPZ file or a folder "
             "CLASS/image.png and prints\n"
             "rows, columns, the type of each column with the reason for it, missing values and "
             "problems found.",
    .arguments_min = 1,
    .arguments_max = 1,
    .flags = flags,
    .common = QN_FLAG_JSON | QN_FLAG_QUIET | QN_FLAG_SET | QN_FLAG_MEM,
    .examples = {"quern look sales.csv",
                 "types, ranges, missing values and problems of every column",
                 "quern look sales.csv --target churn --json",
                 "the same as one JSON object, with the task that the target implies"},
    .run = run,
};
