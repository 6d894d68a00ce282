/*
 * What the family files share (common.h): checks of infer, broadcast walking, pieces of gradients
 * and fused activations.
 */
#include "graph/op/common.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

qn_status qn_op_ints(const qn_op_types *types, const char *name, int count, int64_t fallback,
                     int64_t *ret, qn_error *err)
{
    int given = 0;
    const int64_t *ints = qn_op_attr_ints(types, name, &given);
    if (given != 0 && given != count)
        QN_FAIL(err, QN_ERR_ARG, "'%s' has %d numbers, expected %d", name, given, count);
    for (int i = 0; i < count; i++)
        ret[i] = given ? ints[i] : fallback;
    return QN_OK;
}

static qn_status place_axis(int64_t axis, int rank, int *ret, qn_error *err)
{
    if (axis < -rank || axis >= rank)
        QN_FAIL(err, QN_ERR_ARG, "axis %lld is outside a tensor of %d dimensions", (long long)axis,
                rank);
    *ret = (int)(axis < 0 ? axis + rank : axis);
    return QN_OK;
}

qn_status qn_op_axes(const qn_op_types *types, const char *name, int rank,
                     bool ret_axes[QN_RANK_MAX], qn_error *err)
{
    int count = 0;
    const int64_t *axes = qn_op_attr_ints(types, name, &count);
    for (int i = 0; i < QN_RANK_MAX; i++)
        ret_axes[i] = count == 0 && i < rank;
    for (int i = 0; i < count; i++) {
        int axis = 0;
        QN_TRY(place_axis(axes[i], rank, &axis, err));
        if (ret_axes[axis])
            QN_FAIL(err, QN_ERR_ARG, "axis %d is named twice", axis);
        ret_axes[axis] = true;
    }
    return QN_OK;
}

qn_status qn_op_axis(const qn_op_types *types, int rank, int *ret, qn_error *err)
{
    return place_axis(qn_op_attr_i(types, "axis"), rank, ret, err);
}

int qn_op_axis_of(const qn_op_types *types, int rank)
{
    int64_t axis = qn_op_attr_i(types, "axis");
    return (int)(axis < 0 ? axis + rank : axis);
}

bool qn_op_has(const qn_op_types *types, int input)
{
    return input < types->inputs_count && types->inputs[input].shape.rank >= 0;
}

bool qn_op_vjp_wants(const qn_op_vjp *in, int input)
{
    return qn_op_has(in->types, input) && qn_dtype_is_float(in->types->inputs[input].dtype);
}

qn_status qn_op_want_float(const qn_op_types *types, int input, qn_error *err)
{
    qn_dtype dtype = types->inputs[input].dtype;
    if (dtype != QN_DTYPE_F32 && dtype != QN_DTYPE_F64)
        QN_FAIL(err, QN_ERR_ARG, "input %d is %s, expected f32 or f64", input,
                qn_dtype_name(dtype));
    return QN_OK;
}

static int kind_of(qn_dtype dtype)
{
    switch (dtype) {
    case QN_DTYPE_I64:
    case QN_DTYPE_I32:
    case QN_DTYPE_I16:
    case QN_DTYPE_I8:
        return OP_KIND_SIGNED;
    case QN_DTYPE_BOOL:
        return OP_KIND_BOOL;
    default:
        return qn_dtype_is_float(dtype) ? OP_KIND_FLOAT : OP_KIND_UNSIGNED;
    }
}

qn_status qn_op_want_kind(const qn_op_types *types, int input, int kinds, qn_error *err)
{
    static const char *const words[] = {"a float", "a signed integer", "an unsigned integer",
                                        "a bool"};
    qn_dtype dtype = types->inputs[input].dtype;
    char text[96] = "";
    if (kind_of(dtype) & kinds)
        return QN_OK;
    for (int i = 0; i < 4; i++)
        if (kinds & 1 << i) {
            size_t used = strlen(text);
            snprintf(text + used, sizeof text - used, "%s%s", used ? " or " : "", words[i]);
        }
    QN_FAIL(err, QN_ERR_ARG, "input %d is %s, expected %s", input, qn_dtype_name(dtype), text);
}

qn_status qn_op_want_index(const qn_op_types *types, int input, qn_error *err)
{
    qn_dtype dtype = types->inputs[input].dtype;
    if (dtype != QN_DTYPE_I64 && dtype != QN_DTYPE_I32)
        QN_FAIL(err, QN_ERR_ARG, "input %d is %s, expected i64 or i32", input,
                qn_dtype_name(dtype));
    return QN_OK;
}

qn_status qn_op_broadcast_all(const qn_op_types *types, qn_shape *ret, qn_error *err)
{
    qn_shape shape = types->inputs[0].shape;
    for (int i = 1; i < types->inputs_count; i++)
        QN_TRY(qn_shape_broadcast(&shape, &types->inputs[i].shape, &shape, err));
    *ret = shape;
    return QN_OK;
}

qn_status qn_op_want_dtype(const qn_op_types *types, int input, qn_dtype dtype, qn_error *err)
{
    if (types->inputs[input].dtype != dtype)
        QN_FAIL(err, QN_ERR_ARG, "input %d is %s, expected %s", input,
                qn_dtype_name(types->inputs[input].dtype), qn_dtype_name(dtype));
    return QN_OK;
}

qn_status qn_op_want_rank(const qn_op_types *types, int input, int rank, qn_error *err)
{
    char text[128];
    if (types->inputs[input].shape.rank != rank)
        QN_FAIL(err, QN_ERR_ARG, "input %d is %s, expected %d dimensions", input,
                qn_shape_text(&types->inputs[input].shape, text), rank);
    return QN_OK;
}

qn_status qn_op_want_shape(const qn_op_types *types, int input, const qn_shape *shape,
                           qn_error *err)
{
    char came[128], want[128];
    if (!qn_shape_equal(&types->inputs[input].shape, shape))
        QN_FAIL(err, QN_ERR_ARG, "input %d is %s, expected %s", input,
                qn_shape_text(&types->inputs[input].shape, came), qn_shape_text(shape, want));
    return QN_OK;
}

qn_status qn_op_want_like(const qn_op_types *types, int input, int like, qn_error *err)
{
    QN_TRY(qn_op_want_dtype(types, input, types->inputs[like].dtype, err));
    return qn_op_want_shape(types, input, &types->inputs[like].shape, err);
}

qn_status qn_op_want_scalar(const qn_op_types *types, int input, qn_dtype dtype, qn_error *err)
{
    QN_TRY(qn_op_want_dtype(types, input, dtype, err));
    return qn_op_want_rank(types, input, 0, err);
}

qn_status qn_op_infer_same(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    QN_TRY(qn_op_want_float(types, 0, err));
    for (int i = 1; i < types->inputs_count; i++)
        QN_TRY(qn_op_want_like(types, i, 0, err));
    for (int i = 0; i < types->outputs_count; i++)
        ret_outputs[i] = types->inputs[0];
    return QN_OK;
}

void qn_op_strides(const qn_shape *shape, const qn_shape *as, int64_t strides[QN_RANK_MAX])
{
    int64_t step = 1;
    for (int d = as->rank - 1; d >= 0; d--) {
        int own = d - (as->rank - shape->rank);
        strides[d] = own >= 0 && shape->dims[own] != 1 ? step : 0;
        if (own >= 0)
            step *= shape->dims[own];
    }
}

int64_t qn_op_offset(const qn_shape *shape, const int64_t *strides, int64_t flat)
{
    int64_t offset = 0;
    for (int d = shape->rank - 1; d >= 0; d--) {
        offset += flat % shape->dims[d] * strides[d];
        flat /= shape->dims[d];
    }
    return offset;
}

qn_op_lines qn_op_lines_of(const qn_shape *shape, int axis)
{
    qn_op_lines lines = {1, 1, 1};
    for (int d = 0; d < shape->rank; d++)
        *(d < axis ? &lines.outer : d > axis ? &lines.inner : &lines.count) *= shape->dims[d];
    return lines;
}

int64_t qn_op_line_at(const qn_op_lines *lines, int64_t line)
{
    return line / lines->inner * lines->count * lines->inner + line % lines->inner;
}

qn_dtype qn_op_vjp_dtype(const qn_op_vjp *in, int input)
{
    return in->types->inputs[input].dtype;
}

qn_value qn_op_scale(const qn_op_vjp *in, qn_value x, double factor)
{
    return qn_graph_op2(in->graph, "Mul", x,
                        qn_graph_scalar(in->graph, qn_op_vjp_dtype(in, 0), factor));
}

qn_value qn_op_shift(const qn_op_vjp *in, qn_value x, double term)
{
    return qn_graph_op2(in->graph, "Add", x,
                        qn_graph_scalar(in->graph, qn_op_vjp_dtype(in, 0), term));
}

qn_value qn_op_mul(const qn_op_vjp *in, qn_value a, qn_value b)
{
    return qn_graph_op2(in->graph, "Mul", a, b);
}

qn_value qn_op_div(const qn_op_vjp *in, qn_value a, qn_value b)
{
    return qn_graph_op2(in->graph, "Div", a, b);
}

qn_value qn_op_pick(const qn_op_vjp *in, qn_value condition, qn_value yes, qn_value no)
{
    return qn_graph_node(in->graph, "Where", (qn_value[]){condition, yes, no}, 3, NULL, 0);
}

static qn_value reduce_sum(qn_graph *graph, qn_value x, const int64_t *axes, int count, bool keep)
{
    if (count == 0)
        return x;
    qn_attr attrs[2] = {{.name = "axes", .kind = QN_ATTR_INTS, .count = count},
                        QN_ATTR_I("keepdims", keep)};
    memcpy(attrs[0].ints, axes, (size_t)count * sizeof(*axes));
    return qn_graph_node(graph, "ReduceSum", &x, 1, attrs, 2);
}

qn_value qn_op_reduce_to(qn_graph *graph, qn_value grad, const qn_type *target)
{
    if (grad == QN_NONE)
        return QN_NONE;
    qn_shape from = qn_graph_type(graph, grad)->shape;
    int extra = from.rank - target->shape.rank;
    int64_t leading[QN_RANK_MAX], ones[QN_RANK_MAX];
    int ones_count = 0;
    for (int d = 0; d < extra; d++)
        leading[d] = d;
    for (int d = extra; d < from.rank; d++)
        if (target->shape.dims[d - extra] == 1 && from.dims[d] != 1)
            ones[ones_count++] = d;
    grad = reduce_sum(graph, grad, ones, ones_count, true);
    return reduce_sum(graph, grad, leading, extra, false);
}

qn_value qn_op_expand(qn_graph *graph, qn_value x, const qn_shape *shape)
{
    if (x != QN_NONE && qn_shape_equal(&qn_graph_type(graph, x)->shape, shape))
        return x;
    qn_attr attr = {.name = "shape", .kind = QN_ATTR_INTS, .count = shape->rank};
    memcpy(attr.ints, shape->dims, sizeof(attr.ints));
    return qn_graph_node(graph, "Expand", &x, 1, &attr, 1);
}

qn_value qn_op_slice(qn_graph *graph, qn_value x, int axis, int64_t start, int64_t end)
{
    qn_attr attrs[] = {
        {.name = "starts", .kind = QN_ATTR_INTS, .count = 1, .ints = {start}},
        {.name = "ends", .kind = QN_ATTR_INTS, .count = 1, .ints = {end}},
        {.name = "axes", .kind = QN_ATTR_INTS, .count = 1, .ints = {axis}},
    };
    return qn_graph_node(graph, "Slice", &x, 1, OP_NODE_ATTRS(attrs));
}

static int attrs_count(const qn_op *op)
{
    int count = 0;
    while (op->attrs && op->attrs[count].name)
        count++;
    return count;
}

qn_value qn_op_like_node(const qn_op_vjp *in, const char *op, const qn_value *inputs, int count)
{
    return qn_graph_node(in->graph, op, inputs, count, in->types->attrs,
                         attrs_count(in->types->op));
}

double qn_op_activate(const char *activation, double slope, double x)
{
    if (strcmp(activation, "relu") == 0)
        return x > 0 || isnan(x) ? x : 0;
    if (strcmp(activation, "leaky_relu") == 0)
        return x > 0 ? x : slope * x;
    if (strcmp(activation, "sigmoid") == 0)
        return x >= 0 ? 1 / (1 + exp(-x)) : exp(x) / (1 + exp(x));
    if (strcmp(activation, "tanh") == 0)
        return tanh(x);
    if (strcmp(activation, "gelu") == 0)
        return 0.5 * x * (1 + erf(x * M_SQRT1_2));
    if (strcmp(activation, "gelu_tanh") == 0)
        return 0.5 * x * (1 + tanh(0.5 * M_2_SQRTPI * M_SQRT2 * (x + 0.044715 * x * x * x)));
    if (strcmp(activation, "silu") == 0)
        return x / (1 + exp(-x));
    return x;
}

/* The node again with activation "none": the input of the fused activation. */
static qn_value before_activation(const qn_op_vjp *in)
{
    qn_attr attrs[QN_OP_ATTRS_MAX];
    int count = attrs_count(in->types->op);
    memcpy(attrs, in->types->attrs, (size_t)count * sizeof(*attrs));
    for (int i = 0; i < count; i++)
        if (strcmp(in->types->op->attrs[i].name, "activation") == 0)
            attrs[i].s = "none";
    return qn_graph_node(in->graph, in->types->op->name, in->inputs, in->types->inputs_count, attrs,
                         count);
}

qn_value qn_op_activation_vjp(const qn_op_vjp *in)
{
    const char *activation = qn_op_attr_s(in->types, "activation");
    qn_graph *graph = in->graph;
    qn_value dy = in->grads[0], y = in->outputs[0];
    if (strcmp(activation, "none") == 0)
        return dy;
    if (strcmp(activation, "relu") == 0)
        return qn_graph_op2(graph, "ReluGrad", dy, y);
    if (strcmp(activation, "sigmoid") == 0)
        return qn_graph_op2(graph, "SigmoidGrad", dy, y);
    if (strcmp(activation, "tanh") == 0)
        return qn_graph_op2(graph, "TanhGrad", dy, y);
    qn_value x = before_activation(in);
    if (strcmp(activation, "silu") == 0)
        return qn_graph_op2(graph, "SiluGrad", dy, x);
    qn_attr attr = QN_ATTR_F("alpha", 0);
    if (strcmp(activation, "leaky_relu") == 0)
        attr.f = qn_op_attr_f(in->types, "slope");
    else
        attr = QN_ATTR_S("approximate", strcmp(activation, "gelu") == 0 ? "none" : "tanh");
    const char *op = strcmp(activation, "leaky_relu") == 0 ? "LeakyReluGrad" : "GeluGrad";
    return qn_graph_node(graph, op, (qn_value[]){dy, x}, 2, &attr, 1);
}

qn_shape qn_op_attr_shape(const qn_op_types *types)
{
    qn_shape shape = {0};
    const int64_t *dims = qn_op_attr_ints(types, "shape", &shape.rank);
    memcpy(shape.dims, dims, sizeof(shape.dims));
    return shape;
}
