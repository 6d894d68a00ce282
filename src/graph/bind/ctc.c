/*
 * The binding of CTC.
 */
#include <string.h>

#include "graph/bind/bind.h"
#include "kernel/loss/ctc.h"

typedef struct {
    qn_ctc io;
    void *scratch;
} ctc_args;

static void run_ctc(const void *args, qn_pool *pool, uint32_t step)
{
    (void)step;
    const ctc_args *a = args;
    qn_ctc_f32(pool, &a->io, a->scratch);
}

static const void *optional(const qn_bind *bind, int input)
{
    return input < bind->types->inputs_count ? bind->inputs[input].data : NULL;
}

static size_t ctc_scratch(const qn_bind *bind)
{
    const qn_shape *logits = &bind->types->inputs[0].shape;
    return qn_ctc_scratch_bytes(logits->dims[0], logits->dims[1],
                                bind->types->inputs[1].shape.dims[1]);
}

static bool bind_ctc(const qn_bind *bind)
{
    const qn_op_types *types = bind->types;
    const qn_shape *logits = &types->inputs[0].shape;
    if (types->inputs[0].dtype != QN_DTYPE_F32)
        return false;
    ctc_args *args = qn_bind_args(bind, sizeof *args);
    if (!args)
        return false;
    args->io = (qn_ctc){.rows = logits->dims[0],
                        .frames = logits->dims[1],
                        .classes = logits->dims[2],
                        .labels_max = types->inputs[1].shape.dims[1],
                        .blank = qn_op_attr_i(types, "blank"),
                        .logits = bind->inputs[0].data,
                        .labels = bind->inputs[1].data,
                        .frames_counts = optional(bind, 2),
                        .labels_counts = optional(bind, 3),
                        .sum = strcmp(qn_op_attr_s(types, "reduction"), "sum") == 0,
                        .zero_infinity = qn_op_attr_i(types, "zero_infinity") != 0,
                        .loss = bind->outputs[0].data,
                        .dlogits = bind->wanted[1] ? bind->outputs[1].data : NULL,
                        .kept = bind->outputs[2].data};
    args->scratch = bind->scratch;
    return qn_bind_to(bind, run_ctc, "ctc");
}

const qn_binding qn_bindings_ctc[] = {{"CTCLoss", bind_ctc, ctc_scratch}, {0}};
