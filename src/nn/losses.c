/*
 * Losses as nodes; the mathematics is in the rows (graph/op/loss.c), but for focal loss, which is here.
 */
#include "nn/losses.h"

#include <math.h>
#include <string.h>

typedef struct {
    const char *name, *op;
    const char *option; /* attribute that the loss's options give */
    bool pointwise, logits;
} loss_row;

static const loss_row rows[QN_NN_LOSS_COUNT] = {
    [QN_NN_LOSS_MSE] = {"mse", "MeanSquaredError", NULL, true, false},
    [QN_NN_LOSS_MAE] = {"mae", "MeanAbsoluteError", NULL, true, false},
    [QN_NN_LOSS_HUBER] = {"huber", "Huber", "delta", true, false},
    [QN_NN_LOSS_BCE] = {"bce", "BceWithLogits", "pos_weight", true, true},
    [QN_NN_LOSS_CE] = {"ce", "SoftmaxCrossEntropy", NULL, false, true},
    [QN_NN_LOSS_KL] = {"kl", "KLDivergence", NULL, false, true},
    [QN_NN_LOSS_HINGE] = {"hinge", "HingeLoss", "margin", true, false},
    [QN_NN_LOSS_SQUARED_HINGE] = {"squared_hinge", "SquaredHingeLoss", "margin", true, false},
    [QN_NN_LOSS_POISSON] = {"poisson", "PoissonNLLLoss", NULL, true, false},
    [QN_NN_LOSS_QUANTILE] = {"quantile", "QuantileLoss", "quantile", true, false},
    [QN_NN_LOSS_COSINE] = {"cosine", "CosineEmbeddingLoss", "margin", false, false},
    [QN_NN_LOSS_TRIPLET] = {"triplet", "TripletMarginLoss", "margin", false, false},
    [QN_NN_LOSS_CTC] = {"ctc", "CTCLoss", NULL, false, true},
    [QN_NN_LOSS_FOCAL] = {"focal", NULL, NULL, false, true},
    [QN_NN_LOSS_NLL] = {"nll", "NegativeLogLikelihoodLoss", NULL, false, false},
};

const char *qn_nn_loss_name(qn_nn_loss_kind kind)
{
    return rows[kind].name;
}

bool qn_nn_loss_find(const char *name, qn_nn_loss_kind *ret)
{
    for (int i = 0; i < QN_NN_LOSS_COUNT; i++) {
        if (strcmp(rows[i].name, name) == 0) {
            *ret = (qn_nn_loss_kind)i;
            return true;
        }
    }
    return false;
}

bool qn_nn_loss_pointwise(qn_nn_loss_kind kind)
{
    return rows[kind].pointwise;
}

bool qn_nn_loss_has_target(qn_nn_loss_kind kind)
{
    return kind != QN_NN_LOSS_TRIPLET;
}

bool qn_nn_loss_takes_logits(qn_nn_loss_kind kind)
{
    return rows[kind].logits;
}

bool qn_nn_loss_takes_sides(qn_nn_loss_kind kind, int64_t scores)
{
    return kind == QN_NN_LOSS_BCE || kind == QN_NN_LOSS_HINGE || kind == QN_NN_LOSS_SQUARED_HINGE ||
           (kind == QN_NN_LOSS_FOCAL && scores == 1);
}

qn_type qn_nn_loss_target(const qn_nn_loss *loss, const qn_type *predictions)
{
    qn_type target = *predictions;
    qn_shape *shape = &target.shape;
    bool labels = loss->kind == QN_NN_LOSS_CE || loss->kind == QN_NN_LOSS_NLL ||
                  loss->kind == QN_NN_LOSS_FOCAL;
    if (labels && shape->rank > 0 &&
        !qn_nn_loss_takes_sides(loss->kind, shape->dims[shape->rank - 1])) {
        target.dtype = QN_DTYPE_I64;
        shape->rank--;
    } else if (loss->kind == QN_NN_LOSS_COSINE && shape->rank == 3) {
        shape->rank = 1;
    } else if (loss->kind == QN_NN_LOSS_CTC && shape->rank == 3) {
        target.dtype = QN_DTYPE_I64;
        shape->rank = 2;
        shape->dims[1] = loss->labels_max;
    }
    return target;
}

/* The class weights as a constant of the type of `logits`. */
static qn_value weights_const(qn_graph *graph, const qn_nn_loss *loss, qn_value logits)
{
    qn_type type = *qn_graph_type(graph, logits);
    union {
        const double *from;
        void *to; /* a view of what is only read */
    } data = {.from = loss->class_weights};
    qn_tensor weights =
        qn_tensor_of(data.to, QN_DTYPE_F64, QN_SHAPE(type.shape.dims[type.shape.rank - 1]));
    qn_attr to = QN_ATTR_S("to", qn_dtype_name(type.dtype));
    qn_value constant = qn_graph_const(graph, &weights);
    return type.dtype == QN_DTYPE_F64 ? constant
                                      : qn_graph_node(graph, "Cast", &constant, 1, &to, 1);
}

static qn_value cross_entropy(qn_graph *graph, const qn_nn_loss *loss, qn_value logits,
                              qn_value labels)
{
    qn_attr attrs[] = {QN_ATTR_F("label_smoothing", loss->label_smoothing),
                       QN_ATTR_I("ignore_index", QN_NN_IGNORE_INDEX)};
    qn_value inputs[3] = {logits, labels, QN_NONE};
    if (loss->class_weights) {
        inputs[2] = weights_const(graph, loss, logits);
        if (inputs[2] == QN_NONE)
            return QN_NONE;
    }
    bool smooth = loss->kind == QN_NN_LOSS_CE;
    return qn_graph_node(graph, rows[loss->kind].op, inputs, 3, attrs + !smooth, 1 + smooth);
}

/* One weight per row, for every element of the row. */
static qn_value spread_weights(qn_graph *graph, qn_value weights, const qn_shape *predictions)
{
    const qn_shape *have = &qn_graph_type(graph, weights)->shape;
    if (qn_shape_equal(have, predictions) || have->rank != 1)
        return weights;
    qn_attr axes = {.name = "axes", .kind = QN_ATTR_INTS};
    for (int d = 1; d < predictions->rank; d++)
        axes.ints[axes.count++] = d;
    if (axes.count > 0)
        weights = qn_graph_node(graph, "Unsqueeze", &weights, 1, &axes, 1);
    qn_attr shape = {.name = "shape", .kind = QN_ATTR_INTS, .count = predictions->rank};
    memcpy(shape.ints, predictions->dims, sizeof(shape.ints));
    return qn_graph_node(graph, "Expand", &weights, 1, &shape, 1);
}

/* What a target of 1 weighs beside one of 0. */
static double side_ratio(const qn_nn_loss *loss)
{
    return loss->class_weights ? loss->class_weights[1] / loss->class_weights[0] : 1;
}

/* Targets t > 0 weigh side_ratio, the others 1. */
static qn_value side_weights(qn_graph *graph, const qn_nn_loss *loss, qn_value targets)
{
    qn_dtype dtype = qn_graph_type(graph, targets)->dtype;
    qn_value one = qn_graph_scalar(graph, dtype, 1);
    qn_value ratio = qn_graph_scalar(graph, dtype, side_ratio(loss));
    qn_value zero = qn_graph_scalar(graph, dtype, 0);
    qn_value above = qn_graph_op2(graph, "Greater", targets, zero);
    return qn_graph_node(graph, "Where", (qn_value[]){above, ratio, one}, 3, NULL, 0);
}

/* t (1 - s) + s / 2, as Keras' BinaryCrossentropy has it: the same as smoothing both classes. */
static qn_value smooth_sides(qn_graph *graph, double smoothing, qn_value targets)
{
    qn_dtype dtype = qn_graph_type(graph, targets)->dtype;
    qn_value keep = qn_graph_scalar(graph, dtype, 1 - smoothing);
    qn_value half = qn_graph_scalar(graph, dtype, smoothing / 2);
    return qn_graph_op2(graph, "Add", qn_graph_op2(graph, "Mul", targets, keep), half);
}

/* The value of the row's option. */
static double option_of(const qn_nn_loss *loss)
{
    switch (loss->kind) {
    case QN_NN_LOSS_HUBER:
        return loss->delta > 0 ? loss->delta : 1;
    case QN_NN_LOSS_BCE:
        return side_ratio(loss);
    case QN_NN_LOSS_QUANTILE:
        return loss->quantile > 0 ? loss->quantile : 0.5;
    default:
        return loss->has_margin ? loss->margin : loss->kind == QN_NN_LOSS_COSINE ? 0 : 1;
    }
}

static qn_value pointwise(qn_graph *graph, const qn_nn_loss *loss, qn_value predictions,
                          qn_value targets, qn_value weights)
{
    const loss_row *row = &rows[loss->kind];
    qn_attr attr = QN_ATTR_F(row->option, option_of(loss));
    bool hinge = loss->kind == QN_NN_LOSS_HINGE || loss->kind == QN_NN_LOSS_SQUARED_HINGE;
    if (loss->kind == QN_NN_LOSS_BCE && loss->label_smoothing > 0)
        targets = smooth_sides(graph, loss->label_smoothing, targets);
    if (hinge && loss->class_weights && weights == QN_NONE)
        weights = side_weights(graph, loss, targets);
    if (weights != QN_NONE) {
        qn_shape shape = qn_graph_type(graph, predictions)->shape;
        weights = spread_weights(graph, weights, &shape);
        if (weights == QN_NONE)
            return QN_NONE;
    }
    return qn_graph_node(graph, row->op, (qn_value[]){predictions, targets, weights}, 3, &attr,
                         row->option != NULL);
}

/* Scores are margins: p = sigmoid(margin) of the right answer. -(1 - p)^focus log p, without a power whose slope has no
 * bound. Source: Lin et al. 2017. */
static qn_value focal_of(qn_graph *graph, const qn_nn_loss *loss, qn_value margin)
{
    qn_value down = qn_graph_scalar(graph, qn_graph_type(graph, margin)->dtype, -loss->focus);
    qn_value doubt = qn_graph_op2(graph, "Mul", qn_graph_op1(graph, "Softplus", margin), down);
    qn_value miss = qn_graph_op1(graph, "Softplus", qn_graph_op1(graph, "Neg", margin));
    return qn_graph_op2(graph, "Mul", qn_graph_op1(graph, "Exp", doubt), miss);
}

/* The mean of `values` by `weights`; by their number where there are none. */
static qn_value mean_by(qn_graph *graph, qn_value values, qn_value weights)
{
    qn_attr whole = QN_ATTR_I("keepdims", 0);
    if (weights == QN_NONE)
        return qn_graph_node(graph, "ReduceMean", &values, 1, &whole, 1);
    qn_value sum = qn_graph_op2(graph, "Mul", values, weights);
    sum = qn_graph_node(graph, "ReduceSum", &sum, 1, &whole, 1);
    weights = qn_graph_node(graph, "ReduceSum", &weights, 1, &whole, 1);
    return qn_graph_op2(graph, "Div", sum, weights);
}

/* Scores x of the answer 1, targets 0 or 1: the margin is x or -x. */
static qn_value focal_sides(qn_graph *graph, const qn_nn_loss *loss, qn_value x, qn_value targets)
{
    qn_dtype dtype = qn_graph_type(graph, x)->dtype;
    qn_value two = qn_graph_scalar(graph, dtype, 2), one = qn_graph_scalar(graph, dtype, 1);
    qn_value side = qn_graph_op2(graph, "Mul", targets, two);
    side = qn_graph_op2(graph, "Sub", side, one);
    qn_value weights = loss->class_weights ? side_weights(graph, loss, targets) : QN_NONE;
    qn_value margin = qn_graph_op2(graph, "Mul", side, x);
    return mean_by(graph, focal_of(graph, loss, margin), weights);
}

/* Scores [..., C]: the margin is the label's score above the logarithm of the summed exponentials of the others. Labels
 * outside have no weight. */
static qn_value focal_classes(qn_graph *graph, const qn_nn_loss *loss, qn_value x, qn_value labels)
{
    qn_type type = *qn_graph_type(graph, x);
    qn_attr depth[] = {QN_ATTR_I("depth", type.shape.dims[type.shape.rank - 1]),
                       QN_ATTR_S("dtype", qn_dtype_name(type.dtype))};
    qn_attr boolean = QN_ATTR_S("to", "bool");
    qn_attr last[] = {{.name = "axes", .kind = QN_ATTR_INTS, .count = 1, .ints = {-1}},
                      QN_ATTR_I("keepdims", 0)};
    qn_value chosen = qn_graph_node(graph, "OneHot", &labels, 1, depth, 2);
    qn_value mask = qn_graph_node(graph, "Cast", &chosen, 1, &boolean, 1);
    qn_value low = qn_graph_scalar(graph, type.dtype, -HUGE_VAL);
    qn_value others = qn_graph_node(graph, "Where", (qn_value[]){mask, low, x}, 3, NULL, 0);
    qn_value own = qn_graph_op2(graph, "Mul", chosen, x);
    own = qn_graph_node(graph, "ReduceSum", &own, 1, last, 2);
    others = qn_graph_node(graph, "ReduceLogSumExp", &others, 1, last, 2);
    qn_value weights = chosen;
    if (loss->class_weights)
        weights = qn_graph_op2(graph, "Mul", chosen, weights_const(graph, loss, x));
    weights = qn_graph_node(graph, "ReduceSum", &weights, 1, last, 2);
    qn_value margin = qn_graph_op2(graph, "Sub", own, others);
    return mean_by(graph, focal_of(graph, loss, margin), weights);
}

static qn_value focal(qn_graph *graph, const qn_nn_loss *loss, qn_value x, qn_value targets)
{
    const qn_shape *shape = &qn_graph_type(graph, x)->shape;
    if (!(loss->focus >= 0))
        return qn_graph_fail(graph, QN_ERR_ARG, "loss focal has a focus of %g, expected 0 or more",
                             loss->focus);
    if (shape->dims[shape->rank - 1] == 1)
        return focal_sides(graph, loss, x, targets);
    return focal_classes(graph, loss, x, targets);
}

static qn_value divergence(qn_graph *graph, qn_value logits, qn_value targets)
{
    qn_attr attr = QN_ATTR_S("reduction", "batchmean");
    qn_value inputs[] = {qn_graph_op1(graph, "LogSoftmax", logits), targets};
    if (inputs[0] == QN_NONE)
        return QN_NONE;
    return qn_graph_node(graph, "KLDivergence", inputs, 2, &attr, 1);
}

/* Vector `index` of each row: [B, n, D] -> [B, D]. */
static qn_value vector_at(qn_graph *graph, qn_value x, int64_t index)
{
    qn_attr cut[] = {{.name = "starts", .kind = QN_ATTR_INTS, .count = 1, .ints = {index}},
                     {.name = "ends", .kind = QN_ATTR_INTS, .count = 1, .ints = {index + 1}},
                     {.name = "axes", .kind = QN_ATTR_INTS, .count = 1, .ints = {1}}};
    qn_value slice = qn_graph_node(graph, "Slice", &x, 1, cut, 3);
    qn_attr axes = {.name = "axes", .kind = QN_ATTR_INTS, .count = 1, .ints = {1}};
    return slice == QN_NONE ? QN_NONE : qn_graph_node(graph, "Squeeze", &slice, 1, &axes, 1);
}

/* Pairs or triplets stand side by side in each row. */
static qn_value embeddings(qn_graph *graph, const qn_nn_loss *loss, qn_value predictions,
                           qn_value targets)
{
    const qn_shape *shape = &qn_graph_type(graph, predictions)->shape;
    int64_t count = loss->kind == QN_NN_LOSS_COSINE ? 2 : 3;
    char text[128];
    if (shape->rank != 3 || shape->dims[1] != count)
        return qn_graph_fail(graph, QN_ERR_ARG,
                             "loss %s expects predictions of [B, %lld, D], got %s",
                             rows[loss->kind].name, (long long)count, qn_shape_text(shape, text));
    qn_value inputs[3] = {QN_NONE, QN_NONE, targets};
    for (int64_t i = 0; i < count; i++)
        if ((inputs[i] = vector_at(graph, predictions, i)) == QN_NONE)
            return QN_NONE;
    qn_attr attr = QN_ATTR_F("margin", option_of(loss));
    return qn_graph_node(graph, rows[loss->kind].op, inputs, 3, &attr, 1);
}

static qn_value ctc(qn_graph *graph, const qn_nn_loss *loss, qn_value logits, qn_value labels)
{
    qn_attr attr = QN_ATTR_I("blank", loss->blank);
    return qn_graph_node(graph, "CTCLoss", (qn_value[]){logits, labels}, 2, &attr, 1);
}

static qn_value by_kind(qn_graph *graph, const qn_nn_loss *loss, qn_value predictions,
                        qn_value targets)
{
    switch (loss->kind) {
    case QN_NN_LOSS_CE:
    case QN_NN_LOSS_NLL:
        return cross_entropy(graph, loss, predictions, targets);
    case QN_NN_LOSS_KL:
        return divergence(graph, predictions, targets);
    case QN_NN_LOSS_CTC:
        return ctc(graph, loss, predictions, targets);
    case QN_NN_LOSS_FOCAL:
        return focal(graph, loss, predictions, targets);
    default:
        return embeddings(graph, loss, predictions, targets);
    }
}

static bool check_types(qn_graph *graph, const qn_nn_loss *loss, qn_value predictions,
                        qn_value targets)
{
    const qn_type *have = qn_graph_type(graph, predictions), *got = qn_graph_type(graph, targets);
    qn_type want = qn_nn_loss_target(loss, have);
    char a[128], b[128], c[128];
    bool fits = got->dtype == want.dtype && qn_shape_equal(&got->shape, &want.shape);
    if (!fits)
        qn_graph_fail(graph, QN_ERR_ARG,
                      "loss %s of predictions %s expects targets of %s %s, got %s %s",
                      qn_nn_loss_name(loss->kind), qn_shape_text(&have->shape, a),
                      qn_dtype_name(want.dtype), qn_shape_text(&want.shape, b),
                      qn_dtype_name(got->dtype), qn_shape_text(&got->shape, c));
    return fits;
}

/* Two sides share one ratio of weights. */
static bool check_sides(qn_graph *graph, const qn_nn_loss *loss, qn_value predictions)
{
    const qn_shape *shape = &qn_graph_type(graph, predictions)->shape;
    int64_t scores = shape->rank > 0 ? shape->dims[shape->rank - 1] : 1;
    const double *weights = loss->class_weights;
    if (!weights || !qn_nn_loss_takes_sides(loss->kind, scores))
        return true;
    if (!(weights[0] > 0 && weights[1] > 0)) {
        qn_graph_fail(graph, QN_ERR_ARG,
                      "loss %s has class weights %g and %g of its two sides; both must be above 0",
                      qn_nn_loss_name(loss->kind), weights[0], weights[1]);
        return false;
    }
    return true;
}

qn_value qn_nn_loss_add(qn_graph *graph, const qn_nn_loss *loss, qn_value predictions,
                        qn_value targets, qn_value weights)
{
    bool compares = qn_nn_loss_has_target(loss->kind);
    if (predictions == QN_NONE || (compares && targets == QN_NONE) ||
        qn_graph_check(graph, NULL) != QN_OK)
        return QN_NONE;
    if (compares && !check_types(graph, loss, predictions, targets))
        return QN_NONE;
    if (!check_sides(graph, loss, predictions))
        return QN_NONE;
    qn_graph_scope(graph, "loss");
    qn_value value = QN_NONE;
    if (rows[loss->kind].pointwise)
        value = pointwise(graph, loss, predictions, targets, weights);
    else if (weights != QN_NONE)
        qn_graph_fail(graph, QN_ERR_ARG,
                      "loss %s takes class weights or ignored labels, not weights of rows",
                      rows[loss->kind].name);
    else
        value = by_kind(graph, loss, predictions, targets);
    qn_graph_scope(graph, NULL);
    return value;
}
