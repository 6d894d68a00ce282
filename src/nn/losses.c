/*
 * Losses as nodes; the mathematics is in the rows (graph/op/loss.c).
 */
#include "nn/losses.h"

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

qn_type qn_nn_loss_target(const qn_nn_loss *loss, const qn_type *predictions)
{
    qn_type target = *predictions;
    qn_shape *shape = &target.shape;
    bool labels = loss->kind == QN_NN_LOSS_CE || loss->kind == QN_NN_LOSS_NLL;
    if (labels && shape->rank > 0) {
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

static qn_value cross_entropy(qn_graph *graph, const qn_nn_loss *loss, qn_value logits,
                              qn_value labels)
{
    qn_type type = *qn_graph_type(graph, logits);
    qn_attr attrs[] = {QN_ATTR_F("label_smoothing", loss->label_smoothing),
                       QN_ATTR_I("ignore_index", QN_NN_IGNORE_INDEX)};
    qn_value inputs[3] = {logits, labels, QN_NONE};
    if (loss->class_weights) {
        union {
            const double *from;
            void *to; /* a view of what is only read */
        } data = {.from = loss->class_weights};
        qn_tensor weights =
            qn_tensor_of(data.to, QN_DTYPE_F64, QN_SHAPE(type.shape.dims[type.shape.rank - 1]));
        qn_attr to = QN_ATTR_S("to", qn_dtype_name(type.dtype));
        qn_value constant = qn_graph_const(graph, &weights);
        inputs[2] = constant;
        if (type.dtype != QN_DTYPE_F64)
            inputs[2] = qn_graph_node(graph, "Cast", &constant, 1, &to, 1);
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

/* The value of the row's option. */
static double option_of(const qn_nn_loss *loss)
{
    switch (loss->kind) {
    case QN_NN_LOSS_HUBER:
        return loss->delta > 0 ? loss->delta : 1;
    case QN_NN_LOSS_BCE:
        return loss->pos_weight > 0 ? loss->pos_weight : 1;
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
    if (weights != QN_NONE) {
        qn_shape shape = qn_graph_type(graph, predictions)->shape;
        weights = spread_weights(graph, weights, &shape);
        if (weights == QN_NONE)
            return QN_NONE;
    }
    return qn_graph_node(graph, row->op, (qn_value[]){predictions, targets, weights}, 3, &attr,
                         row->option != NULL);
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

qn_value qn_nn_loss_add(qn_graph *graph, const qn_nn_loss *loss, qn_value predictions,
                        qn_value targets, qn_value weights)
{
    bool compares = qn_nn_loss_has_target(loss->kind);
    if (predictions == QN_NONE || (compares && targets == QN_NONE) ||
        qn_graph_check(graph, NULL) != QN_OK)
        return QN_NONE;
    if (compares && !check_types(graph, loss, predictions, targets))
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
