/*
 * quern init: the complete recipe that training would use, with a comment on every key.
 */
#include "cli/verbs.h"
#include "os/file.h"

static qn_status write_recipe(qn_cli *cli, const qn_buf *text, qn_error *err)
{
    const char *out = qn_cli_text(cli, "out");
    if (!out)
        return qn_cli_print(text, err);
    if (text->failed)
        QN_FAIL(err, QN_ERR_MEMORY, "no memory for the recipe");
    if (qn_path_exists(out) && !qn_cli_has(cli, "force")) {
        qn_error_set(err, QN_ERR_ARG, out, "the file exists");
        return qn_error_hint(err, QN_ERR_ARG, "--force replaces it");
    }
    return qn_file_replace(out, text->data, text->size, err);
}

/* The types that training would infer, written as the recipe's `columns:`. */
static qn_status fill_columns(qn_cli *cli, qn_recipe *recipe, const qn_schema *schema,
                              qn_error *err)
{
    qn_column_options *columns = QN_NEW(&cli->arena, qn_column_options, schema->columns_count + 1);
    if (!columns)
        QN_FAIL(err, QN_ERR_MEMORY, "no memory for %lld columns", (long long)schema->columns_count);
    int64_t count = 0;
    for (int64_t i = 0; i < schema->columns_count; i++) {
        if (i == schema->target)
            continue;
        columns[count] = schema->columns[i].options;
        columns[count].name = schema->columns[i].name;
        columns[count++].type = schema->columns[i].type;
    }
    recipe->columns = columns;
    recipe->columns_count = count;
    return QN_OK;
}

static qn_status init_with(qn_cli *cli, qn_recipe *recipe, const qn_dataset *dataset, qn_error *err)
{
    qn_schema schema;
    qn_schema_options options = qn_recipe_schema_options(recipe, dataset);
    QN_TRY(qn_schema_infer(&dataset->frame, NULL, dataset->rows_main, &options, &cli->arena,
                           &schema, err));
    QN_TRY(fill_columns(cli, recipe, &schema, err));
    recipe->task = schema.task;
    qn_buf text;
    qn_buf_init(&text, 0);
    qn_recipe_write(recipe, true, &text);
    qn_status status = write_recipe(cli, &text, err);
    qn_buf_deinit(&text);
    return status;
}

static qn_status run(qn_cli *cli, qn_error *err)
{
    qn_recipe recipe;
    qn_dataset *dataset;
    QN_TRY(qn_cli_recipe(cli, cli->arguments[0], &recipe, err));
    QN_TRY(qn_cli_dataset(cli, &recipe, &dataset, err));
    qn_status status = init_with(cli, &recipe, dataset, err);
    qn_dataset_close(dataset);
    return status;
}

static const qn_flag flags[] = {
    QN_CLI_DATA_FLAGS,
    {"name", "NAME", "from the file name", "name of the model"},
    {"model", "TYPE", "auto", "auto, linear, logistic, mlp or cnn"},
    {"out", "FILE", "standard output", "where the recipe goes"},
    {"force", NULL, NULL, "replaces an existing file"},
    {0},
};

const qn_verb qn_verb_init = {
    .name = "init",
    .arguments = "DATA",
    .summary = "writes the complete recipe that training would use, commented",
    .about = "Looks at the data and writes a recipe with every key, its default, its choices and "
             "what it means.\n"
             "Edit it, then give it to quern train.",
    .arguments_min = 1,
    .arguments_max = 1,
    .flags = flags,
    .common = QN_FLAG_SEED | QN_FLAG_SET | QN_FLAG_MEM | QN_FLAG_QUIET,
    .examples = {"quern init sales.csv --target churn --out churn.yaml", "writes churn.yaml",
                 "quern init images/ --model cnn", "prints a recipe for a folder of images"},
    .run = run,
};
