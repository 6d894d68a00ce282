/*
 * Layers as functions: shape rules with messages that name the layer, states, and nodes. Activations are nodes of their
 * own; a pass of the graph fuses them behind products once gradients are built.
 */
#include "nn/layers.h"

#include <string.h>

#include "base/hash.h"
#include "nn/scope_priv.h"

/*
 * Activations
 */
#define FLOAT(key, number)                                                                         \
    {                                                                                              \
        .name = (key), .kind = QN_ATTR_FLOAT, .f = (number)                                        \
    }
static const struct {
    const char *name, *op;
    qn_attr attrs[2]; /* a name NULL = none */
} activations[] = {
    {"linear", NULL, {{0}}},
    {"none", NULL, {{0}}},
    {"relu", "Relu", {{0}}},
    {"leaky_relu", "LeakyRelu", {FLOAT("alpha", 0.01)}},
    {"sigmoid", "Sigmoid", {{0}}},
    {"tanh", "Tanh", {{0}}},
    {"gelu", "Gelu", {{0}}},
    {"gelu_tanh", "Gelu", {{.name = "approximate", .kind = QN_ATTR_STRING, .s = "tanh"}}},
    {"silu", "Silu", {{0}}},
    {"softmax", "Softmax", {{0}}},
    {"log_softmax", "LogSoftmax", {{0}}},
    {"elu", "Elu", {FLOAT("alpha", 1)}},
    {"selu", "Selu", {{0}}},
    {"celu", "Celu", {FLOAT("alpha", 1)}},
    {"softplus", "Softplus", {{0}}},
    {"softsign", "Softsign", {{0}}},
    {"mish", "Mish", {{0}}},
    {"relu6", "Clip", {FLOAT("min", 0), FLOAT("max", 6)}},
    {"hard_sigmoid", "HardSigmoid", {FLOAT("alpha", 1.0 / 6)}},
    {"hard_swish", "HardSwish", {{0}}},
    {"hard_tanh", "Clip", {FLOAT("min", -1), FLOAT("max", 1)}},
    {"soft_shrink", "Shrink", {FLOAT("lambd", 0.5), FLOAT("bias", 0.5)}},
    {"hard_shrink", "Shrink", {FLOAT("lambd", 0.5)}},
    {"exponential", "Exp", {{0}}},
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

static bool takes_alpha(const qn_attr *attrs)
{
    return attrs[0].name && (strcmp(attrs[0].name, "alpha") == 0 ||
                             strcmp(attrs[0].name, "lambd") == 0 /* and bias with it */);
}

/* alpha: NULL = the default. */
static qn_value activate(const qn_nn_scope *at, qn_value x, const char *activation,
                         const double *alpha)
{
    qn_attr attrs[2];
    if (!qn_nn_begin(at, x) || !activation)
        return x;
    int i = 0, count = 0;
    while (i < ACTIVATIONS_COUNT && strcmp(activations[i].name, activation) != 0)
        i++;
    if (i == ACTIVATIONS_COUNT)
        return fail_activation(at, activation);
    if (alpha && !takes_alpha(activations[i].attrs))
        return qn_nn_fail(at,
                          "%s has no alpha; leaky_relu, elu, celu, hard_sigmoid and the shrinks "
                          "have one",
                          activation);
    for (; count < 2 && activations[i].attrs[count].name; count++) {
        attrs[count] = activations[i].attrs[count];
        attrs[count].f = alpha ? *alpha : attrs[count].f;
    }
    return activations[i].op ? qn_graph_node(at->graph, activations[i].op, &x, 1, attrs, count) : x;
}

qn_value qn_nn_activation(const qn_nn_scope *at, qn_value x, const char *activation)
{
    return activate(at, x, activation, NULL);
}

qn_value qn_nn_activation_with(const qn_nn_scope *at, qn_value x, const char *activation,
                               double alpha)
{
    return activate(at, x, activation, &alpha);
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
    weight = qn_nn_reparametrise(at, "", weight, QN_NN_OUTPUTS_LAST, options->reparam, &init);
    if (qn_graph_check(at->graph, NULL) != QN_OK)
        return QN_NONE;
    return qn_nn_activation(at, product(at, x, weight, bias), options->activation);
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

qn_value qn_nn_embedding(const qn_nn_scope *at, qn_value x, int64_t count, int64_t size,
                         qn_init init)
{
    if (!qn_nn_begin(at, x))
        return QN_NONE;
    qn_dtype dtype = qn_graph_type(at->graph, x)->dtype;
    qn_attr integers = QN_ATTR_S("to", "i64");
    if (dtype != QN_DTYPE_I64)
        x = qn_graph_node(at->graph, "Cast", &x, 1, &integers, 1);
    if (x == QN_NONE)
        return QN_NONE;
    if (count < 1 || size < 1)
        return qn_nn_fail(at, "has %lld rows of %lld, expected 1 or more of each", (long long)count,
                          (long long)size);
    qn_value weight = qn_nn_state_of(at, "weight", QN_DTYPE_F32, QN_SHAPE(count, size), init, true);
    if (weight == QN_NONE)
        return QN_NONE;
    return qn_graph_op2(at->graph, "Gather", weight, x);
}
