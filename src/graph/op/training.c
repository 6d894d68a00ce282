/*
 * WhenTraining(kept, fresh): fresh in a plan that trains, kept in any other, which drops the node and all that only it needs.
 * It has no gradient: what a layer estimates by the way (power iteration) is a constant to the loss.
 */
#include "graph/op/common.h"

#include <string.h>

static void when_training_ref(const qn_op_run *run)
{
    memmove(run->outputs[0].data, run->inputs[run->training ? 1 : 0].data,
            qn_tensor_bytes(&run->outputs[0]));
}

static const qn_op_sample when_training_samples[] = {
    {.inputs_count = 2, .inputs = {OP_F64(4, 3), OP_F64(4, 3)}, .low = -2, .high = 2},
};

const qn_op qn_ops_training[] = {
    {.name = "WhenTraining",
     .inputs_min = 2,
     .inputs_max = 2,
     .outputs_count = 1,
     .flags = QN_OP_NO_GRADIENT | QN_OP_TRAINING_ONLY,
     .infer = qn_op_infer_same,
     .ref = when_training_ref,
     OP_SAMPLES(when_training_samples)},
    {0},
};
