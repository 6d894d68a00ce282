/*
 * Reductions over any axes, and ArgMax over one.
 */
#include "graph/op/common.h"

#include <math.h>
#include <string.h>

typedef enum { REDUCE_SUM, REDUCE_MEAN, REDUCE_MAX, REDUCE_MIN, REDUCE_LOG_SUM_EXP } reduce_kind;

/* The input's dimensions, parted: an output is an index of `kept`, its elements are those of `reduced`. */
typedef struct {
    qn_shape kept, reduced;
    int64_t kept_strides[QN_RANK_MAX], strides[QN_RANK_MAX];
    int64_t count; /* of reduced */
} reduce_walk;

#define OP_BODY "graph/op/reduce_body.h"
#include "graph/op/typed.h"

static reduce_walk walk_of(const qn_shape *shape, const bool axes[QN_RANK_MAX])
{
    reduce_walk walk = {0};
    int64_t step[QN_RANK_MAX];
    int64_t product = 1;
    for (int d = shape->rank - 1; d >= 0; d--) {
        step[d] = product;
        product *= shape->dims[d];
    }
    for (int d = 0; d < shape->rank; d++) {
        qn_shape *side = axes[d] ? &walk.reduced : &walk.kept;
        int64_t *strides = axes[d] ? walk.strides : walk.kept_strides;
        strides[side->rank] = step[d];
        side->dims[side->rank++] = shape->dims[d];
    }
    walk.count = qn_shape_count(&walk.reduced);
    return walk;
}

/* The shape with reduced dimensions 1 (keep) or gone. */
static qn_shape reduced_shape(const qn_shape *shape, const bool axes[QN_RANK_MAX], bool keep)
{
    qn_shape out = {0};
    for (int d = 0; d < shape->rank; d++)
        if (!axes[d] || keep)
            out.dims[out.rank++] = axes[d] ? 1 : shape->dims[d];
    return out;
}

static qn_status reduce_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    bool axes[QN_RANK_MAX];
    QN_TRY(qn_op_want_float(types, 0, err));
    QN_TRY(qn_op_axes(types, "axes", types->inputs[0].shape.rank, axes, err));
    bool keep = qn_op_attr_i(types, "keepdims") != 0;
    ret_outputs[0] =
        (qn_type){types->inputs[0].dtype, reduced_shape(&types->inputs[0].shape, axes, keep)};
    return QN_OK;
}

static void reduce_any(const qn_op_run *run, reduce_kind kind)
{
    bool axes[QN_RANK_MAX];
    const qn_shape *shape = &run->inputs[0].shape;
    qn_status status = qn_op_axes(run->types, "axes", shape->rank, axes, NULL);
    QN_ASSERT(status == QN_OK);
    reduce_walk walk = walk_of(shape, axes);
    OP_FLOAT_CALL(run->inputs[0].dtype, reduce, run, kind, &walk);
}
static void sum_ref(const qn_op_run *run)
{
    reduce_any(run, REDUCE_SUM);
}
static void mean_ref(const qn_op_run *run)
{
    reduce_any(run, REDUCE_MEAN);
}
static void max_ref(const qn_op_run *run)
{
    reduce_any(run, REDUCE_MAX);
}
static void min_ref(const qn_op_run *run)
{
    reduce_any(run, REDUCE_MIN);
}
static void log_sum_exp_ref(const qn_op_run *run)
{
    reduce_any(run, REDUCE_LOG_SUM_EXP);
}

/* A value of the output's shape, broadcast to the input's: reduced dimensions come back as 1 first. */
static qn_value spread_back(const qn_op_vjp *in, qn_value value)
{
    const qn_shape *shape = &in->types->inputs[0].shape;
    bool axes[QN_RANK_MAX];
    qn_attr attr = {.name = "axes", .kind = QN_ATTR_INTS};
    qn_status status = qn_op_axes(in->types, "axes", shape->rank, axes, NULL);
    QN_ASSERT(status == QN_OK);
    for (int d = 0; d < shape->rank; d++)
        if (axes[d])
            attr.ints[attr.count++] = d;
    if (qn_op_attr_i(in->types, "keepdims") == 0 && attr.count > 0)
        value = qn_graph_node(in->graph, "Unsqueeze", &value, 1, &attr, 1);
    return qn_op_expand(in->graph, value, shape);
}

static void sum_vjp(const qn_op_vjp *in, qn_value *ret)
{
    ret[0] = spread_back(in, in->grads[0]);
}

/* The count may be symbolic, so the division is left to the row that sees it. */
static void mean_vjp(const qn_op_vjp *in, qn_value *ret)
{
    const qn_shape *shape = &in->types->inputs[0].shape;
    qn_attr attrs[3] = {
        in->types->attrs[0],
        in->types->attrs[1],
        {.name = "shape", .kind = QN_ATTR_INTS, .count = shape->rank},
    };
    memcpy(attrs[2].ints, shape->dims, sizeof(attrs[2].ints));
    ret[0] = qn_graph_node(in->graph, "ReduceMeanGrad", in->grads, 1, attrs, 3);
}

/* Elements equal to the extreme share its gradient. */
static void extreme_vjp(const qn_op_vjp *in, qn_value *ret)
{
    qn_graph *graph = in->graph;
    qn_attr to = QN_ATTR_S("to", qn_dtype_name(qn_op_vjp_dtype(in, 0)));
    qn_value top = spread_back(in, in->outputs[0]);
    qn_value equal = qn_graph_op2(graph, "Equal", in->inputs[0], top);
    qn_value mask = qn_graph_node(graph, "Cast", &equal, 1, &to, 1);
    qn_value ties = qn_graph_node(graph, "ReduceSum", &mask, 1, in->types->attrs, 2);
    qn_value share = qn_graph_op2(graph, "Div", in->grads[0], ties);
    ret[0] = qn_graph_op2(graph, "Mul", mask, spread_back(in, share));
}

static void log_sum_exp_vjp(const qn_op_vjp *in, qn_value *ret)
{
    qn_graph *graph = in->graph;
    qn_value below = qn_graph_op2(graph, "Sub", in->inputs[0], spread_back(in, in->outputs[0]));
    ret[0] = qn_graph_op2(graph, "Mul", qn_graph_op1(graph, "Exp", below),
                          spread_back(in, in->grads[0]));
}

static qn_shape attr_shape(const qn_op_types *types)
{
    qn_shape shape = {0};
    const int64_t *dims = qn_op_attr_ints(types, "shape", &shape.rank);
    memcpy(shape.dims, dims, sizeof(shape.dims));
    return shape;
}

static qn_status mean_grad_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    bool axes[QN_RANK_MAX];
    qn_shape shape = attr_shape(types);
    QN_TRY(qn_op_want_float(types, 0, err));
    QN_TRY(qn_op_axes(types, "axes", shape.rank, axes, err));
    qn_shape reduced = reduced_shape(&shape, axes, qn_op_attr_i(types, "keepdims") != 0);
    QN_TRY(qn_op_want_shape(types, 0, &reduced, err));
    ret_outputs[0] = (qn_type){types->inputs[0].dtype, shape};
    return QN_OK;
}

static void mean_grad_ref(const qn_op_run *run)
{
    bool axes[QN_RANK_MAX];
    const qn_shape *shape = &run->outputs[0].shape;
    qn_status status = qn_op_axes(run->types, "axes", shape->rank, axes, NULL);
    QN_ASSERT(status == QN_OK);
    qn_shape kept = reduced_shape(shape, axes, true);
    double scale = (double)qn_shape_count(&kept) / (double)qn_shape_count(shape);
    OP_FLOAT_CALL(run->inputs[0].dtype, spread, run, &kept, scale);
}

static qn_status argmax_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    int axis = 0;
    bool axes[QN_RANK_MAX] = {false};
    QN_TRY(qn_op_want_float(types, 0, err));
    QN_TRY(qn_op_axis(types, types->inputs[0].shape.rank, &axis, err));
    axes[axis] = true;
    bool keep = qn_op_attr_i(types, "keepdims") != 0;
    ret_outputs[0] = (qn_type){QN_DTYPE_I64, reduced_shape(&types->inputs[0].shape, axes, keep)};
    return QN_OK;
}

static void argmax_ref(const qn_op_run *run)
{
    int axis = 0;
    bool axes[QN_RANK_MAX] = {false};
    qn_status status = qn_op_axis(run->types, run->inputs[0].shape.rank, &axis, NULL);
    QN_ASSERT(status == QN_OK);
    axes[axis] = true;
    reduce_walk walk = walk_of(&run->inputs[0].shape, axes);
    OP_FLOAT_CALL(run->inputs[0].dtype, argmax, run, &walk);
}

static int64_t input_flops(const qn_op_types *types)
{
    return qn_shape_count(&types->inputs[0].shape);
}

#define KEEPDIMS                                                                                   \
    {                                                                                              \
        .name = "keepdims", .kind = QN_ATTR_INT, .high = 1, .value = 1                             \
    }
static const qn_attr_spec reduce_attrs[] = {
    {.name = "axes", .kind = QN_ATTR_INTS},
    KEEPDIMS,
    {0},
};
static const qn_attr_spec mean_grad_attrs[] = {
    {.name = "axes", .kind = QN_ATTR_INTS},
    KEEPDIMS,
    {.name = "shape", .kind = QN_ATTR_INTS, .required = true, .symbolic = true},
    {0},
};
static const qn_attr_spec argmax_attrs[] = {
    {.name = "axis", .kind = QN_ATTR_INT},
    KEEPDIMS,
    {0},
};

#define SAMPLE(type, count, ...)                                                                   \
    {                                                                                              \
        .inputs_count = 1, .inputs = {type}, .low = -2, .high = 2, .attrs_count = (count),         \
        .attrs = {                                                                                 \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }
static const qn_op_sample samples[] = {
    SAMPLE(OP_F64(3, 4), 0, {0}),
    SAMPLE(OP_F64(2, 3, 4), 2, OP_AINTS("axes", 0, 2), OP_AI("keepdims", 0)),
    SAMPLE(OP_F64(2, 3, 4), 1, OP_AINTS("axes", 1)),
    SAMPLE(OP_F64(2, 3, 4), 2, OP_AINTS("axes", -1), OP_AI("keepdims", 0)),
};
static const qn_op_sample mean_grad_samples[] = {
    SAMPLE(OP_F64(2, 1, 4), 2, OP_AINTS("axes", 1), OP_AINTS("shape", 2, 3, 4)),
    SAMPLE(OP_F64(2, 4), 3, OP_AINTS("axes", 1), OP_AI("keepdims", 0), OP_AINTS("shape", 2, 3, 4)),
};
static const qn_op_sample argmax_samples[] = {
    SAMPLE(OP_F64(5, 7), 2, OP_AI("axis", -1), OP_AI("keepdims", 0)),
    SAMPLE(OP_F64(2, 5, 3), 1, OP_AI("axis", 1)),
};

#define ROW(op_name, stem, vjp_fn)                                                                 \
    {                                                                                              \
        .name = (op_name), .inputs_min = 1, .inputs_max = 1, .outputs_count = 1,                   \
        .attrs = reduce_attrs, .infer = reduce_infer, .vjp = (vjp_fn), .ref = stem##_ref,          \
        .flops = input_flops, OP_SAMPLES(samples)                                                  \
    }

const qn_op qn_ops_reduce[] = {
    ROW("ReduceSum", sum, sum_vjp),
    ROW("ReduceMean", mean, mean_vjp),
    ROW("ReduceMax", max, extreme_vjp),
    ROW("ReduceMin", min, extreme_vjp),
    ROW("ReduceLogSumExp", log_sum_exp, log_sum_exp_vjp),
    {.name = "ReduceMeanGrad",
     .inputs_min = 1,
     .inputs_max = 1,
     .outputs_count = 1,
     .flags = QN_OP_NO_GRADIENT,
     .attrs = mean_grad_attrs,
     .infer = mean_grad_infer,
     .ref = mean_grad_ref,
     OP_SAMPLES(mean_grad_samples)},
    {.name = "ArgMax",
     .inputs_min = 1,
     .inputs_max = 1,
     .outputs_count = 1,
     .flags = QN_OP_NO_GRADIENT,
     .attrs = argmax_attrs,
     .infer = argmax_infer,
     .ref = argmax_ref,
     .flops = input_flops,
     OP_SAMPLES(argmax_samples)},
    {0},
};
