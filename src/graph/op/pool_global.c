/*
 * Pooling to a given number of outputs, channels last: adaptive pooling, where output o of `out` covers elements
 * [floor(o size / out), ceil((o + 1) size / out)) of each dimension (as PyTorch), and the global forms, which are that with one
 * output. The largest keeps its pixel, counted over the image.
 */
#include <math.h>
#include <string.h>

#include "graph/op/common.h"
#include "graph/op/window.h"

typedef struct {
    int64_t n, c, in[3], out[3];
} adaptive_sizes;

/* The pixels of x under one output, as begin and end of each dimension. */
static void bounds_of(const adaptive_sizes *z, const qn_op_place *at, int64_t begin[3],
                      int64_t end[3])
{
    for (int i = 0; i < 3; i++) {
        begin[i] = at->at[i] * z->in[i] / z->out[i];
        end[i] = ((at->at[i] + 1) * z->in[i] + z->out[i] - 1) / z->out[i];
    }
}

/* Pixel k of those, counted over the image. */
static int64_t pixel_of(const adaptive_sizes *z, const int64_t begin[3], const int64_t end[3],
                        int64_t k)
{
    const int64_t size[3] = {end[0] - begin[0], end[1] - begin[1], end[2] - begin[2]};
    qn_op_place at = qn_op_place_of(size, k);
    return ((begin[0] + at.at[0]) * z->in[1] + begin[1] + at.at[1]) * z->in[2] + begin[2] +
           at.at[2];
}

static int64_t pixels_of(const int64_t begin[3], const int64_t end[3])
{
    return (end[0] - begin[0]) * (end[1] - begin[1]) * (end[2] - begin[2]);
}

#define OP_BODY "graph/op/pool_global_body.h"
#include "graph/op/typed.h"

static bool has_output_size(const qn_op *op)
{
    return op->attrs && op->attrs[0].name && strcmp(op->attrs[0].name, "output_size") == 0;
}

/* Sizes from x, whose pixels must be known, and output_size where the row has it. */
static qn_status sizes_of(const qn_op_types *types, const qn_shape *x, adaptive_sizes *ret,
                          qn_error *err)
{
    int rank = x->rank - 2;
    adaptive_sizes z = {.n = x->dims[0], .c = x->dims[rank + 1], .in = {1, 1, 1}, .out = {1, 1, 1}};
    memcpy(z.in + 3 - rank, x->dims + 1, (size_t)rank * sizeof *x->dims);
    if (has_output_size(types->op))
        QN_TRY(qn_op_spatial(types, "output_size", rank, 1, z.out, err));
    for (int i = 0; i < 3; i++)
        if (z.in[i] < 1 || z.out[i] < 1 || z.in[i] > INT32_MAX || z.out[i] > INT32_MAX)
            QN_FAIL(err, QN_ERR_ARG,
                    "sizes of images must be known and not 0, and so their results'");
    if (z.in[0] * z.in[1] > INT32_MAX / z.in[2])
        QN_FAIL(err, QN_ERR_ARG, "images of more than %d pixels are not pooled whole", INT32_MAX);
    *ret = z;
    return QN_OK;
}

static qn_shape result_shape(const qn_shape *x, const adaptive_sizes *z)
{
    qn_shape y = *x;
    for (int i = 0; i < x->rank - 2; i++)
        y.dims[1 + i] = z->out[3 - (x->rank - 2) + i];
    return y;
}

static qn_status forward_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    const qn_shape *x = &types->inputs[0].shape;
    adaptive_sizes z;
    int rank = 0;
    QN_TRY(qn_op_want_float(types, 0, err));
    QN_TRY(qn_op_spatial_rank(types, 0, &rank, err));
    QN_TRY(sizes_of(types, x, &z, err));
    qn_shape y = result_shape(x, &z);
    ret_outputs[0] = (qn_type){types->inputs[0].dtype, y};
    if (types->outputs_count > 1)
        ret_outputs[1] = (qn_type){QN_DTYPE_I32, y};
    return QN_OK;
}

/* dy is input 0; x's shape is that with `input_size`, and dy's sizes are the outputs. */
static qn_status read_backward(const qn_op_types *types, qn_shape *ret_x, adaptive_sizes *ret,
                               qn_error *err)
{
    int rank = 0;
    adaptive_sizes z;
    qn_shape x = types->inputs[0].shape;
    QN_TRY(qn_op_want_float(types, 0, err));
    QN_TRY(qn_op_spatial_rank(types, 0, &rank, err));
    QN_TRY(qn_op_ints(types, "input_size", rank, 0, x.dims + 1, err));
    QN_TRY(sizes_of(types, &x, &z, err));
    memcpy(z.out + 3 - rank, types->inputs[0].shape.dims + 1, (size_t)rank * sizeof *x.dims);
    for (int i = 0; i < 3; i++)
        if (z.out[i] < 1)
            QN_FAIL(err, QN_ERR_ARG, "sizes of images must be known and not 0");
    *ret_x = x;
    *ret = z;
    return QN_OK;
}

static qn_status backward_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    qn_shape x;
    adaptive_sizes z;
    QN_TRY(read_backward(types, &x, &z, err));
    if (types->inputs_count > 1) {
        QN_TRY(qn_op_want_dtype(types, 1, QN_DTYPE_I32, err));
        QN_TRY(qn_op_want_shape(types, 1, &types->inputs[0].shape, err));
    }
    ret_outputs[0] = (qn_type){types->inputs[0].dtype, x};
    return QN_OK;
}

/* The global forms have one output. */
static qn_status global_backward_infer(const qn_op_types *types, qn_type *ret_outputs,
                                       qn_error *err)
{
    const qn_shape *dy = &types->inputs[0].shape;
    for (int i = 1; i < dy->rank - 1; i++)
        if (dy->dims[i] != 1)
            QN_FAIL(err, QN_ERR_ARG, "a gradient of a whole image has one pixel, not %lld",
                    (long long)dy->dims[i]);
    return backward_infer(types, ret_outputs, err);
}

static qn_status lp_grad_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    adaptive_sizes z;
    int rank = 0;
    QN_TRY(qn_op_want_float(types, 1, err));
    QN_TRY(qn_op_spatial_rank(types, 1, &rank, err));
    QN_TRY(sizes_of(types, &types->inputs[1].shape, &z, err));
    qn_shape dy = result_shape(&types->inputs[1].shape, &z);
    QN_TRY(qn_op_want_dtype(types, 0, types->inputs[1].dtype, err));
    QN_TRY(qn_op_want_shape(types, 0, &dy, err));
    QN_TRY(qn_op_want_like(types, 2, 0, err));
    ret_outputs[0] = types->inputs[1];
    return QN_OK;
}

static adaptive_sizes forward_sizes(const qn_op_run *run, const qn_shape *x)
{
    adaptive_sizes z;
    qn_status status = sizes_of(run->types, x, &z, NULL);
    QN_ASSERT(status == QN_OK);
    return z;
}

static adaptive_sizes backward_sizes(const qn_op_run *run)
{
    qn_shape x;
    adaptive_sizes z;
    qn_status status = read_backward(run->types, &x, &z, NULL);
    QN_ASSERT(status == QN_OK);
    return z;
}

static void max_ref(const qn_op_run *run)
{
    adaptive_sizes z = forward_sizes(run, &run->inputs[0].shape);
    OP_FLOAT_CALL(run->inputs[0].dtype, whole_max, run, &z);
}
static void max_grad_ref(const qn_op_run *run)
{
    adaptive_sizes z = backward_sizes(run);
    OP_FLOAT_CALL(run->inputs[0].dtype, whole_max_grad, run, &z);
}
static void avg_ref(const qn_op_run *run)
{
    adaptive_sizes z = forward_sizes(run, &run->inputs[0].shape);
    OP_FLOAT_CALL(run->inputs[0].dtype, whole_avg, run, &z, false);
}
static void avg_grad_ref(const qn_op_run *run)
{
    adaptive_sizes z = backward_sizes(run);
    OP_FLOAT_CALL(run->inputs[0].dtype, whole_avg, run, &z, true);
}
static void lp_ref(const qn_op_run *run)
{
    adaptive_sizes z = forward_sizes(run, &run->inputs[0].shape);
    OP_FLOAT_CALL(run->inputs[0].dtype, whole_lp, run, &z);
}
static void lp_grad_ref(const qn_op_run *run)
{
    adaptive_sizes z = forward_sizes(run, &run->inputs[1].shape);
    OP_FLOAT_CALL(run->inputs[0].dtype, whole_lp_grad, run, &z);
}

static qn_value grad_node(const qn_op_vjp *in, const char *op)
{
    const qn_shape *x = &in->types->inputs[0].shape;
    bool chosen = in->types->outputs_count > 1;
    qn_attr size = {.name = "input_size", .kind = QN_ATTR_INTS, .count = x->rank - 2};
    memcpy(size.ints, x->dims + 1, (size_t)size.count * sizeof *x->dims);
    qn_value inputs[2] = {in->grads[0], chosen ? in->outputs[1] : QN_NONE};
    return qn_graph_node(in->graph, op, inputs, chosen ? 2 : 1, &size, 1);
}
static void global_max_vjp(const qn_op_vjp *in, qn_value *ret)
{
    if (in->grads[0] != QN_NONE)
        ret[0] = grad_node(in, "GlobalMaxPoolGrad");
}
static void global_avg_vjp(const qn_op_vjp *in, qn_value *ret)
{
    ret[0] = grad_node(in, "GlobalAveragePoolGrad");
}
static void adaptive_max_vjp(const qn_op_vjp *in, qn_value *ret)
{
    if (in->grads[0] != QN_NONE)
        ret[0] = grad_node(in, "AdaptiveMaxPoolGrad");
}
static void adaptive_avg_vjp(const qn_op_vjp *in, qn_value *ret)
{
    ret[0] = grad_node(in, "AdaptiveAveragePoolGrad");
}
static void lp_vjp(const qn_op_vjp *in, qn_value *ret)
{
    qn_value inputs[] = {in->grads[0], in->inputs[0], in->outputs[0]};
    ret[0] = qn_op_like_node(in, "GlobalLpPoolGrad", inputs, 3);
}

static int64_t input_flops(const qn_op_types *types)
{
    return qn_shape_count(&types->inputs[0].shape);
}

static const qn_attr_spec size_attrs[] = {OP_INPUT_SIZE, {0}};
static const qn_attr_spec output_attrs[] = {
    {.name = "output_size", .kind = QN_ATTR_INTS, .required = true},
    {0},
};
static const qn_attr_spec lp_attrs[] = {
    {.name = "p", .kind = QN_ATTR_INT, .low = 1, .high = 64, .value = 2},
    {0},
};

#define SAMPLE(type, count, ...)                                                                   \
    {                                                                                              \
        .inputs_count = 1, .inputs = {type}, .low = -1, .high = 1, .attrs_count = (count),         \
        .attrs = {                                                                                 \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }
/* The choice is drawn below `pixels`. */
#define CHOSEN(a, b, pixels, ...)                                                                  \
    {                                                                                              \
        .inputs_count = 2, .inputs = {a, b}, .low = -1, .high = (pixels), .attrs_count = 1,        \
        .attrs = {                                                                                 \
            OP_AINTS("input_size", __VA_ARGS__)                                                    \
        }                                                                                          \
    }
#define OUT(...)  OP_AINTS("output_size", __VA_ARGS__)
#define SIZE(...) OP_AINTS("input_size", __VA_ARGS__)
static const qn_op_sample global_samples[] = {
    SAMPLE(OP_F64(2, 4, 3, 5), 0, {0}),
    SAMPLE(OP_F64(3, 7, 2), 0, {0}),
    SAMPLE(OP_F64(2, 2, 3, 4, 3), 0, {0}),
    SAMPLE(OP_F64(1, 1, 1, 1), 0, {0}),
};
static const qn_op_sample lp_samples[] = {
    SAMPLE(OP_F64(2, 4, 3, 5), 0, {0}),
    SAMPLE(OP_F64(3, 7, 2), 1, OP_AI("p", 3)),
};
static const qn_op_sample adaptive_samples[] = {
    SAMPLE(OP_F64(2, 7, 5, 3), 1, OUT(3, 2)),
    SAMPLE(OP_F64(1, 4, 6, 2), 1, OUT(2, 3)),
    SAMPLE(OP_F64(2, 3, 2), 1, OUT(5)),
    SAMPLE(OP_F64(1, 3, 5, 4, 2), 1, OUT(2, 5, 3)),
};
static const qn_op_sample max_grad_samples[] = {
    CHOSEN(OP_F64(2, 1, 1, 3), OP_I32(2, 1, 1, 3), 20, 4, 5),
    CHOSEN(OP_F64(2, 1, 3), OP_I32(2, 1, 3), 7, 7),
};
static const qn_op_sample adaptive_max_grad_samples[] = {
    CHOSEN(OP_F64(2, 3, 2, 3), OP_I32(2, 3, 2, 3), 20, 4, 5),
};
static const qn_op_sample avg_grad_samples[] = {
    SAMPLE(OP_F64(2, 1, 1, 3), 1, SIZE(4, 5)),
    SAMPLE(OP_F64(1, 1, 1, 1, 3), 1, SIZE(2, 3, 4)),
};
static const qn_op_sample adaptive_avg_grad_samples[] = {
    SAMPLE(OP_F64(2, 3, 2, 3), 1, SIZE(4, 5)),
};
static const qn_op_sample lp_grad_samples[] = {
    {.inputs_count = 3,
     .inputs = {OP_F64(2, 1, 1, 3), OP_F64(2, 4, 3, 3), OP_F64(2, 1, 1, 3)},
     .low = 0.5,
     .high = 2,
     .attrs_count = 1,
     .attrs = {OP_AI("p", 3)}},
};

#define ROW(op_name, outputs, list, stem_vjp, stem, table)                                         \
    {                                                                                              \
        .name = (op_name), .inputs_min = 1, .inputs_max = 1, .outputs_count = (outputs),           \
        .attrs = (list), .infer = forward_infer, .vjp = stem_vjp##_vjp, .ref = stem##_ref,         \
        .flops = input_flops, OP_SAMPLES(table)                                                    \
    }
#define GRAD_ROW(op_name, inputs, list, infer_fn, ref_fn, table)                                   \
    {                                                                                              \
        .name = (op_name), .inputs_min = (inputs), .inputs_max = (inputs), .outputs_count = 1,     \
        .flags = QN_OP_NO_GRADIENT, .attrs = (list), .infer = (infer_fn), .ref = (ref_fn),         \
        OP_SAMPLES(table)                                                                          \
    }

const qn_op qn_ops_pool_global[] = {
    ROW("GlobalMaxPool", 2, NULL, global_max, max, global_samples),
    ROW("GlobalAveragePool", 1, NULL, global_avg, avg, global_samples),
    ROW("GlobalLpPool", 1, lp_attrs, lp, lp, lp_samples),
    ROW("AdaptiveMaxPool", 2, output_attrs, adaptive_max, max, adaptive_samples),
    ROW("AdaptiveAveragePool", 1, output_attrs, adaptive_avg, avg, adaptive_samples),
    GRAD_ROW("GlobalMaxPoolGrad", 2, size_attrs, global_backward_infer, max_grad_ref,
             max_grad_samples),
    GRAD_ROW("GlobalAveragePoolGrad", 1, size_attrs, global_backward_infer, avg_grad_ref,
             avg_grad_samples),
    GRAD_ROW("GlobalLpPoolGrad", 3, lp_attrs, lp_grad_infer, lp_grad_ref, lp_grad_samples),
    GRAD_ROW("AdaptiveMaxPoolGrad", 2, size_attrs, backward_infer, max_grad_ref,
             adaptive_max_grad_samples),
    GRAD_ROW("AdaptiveAveragePoolGrad", 1, size_attrs, backward_infer, avg_grad_ref,
             adaptive_avg_grad_samples),
    {0},
};
