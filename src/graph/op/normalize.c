/*
 * Lines and images brought to one scale: LpNormalization and MeanVarianceNormalization. The layers
 * with trained scales are in layer_norm.c and norm.c. Gradients are built from reductions.
 */
#include "graph/op/common.h"
#include "graph/op/number.h"

#include <math.h>
#include <string.h>

/* Beside the deviation, as ONNX's own definition has it. */
#define MVN_EPSILON 1e-9
#define ROOT_LEAST  1e-30 /* where all numbers are alike y is 0, and so is what it is divided by */

static qn_status lp_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    int axis = 0;
    QN_TRY(qn_op_want_kind(types, 0, OP_KIND_FLOAT, err));
    QN_TRY(qn_op_axis(types, types->inputs[0].shape.rank, &axis, err));
    ret_outputs[0] = types->inputs[0];
    return QN_OK;
}

/* A line of zeros stays. */
static void lp_ref(const qn_op_run *run)
{
    const qn_tensor *x = &run->inputs[0];
    qn_op_lines lines = qn_op_lines_of(&x->shape, qn_op_axis_of(run->types, x->shape.rank));
    bool squares = qn_op_attr_i(run->types, "p") == 2;
    for (int64_t line = 0; line < lines.outer * lines.inner; line++) {
        int64_t at = qn_op_line_at(&lines, line), end = at + lines.count * lines.inner;
        double sum = 0;
        for (int64_t i = at; i < end; i += lines.inner) {
            double value = qn_op_get(x, i);
            sum += squares ? value * value : fabs(value);
        }
        double norm = squares ? sqrt(sum) : sum;
        for (int64_t i = at; i < end; i += lines.inner)
            qn_op_put(&run->outputs[0], i, norm > 0 || isnan(norm) ? qn_op_get(x, i) / norm : 0);
    }
}

static qn_value reduce(const qn_op_vjp *in, const char *op, qn_value x, const qn_attr *axes)
{
    return qn_graph_node(in->graph, op, &x, 1, axes, 1);
}

/* (dy - y sum(dy y)) / norm, and with p = 1 the sign of x in place of y. */
static void lp_vjp(const qn_op_vjp *in, qn_value *ret)
{
    bool squares = qn_op_attr_i(in->types, "p") == 2;
    qn_attr axes = {.name = "axes", .kind = QN_ATTR_INTS, .count = 1};
    axes.ints[0] = qn_op_attr_i(in->types, "axis");
    qn_value x = in->inputs[0], y = in->outputs[0], dy = in->grads[0];
    qn_value norm = reduce(in, squares ? "ReduceL2" : "ReduceL1", x, &axes);
    qn_value zero = qn_graph_scalar(in->graph, qn_op_vjp_dtype(in, 0), 0);
    qn_value sum = reduce(in, "ReduceSum", qn_op_mul(in, dy, y), &axes);
    qn_value along = squares ? y : qn_graph_op1(in->graph, "Sign", x);
    qn_value rest = qn_graph_op2(in->graph, "Sub", dy, qn_op_mul(in, along, sum));
    qn_value none = qn_graph_op2(in->graph, "Equal", norm, zero);
    ret[0] = qn_op_pick(in, none, zero, qn_op_div(in, rest, norm));
}

static qn_status mvn_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    bool axes[QN_RANK_MAX];
    QN_TRY(qn_op_want_kind(types, 0, OP_KIND_FLOAT, err));
    QN_TRY(qn_op_axes(types, "axes", types->inputs[0].shape.rank, axes, err));
    ret_outputs[0] = types->inputs[0];
    return QN_OK;
}

/* The input's dimensions parted by the axes: strides are 0 along the others. */
typedef struct {
    qn_shape kept, reduced;
    int64_t kept_strides[QN_RANK_MAX], strides[QN_RANK_MAX];
} mvn_parts;

static mvn_parts part(const qn_op_types *types)
{
    const qn_shape *shape = &types->inputs[0].shape;
    mvn_parts parts = {0};
    bool axes[QN_RANK_MAX];
    int64_t step = 1, steps[QN_RANK_MAX];
    qn_status status = qn_op_axes(types, "axes", shape->rank, axes, NULL);
    QN_ASSERT(status == QN_OK);
    for (int d = shape->rank - 1; d >= 0; step *= shape->dims[d], d--)
        steps[d] = step;
    for (int d = 0; d < shape->rank; d++) {
        qn_shape *side = axes[d] ? &parts.reduced : &parts.kept;
        (axes[d] ? parts.strides : parts.kept_strides)[side->rank] = steps[d];
        side->dims[side->rank++] = shape->dims[d];
    }
    return parts;
}

static void mvn_ref(const qn_op_run *run)
{
    const qn_tensor *x = &run->inputs[0];
    mvn_parts parts = part(run->types);
    int64_t count = qn_shape_count(&parts.reduced);
    for (int64_t k = 0; k < qn_shape_count(&parts.kept); k++) {
        int64_t base = qn_op_offset(&parts.kept, parts.kept_strides, k);
        double sum = 0, squares = 0;
        for (int64_t i = 0; i < count; i++)
            sum += qn_op_get(x, base + qn_op_offset(&parts.reduced, parts.strides, i));
        double mean = sum / (double)count;
        for (int64_t i = 0; i < count; i++) {
            double away =
                qn_op_get(x, base + qn_op_offset(&parts.reduced, parts.strides, i)) - mean;
            squares += away * away;
        }
        double deviation = sqrt(squares / (double)count) + MVN_EPSILON;
        for (int64_t i = 0; i < count; i++) {
            int64_t at = base + qn_op_offset(&parts.reduced, parts.strides, i);
            qn_op_put(&run->outputs[0], at, (qn_op_get(x, at) - mean) / deviation);
        }
    }
}

/* With s the root of the variance: (dy - mean(dy)) / (s + epsilon) - y mean(dy y) / s. */
static void mvn_vjp(const qn_op_vjp *in, qn_value *ret)
{
    const qn_attr *axes = &in->types->attrs[0];
    qn_value x = in->inputs[0], y = in->outputs[0], dy = in->grads[0];
    qn_value centred = qn_graph_op2(in->graph, "Sub", x, reduce(in, "ReduceMean", x, axes));
    qn_value variance = reduce(in, "ReduceMean", qn_graph_op1(in->graph, "Square", centred), axes);
    qn_value root = qn_graph_op1(in->graph, "Sqrt", variance);
    qn_value shared = reduce(in, "ReduceMean", dy, axes);
    qn_value along = reduce(in, "ReduceMean", qn_op_mul(in, dy, y), axes);
    qn_value rest = qn_graph_op2(in->graph, "Sub", dy, shared);
    rest = qn_op_div(in, rest, qn_op_shift(in, root, MVN_EPSILON));
    along = qn_op_div(in, qn_op_mul(in, y, along), qn_op_shift(in, root, ROOT_LEAST));
    ret[0] = qn_graph_op2(in->graph, "Sub", rest, along);
}

static const qn_attr_spec lp_attrs[] = {
    {.name = "axis", .kind = QN_ATTR_INT, .value = -1},
    {.name = "p", .kind = QN_ATTR_INT, .low = 1, .high = 2, .value = 2},
    {0},
};
static const qn_attr_spec mvn_attrs[] = {
    {.name = "axes", .kind = QN_ATTR_INTS, .required = true},
    {0},
};
#define SAMPLE(type, from, count, ...)                                                             \
    {                                                                                              \
        .inputs_count = 1, .inputs = {type}, .low = (from), .high = 2, .avoid_kink = true,         \
        .attrs_count = (count), .attrs = {                                                         \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }
static const qn_op_sample lp_samples[] = {
    SAMPLE(OP_F64(3, 4), -2, 0, {0}),
    SAMPLE(OP_F64(2, 3, 4), -2, 2, OP_AI("axis", 1), OP_AI("p", 1)),
};
static const qn_op_sample mvn_samples[] = {
    SAMPLE(OP_F64(2, 3, 4, 2), -2, 1, OP_AINTS("axes", 0, 1, 2)),
    SAMPLE(OP_F64(3, 5), -2, 1, OP_AINTS("axes", -1)),
};

#define ROW(op_name, stem)                                                                         \
    {                                                                                              \
        .name = (op_name), .inputs_min = 1, .inputs_max = 1, .outputs_count = 1,                   \
        .attrs = stem##_attrs, .infer = stem##_infer, .vjp = stem##_vjp, .ref = stem##_ref,        \
        OP_SAMPLES(stem##_samples)                                                                 \
    }

const qn_op qn_ops_normalize[] = {
    ROW("LpNormalization", lp),
    ROW("MeanVarianceNormalization", mvn),
    {0},
};
