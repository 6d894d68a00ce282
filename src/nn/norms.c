/*
 * Layers that normalise each sample by its own statistics, and their rows in the table of layers.
 */
#include "nn/scope_priv.h"
#include "nn/table_priv.h"

static qn_value normalise(const qn_nn_scope *at, qn_value x, const char *op, bool shifted,
                          const qn_attr *attrs, int attrs_count)
{
    int64_t channels = qn_nn_channels(at, x);
    if (channels < 1)
        return QN_NONE;
    qn_shape each = QN_SHAPE(channels);
    qn_value inputs[3] = {
        x, qn_nn_state(at, "scale", x, each, (qn_init){.kind = QN_INIT_ONE}, true), QN_NONE};
    if (shifted)
        inputs[2] = qn_nn_state(at, "shift", x, each, (qn_init){0}, true);
    if (qn_graph_check(at->graph, NULL) != QN_OK)
        return QN_NONE;
    return qn_graph_node(at->graph, op, inputs, shifted ? 3 : 2, attrs, attrs_count);
}

static qn_attr epsilon(double eps)
{
    return QN_ATTR_F("epsilon", eps > 0 ? eps : 1e-5);
}

qn_value qn_nn_layer_norm(const qn_nn_scope *at, qn_value x, double eps)
{
    qn_attr attr = epsilon(eps);
    if (!qn_nn_begin(at, x))
        return QN_NONE;
    return normalise(at, x, "LayerNormalization", true, &attr, 1);
}

qn_value qn_nn_rms_norm(const qn_nn_scope *at, qn_value x, double eps)
{
    qn_attr attr = epsilon(eps);
    if (!qn_nn_begin(at, x))
        return QN_NONE;
    return normalise(at, x, "RMSNormalization", false, &attr, 1);
}

qn_value qn_nn_group_norm(const qn_nn_scope *at, qn_value x, int64_t groups, double eps)
{
    if (!qn_nn_begin(at, x))
        return QN_NONE;
    int64_t channels = qn_nn_channels(at, x);
    if (channels < 1)
        return QN_NONE;
    if (groups < 1 || channels % groups)
        return qn_nn_fail(at, "has %lld groups, which do not divide %lld channels",
                          (long long)groups, (long long)channels);
    qn_attr attrs[] = {epsilon(eps), QN_ATTR_I("num_groups", groups)};
    return normalise(at, x, "GroupNormalization", true, attrs, 2);
}

QN_NN_BUILD(build_layer_norm, qn_nn_layer_norm(at, x, s[0].f))
QN_NN_BUILD(build_rms_norm, qn_nn_rms_norm(at, x, s[0].f))
QN_NN_BUILD(build_group_norm, qn_nn_group_norm(at, x, s[0].i, s[1].f))

/* A group for each channel. */
static qn_value build_instance_norm(const qn_nn_scope *at, const qn_nn_building *b, qn_value x,
                                    const qn_nn_slot *s)
{
    (void)b;
    if (!qn_nn_begin(at, x))
        return QN_NONE;
    return qn_nn_group_norm(at, x, qn_nn_channels(at, x), s[0].f);
}

#define EPS                                                                                        \
    {                                                                                              \
        .name = "eps", .kind = QN_NN_ATTR_FLOAT, .low = 1e-12, .high = 1, .fallback = "1e-5",      \
        .doc = "added to the variance"                                                             \
    }
static const qn_nn_attr eps_attrs[] = {EPS, {0}};
static const qn_nn_attr group_attrs[] = {
    {.name = "groups",
     .kind = QN_NN_ATTR_INT,
     .low = 1,
     .high = 1e6,
     .fallback = "32",
     .doc = "parts of the channels that share statistics; one per channel: instance norm"},
    EPS,
    {0},
};

const qn_nn_row qn_nn_rows_norm[] = {
    {{"layer_norm", "each row to mean 0 and deviation 1 (Keras LayerNormalization)", eps_attrs},
     build_layer_norm},
    {{"rms_norm", "each row to root mean square 1 (PyTorch RMSNorm)", eps_attrs}, build_rms_norm},
    {{"group_norm",
      "groups of channels of each sample to mean 0 and deviation 1 (Keras GroupNormalization)",
      group_attrs},
     build_group_norm},
    {{"instance_norm",
      "each channel of each sample to mean 0 and deviation 1 (PyTorch InstanceNorm2d, affine)",
      eps_attrs},
     build_instance_norm},
    {{0}, NULL},
};
