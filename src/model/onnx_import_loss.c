/*
 * ONNX's losses, optimisers and gradients: those that training exporters put into a graph, as the formulas that define them.
 */
#include <math.h>
#include <string.h>

#include "model/onnx_import_priv.h"

static const char PREVIEW[] = "ai.onnx.preview.training";

/* --- losses --- */

/* x [N, C, ...] with the classes last. */
static qn_value classes_last(qn_onnx_call *call, qn_value x)
{
    qn_shape s = qn_onnx_type(call, x)->shape;
    return s.rank > 2 ? qn_onnx_to_last(call, x) : x;
}

/* Loss of log-probabilities with classes last: -w[t] x[t], summed or weighed as the attribute says. A label to be ignored
 * becomes one past the last, whose one-hot row is empty. */
static qn_value pick_loss(qn_onnx_call *call, qn_value x, int weight)
{
    qn_type type = *qn_onnx_type(call, x);
    int rank = type.shape.rank;
    const char *reduction = qn_onnx_attr_s(call, "reduction", "mean");
    qn_value target = qn_onnx_cast(call, qn_onnx_in(call, 1), QN_DTYPE_I64);
    if (call->status != QN_OK || rank < 1 || type.shape.dims[rank - 1] < 1)
        return qn_onnx_fail(call, QN_ERR_DATA, "expected scores [N, C, ...]");
    if (qn_onnx_attr_find(call, "ignore_index")) {
        double ignored = (double)qn_onnx_attr_i(call, "ignore_index", 0);
        qn_value equal =
            qn_onnx_emit2(call, "Equal", target, qn_onnx_scalar(call, QN_DTYPE_I64, ignored));
        qn_value none = qn_onnx_scalar(call, QN_DTYPE_I64, (double)type.shape.dims[rank - 1]);
        qn_value inputs[] = {equal, none, target};
        target = qn_onnx_emit(call, "Where", inputs, 3, NULL, 0);
    }
    qn_attr hot[] = {QN_ATTR_I("depth", type.shape.dims[rank - 1]),
                     QN_ATTR_S("dtype", qn_dtype_name(type.dtype))};
    qn_value chosen = qn_onnx_emit(call, "OneHot", &target, 1, hot, 2);
    if (qn_onnx_has(call, weight))
        chosen = qn_onnx_emit2(call, "Mul", chosen, qn_onnx_in(call, weight));
    int64_t axis = rank - 1;
    qn_attr sum[] = {qn_onnx_list("axes", &axis, 1), QN_ATTR_I("keepdims", 0)};
    qn_attr all = QN_ATTR_I("keepdims", 0);
    qn_value product = qn_onnx_emit2(call, "Mul", x, chosen);
    qn_value loss =
        qn_onnx_emit1(call, "Neg", qn_onnx_emit(call, "ReduceSum", &product, 1, sum, 2));
    if (strcmp(reduction, "none") == 0)
        return loss;
    loss = qn_onnx_emit(call, "ReduceSum", &loss, 1, &all, 1);
    if (strcmp(reduction, "sum") == 0)
        return loss;
    return qn_onnx_emit2(call, "Div", loss, qn_onnx_emit(call, "ReduceSum", &chosen, 1, &all, 1));
}

static void map_nll(qn_onnx_call *call)
{
    qn_onnx_out(call, 0, pick_loss(call, classes_last(call, qn_onnx_in(call, 0)), 2));
}

static void map_cross_entropy(qn_onnx_call *call)
{
    qn_attr axis = QN_ATTR_I("axis", -1);
    qn_value scores = qn_onnx_in(call, 0), x = classes_last(call, scores);
    bool turned = x != scores;
    x = qn_onnx_emit(call, "LogSoftmax", &x, 1, &axis, 1);
    qn_onnx_out(call, 0, pick_loss(call, x, 2));
    if (qn_onnx_wants(call, 1))
        qn_onnx_out(call, 1, turned ? qn_onnx_to_first(call, x) : x);
}

/* --- optimisers: inputs R, T, then for n tensors all weights, all gradients, all states --- */

static qn_value number(qn_onnx_call *call, qn_value like, double value)
{
    return qn_onnx_scalar(call, qn_onnx_type(call, like)->dtype, value);
}

static qn_value scaled(qn_onnx_call *call, qn_value x, double factor)
{
    return qn_onnx_emit2(call, "Mul", x, number(call, x, factor));
}

static qn_value add(qn_onnx_call *call, qn_value a, qn_value b)
{
    return qn_onnx_emit2(call, "Add", a, b);
}

static qn_value sub(qn_onnx_call *call, qn_value a, qn_value b)
{
    return qn_onnx_emit2(call, "Sub", a, b);
}

/* The gradient with the penalty's. */
static qn_value regularised(qn_onnx_call *call, qn_value weight, qn_value gradient)
{
    double norm = qn_onnx_attr_f(call, "norm_coefficient", 0);
    return norm != 0 ? add(call, gradient, scaled(call, weight, norm)) : gradient;
}

static bool read_step(qn_onnx_call *call, double *rate, double *step)
{
    return qn_onnx_const_number(call, 0, rate) && qn_onnx_const_number(call, 1, step);
}

static void map_adagrad(qn_onnx_call *call)
{
    double rate, step;
    int n = (call->node->inputs_count - 2) / 3;
    if (!read_step(call, &rate, &step))
        return;
    rate /= 1 + step * qn_onnx_attr_f(call, "decay_factor", 0);
    double epsilon = qn_onnx_attr_f(call, "epsilon", 1e-6);
    for (int i = 0; i < n; i++) {
        qn_value x = qn_onnx_in(call, 2 + i), h = qn_onnx_in(call, 2 + 2 * n + i);
        qn_value g = regularised(call, x, qn_onnx_in(call, 2 + n + i));
        h = add(call, h, qn_onnx_emit2(call, "Mul", g, g));
        qn_value size = qn_onnx_emit1(call, "Sqrt", h);
        size = add(call, size, number(call, size, epsilon));
        qn_onnx_out(call, i, sub(call, x, qn_onnx_emit2(call, "Div", scaled(call, g, rate), size)));
        qn_onnx_out(call, n + i, h);
    }
}

static void map_momentum(qn_onnx_call *call)
{
    double rate, step, alpha = qn_onnx_attr_f(call, "alpha", 0);
    int n = (call->node->inputs_count - 2) / 3;
    bool nesterov = strcmp(qn_onnx_attr_s(call, "mode", "standard"), "nesterov") == 0;
    if (!read_step(call, &rate, &step))
        return;
    double beta = step > 0 ? qn_onnx_attr_f(call, "beta", 1) : 1;
    for (int i = 0; i < n; i++) {
        qn_value x = qn_onnx_in(call, 2 + i), v = qn_onnx_in(call, 2 + 2 * n + i);
        qn_value g = regularised(call, x, qn_onnx_in(call, 2 + n + i));
        v = add(call, scaled(call, v, alpha), scaled(call, g, beta));
        qn_value move = nesterov ? add(call, g, scaled(call, v, alpha)) : v;
        qn_onnx_out(call, i, sub(call, x, scaled(call, move, rate)));
        qn_onnx_out(call, n + i, v);
    }
}

static void map_adam(qn_onnx_call *call)
{
    double rate, step, alpha = qn_onnx_attr_f(call, "alpha", 0.9),
                       beta = qn_onnx_attr_f(call, "beta", 0.999);
    double epsilon = qn_onnx_attr_f(call, "epsilon", 1e-6),
           post = qn_onnx_attr_f(call, "norm_coefficient_post", 0);
    int n = (call->node->inputs_count - 2) / 4;
    if (!read_step(call, &rate, &step))
        return;
    if (step > 0) {
        rate *= sqrt(1 - pow(beta, step)) / (1 - pow(alpha, step));
    }
    for (int i = 0; i < n; i++) {
        qn_value x = qn_onnx_in(call, 2 + i), v = qn_onnx_in(call, 2 + 2 * n + i),
                 h = qn_onnx_in(call, 2 + 3 * n + i);
        qn_value g = regularised(call, x, qn_onnx_in(call, 2 + n + i));
        v = add(call, scaled(call, v, alpha), scaled(call, g, 1 - alpha));
        h = add(call, scaled(call, h, beta),
                scaled(call, qn_onnx_emit2(call, "Mul", g, g), 1 - beta));
        qn_value size = qn_onnx_emit1(call, "Sqrt", h);
        size = add(call, size, number(call, size, epsilon));
        qn_value moved = sub(call, x, qn_onnx_emit2(call, "Div", scaled(call, v, rate), size));
        qn_onnx_out(call, i, post != 0 ? scaled(call, moved, 1 - post) : moved);
        qn_onnx_out(call, n + i, v);
        qn_onnx_out(call, 2 * n + i, h);
    }
}

/* --- gradients --- */

/* The form in which a value was made: what comes after hangs on that one. */
static qn_value made_as(const qn_onnx_value *value)
{
    bool last = value->plain == QN_NONE || (value->last != QN_NONE && value->last < value->plain);
    return last ? value->last : value->plain;
}

/* Where `y` is a sum of one element, itself. */
static qn_value sum_of(qn_onnx_call *call, qn_value y)
{
    qn_attr all = QN_ATTR_I("keepdims", 0);
    bool one = qn_onnx_type(call, y)->shape.rank == 0;
    return one ? y : qn_onnx_emit(call, "ReduceSum", &y, 1, &all, 1);
}

/* The values that "xs" and "zs" name are the node's inputs, one after the other: at others the graph would have to be
 * computed again. */
static const qn_onnx_value *find_variable(qn_onnx_call *call, const qn_onnx_attr *xs, int index)
{
    const qn_onnx_value *value = NULL;
    qn_tensor tensor;
    bool same = index < call->node->inputs_count &&
                strcmp(call->node->inputs[index], xs->strings[index]) == 0;
    if (same)
        value = qn_onnx_find(call->importer, xs->strings[index]);
    if (!value)
        qn_onnx_fail(call, QN_ERR_UNSUPPORTED,
                     "input %d is not the value '%.80s'; gradients are read at the values named",
                     index, xs->strings[index]);
    else if (qn_graph_const_read(call->graph, made_as(value), &tensor))
        qn_onnx_fail(call, QN_ERR_UNSUPPORTED,
                     "'%.80s' is a constant of the file; gradients are read to what inputs decide",
                     xs->strings[index]);
    return call->status == QN_OK ? value : NULL;
}

static void map_gradient(qn_onnx_call *call)
{
    enum { MANY = 64 };
    qn_value wrt[MANY], grads[MANY];
    const qn_onnx_attr *xs = qn_onnx_attr_find(call, "xs");
    const qn_onnx_value *y = qn_onnx_find(call->importer, qn_onnx_attr_s(call, "y", ""));
    bool named = xs && xs->kind == QN_ONNX_ATTR_STRINGS && xs->count >= 1 && xs->count <= MANY;
    if (!named || !y) {
        qn_onnx_fail(call, QN_ERR_DATA, "expected 1 to %d values in xs, and a value y", (int)MANY);
        return;
    }
    int count = (int)xs->count;
    for (int i = 0; i < count; i++) {
        const qn_onnx_value *x = find_variable(call, xs, i);
        if (!x)
            return;
        wrt[i] = made_as(x);
    }
    qn_value sum = sum_of(call, made_as(y));
    if (call->status == QN_OK)
        call->status = qn_graph_grad(call->graph, sum, wrt, count, grads, &call->err);
    for (int i = 0; i < count && call->status == QN_OK; i++) {
        const qn_onnx_value *x = qn_onnx_find(call->importer, xs->strings[i]);
        if (wrt[i] == x->last && wrt[i] != x->plain)
            qn_onnx_out_last(call, i, grads[i]);
        else
            qn_onnx_out(call, i, grads[i]);
    }
}

const qn_onnx_row qn_onnx_rows_loss[] = {
    {NULL, "NegativeLogLikelihoodLoss", 12, 0, map_nll, NULL, NULL, NULL},
    {NULL, "SoftmaxCrossEntropyLoss", 12, 0, map_cross_entropy, NULL, NULL, NULL},
    {PREVIEW, "Adagrad", 1, 0, map_adagrad, NULL, NULL, "rate and step are constants"},
    {PREVIEW, "Momentum", 1, 0, map_momentum, NULL, NULL, "rate and step are constants"},
    {PREVIEW, "Adam", 1, 0, map_adam, NULL, NULL, "rate and step are constants"},
    {PREVIEW, "Gradient", 1, 0, map_gradient, NULL, NULL, "at the values named, to no constants"},
    {0},
};
