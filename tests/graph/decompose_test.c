/*
 * Rows that fuse several steps against the same thing built of primitives, in f64: results and gradients.
 */
#include "testing.h"

#include <math.h>
#include <stdio.h>

#include "base/rng.h"
#include "graph/graph.h"
#include "graph/plan.h"
#include "graph/state.h"

static qn_error err;

enum { INPUTS_MAX = 7, ELEMENTS_MAX = 512 };

/* Builds one value from inputs of a case; `option` tells variants of a case apart. */
typedef qn_value (*build_fn)(qn_graph *g, const qn_value *x, int option);

typedef struct {
    const char *name;
    build_fn fused, parts;
    int count;
    qn_type inputs[INPUTS_MAX];
    double low, high;
    int differentiate; /* how many of the first inputs */
    int options;       /* option 0 .. options - 1 */
} fusion;

typedef struct {
    double values[INPUTS_MAX + 1][ELEMENTS_MAX]; /* the result, then the gradients */
    int64_t counts[INPUTS_MAX + 1];
} results;

static const char *numbered(char letter, int i)
{
    static char names[8][16];
    static int next = 0;
    char *name = names[next++ % 8];
    snprintf(name, 16, "%c%d", letter, i);
    return name;
}

/* Short hands for building. */
static qn_value two(qn_graph *g, const char *op, qn_value a, qn_value b)
{
    return qn_graph_op2(g, op, a, b);
}
static qn_value one(qn_graph *g, const char *op, qn_value a)
{
    return qn_graph_op1(g, op, a);
}
static qn_value number(qn_graph *g, double value)
{
    return qn_graph_scalar(g, QN_DTYPE_F64, value);
}
static qn_value scaled(qn_graph *g, qn_value a, double factor)
{
    return two(g, "Mul", a, number(g, factor));
}
static qn_value plus(qn_graph *g, qn_value a, double term)
{
    return two(g, "Add", a, number(g, term));
}
static qn_value with_ints(qn_graph *g, const char *op, qn_value a, const char *name, int count,
                          const int64_t *ints)
{
    qn_attr attr = {.name = name, .kind = QN_ATTR_INTS, .count = count};
    memcpy(attr.ints, ints, (size_t)count * sizeof *ints);
    return qn_graph_node(g, op, &a, 1, &attr, 1);
}
static qn_value over_axis(qn_graph *g, const char *op, qn_value a, int64_t axis)
{
    return with_ints(g, op, a, "axes", 1, &axis);
}
static qn_value total(qn_graph *g, const char *op, qn_value a)
{
    qn_attr keep = QN_ATTR_I("keepdims", 0);
    return qn_graph_node(g, op, &a, 1, &keep, 1);
}

static qn_value activate(qn_graph *g, qn_value x, int option)
{
    static const char *const ops[] = {NULL,   "Relu", "LeakyRelu", "Sigmoid",
                                      "Tanh", "Gelu", "Gelu",      "Silu"};
    qn_attr attr = option == 2 ? QN_ATTR_F("alpha", 0.1) : QN_ATTR_S("approximate", "tanh");
    return option == 0 ? x
                       : qn_graph_node(g, ops[option], &x, 1, &attr, option == 2 || option == 6);
}
static const char *const activation_words[] = {"none", "relu", "leaky_relu", "sigmoid",
                                               "tanh", "gelu", "gelu_tanh",  "silu"};

static qn_value gemm_fused(qn_graph *g, const qn_value *x, int option)
{
    qn_attr attrs[] = {QN_ATTR_S("activation", activation_words[option]), QN_ATTR_F("slope", 0.1)};
    return qn_graph_node(g, "Gemm", x, 3, attrs, 2);
}
static qn_value gemm_parts(qn_graph *g, const qn_value *x, int option)
{
    return activate(g, two(g, "Add", two(g, "MatMul", x[0], x[1]), x[2]), option);
}

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

static qn_value entropy_fused(qn_graph *g, const qn_value *x, int option)
{
    qn_attr attrs[] = {QN_ATTR_F("label_smoothing", 0.2),
                       QN_ATTR_S("reduction", option ? "sum" : "mean")};
    return qn_graph_node(g, "SoftmaxCrossEntropy", (qn_value[]){x[0], x[1], x[2]}, 3, attrs, 2);
}
static qn_value entropy_parts(qn_graph *g, const qn_value *x, int option)
{
    qn_attr attrs[] = {QN_ATTR_I("depth", 3), QN_ATTR_S("dtype", "f64")};
    qn_value hot = qn_graph_node(g, "OneHot", &x[1], 1, attrs, 2);
    qn_value own = over_axis(g, "ReduceSum", two(g, "Mul", hot, x[2]), -1); /* w[t] */
    qn_value share = two(g, "Add", scaled(g, two(g, "Mul", hot, own), 0.8),
                         scaled(g, x[2], 0.2 / 3)); /* of every class */
    qn_value logs = one(g, "LogSoftmax", x[0]);
    qn_value sum = one(g, "Neg", total(g, "ReduceSum", two(g, "Mul", share, logs)));
    return option ? sum : two(g, "Div", sum, total(g, "ReduceSum", own));
}

static qn_value loss_fused(qn_graph *g, const qn_value *x, int option)
{
    static const char *const ops[] = {"MeanSquaredError", "MeanAbsoluteError", "Huber",
                                      "BceWithLogits"};
    qn_attr attr = option == 2 ? QN_ATTR_F("delta", 0.4) : QN_ATTR_F("pos_weight", 3);
    return qn_graph_node(g, ops[option], x, 3, &attr, option >= 2);
}
static qn_value loss_parts(qn_graph *g, const qn_value *x, int option)
{
    qn_value d = two(g, "Sub", x[0], x[1]), size = one(g, "Abs", d), each = size;
    if (option == 0)
        each = one(g, "Square", d);
    if (option == 2) {
        qn_value near = two(g, "Min", size, number(g, 0.4));
        each = two(g, "Mul", near, two(g, "Sub", size, scaled(g, near, 0.5)));
    }
    if (option == 3) {
        qn_value yes = one(g, "Log", one(g, "Sigmoid", x[0]));
        qn_value no = one(g, "Log", one(g, "Sigmoid", one(g, "Neg", x[0])));
        qn_value rest = plus(g, one(g, "Neg", x[1]), 1);
        each = two(g, "Add", scaled(g, two(g, "Mul", x[1], yes), 3), two(g, "Mul", rest, no));
        each = one(g, "Neg", each);
    }
    return total(g, "ReduceMean", two(g, "Mul", each, x[2]));
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

/* q [2, 3, 4, 2], k and v [2, 5, 2, 2], a bias [3, 5]: causal (option 1) or capped (option 2) */
static qn_value attention_fused(qn_graph *g, const qn_value *x, int option)
{
    qn_attr attrs[] = {QN_ATTR_F("scale", 0.7), QN_ATTR_I("is_causal", option == 1),
                       QN_ATTR_F("softcap", option == 2 ? 0.5 : 0)};
    return qn_graph_node(g, "Attention", x, 4, attrs, 3);
}
static qn_value attention_parts(qn_graph *g, const qn_value *x, int option)
{
    const int64_t heads_first[] = {0, 2, 1, 3};
    const int64_t shared[] = {2, 2, 1, 5, 2}, spread[] = {2, 2, 2, 5, 2}, all[] = {2, 4, 5, 2};
    qn_value q = with_ints(g, "Transpose", x[0], "perm", 4, heads_first), side[2];
    for (int i = 0; i < 2; i++) {
        qn_value v = with_ints(g, "Transpose", x[1 + i], "perm", 4, heads_first);
        v = with_ints(g, "Reshape", v, "shape", 5, shared);
        v = with_ints(g, "Expand", v, "shape", 5, spread);
        side[i] = with_ints(g, "Reshape", v, "shape", 4, all);
    }
    qn_value keys = with_ints(g, "Transpose", side[0], "perm", 4, (int64_t[]){0, 1, 3, 2});
    qn_value s = scaled(g, two(g, "MatMul", q, keys), 0.7);
    if (option == 2)
        s = scaled(g, one(g, "Tanh", scaled(g, s, 2)), 0.5);
    s = two(g, "Add", s, x[3]);
    if (option == 1) {
        static const double later[15] = {0,    -1e9, -1e9, -1e9, -1e9, 0,    0,   -1e9,
                                         -1e9, -1e9, 0,    0,    0,    -1e9, -1e9};
        qn_tensor mask = {.dtype = QN_DTYPE_F64, .shape = QN_SHAPE(3, 5), .strides = {5, 1}};
        double values[15];
        memcpy(values, later, sizeof values);
        mask.data = values;
        s = two(g, "Add", s, qn_graph_const(g, &mask));
    }
    qn_value y = two(g, "MatMul", one(g, "Softmax", s), side[1]);
    return with_ints(g, "Transpose", y, "perm", 4, heads_first);
}

/* Elements [from, from + size) along an axis. */
static qn_value part_of(qn_graph *g, qn_value a, int64_t axis, int64_t from, int64_t size)
{
    qn_attr attrs[] = {{.name = "starts", .kind = QN_ATTR_INTS, .count = 1, .ints = {from}},
                       {.name = "ends", .kind = QN_ATTR_INTS, .count = 1, .ints = {from + size}},
                       {.name = "axes", .kind = QN_ATTR_INTS, .count = 1, .ints = {axis}}};
    return qn_graph_node(g, "Slice", &a, 1, attrs, 3);
}

/* x [2, 3, 2], weight [1, 4 * 2, 2], recurrent alike, bias [1, 16]: the last h of LSTM, of GRU (resetting after, before
 * its product) and of RNN, which take the first rows of them. */
enum { UNITS = 2 };
static qn_value rnn_fused(qn_graph *g, const qn_value *x, int option)
{
    static const char *const ops[] = {"LSTM", "GRU", "GRU", "RNN"};
    static const int64_t gates[] = {4, 3, 3, 1};
    qn_attr reset = QN_ATTR_I("linear_before_reset", option == 1);
    qn_value inputs[] = {x[0], part_of(g, x[1], 1, 0, gates[option] * UNITS),
                         part_of(g, x[2], 1, 0, gates[option] * UNITS),
                         part_of(g, x[3], 1, 0, 2 * gates[option] * UNITS)};
    qn_value y = qn_graph_node(g, ops[option], inputs, 4, &reset, option == 1 || option == 2);
    return y == QN_NONE ? y : y + 1;
}

/* b + v w' of one gate. */
static qn_value gate_of(qn_graph *g, qn_value v, qn_value w, qn_value bias, int64_t gate,
                        int64_t bias_gate)
{
    qn_attr turned = QN_ATTR_I("transB", 1);
    qn_value weight =
        part_of(g, with_ints(g, "Squeeze", w, "axes", 1, (int64_t[]){0}), 0, gate * UNITS, UNITS);
    qn_value sum = qn_graph_node(g, "MatMul", (qn_value[]){v, weight}, 2, &turned, 1);
    return two(g, "Add", sum, part_of(g, bias, 1, bias_gate * UNITS, UNITS));
}

static qn_value rnn_step(qn_graph *g, const qn_value *w, qn_value x, qn_value h, qn_value *c,
                         int option)
{
    const int gates = option == 0 ? 4 : option == 3 ? 1 : 3;
    qn_value own[4], past[4], sum[4];
    for (int i = 0; i < gates; i++) {
        own[i] = gate_of(g, x, w[1], w[3], i, i);
        past[i] = gate_of(g, h, w[2], w[3], i, gates + i);
        sum[i] = two(g, "Add", own[i], past[i]);
    }
    if (option == 3)
        return one(g, "Tanh", sum[0]);
    if (option == 0) {
        qn_value kept = two(g, "Mul", one(g, "Sigmoid", sum[2]), *c);
        *c = two(g, "Add", kept, two(g, "Mul", one(g, "Sigmoid", sum[0]), one(g, "Tanh", sum[3])));
        return two(g, "Mul", one(g, "Sigmoid", sum[1]), one(g, "Tanh", *c));
    }
    qn_value z = one(g, "Sigmoid", sum[0]), r = one(g, "Sigmoid", sum[1]);
    qn_value state =
        option == 1 ? two(g, "Mul", r, past[2]) : gate_of(g, two(g, "Mul", r, h), w[2], w[3], 2, 5);
    qn_value fresh = one(g, "Tanh", two(g, "Add", own[2], state));
    return two(g, "Add", fresh, two(g, "Mul", z, two(g, "Sub", h, fresh)));
}

static qn_value rnn_parts(qn_graph *g, const qn_value *x, int option)
{
    qn_value first = part_of(g, x[0], 0, 0, 1);
    qn_value h = scaled(g, with_ints(g, "Squeeze", first, "axes", 1, (int64_t[]){0}), 0), c = h;
    for (int64_t t = 0; t < 2; t++) {
        qn_value step = part_of(g, x[0], 0, t, 1);
        step = with_ints(g, "Squeeze", step, "axes", 1, (int64_t[]){0});
        h = rnn_step(g, x, step, h, &c, option);
    }
    return with_ints(g, "Unsqueeze", h, "axes", 1, (int64_t[]){0});
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
    assert_ok(qn_graph_grad(g, loss, x, 3, grads, &err), &err);
    return grads[option - 1];
}

static qn_value gather_fused(qn_graph *g, const qn_value *x, int option)
{
    (void)option;
    return two(g, "Gather", x[0], x[1]);
}
static qn_value gather_parts(qn_graph *g, const qn_value *x, int option)
{
    (void)option;
    qn_attr attrs[] = {QN_ATTR_I("depth", 4), QN_ATTR_S("dtype", "f64")};
    return two(g, "MatMul", qn_graph_node(g, "OneHot", &x[1], 1, attrs, 2), x[0]);
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

/* w, moments, gradient, lr, step: the updated w */
static qn_value update_fused(qn_graph *g, const qn_value *x, int option)
{
    qn_attr adam[] = {QN_ATTR_F("weight_decay", 0.1), QN_ATTR_I("decoupled", option == 1)};
    qn_attr momentum[] = {QN_ATTR_F("weight_decay", 0.1), QN_ATTR_F("momentum", 0.8),
                          QN_ATTR_I("nesterov", option == 3)};
    if (option < 2)
        return qn_graph_node(g, "AdamUpdate", x, 6, adam, 2);
    if (option < 4)
        return qn_graph_node(g, "MomentumUpdate", (qn_value[]){x[0], x[1], x[3], x[4]}, 4, momentum,
                             3);
    return qn_graph_node(g, "SgdUpdate", (qn_value[]){x[0], x[3], x[4]}, 3, adam, 1);
}
static qn_value adam_parts(qn_graph *g, const qn_value *x, qn_value grad, int option)
{
    qn_attr to = QN_ATTR_S("to", "f64");
    qn_value step = qn_graph_node(g, "Cast", &x[5], 1, &to, 1), w = x[0], slope[2];
    if (option == 1) {
        grad = x[3];
        w = two(g, "Sub", w, two(g, "Mul", scaled(g, w, 0.1), x[4]));
    }
    for (int i = 0; i < 2; i++) {
        double beta = i ? 0.999 : 0.9;
        qn_value fresh = i ? one(g, "Square", grad) : grad;
        slope[i] = two(g, "Add", scaled(g, x[1 + i], beta), scaled(g, fresh, 1 - beta));
        qn_value bias = one(g, "Neg", plus(g, two(g, "Pow", number(g, beta), step), -1));
        slope[i] = two(g, "Div", slope[i], bias);
    }
    qn_value over = two(g, "Div", slope[0], plus(g, one(g, "Sqrt", slope[1]), 1e-8));
    return two(g, "Sub", w, two(g, "Mul", over, x[4]));
}
static qn_value update_parts(qn_graph *g, const qn_value *x, int option)
{
    qn_value grad = two(g, "Add", x[3], scaled(g, x[0], 0.1));
    if (option < 2)
        return adam_parts(g, x, grad, option);
    qn_value v = two(g, "Add", scaled(g, x[1], 0.8), grad);
    if (option == 3)
        v = two(g, "Add", grad, scaled(g, v, 0.8));
    return two(g, "Sub", x[0], two(g, "Mul", option == 4 ? grad : v, x[4]));
}

static qn_value clip_fused(qn_graph *g, const qn_value *x, int option)
{
    qn_attr limit = QN_ATTR_F("max_norm", option ? 1000 : 0.5);
    qn_value norm = qn_graph_node(g, "GlobalNorm", x, 2, NULL, 0);
    return qn_graph_node(g, "ClipScale", &norm, 1, &limit, 1);
}
static qn_value clip_parts(qn_graph *g, const qn_value *x, int option)
{
    qn_value sum = two(g, "Add", total(g, "ReduceSum", one(g, "Square", x[0])),
                       total(g, "ReduceSum", one(g, "Square", x[1])));
    qn_value norm = plus(g, one(g, "Sqrt", sum), 1e-6);
    qn_value scale = scaled(g, one(g, "Reciprocal", norm), option ? 1000 : 0.5);
    return two(g, "Min", scale, number(g, 1));
}

#define F64(rank, ...)                                                                             \
    {                                                                                              \
        QN_DTYPE_F64,                                                                              \
        {                                                                                          \
            (rank),                                                                                \
            {                                                                                      \
                __VA_ARGS__                                                                        \
            }                                                                                      \
        }                                                                                          \
    }
#define I64(rank, ...)                                                                             \
    {                                                                                              \
        QN_DTYPE_I64,                                                                              \
        {                                                                                          \
            (rank),                                                                                \
            {                                                                                      \
                __VA_ARGS__                                                                        \
            }                                                                                      \
        }                                                                                          \
    }
#define C3 F64(1, 3)
static const fusion fusions[] = {
    {"Gemm", gemm_fused, gemm_parts, 3, {F64(2, 3, 4), F64(2, 4, 5), F64(1, 5)}, -1, 1, 3, 8},
    {"Conv", conv_fused, conv_parts, 3, {F64(4, 1, 5, 4, 2), F64(4, 3, 2, 2, 3), C3}, -1, 1, 3, 8},
    {"smooth activations", smooth_fused, smooth_parts, 1, {F64(1, 40)}, -3, 3, 1, 4},
    {"Softmax", softmax_fused, softmax_parts, 1, {F64(2, 4, 5)}, -2, 2, 1, 2},
    {"SoftmaxCrossEntropy",
     entropy_fused,
     entropy_parts,
     3,
     {F64(2, 5, 3), I64(1, 5), C3},
     0.1,
     3,
     1,
     2},
    {"losses", loss_fused, loss_parts, 3, {F64(2, 5, 3), F64(2, 5, 3), F64(2, 5, 3)}, 0, 1, 1, 4},
    {"BatchNormalization", norm_fused, norm_parts, 5, {F64(2, 6, 3), C3, C3, C3, C3}, 0.1, 2, 3, 2},
    {"own norms",
     own_norm_fused,
     own_norm_parts,
     3,
     {F64(3, 2, 3, 6), F64(1, 6), F64(1, 6)},
     -1,
     2,
     3,
     4},
    {"Attention",
     attention_fused,
     attention_parts,
     4,
     {F64(4, 2, 3, 4, 2), F64(4, 2, 5, 2, 2), F64(4, 2, 5, 2, 2), F64(2, 3, 5)},
     -1,
     1,
     3,
     3},
    {"recurrent networks",
     rnn_fused,
     rnn_parts,
     4,
     {F64(3, 2, 3, 2), F64(3, 1, 8, 2), F64(3, 1, 8, 2), F64(2, 1, 16)},
     -1,
     1,
     4,
     4},
    {"pooling", pool_fused, pool_parts, 1, {F64(4, 2, 4, 6, 3)}, -1, 1, 1, 4},
    {"ConvReluPool",
     conv_pool_fused,
     conv_pool_parts,
     4,
     {F64(4, 1, 5, 6, 2), F64(4, 3, 2, 2, 3), C3, F64(4, 1, 2, 3, 3)},
     -1,
     1,
     0,
     4},
    {"Gather", gather_fused, gather_parts, 2, {F64(2, 4, 3), I64(2, 2, 5)}, 0, 4, 1, 1},
    {"reductions", reduce_fused, reduce_parts, 1, {F64(3, 2, 4, 3)}, -1, 1, 1, 2},
    {"updates",
     update_fused,
     update_parts,
     6,
     {F64(2, 3, 4), F64(2, 3, 4), F64(2, 3, 4), F64(2, 3, 4), F64(0, 0), I64(0, 0)},
     1,
     3,
     0,
     5},
    {"clipping", clip_fused, clip_parts, 2, {F64(2, 3, 4), F64(1, 5)}, -1, 1, 0, 2},
};

static void fill(const fusion *f, const qn_tensor *x, uint32_t stream)
{
    qn_rng rng = {.seed = 3, .stream = stream};
    for (int64_t i = 0; i < qn_shape_count(&x->shape); i++) {
        if (x->dtype == QN_DTYPE_F64)
            ((double *)x->data)[i] =
                f->low + (f->high - f->low) * qn_rng_uniform_f64(rng, (uint64_t)i);
        else /* labels below 3, or a step above 0 */
            ((int64_t *)x->data)[i] = 1 + (int64_t)qn_rng_below(rng, (uint64_t)i, 3) - (f->low < 1);
    }
}

static void keep(const qn_plan *plan, const char *output, results *dst, int slot)
{
    const qn_tensor *tensor = qn_plan_output(plan, output);
    dst->counts[slot] = qn_shape_count(&tensor->shape);
    assert_true(dst->counts[slot] <= ELEMENTS_MAX);
    for (int64_t i = 0; i < dst->counts[slot]; i++)
        dst->values[slot][i] = qn_tensor_f64_at(tensor, i);
}

/* The result, and the gradients of sum(result^2 + result). */
static void run(const fusion *f, build_fn build, int option, results *dst)
{
    qn_graph *g = qn_graph_create();
    qn_value x[INPUTS_MAX], grads[INPUTS_MAX];
    for (int i = 0; i < f->count; i++)
        x[i] = qn_graph_input(g, numbered('x', i), f->inputs[i].dtype, f->inputs[i].shape);
    qn_value y = build(g, x, option);
    if (qn_graph_check(g, &err) != QN_OK)
        fail_msg("%s: %s", f->name, err.text);
    qn_graph_output(g, "y", y);
    qn_value loss = total(g, "ReduceSum", two(g, "Add", y, one(g, "Square", y)));
    if (f->differentiate > 0)
        assert_ok(qn_graph_grad(g, loss, x, f->differentiate, grads, &err), &err);
    for (int i = 0; i < f->differentiate; i++)
        qn_graph_output(g, numbered('g', i), grads[i]);
    qn_state *state = NULL;
    qn_plan *plan = NULL;
    qn_plan_options options = {.batch = 1, .reference = true, .training = true};
    assert_ok(qn_state_create(&state, &err), &err);
    assert_ok(qn_plan_create(g, state, &options, &plan, &err), &err);
    for (int i = 0; i < f->count; i++)
        fill(f, qn_plan_input(plan, numbered('x', i)), (uint32_t)i);
    qn_plan_run(plan, 0);
    keep(plan, "y", dst, 0);
    for (int i = 0; i < f->differentiate; i++)
        keep(plan, numbered('g', i), dst, 1 + i);
    qn_plan_destroy(plan);
    qn_state_destroy(state);
    qn_graph_destroy(g);
}

static void fused_rows_equal_their_parts(void **unused)
{
    (void)unused;
    static results fused, parts;
    for (size_t k = 0; k < sizeof fusions / sizeof fusions[0]; k++) {
        const fusion *f = &fusions[k];
        for (int option = 0; option < f->options; option++) {
            run(f, f->fused, option, &fused);
            run(f, f->parts, option, &parts);
            for (int slot = 0; slot <= f->differentiate; slot++) {
                assert_int_equal(fused.counts[slot], parts.counts[slot]);
                for (int64_t i = 0; i < fused.counts[slot]; i++) {
                    double a = fused.values[slot][i], b = parts.values[slot][i];
                    if (!(fabs(a - b) <= 1e-11 * (1 + fabs(b))))
                        fail_msg("%s option %d, %s %d, element %d: %.15g, its parts say %.15g",
                                 f->name, option, slot ? "gradient" : "result", slot, (int)i, a, b);
                }
            }
        }
    }
}

/* Values worked out by hand or by numpy, so that fused rows and parts are not wrong together. */
static void refs_agree_with_numbers_from_outside(void **unused)
{
    (void)unused;
    static const struct {
        const char *op;
        double x[4];
        double y[4];
        const char *attr;
    } cases[] = {
        {"Erf",
         {0, 0.5, 1, -2},
         {0, 0.5204998778130465, 0.8427007929497149, -0.9953222650189527},
         0},
        {"Gelu",
         {0, 1, -1, 2},
         {0, 0.8413447460685429, -0.15865525393145707, 1.9544997361036416},
         0},
        {"Gelu",
         {0, 1, -1, 2},
         {0, 0.8411919906082768, -0.15880800939172324, 1.954597694087775},
         "tanh"},
        {"Silu",
         {0, 1, -1, 2},
         {0, 0.7310585786300049, -0.2689414213699951, 1.7615941559557646},
         0},
        {"Softmax",
         {1, 2, 3, 4},
         {0.03205860328008499, 0.08714431874203257, 0.23688281808991013, 0.6439142598879722},
         0},
        {"LogSoftmax",
         {1, 2, 3, 4},
         {-3.4401896985611953, -2.4401896985611953, -1.4401896985611953, -0.4401896985611953},
         0},
        {"Sign", {0, 3, -3, 1e-300}, {0, 1, -1, 1}, 0},
        {"Floor", {-1.5, 1.5, 2, -2}, {-2, 1, 2, -2}, 0},
        {"Ceil", {-1.5, 1.5, 2, -2}, {-1, 2, 2, -2}, 0},
        {"LeakyRelu", {-1, 1, -100, 0}, {-0.01, 1, -1, 0}, 0},
        {"Clip", {-1, 1, 1e300, 0}, {-1, 1, 3.4028234663852886e38, 0}, 0},
    };
    for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
        qn_graph *g = qn_graph_create();
        qn_state *state = NULL;
        qn_plan *plan = NULL;
        qn_attr attr = QN_ATTR_S("approximate", cases[k].attr ? cases[k].attr : "none");
        qn_value x = qn_graph_input(g, "x", QN_DTYPE_F64, QN_SHAPE(1, 4));
        qn_graph_output(g, "y", qn_graph_node(g, cases[k].op, &x, 1, &attr, cases[k].attr != NULL));
        assert_ok(qn_state_create(&state, &err), &err);
        assert_ok(qn_plan_create(g, state, &(qn_plan_options){.reference = true}, &plan, &err),
                  &err);
        memcpy(qn_plan_input(plan, "x")->data, cases[k].x, sizeof cases[k].x);
        qn_plan_run(plan, 0);
        for (int i = 0; i < 4; i++) {
            double y = qn_tensor_f64_at(qn_plan_output(plan, "y"), i);
            if (!(fabs(y - cases[k].y[i]) <= 1e-14 * (1 + fabs(cases[k].y[i]))))
                fail_msg("%s of %g is %.17g, expected %.17g", cases[k].op, cases[k].x[i], y,
                         cases[k].y[i]);
        }
        qn_plan_destroy(plan);
        qn_state_destroy(state);
        qn_graph_destroy(g);
    }
}

/* Nothing counts: no loss, no gradient, no division by zero, in kernel and ref alike. */
static void cross_entropy_of_ignored_rows_is_zero(void **unused)
{
    (void)unused;
    for (int reference = 0; reference < 2; reference++) {
        for (int bad = 0; bad < 2; bad++) {
            qn_graph *g = qn_graph_create();
            qn_state *state = NULL;
            qn_plan *plan = NULL;
            qn_value x[] = {qn_graph_input(g, "x", QN_DTYPE_F32, QN_SHAPE(2, 3)),
                            qn_graph_input(g, "t", QN_DTYPE_I64, QN_SHAPE(2))};
            qn_value y = qn_graph_node(g, "SoftmaxCrossEntropy", x, 2, NULL, 0);
            qn_graph_output(g, "loss", y);
            qn_graph_output(g, "slope", y + 1);
            assert_ok(qn_state_create(&state, &err), &err);
            assert_ok(
                qn_plan_create(g, state, &(qn_plan_options){.reference = reference}, &plan, &err),
                &err);
            const float logits[6] = {1, 2, 3, 4, 5, 6};
            const int64_t labels[2] = {-100, bad ? 3 : -100};
            memcpy(qn_plan_input(plan, "x")->data, logits, sizeof logits);
            memcpy(qn_plan_input(plan, "t")->data, labels, sizeof labels);
            qn_plan_run(plan, 0);
            double loss = qn_tensor_f64_at(qn_plan_output(plan, "loss"), 0);
            assert_true(bad ? isnan(loss) : fpclassify(loss) == FP_ZERO);
            for (int i = 0; i < 3; i++)
                assert_true(fpclassify(qn_tensor_f64_at(qn_plan_output(plan, "slope"), i)) ==
                            FP_ZERO);
            qn_plan_destroy(plan);
            qn_state_destroy(state);
            qn_graph_destroy(g);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fused_rows_equal_their_parts),
        cmocka_unit_test(refs_agree_with_numbers_from_outside),
        cmocka_unit_test(cross_entropy_of_ignored_rows_is_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
