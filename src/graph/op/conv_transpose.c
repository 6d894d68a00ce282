/*
 * Transposed convolution (ONNX ConvTranspose): the gradient of a convolution to its input, as a layer. x is what dy is
 * there and y what dx is, so weights are [K..., M / groups, C] for C channels in and M out, and the gradients of this row
 * are a convolution and the gradient of one to its weights.
 */
#include <string.h>

#include "graph/op/common.h"
#include "graph/op/window.h"

typedef struct {
    int64_t channels, outputs, groups; /* of x, of y */
    qn_op_window window;               /* of the convolution from y to x */
} transposed;

#define OP_BODY "graph/op/conv_transpose_body.h"
#include "graph/op/typed.h"

static qn_status read_sizes(const qn_op_types *types, transposed *ret, qn_error *err)
{
    int rank = 0;
    QN_TRY(qn_op_want_float(types, 0, err));
    QN_TRY(qn_op_want_dtype(types, 1, types->inputs[0].dtype, err));
    QN_TRY(qn_op_spatial_rank(types, 0, &rank, err));
    QN_TRY(qn_op_want_rank(types, 1, rank + 2, err));
    const int64_t *x = types->inputs[0].shape.dims, *weight = types->inputs[1].shape.dims;
    transposed t = {.channels = x[rank + 1], .groups = qn_op_attr_i(types, "group")};
    t.outputs = weight[rank] * t.groups;
    if (t.channels < 1 || t.outputs < 1 || t.channels % t.groups || weight[rank + 1] != t.channels)
        QN_FAIL(err, QN_ERR_ARG, "%lld channels in %lld groups do not fit weights of %lld",
                (long long)t.channels, (long long)t.groups, (long long)weight[rank + 1]);
    QN_TRY(qn_op_window_transposed(types, &types->inputs[0].shape, weight, &t.window, err));
    *ret = t;
    return QN_OK;
}

static qn_status transposed_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    transposed t = {0};
    QN_TRY(read_sizes(types, &t, err));
    if (qn_op_has(types, 2)) {
        QN_TRY(qn_op_want_dtype(types, 2, types->inputs[0].dtype, err));
        QN_TRY(qn_op_want_shape(types, 2, &QN_SHAPE(t.outputs), err));
    }
    ret_outputs[0] =
        (qn_type){types->inputs[0].dtype, qn_op_window_shape(&t.window, t.window.in, t.outputs)};
    return QN_OK;
}

static void transposed_ref(const qn_op_run *run)
{
    transposed t;
    qn_status status = read_sizes(run->types, &t, NULL);
    QN_ASSERT(status == QN_OK);
    OP_FLOAT_CALL(run->inputs[0].dtype, transposed, run, &t);
}

static qn_attr list_of(const char *name, const int64_t three[3], int rank)
{
    qn_attr attr = {.name = name, .kind = QN_ATTR_INTS, .count = rank};
    memcpy(attr.ints, three + 3 - rank, (size_t)rank * sizeof *three);
    return attr;
}

static void transposed_vjp(const qn_op_vjp *in, qn_value *ret)
{
    transposed t;
    if (read_sizes(in->types, &t, NULL) != QN_OK)
        return;
    const qn_op_window *w = &t.window;
    qn_value dz = qn_op_activation_vjp(in), x = in->inputs[0], weight = in->inputs[1];
    qn_attr attrs[] = {list_of("strides", w->stride, w->rank), list_of("pads", w->before, w->rank),
                       list_of("dilations", w->dilation, w->rank), QN_ATTR_I("group", t.groups),
                       list_of("kernel_shape", w->kernel, w->rank)};
    memcpy(attrs[1].ints + w->rank, w->after + 3 - w->rank, (size_t)w->rank * sizeof *w->after);
    attrs[1].count = 2 * w->rank;
    ret[0] = qn_graph_node(in->graph, "Conv", (qn_value[]){dz, weight}, 2, attrs, 4);
    ret[1] = qn_graph_node(in->graph, "ConvGradWeight", (qn_value[]){dz, x}, 2, attrs, 5);
    if (qn_op_has(in->types, 2))
        ret[2] = qn_op_reduce_to(in->graph, dz, &in->types->inputs[2]);
}

static int64_t transposed_flops(const qn_op_types *types)
{
    const qn_shape *weight = &types->inputs[1].shape;
    return 2 * qn_shape_count(&types->inputs[0].shape) * qn_shape_count(weight) /
           weight->dims[weight->rank - 1];
}

static const qn_attr_spec attrs[] = {
    {.name = "strides", .kind = QN_ATTR_INTS},
    {.name = "pads", .kind = QN_ATTR_INTS},
    {.name = "dilations", .kind = QN_ATTR_INTS},
    OP_AUTO_PAD,
    {.name = "group", .kind = QN_ATTR_INT, .low = 1, .high = 65536, .value = 1},
    {.name = "output_padding", .kind = QN_ATTR_INTS},
    {.name = "output_shape", .kind = QN_ATTR_INTS},
    OP_ACTIVATION_ATTRS,
    {0},
};

#define SAMPLE(a, b, c, count, ...)                                                                \
    {                                                                                              \
        .inputs_count = 3, .inputs = {a, b, c}, .low = -1, .high = 1, .attrs_count = (count),      \
        .attrs = {                                                                                 \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }
static const qn_op_sample samples[] = {
    SAMPLE(OP_F64(2, 3, 4, 3), OP_F64(3, 3, 2, 3), OP_F64(2), 0, {0}),
    SAMPLE(OP_F64(1, 3, 2, 4), OP_F64(3, 2, 3, 4), OP_F64(6), 4, OP_AI("group", 2),
           OP_AINTS("strides", 2, 3), OP_AINTS("pads", 1, 0, 0, 1),
           OP_AINTS("output_padding", 1, 2)),
    SAMPLE(OP_F64(1, 3, 3, 1), OP_F64(3, 3, 2, 1), OP_F64(2), 2, OP_AINTS("strides", 3, 2),
           OP_AINTS("output_shape", 10, 8)),
    SAMPLE(OP_F64(1, 3, 3, 2), OP_F64(3, 3, 1, 2), OP_F64(2), 4, OP_AINTS("strides", 2, 2),
           OP_AS("auto_pad", "SAME_UPPER"), OP_AI("group", 2), OP_AS("activation", "relu")),
    SAMPLE(OP_F64(2, 5, 3), OP_F64(2, 2, 3), OP_ABSENT, 2, OP_AINTS("strides", 4),
           OP_AINTS("output_padding", 3)),
    SAMPLE(OP_F64(1, 5, 3), OP_F64(3, 2, 3), OP_F64(2), 3, OP_AINTS("strides", 2),
           OP_AS("auto_pad", "SAME_LOWER"), OP_AS("activation", "tanh")),
    SAMPLE(OP_F64(1, 2, 3, 2, 3), OP_F64(2, 2, 3, 2, 3), OP_F64(2), 2, OP_AINTS("strides", 2, 1, 2),
           OP_AINTS("dilations", 1, 2, 1)),
};

const qn_op qn_ops_conv_transpose[] = {
    {.name = "ConvTranspose",
     .inputs_min = 2,
     .inputs_max = 3,
     .factors = 3,
     .outputs_count = 1,
     .attrs = attrs,
     .infer = transposed_infer,
     .vjp = transposed_vjp,
     .ref = transposed_ref,
     .flops = transposed_flops,
     OP_SAMPLES(samples)},
    {0},
};
