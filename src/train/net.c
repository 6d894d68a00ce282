/*
 * Networks in C (quern/net.h): a list of layers that grows by calls, built into a graph at the
 * first use. Fitting is in net_fit.c, asking and keeping in net_use.c. Not here: recipes and tables.
 *
 * A net that does little work stays on the caller's thread: waking a worker costs more than the
 * whole of a small step.
 */
#include "train/net_priv.h"

#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/json.h"
#include "nn/layers.h"

/* Work of one step from which several threads pay: about 50 us on one core. */
static const int64_t POOL_FLOPS = 1000000;
enum { LAYERS_TEXT_MAX = 1 << 20 };

static const char *const activation_names[] = {
    [QN_LINEAR] = "linear",
    [QN_RELU] = "relu",
    [QN_LEAKY_RELU] = "leaky_relu",
    [QN_SIGMOID] = "sigmoid",
    [QN_TANH] = "tanh",
    [QN_GELU] = "gelu",
    [QN_SILU] = "silu",
    [QN_SOFTMAX] = "softmax",
    [QN_ELU] = "elu",
    [QN_SELU] = "selu",
    [QN_CELU] = "celu",
    [QN_SOFTPLUS] = "softplus",
    [QN_SOFTSIGN] = "softsign",
    [QN_MISH] = "mish",
    [QN_RELU6] = "relu6",
    [QN_HARD_SIGMOID] = "hard_sigmoid",
    [QN_HARD_SWISH] = "hard_swish",
    [QN_HARD_TANH] = "hard_tanh",
};
const char *const qn_net_loss_names[] = {
    "mse",           "mae",     "huber",    "bce",    "cross_entropy", "kl",  "hinge",
    "squared_hinge", "poisson", "quantile", "cosine", "triplet",       "ctc", "focal"};

qn_status qn_net_check_input(const qn_input *input, qn_error *err)
{
    if (input->rank < 1 || input->rank >= QN_VIEW_RANK_MAX)
        QN_FAIL(err, QN_ERR_ARG, "an input of %d dimensions; 1 to %d are possible", input->rank,
                QN_VIEW_RANK_MAX - 1);
    int64_t count = 1;
    for (int i = 0; i < input->rank; i++)
        if (input->dims[i] < 1 || !qn_mul_i64(count, input->dims[i], &count) || count > 1 << 30)
            QN_FAIL(err, QN_ERR_ARG,
                    "input dimension %d is %lld; at least 1 is expected (and at "
                    "most 2^30 numbers in all)",
                    i, (long long)input->dims[i]);
    return QN_OK;
}

qn_net *qn_net_create(qn_input input, qn_error *err)
{
    if (qn_net_check_input(&input, err) != QN_OK)
        return NULL;
    qn_net *net = qn_alloc_zero(1, sizeof *net);
    if (!net) {
        (void)qn_error_set(err, QN_ERR_MEMORY, NULL, "out of memory");
        return NULL;
    }
    qn_arena_init(&net->load, 0);
    qn_buf_init(&net->layers, LAYERS_TEXT_MAX);
    qn_buf_init(&net->plan_text, 0);
    net->input = input;
    net->closing = "linear";
    return net;
}

void qn_net_drop_built(qn_net *net)
{
    qn_predictor_close(net->predictor);
    if (net->graph)
        qn_graph_destroy(net->graph);
    if (net->state)
        qn_state_destroy(net->state);
    net->predictor = NULL;
    net->graph = NULL;
    net->state = NULL;
}

void qn_net_destroy(qn_net *net)
{
    if (!net)
        return;
    qn_net_drop_built(net);
    if (net->pool)
        qn_pool_destroy(net->pool);
    qn_buf_deinit(&net->layers);
    qn_buf_deinit(&net->plan_text);
    qn_arena_deinit(&net->load);
    qn_free(net);
}

qn_status qn_net_usable(const qn_net *net, qn_error *err)
{
    if (!net)
        QN_FAIL(err, QN_ERR_MEMORY, "the net is NULL: it could not be created");
    if (net->sticky.code != QN_OK && err)
        *err = net->sticky;
    return net->sticky.code;
}

static void stick(qn_net *net, qn_status code, const char *text)
{
    if (net && net->sticky.code == QN_OK)
        (void)qn_error_set(&net->sticky, code, NULL, "%s", text);
}

typedef struct {
    qn_json_writer writer;
    qn_net *net;
} qn_layer_text;

static bool takes_layers(qn_net *net)
{
    if (!net || net->sticky.code != QN_OK)
        return false;
    if (net->graph)
        stick(net, QN_ERR_ARG, "layers cannot be added after the first fit or predict");
    return net->sticky.code == QN_OK;
}

/* Between two layers of one list. */
static void add_comma(qn_net *net)
{
    size_t size = net->layers.size;
    if (size > 0 && net->layers.data[size - 1] != '[')
        qn_buf_byte(&net->layers, ',');
}

static bool layer_begin(qn_layer_text *text, qn_net *net, const char *name)
{
    if (!takes_layers(net))
        return false;
    add_comma(net);
    text->net = net;
    qn_json_write_init(&text->writer, &net->layers);
    qn_json_object_begin(&text->writer);
    qn_json_key(&text->writer, name);
    qn_json_object_begin(&text->writer);
    return true;
}

static void layer_integer(qn_layer_text *text, const char *key, int64_t value)
{
    qn_json_key(&text->writer, key);
    qn_json_i64(&text->writer, value);
}

/* NULL = there is no such one. */
static const char *name_activation(qn_activation activation)
{
    int count = (int)(sizeof activation_names / sizeof activation_names[0]);
    return (int)activation < 0 || (int)activation >= count ? NULL : activation_names[activation];
}

static void layer_activation(qn_layer_text *text, const char *key, qn_activation activation)
{
    if (!name_activation(activation)) {
        stick(text->net, QN_ERR_ARG, "unknown activation");
        return;
    }
    qn_json_key(&text->writer, key);
    qn_json_text(&text->writer, activation_names[activation]);
}

static void layer_end(qn_layer_text *text)
{
    qn_json_object_end(&text->writer);
    qn_json_object_end(&text->writer);
    if (text->net->layers.failed)
        stick(text->net, QN_ERR_MEMORY, "out of memory for the list of layers");
}

void qn_net_dense(qn_net *net, int64_t units, qn_activation activation)
{
    qn_layer_text text;
    if (!layer_begin(&text, net, "dense"))
        return;
    layer_integer(&text, "units", units);
    layer_activation(&text, "activation", activation);
    layer_end(&text);
}

void qn_net_conv2d(qn_net *net, int64_t filters, int64_t kernel, qn_activation activation,
                   const qn_conv_options *options)
{
    qn_layer_text text;
    if (!layer_begin(&text, net, "conv2d"))
        return;
    layer_integer(&text, "filters", filters);
    layer_integer(&text, "kernel", kernel);
    layer_activation(&text, "activation", activation);
    if (options && options->stride)
        layer_integer(&text, "stride", options->stride);
    if (options && options->dilation)
        layer_integer(&text, "dilation", options->dilation);
    if (options && options->groups)
        layer_integer(&text, "groups", options->groups);
    if (options && options->same) {
        qn_json_key(&text.writer, "padding");
        qn_json_text(&text.writer, "same");
    }
    layer_end(&text);
}

static void add_pool(qn_net *net, const char *name, int64_t size)
{
    qn_layer_text text;
    if (!layer_begin(&text, net, name))
        return;
    layer_integer(&text, "size", size);
    layer_end(&text);
}

void qn_net_max_pool2d(qn_net *net, int64_t size)
{
    add_pool(net, "max_pool2d", size);
}

void qn_net_average_pool2d(qn_net *net, int64_t size)
{
    add_pool(net, "avg_pool2d", size);
}

static void add_plain(qn_net *net, const char *name)
{
    qn_layer_text text;
    if (layer_begin(&text, net, name))
        layer_end(&text);
}

void qn_net_global_average_pool(qn_net *net)
{
    add_plain(net, "global_avg_pool2d");
}

void qn_net_flatten(qn_net *net)
{
    add_plain(net, "flatten");
}

void qn_net_batch_norm(qn_net *net)
{
    add_plain(net, "batch_norm");
}

void qn_net_dropout(qn_net *net, float rate)
{
    qn_layer_text text;
    if (!layer_begin(&text, net, "dropout"))
        return;
    qn_json_key(&text.writer, "rate");
    qn_json_f32(&text.writer, rate);
    layer_end(&text);
}

void qn_net_activation(qn_net *net, qn_activation activation)
{
    if (activation == QN_LINEAR)
        return;
    qn_layer_text text;
    if (!layer_begin(&text, net, "activation"))
        return;
    layer_activation(&text, "name", activation);
    layer_end(&text);
}

void qn_net_layer(qn_net *net, const char *name, const char *attributes)
{
    qn_arena scratch;
    qn_json json;
    qn_error err = {0};
    if (!takes_layers(net))
        return;
    qn_arena_init(&scratch, 0);
    qn_str given = qn_str_from(attributes ? attributes : "{}");
    if (!name || !qn_nn_layer_find(name))
        stick(net, QN_ERR_ARG, "unknown layer; `quern schema layers` lists them");
    else if (qn_json_read(given, NULL, &scratch, &json, &err) != QN_OK)
        stick(net, err.code, err.text);
    qn_arena_deinit(&scratch);
    if (net->sticky.code != QN_OK)
        return;
    add_comma(net);
    qn_buf_printf(&net->layers, "{\"%s\":", name);
    qn_buf_str(&net->layers, given);
    qn_buf_byte(&net->layers, '}');
}

void qn_net_residual_begin(qn_net *net)
{
    if (!takes_layers(net))
        return;
    if (net->depth == QN_NN_LISTS_MAX) {
        stick(net, QN_ERR_ARG, "residual branches stand too deep in each other");
        return;
    }
    add_comma(net);
    qn_buf_text(&net->layers, "{\"residual\":{\"layers\":[");
    net->bridged &= ~(1u << net->depth);
    net->depth++;
}

void qn_net_shortcut(qn_net *net)
{
    if (!takes_layers(net))
        return;
    if (net->depth == 0 || net->bridged & 1u << (net->depth - 1)) {
        stick(net, QN_ERR_ARG, "a shortcut stands once within a residual branch");
        return;
    }
    qn_buf_text(&net->layers, "],\"shortcut\":[");
    net->bridged |= 1u << (net->depth - 1);
}

void qn_net_residual_end(qn_net *net, qn_activation activation)
{
    if (!takes_layers(net))
        return;
    if (net->depth == 0 || !name_activation(activation)) {
        stick(net, QN_ERR_ARG, "a residual branch ends that was not begun, or in no activation");
        return;
    }
    qn_buf_printf(&net->layers, "],\"activation\":\"%s\"}}", activation_names[activation]);
    net->depth--;
}

/* Behind the attributes of the last layer, whose text ends in two closing braces. */
void qn_net_reparametrize(qn_net *net, qn_reparametrization kind)
{
    static const char *const words[] = {"weight_norm", "spectral_norm"};
    if (!takes_layers(net))
        return;
    const char *text = net->layers.data;
    int64_t at = (int64_t)net->layers.size - 1;
    if ((int)kind < 0 || kind > QN_SPECTRAL_NORM || at < 0 || text[at] != '}') {
        stick(net, QN_ERR_ARG, "no layer to reparametrize, or no such way");
        return;
    }
    for (at--; at > 0 && text[at] != '}';)
        at--;
    net->layers.size = (size_t)at;
    while (at > 0 && strchr(" \t\r\n", text[at - 1]))
        at--;
    qn_buf_printf(&net->layers, "%s\"reparametrize\":\"%s\"}}", text[at - 1] == '{' ? "" : ",",
                  words[kind]);
    if (net->layers.failed)
        stick(net, QN_ERR_MEMORY, "out of memory for the list of layers");
}

qn_status qn_net_describe(const qn_net *net, qn_nn_loss_kind loss, qn_arena *arena,
                          qn_architecture *ret, qn_error *err)
{
    if (net->layers.size == 0)
        QN_FAIL(err, QN_ERR_ARG, "the net has no layers");
    if (net->depth > 0)
        QN_FAIL(err, QN_ERR_ARG, "a residual branch was begun and not ended");
    char *text = qn_arena_alloc(arena, net->layers.size + 2);
    qn_json *layers = QN_NEW(arena, qn_json, 1);
    qn_feature_tensor *source = QN_NEW(arena, qn_feature_tensor, 1);
    if (!text || !layers || !source)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    text[0] = '[';
    memcpy(text + 1, net->layers.data, net->layers.size);
    text[net->layers.size + 1] = ']';
    QN_TRY(qn_json_read((qn_str){text, net->layers.size + 2}, NULL, arena, layers, err));
    source->name = QN_STR("input");
    source->dtype = QN_DTYPE_F32;
    source->shape.rank = net->input.rank;
    source->count = 1;
    for (int i = 0; i < net->input.rank; i++) {
        source->shape.dims[i] = net->input.dims[i];
        source->count *= net->input.dims[i];
    }
    *ret = (qn_architecture){.type = QN_MODEL_LAYERS,
                             .layers = layers,
                             .task = QN_TASK_AUTO,
                             .sources = source,
                             .sources_count = 1,
                             .keep_closing = !qn_nn_loss_takes_logits(loss)};
    return QN_OK;
}

int64_t qn_net_row_count(const qn_type *type)
{
    int64_t count = 1;
    for (int i = 1; i < type->shape.rank; i++)
        count *= type->shape.dims[i];
    return count;
}

qn_status qn_net_build_fresh(qn_net *net, qn_error *err)
{
    qn_architecture architecture;
    qn_network network;
    if (net->graph)
        return QN_OK;
    QN_TRY(qn_net_describe(net, QN_NN_LOSS_CE, &net->load, &architecture, err));
    net->graph = qn_graph_create();
    qn_status status = net->graph ? QN_OK : qn_error_set(err, QN_ERR_MEMORY, NULL, "out of memory");
    if (status == QN_OK)
        status = qn_architecture_build(&architecture, net->graph, true, &net->load, &network, err);
    if (status == QN_OK)
        status = qn_state_create(&net->state, err);
    if (status == QN_OK)
        status = qn_state_add_graph(net->state, net->graph, 1, err);
    if (status != QN_OK) {
        qn_net_drop_built(net);
        return status;
    }
    net->closing = network.closing;
    net->outputs_count = qn_net_row_count(qn_graph_type(net->graph, network.answer));
    return QN_OK;
}

qn_status qn_net_check(const qn_net *net, qn_error *err)
{
    QN_TRY(qn_net_usable(net, err));
    if (net->graph)
        return QN_OK;
    qn_arena scratch;
    qn_architecture architecture;
    qn_network network;
    qn_arena_init(&scratch, 0);
    qn_graph *graph = qn_graph_create();
    qn_status status = graph ? QN_OK : qn_error_set(err, QN_ERR_MEMORY, NULL, "out of memory");
    if (status == QN_OK)
        status = qn_net_describe(net, QN_NN_LOSS_CE, &scratch, &architecture, err);
    if (status == QN_OK)
        status = qn_architecture_build(&architecture, graph, true, &scratch, &network, err);
    if (graph)
        qn_graph_destroy(graph);
    qn_arena_deinit(&scratch);
    return status;
}

qn_status qn_net_need_pool(qn_net *net, int threads, int64_t flops, qn_error *err)
{
    if (net->pool || threads == 1 || flops < POOL_FLOPS)
        return QN_OK;
    return qn_pool_create(threads, &net->pool, err);
}
