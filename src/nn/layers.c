/*
 * Layers as functions: shape rules with messages that name the layer, states, and nodes. Activations are nodes of their
 * own; a pass of the graph fuses them behind products once gradients are built.
 */
#include "nn/layers.h"

#include <string.h>

#include "base/hash.h"
#include "nn/scope_priv.h"

static bool want_image(const qn_nn_scope *at, qn_value x)
{
    qn_shape shape = qn_nn_shape(at, x);
    char text[128];
    bool known = shape.rank == 4;
    for (int d = 1; known && d < 4; d++)
        known = shape.dims[d] > 0;
    if (!known)
        qn_nn_fail(at, "expects input of 3 dimensions [H, W, C], got %s",
                   qn_nn_sample_text(shape, text));
    return known;
}

/*
 * Activations
 */
static const struct {
    const char *name, *op;
    qn_attr attr; /* its name NULL = none */
} activations[] = {
    {"linear", NULL, {0}},
    {"none", NULL, {0}},
    {"relu", "Relu", {0}},
    {"leaky_relu", "LeakyRelu", {.name = "alpha", .kind = QN_ATTR_FLOAT, .f = 0.01}},
    {"sigmoid", "Sigmoid", {0}},
    {"tanh", "Tanh", {0}},
    {"gelu", "Gelu", {0}},
    {"gelu_tanh", "Gelu", {.name = "approximate", .kind = QN_ATTR_STRING, .s = "tanh"}},
    {"silu", "Silu", {0}},
    {"softmax", "Softmax", {0}},
    {"log_softmax", "LogSoftmax", {0}},
};
enum { ACTIVATIONS_COUNT = sizeof(activations) / sizeof(activations[0]) };

static qn_value fail_activation(const qn_nn_scope *at, const char *name)
{
    const char *names[ACTIVATIONS_COUNT];
    for (int i = 0; i < ACTIVATIONS_COUNT; i++)
        names[i] = activations[i].name;
    const char *nearest = qn_error_nearest(name, names, ACTIVATIONS_COUNT);
    if (nearest)
        return qn_nn_fail(at, "has no activation '%s'; did you mean '%s'?", name, nearest);
    return qn_nn_fail(at, "has no activation '%s'", name);
}

qn_value qn_nn_activation(const qn_nn_scope *at, qn_value x, const char *activation)
{
    if (!qn_nn_begin(at, x) || !activation)
        return x;
    int i = 0;
    while (i < ACTIVATIONS_COUNT && strcmp(activations[i].name, activation) != 0)
        i++;
    if (i == ACTIVATIONS_COUNT)
        return fail_activation(at, activation);
    if (!activations[i].op)
        return x;
    return qn_graph_node(at->graph, activations[i].op, &x, 1, &activations[i].attr,
                         activations[i].attr.name != NULL);
}

/*
 * Dense
 */
static qn_value product(const qn_nn_scope *at, qn_value x, qn_value weight, qn_value bias)
{
    if (qn_nn_shape(at, x).rank == 2)
        return qn_graph_node(at->graph, "Gemm", (qn_value[]){x, weight, bias}, 3, NULL, 0);
    qn_value y = qn_graph_op2(at->graph, "MatMul", x, weight);
    return bias == QN_NONE ? y : qn_graph_op2(at->graph, "Add", y, bias);
}

qn_value qn_nn_dense(const qn_nn_scope *at, qn_value x, const qn_nn_dense_options *options)
{
    if (!qn_nn_begin(at, x))
        return QN_NONE;
    qn_shape shape = qn_nn_shape(at, x);
    char text[128];
    int64_t in = shape.rank > 1 ? shape.dims[shape.rank - 1] : -1;
    if (in < 1)
        return qn_nn_fail(at, "expects input of 1 dimension or more [..., features], got %s",
                          qn_nn_sample_text(shape, text));
    if (options->units < 1)
        return qn_nn_fail(at, "has %lld units, expected 1 or more", (long long)options->units);
    qn_init init = qn_nn_init_of(options->init, in, options->units);
    qn_value weight = qn_nn_state(at, "weight", x, QN_SHAPE(in, options->units), init, true);
    qn_value bias = QN_NONE;
    if (!options->no_bias)
        bias = qn_nn_state(at, "bias", x, QN_SHAPE(options->units), (qn_init){0}, true);
    if (qn_graph_check(at->graph, NULL) != QN_OK)
        return QN_NONE;
    return qn_nn_activation(at, product(at, x, weight, bias), options->activation);
}

/*
 * Windows
 */
static int64_t or_else(int64_t value, int64_t fallback)
{
    return value ? value : fallback;
}

/* The pads that SAME means for one direction. */
static void same_pads(int64_t size, int64_t stride, int64_t covers, int64_t *ret_before,
                      int64_t *ret_after)
{
    int64_t outputs = (size + stride - 1) / stride;
    int64_t total = (outputs - 1) * stride + covers - size;
    total = total > 0 ? total : 0;
    *ret_before = total / 2;
    *ret_after = total - total / 2;
}

/* strides, pads, dilations as attributes of a node, with the layer's own checks. */
static bool window_attrs(const qn_nn_scope *at, qn_value x, const qn_nn_window *window,
                         const int64_t strides[2], qn_attr attrs[3])
{
    static const char *const sides[] = {"height", "width"};
    qn_shape shape = qn_nn_shape(at, x);
    attrs[0] = QN_ATTR_2I("strides", strides[0], strides[1]);
    attrs[1] = (qn_attr){.name = "pads", .kind = QN_ATTR_INTS, .count = 4};
    attrs[2] =
        QN_ATTR_2I("dilations", or_else(window->dilation[0], 1), or_else(window->dilation[1], 1));
    for (int i = 0; i < 2; i++) {
        int64_t size = shape.dims[1 + i], dilation = attrs[2].ints[i];
        int64_t *pads = attrs[1].ints;
        if (window->size[i] < 1 || strides[i] < 1 || dilation < 1 || window->size[i] > 1 << 20 ||
            strides[i] > 1 << 20 || dilation > 1 << 20) {
            qn_nn_fail(
                at, "has a window of %lld with stride %lld and dilation %lld, expected 1 or more",
                (long long)window->size[i], (long long)strides[i], (long long)dilation);
            return false;
        }
        int64_t covers = (window->size[i] - 1) * dilation + 1;
        if (window->padding == QN_NN_PAD_SAME)
            same_pads(size, strides[i], covers, &pads[i], &pads[2 + i]);
        if (window->padding == QN_NN_PAD_EXPLICIT) {
            pads[i] = window->pads[i];
            pads[2 + i] = window->pads[2 + i];
        }
        if (pads[i] < 0 || pads[2 + i] < 0 || covers > size + pads[i] + pads[2 + i]) {
            qn_nn_fail(at, "has a window of %lld, which does not fit input of %s %lld",
                       (long long)covers, sides[i], (long long)size);
            return false;
        }
    }
    return true;
}

static bool check_groups(const qn_nn_scope *at, int64_t channels, int64_t groups, int64_t filters)
{
    if (filters < 1)
        qn_nn_fail(at, "has %lld filters, expected 1 or more", (long long)filters);
    else if (groups < 1 || channels % groups || filters % groups)
        qn_nn_fail(at, "has %lld groups, which do not divide %lld channels and %lld filters",
                   (long long)groups, (long long)channels, (long long)filters);
    return qn_graph_check(at->graph, NULL) == QN_OK;
}

qn_value qn_nn_conv2d(const qn_nn_scope *at, qn_value x, const qn_nn_conv2d_options *options)
{
    const qn_nn_window *kernel = &options->kernel;
    int64_t strides[2] = {or_else(kernel->stride[0], 1), or_else(kernel->stride[1], 1)};
    int64_t groups = or_else(options->groups, 1), filters = options->filters;
    qn_attr attrs[4];
    if (!qn_nn_begin(at, x) || !want_image(at, x) || !window_attrs(at, x, kernel, strides, attrs))
        return QN_NONE;
    int64_t channels = qn_nn_shape(at, x).dims[3], places = kernel->size[0] * kernel->size[1];
    if (!check_groups(at, channels, groups, filters))
        return QN_NONE;
    attrs[3] = QN_ATTR_I("group", groups);
    qn_init init = qn_nn_init_of(options->init, places * (channels / groups), places * filters);
    qn_shape weight = QN_SHAPE(kernel->size[0], kernel->size[1], channels / groups, filters);
    qn_value inputs[3] = {x, qn_nn_state(at, "weight", x, weight, init, true), QN_NONE};
    if (!options->no_bias)
        inputs[2] = qn_nn_state(at, "bias", x, QN_SHAPE(filters), (qn_init){0}, true);
    if (qn_graph_check(at->graph, NULL) != QN_OK)
        return QN_NONE;
    qn_value y = qn_graph_node(at->graph, "Conv", inputs, 3, attrs, 4);
    return qn_nn_activation(at, y, options->activation);
}

static qn_value pool(const qn_nn_scope *at, qn_value x, const qn_nn_window *window, const char *op,
                     bool dilated)
{
    int64_t strides[2] = {or_else(window->stride[0], window->size[0]),
                          or_else(window->stride[1], window->size[1])};
    qn_attr attrs[4];
    if (!qn_nn_begin(at, x) || !want_image(at, x) || !window_attrs(at, x, window, strides, attrs))
        return QN_NONE;
    attrs[3] = attrs[2];
    attrs[2] = QN_ATTR_2I("kernel_shape", window->size[0], window->size[1]);
    return qn_graph_node(at->graph, op, &x, 1, attrs, dilated ? 4 : 3);
}

qn_value qn_nn_max_pool2d(const qn_nn_scope *at, qn_value x, const qn_nn_window *window)
{
    return pool(at, x, window, "MaxPool", true);
}

qn_value qn_nn_avg_pool2d(const qn_nn_scope *at, qn_value x, const qn_nn_window *window)
{
    return pool(at, x, window, "AveragePool", false);
}

static qn_value global_pool(const qn_nn_scope *at, qn_value x, const char *op)
{
    if (!qn_nn_begin(at, x) || !want_image(at, x))
        return QN_NONE;
    return qn_nn_flatten(at, qn_graph_op1(at->graph, op, x));
}

qn_value qn_nn_global_max_pool2d(const qn_nn_scope *at, qn_value x)
{
    return global_pool(at, x, "GlobalMaxPool");
}

qn_value qn_nn_global_avg_pool2d(const qn_nn_scope *at, qn_value x)
{
    return global_pool(at, x, "GlobalAveragePool");
}

/*
 * The rest
 */
qn_value qn_nn_batch_norm(const qn_nn_scope *at, qn_value x,
                          const qn_nn_batch_norm_options *options)
{
    if (!qn_nn_begin(at, x))
        return QN_NONE;
    int64_t channels = qn_nn_channels(at, x);
    if (channels < 1)
        return QN_NONE;
    qn_shape each = QN_SHAPE(channels);
    qn_init zero = {.kind = QN_INIT_ZERO}, one = {.kind = QN_INIT_ONE};
    qn_value inputs[] = {
        x,
        qn_nn_state(at, "scale", x, each, one, true),
        qn_nn_state(at, "shift", x, each, zero, true),
        qn_nn_state(at, "running_mean", x, each, zero, false),
        qn_nn_state(at, "running_var", x, each, one, false),
    };
    qn_attr attrs[] = {
        QN_ATTR_F("momentum", options->momentum > 0 ? options->momentum : 0.9),
        QN_ATTR_F("epsilon", options->eps > 0 ? options->eps : 1e-5),
        QN_ATTR_I("training_mode", 1),
    };
    if (qn_graph_check(at->graph, NULL) != QN_OK)
        return QN_NONE;
    qn_value y = qn_graph_node(at->graph, "BatchNormalization", inputs, 5, attrs, 3);
    if (y == QN_NONE)
        return QN_NONE;
    qn_graph_assign(at->graph, inputs[3], y + 1);
    qn_graph_assign(at->graph, inputs[4], y + 2);
    return y;
}

qn_value qn_nn_dropout(const qn_nn_scope *at, qn_value x, double rate)
{
    if (!qn_nn_begin(at, x))
        return QN_NONE;
    if (!(rate >= 0 && rate < 1))
        return qn_nn_fail(at, "has a rate of %g, expected 0 to 1, without 1", rate);
    /* of the name, so that another layer in front changes nothing here; never 0, which asks for any */
    uint32_t stream = (uint32_t)qn_hash64(at->name, strlen(at->name), 0) | 1;
    qn_attr attrs[] = {QN_ATTR_F("ratio", rate), QN_ATTR_I("stream", stream)};
    return qn_graph_node(at->graph, "Dropout", &x, 1, attrs, 2);
}

qn_value qn_nn_flatten(const qn_nn_scope *at, qn_value x)
{
    if (!qn_nn_begin(at, x))
        return QN_NONE;
    qn_attr axis = QN_ATTR_I("axis", 1);
    return qn_nn_shape(at, x).rank == 2 ? x : qn_graph_node(at->graph, "Flatten", &x, 1, &axis, 1);
}

qn_value qn_nn_reshape(const qn_nn_scope *at, qn_value x, const int64_t *dims, int count)
{
    char came[128], want[128];
    if (!qn_nn_begin(at, x))
        return QN_NONE;
    qn_shape shape = qn_nn_shape(at, x), wanted = {.rank = count + 1};
    if (count < 1 || count >= QN_RANK_MAX)
        return qn_nn_fail(at, "reshapes to %d dimensions, expected 1 to %d", count,
                          QN_RANK_MAX - 1);
    int64_t have = 1, need = 1;
    int open = 0;
    for (int d = 1; d < shape.rank; d++)
        have *= shape.dims[d];
    for (int i = 0; i < count; i++) {
        open += dims[i] == -1;
        wanted.dims[i + 1] = dims[i];
        if (dims[i] == 0 || dims[i] < -1 || (dims[i] > 0 && need > have / dims[i] + 1))
            return qn_nn_fail(at, "cannot reshape %s to %s", qn_nn_sample_text(shape, came),
                              qn_nn_sample_text(wanted, want));
        need *= dims[i] > 0 ? dims[i] : 1;
    }
    if (open > 1 || have % need || (open == 0 && have != need))
        return qn_nn_fail(at, "cannot reshape %s to %s", qn_nn_sample_text(shape, came),
                          qn_nn_sample_text(wanted, want));
    qn_attr attr = {.name = "shape", .kind = QN_ATTR_INTS, .count = wanted.rank};
    for (int i = 1; i < wanted.rank; i++)
        attr.ints[i] = wanted.dims[i] == -1 ? have / need : wanted.dims[i];
    return qn_graph_node(at->graph, "Reshape", &x, 1, &attr, 1);
}

qn_value qn_nn_embedding(const qn_nn_scope *at, qn_value x, int64_t count, int64_t size)
{
    if (!qn_nn_begin(at, x))
        return QN_NONE;
    qn_dtype dtype = qn_graph_type(at->graph, x)->dtype;
    if (dtype != QN_DTYPE_I64)
        return qn_nn_fail(at, "expects integers, got %s", qn_dtype_name(dtype));
    if (count < 1 || size < 1)
        return qn_nn_fail(at, "has %lld rows of %lld, expected 1 or more of each", (long long)count,
                          (long long)size);
    qn_value weight = qn_nn_state_of(at, "weight", QN_DTYPE_F32, QN_SHAPE(count, size),
                                     (qn_init){.kind = QN_INIT_UNIFORM, .value = 0.05}, true);
    if (weight == QN_NONE)
        return QN_NONE;
    return qn_graph_op2(at->graph, "Gather", weight, x);
}
