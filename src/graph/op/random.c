/*
 * Dropout (Srivastava et al., 2014), scaled when training so that nothing is left to do otherwise.
 *
 * There is no mask to keep: element i survives when the uniform number i of (seed, stream, step) is at least
 * `ratio`, so the gradient is the same node on dy, which draws the same numbers.
 */
#include "graph/op/common.h"

#define OP_BODY "graph/op/random_body.h"
#include "graph/op/typed.h"

static void dropout_ref(const qn_op_run *run)
{
    const qn_tensor *x = &run->inputs[0];
    qn_rng rng = run->rng;
    double ratio = run->training ? (double)(float)qn_op_attr_f(run->types, "ratio") : 0;
    rng.stream = (uint32_t)qn_op_attr_i(run->types, "stream");
    OP_FLOAT_CALL(x->dtype, dropout, run->outputs[0].data, x->data, qn_shape_count(&x->shape), rng,
                  ratio);
}

static void dropout_vjp(const qn_op_vjp *in, qn_value *ret)
{
    ret[0] = qn_op_like_node(in, "Dropout", in->grads, 1);
}

static int64_t dropout_flops(const qn_op_types *types)
{
    return 10 * qn_shape_count(&types->outputs[0].shape); /* Philox: ten rounds for four numbers */
}

static const qn_attr_spec attrs[] = {
    {.name = "ratio", .kind = QN_ATTR_FLOAT, .high = 1, .value = 0.5},
    {.name = "stream", .kind = QN_ATTR_INT, .high = 4294967295.0},
    {0},
};
static const qn_op_sample samples[] = {
    {.inputs_count = 1,
     .inputs = {OP_F64(5, 7)},
     .low = -2,
     .high = 2,
     .attrs_count = 2,
     .attrs = {OP_AF("ratio", 0.25), OP_AI("stream", 7)}},
};

const qn_op qn_ops_random[] = {
    {.name = "Dropout",
     .inputs_min = 1,
     .inputs_max = 1,
     .outputs_count = 1,
     .flags = QN_OP_RANDOM | QN_OP_TRAINING_ONLY | QN_OP_ELEMENTWISE,
     .attrs = attrs,
     .infer = qn_op_infer_same,
     .vjp = dropout_vjp,
     .ref = dropout_ref,
     .flops = dropout_flops,
     OP_SAMPLES(samples)},
    {0},
};
