/*
 * Products, activations, norms, reductions and transforms built of sums, products and elementwise steps.
 */
#include "decompose_testing.h"

static qn_value gemm_fused(qn_graph *g, const qn_value *x, int option)
{
    qn_attr attrs[] = {QN_ATTR_S("activation", activation_words[option]), QN_ATTR_F("slope", 0.1)};
    return qn_graph_node(g, "Gemm", x, 3, attrs, 2);
}
static qn_value gemm_parts(qn_graph *g, const qn_value *x, int option)
{
    return activate(g, two(g, "Add", two(g, "MatMul", x[0], x[1]), x[2]), option);
}

/* x [2, 3, 4] by weights [4, 5], or by [5, 4] turned: the gradient of the weights is one product over all rows. */
static qn_value rows_fused(qn_graph *g, const qn_value *x, int option)
{
    qn_attr turned = QN_ATTR_I("transB", option);
    qn_value factors[] = {x[0], option ? reshaped(g, x[1], 2, (int64_t[]){5, 4}) : x[1]};
    return qn_graph_node(g, "MatMul", factors, 2, &turned, 1);
}
static qn_value rows_parts(qn_graph *g, const qn_value *x, int option)
{
    qn_value weight = x[1], rows = reshaped(g, x[0], 2, (int64_t[]){6, 4});
    if (option)
        weight = with_ints(g, "Transpose", reshaped(g, weight, 2, (int64_t[]){5, 4}), "perm", 2,
                           (int64_t[]){1, 0});
    return reshaped(g, two(g, "MatMul", rows, weight), 3, (int64_t[]){2, 3, 5});
}

static qn_value smooth_fused(qn_graph *g, const qn_value *x, int option)
{
    static const int which[] = {3, 5, 6, 7};
    return activate(g, x[0], which[option]);
}
static qn_value smooth_parts(qn_graph *g, const qn_value *x, int option)
{
    qn_value gate = one(g, "Reciprocal", plus(g, one(g, "Exp", one(g, "Neg", x[0])), 1));
    if (option == 0)
        return gate;
    if (option == 3)
        return two(g, "Mul", x[0], gate);
    qn_value inner = one(g, "Erf", scaled(g, x[0], M_SQRT1_2));
    if (option == 2) {
        qn_value cube = two(g, "Mul", x[0], one(g, "Square", x[0]));
        inner = two(g, "Add", x[0], scaled(g, cube, 0.044715));
        inner = one(g, "Tanh", scaled(g, inner, sqrt(2 / M_PI)));
    }
    return scaled(g, two(g, "Mul", x[0], plus(g, inner, 1)), 0.5);
}

static qn_value softmax_fused(qn_graph *g, const qn_value *x, int option)
{
    return one(g, option ? "LogSoftmax" : "Softmax", x[0]);
}
static qn_value softmax_parts(qn_graph *g, const qn_value *x, int option)
{
    qn_value sum = over_axis(g, "ReduceSum", one(g, "Exp", x[0]), -1);
    qn_value logs = two(g, "Sub", x[0], one(g, "Log", sum));
    return option ? logs : one(g, "Exp", logs);
}

static qn_value norm_fused(qn_graph *g, const qn_value *x, int option)
{
    qn_attr attrs[] = {QN_ATTR_I("training_mode", option == 0), QN_ATTR_F("epsilon", 0.01)};
    return qn_graph_node(g, "BatchNormalization", x, 5, attrs, 2);
}
static qn_value norm_parts(qn_graph *g, const qn_value *x, int option)
{
    qn_value mean = x[3], var = x[4];
    if (option == 0) {
        mean = over_axis(g, "ReduceMean", x[0], 0);
        var = over_axis(g, "ReduceMean", one(g, "Square", two(g, "Sub", x[0], mean)), 0);
    }
    qn_value normal = two(g, "Div", two(g, "Sub", x[0], mean), one(g, "Sqrt", plus(g, var, 0.01)));
    return two(g, "Add", two(g, "Mul", normal, x[1]), x[2]);
}

/* x [2, 3, 6]: layer, RMS, group (3 groups) and instance norm */
static qn_value own_norm_fused(qn_graph *g, const qn_value *x, int option)
{
    static const char *const ops[] = {"LayerNormalization", "RMSNormalization",
                                      "GroupNormalization", "InstanceNormalization"};
    qn_attr attrs[] = {QN_ATTR_F("epsilon", 0.01), QN_ATTR_I("num_groups", 3)};
    return qn_graph_node(g, ops[option], x, option == 1 ? 2 : 3, attrs, option == 2 ? 2 : 1);
}
static qn_value own_norm_parts(qn_graph *g, const qn_value *x, int option)
{
    const int64_t last[] = {2}, group[] = {1, 3}, pixels[] = {1};
    const int64_t split[] = {2, 3, 3, 2}, whole[] = {2, 3, 6};
    const int64_t *axes = option < 2 ? last : option == 2 ? group : pixels;
    int count = option == 2 ? 2 : 1;
    qn_value seen = option == 2 ? with_ints(g, "Reshape", x[0], "shape", 4, split) : x[0];
    if (option != 1)
        seen = two(g, "Sub", seen, with_ints(g, "ReduceMean", seen, "axes", count, axes));
    qn_value var = with_ints(g, "ReduceMean", one(g, "Square", seen), "axes", count, axes);
    qn_value normal = two(g, "Div", seen, one(g, "Sqrt", plus(g, var, 0.01)));
    if (option == 2)
        normal = with_ints(g, "Reshape", normal, "shape", 3, whole);
    normal = two(g, "Mul", normal, x[1]);
    return option == 1 ? normal : two(g, "Add", normal, x[2]);
}

/* With option 1 the rows meet their own table, as where an embedding's weights give the scores, too. */
static qn_value tied(qn_graph *g, const qn_value *x, qn_value rows, int option)
{
    return option ? two(g, "MatMul", rows, one(g, "Transpose", x[0])) : rows;
}
static qn_value gather_fused(qn_graph *g, const qn_value *x, int option)
{
    return tied(g, x, two(g, "Gather", x[0], x[1]), option);
}
static qn_value gather_parts(qn_graph *g, const qn_value *x, int option)
{
    qn_attr attrs[] = {QN_ATTR_I("depth", 4), QN_ATTR_S("dtype", "f64")};
    qn_value hot = qn_graph_node(g, "OneHot", &x[1], 1, attrs, 2);
    return tied(g, x, two(g, "MatMul", hot, x[0]), option);
}

static qn_value reduce_fused(qn_graph *g, const qn_value *x, int option)
{
    return over_axis(g, option ? "ReduceLogSumExp" : "ReduceMean", x[0], 1);
}
static qn_value reduce_parts(qn_graph *g, const qn_value *x, int option)
{
    if (option == 0)
        return scaled(g, over_axis(g, "ReduceSum", x[0], 1), 1.0 / 4);
    return one(g, "Log", over_axis(g, "ReduceSum", one(g, "Exp", x[0]), 1));
}

/* x [2, 4, 3], above 0. */
static qn_value norms_fused(qn_graph *g, const qn_value *x, int option)
{
    static const char *const ops[] = {"ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSum",
                                      "ReduceProd"};
    if (option < 5)
        return over_axis(g, ops[option], x[0], 1);
    if (option < 7)
        return with_ints(g, "MeanVarianceNormalization", x[0], "axes", option - 4,
                         (int64_t[]){2, 0});
    qn_attr attrs[] = {QN_ATTR_I("axis", 1), QN_ATTR_I("p", option - 6)};
    if (option < 9)
        return qn_graph_node(g, "LpNormalization", x, 1, attrs, 2);
    return qn_graph_node(g, option == 9 ? "CumSum" : "CumProd", x, 1, attrs, 1);
}
static qn_value norms_parts(qn_graph *g, const qn_value *x, int option)
{
    static const char *const inner[] = {"Abs", "Square", "Square", "Identity", "Log"};
    static const char *const outer[] = {"Identity", "Sqrt", "Identity", "Log", "Exp"};
    static const double below[16] = {1, 0, 0, 0, 1, 1, 0, 0, 1, 1, 1, 0, 1, 1, 1, 1};
    if (option < 5)
        return one(g, outer[option], over_axis(g, "ReduceSum", one(g, inner[option], x[0]), 1));
    if (option < 7) {
        const int64_t axes[] = {2, 0};
        qn_value mean = with_ints(g, "ReduceMean", x[0], "axes", option - 4, axes);
        qn_value gap = two(g, "Sub", x[0], mean);
        qn_value var = with_ints(g, "ReduceMean", one(g, "Square", gap), "axes", option - 4, axes);
        return two(g, "Div", gap, plus(g, one(g, "Sqrt", var), 1e-9));
    }
    if (option < 9) {
        qn_value size = over_axis(g, "ReduceSum", one(g, option == 7 ? "Abs" : "Square", x[0]), 1);
        return two(g, "Div", x[0], option == 7 ? size : one(g, "Sqrt", size));
    }
    qn_value sums = constant(g, QN_DTYPE_F64, below, QN_SHAPE(4, 4));
    if (option == 9)
        return two(g, "MatMul", sums, x[0]);
    return one(g, "Exp", two(g, "MatMul", sums, one(g, "Log", x[0])));
}

/* x [2, 2, 3, 3] */
static qn_value det_fused(qn_graph *g, const qn_value *x, int option)
{
    (void)option;
    return one(g, "Det", x[0]);
}
/* The rule of Sarrus. */
static qn_value det_parts(qn_graph *g, const qn_value *x, int option)
{
    (void)option;
    static const int places[6][3] = {{0, 4, 8}, {1, 5, 6}, {2, 3, 7},
                                     {2, 4, 6}, {1, 3, 8}, {0, 5, 7}};
    qn_value flat = reshaped(g, x[0], 2, (int64_t[]){4, 9}), sum = QN_NONE;
    for (int k = 0; k < 6; k++) {
        qn_value product = part_of(g, flat, 1, places[k][0], 1);
        for (int i = 1; i < 3; i++)
            product = two(g, "Mul", product, part_of(g, flat, 1, places[k][i], 1));
        sum = k == 0 ? product : two(g, k < 3 ? "Add" : "Sub", sum, product);
    }
    return reshaped(g, sum, 2, (int64_t[]){2, 2});
}

/* x [2, 9, 2]: 0: DFT of 9 complex numbers; 1: its inverse; 2: one-sided, of real parts, of 7; 3: STFT of frames of 4 by a
 * window, 2 apart, all bins. */
static qn_value transform_fused(qn_graph *g, const qn_value *x, int option)
{
    qn_attr attrs[] = {QN_ATTR_I("inverse", option == 1), QN_ATTR_I("onesided", option == 2),
                       QN_ATTR_I("dft_length", option == 2 ? 7 : 0)};
    qn_attr frames[] = {QN_ATTR_I("frame_step", 2), QN_ATTR_I("onesided", 0)};
    if (option == 3)
        return qn_graph_node(g, "STFT", x, 2, frames, 2);
    qn_value from = option == 2 ? part_of(g, x[0], 2, 0, 1) : x[0];
    return qn_graph_node(g, "DFT", &from, 1, attrs, 3);
}

/* bins x length numbers of cos or sin(2 pi j k / length) */
static qn_value waves(qn_graph *g, int64_t bins, int64_t length, double (*wave)(double))
{
    double values[81];
    for (int64_t at = 0; at < bins * length; at++)
        values[at] = wave(2 * M_PI * (double)(at / length * (at % length)) / (double)length);
    return constant(g, QN_DTYPE_F64, values, QN_SHAPE(bins, length));
}

/* x [B, length, 2] to [B, bins, 2]; direction -1 forward, 1 back. */
static qn_value transformed(qn_graph *g, qn_value x, int64_t bins, int64_t length, double direction)
{
    qn_value re = part_of(g, x, 2, 0, 1), im = part_of(g, x, 2, 1, 1);
    qn_value c = waves(g, bins, length, cos), s = scaled(g, waves(g, bins, length, sin), direction);
    qn_value y[] = {two(g, "Sub", two(g, "MatMul", c, re), two(g, "MatMul", s, im)),
                    two(g, "Add", two(g, "MatMul", c, im), two(g, "MatMul", s, re))};
    qn_attr axis = QN_ATTR_I("axis", 2);
    y[0] = qn_graph_node(g, "Concat", y, 2, &axis, 1);
    return direction > 0 ? scaled(g, y[0], 1.0 / (double)length) : y[0];
}
static qn_value transform_parts(qn_graph *g, const qn_value *x, int option)
{
    static const double real[2] = {1, 0};
    if (option < 2)
        return transformed(g, x[0], 9, 9, option == 1 ? 1 : -1);
    if (option == 2) {
        qn_value only = two(g, "Mul", x[0], constant(g, QN_DTYPE_F64, real, QN_SHAPE(2)));
        return transformed(g, part_of(g, only, 1, 0, 7), 4, 7, -1);
    }
    qn_value frames[3], window = reshaped(g, x[1], 2, (int64_t[]){4, 1});
    for (int i = 0; i < 3; i++) {
        frames[i] = two(g, "Mul", part_of(g, x[0], 1, 2 * i, 4), window);
        frames[i] = transformed(g, frames[i], 4, 4, -1);
        frames[i] = with_ints(g, "Unsqueeze", frames[i], "axes", 1, (int64_t[]){1});
    }
    qn_attr axis = QN_ATTR_I("axis", 1);
    return qn_graph_node(g, "Concat", frames, 3, &axis, 1);
}

#define C3 F64(1, 3)
#define C6 F64(1, 6)
const fusion decompose_layers[] = {
    {"Gemm", gemm_fused, gemm_parts, 3, {F64(2, 3, 4), F64(2, 4, 5), F64(1, 5)}, -1, 1, 3, 8},
    {"products of rows", rows_fused, rows_parts, 2, {F64(3, 2, 3, 4), F64(2, 4, 5)}, -1, 1, 2, 2},
    {"smooth activations", smooth_fused, smooth_parts, 1, {F64(1, 40)}, -3, 3, 1, 4},
    {"Softmax", softmax_fused, softmax_parts, 1, {F64(2, 4, 5)}, -2, 2, 1, 2},
    {"BatchNormalization", norm_fused, norm_parts, 5, {F64(2, 6, 3), C3, C3, C3, C3}, 0.1, 2, 3, 2},
    {"own norms", own_norm_fused, own_norm_parts, 3, {F64(3, 2, 3, 6), C6, C6}, -1, 2, 3, 4},
    {"Gather", gather_fused, gather_parts, 2, {F64(2, 4, 3), I64(2, 2, 5)}, 0, 4, 1, 2},
    {"reductions", reduce_fused, reduce_parts, 1, {F64(3, 2, 4, 3)}, -1, 1, 1, 2},
    {"norms of lines", norms_fused, norms_parts, 1, {F64(3, 2, 4, 3)}, 0.2, 2, 1, 11},
    {"Det", det_fused, det_parts, 1, {F64(4, 2, 2, 3, 3)}, -2, 2, 1, 1},
    {"transforms", transform_fused, transform_parts, 2, {F64(3, 2, 9, 2), F64(1, 4)}, -1, 1, 2, 4},
    {0},
};
