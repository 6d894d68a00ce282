/*
 * quern check: is this recipe, data or model sound? Trains nothing.
 */
#include <stdio.h>
#include <string.h>

#include "cli/verbs.h"
#include "format/safetensors.h"
#include "model/folder.h"
#include "model/predictor.h"
#include "os/file.h"

/* `plans`: what --plan asked for; NULL = nothing. */
static qn_status say_ok(qn_cli *cli, const char *what, const char *text, const qn_buf *plans,
                        qn_error *err)
{
    qn_buf line;
    qn_buf_init(&line, 0);
    if (cli->json) {
        qn_json_writer w;
        qn_cli_event_begin(&w, &line, "result");
        qn_json_put_text(&w, "check", what);
        qn_json_put_bool(&w, "ok", true);
        if (plans) {
            qn_json_key(&w, "plans");
            qn_json_str(&w, qn_buf_view(plans));
        }
        qn_cli_event_end(&w, &line);
    } else {
        if (plans)
            qn_buf_str(&line, qn_buf_view(plans));
        qn_buf_printf(&line, "ok: %s: %s\n", what, text);
    }
    return qn_cli_print_free(&line, err);
}

/* What is wrong with a thing that was to be checked is a negative answer, not a failure of the program; not finding it,
 * wrong use and lack of memory stay what they are. */
static qn_status negative(qn_status status, qn_error *err)
{
    if (status == QN_ERR_DATA && err)
        err->code = QN_ERR_NEGATIVE;
    return status == QN_ERR_DATA ? QN_ERR_NEGATIVE : status;
}

static qn_status check_safetensors(qn_cli *cli, const char *path, qn_error *err)
{
    qn_map map;
    qn_safetensors tensors;
    QN_TRY(qn_map_open(path, &map, err));
    qn_status status =
        qn_safetensors_read((qn_str){map.data, map.size}, path, &cli->arena, &tensors, err);
    qn_map_close(&map);
    QN_TRY(negative(status, err));
    return say_ok(cli, path, "a sound safetensors file", NULL, err);
}

/* The file's form, and whether every node of it can be computed. */
static qn_status check_onnx(qn_cli *cli, const char *path, qn_error *err)
{
    qn_predictor *predictor;
    qn_status status = qn_predictor_open(path, 0, NULL, &predictor, err);
    if (status == QN_ERR_UNSUPPORTED && err)
        err->code = status = QN_ERR_DATA;
    QN_TRY(negative(status, err));
    const qn_signature *signature = qn_predictor_signature(predictor);
    const char *text = qn_arena_printf(&cli->arena, "an ONNX model of %d inputs and %d outputs",
                                       signature->inputs_count, signature->outputs_count);
    qn_predictor_close(predictor);
    return say_ok(cli, path, text ? text : "an ONNX model", NULL, err);
}

typedef struct {
    const qn_cli *cli;
    qn_buf networks; /* "logistic (dense 1), mlp (dense 64 relu, dense 1)" */
} check_notes;

static void take_event(void *context, const qn_fit_event *event)
{
    check_notes *notes = context;
    bool note = event->kind == QN_FIT_NOTE || event->kind == QN_FIT_WARNING;
    if (note && !notes->cli->quiet)
        fprintf(stderr, "%s: %s\n", event->kind == QN_FIT_NOTE ? "note" : "warning", event->text);
    if (event->kind == QN_FIT_CANDIDATE)
        qn_buf_printf(&notes->networks, "%s%s (%s)", notes->networks.size ? ", " : "",
                      event->candidate, event->text);
}

/* Everything that training does before its first step. */
static qn_status check_recipe(qn_cli *cli, qn_error *err)
{
    qn_recipe recipe;
    qn_fit_result unused;
    check_notes notes = {.cli = cli};
    qn_fit_run_options options = {
        .check_only = true, .on_event = take_event, .context = &notes, .threads = 1};
    bool wants_plans = qn_cli_has(cli, "plan");
    qn_buf plans;
    QN_TRY(qn_cli_recipe(cli, cli->arguments[0], &recipe, err));
    QN_TRY(qn_cli_bytes(cli, "mem", &options.memory_max_bytes, err));
    qn_buf_init(&notes.networks, 0);
    qn_buf_init(&plans, 0);
    options.plans = wants_plans ? &plans : NULL;
    qn_status status = qn_fit_run(&recipe, &options, &cli->arena, &unused, err);
    if (status == QN_OK) {
        qn_buf_byte(&notes.networks, '\0');
        const char *text = notes.networks.failed ? "" : notes.networks.data;
        status = say_ok(cli, cli->arguments[0],
                        qn_arena_printf(&cli->arena, "training can begin: %s", text), options.plans,
                        err);
    }
    qn_buf_deinit(&plans);
    qn_buf_deinit(&notes.networks);
    return status;
}

static qn_status run(qn_cli *cli, qn_error *err)
{
    const char *path = cli->arguments[0];
    if (qn_str_ends(qn_str_from(path), ".safetensors"))
        return check_safetensors(cli, path, err);
    if (qn_path_is_onnx(path))
        return check_onnx(cli, path, err);
    if (!qn_folder_is_model(path, &cli->arena))
        return check_recipe(cli, err);
    QN_TRY(negative(qn_folder_verify(path, 0, &cli->arena, err), err));
    return say_ok(cli, path, "every file is as it was written", NULL, err);
}

static const qn_flag flags[] = {
    QN_CLI_DATA_FLAGS,
    {"plan", NULL, NULL,
     "also prints the plan of a training step: operations, shapes, kernels, bytes"},
    {0},
};

const qn_verb qn_verb_check = {
    .name = "check",
    .arguments = "RECIPE|MODEL",
    .summary = "checks a recipe against its data, or a model's files; trains nothing",
    .about =
        "A recipe: keys, values, data, target, split, columns, networks and memory: all that "
        "training does before "
        "its\n"
        "first step.\n"
        "A model folder: its format and the digest of every file. A safetensors file: its format.\n"
        "An ONNX file: its format, and that every node of it can be computed.\n"
        "Exit 1 when a file is not what it should be.",
    .arguments_min = 1,
    .arguments_max = 1,
    .flags = flags,
    .common = QN_FLAG_JSON | QN_FLAG_QUIET | QN_FLAG_SET | QN_FLAG_MEM | QN_FLAG_SEED,
    .examples = {"quern check churn.yaml", "would training start?", "quern check models/churn",
                 "has any file changed since it was written?"},
    .run = run,
};
