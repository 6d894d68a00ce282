/*
 * Losses of whole vectors, which give the scalar and its gradients in one pass: pairs and triplets of embeddings, and labels
 * under log-probabilities.
 *
 * CosineEmbeddingLoss of x, y and a side t: 1 - cos(x, y) where t > 0, else max(0, cos(x, y) - margin);
 * cos = x y / sqrt((|x|^2 + 1e-12) (|y|^2 + 1e-12)).
 * TripletMarginLoss of anchor, positive, negative: max(0, d(a, p) - d(a, n) + margin), d(a, b) = |a - b + 1e-6|.
 * NegativeLogLikelihoodLoss of log-probabilities p [..., C] and labels t: -w[t] p[t], the mean divided by the sum of w[t].
 * Sources: ONNX for the last; Schroff et al. 2015 for triplets; all as PyTorch computes them.
 */
#include "graph/op/common.h"

#include <math.h>
#include <string.h>

typedef struct {
    int64_t rows, width, ignore;
    double margin;
    bool sum;
} embedding_options;

#define OP_BODY "graph/op/loss_embedding_body.h"
#include "graph/op/typed.h"

static bool is_sum(const qn_op_run *run)
{
    return strcmp(qn_op_attr_s(run->types, "reduction"), "sum") == 0;
}

static embedding_options read_options(const qn_op_run *run)
{
    const qn_shape *shape = &run->inputs[0].shape;
    int64_t width = shape->dims[shape->rank - 1];
    return (embedding_options){
        .rows = width > 0 ? qn_shape_count(shape) / width : 0, .width = width, .sum = is_sum(run)};
}

static void cosine_ref(const qn_op_run *run)
{
    embedding_options options = read_options(run);
    options.margin = qn_op_attr_f(run->types, "margin");
    OP_FLOAT_CALL(run->inputs[0].dtype, cosine, run, &options);
}

static void triplet_ref(const qn_op_run *run)
{
    embedding_options options = read_options(run);
    options.margin = qn_op_attr_f(run->types, "margin");
    OP_FLOAT_CALL(run->inputs[0].dtype, triplet, run, &options);
}

static void nll_ref(const qn_op_run *run)
{
    embedding_options options = read_options(run);
    options.ignore = qn_op_attr_i(run->types, "ignore_index");
    OP_FLOAT_CALL(run->inputs[0].dtype, nll, run, &options);
}

/* Vectors [..., width] and the shape without the last dimension. */
static qn_status want_vectors(const qn_op_types *types, qn_shape *ret_rows, qn_error *err)
{
    char text[128];
    qn_shape rows = types->inputs[0].shape;
    QN_TRY(qn_op_want_float(types, 0, err));
    if (rows.rank < 1 || rows.dims[rows.rank - 1] < 1)
        QN_FAIL(err, QN_ERR_ARG, "input 0 is %s, expected vectors [..., width]",
                qn_shape_text(&rows, text));
    rows.rank--;
    *ret_rows = rows;
    return QN_OK;
}

static qn_status cosine_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    qn_shape rows;
    QN_TRY(want_vectors(types, &rows, err));
    QN_TRY(qn_op_want_like(types, 1, 0, err));
    QN_TRY(qn_op_want_dtype(types, 2, types->inputs[0].dtype, err));
    QN_TRY(qn_op_want_shape(types, 2, &rows, err));
    ret_outputs[0] = (qn_type){types->inputs[0].dtype, QN_SCALAR};
    ret_outputs[1] = ret_outputs[2] = types->inputs[0];
    return QN_OK;
}

static qn_status triplet_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    qn_shape rows;
    QN_TRY(want_vectors(types, &rows, err));
    QN_TRY(qn_op_want_like(types, 1, 0, err));
    QN_TRY(qn_op_want_like(types, 2, 0, err));
    ret_outputs[0] = (qn_type){types->inputs[0].dtype, QN_SCALAR};
    for (int k = 1; k <= 3; k++)
        ret_outputs[k] = types->inputs[0];
    return QN_OK;
}

static qn_status nll_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    qn_shape rows;
    QN_TRY(want_vectors(types, &rows, err));
    qn_shape classes = QN_SHAPE(types->inputs[0].shape.dims[rows.rank]);
    QN_TRY(qn_op_want_dtype(types, 1, QN_DTYPE_I64, err));
    QN_TRY(qn_op_want_shape(types, 1, &rows, err));
    if (qn_op_has(types, 2)) {
        QN_TRY(qn_op_want_dtype(types, 2, types->inputs[0].dtype, err));
        QN_TRY(qn_op_want_shape(types, 2, &classes, err));
    }
    ret_outputs[0] = (qn_type){types->inputs[0].dtype, QN_SCALAR};
    ret_outputs[1] = types->inputs[0];
    return QN_OK;
}

/* The first outputs after the loss are the gradients of the first inputs; targets and weights are data. */
static void embedding_vjp(const qn_op_vjp *in, qn_value *ret)
{
    for (int k = 1; in->grads[0] != QN_NONE && k < in->types->outputs_count; k++)
        ret[k - 1] = qn_graph_op2(in->graph, "Mul", in->outputs[k], in->grads[0]);
}

static int64_t embedding_flops(const qn_op_types *types)
{
    return 10 * qn_shape_count(&types->inputs[0].shape);
}

#define REDUCTION                                                                                  \
    {                                                                                              \
        .name = "reduction", .kind = QN_ATTR_STRING, .choices = "mean sum"                         \
    }
#define MARGIN(usual, least)                                                                       \
    {                                                                                              \
        .name = "margin", .kind = QN_ATTR_FLOAT, .value = (usual), .low = (least), .high = 1e30    \
    }
static const qn_attr_spec cosine_attrs[] = {REDUCTION, MARGIN(0, -1), {0}};
static const qn_attr_spec triplet_attrs[] = {REDUCTION, MARGIN(1, 0), {0}};
static const qn_attr_spec nll_attrs[] = {
    REDUCTION, {.name = "ignore_index", .kind = QN_ATTR_INT, .value = -100}, {0}};

#define V OP_F64(4, 5)
/* Sides of both signs; a margin below every cosine of the samples, so that none lies at the kink. */
static const qn_op_sample cosine_samples[] = {
    {.inputs_count = 3, .inputs = {V, V, OP_F64(4)}, .low = 0.1, .high = 2},
    {.inputs_count = 3,
     .inputs = {OP_F64(2, 3, 4), OP_F64(2, 3, 4), OP_F64(2, 3)},
     .low = -2,
     .high = 2,
     .attrs_count = 2,
     .attrs = {OP_AF("margin", -1), OP_AS("reduction", "sum")}},
};
static const qn_op_sample triplet_samples[] = {
    {.inputs_count = 3, .inputs = {V, V, V}, .low = -2, .high = 2},
    {.inputs_count = 3,
     .inputs = {V, V, V},
     .low = -2,
     .high = 2,
     .attrs_count = 2,
     .attrs = {OP_AF("margin", 9), OP_AS("reduction", "sum")}},
};
static const qn_op_sample nll_samples[] = {
    {.inputs_count = 2, .inputs = {OP_F64(4, 3), OP_I64(4)}, .low = 0.05, .high = 3},
    {.inputs_count = 3,
     .inputs = {OP_F64(2, 3, 3), OP_I64(2, 3), OP_F64(3)},
     .low = 0.05,
     .high = 3,
     .attrs_count = 1,
     .attrs = {OP_AI("ignore_index", 1)}},
};

#define ROW(op_name, least, most, outputs, stem)                                                   \
    {                                                                                              \
        .name = (op_name), .inputs_min = (least), .inputs_max = (most),                            \
        .outputs_count = (outputs), .attrs = stem##_attrs, .infer = stem##_infer,                  \
        .vjp = embedding_vjp, .ref = stem##_ref, .flops = embedding_flops,                         \
        OP_SAMPLES(stem##_samples)                                                                 \
    }

const qn_op qn_ops_loss_embedding[] = {
    ROW("CosineEmbeddingLoss", 3, 3, 3, cosine),
    ROW("TripletMarginLoss", 3, 3, 4, triplet),
    ROW("NegativeLogLikelihoodLoss", 2, 3, 2, nll),
    {0},
};
