/*
 * Asking a net (predict, evaluate) and keeping it (save, load).
 */
#include "train/net_priv.h"

#include <string.h>

#include "base/json.h"
#include "model/folder.h"

static qn_status need_predictor(qn_net *net, int64_t rows, qn_error *err)
{
    QN_TRY(qn_net_build_fresh(net, err));
    if (net->predictor)
        return QN_OK;
    QN_TRY(qn_predictor_wrap(net->graph, net->state, NULL, NULL, &net->predictor, err));
    QN_TRY(qn_predictor_measure(net->predictor, err));
    int64_t flops = qn_predictor_cost_ns(net->predictor, rows) * 20;
    QN_TRY(qn_net_need_pool(net, 0, flops, err));
    if (!net->pool)
        return QN_OK;
    qn_predictor_close(net->predictor);
    net->predictor = NULL;
    qn_predictor_options options = {.pool = net->pool};
    return qn_predictor_wrap(net->graph, net->state, NULL, &options, &net->predictor, err);
}

/* Answers of all samples, in `arena`. */
static qn_status answer(qn_net *net, const qn_view *inputs, qn_arena *arena, qn_tensor *ret,
                        qn_error *err)
{
    QN_TRY(qn_net_check_samples(inputs, "inputs", net->input.rank, net->input.dims, err));
    QN_TRY(need_predictor(net, inputs->dims[0], err));
    qn_shape shape = {.rank = net->input.rank + 1, .dims = {inputs->dims[0]}};
    memcpy(shape.dims + 1, net->input.dims, (size_t)net->input.rank * sizeof(int64_t));
    qn_tensor source = qn_net_view_tensor(inputs);
    qn_named_tensor input = {"input", qn_tensor_of(source.data, inputs->dtype, shape)};
    qn_named_tensor output;
    QN_TRY(qn_predictor_tensors(net->predictor, &input, 1, arena, &output, err));
    *ret = output.tensor;
    return QN_OK;
}

qn_status qn_net_predict(qn_net *net, qn_view inputs, qn_view_out outputs, qn_error *err)
{
    QN_TRY(qn_net_usable(net, err));
    qn_arena arena;
    qn_tensor answers;
    qn_arena_init(&arena, 0);
    qn_status status = answer(net, &inputs, &arena, &answers, err);
    qn_view room = {outputs.data, outputs.dtype, outputs.rank, {0}};
    memcpy(room.dims, outputs.dims, sizeof room.dims);
    if (status == QN_OK)
        status = qn_net_check_samples(&room, "outputs", answers.shape.rank - 1,
                                      answers.shape.dims + 1, err);
    if (status == QN_OK && (room.dims[0] != inputs.dims[0] || room.dtype != QN_DTYPE_F32))
        status = qn_error_set(err, QN_ERR_ARG, NULL,
                              "the outputs have room for %lld samples of %s; %lld of f32 are "
                              "expected",
                              (long long)room.dims[0], qn_dtype_name(room.dtype),
                              (long long)inputs.dims[0]);
    if (status == QN_OK)
        memcpy(outputs.data, answers.data, qn_tensor_bytes(&answers));
    qn_arena_deinit(&arena);
    return status;
}

qn_status qn_net_evaluate(qn_net *net, qn_view inputs, qn_view targets, qn_evaluation *ret,
                          qn_error *err)
{
    QN_TRY(qn_net_usable(net, err));
    qn_arena arena;
    qn_tensor answers;
    qn_net_samples samples;
    qn_nn_loss loss = net->loss;
    if (loss.kind == QN_NN_LOSS_CTC)
        loss.labels_max = targets.rank == 2 ? targets.dims[1] : 0;
    qn_arena_init(&arena, 0);
    qn_status status = answer(net, &inputs, &arena, &answers, err);
    if (status == QN_OK)
        status = qn_net_pack(net, &inputs, &targets, &loss, &answers.shape, &arena, &samples, err);
    if (status == QN_OK)
        status = qn_net_score(&loss, net->closing, &samples.packed, &answers, ret, err);
    qn_arena_deinit(&arena);
    return status;
}

/* Options of the loss that are not their defaults. */
static void write_loss_option(qn_json_writer *w, const char *name, double value)
{
    if (value <= 0 && value >= 0)
        return;
    qn_json_put_f64(w, name, value);
}

static void write_net_json(const qn_net *net, qn_buf *dst)
{
    qn_json_writer w;
    qn_json_write_init(&w, dst);
    qn_json_object_begin(&w);
    qn_json_key(&w, "input");
    qn_json_array_begin(&w);
    for (int i = 0; i < net->input.rank; i++)
        qn_json_i64(&w, net->input.dims[i]);
    qn_json_array_end(&w);
    qn_json_put_text(&w, "loss", qn_net_loss_names[net->loss.kind]);
    write_loss_option(&w, "quantile", net->loss.quantile);
    write_loss_option(&w, "margin", net->loss.margin);
    write_loss_option(&w, "focus", net->loss.focus);
    write_loss_option(&w, "blank", (double)net->loss.blank);
    qn_json_put_text(&w, "closing", net->closing);
    qn_json_key(&w, "layers");
    qn_buf_byte(dst, '[');
    qn_buf_append(dst, net->layers.data, net->layers.size);
    qn_buf_text(dst, "]}");
}

/* The last part of a path: "models/digits" -> "digits". */
static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}

qn_status qn_net_write_folder(const char *folder, const qn_graph *graph, const qn_state *state,
                              const qn_buf *net, qn_error *err)
{
    qn_arena arena;
    const char *path;
    int64_t version;
    qn_folder_content content = {.name = base_name(folder),
                                 .graph = graph,
                                 .state = state,
                                 .task = QN_TASK_AUTO,
                                 .net = qn_buf_view(net)};
    if (net->failed)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    qn_arena_init(&arena, 0);
    qn_status status = qn_folder_write(folder, &content, &arena, &path, &version, err);
    qn_arena_deinit(&arena);
    return status;
}

qn_status qn_net_save(const qn_net *net, const char *folder, qn_error *err)
{
    QN_TRY(qn_net_usable(net, err));
    if (!net->graph)
        QN_FAIL(err, QN_ERR_ARG, "the net has no weights yet: fit it first");
    qn_buf text;
    qn_buf_init(&text, 0);
    write_net_json(net, &text);
    qn_status status = qn_net_write_folder(folder, net->graph, net->state, &text, err);
    qn_buf_deinit(&text);
    return status;
}

/* The list of layers back into text, input and loss from quern.json's "net". */
static qn_status restore(qn_net *net, const qn_json *json, qn_error *err)
{
    qn_str loss, closing;
    QN_TRY(qn_json_get_str(json, "loss", true, &loss, err));
    QN_TRY(qn_json_get_str(json, "closing", true, &closing, err));
    const qn_json *input = qn_json_find(json, "input"), *layers = qn_json_find(json, "layers");
    int64_t rank = input ? qn_json_length(input) : -1;
    if (rank < 1 || rank >= QN_VIEW_RANK_MAX || !input->all_int || !layers ||
        qn_json_length(layers) < 1)
        QN_FAIL(err, QN_ERR_DATA, "\"net\" has no input shape or no layers");
    net->input.rank = (int)rank;
    for (int i = 0; i < net->input.rank; i++)
        net->input.dims[i] = qn_json_at(input, i).integer;
    QN_TRY(qn_net_check_input(&net->input, err));
    for (int i = 0; i <= QN_LOSS_FOCAL; i++)
        if (qn_str_is(loss, qn_net_loss_names[i]))
            net->loss.kind = (qn_nn_loss_kind)i;
    double blank = 0;
    QN_TRY(qn_json_get_f64(json, "quantile", false, &net->loss.quantile, err));
    QN_TRY(qn_json_get_f64(json, "margin", false, &net->loss.margin, err));
    QN_TRY(qn_json_get_f64(json, "focus", false, &net->loss.focus, err));
    QN_TRY(qn_json_get_f64(json, "blank", false, &blank, err));
    net->loss.has_margin = qn_json_find(json, "margin") != NULL;
    if (!(blank >= 0 && blank < 0x1p30))
        QN_FAIL(err, QN_ERR_DATA, "the blank of the loss is %g, expected a class", blank);
    net->loss.blank = (int64_t)blank;
    net->closing = qn_str_is(closing, "softmax")   ? "softmax"
                   : qn_str_is(closing, "sigmoid") ? "sigmoid"
                                                   : "linear";
    qn_json_writer w;
    for (int64_t i = 0; i < qn_json_length(layers); i++) {
        qn_json layer = qn_json_at(layers, i);
        if (i > 0)
            qn_buf_byte(&net->layers, ',');
        qn_json_write_init(&w, &net->layers);
        qn_json_value(&w, &layer);
    }
    if (net->layers.failed)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    return QN_OK;
}

static qn_status load_into(qn_net *net, const char *folder, qn_error *err)
{
    qn_folder_model model;
    QN_TRY(qn_folder_read(folder, 0, &net->load, &model, err));
    net->graph = model.graph;
    net->state = model.state;
    if (!model.net)
        return qn_error_set(err, QN_ERR_ARG, model.path,
                            "the model was not written by qn_net_save; open it with qn_model_open");
    QN_TRY(restore(net, model.net, err));
    qn_value output = qn_graph_find(net->graph, "output");
    qn_value input = qn_graph_find(net->graph, "input");
    if (output == QN_NONE || input == QN_NONE)
        return qn_error_set(err, QN_ERR_DATA, model.path, "the graph has no 'input' or 'output'");
    const qn_shape *shape = &qn_graph_type(net->graph, input)->shape;
    if (shape->rank != net->input.rank + 1 ||
        memcmp(shape->dims + 1, net->input.dims, (size_t)net->input.rank * sizeof(int64_t)) != 0)
        return qn_error_set(err, QN_ERR_DATA, model.path, "\"net\" and the graph differ in shape");
    net->outputs_count = qn_net_row_count(qn_graph_type(net->graph, output));
    return QN_OK;
}

qn_net *qn_net_load(const char *folder, qn_error *err)
{
    qn_net *net = qn_net_create(QN_INPUT(1), err);
    if (!net)
        return NULL;
    if (load_into(net, folder, err) != QN_OK) {
        qn_net_destroy(net);
        return NULL;
    }
    return net;
}
