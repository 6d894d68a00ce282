/*
 * Positions as angles: pair i of `half` turns by t base^(-i / half) at position t.
 *
 * RotaryEmbedding (Su et al., 2021) turns pairs of each head's numbers, (i, half + i) or, interleaved, (2i, 2i + 1);
 * its gradient turns back. Unlike ONNX's it computes cosines and sines itself. SinusoidalPositions (Vaswani et al.,
 * 2017) gives [T, D] with sin at even and cos at odd places, to be added; it takes from its input the shape alone. With
 * starts[b], row b begins at that position: what follows after steps that are done already. Positions gives them as
 * numbers, for a table of learned vectors.
 */
#include "graph/op/position.h"

#include <math.h>

#include "graph/op/common.h"

typedef struct {
    int64_t batch, steps, heads, dim, half;
    double base, sign;
    bool interleaved;
    const int64_t *starts;
} rotary_walk;

double qn_op_angle(int64_t step, int64_t i, int64_t half, double base)
{
    return (double)step * pow(base, -(double)i / (double)half);
}

#define OP_BODY "graph/op/position_body.h"
#include "graph/op/typed.h"

/* starts, i64 [B], at input 1. */
static qn_status want_starts(const qn_op_types *types, qn_error *err)
{
    qn_shape each = QN_SHAPE(types->inputs[0].shape.dims[0]);
    if (!qn_op_has(types, 1))
        return QN_OK;
    QN_TRY(qn_op_want_dtype(types, 1, QN_DTYPE_I64, err));
    return qn_op_want_shape(types, 1, &each, err);
}

static qn_status read_walk(const qn_op_types *types, rotary_walk *ret, qn_error *err)
{
    const qn_shape *x = &types->inputs[0].shape;
    char text[128];
    int64_t heads = qn_op_attr_i(types, "num_heads"), turned = qn_op_attr_i(types, "rotary_dim");
    QN_TRY(qn_op_want_float(types, 0, err));
    if (x->rank != 3 && x->rank != 4)
        QN_FAIL(err, QN_ERR_ARG, "input 0 is %s, expected [B, T, H, D] or [B, T, H * D]",
                qn_shape_text(x, text));
    heads = x->rank == 4 ? x->dims[2] : heads;
    int64_t width = x->dims[x->rank - 1], dim = x->rank == 4 || heads < 1 ? width : width / heads;
    if (heads < 1 || width < 1 || (x->rank == 3 && width % heads))
        QN_FAIL(err, QN_ERR_ARG, "%lld heads do not divide input 0, %s", (long long)heads,
                qn_shape_text(x, text));
    turned = turned ? turned : dim;
    if (turned > dim || turned % 2)
        QN_FAIL(err, QN_ERR_ARG, "cannot turn %lld of %lld numbers, expected an even part",
                (long long)turned, (long long)dim);
    *ret = (rotary_walk){.batch = x->dims[0],
                         .steps = x->dims[1],
                         .heads = heads,
                         .dim = dim,
                         .half = turned / 2,
                         .base = qn_op_attr_f(types, "base"),
                         .sign = qn_op_attr_i(types, "inverse") ? -1 : 1,
                         .interleaved = qn_op_attr_i(types, "interleaved") != 0};
    return QN_OK;
}

static qn_status rotary_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    rotary_walk w = {0};
    QN_TRY(read_walk(types, &w, err));
    QN_TRY(want_starts(types, err));
    ret_outputs[0] = types->inputs[0];
    return QN_OK;
}

static void rotary_ref(const qn_op_run *run)
{
    rotary_walk w = {0};
    qn_status status = read_walk(run->types, &w, NULL);
    QN_ASSERT(status == QN_OK);
    w.starts = qn_op_has(run->types, 1) ? run->inputs[1].data : NULL;
    OP_FLOAT_CALL(run->inputs[0].dtype, rotary, run, &w);
}

static void rotary_vjp(const qn_op_vjp *in, qn_value *ret)
{
    const qn_op_types *types = in->types;
    qn_attr attrs[] = {QN_ATTR_I("num_heads", qn_op_attr_i(types, "num_heads")),
                       QN_ATTR_I("rotary_dim", qn_op_attr_i(types, "rotary_dim")),
                       QN_ATTR_I("interleaved", qn_op_attr_i(types, "interleaved")),
                       QN_ATTR_I("inverse", !qn_op_attr_i(types, "inverse")),
                       QN_ATTR_F("base", qn_op_attr_f(types, "base"))};
    bool moved = qn_op_has(types, 1);
    qn_value inputs[2] = {in->grads[0], moved ? in->inputs[1] : QN_NONE};
    ret[0] = qn_graph_node(in->graph, "RotaryEmbedding", inputs, 1 + moved, OP_NODE_ATTRS(attrs));
}

static qn_status sinusoid_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    const qn_shape *x = &types->inputs[0].shape;
    char text[128];
    QN_TRY(qn_op_want_float(types, 0, err));
    if (x->rank < 2 || x->dims[x->rank - 1] < 1)
        QN_FAIL(err, QN_ERR_ARG, "input 0 is %s, expected [..., T, D]", qn_shape_text(x, text));
    int64_t steps = x->dims[x->rank - 2], dim = x->dims[x->rank - 1];
    QN_TRY(want_starts(types, err));
    ret_outputs[0] = (qn_type){types->inputs[0].dtype, QN_SHAPE(steps, dim)};
    if (qn_op_has(types, 1))
        ret_outputs[0].shape = QN_SHAPE(x->dims[0], steps, dim);
    return QN_OK;
}

static void sinusoid_ref(const qn_op_run *run)
{
    const int64_t *starts = qn_op_has(run->types, 1) ? run->inputs[1].data : NULL;
    OP_FLOAT_CALL(run->outputs[0].dtype, sinusoid, run, qn_op_attr_f(run->types, "base"), starts);
}

static qn_status positions_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    const qn_shape *x = &types->inputs[0].shape;
    char text[128];
    if (x->rank < 2)
        QN_FAIL(err, QN_ERR_ARG, "input 0 is %s, expected [B, T, ...]", qn_shape_text(x, text));
    QN_TRY(want_starts(types, err));
    ret_outputs[0] = (qn_type){QN_DTYPE_I64, QN_SHAPE(x->dims[1])};
    if (qn_op_has(types, 1))
        ret_outputs[0].shape = QN_SHAPE(x->dims[0], x->dims[1]);
    return QN_OK;
}

static void positions_ref(const qn_op_run *run)
{
    const qn_shape *shape = &run->outputs[0].shape;
    const int64_t *starts = qn_op_has(run->types, 1) ? run->inputs[1].data : NULL;
    int64_t *dst = run->outputs[0].data, steps = shape->dims[shape->rank - 1];
    for (int64_t i = 0; i < qn_shape_count(shape); i++)
        dst[i] = i % steps + (starts ? starts[i / steps] : 0);
}

#define BASE                                                                                       \
    {                                                                                              \
        .name = "base", .kind = QN_ATTR_FLOAT, .value = 10000, .low = 1, .high = 1e12              \
    }
static const qn_attr_spec rotary_attrs[] = {
    {.name = "num_heads", .kind = QN_ATTR_INT, .low = 0, .high = 65536},
    {.name = "rotary_dim", .kind = QN_ATTR_INT, .low = 0, .high = 65536},
    {.name = "interleaved", .kind = QN_ATTR_INT, .high = 1},
    {.name = "inverse", .kind = QN_ATTR_INT, .high = 1},
    BASE,
    {0},
};
static const qn_attr_spec sinusoid_attrs[] = {BASE, {0}};

static const qn_op_sample rotary_samples[] = {
    {.inputs_count = 1, .inputs = {OP_F64(2, 5, 3, 6)}, .low = -1, .high = 1},
    {.inputs_count = 1,
     .inputs = {OP_F64(2, 3, 10)},
     .low = -1,
     .high = 1,
     .attrs_count = 4,
     .attrs = {OP_AI("num_heads", 2), OP_AI("rotary_dim", 4), OP_AI("interleaved", 1),
               OP_AF("base", 100)}},
    {.inputs_count = 2, .inputs = {OP_F64(2, 5, 3, 6), OP_I64(2)}, .low = -1, .high = 9},
};
static const qn_op_sample sinusoid_samples[] = {
    {.inputs_count = 1, .inputs = {OP_F64(2, 5, 7)}, .low = -1, .high = 1},
    {.inputs_count = 2, .inputs = {OP_F64(2, 5, 7), OP_I64(2)}, .low = -1, .high = 9},
};
static const qn_op_sample positions_samples[] = {
    {.inputs_count = 1, .inputs = {OP_F64(2, 5, 7)}, .low = -1, .high = 1},
    {.inputs_count = 2, .inputs = {OP_I64(2, 5), OP_I64(2)}, .low = -1, .high = 9},
};

const qn_op qn_ops_position[] = {
    {.name = "RotaryEmbedding",
     .inputs_min = 1,
     .inputs_max = 2,
     .outputs_count = 1,
     .attrs = rotary_attrs,
     .infer = rotary_infer,
     .vjp = rotary_vjp,
     .ref = rotary_ref,
     OP_SAMPLES(rotary_samples)},
    {.name = "SinusoidalPositions",
     .inputs_min = 1,
     .inputs_max = 2,
     .outputs_count = 1,
     .flags = QN_OP_NO_GRADIENT,
     .attrs = sinusoid_attrs,
     .infer = sinusoid_infer,
     .ref = sinusoid_ref,
     OP_SAMPLES(sinusoid_samples)},
    {.name = "Positions",
     .inputs_min = 1,
     .inputs_max = 2,
     .outputs_count = 1,
     .flags = QN_OP_NO_GRADIENT,
     .infer = positions_infer,
     .ref = positions_ref,
     OP_SAMPLES(positions_samples)},
    {0},
};
