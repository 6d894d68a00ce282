/*
 * MaxUnpool (ONNX): each element goes to the place that its index names in a larger tensor of zeros. Indices are flat, of
 * the tensor with channels first, [N, C, spatial...], as MaxPoolIndices gives them; one outside the tensor goes nowhere,
 * and elements that meet are added.
 */
#include <string.h>

#include "graph/op/common.h"
#include "graph/op/window.h"

/* Where index `flat` of [N, C, pixels] lies in [N, pixels, C]; -1 = nowhere. */
static int64_t place_of(const qn_shape *shape, int64_t flat)
{
    int64_t c = shape->dims[shape->rank - 1], pixels = 1;
    for (int d = 1; d < shape->rank - 1; d++)
        pixels *= shape->dims[d];
    if (flat < 0 || flat >= shape->dims[0] * c * pixels)
        return -1;
    return (flat / pixels / c * pixels + flat % pixels) * c + flat / pixels % c;
}

#define OP_BODY "graph/op/unpool_body.h"
#include "graph/op/typed.h"

static qn_status unpool_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    int rank = 0;
    QN_TRY(qn_op_want_float(types, 0, err));
    QN_TRY(qn_op_spatial_rank(types, 0, &rank, err));
    QN_TRY(qn_op_want_dtype(types, 1, QN_DTYPE_I64, err));
    QN_TRY(qn_op_want_shape(types, 1, &types->inputs[0].shape, err));
    ret_outputs[0] = types->inputs[0];
    return qn_op_ints(types, "output_size", rank, 0, ret_outputs[0].shape.dims + 1, err);
}

static qn_status unpool_grad_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    int rank = 0;
    QN_TRY(qn_op_want_float(types, 0, err));
    QN_TRY(qn_op_spatial_rank(types, 0, &rank, err));
    QN_TRY(qn_op_want_dtype(types, 1, QN_DTYPE_I64, err));
    QN_TRY(qn_op_want_rank(types, 1, rank + 2, err));
    qn_shape same = types->inputs[1].shape; /* but for the pixels, of which dy has as many as y */
    memcpy(same.dims + 1, types->inputs[0].shape.dims + 1, (size_t)rank * sizeof *same.dims);
    QN_TRY(qn_op_want_shape(types, 0, &same, err));
    ret_outputs[0] = (qn_type){types->inputs[0].dtype, types->inputs[1].shape};
    return QN_OK;
}

static void unpool_ref(const qn_op_run *run)
{
    OP_FLOAT_CALL(run->inputs[0].dtype, unpool, run);
}
static void unpool_grad_ref(const qn_op_run *run)
{
    OP_FLOAT_CALL(run->inputs[0].dtype, unpool_grad, run);
}

static void unpool_vjp(const qn_op_vjp *in, qn_value *ret)
{
    ret[0] = qn_graph_op2(in->graph, "MaxUnpoolGrad", in->grads[0], in->inputs[1]);
}

static const qn_attr_spec attrs[] = {
    {.name = "output_size", .kind = QN_ATTR_INTS, .required = true},
    {0},
};
static const qn_op_sample samples[] = {
    {.inputs_count = 2,
     .inputs = {OP_F64(2, 2, 2, 3), OP_I64(2, 2, 2, 3)},
     .low = -1,
     .high = 100,
     .attrs_count = 1,
     .attrs = {OP_AINTS("output_size", 4, 5)}},
    {.inputs_count = 2,
     .inputs = {OP_F64(1, 3, 2), OP_I64(1, 3, 2)},
     .low = -1,
     .high = 14,
     .attrs_count = 1,
     .attrs = {OP_AINTS("output_size", 7)}},
};
static const qn_op_sample grad_samples[] = {
    {.inputs_count = 2, .inputs = {OP_F64(2, 4, 5, 3), OP_I64(2, 2, 2, 3)}, .low = -1, .high = 130},
};

const qn_op qn_ops_unpool[] = {
    {.name = "MaxUnpool",
     .inputs_min = 2,
     .inputs_max = 2,
     .outputs_count = 1,
     .attrs = attrs,
     .infer = unpool_infer,
     .vjp = unpool_vjp,
     .ref = unpool_ref,
     OP_SAMPLES(samples)},
    {.name = "MaxUnpoolGrad",
     .inputs_min = 2,
     .inputs_max = 2,
     .outputs_count = 1,
     .flags = QN_OP_NO_GRADIENT,
     .infer = unpool_grad_infer,
     .ref = unpool_grad_ref,
     OP_SAMPLES(grad_samples)},
    {0},
};
