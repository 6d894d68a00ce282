/*
 * Losses as nodes; the mathematics is in the rows (graph/op/loss.c).
 */
#include "nn/losses.h"

#include <string.h>

static const char *const names[QN_NN_LOSS_COUNT] = {"mse", "mae", "huber", "bce", "ce"};

const char *qn_nn_loss_name(qn_nn_loss_kind kind)
{
    return names[kind];
}

bool qn_nn_loss_find(const char *name, qn_nn_loss_kind *ret)
{
    for (int i = 0; i < QN_NN_LOSS_COUNT; i++) {
        if (strcmp(names[i], name) == 0) {
            *ret = (qn_nn_loss_kind)i;
            return true;
        }
    }
    return false;
}

qn_type qn_nn_loss_target(const qn_nn_loss *loss, const qn_type *predictions)
{
    qn_type target = *predictions;
    if (loss->kind == QN_NN_LOSS_CE && target.shape.rank > 0) {
        target.dtype = QN_DTYPE_I64;
        target.shape.rank--;
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
    return qn_graph_node(graph, "SoftmaxCrossEntropy", inputs, 3, attrs, 2);
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

static qn_value pointwise(qn_graph *graph, const qn_nn_loss *loss, qn_value predictions,
                          qn_value targets, qn_value weights)
{
    static const char *const ops[] = {"MeanSquaredError", "MeanAbsoluteError", "Huber",
                                      "BceWithLogits"};
    qn_attr attr = QN_ATTR_F("delta", loss->delta > 0 ? loss->delta : 1);
    if (loss->kind == QN_NN_LOSS_BCE)
        attr = QN_ATTR_F("pos_weight", loss->pos_weight > 0 ? loss->pos_weight : 1);
    bool has_attr = loss->kind == QN_NN_LOSS_HUBER || loss->kind == QN_NN_LOSS_BCE;
    if (weights != QN_NONE) {
        qn_shape shape = qn_graph_type(graph, predictions)->shape;
        weights = spread_weights(graph, weights, &shape);
        if (weights == QN_NONE)
            return QN_NONE;
    }
    return qn_graph_node(graph, ops[loss->kind], (qn_value[]){predictions, targets, weights}, 3,
                         &attr, has_attr);
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
    if (predictions == QN_NONE || targets == QN_NONE || qn_graph_check(graph, NULL) != QN_OK)
        return QN_NONE;
    if (!check_types(graph, loss, predictions, targets))
        return QN_NONE;
    qn_graph_scope(graph, "loss");
    qn_value value = QN_NONE;
    if (loss->kind != QN_NN_LOSS_CE)
        value = pointwise(graph, loss, predictions, targets, weights);
    else if (weights != QN_NONE)
        qn_graph_fail(graph, QN_ERR_ARG,
                      "loss ce takes class weights or ignored labels, not weights of rows");
    else
        value = cross_entropy(graph, loss, predictions, targets);
    qn_graph_scope(graph, NULL);
    return value;
}
