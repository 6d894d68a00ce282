/*
 * Convolution, pooling, resizing and sampling built of slices, products with small matrices, means and maxima.
 */
#include "decompose_testing.h"

/* x [1, 5, 4, 2], weights [3, 2, 2, 3]: a sum over the window's places of a product of matrices */
static qn_value conv_fused(qn_graph *g, const qn_value *x, int option)
{
    qn_attr attrs[] = {
        {.name = "pads", .kind = QN_ATTR_INTS, .count = 4, .ints = {1, 0, 1, 1}},
        QN_ATTR_S("activation", activation_words[option]),
        QN_ATTR_F("slope", 0.1),
    };
    return qn_graph_node(g, "Conv", x, 3, attrs, 3);
}
static qn_value conv_parts(qn_graph *g, const qn_value *x, int option)
{
    qn_attr pads[] = {{.name = "begins", .kind = QN_ATTR_INTS, .count = 4, .ints = {0, 1, 0, 0}},
                      {.name = "ends", .kind = QN_ATTR_INTS, .count = 4, .ints = {0, 1, 1, 0}}};
    qn_value padded = qn_graph_node(g, "Pad", x, 1, pads, 2), sum = QN_NONE;
    for (int i = 0; i < 6; i++) {
        int64_t row = i / 2, col = i % 2;
        qn_attr shift[] = {QN_ATTR_2I("starts", row, col), QN_ATTR_2I("ends", row + 5, col + 4),
                           QN_ATTR_2I("axes", 1, 2)};
        qn_attr tap[] = {QN_ATTR_2I("starts", row, col), QN_ATTR_2I("ends", row + 1, col + 1)};
        qn_value seen = qn_graph_node(g, "Slice", &padded, 1, shift, 3);
        qn_value weight = qn_graph_node(g, "Slice", &x[1], 1, tap, 2);
        qn_value part = two(g, "MatMul", seen, weight);
        sum = i == 0 ? part : two(g, "Add", sum, part);
    }
    return activate(g, two(g, "Add", sum, x[2]), option);
}

/* x [1, 3, 2, 2], weights [3, 2, 3, 2], bias [3], steps of 2: every place of x spread over the window's places. Option 1
 * loses a row above, and a column to the right. */
static qn_value transpose_fused(qn_graph *g, const qn_value *x, int option)
{
    qn_attr attrs[] = {QN_ATTR_2I("strides", 2, 2),
                       {.name = "pads", .kind = QN_ATTR_INTS, .count = 4, .ints = {1, 0, 0, 1}}};
    return qn_graph_node(g, "ConvTranspose", x, 3, attrs, option + 1);
}
static qn_value transpose_parts(qn_graph *g, const qn_value *x, int option)
{
    qn_attr turned = QN_ATTR_I("transB", 1), gaps[2], pads[2];
    qn_value sum = QN_NONE;
    for (int64_t tap = 0; tap < 6; tap++) {
        int64_t row = tap / 2, col = tap % 2;
        qn_value weight = part_of(g, part_of(g, x[1], 0, row, 1), 1, col, 1);
        weight = reshaped(g, weight, 2, (int64_t[]){3, 2});
        qn_value part = qn_graph_node(g, "MatMul", (qn_value[]){x[0], weight}, 2, &turned, 1);
        gaps[0] = (qn_attr){.name = "begins", .kind = QN_ATTR_INTS, .count = 6};
        gaps[1] =
            (qn_attr){.name = "ends", .kind = QN_ATTR_INTS, .count = 6, .ints = {0, 0, 1, 0, 1, 0}};
        part = reshaped(g, part, 6, (int64_t[]){1, 3, 1, 2, 1, 3});
        part = reshaped(g, qn_graph_node(g, "Pad", &part, 1, gaps, 2), 4, (int64_t[]){1, 6, 4, 3});
        pads[0] =
            (qn_attr){.name = "begins", .kind = QN_ATTR_INTS, .count = 4, .ints = {0, row, col, 0}};
        pads[1] = (qn_attr){
            .name = "ends", .kind = QN_ATTR_INTS, .count = 4, .ints = {0, 2 - row, 1 - col, 0}};
        part = qn_graph_node(g, "Pad", &part, 1, pads, 2);
        sum = tap == 0 ? part : two(g, "Add", sum, part);
    }
    sum = part_of(g, part_of(g, sum, 1, option, 7 - option), 2, 0, 4 - option);
    return two(g, "Add", sum, x[2]);
}

/* x [2, 4, 6, 3] in windows of 2 x 2 */
static qn_value pool_fused(qn_graph *g, const qn_value *x, int option)
{
    static const char *const ops[] = {"MaxPool", "AveragePool", "GlobalMaxPool",
                                      "GlobalAveragePool"};
    qn_attr attrs[] = {QN_ATTR_2I("kernel_shape", 2, 2), QN_ATTR_2I("strides", 2, 2)};
    return qn_graph_node(g, ops[option], x, 1, attrs, option < 2 ? 2 : 0);
}
static qn_value pool_parts(qn_graph *g, const qn_value *x, int option)
{
    const char *op = option % 2 ? "ReduceMean" : "ReduceMax";
    if (option >= 2)
        return with_ints(g, op, x[0], "axes", 2, (int64_t[]){1, 2});
    qn_value split = with_ints(g, "Reshape", x[0], "shape", 6, (int64_t[]){2, 2, 2, 3, 2, 3});
    qn_value pooled = with_ints(g, op, split, "axes", 2, (int64_t[]){2, 4});
    return with_ints(g, "Squeeze", pooled, "axes", 2, (int64_t[]){2, 4});
}

/* x [1, 5, 6, 2], weights [3, 2, 2, 3], bias [3], gradient [1, 2, 3, 3]. Option 0: the result; 1 to 3: its gradients. */
static qn_value conv_pool_fused(qn_graph *g, const qn_value *x, int option)
{
    qn_attr pads = {.name = "pads", .kind = QN_ATTR_INTS, .count = 4, .ints = {1, 0, 1, 1}};
    qn_value y = qn_graph_node(g, "ConvReluPool", x, 3, &pads, 1);
    if (option == 0)
        return y;
    qn_value inputs[] = {x[3], y, y + 1, x[0], x[1]};
    return qn_graph_node(g, "ConvReluPoolGrad", inputs, 5, &pads, 1) + option - 1;
}
static qn_value conv_pool_parts(qn_graph *g, const qn_value *x, int option)
{
    qn_attr pads = {.name = "pads", .kind = QN_ATTR_INTS, .count = 4, .ints = {1, 0, 1, 1}};
    qn_attr window[] = {QN_ATTR_2I("kernel_shape", 2, 2), QN_ATTR_2I("strides", 2, 2)};
    qn_value relu = one(g, "Relu", qn_graph_node(g, "Conv", x, 3, &pads, 1)), grads[3];
    qn_value y = qn_graph_node(g, "MaxPool", &relu, 1, window, 2);
    if (option == 0)
        return y;
    qn_value loss = total(g, "ReduceSum", two(g, "Mul", y, x[3]));
    return qn_graph_grad(g, loss, x, 3, grads, NULL) == QN_OK ? grads[option - 1] : QN_NONE;
}

/* x [2, 4, 6, 3]: p-norms of windows and of all, and pooling to 3 x 4 windows that overlap. */
static qn_value more_pool_fused(qn_graph *g, const qn_value *x, int option)
{
    static const char *const ops[] = {"LpPool", "GlobalLpPool", "AdaptiveMaxPool",
                                      "AdaptiveAveragePool"};
    qn_attr attrs[] = {QN_ATTR_I("p", 3), QN_ATTR_2I("kernel_shape", 2, 2),
                       QN_ATTR_2I("strides", 2, 2)};
    qn_attr size = QN_ATTR_2I("output_size", 3, 4);
    if (option < 2)
        return qn_graph_node(g, ops[option], x, 1, attrs, option == 0 ? 3 : 1);
    return qn_graph_node(g, ops[option], x, 1, &size, 1);
}
static qn_value more_pool_parts(qn_graph *g, const qn_value *x, int option)
{
    const int64_t image[] = {1, 2}, window[] = {2, 4};
    if (option < 2) {
        qn_value cube = two(g, "Pow", one(g, "Abs", x[0]), number(g, 3));
        if (option == 0)
            cube = reshaped(g, cube, 6, (int64_t[]){2, 2, 2, 3, 2, 3});
        cube = with_ints(g, "ReduceSum", cube, "axes", 2, option == 0 ? window : image);
        cube = two(g, "Pow", cube, number(g, 1.0 / 3));
        return option == 0 ? with_ints(g, "Squeeze", cube, "axes", 2, window) : cube;
    }
    qn_attr axis = QN_ATTR_I("axis", 1);
    qn_value each[12];
    for (int64_t at = 0; at < 12; at++) {
        int64_t row = at / 4, col = at % 4, top = row * 4 / 3, left = col * 6 / 4;
        qn_value seen = part_of(g, x[0], 1, top, ((row + 1) * 4 + 2) / 3 - top);
        seen = part_of(g, seen, 2, left, ((col + 1) * 6 + 3) / 4 - left);
        each[at] = with_ints(g, option == 2 ? "ReduceMax" : "ReduceMean", seen, "axes", 2, image);
    }
    return reshaped(g, qn_graph_node(g, "Concat", each, 12, &axis, 1), 4, (int64_t[]){2, 3, 4, 3});
}

/* rows y cols' of an image x [..., H, W, C] for matrices [..., OH, H] and [..., OW, W]; n images. */
static qn_value sandwiched(qn_graph *g, qn_value x, qn_value rows, qn_value cols, const int64_t *in,
                           const int64_t *out, int64_t n)
{
    int64_t channels = in[2];
    qn_value y = reshaped(g, x, 3, (int64_t[]){n, in[0], in[1] * channels});
    y = reshaped(g, two(g, "MatMul", rows, y), 4, (int64_t[]){n, out[0], in[1], channels});
    return two(g, "MatMul", cols, y);
}

/* Keys' kernel with a = -0.75, or that of linear interpolation. */
static double nearness(bool cubic, double t)
{
    t = fabs(t);
    if (!cubic)
        return fmax(0, 1 - t);
    if (t < 1)
        return (1.25 * t - 2.25) * t * t + 1;
    return t < 2 ? ((-0.75 * t + 3.75) * t - 6) * t + 3 : 0;
}

/* [out, in]: what each output of an axis takes from each input; beyond the edges stands the edge. */
static qn_value resize_matrix(qn_graph *g, int64_t in, int64_t out, bool cubic)
{
    double values[64] = {0};
    for (int64_t o = 0; o < out; o++) {
        double place = ((double)o + 0.5) * (double)in / (double)out - 0.5;
        for (int64_t i = -3; i < in + 3; i++) {
            int64_t at = i < 0 ? 0 : i < in ? i : in - 1;
            values[o * in + at] += nearness(cubic, (double)i - place);
        }
    }
    return constant(g, QN_DTYPE_F64, values, QN_SHAPE(out, in));
}

/* x [1, 3, 4, 2] to [1, 7, 6, 2], linear and cubic. */
static qn_value resize_fused(qn_graph *g, const qn_value *x, int option)
{
    qn_attr attrs[] = {{.name = "sizes", .kind = QN_ATTR_INTS, .count = 4, .ints = {1, 7, 6, 2}},
                       QN_ATTR_S("mode", option ? "cubic" : "linear")};
    return qn_graph_node(g, "Resize", x, 1, attrs, 2);
}
static qn_value resize_parts(qn_graph *g, const qn_value *x, int option)
{
    return sandwiched(g, x[0], resize_matrix(g, 3, 7, option), resize_matrix(g, 4, 6, option),
                      (int64_t[]){3, 4, 2}, (int64_t[]){7, 6}, 1);
}

/* x [1, 3, 4, 2], a grid [1, 2, 5, 2] of (column, row), some of it outside: edges or centres at -1 and 1. */
static qn_value grid_fused(qn_graph *g, const qn_value *x, int option)
{
    qn_attr corners = QN_ATTR_I("align_corners", option);
    return qn_graph_node(g, "GridSample", x, 2, &corners, 1);
}
/* [10, size]: the hat of each place of the grid's dimension d over each pixel. */
static qn_value hats(qn_graph *g, qn_value grid, int64_t d, int64_t size, int corners)
{
    static const double pixels[4] = {0, 1, 2, 3};
    double last = (double)size - 1;
    qn_value place = reshaped(g, part_of(g, grid, 3, d, 1), 2, (int64_t[]){10, 1});
    place = plus(g, scaled(g, place, corners ? last / 2 : (double)size / 2), last / 2);
    qn_value gap = two(g, "Sub", place, constant(g, QN_DTYPE_F64, pixels, QN_SHAPE(1, size)));
    return one(g, "Relu", plus(g, one(g, "Neg", one(g, "Abs", gap)), 1));
}
static qn_value grid_parts(qn_graph *g, const qn_value *x, int option)
{
    qn_value rows = reshaped(g, hats(g, x[1], 1, 3, option), 3, (int64_t[]){10, 3, 1});
    qn_value cols = reshaped(g, hats(g, x[1], 0, 4, option), 3, (int64_t[]){10, 1, 4});
    qn_value share = reshaped(g, two(g, "Mul", rows, cols), 2, (int64_t[]){10, 12});
    qn_value y = two(g, "MatMul", share, reshaped(g, x[0], 2, (int64_t[]){12, 2}));
    return reshaped(g, y, 4, (int64_t[]){1, 2, 5, 2});
}

/* x [2, 4, 5, 2], three regions of its images brought to 2 x 3, four samples a bin. */
enum { REGIONS = 3 };
static const double regions[REGIONS][4] = {
    {1, 0.9, 4.2, 3.6}, {0.6, 1, 3, 2.5}, {1.5, 0.7, 4.4, 3}};
static const int64_t region_images[REGIONS] = {1, 0, 1};
static qn_value roi_fused(qn_graph *g, const qn_value *x, int option)
{
    (void)option;
    qn_attr attrs[] = {QN_ATTR_I("output_height", 2), QN_ATTR_I("output_width", 3),
                       QN_ATTR_I("sampling_ratio", 2)};
    qn_value inputs[] = {x[0], constant(g, QN_DTYPE_F64, regions, QN_SHAPE(REGIONS, 4)),
                         constant(g, QN_DTYPE_I64, region_images, QN_SHAPE(REGIONS))};
    return qn_graph_node(g, "RoiAlign", inputs, 3, attrs, 3);
}
/* [regions, bins, size], or with a dimension of 1 before the bins: means of the hats of two samples a bin. */
static qn_value bins_of(qn_graph *g, int from, int64_t bins, int64_t size, bool lifted)
{
    double values[REGIONS * 3 * 5] = {0};
    for (int64_t at = 0; at < REGIONS * bins * size; at++) {
        const double *region = regions[at / size / bins];
        double width = (region[from + 2] - region[from]) / (double)bins;
        for (int s = 0; s < 2; s++) {
            double bin = (double)(at / size % bins) + (s + 0.5) / 2;
            double place = region[from] - 0.5 + bin * width;
            values[at] += nearness(false, (double)(at % size) - place) / 2;
        }
    }
    return constant(g, QN_DTYPE_F64, values,
                    lifted ? QN_SHAPE(REGIONS, 1, bins, size) : QN_SHAPE(REGIONS, bins, size));
}
static qn_value roi_parts(qn_graph *g, const qn_value *x, int option)
{
    (void)option;
    qn_value images =
        two(g, "Gather", x[0], constant(g, QN_DTYPE_I64, region_images, QN_SHAPE(REGIONS)));
    return sandwiched(g, images, bins_of(g, 1, 2, 4, false), bins_of(g, 0, 3, 5, true),
                      (int64_t[]){4, 5, 2}, (int64_t[]){2, 3}, REGIONS);
}

#define C3 F64(1, 3)
const fusion decompose_images[] = {
    {"Conv", conv_fused, conv_parts, 3, {F64(4, 1, 5, 4, 2), F64(4, 3, 2, 2, 3), C3}, -1, 1, 3, 8},
    {"ConvTranspose",
     transpose_fused,
     transpose_parts,
     3,
     {F64(4, 1, 3, 2, 2), F64(4, 3, 2, 3, 2), C3},
     -1,
     1,
     3,
     2},
    {"pooling", pool_fused, pool_parts, 1, {F64(4, 2, 4, 6, 3)}, -1, 1, 1, 4},
    {"more pooling", more_pool_fused, more_pool_parts, 1, {F64(4, 2, 4, 6, 3)}, -1, 1, 1, 4},
    {"ConvReluPool",
     conv_pool_fused,
     conv_pool_parts,
     4,
     {F64(4, 1, 5, 6, 2), F64(4, 3, 2, 2, 3), C3, F64(4, 1, 2, 3, 3)},
     -1,
     1,
     0,
     4},
    {"Resize", resize_fused, resize_parts, 1, {F64(4, 1, 3, 4, 2)}, -1, 1, 1, 2},
    {"GridSample",
     grid_fused,
     grid_parts,
     2,
     {F64(4, 1, 3, 4, 2), F64(4, 1, 2, 5, 2)},
     -1.2,
     1.2,
     2,
     2},
    {"RoiAlign", roi_fused, roi_parts, 1, {F64(4, 2, 4, 5, 2)}, -1, 1, 1, 1},
    {0},
};
