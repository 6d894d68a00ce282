/*
 * Softmax and log-softmax along one axis, and their gradients from the output.
 *
 * y = softmax(x): dx = (dy - sum(dy y)) y.   y = log softmax(x): dx = dy - exp(y) sum(dy).
 */
#include "graph/op/common.h"

#include <math.h>

#define OP_BODY "graph/op/softmax_body.h"
#include "graph/op/typed.h"

static qn_op_lines lines_of(const qn_op_run *run)
{
    const qn_shape *shape = &run->inputs[0].shape;
    return qn_op_lines_of(shape, qn_op_axis_of(run->types, shape->rank));
}

static qn_status softmax_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    int axis = 0;
    QN_TRY(qn_op_axis(types, types->inputs[0].shape.rank, &axis, err));
    return qn_op_infer_same(types, ret_outputs, err);
}

static void softmax_ref(const qn_op_run *run)
{
    qn_op_lines lines = lines_of(run);
    OP_FLOAT_CALL(run->inputs[0].dtype, softmax, run, &lines, false);
}
static void log_softmax_ref(const qn_op_run *run)
{
    qn_op_lines lines = lines_of(run);
    OP_FLOAT_CALL(run->inputs[0].dtype, softmax, run, &lines, true);
}
static void softmax_grad_ref(const qn_op_run *run)
{
    qn_op_lines lines = lines_of(run);
    OP_FLOAT_CALL(run->inputs[0].dtype, softmax_grad, run, &lines, false);
}
static void log_softmax_grad_ref(const qn_op_run *run)
{
    qn_op_lines lines = lines_of(run);
    OP_FLOAT_CALL(run->inputs[0].dtype, softmax_grad, run, &lines, true);
}

static void softmax_vjp(const qn_op_vjp *in, qn_value *ret)
{
    ret[0] = qn_op_like_node(in, "SoftmaxGrad", (qn_value[]){in->grads[0], in->outputs[0]}, 2);
}
static void log_softmax_vjp(const qn_op_vjp *in, qn_value *ret)
{
    ret[0] = qn_op_like_node(in, "LogSoftmaxGrad", (qn_value[]){in->grads[0], in->outputs[0]}, 2);
}

/* An exponential costs about ten operations. */
static int64_t softmax_flops(const qn_op_types *types)
{
    return 12 * qn_shape_count(&types->outputs[0].shape);
}

static const qn_attr_spec attrs[] = {
    {.name = "axis", .kind = QN_ATTR_INT, .value = -1},
    {0},
};
static const qn_op_sample samples[] = {
    {.inputs_count = 1, .inputs = {OP_F64(3, 5)}, .low = -2, .high = 2},
    {.inputs_count = 1,
     .inputs = {OP_F64(2, 4, 3)},
     .low = -2,
     .high = 2,
     .attrs_count = 1,
     .attrs = {OP_AI("axis", 1)}},
};
static const qn_op_sample grad_samples[] = {
    {.inputs_count = 2, .inputs = {OP_F64(3, 5), OP_F64(3, 5)}, .low = -1, .high = 1},
    {.inputs_count = 2,
     .inputs = {OP_F64(2, 4, 3), OP_F64(2, 4, 3)},
     .low = -1,
     .high = 1,
     .attrs_count = 1,
     .attrs = {OP_AI("axis", 1)}},
};

#define ROW(op_name, stem, count, flag_bits, vjp_fn, table)                                        \
    {                                                                                              \
        .name = (op_name), .inputs_min = (count), .inputs_max = (count), .outputs_count = 1,       \
        .flags = (flag_bits), .attrs = attrs, .infer = softmax_infer, .vjp = (vjp_fn),             \
        .ref = stem##_ref, .flops = softmax_flops, OP_SAMPLES(table)                               \
    }

const qn_op qn_ops_softmax[] = {
    ROW("Softmax", softmax, 1, 0, softmax_vjp, samples),
    ROW("LogSoftmax", log_softmax, 1, 0, log_softmax_vjp, samples),
    ROW("SoftmaxGrad", softmax_grad, 2, QN_OP_NO_GRADIENT, NULL, grad_samples),
    ROW("LogSoftmaxGrad", log_softmax_grad, 2, QN_OP_NO_GRADIENT, NULL, grad_samples),
    {0},
};
