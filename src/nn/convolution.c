/*
 * Layers over one to three spatial dimensions: shape rules with messages that name the layer, states, and nodes.
 */
#include "nn/convolution.h"

#include <stdio.h>
#include <string.h>

#include "nn/scope_priv.h"

static const char *const sides[3][3] = {
    {"length"}, {"height", "width"}, {"depth", "height", "width"}};

static int64_t or_else(int64_t value, int64_t fallback)
{
    return value ? value : fallback;
}

static qn_attr list_of(const char *name, const int64_t *items, int count)
{
    qn_attr attr = {.name = name, .kind = QN_ATTR_INTS, .count = count};
    memcpy(attr.ints, items, (size_t)count * sizeof *items);
    return attr;
}

/* A batch of samples with `rank` sizes and channels. A sequence's length may be open. */
static bool want_pixels(const qn_nn_scope *at, qn_value x, int rank)
{
    static const char *const forms[] = {"2 dimensions [W, C]", "3 dimensions [H, W, C]",
                                        "4 dimensions [D, H, W, C]"};
    qn_shape shape = qn_nn_shape(at, x);
    char text[128];
    bool known = shape.rank == rank + 2 && shape.dims[rank + 1] > 0;
    for (int d = 1; known && d <= rank; d++)
        known = shape.dims[d] > 0 || (rank == 1 && shape.dims[d] < 0);
    if (!known)
        qn_nn_fail(at, "expects input of %s, got %s", forms[rank - 1],
                   qn_nn_sample_text(shape, text));
    return known;
}

/* The pads that SAME means for one direction; of an open length for stride 1. */
static void same_pads(int64_t size, int64_t stride, int64_t covers, int64_t *ret_before,
                      int64_t *ret_after)
{
    int64_t outputs = (size + stride - 1) / stride;
    int64_t total = size < 0 ? covers - 1 : (outputs - 1) * stride + covers - size;
    total = total > 0 ? total : 0;
    *ret_before = total / 2;
    *ret_after = total - total / 2;
}

static bool check_numbers(const qn_nn_scope *at, const qn_nn_window *window, int i)
{
    int64_t size = window->size[i], stride = window->stride[i], dilation = window->dilation[i];
    if (size < 1 || stride < 1 || dilation < 1 || size > 1 << 20 || stride > 1 << 20 ||
        dilation > 1 << 20) {
        qn_nn_fail(at,
                   "has a window of %lld with stride %lld and dilation %lld, expected 1 or more",
                   (long long)size, (long long)stride, (long long)dilation);
        return false;
    }
    return true;
}

/* The window with its defaults filled in: stride, dilation, pads. */
static bool window_complete(const qn_nn_scope *at, qn_value x, int rank, bool pooling,
                            const qn_nn_window *window, qn_nn_window *ret)
{
    qn_shape shape = qn_nn_shape(at, x);
    *ret = *window;
    for (int i = 0; i < rank; i++) {
        ret->stride[i] = or_else(window->stride[i], pooling ? window->size[i] : 1);
        ret->dilation[i] = or_else(window->dilation[i], 1);
        if (!check_numbers(at, ret, i))
            return false;
        int64_t size = shape.dims[1 + i], *before = &ret->pads[i], *after = &ret->pads[rank + i];
        int64_t covers = (ret->size[i] - 1) * ret->dilation[i] + 1;
        if (window->padding != QN_NN_PAD_EXPLICIT)
            *before = *after = 0;
        if (window->padding == QN_NN_PAD_SAME)
            same_pads(size, ret->stride[i], covers, before, after);
        if (*before < 0 || *after < 0 || (size > 0 && covers > size + *before + *after)) {
            qn_nn_fail(at, "has a window of %lld, which does not fit input of %s %lld",
                       (long long)covers, sides[rank - 1][i], (long long)size);
            return false;
        }
        if (size < 0 && (ret->stride[i] != 1 || *before + *after != covers - 1)) {
            qn_nn_fail(at, "keeps an open length only with stride 1 and padding same");
            return false;
        }
    }
    return true;
}

enum { WINDOW_ATTRS = 3 };
static void window_attrs(const qn_nn_window *window, int rank, qn_attr attrs[WINDOW_ATTRS])
{
    attrs[0] = list_of("strides", window->stride, rank);
    attrs[1] = list_of("pads", window->pads, 2 * rank);
    attrs[2] = list_of("dilations", window->dilation, rank);
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

static int64_t places_of(const qn_nn_window *window, int rank)
{
    int64_t places = 1;
    for (int i = 0; i < rank; i++)
        places *= window->size[i];
    return places;
}

/* Weight [K..., in, out] and bias as inputs 1 and 2; false = a sticky error. */
static bool add_states(const qn_nn_scope *at, qn_value x, int rank,
                       const qn_nn_conv_options *options, int64_t in, int64_t out, qn_init init,
                       bool transposed, qn_value inputs[3])
{
    qn_nn_outputs outputs = transposed ? QN_NN_OUTPUTS_NEXT : QN_NN_OUTPUTS_LAST;
    qn_shape weight = {.rank = rank + 2};
    memcpy(weight.dims, options->kernel.size, (size_t)rank * sizeof *weight.dims);
    weight.dims[rank] = in;
    weight.dims[rank + 1] = out;
    inputs[0] = x;
    inputs[1] = qn_nn_state(at, "weight", x, weight, init, true);
    inputs[1] = qn_nn_reparametrise(at, "", inputs[1], outputs, options->reparam, &init);
    inputs[2] = QN_NONE;
    if (!options->no_bias)
        inputs[2] = qn_nn_state(at, "bias", x, QN_SHAPE(options->filters), (qn_init){0}, true);
    return qn_graph_check(at->graph, NULL) == QN_OK;
}

qn_value qn_nn_conv(const qn_nn_scope *at, qn_value x, int rank, const qn_nn_conv_options *options)
{
    int64_t groups = or_else(options->groups, 1), filters = options->filters;
    qn_nn_window window;
    qn_attr attrs[WINDOW_ATTRS + 1];
    qn_value inputs[3];
    if (!qn_nn_begin(at, x) || !want_pixels(at, x, rank) ||
        !window_complete(at, x, rank, false, &options->kernel, &window))
        return QN_NONE;
    int64_t channels = qn_nn_shape(at, x).dims[rank + 1], places = places_of(&window, rank);
    if (!check_groups(at, channels, groups, filters))
        return QN_NONE;
    qn_init init = qn_nn_init_of(options->init, places * (channels / groups), places * filters);
    if (!add_states(at, x, rank, options, channels / groups, filters, init, false, inputs))
        return QN_NONE;
    window_attrs(&window, rank, attrs);
    attrs[WINDOW_ATTRS] = QN_ATTR_I("group", groups);
    qn_value y = qn_graph_node(at->graph, "Conv", inputs, 3, attrs, WINDOW_ATTRS + 1);
    return qn_nn_activation(at, y, options->activation);
}

qn_value qn_nn_conv_transpose(const qn_nn_scope *at, qn_value x, int rank,
                              const qn_nn_conv_options *options, const int64_t *extra)
{
    int64_t groups = or_else(options->groups, 1), filters = options->filters;
    const qn_nn_window *kernel = &options->kernel;
    qn_nn_window window = *kernel;
    qn_attr attrs[WINDOW_ATTRS + 3];
    qn_value inputs[3];
    if (!qn_nn_begin(at, x) || !want_pixels(at, x, rank))
        return QN_NONE;
    for (int i = 0; i < rank; i++) {
        window.stride[i] = or_else(kernel->stride[i], 1);
        window.dilation[i] = or_else(kernel->dilation[i], 1);
        if (!check_numbers(at, &window, i))
            return QN_NONE;
        if (extra[i] < 0 || extra[i] >= window.stride[i])
            return qn_nn_fail(at, "adds %lld pixels to the output, expected 0 to stride - 1",
                              (long long)extra[i]);
    }
    int64_t channels = qn_nn_shape(at, x).dims[rank + 1], places = places_of(&window, rank);
    if (!check_groups(at, channels, groups, filters))
        return QN_NONE;
    qn_init init = qn_nn_init_of(options->init, places * channels, places * (filters / groups));
    if (!add_states(at, x, rank, options, filters / groups, channels, init, true, inputs))
        return QN_NONE;
    if (kernel->padding != QN_NN_PAD_EXPLICIT)
        memset(window.pads, 0, sizeof window.pads);
    window_attrs(&window, rank, attrs);
    attrs[WINDOW_ATTRS] = QN_ATTR_I("group", groups);
    attrs[WINDOW_ATTRS + 1] = list_of("output_padding", extra, rank);
    attrs[WINDOW_ATTRS + 2] =
        QN_ATTR_S("auto_pad", kernel->padding == QN_NN_PAD_SAME ? "SAME_UPPER" : "NOTSET");
    qn_value y = qn_graph_node(at->graph, "ConvTranspose", inputs, 3, attrs, WINDOW_ATTRS + 3);
    return qn_nn_activation(at, y, options->activation);
}

qn_value qn_nn_depthwise_conv(const qn_nn_scope *at, qn_value x, int rank,
                              const qn_nn_conv_options *options)
{
    if (!qn_nn_begin(at, x) || !want_pixels(at, x, rank))
        return QN_NONE;
    qn_nn_conv_options each = *options;
    each.groups = qn_nn_shape(at, x).dims[rank + 1];
    each.filters = options->filters * each.groups;
    return qn_nn_conv(at, x, rank, &each);
}

qn_value qn_nn_separable_conv(const qn_nn_scope *at, qn_value x, int rank,
                              const qn_nn_conv_options *options, int64_t multiplier)
{
    char names[2][256];
    snprintf(names[0], sizeof names[0], "%s.depthwise", at->name);
    snprintf(names[1], sizeof names[1], "%s.pointwise", at->name);
    const char *label = at->label ? at->label : at->name;
    qn_nn_conv_options spread = *options, mix = *options;
    spread.filters = multiplier;
    spread.activation = NULL;
    spread.no_bias = true;
    mix.kernel = (qn_nn_window){.size = {1, 1, 1}};
    x = qn_nn_depthwise_conv(&(qn_nn_scope){at->graph, names[0], label}, x, rank, &spread);
    return qn_nn_conv(&(qn_nn_scope){at->graph, names[1], label}, x, rank, &mix);
}

/* own: an attribute that other pools have not; NULL = none. */
static qn_value pool(const qn_nn_scope *at, qn_value x, int rank, const qn_nn_window *window,
                     const char *op, const qn_attr *own)
{
    qn_nn_window full;
    qn_attr attrs[WINDOW_ATTRS + 3];
    if (!qn_nn_begin(at, x) || !want_pixels(at, x, rank) ||
        !window_complete(at, x, rank, true, window, &full))
        return QN_NONE;
    window_attrs(&full, rank, attrs);
    attrs[WINDOW_ATTRS] = list_of("kernel_shape", full.size, rank);
    attrs[WINDOW_ATTRS + 1] = QN_ATTR_I("ceil_mode", window->ceil);
    if (own)
        attrs[WINDOW_ATTRS + 2] = *own;
    return qn_graph_node(at->graph, op, &x, 1, attrs, WINDOW_ATTRS + 2 + (own != NULL));
}

qn_value qn_nn_max_pool(const qn_nn_scope *at, qn_value x, int rank, const qn_nn_window *window)
{
    return pool(at, x, rank, window, "MaxPool", NULL);
}

qn_value qn_nn_avg_pool(const qn_nn_scope *at, qn_value x, int rank, const qn_nn_window *window)
{
    qn_attr count = QN_ATTR_I("count_include_pad", window->count_pads);
    return pool(at, x, rank, window, "AveragePool", &count);
}

qn_value qn_nn_lp_pool(const qn_nn_scope *at, qn_value x, int rank, const qn_nn_window *window,
                       int64_t p)
{
    qn_attr norm = QN_ATTR_I("p", p);
    return pool(at, x, rank, window, "LpPool", &norm);
}

/* x without the pixels that no window of `size` reaches, which ONNX's unpooling could not give back. */
static qn_value whole_windows(const qn_nn_scope *at, qn_value x, int rank, const int64_t *size)
{
    static const int64_t axes[] = {1, 2, 3}, zeros[3];
    int64_t ends[3] = {0};
    bool whole = true;
    qn_shape shape = qn_nn_shape(at, x);
    for (int i = 0; i < rank; i++) {
        ends[i] = shape.dims[1 + i] / size[i] * size[i];
        whole = whole && ends[i] == shape.dims[1 + i];
    }
    qn_attr attrs[] = {list_of("starts", zeros, rank), list_of("ends", ends, rank),
                       list_of("axes", axes, rank)};
    return whole ? x : qn_graph_node(at->graph, "Slice", &x, 1, attrs, 3);
}

qn_value qn_nn_max_pool_places(const qn_nn_scope *at, qn_value x, int rank, const int64_t *size,
                               qn_value *ret_places)
{
    qn_nn_window window = {0}, full;
    if (!qn_nn_begin(at, x) || !want_pixels(at, x, rank))
        return QN_NONE;
    memcpy(window.size, size, (size_t)rank * sizeof *size);
    if (!window_complete(at, x, rank, true, &window, &full))
        return QN_NONE;
    x = whole_windows(at, x, rank, size);
    qn_value y = qn_nn_max_pool(at, x, rank, &window);
    if (y == QN_NONE)
        return QN_NONE;
    qn_shape shape = qn_nn_shape(at, x);
    qn_attr attrs[] = {list_of("kernel_shape", size, rank), list_of("strides", size, rank),
                       list_of("input_size", shape.dims + 1, rank)};
    qn_value choice = y + 1; /* MaxPool's second result */
    *ret_places = qn_graph_node(at->graph, "MaxPoolIndices", &choice, 1, attrs, 3);
    return *ret_places == QN_NONE ? QN_NONE : y;
}

qn_value qn_nn_max_unpool(const qn_nn_scope *at, qn_value y, int rank, const int64_t *size,
                          qn_value places, qn_value x)
{
    char came[128], want[128];
    int64_t whole[3] = {0}, pads[6] = {0}, rest = 0;
    if (!qn_nn_begin(at, y))
        return QN_NONE;
    qn_shape shape = qn_nn_shape(at, y), pooled = qn_nn_shape(at, places);
    if (!qn_shape_equal(&shape, &pooled))
        return qn_nn_fail(at, "brings back %s where %s was pooled: its layers must keep the shape",
                          qn_nn_sample_text(shape, came), qn_nn_sample_text(pooled, want));
    for (int i = 0; i < rank; i++) {
        whole[i] = shape.dims[1 + i] * size[i];
        pads[rank + i] = qn_nn_shape(at, x).dims[1 + i] - whole[i];
        rest += pads[rank + i];
    }
    qn_attr attr = list_of("output_size", whole, rank);
    qn_value inputs[2] = {y, places};
    y = qn_graph_node(at->graph, "MaxUnpool", inputs, 2, &attr, 1);
    return rest > 0 ? qn_nn_zero_padding(at, y, rank, pads) : y;
}

qn_value qn_nn_global_pool(const qn_nn_scope *at, qn_value x, int rank, qn_nn_summary summary)
{
    if (!qn_nn_begin(at, x) || !want_pixels(at, x, rank))
        return QN_NONE;
    const char *op = summary == QN_NN_LARGEST ? "GlobalMaxPool" : "GlobalAveragePool";
    return qn_nn_flatten(at, qn_graph_op1(at->graph, op, x));
}

qn_value qn_nn_adaptive_pool(const qn_nn_scope *at, qn_value x, int rank, const int64_t *size,
                             qn_nn_summary summary)
{
    if (!qn_nn_begin(at, x) || !want_pixels(at, x, rank))
        return QN_NONE;
    qn_shape shape = qn_nn_shape(at, x);
    qn_nn_window window = {0};
    bool divides = true; /* then it is an ordinary pool, which has kernels */
    for (int i = 0; i < rank; i++) {
        int64_t have = shape.dims[1 + i];
        if (size[i] < 1 || have < 1)
            return qn_nn_fail(at, "pools %s %lld to %lld, expected 1 or more", sides[rank - 1][i],
                              (long long)have, (long long)size[i]);
        window.size[i] = have / size[i];
        divides = divides && have % size[i] == 0;
    }
    if (divides)
        return summary == QN_NN_LARGEST ? qn_nn_max_pool(at, x, rank, &window)
                                        : qn_nn_avg_pool(at, x, rank, &window);
    qn_attr attr = list_of("output_size", size, rank);
    const char *op = summary == QN_NN_LARGEST ? "AdaptiveMaxPool" : "AdaptiveAveragePool";
    return qn_graph_node(at->graph, op, &x, 1, &attr, 1);
}

/* Sizes are right by now. */
static qn_value resize(const qn_nn_scope *at, qn_value x, const qn_shape *sizes, const char *mode)
{
    qn_attr attrs[] = {list_of("sizes", sizes->dims, sizes->rank), QN_ATTR_S("mode", mode)};
    return qn_graph_node(at->graph, "Resize", &x, 1, attrs, 2);
}

qn_value qn_nn_upsample(const qn_nn_scope *at, qn_value x, int rank, const int64_t *factor,
                        const char *mode)
{
    if (!qn_nn_begin(at, x) || !want_pixels(at, x, rank))
        return QN_NONE;
    qn_shape shape = qn_nn_shape(at, x);
    for (int i = 0; i < rank; i++) {
        if (factor[i] < 1 || factor[i] > 1 << 20 || shape.dims[1 + i] < 1)
            return qn_nn_fail(at, "enlarges a %s of %lld by %lld, expected 1 or more of both",
                              sides[rank - 1][i], (long long)shape.dims[1 + i],
                              (long long)factor[i]);
        shape.dims[1 + i] *= factor[i];
    }
    return resize(at, x, &shape, mode);
}

qn_value qn_nn_resize(const qn_nn_scope *at, qn_value x, int rank, const int64_t *size,
                      const char *mode)
{
    if (!qn_nn_begin(at, x) || !want_pixels(at, x, rank))
        return QN_NONE;
    qn_shape shape = qn_nn_shape(at, x);
    for (int i = 0; i < rank; i++) {
        if (size[i] < 1 || shape.dims[1 + i] < 1)
            return qn_nn_fail(at, "brings a %s of %lld to %lld, expected 1 or more of both",
                              sides[rank - 1][i], (long long)shape.dims[1 + i], (long long)size[i]);
        shape.dims[1 + i] = size[i];
    }
    return resize(at, x, &shape, mode);
}

qn_value qn_nn_zero_padding(const qn_nn_scope *at, qn_value x, int rank, const int64_t *pads)
{
    int64_t begins[QN_RANK_MAX] = {0}, ends[QN_RANK_MAX] = {0};
    if (!qn_nn_begin(at, x) || !want_pixels(at, x, rank))
        return QN_NONE;
    memcpy(begins + 1, pads, (size_t)rank * sizeof *pads);
    memcpy(ends + 1, pads + rank, (size_t)rank * sizeof *pads);
    qn_attr attrs[] = {list_of("begins", begins, rank + 2), list_of("ends", ends, rank + 2)};
    return qn_graph_node(at->graph, "Pad", &x, 1, attrs, 2);
}
