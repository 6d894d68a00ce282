/*
 * `quern convert`: a model in another program's format.
 */
#include "base/alloc.h"
#include "cli/verbs.h"
#include "format/onnx.h"
#include "model/folder.h"
#include "model/onnx_export.h"
#include "model/onnx_import.h"
#include "os/file.h"

static qn_status write_onnx(const qn_graph *graph, const qn_state *state, const char *name,
                            const char *path, qn_error *err)
{
    qn_buf bytes;
    qn_buf_init(&bytes, 0);
    qn_status status = qn_onnx_export(&bytes, graph, state, name, err);
    if (status == QN_OK)
        status = qn_file_replace(path, bytes.data, bytes.size, err);
    qn_buf_deinit(&bytes);
    return status;
}

static qn_status from_folder(qn_cli *cli, const char *out, qn_error *err)
{
    qn_folder_model model;
    QN_TRY(qn_folder_read(cli->arguments[0], 0, &cli->arena, &model, err));
    qn_status status = write_onnx(model.graph, model.state, model.name, out, err);
    qn_folder_model_deinit(&model);
    return status;
}

/* Through our graph: what comes out is what would run here. */
static qn_status from_onnx(qn_cli *cli, const char *out, qn_error *err)
{
    qn_onnx_model file;
    qn_graph *graph;
    qn_state *state;
    QN_TRY(qn_onnx_open(cli->arguments[0], &cli->arena, &file, err));
    qn_status status = qn_onnx_import(&file, NULL, &graph, &state, err);
    if (status == QN_OK) {
        status = write_onnx(graph, state, file.graph_name, out, err);
        qn_graph_destroy(graph);
        qn_state_destroy(state);
    }
    qn_onnx_close(&file);
    return status;
}

static qn_status run(qn_cli *cli, qn_error *err)
{
    const char *out = cli->arguments[1];
    if (!qn_str_ends(qn_str_from(out), ".onnx"))
        QN_FAIL(err, QN_ERR_ARG, "models are converted to .onnx, not to '%s'", out);
    return qn_path_is_onnx(cli->arguments[0]) ? from_onnx(cli, out, err)
                                              : from_folder(cli, out, err);
}

static const qn_flag flags[] = {{0}};

const qn_verb qn_verb_convert = {
    .name = "convert",
    .arguments = "MODEL OUT",
    .summary = "writes a model as an ONNX file",
    .about =
        "Writes the network of a model folder (or of an ONNX file) as ONNX, opset 21, with its "
        "weights: inputs and\n"
        "outputs in tensor terms, under their names. The transforms of raw columns stay in the "
        "folder.",
    .arguments_min = 2,
    .arguments_max = 2,
    .flags = flags,
    .common = QN_FLAG_QUIET,
    .examples = {"quern convert models/digits digits.onnx", "the newest version, for ONNX Runtime",
                 "quern convert old.onnx new.onnx", "the same network at opset 21"},
    .run = run,
};
