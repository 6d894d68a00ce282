/*
 * Model kinds to layer lists, and layer lists to graphs with an answer in the user's terms. Not
 * here: what a layer does (nn/) and how a network learns (train/).
 */
#include "model/architecture_priv.h"

#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "nn/layers.h"

static const char *const type_names[QN_MODEL_TYPES] = {"auto", "linear", "logistic",   "mlp",
                                                       "cnn",  "layers", "file",       "rnn",
                                                       "lstm", "gru",    "transformer"};

const char *qn_model_type_name(qn_model_type type)
{
    return type_names[type];
}

bool qn_model_type_find(qn_str name, qn_model_type *ret)
{
    for (int i = 0; i < QN_MODEL_TYPES; i++) {
        if (qn_str_is(name, type_names[i])) {
            *ret = (qn_model_type)i;
            return true;
        }
    }
    return false;
}

/* Adds {"dense": {"units": N, "activation": A}}; units 0 = auto. */
static void write_dense(qn_json_writer *w, int64_t units, const char *activation)
{
    qn_json_object_begin(w);
    qn_json_key(w, "dense");
    qn_json_object_begin(w);
    qn_json_key(w, "units");
    if (units > 0)
        qn_json_i64(w, units);
    else
        qn_json_text(w, "auto");
    if (activation) {
        qn_json_put_text(w, "activation", activation);
    }
    qn_json_object_end(w);
    qn_json_object_end(w);
}

static void write_dropout(qn_json_writer *w, double rate)
{
    if (rate <= 0)
        return;
    qn_json_object_begin(w);
    qn_json_key(w, "dropout");
    qn_json_object_begin(w);
    qn_json_put_f64(w, "rate", rate);
    qn_json_object_end(w);
    qn_json_object_end(w);
}

static void write_conv(qn_json_writer *w, int64_t filters, bool same)
{
    qn_json_object_begin(w);
    qn_json_key(w, "conv2d");
    qn_json_object_begin(w);
    qn_json_put_i64(w, "filters", filters);
    qn_json_put_i64(w, "kernel", 3);
    qn_json_put_text(w, "activation", "relu");
    if (same) {
        qn_json_put_text(w, "padding", "same");
    }
    qn_json_object_end(w);
    qn_json_object_end(w);
}

static void write_pool(qn_json_writer *w)
{
    qn_json_object_begin(w);
    qn_json_key(w, "max_pool2d");
    qn_json_object_begin(w);
    qn_json_put_i64(w, "size", 2);
    qn_json_object_end(w);
    qn_json_object_end(w);
}

static int64_t features_count(const qn_architecture *architecture)
{
    int64_t count = 0;
    for (int64_t i = 0; i < architecture->sources_count; i++)
        count += architecture->sources[i].count;
    return count;
}

/* Two layers that narrow: wide enough for tables of this many rows, small enough not to learn them
 * by heart. Pixels want one wide layer. */
int qn_architecture_hidden(const qn_architecture *architecture, int64_t dst[QN_HIDDEN_MAX])
{
    if (architecture->hidden_count > 0) {
        for (int i = 0; i < architecture->hidden_count; i++)
            dst[i] = architecture->hidden[i];
        return architecture->hidden_count;
    }
    int64_t features = features_count(architecture);
    int64_t wide = architecture->rows < 2000 ? 32 : architecture->rows < 200000 ? 64 : 128;
    dst[0] = features > 400 ? 128 : wide;
    dst[1] = wide / 2;
    return features > 400 || features < 4 ? 1 : 2;
}

static void write_mlp(qn_json_writer *w, const qn_architecture *architecture)
{
    int64_t hidden[QN_HIDDEN_MAX];
    int count = qn_architecture_hidden(architecture, hidden);
    for (int i = 0; i < count; i++) {
        write_dense(w, hidden[i], "relu");
        write_dropout(w, architecture->dropout);
    }
}

static const qn_feature_tensor *find_image(const qn_architecture *architecture)
{
    for (int64_t i = 0; i < architecture->sources_count; i++)
        if (architecture->sources[i].shape.rank == 3)
            return &architecture->sources[i];
    return NULL;
}

/* Two stages of convolution and pooling (LeCun et al., 1998, in today's widths) while the picture is
 * large enough for them, then one dense layer. */
static qn_status write_cnn(qn_json_writer *w, const qn_architecture *architecture, qn_error *err)
{
    const qn_feature_tensor *image = find_image(architecture);
    if (!image)
        QN_FAIL(err, QN_ERR_ARG,
                "model.type cnn needs an image or an array of height, width and "
                "channels among the inputs");
    if (architecture->sources_count > 1)
        QN_FAIL(err, QN_ERR_ARG,
                "model.type cnn takes one image and nothing beside it; drop the "
                "other columns, or use mlp");
    int64_t side = qn_min_i64(image->shape.dims[0], image->shape.dims[1]);
    int64_t filters = 32;
    for (int stage = 0; stage < 2 && side >= 4; stage++) {
        bool same = side < 12;
        write_conv(w, filters, same);
        write_pool(w);
        side = (same ? side : side - 2) / 2;
        filters *= 2;
    }
    qn_json_text(w, "flatten");
    write_dense(w, 128, "relu");
    write_dropout(w, architecture->dropout);
    return QN_OK;
}

static void write_reshape(qn_json_writer *w, const int64_t *dims, int rank)
{
    qn_json_object_begin(w);
    qn_json_key(w, "reshape");
    qn_json_object_begin(w);
    qn_json_key(w, "shape");
    qn_json_array_begin(w);
    for (int i = 0; i < rank; i++)
        qn_json_i64(w, dims[i]);
    qn_json_array_end(w);
    qn_json_object_end(w);
    qn_json_object_end(w);
}

/* The steps of the only source: an array [T, features], the rows of an image from above, or the numbers of a row of an
 * array one by one. */
static qn_status write_steps(qn_json_writer *w, const qn_architecture *architecture, qn_error *err)
{
    const qn_feature_tensor *source = architecture->sources;
    const char *name = type_names[architecture->type];
    if (architecture->sources_count != 1)
        QN_FAIL(err, QN_ERR_ARG,
                "model.type %s reads one sequence and nothing beside it; drop the other columns",
                name);
    if (source->table)
        QN_FAIL(
            err, QN_ERR_ARG,
            "model.type %s reads sequences: arrays [T, features] or images; the columns of a table "
            "have no order (use mlp)",
            name);
    if (source->shape.rank == 2)
        return QN_OK;
    int64_t steps = source->shape.dims[0];
    write_reshape(w, (int64_t[]){steps, source->count / steps}, 2);
    return QN_OK;
}

static void write_recurrent(qn_json_writer *w, const qn_architecture *architecture)
{
    qn_json_object_begin(w);
    qn_json_key(w, type_names[architecture->type]);
    qn_json_object_begin(w);
    qn_json_put_i64(w, "units", 128);
    if (architecture->task == QN_TASK_TRANSCRIBE)
        qn_json_put_bool(w, "return_sequences", true);
    qn_json_object_end(w);
    qn_json_object_end(w);
}

/* Two blocks of an encoder, and the mean over its positions (Vaswani et al., 2017, in a small size). */
static void write_transformer(qn_json_writer *w, const qn_architecture *architecture)
{
    write_dense(w, 64, NULL);
    qn_json_text(w, "positions");
    qn_json_object_begin(w);
    qn_json_key(w, "transformer");
    qn_json_object_begin(w);
    qn_json_put_i64(w, "heads", 4);
    qn_json_put_i64(w, "blocks", 2);
    qn_json_object_end(w);
    qn_json_object_end(w);
    if (architecture->task != QN_TASK_TRANSCRIBE)
        qn_json_text(w, "global_avg_pool1d");
}

static qn_status write_sequence(qn_json_writer *w, const qn_architecture *architecture,
                                qn_error *err)
{
    QN_TRY(write_steps(w, architecture, err));
    if (architecture->type == QN_MODEL_TRANSFORMER)
        write_transformer(w, architecture);
    else
        write_recurrent(w, architecture);
    write_dropout(w, architecture->dropout);
    return QN_OK;
}

/* As many outputs as the task wants, in the shape of the target. */
static void write_head(qn_json_writer *w, const qn_architecture *architecture)
{
    const qn_shape *target = &architecture->target;
    bool array = target->rank > 0 && architecture->task == QN_TASK_REGRESSION;
    write_dense(w, array ? qn_shape_count(target) : 0, NULL);
    if (array && target->rank > 1)
        write_reshape(w, target->dims, target->rank);
}

static qn_status write_layers(qn_buf *text, const qn_architecture *architecture, qn_error *err)
{
    qn_json_writer w;
    qn_json_write_init(&w, text);
    qn_json_array_begin(&w);
    if (architecture->type == QN_MODEL_MLP)
        write_mlp(&w, architecture);
    if (architecture->type == QN_MODEL_CNN)
        QN_TRY(write_cnn(&w, architecture, err));
    if (architecture->type >= QN_MODEL_RNN)
        QN_TRY(write_sequence(&w, architecture, err));
    write_head(&w, architecture);
    qn_json_array_end(&w);
    if (text->failed)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    return QN_OK;
}

qn_status qn_architecture_layers(const qn_architecture *architecture, qn_arena *arena, qn_json *ret,
                                 qn_error *err)
{
    if (architecture->type == QN_MODEL_LAYERS || architecture->type == QN_MODEL_FILE) {
        *ret = *architecture->layers;
        return QN_OK;
    }
    qn_buf text;
    qn_buf_init(&text, 0);
    qn_status status = write_layers(&text, architecture, err);
    if (status == QN_OK) {
        const char *copy = qn_arena_strndup(arena, text.data, text.size);
        if (copy)
            status = qn_json_read((qn_str){copy, text.size}, NULL, arena, ret, err);
        else
            status = qn_error_set(err, QN_ERR_MEMORY, NULL, "out of memory");
    }
    qn_buf_deinit(&text);
    return status;
}

qn_shape qn_architecture_batch_shape(const qn_feature_tensor *source)
{
    qn_shape shape = {.rank = source->shape.rank + 1, .dims = {QN_DIM_BATCH}};
    for (int i = 0; i < source->shape.rank; i++)
        shape.dims[i + 1] = source->shape.dims[i];
    return shape;
}

/* How many numbers stand for a category of `levels` levels: the usual fourth root rule, doubled, and
 * never more than 32 (tables are small). */
static int64_t embedding_size(int64_t levels)
{
    int64_t size = 2;
    while (size < 32 && size * size * size * size < 16 * levels)
        size *= 2;
    return size;
}

/* Column k of the index tensor -> its vector. */
static qn_value embed_column(qn_graph *graph, const qn_feature_tensor *source, qn_value index,
                             int64_t k, qn_arena *arena)
{
    const char *name = qn_arena_printf(arena, "embed.%lld", (long long)k);
    const char *label = qn_arena_printf(arena, "embedding of %.*s", QN_STR_ARG(source->columns[k]));
    if (!name || !label)
        return qn_graph_fail(graph, QN_ERR_MEMORY, "out of memory");
    qn_attr attrs[] = {
        {.name = "starts", .kind = QN_ATTR_INTS, .count = 1, .ints = {k}},
        {.name = "ends", .kind = QN_ATTR_INTS, .count = 1, .ints = {k + 1}},
        {.name = "axes", .kind = QN_ATTR_INTS, .count = 1, .ints = {1}},
    };
    qn_nn_scope at = {graph, name, label};
    qn_value column = qn_graph_node(graph, "Slice", &index, 1, attrs, 3);
    int64_t levels = source->levels[k];
    qn_value vector =
        qn_nn_embedding(&at, column, levels, embedding_size(levels), QN_NN_EMBEDDING_UNIFORM);
    return qn_nn_flatten(&at, vector);
}

enum { PARTS_MAX = 4096 };

typedef struct {
    qn_value *items;
    int count;
} qn_parts;

/* Integers stay what they are where a list of layers begins with them: it may begin with an embedding. */
static void add_source(const qn_architecture *architecture, int64_t index, qn_graph *graph,
                       qn_arena *arena, qn_parts *parts)
{
    const qn_feature_tensor *source = &architecture->sources[index];
    bool several = architecture->sources_count > 1;
    bool flat = several || architecture->type < QN_MODEL_CNN;
    char *name = qn_arena_strndup(arena, source->name.data, source->name.size);
    if (!name) {
        (void)qn_graph_fail(graph, QN_ERR_MEMORY, "out of memory");
        return;
    }
    qn_value input =
        qn_graph_input(graph, name, source->dtype, qn_architecture_batch_shape(source));
    if (source->levels) {
        for (int64_t k = 0; k < source->shape.dims[0] && parts->count < PARTS_MAX; k++)
            parts->items[parts->count++] = embed_column(graph, source, input, k, arena);
        return;
    }
    qn_nn_scope at = {graph, name, NULL};
    qn_attr f32 = QN_ATTR_S("to", "f32");
    if (source->dtype != QN_DTYPE_F32 && (several || architecture->type != QN_MODEL_LAYERS))
        input = qn_graph_node(graph, "Cast", &input, 1, &f32, 1);
    if (flat && source->shape.rank != 1)
        input = qn_nn_flatten(&at, input);
    if (parts->count < PARTS_MAX)
        parts->items[parts->count++] = input;
}

/* One source stays as it is; several are flattened side by side. */
static qn_value gather_sources(const qn_architecture *architecture, qn_graph *graph,
                               qn_arena *arena)
{
    qn_parts parts = {QN_NEW(arena, qn_value, PARTS_MAX), 0};
    if (!parts.items)
        return qn_graph_fail(graph, QN_ERR_MEMORY, "out of memory");
    for (int64_t i = 0; i < architecture->sources_count; i++)
        add_source(architecture, i, graph, arena, &parts);
    if (parts.count == 0)
        return qn_graph_fail(graph, QN_ERR_DATA, "no column is left to learn from");
    if (parts.count == 1)
        return parts.items[0];
    qn_attr axis = QN_ATTR_I("axis", 1);
    return qn_graph_node(graph, "Concat", parts.items, parts.count, &axis, 1);
}

static bool is_kind(const char *a, const char *b)
{
    return a && strcmp(a, b) == 0;
}

/* [B, 1] scores of the second label -> [B, 2]. */
static qn_value both_classes(qn_graph *graph, qn_value scores)
{
    qn_value second = qn_graph_op1(graph, "Sigmoid", scores);
    qn_value one = qn_graph_scalar(graph, QN_DTYPE_F32, 1);
    qn_value pair[2] = {qn_graph_op2(graph, "Sub", one, second), second};
    qn_attr axis = QN_ATTR_I("axis", 1);
    return qn_graph_node(graph, "Concat", pair, 2, &axis, 1);
}

/* Scores of an array: of its shape, but for dimensions of 1 at the end; of a transcription [T, classes]. */
static qn_status check_array(const qn_architecture *architecture, const qn_shape *sample,
                             qn_error *err)
{
    char got[128], want[128];
    const qn_shape *target = &architecture->target;
    bool steps = architecture->task == QN_TASK_TRANSCRIBE;
    if (steps && sample->rank != 2)
        QN_FAIL(err, QN_ERR_ARG,
                "the last layer gives %s; ctc takes [T, classes], the scores of each step (a "
                "recurrent layer with return_sequences: true, then dense)",
                qn_shape_text(sample, got));
    for (int i = 0; !steps && (i < sample->rank || i < target->rank); i++) {
        int64_t have = i < sample->rank ? sample->dims[i] : 1;
        int64_t expected = i < target->rank ? target->dims[i] : 1;
        if (have != expected)
            QN_FAIL(err, QN_ERR_ARG, "the last layer gives %s, but the target is %s",
                    qn_shape_text(sample, got), qn_shape_text(target, want));
    }
    return QN_OK;
}

static qn_status check_scores(const qn_architecture *architecture, const qn_graph *graph,
                              qn_value scores, qn_error *err)
{
    char text[128];
    const qn_shape *shape = &qn_graph_type(graph, scores)->shape;
    if (architecture->task == QN_TASK_AUTO)
        return QN_OK;
    qn_dtype dtype = qn_graph_type(graph, scores)->dtype;
    if (dtype != QN_DTYPE_F32)
        QN_FAIL(err, QN_ERR_ARG, "the last layer gives %s; end with cast: {to: f32}",
                qn_dtype_name(dtype));
    qn_shape sample = {.rank = shape->rank - 1}; /* users count without the batch */
    memcpy(sample.dims, shape->dims + 1, sizeof sample.dims - sizeof sample.dims[0]);
    if (architecture->target.rank > 0)
        return check_array(architecture, &sample, err);
    if (shape->rank != 2)
        QN_FAIL(err, QN_ERR_ARG,
                "the last layer gives %s; one row of scores for each sample is expected (end with "
                "flatten and dense)",
                qn_shape_text(&sample, text));
    int64_t units = shape->dims[1];
    if (architecture->task == QN_TASK_REGRESSION && units != 1)
        QN_FAIL(err, QN_ERR_ARG, "the last layer gives %lld numbers, but regression predicts 1",
                (long long)units);
    bool binary = architecture->task == QN_TASK_BINARY && units == 1;
    if (architecture->task != QN_TASK_REGRESSION && !binary && units != architecture->classes)
        QN_FAIL(err, QN_ERR_ARG,
                "the last layer gives %lld scores, but the target has %lld classes",
                (long long)units, (long long)architecture->classes);
    return QN_OK;
}

static void add_answer(const qn_architecture *architecture, qn_graph *graph, qn_network *network)
{
    qn_nn_scope at = {graph, "answer", NULL};
    qn_value scores = network->scores;
    if (architecture->task == QN_TASK_AUTO) {
        network->answer = is_kind(network->closing, "linear")
                              ? scores
                              : qn_nn_activation(&at, scores, network->closing);
    } else if (architecture->counts) {
        network->answer = qn_graph_op1(graph, "Exp", scores);
    } else if (architecture->closing) {
        network->answer = qn_nn_activation(&at, scores, architecture->closing);
    } else if (architecture->task == QN_TASK_REGRESSION) {
        qn_value scale = qn_graph_scalar(graph, QN_DTYPE_F32, architecture->target_deviation);
        qn_value mean = qn_graph_scalar(graph, QN_DTYPE_F32, architecture->target_mean);
        scores = qn_graph_op2(graph, "Mul", scores, scale);
        network->answer = qn_graph_op2(graph, "Add", scores, mean);
    } else if (qn_graph_type(graph, scores)->shape.dims[1] == 1) {
        network->answer = both_classes(graph, scores);
    } else {
        network->answer = qn_nn_activation(&at, scores, "softmax");
    }
    qn_graph_output(graph, network->output, network->answer);
}

/* One attribute: a word or a number as it is, a switch or rows by their name, layers within the layer by their count. */
static void describe_attr(qn_buf *text, qn_str key, const qn_json *value, int64_t units)
{
    qn_json_writer w;
    bool lists = value->kind == QN_JSON_ARRAY && value->count > 0;
    bool rows = lists && qn_json_length(&value->items[0]) >= 0;
    if (value->kind == QN_JSON_BOOL) {
        qn_buf_printf(text, value->boolean ? " %.*s" : " no %.*s", QN_STR_ARG(key));
    } else if (qn_str_is(key, "units") && value->kind == QN_JSON_STRING) {
        qn_buf_printf(text, " %lld", (long long)units);
    } else if (value->kind == QN_JSON_STRING) {
        qn_buf_printf(text, " %.*s", QN_STR_ARG(value->string));
    } else if (rows || qn_json_length(value) > QN_RANK_MAX) {
        qn_buf_printf(text, " %.*s", QN_STR_ARG(key));
    } else if (lists) {
        bool only = qn_str_is(key, "layers");
        qn_buf_printf(text, " (%.*s%s%lld layers)", only ? 0 : (int)key.size, key.data,
                      only ? "" : ": ", (long long)value->count);
    } else {
        qn_buf_byte(text, ' ');
        qn_json_write_init(&w, text);
        qn_json_value(&w, value);
    }
}

/* "dense 64 relu, dropout 0.1, dense 3" from the list; `units` is what auto stands for. */
static void describe_layer(qn_buf *text, const qn_json *layer, int64_t units)
{
    if (layer->kind == QN_JSON_STRING)
        qn_buf_str(text, layer->string);
    if (layer->kind != QN_JSON_OBJECT || layer->count != 1)
        return;
    qn_buf_str(text, layer->keys[0]);
    const qn_json *attrs = &layer->items[0];
    for (int64_t i = 0; attrs->kind == QN_JSON_OBJECT && i < attrs->count; i++)
        describe_attr(text, attrs->keys[i], &attrs->items[i], units);
}

/* What `units: auto` stands for. */
static int64_t units_auto(const qn_architecture *architecture)
{
    const qn_shape *target = &architecture->target;
    if (architecture->task == QN_TASK_REGRESSION && target->rank > 0)
        return target->dims[target->rank - 1];
    bool classes =
        architecture->task == QN_TASK_MULTICLASS || architecture->task == QN_TASK_TRANSCRIBE;
    return classes ? architecture->classes : 1;
}

static const char *describe(const qn_architecture *architecture, const qn_json *layers,
                            qn_arena *arena)
{
    qn_buf text;
    qn_buf_init(&text, 1 << 16);
    if (architecture->type == QN_MODEL_FILE) {
        const char *slash = strrchr(architecture->file, '/');
        qn_buf_text(&text, slash ? slash + 1 : architecture->file);
        if (architecture->file_output)
            qn_buf_printf(&text, " to %s", architecture->file_output);
    }
    for (int64_t i = 0; i < qn_json_length(layers); i++) {
        qn_json layer = qn_json_at(layers, i);
        if (text.size > 0)
            qn_buf_text(&text, ", ");
        describe_layer(&text, &layer, units_auto(architecture));
    }
    const char *copy = text.failed ? NULL : qn_arena_strndup(arena, text.data, text.size);
    qn_buf_deinit(&text);
    return copy;
}

static const char *output_name(const qn_architecture *architecture)
{
    if (architecture->task == QN_TASK_AUTO)
        return "output";
    bool number = architecture->task == QN_TASK_REGRESSION && !architecture->closing;
    return number ? "prediction" : "probability";
}

static qn_status build_layers(const qn_architecture *architecture, qn_graph *graph, qn_value input,
                              const qn_json *layers, qn_network *network, qn_error *err)
{
    bool file = architecture->type == QN_MODEL_FILE;
    const qn_nn_layers_options options = {
        .units_auto = units_auto(architecture),
        .logits = !architecture->keep_closing,
        .path = architecture->task == QN_TASK_AUTO ? "layers" : "model.layers",
        .scope = file ? "added" : NULL, /* names that a file hardly has */
    };
    QN_TRY(qn_nn_layers_build(graph, input, layers, &options, &network->scores, &network->closing,
                              err));
    if (architecture->keep_closing)
        network->closing = "linear"; /* it is part of the scores */
    return QN_OK;
}

static qn_status build_network(const qn_architecture *architecture, qn_graph *graph,
                               qn_arena *arena, const qn_json *layers, qn_network *network,
                               qn_error *err)
{
    qn_error misfit;
    bool file = architecture->type == QN_MODEL_FILE;
    qn_value input = QN_NONE;
    if (file)
        QN_TRY(qn_architecture_file(architecture, graph, &input, &network->weights, err));
    else
        input = gather_sources(architecture, graph, arena);
    QN_TRY(qn_graph_check(graph, err));
    network->scores = input;
    if (!file || layers->count > 0)
        QN_TRY(build_layers(architecture, graph, input, layers, network, err));
    if (!file || layers->count > 0)
        return check_scores(architecture, graph, network->scores, err);
    if (check_scores(architecture, graph, network->scores, &misfit) != QN_OK)
        return qn_architecture_file_misfit(architecture, &misfit, err);
    return QN_OK;
}

/* [B, 28, 28, 1] -> [B, 28, 28], as the target has it. */
static qn_value as_target(const qn_architecture *architecture, qn_graph *graph, qn_value scores)
{
    const qn_shape *target = &architecture->target;
    qn_nn_scope at = {graph, "target", NULL};
    bool same = qn_graph_type(graph, scores)->shape.rank == target->rank + 1;
    return target->rank == 0 || same ? scores
                                     : qn_nn_reshape(&at, scores, target->dims, target->rank);
}

qn_status qn_architecture_build(const qn_architecture *architecture, qn_graph *graph,
                                bool with_answer, qn_arena *arena, qn_network *ret, qn_error *err)
{
    qn_network network = {.closing = "linear", .answer = QN_NONE};
    network.output = output_name(architecture);
    qn_json layers;
    QN_TRY(qn_architecture_layers(architecture, arena, &layers, err));
    qn_status status = build_network(architecture, graph, arena, &layers, &network, err);
    if (status == QN_OK && architecture->task == QN_TASK_REGRESSION)
        network.scores = as_target(architecture, graph, network.scores);
    if (status == QN_OK && architecture->counts) {
        qn_value usual = qn_graph_scalar(graph, QN_DTYPE_F32, log(architecture->target_mean));
        network.scores = qn_graph_op2(graph, "Add", network.scores, usual);
    }
    if (status == QN_OK && with_answer)
        add_answer(architecture, graph, &network);
    if (status == QN_OK)
        status = qn_graph_check(graph, err);
    if (status == QN_OK) {
        network.text = describe(architecture, &layers, arena);
        if (!network.text)
            status = qn_error_set(err, QN_ERR_MEMORY, NULL, "out of memory");
    }
    if (status == QN_OK)
        *ret = network;
    else if (network.weights)
        qn_state_destroy(network.weights);
    return status;
}
