/*
 * ONNX operators over images: convolution, pooling, normalisation by channels, rearrangements of pixels. They run channels
 * last here; importer values that are only used between them never leave that layout.
 */
#include <string.h>

#include "base/checked.h"
#include "model/onnx_import_priv.h"

/* Attributes of windows as they are: strides, pads, dilations and so on, the empty ones left out. */
static int window_attrs(qn_onnx_call *call, qn_attr *dst, const char *const *lists)
{
    int count = 0;
    for (int i = 0; lists[i]; i++) {
        int64_t numbers[QN_RANK_MAX];
        int given = qn_onnx_attr_ints(call, lists[i], numbers, QN_RANK_MAX);
        if (given > 0)
            dst[count++] = qn_onnx_list(lists[i], numbers, given);
    }
    const char *pad = qn_onnx_attr_s(call, "auto_pad", "NOTSET");
    if (strcmp(pad, "NOTSET") != 0)
        dst[count++] = QN_ATTR_S("auto_pad", pad);
    return count;
}

qn_value qn_onnx_weights_last(qn_onnx_call *call, qn_value weight)
{
    int64_t perm[QN_RANK_MAX];
    int rank = qn_onnx_type(call, weight)->shape.rank;
    for (int i = 0; i < rank - 2; i++)
        perm[i] = i + 2;
    if (rank < 3) {
        qn_onnx_fail(call, QN_ERR_DATA, "the weights have %d dimensions, expected at least 3",
                     rank);
        return QN_NONE;
    }
    perm[rank - 2] = 1;
    perm[rank - 1] = 0;
    return qn_onnx_transpose(call, weight, perm);
}

int qn_onnx_window_attrs(qn_onnx_call *call, qn_attr dst[6])
{
    static const char *const lists[] = {"strides", "pads", "dilations", NULL};
    int count = window_attrs(call, dst, lists);
    dst[count++] = QN_ATTR_I("group", qn_onnx_attr_i(call, "group", 1));
    return count;
}

/* A kernel_shape beside the weights may only repeat them. */
static void check_kernel(qn_onnx_call *call, qn_value weight)
{
    int64_t kernel[QN_RANK_MAX];
    int count = qn_onnx_attr_ints(call, "kernel_shape", kernel, QN_RANK_MAX);
    qn_shape shape = qn_onnx_type(call, weight)->shape;
    char text[128];
    for (int i = 0; i < count && call->status == QN_OK; i++)
        if (count != shape.rank - 2 || kernel[i] != shape.dims[i])
            qn_onnx_fail(call, QN_ERR_DATA,
                         "kernel_shape does not fit weights of %s (kernel first)",
                         qn_shape_text(&shape, text));
}

static void map_conv(qn_onnx_call *call)
{
    static const char *const lists[] = {"strides", "pads", "dilations", NULL};
    static const char *const transposed[] = {"strides",        "pads",         "dilations",
                                             "output_padding", "output_shape", NULL};
    bool back = strcmp(call->node->op, "ConvTranspose") == 0;
    qn_attr attrs[8];
    int count = window_attrs(call, attrs, back ? transposed : lists);
    attrs[count++] = QN_ATTR_I("group", qn_onnx_attr_i(call, "group", 1));
    qn_value inputs[3] = {qn_onnx_in_last(call, 0), qn_onnx_weights_last(call, qn_onnx_in(call, 1)),
                          QN_NONE};
    if (qn_onnx_has(call, 2))
        inputs[2] = qn_onnx_in(call, 2);
    check_kernel(call, inputs[1]);
    int given = inputs[2] == QN_NONE ? 2 : 3;
    qn_onnx_out_last(call, 0, qn_onnx_emit(call, call->node->op, inputs, given, attrs, count));
}

static void map_pool(qn_onnx_call *call)
{
    static const char *const lists[] = {"kernel_shape", "strides", "pads", "dilations", NULL};
    qn_attr attrs[10];
    qn_value outputs[2];
    int count = window_attrs(call, attrs, lists);
    bool max = strcmp(call->node->op, "MaxPool") == 0, average = call->node->op[0] == 'A';
    if (qn_onnx_attr_i(call, "ceil_mode", 0))
        attrs[count++] = QN_ATTR_I("ceil_mode", 1);
    int shared = count; /* MaxPoolIndices takes the same window */
    if (average)
        attrs[count++] =
            QN_ATTR_I("count_include_pad", qn_onnx_attr_i(call, "count_include_pad", 0));
    if (!max && !average)
        attrs[count++] = QN_ATTR_I("p", qn_onnx_attr_i(call, "p", 2));
    qn_value x = qn_onnx_in_last(call, 0);
    qn_onnx_emit_many(call, call->node->op, &x, 1, attrs, count, outputs, max ? 2 : 1);
    qn_onnx_out_last(call, 0, outputs[0]);
    if (!max || !qn_onnx_wants(call, 1))
        return;
    qn_shape shape = qn_onnx_type(call, x)->shape;
    attrs[shared] = qn_onnx_list("input_size", shape.dims + 1, shape.rank - 2);
    attrs[shared + 1] = QN_ATTR_I("storage_order", qn_onnx_attr_i(call, "storage_order", 0));
    qn_onnx_out_last(call, 1,
                     qn_onnx_emit(call, "MaxPoolIndices", &outputs[1], 1, attrs, shared + 2));
}

static void map_global_pool(qn_onnx_call *call)
{
    qn_value x = qn_onnx_in_last(call, 0);
    bool norm = strcmp(call->node->op, "GlobalLpPool") == 0;
    qn_attr attr = QN_ATTR_I("p", norm ? qn_onnx_attr_i(call, "p", 2) : 0);
    qn_onnx_out_last(call, 0, qn_onnx_emit(call, call->node->op, &x, 1, &attr, norm));
}

/* Sizes of the result: output_shape, or what the window's inverse gives. */
static void map_unpool(qn_onnx_call *call)
{
    int64_t kernel[3] = {0}, strides[3] = {1, 1, 1}, pads[6] = {0}, given[QN_RANK_MAX];
    int given_count = 0;
    qn_value inputs[2] = {qn_onnx_in_last(call, 0), qn_onnx_in_last(call, 1)};
    qn_shape x = qn_onnx_type(call, inputs[0])->shape;
    int rank = x.rank - 2;
    if (qn_onnx_attr_ints(call, "kernel_shape", kernel, 3) != rank || rank < 1) {
        qn_onnx_fail(call, QN_ERR_DATA, "kernel_shape does not fit the input");
        return;
    }
    (void)qn_onnx_attr_ints(call, "strides", strides, 3);
    (void)qn_onnx_attr_ints(call, "pads", pads, 6);
    if (qn_onnx_has(call, 2) && !qn_onnx_const_ints(call, 2, given, QN_RANK_MAX, &given_count))
        return;
    int64_t size[3], own[3];
    for (int i = 0; i < rank; i++) {
        own[i] = (x.dims[1 + i] - 1) * strides[i] + kernel[i] - pads[i] - pads[rank + i];
        size[i] = given_count == rank + 2 ? given[2 + i] : own[i];
    }
    qn_attr attr = qn_onnx_list("output_size", size, rank);
    if (given_count == rank + 2 && rank == 2 && size[1] != own[1]) {
        /* Indices count in the image that the window's inverse gives: row and column are moved to the wider one. */
        qn_value width = qn_onnx_scalar(call, QN_DTYPE_I64, (double)own[1]);
        qn_value wide = qn_onnx_scalar(call, QN_DTYPE_I64, (double)size[1]);
        qn_value row = qn_onnx_emit2(call, "Div", inputs[1], width);
        qn_value column =
            qn_onnx_emit2(call, "Sub", inputs[1], qn_onnx_emit2(call, "Mul", row, width));
        inputs[1] = qn_onnx_emit2(call, "Add", qn_onnx_emit2(call, "Mul", row, wide), column);
    }
    qn_onnx_out_last(call, 0, qn_onnx_emit(call, "MaxUnpool", inputs, 2, &attr, 1));
}

/* --- normalisation --- */

/* [C] beside channels-last tensors broadcasts as it is. */
static qn_value normalise_by_batch(qn_onnx_call *call, qn_value x, const qn_value *parts,
                                   double epsilon, qn_value ret_statistics[2])
{
    qn_type type = *qn_onnx_type(call, x);
    int64_t axes[QN_RANK_MAX];
    for (int i = 0; i < type.shape.rank - 1; i++)
        axes[i] = i;
    qn_attr attrs[] = {qn_onnx_list("axes", axes, type.shape.rank - 1), QN_ATTR_I("keepdims", 0)};
    qn_value mean = qn_onnx_emit(call, "ReduceMean", &x, 1, attrs, 2);
    qn_value centred = qn_onnx_emit2(call, "Sub", x, mean);
    qn_value square = qn_onnx_emit2(call, "Mul", centred, centred);
    qn_value variance = qn_onnx_emit(call, "ReduceMean", &square, 1, attrs, 2);
    qn_value safe = qn_onnx_emit2(call, "Add", variance, qn_onnx_scalar(call, type.dtype, epsilon));
    qn_value unit = qn_onnx_emit2(call, "Div", centred, qn_onnx_emit1(call, "Sqrt", safe));
    ret_statistics[0] = mean;
    ret_statistics[1] = variance;
    return qn_onnx_emit2(call, "Add", qn_onnx_emit2(call, "Mul", unit, parts[1]), parts[2]);
}

/* old * momentum + new * (1 - momentum) */
static qn_value moved(qn_onnx_call *call, qn_value old, qn_value now, double momentum)
{
    qn_dtype dtype = qn_onnx_type(call, old)->dtype;
    qn_value keep = qn_onnx_scalar(call, dtype, momentum),
             take = qn_onnx_scalar(call, dtype, 1 - momentum);
    return qn_onnx_emit2(call, "Add", qn_onnx_emit2(call, "Mul", old, keep),
                         qn_onnx_emit2(call, "Mul", now, take));
}

/* Does this normalisation learn on, and move its statistics? Not where its scale is frozen or no weight of the file. */
static int64_t trains(qn_onnx_call *call)
{
    const qn_onnx_importer *importer = call->importer;
    const qn_onnx_training *training = importer->options->training;
    for (int i = 1; i < 5; i++) {
        qn_value value = qn_onnx_in(call, i);
        if (!training || value == QN_NONE || value >= importer->marks_max ||
            !importer->weights[value] || qn_onnx_is_frozen(training, importer->weights[value]))
            return 0;
    }
    return 1;
}

/* Running statistics move by themselves, so each is a tensor of its own: exporters join equal ones, and in a fresh network
 * the variance equals the scale. */
static qn_value statistic(qn_onnx_call *call, int input)
{
    qn_value value = qn_onnx_in(call, input);
    qn_tensor tensor;
    if (call->status != QN_OK || !qn_graph_const_read(call->graph, value, &tensor))
        return value;
    qn_value own = qn_graph_const(call->graph, &tensor);
    if (!qn_onnx_mark(call->importer, own, call->node->inputs[input], false))
        qn_onnx_fail(call, QN_ERR_MEMORY, "out of memory");
    return own;
}

static void map_batch_norm(qn_onnx_call *call)
{
    qn_value inputs[5], outputs[4], statistics[2];
    bool training = qn_onnx_attr_i(call, "training_mode", 0) != 0;
    double momentum = qn_onnx_attr_f(call, "momentum", 0.9),
           epsilon = qn_onnx_attr_f(call, "epsilon", 1e-5);
    inputs[0] = qn_onnx_in_last(call, 0);
    for (int i = 1; i < 5; i++)
        inputs[i] = qn_onnx_in(call, i);
    if (qn_onnx_attr_i(call, "spatial", 1) == 0) {
        qn_onnx_fail(call, QN_ERR_UNSUPPORTED, "spatial = 0 is not read");
        return;
    }
    if (training) {
        qn_onnx_out_last(call, 0, normalise_by_batch(call, inputs[0], inputs, epsilon, statistics));
        for (int i = 0; i < 2; i++)
            if (qn_onnx_wants(call, 1 + i))
                qn_onnx_out(call, 1 + i, moved(call, inputs[3 + i], statistics[i], momentum));
        return;
    }
    qn_attr attrs[] = {QN_ATTR_F("epsilon", epsilon), QN_ATTR_F("momentum", momentum),
                       QN_ATTR_I("training_mode", trains(call))};
    inputs[3] = statistic(call, 3);
    inputs[4] = statistic(call, 4);
    qn_onnx_emit_many(call, "BatchNormalization", inputs, 5, attrs, 3, outputs, 4);
    qn_onnx_out_last(call, 0, outputs[0]);
}

static void map_instance_norm(qn_onnx_call *call)
{
    qn_value inputs[3] = {qn_onnx_in_last(call, 0), qn_onnx_in(call, 1), qn_onnx_in(call, 2)};
    qn_attr attr = QN_ATTR_F("epsilon", qn_onnx_attr_f(call, "epsilon", 1e-5));
    qn_value outputs[3];
    qn_onnx_emit_many(call, "InstanceNormalization", inputs, 3, &attr, 1, outputs, 3);
    qn_onnx_out_last(call, 0, outputs[0]);
}

/* Before opset 21 scale and bias have an entry for each group, later for each channel. */
static void map_group_norm(qn_onnx_call *call)
{
    int64_t groups = qn_onnx_attr_i(call, "num_groups", 1);
    qn_value inputs[3] = {qn_onnx_in_last(call, 0), qn_onnx_in(call, 1), qn_onnx_in(call, 2)};
    qn_value outputs[3];
    qn_shape x = qn_onnx_type(call, inputs[0])->shape;
    int64_t channels = x.rank > 0 ? x.dims[x.rank - 1] : 0;
    qn_attr attrs[] = {QN_ATTR_I("num_groups", groups),
                       QN_ATTR_F("epsilon", qn_onnx_attr_f(call, "epsilon", 1e-5))};
    for (int i = 1; i < 3 && call->version < 21 && groups > 0; i++) {
        qn_attr to = qn_onnx_list("shape", (int64_t[]){groups, channels / groups}, 2);
        qn_value column = qn_onnx_reshape(call, inputs[i], &QN_SHAPE(groups, 1));
        column = qn_onnx_emit(call, "Expand", &column, 1, &to, 1);
        inputs[i] = qn_onnx_reshape(call, column, &QN_SHAPE(channels));
    }
    qn_onnx_emit_many(call, "GroupNormalization", inputs, 3, attrs, 2, outputs, 3);
    qn_onnx_out_last(call, 0, outputs[0]);
}

/* x / (bias + alpha / size * sum of squares over neighbouring channels) ^ beta: the sum is a window over the last
 * dimension, made of slices of the padded squares. */
static void map_lrn(qn_onnx_call *call)
{
    qn_value x = qn_onnx_in_last(call, 0);
    qn_type type = *qn_onnx_type(call, x);
    int64_t size = qn_onnx_attr_i(call, "size", 1), begins[QN_RANK_MAX] = {0},
            ends[QN_RANK_MAX] = {0};
    int rank = type.shape.rank;
    if (size < 1 || size > 64 || rank < 3) {
        qn_onnx_fail(call, QN_ERR_UNSUPPORTED, "size %lld, 1 to 64 are read", (long long)size);
        return;
    }
    begins[rank - 1] = (size - 1) / 2;
    ends[rank - 1] = size / 2;
    qn_value square = qn_onnx_emit2(call, "Mul", x, x);
    qn_attr pads[] = {qn_onnx_list("begins", begins, rank), qn_onnx_list("ends", ends, rank)};
    qn_value padded = qn_onnx_emit(call, "Pad", &square, 1, pads, 2), sum = QN_NONE;
    for (int64_t i = 0; i < size; i++) {
        qn_value part = qn_onnx_slice(call, padded, rank - 1, i, i + type.shape.dims[rank - 1]);
        sum = i == 0 ? part : qn_onnx_emit2(call, "Add", sum, part);
    }
    double alpha = qn_onnx_attr_f(call, "alpha", 1e-4), beta = qn_onnx_attr_f(call, "beta", 0.75);
    sum = qn_onnx_emit2(call, "Mul", sum, qn_onnx_scalar(call, type.dtype, alpha / (double)size));
    sum = qn_onnx_emit2(call, "Add", sum,
                        qn_onnx_scalar(call, type.dtype, qn_onnx_attr_f(call, "bias", 1)));
    sum = qn_onnx_emit2(call, "Pow", sum, qn_onnx_scalar(call, type.dtype, beta));
    qn_onnx_out_last(call, 0, qn_onnx_emit2(call, "Div", x, sum));
}

/* (x - mean) / deviation over the axes; 1e-9 keeps a constant from dividing by 0, as ONNX's function body has it. */
static void map_mean_variance(qn_onnx_call *call)
{
    int64_t axes[QN_RANK_MAX] = {0, 2, 3};
    qn_value x = qn_onnx_in(call, 0);
    int rank = qn_onnx_type(call, x)->shape.rank,
        count = qn_onnx_attr_ints(call, "axes", axes, QN_RANK_MAX);
    count = count ? count : 3;
    for (int i = 0; i < count; i++)
        axes[i] = qn_onnx_axis(call, axes[i], rank, false);
    qn_attr attrs[] = {qn_onnx_list("axes", axes, count), QN_ATTR_I("keepdims", 1)};
    qn_value mean = qn_onnx_emit(call, "ReduceMean", &x, 1, attrs, 2);
    qn_value centred = qn_onnx_emit2(call, "Sub", x, mean),
             square = qn_onnx_emit2(call, "Mul", centred, centred);
    qn_value deviation =
        qn_onnx_emit1(call, "Sqrt", qn_onnx_emit(call, "ReduceMean", &square, 1, attrs, 2));
    qn_value small = qn_onnx_scalar(call, qn_onnx_type(call, x)->dtype, 1e-9);
    qn_onnx_out(call, 0,
                qn_onnx_emit2(call, "Div", centred, qn_onnx_emit2(call, "Add", deviation, small)));
}

/* --- rearrangements --- */

/* [N, C, H, W] seen with the block's two dimensions apart, transposed, and seen as one image again. */
static void map_depth_to_space(qn_onnx_call *call)
{
    int64_t block = qn_onnx_attr_i(call, "blocksize", 1);
    bool crd = strcmp(qn_onnx_attr_s(call, "mode", "DCR"), "CRD") == 0;
    static const int64_t dcr_perm[] = {0, 3, 4, 1, 5, 2}, crd_perm[] = {0, 1, 4, 2, 5, 3};
    qn_value x = qn_onnx_in(call, 0);
    qn_shape s = qn_onnx_type(call, x)->shape;
    if (s.rank != 4 || block < 1 || s.dims[1] % (block * block)) {
        qn_onnx_fail(call, QN_ERR_DATA, "blocksize %lld does not divide the channels",
                     (long long)block);
        return;
    }
    int64_t depth = s.dims[1] / (block * block);
    qn_shape apart = crd ? QN_SHAPE(s.dims[0], depth, block, block, s.dims[2], s.dims[3])
                         : QN_SHAPE(s.dims[0], block, block, depth, s.dims[2], s.dims[3]);
    x = qn_onnx_transpose(call, qn_onnx_reshape(call, x, &apart), crd ? crd_perm : dcr_perm);
    qn_onnx_out(call, 0,
                qn_onnx_reshape(call, x,
                                &QN_SHAPE(s.dims[0], depth, s.dims[2] * block, s.dims[3] * block)));
}

static void map_space_to_depth(qn_onnx_call *call)
{
    int64_t block = qn_onnx_attr_i(call, "blocksize", 1);
    static const int64_t dcr_perm[] = {0, 3, 5, 1, 2, 4}, crd_perm[] = {0, 1, 3, 5, 2, 4};
    bool crd = strcmp(qn_onnx_attr_s(call, "mode", "DCR"), "CRD") == 0;
    qn_value x = qn_onnx_in(call, 0);
    qn_shape s = qn_onnx_type(call, x)->shape;
    if (s.rank != 4 || block < 1 || s.dims[2] % block || s.dims[3] % block) {
        qn_onnx_fail(call, QN_ERR_DATA, "blocksize %lld does not divide the image",
                     (long long)block);
        return;
    }
    int64_t height = s.dims[2] / block, width = s.dims[3] / block;
    qn_shape apart = QN_SHAPE(s.dims[0], s.dims[1], height, block, width, block);
    x = qn_onnx_transpose(call, qn_onnx_reshape(call, x, &apart), crd ? crd_perm : dcr_perm);
    qn_onnx_out(
        call, 0,
        qn_onnx_reshape(call, x, &QN_SHAPE(s.dims[0], s.dims[1] * block * block, height, width)));
}

/* The kind of interpolation had other words until opset 20. */
static void map_grid_sample(qn_onnx_call *call)
{
    const char *mode = qn_onnx_attr_s(call, "mode", "linear");
    mode = strcmp(mode, "bilinear") == 0 ? "linear" : strcmp(mode, "bicubic") == 0 ? "cubic" : mode;
    qn_attr attrs[] = {
        QN_ATTR_S("mode", mode),
        QN_ATTR_S("padding_mode", qn_onnx_attr_s(call, "padding_mode", "zeros")),
        QN_ATTR_I("align_corners", qn_onnx_attr_i(call, "align_corners", 0)),
    };
    qn_value x = qn_onnx_in_last(call, 0);
    qn_value grid = qn_onnx_cast(call, qn_onnx_in(call, 1), qn_onnx_type(call, x)->dtype);
    qn_onnx_out_last(call, 0, qn_onnx_emit(call, "GridSample", (qn_value[]){x, grid}, 2, attrs, 3));
}

/* The places of all pixels of an image, each as (x, y, 1) or (x, y, z, 1): what an affine map takes. */
static bool place_pixels(qn_onnx_call *call, const int64_t *sizes, int space, qn_tensor *ret)
{
    bool corners = qn_onnx_attr_i(call, "align_corners", 0) != 0;
    int64_t count = 1;
    for (int d = 0; d < space; d++)
        if (sizes[d] < 1 || sizes[d] > INT32_MAX || !qn_mul_i64(count, sizes[d], &count))
            return false;
    double *places = qn_arena_zero(&call->importer->arena, count * (space + 1), sizeof *places);
    for (int64_t i = 0; i < count && places; i++) {
        int64_t left = i;
        double *place = places + i * (space + 1);
        for (int d = space - 1; d >= 0; left /= sizes[d], d--) {
            double at = (double)(left % sizes[d]), size = (double)sizes[d];
            double last = size > 1 ? size - 1 : 1;
            place[space - 1 - d] = corners ? 2 * at / last - 1 : (2 * at + 1) / size - 1;
        }
        place[space] = 1;
    }
    *ret = qn_tensor_of(places, QN_DTYPE_F64, QN_SHAPE(count, space + 1));
    return places != NULL;
}

static void map_affine_grid(qn_onnx_call *call)
{
    int64_t sizes[QN_RANK_MAX];
    int count = 0;
    if (!qn_onnx_const_ints(call, 1, sizes, 5, &count))
        return;
    qn_tensor places;
    qn_value theta = qn_onnx_in(call, 0);
    if (count < 4 || !place_pixels(call, sizes + 2, count - 2, &places)) {
        qn_onnx_fail(call, QN_ERR_DATA, "no grid of %d sizes can be made", count);
        return;
    }
    qn_attr turned = QN_ATTR_I("transB", 1);
    qn_shape shape = {.rank = count, .dims = {sizes[0]}};
    memcpy(shape.dims + 1, sizes + 2, (size_t)(count - 2) * sizeof *sizes);
    shape.dims[count - 1] = count - 2;
    qn_value base =
        qn_onnx_cast(call, qn_onnx_constant(call, &places), qn_onnx_type(call, theta)->dtype);
    qn_value grid = qn_onnx_emit(call, "MatMul", (qn_value[]){base, theta}, 2, &turned, 1);
    qn_onnx_out(call, 0, qn_onnx_reshape(call, grid, &shape));
}

/* Before opset 16 regions were not moved by half a pixel. */
static void map_roi_align(qn_onnx_call *call)
{
    const char *moved = call->version < 16 ? "output_half_pixel" : "half_pixel";
    qn_attr attrs[] = {
        QN_ATTR_S("mode", qn_onnx_attr_s(call, "mode", "avg")),
        QN_ATTR_S("coordinate_transformation_mode",
                  qn_onnx_attr_s(call, "coordinate_transformation_mode", moved)),
        QN_ATTR_I("output_height", qn_onnx_attr_i(call, "output_height", 1)),
        QN_ATTR_I("output_width", qn_onnx_attr_i(call, "output_width", 1)),
        QN_ATTR_I("sampling_ratio", qn_onnx_attr_i(call, "sampling_ratio", 0)),
        QN_ATTR_F("spatial_scale", qn_onnx_attr_f(call, "spatial_scale", 1)),
    };
    qn_value inputs[] = {qn_onnx_in_last(call, 0), qn_onnx_in(call, 1), qn_onnx_in(call, 2)};
    qn_onnx_out_last(call, 0, qn_onnx_emit(call, "RoiAlign", inputs, 3, attrs, 6));
}

static void map_col2im(qn_onnx_call *call)
{
    static const char *const lists[] = {"strides", "pads", "dilations", NULL};
    qn_attr attrs[6];
    int64_t image[QN_RANK_MAX], block[QN_RANK_MAX];
    int image_count = 0, block_count = 0;
    if (!qn_onnx_const_ints(call, 1, image, QN_RANK_MAX, &image_count) ||
        !qn_onnx_const_ints(call, 2, block, QN_RANK_MAX, &block_count))
        return;
    int count = window_attrs(call, attrs, lists);
    attrs[count++] = qn_onnx_list("image_shape", image, image_count);
    attrs[count++] = qn_onnx_list("block_shape", block, block_count);
    qn_value x = qn_onnx_in(call, 0);
    qn_onnx_out(call, 0, qn_onnx_emit(call, "Col2Im", &x, 1, attrs, count));
}

const qn_onnx_row qn_onnx_rows_image[] = {
    QN_ONNX_NOTED("Conv", 1, map_conv, "one to three dimensions"),
    QN_ONNX_NOTED("ConvTranspose", 1, map_conv, "one to three dimensions"),
    QN_ONNX_ROW("MaxPool", 1, map_pool),
    QN_ONNX_ROW("AveragePool", 1, map_pool),
    QN_ONNX_ROW("LpPool", 2, map_pool),
    QN_ONNX_ROW("GlobalAveragePool", 1, map_global_pool),
    QN_ONNX_ROW("GlobalMaxPool", 1, map_global_pool),
    QN_ONNX_ROW("GlobalLpPool", 2, map_global_pool),
    QN_ONNX_ROW("MaxUnpool", 9, map_unpool),
    QN_ONNX_NOTED("BatchNormalization", 1, map_batch_norm, "spatial 1"),
    QN_ONNX_ROW("InstanceNormalization", 1, map_instance_norm),
    QN_ONNX_ROW("GroupNormalization", 18, map_group_norm),
    QN_ONNX_NOTED("LRN", 1, map_lrn, "size up to 64"),
    QN_ONNX_ROW("MeanVarianceNormalization", 9, map_mean_variance),
    QN_ONNX_ROW("GridSample", 16, map_grid_sample),
    QN_ONNX_ROW("RoiAlign", 10, map_roi_align),
    QN_ONNX_ROW("Col2Im", 18, map_col2im),
    QN_ONNX_NOTED("AffineGrid", 20, map_affine_grid, "the size must be a constant"),
    QN_ONNX_ROW("DepthToSpace", 1, map_depth_to_space),
    QN_ONNX_ROW("SpaceToDepth", 1, map_space_to_depth),
    {0},
};
