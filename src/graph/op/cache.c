/*
 * TensorScatter (ONNX 24): rows written into a cache, update[b, i] to past[b, write_indices[b] + i] (linear: rows beyond
 * the end are dropped; circular: they begin again at 0). The cache is a state, and the node that is assigned to it writes
 * where it lies: one row per sequence and step, whatever the cache's size.
 *
 * No gradient: a cache is filled when nothing is learned.
 */
#include "graph/op/common.h"

#include <string.h>

static qn_status scatter_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    const qn_shape *past = &types->inputs[0].shape;
    qn_shape update = *past, each = QN_SHAPE(past->dims[0]);
    int axis = 0;
    if (past->rank < 2)
        QN_FAIL(err, QN_ERR_ARG, "input 0 has %d dimensions, expected 2 or more", past->rank);
    QN_TRY(qn_op_axis(types, past->rank, &axis, err));
    if (axis == 0)
        QN_FAIL(err, QN_ERR_ARG, "axis 0 is the batch; expected 1 to %d", past->rank - 1);
    QN_TRY(qn_op_want_dtype(types, 1, types->inputs[0].dtype, err));
    QN_TRY(qn_op_want_rank(types, 1, past->rank, err));
    update.dims[axis] = types->inputs[1].shape.dims[axis];
    QN_TRY(qn_op_want_shape(types, 1, &update, err));
    if (qn_op_has(types, 2)) {
        QN_TRY(qn_op_want_dtype(types, 2, QN_DTYPE_I64, err));
        QN_TRY(qn_op_want_shape(types, 2, &each, err));
    }
    ret_outputs[0] = types->inputs[0];
    return QN_OK;
}

static int64_t product(const int64_t *dims, int from, int end)
{
    int64_t count = 1;
    for (int d = from; d < end; d++)
        count *= dims[d];
    return count;
}

static void scatter_ref(const qn_op_run *run)
{
    const qn_tensor *past = &run->inputs[0], *update = &run->inputs[1];
    const int64_t *starts = qn_op_has(run->types, 2) ? run->inputs[2].data : NULL;
    bool circular = strcmp(qn_op_attr_s(run->types, "mode"), "circular") == 0;
    int axis = 0;
    qn_status status = qn_op_axis(run->types, past->shape.rank, &axis, NULL);
    QN_ASSERT(status == QN_OK);
    int64_t size = past->shape.dims[axis], rows = update->shape.dims[axis];
    int64_t outer = product(past->shape.dims, 1, axis);
    size_t bytes =
        (size_t)product(past->shape.dims, axis + 1, past->shape.rank) * qn_dtype_size(past->dtype);
    char *dst = run->outputs[0].data;
    if (run->outputs[0].data != past->data)
        memcpy(dst, past->data, qn_tensor_bytes(past));
    for (int64_t at = 0; at < past->shape.dims[0] * outer * rows; at++) {
        int64_t row = at / rows, to = at % rows + (starts ? starts[row / outer] : 0);
        if (circular && size > 0)
            to = (to % size + size) % size;
        if (to >= 0 && to < size)
            memcpy(dst + (size_t)(row * size + to) * bytes,
                   (const char *)update->data + (size_t)at * bytes, bytes);
    }
}

static const qn_attr_spec attrs[] = {
    {.name = "axis", .kind = QN_ATTR_INT, .value = -2, .low = -8, .high = 7},
    {.name = "mode", .kind = QN_ATTR_STRING, .choices = "linear circular"},
    {0},
};
static const qn_op_sample samples[] = {
    {.inputs_count = 3,
     .inputs = {OP_F64(3, 5, 4), OP_F64(3, 2, 4), OP_I64(3)},
     .low = -1,
     .high = 6},
    {.inputs_count = 2, .inputs = {OP_F64(2, 3, 4, 2), OP_F64(2, 3, 1, 2)}, .low = -1, .high = 1},
    {.inputs_count = 3,
     .inputs = {OP_F64(2, 3, 5), OP_F64(2, 3, 2), OP_I64(2)},
     .low = -1,
     .high = 9,
     .attrs_count = 2,
     .attrs = {OP_AI("axis", 2), OP_AS("mode", "circular")}},
};

const qn_op qn_ops_cache[] = {
    {.name = "TensorScatter",
     .inputs_min = 2,
     .inputs_max = 3,
     .outputs_count = 1,
     .flags = QN_OP_NO_GRADIENT | QN_OP_INPLACE | QN_OP_EARLY,
     .attrs = attrs,
     .infer = scatter_infer,
     .ref = scatter_ref,
     OP_SAMPLES(samples)},
    {0},
};
