/*
 * ZerosLike: zeros of its input's type. It stands for "no gradient" where a constant cannot,
 * because a dimension is still symbolic.
 */
#include "graph/op.h"

#include <string.h>

#include "graph/op/families.h"

static qn_status zeros_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    (void)err;
    ret_outputs[0] = types->inputs[0];
    return QN_OK;
}

static void zeros_ref(const qn_op_run *run)
{
    memset(run->outputs[0].data, 0, qn_tensor_bytes(&run->outputs[0]));
}

static const qn_op_sample zeros_samples[] = {
    {.inputs_count = 1, .inputs = {{QN_DTYPE_F32, {2, {3, 5}}}}, .low = -1, .high = 1},
};

const qn_op qn_ops_zeros[] = {
    {.name = "ZerosLike",
     .inputs_min = 1,
     .inputs_max = 1,
     .outputs_count = 1,
     .flags = QN_OP_NO_GRADIENT | QN_OP_ELEMENTWISE,
     .infer = zeros_infer,
     .ref = zeros_ref,
     .samples = zeros_samples,
     .samples_count = 1},
    {0},
};
