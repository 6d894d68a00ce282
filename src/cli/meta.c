/*
 * Verbs about the program itself: schema, completion, help.
 */
#include <string.h>

#include "cli/verbs.h"
#include "model/onnx_import.h"
#include "nn/layers.h"

static qn_status print_and_free(qn_buf *text, qn_status status, qn_error *err)
{
    if (status == QN_OK)
        status = qn_cli_print(text, err);
    qn_buf_deinit(text);
    return status;
}

/* A layer with a line for each attribute: name, default, meaning. */
static void print_layer(const qn_nn_layer *layer, qn_buf *dst)
{
    qn_buf_printf(dst, "%s: %s\n", layer->name, layer->doc);
    for (const qn_nn_attr *attr = layer->attrs; attr && attr->name; attr++) {
        qn_buf_printf(dst, "    %-20s %-16s %s", attr->name,
                      attr->required ? "(required)" : attr->fallback, attr->doc);
        if (attr->choices && strchr(attr->choices, ' ')) /* one alone is the default */
            qn_buf_printf(dst, ": %s", attr->choices);
        qn_buf_byte(dst, '\n');
    }
}

/* Those whose name has `word` in it; NULL = all. */
static qn_status print_layers(const char *word, qn_buf *dst, qn_error *err)
{
    enum { NAMES_MAX = 256 };
    const char *names[NAMES_MAX];
    int count = 0, shown = 0;
    for (; count < NAMES_MAX && qn_nn_layer_at(count); count++) {
        const qn_nn_layer *layer = qn_nn_layer_at(count);
        names[count] = layer->name;
        if (word && !strstr(layer->name, word))
            continue;
        print_layer(layer, dst);
        shown++;
    }
    if (shown > 0)
        return QN_OK;
    (void)qn_error_set(err, QN_ERR_ARG, NULL, "unknown layer '%s'", word);
    const char *near = qn_error_nearest(word, names, count);
    return near ? qn_error_hint(err, QN_ERR_ARG, "did you mean '%s'?", near) : QN_ERR_ARG;
}

/* A line for each ONNX operator: name, opsets, what is not read of it. */
static void print_operators(qn_buf *dst)
{
    qn_onnx_support row;
    for (int i = 0; qn_onnx_support_at(i, &row); i++) {
        int first = row.since > QN_ONNX_OPSET_MIN || row.domain[0] ? row.since : QN_ONNX_OPSET_MIN;
        qn_buf_printf(dst, "%s%s%s %d", row.domain, row.domain[0] ? "." : "", row.op, first);
        if (row.until)
            qn_buf_printf(dst, " to %d", row.until);
        qn_buf_printf(dst, "%s%s\n", row.note ? ": " : "", row.note ? row.note : "");
    }
}

static qn_status run_schema(qn_cli *cli, qn_error *err)
{
    qn_buf text;
    qn_json_writer w;
    bool layers = strcmp(cli->arguments[0], "layers") == 0;
    bool onnx = strcmp(cli->arguments[0], "onnx") == 0;
    if (!layers && !onnx && strcmp(cli->arguments[0], "recipe") != 0)
        QN_FAIL(err, QN_ERR_ARG,
                "unknown schema '%s'; there are those of a 'recipe', of 'layers' and of 'onnx'",
                cli->arguments[0]);
    if (cli->arguments_count > 1 && !layers)
        QN_FAIL(err, QN_ERR_ARG, "unexpected argument '%s': only layers are shown one by one",
                cli->arguments[1]);
    qn_buf_init(&text, 0);
    if (onnx) {
        print_operators(&text);
        return print_and_free(&text, QN_OK, err);
    }
    if (layers) {
        qn_status status =
            print_layers(cli->arguments_count > 1 ? cli->arguments[1] : NULL, &text, err);
        return print_and_free(&text, status, err);
    }
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
    .arguments = "recipe|layers|onnx [LAYER]",
    .summary = "prints the JSON Schema of a recipe, the layers, or the ONNX operators",
    .about =
        "Prints the JSON Schema (2020-12) of a recipe: every key, its type, range, choices "
        "and default.\n"
        "Editors use it to complete and check recipes.\n"
        "With layers: every layer of model.layers with its attributes and their defaults; with a "
        "word behind it\n"
        "those that have it in their name.\n"
        "With onnx: every ONNX operator that is read, its first opset, and what is not read of it.",
    .arguments_min = 1,
    .arguments_max = 2,
    .examples = {"quern schema recipe > recipe.schema.json", "a schema for an editor",
                 "quern schema layers pool", "all pooling layers with their attributes"},
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
