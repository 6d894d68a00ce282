/*
 * Verbs about the program itself: schema, completion, help.
 */
#include <string.h>

#include "cli/verbs.h"

static qn_status print_and_free(qn_buf *text, qn_status status, qn_error *err)
{
    if (status == QN_OK)
        status = qn_cli_print(text, err);
    qn_buf_deinit(text);
    return status;
}

static qn_status run_schema(qn_cli *cli, qn_error *err)
{
    if (strcmp(cli->arguments[0], "recipe") != 0)
        QN_FAIL(err, QN_ERR_ARG, "unknown schema '%s'; there is one of a 'recipe'",
                cli->arguments[0]);
    qn_buf text;
    qn_json_writer w;
    qn_buf_init(&text, 0);
    qn_json_write_init(&w, &text);
    w.pretty = true;
    qn_recipe_write_schema(&w);
    qn_buf_byte(&text, '\n');
    return print_and_free(&text, QN_OK, err);
}

static qn_status run_completion(qn_cli *cli, qn_error *err)
{
    qn_buf text;
    qn_buf_init(&text, 0);
    qn_status status = qn_help_completion(cli->arguments[0], &text, err);
    return print_and_free(&text, status, err);
}

static qn_status run_help(qn_cli *cli, qn_error *err)
{
    const qn_verb *verb = cli->arguments_count ? qn_verb_find(cli->arguments[0]) : NULL;
    if (cli->arguments_count && !verb)
        QN_FAIL(err, QN_ERR_ARG, "unknown verb '%s'", cli->arguments[0]);
    qn_buf text;
    qn_buf_init(&text, 0);
    if (qn_cli_has(cli, "man"))
        qn_help_man(verb, &text);
    else if (verb)
        qn_help_verb(verb, &text);
    else
        qn_help_program(&text);
    return print_and_free(&text, QN_OK, err);
}

const qn_verb qn_verb_schema = {
    .name = "schema",
    .arguments = "recipe",
    .summary = "prints the JSON Schema of a recipe",
    .about = "Prints the JSON Schema (2020-12) of a recipe: every key, its type, range, choices "
             "and default.\n"
             "Editors use it to complete and check recipes.",
    .arguments_min = 1,
    .arguments_max = 1,
    .examples = {"quern schema recipe > recipe.schema.json", "a schema for an editor",
                 "quern schema recipe | less", "every key with its meaning"},
    .run = run_schema,
};

const qn_verb qn_verb_completion = {
    .name = "completion",
    .arguments = "bash|zsh|fish",
    .summary = "prints shell completion",
    .about = "Prints the completion script of a shell.",
    .arguments_min = 1,
    .arguments_max = 1,
    .examples = {"source <(quern completion bash)", "completion in this bash",
                 "quern completion fish > ~/.config/fish/completions/quern.fish",
                 "completion in every fish"},
    .run = run_completion,
};

static const qn_flag help_flags[] = {{"man", NULL, NULL, "as a man page (roff)"}, {0}};

const qn_verb qn_verb_help = {
    .name = "help",
    .arguments = "[VERB]",
    .summary = "prints what a verb does and takes",
    .about = "Prints the help of the program or of one verb, or its man page.",
    .arguments_min = 0,
    .arguments_max = 1,
    .flags = help_flags,
    .examples = {"quern help train", "flags and examples of quern train",
                 "quern help train --man | man -l -", "the man page"},
    .run = run_help,
};
