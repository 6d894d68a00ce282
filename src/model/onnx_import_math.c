/*
 * ONNX operators that compute with numbers: elementwise ones, reductions, softmax, products of matrices, normalisations
 * over the last dimensions, losses.
 */
#include <float.h>
#include <string.h>

#include "model/onnx_import_priv.h"

/* Before opset 7 the second input is spread by the attribute `axis`: its first dimension stands there. */
static void map_binary(qn_onnx_call *call)
{
    int64_t axis = qn_onnx_attr_i(call, "axis", -1);
    if (call->version >= 7 || axis < 0) {
        qn_onnx_map_elementwise(call);
        return;
    }
    qn_value a = qn_onnx_in(call, 0), b = qn_onnx_in(call, 1);
    int rank = qn_onnx_type(call, a)->shape.rank;
    qn_shape shape = qn_onnx_type(call, b)->shape;
    if (axis + shape.rank > rank)
        qn_onnx_fail(call, QN_ERR_DATA, "axis %lld leaves no room for input 1", (long long)axis);
    while (call->status == QN_OK && axis + shape.rank < rank)
        shape.dims[shape.rank++] = 1;
    b = qn_onnx_reshape(call, b, &shape);
    qn_onnx_out(call, 0, qn_onnx_emit2(call, call->node->op, a, b));
}

/* Before opset 7 a vector of slopes belongs to the channels. */
static void map_prelu(qn_onnx_call *call)
{
    qn_shape slope = qn_onnx_type(call, qn_onnx_in(call, 1))->shape;
    if (call->version >= 7 || slope.rank != 1 || slope.dims[0] == 1) {
        qn_onnx_map_elementwise(call);
        return;
    }
    qn_value inputs[] = {qn_onnx_in(call, 0), qn_onnx_in(call, 1)};
    int rank = qn_onnx_type(call, inputs[0])->shape.rank;
    while (slope.rank < rank - 1)
        slope.dims[slope.rank++] = 1;
    inputs[1] = qn_onnx_reshape(call, inputs[1], &slope);
    qn_onnx_out(call, 0, qn_onnx_emit(call, "PRelu", inputs, 2, NULL, 0));
}

/* Bounds are attributes before opset 11, inputs from then on; an absent one is the end of the type. */
static void map_clip(qn_onnx_call *call)
{
    double low = qn_onnx_attr_f(call, "min", -FLT_MAX), high = qn_onnx_attr_f(call, "max", FLT_MAX);
    qn_tensor bound;
    bool constant = true;
    for (int i = 1; i <= 2; i++)
        if (qn_onnx_has(call, i)) {
            qn_value value = qn_onnx_in(call, i);
            if (call->status != QN_OK)
                return;
            constant = constant && qn_graph_const_read(call->graph, value, &bound);
            if (constant)
                *(i == 1 ? &low : &high) = qn_tensor_f64_at(&bound, 0);
        }
    bool last = qn_onnx_is_last(call, 0);
    qn_value x = last ? qn_onnx_in_last(call, 0) : qn_onnx_in(call, 0);
    qn_dtype dtype = qn_onnx_type(call, x)->dtype;
    if (constant && low <= high && qn_dtype_is_float(dtype)) {
        qn_attr attrs[] = {QN_ATTR_F("min", low), QN_ATTR_F("max", high)};
        x = qn_onnx_emit(call, "Clip", &x, 1, attrs, 2);
    } else {
        x = qn_onnx_has(call, 1) ? qn_onnx_emit2(call, "Max", x, qn_onnx_in(call, 1)) : x;
        x = qn_onnx_has(call, 2) ? qn_onnx_emit2(call, "Min", x, qn_onnx_in(call, 2)) : x;
    }
    if (last)
        qn_onnx_out_last(call, 0, x);
    else
        qn_onnx_out(call, 0, x);
}

/* The axes of a reduction: an attribute, later an input; none given means all, or none with noop_with_empty_axes. */
static int read_axes(qn_onnx_call *call, int64_t axes[QN_RANK_MAX], int rank)
{
    int count = qn_onnx_attr_ints(call, "axes", axes, QN_RANK_MAX);
    if (qn_onnx_has(call, 1) && !qn_onnx_const_ints(call, 1, axes, QN_RANK_MAX, &count))
        return 0;
    for (int i = 0; i < count; i++)
        axes[i] = qn_onnx_axis(call, axes[i], rank, false);
    if (count == 0 && qn_onnx_attr_i(call, "noop_with_empty_axes", 0) == 0)
        for (; count < rank; count++)
            axes[count] = count;
    return count;
}

static qn_value reduce(qn_onnx_call *call, const char *op, qn_value x, const int64_t *axes,
                       int count, int64_t keep)
{
    if (count == 0) /* an empty list means all axes to our rows */
        return x;
    qn_attr attrs[] = {qn_onnx_list("axes", axes, count), QN_ATTR_I("keepdims", keep)};
    return qn_onnx_emit(call, op, &x, 1, attrs, 2);
}

static void map_reduce(qn_onnx_call *call)
{
    int64_t axes[QN_RANK_MAX];
    const char *op = call->node->op;
    qn_value x = qn_onnx_in(call, 0);
    int rank = qn_onnx_type(call, x)->shape.rank;
    int count = read_axes(call, axes, rank);
    int64_t keep = qn_onnx_attr_i(call, "keepdims", 1);
    if (strcmp(op, "ReduceSumSquare") == 0 || strcmp(op, "ReduceL2") == 0)
        x = qn_onnx_emit2(call, "Mul", x, x);
    else if (strcmp(op, "ReduceL1") == 0)
        x = qn_onnx_emit1(call, "Abs", x);
    bool sums = strcmp(op, "ReduceMean") != 0 && strcmp(op, "ReduceMax") != 0 &&
                strcmp(op, "ReduceMin") != 0 && strcmp(op, "ReduceProd") != 0 &&
                strcmp(op, "ReduceLogSumExp") != 0;
    x = reduce(call, sums ? "ReduceSum" : op, x, axes, count, keep);
    if (strcmp(op, "ReduceL2") == 0)
        x = qn_onnx_emit1(call, "Sqrt", x);
    else if (strcmp(op, "ReduceLogSum") == 0)
        x = qn_onnx_emit1(call, "Log", x);
    qn_onnx_out(call, 0, x);
}

/* The middle axes of a channels-last image, so that global pooling written as a mean stays in the layout. */
static void map_mean(qn_onnx_call *call)
{
    int64_t axes[QN_RANK_MAX];
    if (!qn_onnx_is_last(call, 0)) {
        map_reduce(call);
        return;
    }
    qn_value x = qn_onnx_in_last(call, 0);
    int rank = qn_onnx_type(call, x)->shape.rank, count = read_axes(call, axes, rank);
    int64_t keep = qn_onnx_attr_i(call, "keepdims", 1);
    bool spatial = count == rank - 2;
    for (int i = 0; i < count; i++)
        spatial = spatial && axes[i] >= 2;
    if (!spatial) {
        map_reduce(call);
        return;
    }
    for (int i = 0; i < count; i++)
        axes[i]--;
    x = reduce(call, "ReduceMean", x, axes, count, keep);
    if (keep)
        qn_onnx_out_last(call, 0, x);
    else
        qn_onnx_out(call, 0, x);
}

static void map_arg(qn_onnx_call *call)
{
    qn_value x = qn_onnx_in(call, 0);
    int rank = qn_onnx_type(call, x)->shape.rank;
    int axis = qn_onnx_axis(call, qn_onnx_attr_i(call, "axis", 0), rank, false);
    bool last = qn_onnx_attr_i(call, "select_last_index", 0) != 0;
    qn_attr attrs[] = {QN_ATTR_I("axis", axis),
                       QN_ATTR_I("keepdims", qn_onnx_attr_i(call, "keepdims", 1)),
                       QN_ATTR_I("select_last_index", 1)};
    qn_onnx_out(call, 0, qn_onnx_emit(call, call->node->op, &x, 1, attrs, last ? 3 : 2));
}

/* Before opset 13 everything from `axis` on is one dimension. */
static void map_softmax(qn_onnx_call *call)
{
    bool old = call->version < 13;
    qn_value x = qn_onnx_in(call, 0);
    qn_shape shape = qn_onnx_type(call, x)->shape;
    int axis = qn_onnx_axis(call, qn_onnx_attr_i(call, "axis", old ? 1 : -1), shape.rank, old);
    qn_attr attr = QN_ATTR_I("axis", axis);
    if (!old || axis == shape.rank - 1) {
        qn_onnx_out(call, 0, qn_onnx_emit(call, call->node->op, &x, 1, &attr, 1));
        return;
    }
    x = qn_onnx_emit(call, "Flatten", &x, 1, &attr, 1);
    attr.i = 1;
    x = qn_onnx_emit(call, call->node->op, &x, 1, &attr, 1);
    qn_onnx_out(call, 0, qn_onnx_reshape(call, x, &shape));
}

/* 1 where the first greatest element along the axis stands. */
static void map_hardmax(qn_onnx_call *call)
{
    bool old = call->version < 13;
    qn_value x = qn_onnx_in(call, 0);
    qn_type type = *qn_onnx_type(call, x);
    int axis = qn_onnx_axis(call, qn_onnx_attr_i(call, "axis", old ? 1 : -1), type.shape.rank, old);
    if (old) {
        qn_attr attr = QN_ATTR_I("axis", axis);
        x = qn_onnx_emit(call, "Flatten", &x, 1, &attr, 1);
        axis = 1;
    }
    qn_shape flat = qn_onnx_type(call, x)->shape;
    int64_t size = flat.dims[axis];
    if (size < 0 || flat.rank > QN_RANK_MAX - 1) {
        qn_onnx_fail(call, QN_ERR_UNSUPPORTED, "the axis has an open size");
        return;
    }
    qn_attr find[] = {QN_ATTR_I("axis", axis), QN_ATTR_I("keepdims", 1)};
    qn_value best = qn_onnx_emit(call, "ArgMax", &x, 1, find, 2);
    qn_shape line = {.rank = flat.rank};
    for (int i = 0; i < flat.rank; i++)
        line.dims[i] = i == axis ? size : 1;
    int64_t *places = qn_onnx_numbers(call, size, sizeof(int64_t));
    if (!places)
        return;
    for (int64_t i = 0; i < size; i++)
        places[i] = i;
    qn_tensor tensor = qn_tensor_of(places, QN_DTYPE_I64, line);
    qn_value equal = qn_onnx_emit2(call, "Equal", best, qn_onnx_constant(call, &tensor));
    qn_onnx_out(call, 0, qn_onnx_reshape(call, qn_onnx_cast(call, equal, type.dtype), &type.shape));
}

/* A vector counts as a matrix of one row or one column, which then goes again. */
static void map_matmul(qn_onnx_call *call)
{
    qn_value a = qn_onnx_in(call, 0), b = qn_onnx_in(call, 1);
    qn_shape sa = qn_onnx_type(call, a)->shape, sb = qn_onnx_type(call, b)->shape;
    bool row = sa.rank == 1, column = sb.rank == 1;
    if (row)
        a = qn_onnx_reshape(call, a, &QN_SHAPE(1, sa.dims[0]));
    if (column)
        b = qn_onnx_reshape(call, b, &QN_SHAPE(sb.dims[0], 1));
    qn_value y = qn_onnx_emit2(call, "MatMul", a, b);
    qn_shape shape = qn_onnx_type(call, y)->shape;
    if (column && shape.rank > 0)
        shape.rank--;
    if (row && shape.rank > 0) {
        if (!column)
            shape.dims[shape.rank - 2] = shape.dims[shape.rank - 1];
        shape.rank--;
    }
    qn_onnx_out(call, 0, qn_onnx_reshape(call, y, &shape));
}

/* The bias of our row is one row; any other shape is added behind. */
static void map_gemm(qn_onnx_call *call)
{
    qn_value inputs[3] = {qn_onnx_in(call, 0), qn_onnx_in(call, 1), QN_NONE};
    double beta = qn_onnx_attr_f(call, "beta", 1);
    qn_attr attrs[] = {QN_ATTR_I("transA", qn_onnx_attr_i(call, "transA", 0) != 0),
                       QN_ATTR_I("transB", qn_onnx_attr_i(call, "transB", 0) != 0),
                       QN_ATTR_F("alpha", qn_onnx_attr_f(call, "alpha", 1)),
                       QN_ATTR_F("beta", beta)};
    qn_value c = qn_onnx_has(call, 2) ? qn_onnx_in(call, 2) : QN_NONE;
    qn_type product = *qn_onnx_type(call, inputs[1]), bias = *qn_onnx_type(call, c);
    int64_t columns = product.shape.dims[attrs[1].i ? 0 : 1];
    bool fits = c != QN_NONE && bias.shape.rank == 1 && bias.shape.dims[0] == columns;
    if (fits)
        inputs[2] = c;
    qn_value y = qn_onnx_emit(call, "Gemm", inputs, fits ? 3 : 2, attrs, 4);
    if (c != QN_NONE && !fits) {
        if (beta != 1)
            c = qn_onnx_emit2(call, "Mul", c, qn_onnx_scalar(call, bias.dtype, beta));
        y = qn_onnx_emit2(call, "Add", y, c);
    }
    qn_onnx_out(call, 0, y);
}

static void map_swiglu(qn_onnx_call *call)
{
    qn_attr alpha = QN_ATTR_F("alpha", qn_onnx_attr_f(call, "alpha", 1));
    qn_value gate = qn_onnx_in(call, 0);
    gate = qn_onnx_emit(call, "Swish", &gate, 1, &alpha, 1);
    qn_onnx_out(call, 0, qn_onnx_emit2(call, "Mul", gate, qn_onnx_in(call, 1)));
}

/* Layer, RMS: scale and shift over the normalised dimensions; the saved statistics have ones there. */
static void map_layer_norm(qn_onnx_call *call)
{
    bool rms = strcmp(call->node->op, "RMSNormalization") == 0;
    qn_value inputs[3] = {qn_onnx_in(call, 0), qn_onnx_in(call, 1), QN_NONE}, outputs[3];
    qn_type type = *qn_onnx_type(call, inputs[0]);
    int axis = qn_onnx_axis(call, qn_onnx_attr_i(call, "axis", -1), type.shape.rank, false);
    qn_attr attrs[] = {QN_ATTR_I("axis", axis),
                       QN_ATTR_F("epsilon", qn_onnx_attr_f(call, "epsilon", 1e-5))};
    if (!rms && qn_onnx_has(call, 2))
        inputs[2] = qn_onnx_in(call, 2);
    qn_shape part = {.rank = type.shape.rank - axis};
    for (int i = 0; i < part.rank; i++)
        part.dims[i] = type.shape.dims[axis + i];
    for (int i = 1; i < 3; i++)
        if (inputs[i] != QN_NONE && !qn_shape_equal(&qn_onnx_type(call, inputs[i])->shape, &part)) {
            qn_attr to = qn_onnx_list("shape", part.dims, part.rank);
            inputs[i] = qn_onnx_emit(call, "Expand", &inputs[i], 1, &to, 1);
        }
    int count = inputs[2] != QN_NONE ? 3 : 2;
    qn_onnx_emit_many(call, call->node->op, inputs, count, attrs, 2, outputs, rms ? 2 : 3);
    qn_onnx_out(call, 0, outputs[0]);
    qn_shape kept = type.shape;
    for (int i = axis; i < kept.rank; i++)
        kept.dims[i] = 1;
    for (int i = 1; i < (rms ? 2 : 3); i++)
        if (qn_onnx_wants(call, i))
            qn_onnx_out(call, i, qn_onnx_reshape(call, outputs[i], &kept));
}

/* y = x / |x|_p along an axis; 0 where the norm is 0. */
static void map_lp_norm(qn_onnx_call *call)
{
    qn_value x = qn_onnx_in(call, 0);
    qn_type type = *qn_onnx_type(call, x);
    int64_t axis = qn_onnx_axis(call, qn_onnx_attr_i(call, "axis", -1), type.shape.rank, false);
    bool two = qn_onnx_attr_i(call, "p", 2) == 2;
    qn_value size = two ? qn_onnx_emit2(call, "Mul", x, x) : qn_onnx_emit1(call, "Abs", x);
    size = reduce(call, "ReduceSum", size, &axis, 1, 1);
    if (two)
        size = qn_onnx_emit1(call, "Sqrt", size);
    qn_value zero = qn_onnx_scalar(call, type.dtype, 0), one = qn_onnx_scalar(call, type.dtype, 1);
    qn_value empty = qn_onnx_emit2(call, "Equal", size, zero);
    qn_value safe = qn_onnx_emit(call, "Where", (qn_value[]){empty, one, size}, 3, NULL, 0);
    qn_onnx_out(call, 0, qn_onnx_emit2(call, "Div", x, safe));
}

#define EACH(name)                                                                                 \
    {                                                                                              \
        NULL, name, 1, 0, qn_onnx_map_elementwise, NULL, "broadcast axis", NULL                    \
    }
#define BINARY(name)                                                                               \
    {                                                                                              \
        NULL, name, 1, 0, map_binary, NULL, "broadcast axis", NULL                                 \
    }
#define REDUCE(name)                                                                               \
    {                                                                                              \
        NULL, name, 1, 0, map_reduce, NULL, NULL, NULL                                             \
    }

/* No operator of ONNX, but what tf2onnx writes for Keras' gelu. */
static void map_erfc(qn_onnx_call *call)
{
    qn_value x = qn_onnx_emit1(call, "Erf", qn_onnx_in(call, 0));
    qn_value one = qn_onnx_scalar(call, qn_onnx_type(call, x)->dtype, 1);
    qn_onnx_out(call, 0, qn_onnx_emit2(call, "Sub", one, x));
}

const qn_onnx_row qn_onnx_rows_math[] = {
    BINARY("Add"),
    BINARY("Sub"),
    BINARY("Mul"),
    BINARY("Div"),
    BINARY("Pow"),
    BINARY("Equal"),
    BINARY("Less"),
    BINARY("Greater"),
    BINARY("And"),
    BINARY("Or"),
    BINARY("Xor"),
    QN_ONNX_ROW("PRelu", 1, map_prelu),
    EACH("Mod"),
    EACH("Min"),
    EACH("Max"),
    EACH("Sum"),
    EACH("Mean"),
    EACH("LessOrEqual"),
    EACH("GreaterOrEqual"),
    EACH("BitwiseAnd"),
    EACH("BitwiseOr"),
    EACH("BitwiseXor"),
    EACH("BitShift"),
    EACH("Where"),
    EACH("Neg"),
    EACH("Abs"),
    EACH("Exp"),
    EACH("Log"),
    EACH("Sqrt"),
    EACH("Reciprocal"),
    EACH("Erf"),
    QN_ONNX_NOTED("Erfc", 1, map_erfc, "no operator of ONNX; tf2onnx writes it for Keras' gelu"),
    EACH("Sin"),
    EACH("Cos"),
    EACH("Tan"),
    EACH("Asin"),
    EACH("Acos"),
    EACH("Atan"),
    EACH("Sinh"),
    EACH("Cosh"),
    EACH("Asinh"),
    EACH("Acosh"),
    EACH("Atanh"),
    EACH("Sign"),
    EACH("Floor"),
    EACH("Ceil"),
    EACH("Round"),
    EACH("IsNaN"),
    EACH("IsInf"),
    EACH("Not"),
    EACH("BitwiseNot"),
    EACH("Relu"),
    EACH("LeakyRelu"),
    EACH("Sigmoid"),
    EACH("Tanh"),
    EACH("Gelu"),
    EACH("Swish"),
    EACH("HardSigmoid"),
    EACH("HardSwish"),
    EACH("Elu"),
    EACH("Selu"),
    EACH("Celu"),
    EACH("Softplus"),
    EACH("Softsign"),
    EACH("ThresholdedRelu"),
    EACH("Mish"),
    EACH("Shrink"),
    QN_ONNX_ROW("Clip", 6, map_clip),
    REDUCE("ReduceSum"),
    QN_ONNX_ROW("ReduceMean", 1, map_mean),
    REDUCE("ReduceMax"),
    REDUCE("ReduceMin"),
    REDUCE("ReduceProd"),
    REDUCE("ReduceLogSumExp"),
    REDUCE("ReduceLogSum"),
    REDUCE("ReduceSumSquare"),
    REDUCE("ReduceL1"),
    REDUCE("ReduceL2"),
    QN_ONNX_ROW("ArgMax", 1, map_arg),
    QN_ONNX_ROW("ArgMin", 1, map_arg),
    QN_ONNX_ROW("Softmax", 1, map_softmax),
    QN_ONNX_ROW("LogSoftmax", 1, map_softmax),
    QN_ONNX_ROW("Hardmax", 1, map_hardmax),
    QN_ONNX_ROW("MatMul", 1, map_matmul),
    QN_ONNX_ROW("Gemm", 6, map_gemm),
    QN_ONNX_ROW("SwiGLU", 28, map_swiglu),
    QN_ONNX_ROW("LayerNormalization", 17, map_layer_norm),
    QN_ONNX_ROW("RMSNormalization", 23, map_layer_norm),
    QN_ONNX_ROW("LpNormalization", 1, map_lp_norm),
    {0},
};
