/*
 * The rows of convolution.h in the table of layers. Rows of one, two and three dimensions share their builders, which take
 * the rank, and their attributes, which differ in how many numbers a window has.
 */
#include <string.h>

#include "nn/scope_priv.h"
#include "nn/table_priv.h"

static qn_nn_window window_of(const qn_nn_slot *size, const qn_nn_slot *stride,
                              const qn_nn_slot *padding)
{
    qn_nn_window window = {.padding = padding->padding};
    memcpy(window.size, size->ints, sizeof(window.size));
    memcpy(window.stride, stride->ints, sizeof(window.stride));
    memcpy(window.pads, padding->ints, sizeof(window.pads));
    return window;
}

/* From the slots of kernel, stride, padding, dilation (s[0..3]) and activation, bias, init, reparametrize (t[0..3]). */
static qn_nn_conv_options options_of(const qn_nn_building *b, int64_t filters, const qn_nn_slot *s,
                                     const qn_nn_slot *t)
{
    qn_nn_conv_options options = {.filters = filters,
                                  .kernel = window_of(&s[0], &s[1], &s[2]),
                                  .activation = qn_nn_slot_activation(b, &t[0]),
                                  .no_bias = !t[1].i,
                                  .init = qn_nn_slot_init(&t[2]),
                                  .reparam = qn_nn_slot_reparam(&t[3])};
    memcpy(options.kernel.dilation, s[3].ints, sizeof(options.kernel.dilation));
    return options;
}

static qn_value conv(const qn_nn_scope *at, const qn_nn_building *b, qn_value x,
                     const qn_nn_slot *s, int rank)
{
    qn_nn_conv_options options = options_of(b, s[0].i, s + 1, s + 6);
    options.groups = s[5].i;
    return qn_nn_conv(at, x, rank, &options);
}

static qn_value transposed(const qn_nn_scope *at, const qn_nn_building *b, qn_value x,
                           const qn_nn_slot *s, int rank)
{
    qn_nn_conv_options options = options_of(b, s[0].i, s + 1, s + 7);
    options.groups = s[5].i;
    return qn_nn_conv_transpose(at, x, rank, &options, s[6].ints);
}

static qn_value depthwise(const qn_nn_scope *at, const qn_nn_building *b, qn_value x,
                          const qn_nn_slot *s, int rank)
{
    qn_nn_conv_options options = options_of(b, s[4].i, s, s + 5);
    return qn_nn_depthwise_conv(at, x, rank, &options);
}

static qn_value separable(const qn_nn_scope *at, const qn_nn_building *b, qn_value x,
                          const qn_nn_slot *s, int rank)
{
    qn_nn_conv_options options = options_of(b, s[0].i, s + 1, s + 6);
    return qn_nn_separable_conv(at, x, rank, &options, s[5].i);
}

static qn_value pool(const qn_nn_scope *at, qn_value x, const qn_nn_slot *s, int rank,
                     qn_nn_summary summary)
{
    qn_nn_window window = window_of(&s[0], &s[1], &s[2]);
    window.ceil = s[3].i != 0;
    if (summary == QN_NN_LARGEST) {
        memcpy(window.dilation, s[4].ints, sizeof window.dilation);
        return qn_nn_max_pool(at, x, rank, &window);
    }
    window.count_pads = s[4].i != 0;
    return qn_nn_avg_pool(at, x, rank, &window);
}

static qn_value lp_pool(const qn_nn_scope *at, qn_value x, const qn_nn_slot *s, int rank)
{
    qn_nn_window window = window_of(&s[0], &s[1], &s[2]);
    window.ceil = s[3].i != 0;
    return qn_nn_lp_pool(at, x, rank, &window, s[4].i);
}

/* Pools, runs the layers on the small image, and brings what they give back to where the largest stood. */
static qn_value unpool(const qn_nn_scope *at, const qn_nn_building *b, qn_value x,
                       const qn_nn_slot *s, int rank)
{
    qn_value places = QN_NONE;
    qn_value y = qn_nn_max_pool_places(at, x, rank, s[0].ints, &places);
    if (y != QN_NONE)
        y = qn_nn_list_build(at, b, "layers", &s[1].list, y, NULL);
    return qn_nn_max_unpool(at, y, rank, s[0].ints, places, x);
}

static qn_value padding(const qn_nn_scope *at, qn_value x, const qn_nn_slot *s, int rank)
{
    if (s[0].padding != QN_NN_PAD_EXPLICIT)
        return qn_nn_fail(at, "takes numbers of pixels as padding");
    return qn_nn_zero_padding(at, x, rank, s[0].ints);
}

QN_NN_BUILD(build_conv1d, conv(at, b, x, s, 1))
QN_NN_BUILD(build_conv2d, conv(at, b, x, s, 2))
QN_NN_BUILD(build_conv3d, conv(at, b, x, s, 3))
QN_NN_BUILD(build_transposed1d, transposed(at, b, x, s, 1))
QN_NN_BUILD(build_transposed2d, transposed(at, b, x, s, 2))
QN_NN_BUILD(build_transposed3d, transposed(at, b, x, s, 3))
QN_NN_BUILD(build_depthwise1d, depthwise(at, b, x, s, 1))
QN_NN_BUILD(build_depthwise2d, depthwise(at, b, x, s, 2))
QN_NN_BUILD(build_depthwise3d, depthwise(at, b, x, s, 3))
QN_NN_BUILD(build_separable1d, separable(at, b, x, s, 1))
QN_NN_BUILD(build_separable2d, separable(at, b, x, s, 2))
QN_NN_BUILD(build_max_pool1d, pool(at, x, s, 1, QN_NN_LARGEST))
QN_NN_BUILD(build_max_pool2d, pool(at, x, s, 2, QN_NN_LARGEST))
QN_NN_BUILD(build_max_pool3d, pool(at, x, s, 3, QN_NN_LARGEST))
QN_NN_BUILD(build_avg_pool1d, pool(at, x, s, 1, QN_NN_MEAN))
QN_NN_BUILD(build_avg_pool2d, pool(at, x, s, 2, QN_NN_MEAN))
QN_NN_BUILD(build_avg_pool3d, pool(at, x, s, 3, QN_NN_MEAN))
QN_NN_BUILD(build_lp_pool1d, lp_pool(at, x, s, 1))
QN_NN_BUILD(build_lp_pool2d, lp_pool(at, x, s, 2))
QN_NN_BUILD(build_lp_pool3d, lp_pool(at, x, s, 3))
QN_NN_BUILD(build_max_unpool1d, unpool(at, b, x, s, 1))
QN_NN_BUILD(build_max_unpool2d, unpool(at, b, x, s, 2))
QN_NN_BUILD(build_max_unpool3d, unpool(at, b, x, s, 3))
QN_NN_BUILD(build_global_max2d, qn_nn_global_pool(at, x, 2, QN_NN_LARGEST))
QN_NN_BUILD(build_global_max3d, qn_nn_global_pool(at, x, 3, QN_NN_LARGEST))
QN_NN_BUILD(build_global_avg2d, qn_nn_global_pool(at, x, 2, QN_NN_MEAN))
QN_NN_BUILD(build_global_avg3d, qn_nn_global_pool(at, x, 3, QN_NN_MEAN))
QN_NN_BUILD(build_adaptive_max1d, qn_nn_adaptive_pool(at, x, 1, s[0].ints, QN_NN_LARGEST))
QN_NN_BUILD(build_adaptive_max2d, qn_nn_adaptive_pool(at, x, 2, s[0].ints, QN_NN_LARGEST))
QN_NN_BUILD(build_adaptive_max3d, qn_nn_adaptive_pool(at, x, 3, s[0].ints, QN_NN_LARGEST))
QN_NN_BUILD(build_adaptive_avg1d, qn_nn_adaptive_pool(at, x, 1, s[0].ints, QN_NN_MEAN))
QN_NN_BUILD(build_adaptive_avg2d, qn_nn_adaptive_pool(at, x, 2, s[0].ints, QN_NN_MEAN))
QN_NN_BUILD(build_adaptive_avg3d, qn_nn_adaptive_pool(at, x, 3, s[0].ints, QN_NN_MEAN))
QN_NN_BUILD(build_upsample1d, qn_nn_upsample(at, x, 1, s[0].ints, s[1].word))
QN_NN_BUILD(build_upsample2d, qn_nn_upsample(at, x, 2, s[0].ints, s[1].word))
QN_NN_BUILD(build_upsample3d, qn_nn_upsample(at, x, 3, s[0].ints, s[1].word))
QN_NN_BUILD(build_resize1d, qn_nn_resize(at, x, 1, s[0].ints, s[1].word))
QN_NN_BUILD(build_resize2d, qn_nn_resize(at, x, 2, s[0].ints, s[1].word))
QN_NN_BUILD(build_resize3d, qn_nn_resize(at, x, 3, s[0].ints, s[1].word))
QN_NN_BUILD(build_padding1d, padding(at, x, s, 1))
QN_NN_BUILD(build_padding2d, padding(at, x, s, 2))
QN_NN_BUILD(build_padding3d, padding(at, x, s, 3))

/* A number of pixels along each dimension. */
#define NUMBERS(key, many, from, text)                                                             \
    .name = (key), .kind = (many), .low = (from), .high = 65536, .doc = (text)
#define FORMS1 "valid, same, an integer or [left, right]"
#define FORMS2 "valid, same, an integer, [vertical, horizontal] or [top, left, bottom, right]"
#define FORMS3 "valid, same, an integer, one for each dimension, or three begins and three ends"
#define PADDING(rank)                                                                              \
    {                                                                                              \
        .name = "padding", .kind = QN_NN_ATTR_PADDING, .high = (rank), .fallback = "valid",        \
        .doc = FORMS##rank                                                                         \
    }
#define WINDOW(rank, many)                                                                         \
    {NUMBERS("kernel", many, 1, "size of the window"), .required = true},                          \
        {NUMBERS("stride", many, 1, "step of the window"), .fallback = "1"}, PADDING(rank),        \
    {                                                                                              \
        NUMBERS("dilation", many, 1, "distance of the window's elements"), .fallback = "1"         \
    }
#define FILTERS                                                                                    \
    {                                                                                              \
        .name = "filters", .kind = QN_NN_ATTR_UNITS, .required = true, .low = 1, .high = 1e6,      \
        .doc = "output channels"                                                                   \
    }
#define GROUPS                                                                                     \
    {                                                                                              \
        .name = "groups", .kind = QN_NN_ATTR_INT, .low = 1, .high = 65536, .fallback = "1",        \
        .doc = "parts of the channels that do not mix"                                             \
    }
#define MULTIPLIER                                                                                 \
    {                                                                                              \
        .name = "multiplier", .kind = QN_NN_ATTR_INT, .low = 1, .high = 65536, .fallback = "1",    \
        .doc = "results for each channel"                                                          \
    }
#define ENDING                                                                                     \
    QN_NN_ATTR_ACTIVATION, QN_NN_ATTR_BIAS, QN_NN_ATTR_INIT, QN_NN_ATTR_REPARAM,                   \
    {                                                                                              \
        0                                                                                          \
    }
#define CEIL                                                                                       \
    {                                                                                              \
        .name = "ceil", .kind = QN_NN_ATTR_BOOL, .fallback = "false",                              \
        .doc = "whether a last window that is cut by the edge counts"                              \
    }

#define POOL(rank, many)                                                                           \
    {NUMBERS("size", many, 1, "size of the window"), .fallback = "2"},                             \
        {NUMBERS("stride", many, 0, "step of the window; 0: the window's size"), .fallback = "0"}, \
        PADDING(rank), CEIL
#define MODE                                                                                       \
    {                                                                                              \
        .name = "mode", .kind = QN_NN_ATTR_CHOICE, .choices = "nearest linear cubic",              \
        .fallback = "nearest", .doc = "how pixels between are made"                                \
    }

/* All attributes for a rank; `many` is the kind of a number for each dimension. */
#define ATTRS(rank, many)                                                                          \
    static const qn_nn_attr conv##rank##d_attrs[] = {FILTERS, WINDOW(rank, many), GROUPS, ENDING}; \
    static const qn_nn_attr transposed##rank##d_attrs[] = {                                        \
        FILTERS,                                                                                   \
        WINDOW(rank, many),                                                                        \
        GROUPS,                                                                                    \
        {NUMBERS("output_padding", many, 0, "pixels added at the end, less than the stride"),      \
         .fallback = "0"},                                                                         \
        ENDING};                                                                                   \
    static const qn_nn_attr max_pool##rank##d_attrs[] = {                                          \
        POOL(rank, many),                                                                          \
        {NUMBERS("dilation", many, 1, "distance of the window's elements"), .fallback = "1"},      \
        {0}};                                                                                      \
    static const qn_nn_attr avg_pool##rank##d_attrs[] = {                                          \
        POOL(rank, many),                                                                          \
        {.name = "count_padding",                                                                  \
         .kind = QN_NN_ATTR_BOOL,                                                                  \
         .fallback = "false",                                                                      \
         .doc = "whether zeros of the padding count (PyTorch count_include_pad)"},                 \
        {0}};                                                                                      \
    static const qn_nn_attr lp_pool##rank##d_attrs[] = {POOL(rank, many),                          \
                                                        {.name = "p",                              \
                                                         .kind = QN_NN_ATTR_INT,                   \
                                                         .low = 1,                                 \
                                                         .high = 64,                               \
                                                         .fallback = "2",                          \
                                                         .doc = "which norm"},                     \
                                                        {0}};                                      \
    static const qn_nn_attr unpool##rank##d_attrs[] = {                                            \
        {NUMBERS("size", many, 1, "size of the window"), .fallback = "2"},                         \
        {.name = "layers",                                                                         \
         .kind = QN_NN_ATTR_LAYERS,                                                                \
         .required = true,                                                                         \
         .doc = "what is done to the small image; they keep its shape"},                           \
        {0}};                                                                                      \
    static const qn_nn_attr adaptive##rank##d_attrs[] = {                                          \
        {NUMBERS("size", many, 1, "pixels of the result"), .required = true}, {0}};                \
    static const qn_nn_attr upsample##rank##d_attrs[] = {                                          \
        {NUMBERS("size", many, 1, "by how much"), .fallback = "2"}, MODE, {0}};                    \
    static const qn_nn_attr resize##rank##d_attrs[] = {                                            \
        {NUMBERS("size", many, 1, "pixels of the result"), .required = true}, MODE, {0}};          \
    static const qn_nn_attr padding##rank##d_attrs[] = {{.name = "padding",                        \
                                                         .kind = QN_NN_ATTR_PADDING,               \
                                                         .high = (rank),                           \
                                                         .fallback = "1",                          \
                                                         .doc = FORMS##rank},                      \
                                                        {0}};
ATTRS(1, QN_NN_ATTR_INT)
ATTRS(2, QN_NN_ATTR_PAIR)
ATTRS(3, QN_NN_ATTR_TRIPLE)
#define APART(rank, many)                                                                          \
    static const qn_nn_attr depthwise##rank##d_attrs[] = {WINDOW(rank, many), MULTIPLIER, ENDING}; \
    static const qn_nn_attr separable##rank##d_attrs[] = {FILTERS, WINDOW(rank, many), MULTIPLIER, \
                                                          ENDING};
APART(1, QN_NN_ATTR_INT)
APART(2, QN_NN_ATTR_PAIR)
static const qn_nn_attr depthwise3d_attrs[] = {WINDOW(3, QN_NN_ATTR_TRIPLE), MULTIPLIER, ENDING};
static const qn_nn_attr no_attrs[] = {{0}};

const qn_nn_row qn_nn_rows_convolution[] = {
    {{"conv1d", "filters that slide along a sequence [W, C] (Keras Conv1D, PyTorch Conv1d)",
      conv1d_attrs},
     build_conv1d},
    {{"conv2d", "filters that slide over an image [H, W, C] (Keras Conv2D, PyTorch Conv2d)",
      conv2d_attrs},
     build_conv2d},
    {{"conv3d", "filters that slide through a volume [D, H, W, C] (Keras Conv3D, PyTorch Conv3d)",
      conv3d_attrs},
     build_conv3d},
    {{"conv1d_transpose",
      "filters that enlarge a sequence [W, C] (Keras Conv1DTranspose, PyTorch ConvTranspose1d)",
      transposed1d_attrs},
     build_transposed1d},
    {{"conv2d_transpose",
      "filters that enlarge an image [H, W, C] (Keras Conv2DTranspose, PyTorch ConvTranspose2d)",
      transposed2d_attrs},
     build_transposed2d},
    {{"conv3d_transpose",
      "filters that enlarge a volume [D, H, W, C] (Keras Conv3DTranspose, PyTorch ConvTranspose3d)",
      transposed3d_attrs},
     build_transposed3d},
    {{"depthwise_conv1d", "a filter for each channel of a sequence (Keras DepthwiseConv1D)",
      depthwise1d_attrs},
     build_depthwise1d},
    {{"depthwise_conv2d", "a filter for each channel of an image (Keras DepthwiseConv2D)",
      depthwise2d_attrs},
     build_depthwise2d},
    {{"depthwise_conv3d", "a filter for each channel of a volume (PyTorch Conv3d with groups)",
      depthwise3d_attrs},
     build_depthwise3d},
    {{"separable_conv1d",
      "a filter for each channel, then a mix of channels (Keras SeparableConv1D)",
      separable1d_attrs},
     build_separable1d},
    {{"separable_conv2d",
      "a filter for each channel, then a mix of channels (Keras SeparableConv2D)",
      separable2d_attrs},
     build_separable2d},
    {{"max_pool1d",
      "the largest of each window of a sequence (Keras MaxPooling1D, PyTorch MaxPool1d)",
      max_pool1d_attrs},
     build_max_pool1d},
    {{"max_pool2d",
      "the largest of each window of an image (Keras MaxPooling2D, PyTorch MaxPool2d)",
      max_pool2d_attrs},
     build_max_pool2d},
    {{"max_pool3d",
      "the largest of each window of a volume (Keras MaxPooling3D, PyTorch MaxPool3d)",
      max_pool3d_attrs},
     build_max_pool3d},
    {{"avg_pool1d",
      "the mean of each window of a sequence (Keras AveragePooling1D, PyTorch AvgPool1d)",
      avg_pool1d_attrs},
     build_avg_pool1d},
    {{"avg_pool2d",
      "the mean of each window of an image (Keras AveragePooling2D, PyTorch AvgPool2d)",
      avg_pool2d_attrs},
     build_avg_pool2d},
    {{"avg_pool3d",
      "the mean of each window of a volume (Keras AveragePooling3D, PyTorch AvgPool3d)",
      avg_pool3d_attrs},
     build_avg_pool3d},
    {{"lp_pool1d", "the p-norm of each window of a sequence (PyTorch LPPool1d)", lp_pool1d_attrs},
     build_lp_pool1d},
    {{"lp_pool2d", "the p-norm of each window of an image (PyTorch LPPool2d)", lp_pool2d_attrs},
     build_lp_pool2d},
    {{"lp_pool3d", "the p-norm of each window of a volume (PyTorch LPPool3d)", lp_pool3d_attrs},
     build_lp_pool3d},
    {{"max_unpool1d",
      "pools a sequence, runs layers on it, and puts what they give back where the largest stood "
      "(PyTorch MaxPool1d, MaxUnpool1d)",
      unpool1d_attrs},
     build_max_unpool1d},
    {{"max_unpool2d",
      "pools an image, runs layers on it, and puts what they give back where the largest stood "
      "(PyTorch MaxPool2d, MaxUnpool2d)",
      unpool2d_attrs},
     build_max_unpool2d},
    {{"max_unpool3d",
      "pools a volume, runs layers on it, and puts what they give back where the largest stood "
      "(PyTorch MaxPool3d, MaxUnpool3d)",
      unpool3d_attrs},
     build_max_unpool3d},
    {{"global_max_pool2d", "the largest of each channel of an image (Keras GlobalMaxPooling2D)",
      no_attrs},
     build_global_max2d},
    {{"global_max_pool3d", "the largest of each channel of a volume (Keras GlobalMaxPooling3D)",
      no_attrs},
     build_global_max3d},
    {{"global_avg_pool2d", "the mean of each channel of an image (Keras GlobalAveragePooling2D)",
      no_attrs},
     build_global_avg2d},
    {{"global_avg_pool3d", "the mean of each channel of a volume (Keras GlobalAveragePooling3D)",
      no_attrs},
     build_global_avg3d},
    {{"adaptive_max_pool1d", "the largest, to a given length (PyTorch AdaptiveMaxPool1d)",
      adaptive1d_attrs},
     build_adaptive_max1d},
    {{"adaptive_max_pool2d", "the largest, to a given size (PyTorch AdaptiveMaxPool2d)",
      adaptive2d_attrs},
     build_adaptive_max2d},
    {{"adaptive_max_pool3d", "the largest, to a given size (PyTorch AdaptiveMaxPool3d)",
      adaptive3d_attrs},
     build_adaptive_max3d},
    {{"adaptive_avg_pool1d", "the mean, to a given length (PyTorch AdaptiveAvgPool1d)",
      adaptive1d_attrs},
     build_adaptive_avg1d},
    {{"adaptive_avg_pool2d", "the mean, to a given size (PyTorch AdaptiveAvgPool2d)",
      adaptive2d_attrs},
     build_adaptive_avg2d},
    {{"adaptive_avg_pool3d", "the mean, to a given size (PyTorch AdaptiveAvgPool3d)",
      adaptive3d_attrs},
     build_adaptive_avg3d},
    {{"upsample1d", "a sequence made longer (Keras UpSampling1D, PyTorch Upsample)",
      upsample1d_attrs},
     build_upsample1d},
    {{"upsample2d", "an image made larger (Keras UpSampling2D, PyTorch Upsample)",
      upsample2d_attrs},
     build_upsample2d},
    {{"upsample3d", "a volume made larger (Keras UpSampling3D, PyTorch Upsample)",
      upsample3d_attrs},
     build_upsample3d},
    {{"resize1d", "a sequence brought to a given length (PyTorch interpolate)", resize1d_attrs},
     build_resize1d},
    {{"resize2d", "an image brought to a given size (Keras Resizing, PyTorch interpolate)",
      resize2d_attrs},
     build_resize2d},
    {{"resize3d", "a volume brought to a given size (PyTorch interpolate)", resize3d_attrs},
     build_resize3d},
    {{"zero_padding1d", "zeros around a sequence (Keras ZeroPadding1D)", padding1d_attrs},
     build_padding1d},
    {{"zero_padding2d", "zeros around an image (Keras ZeroPadding2D)", padding2d_attrs},
     build_padding2d},
    {{"zero_padding3d", "zeros around a volume (Keras ZeroPadding3D)", padding3d_attrs},
     build_padding3d},
    {{0}, NULL},
};
