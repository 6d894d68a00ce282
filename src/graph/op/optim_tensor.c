/*
 * Optimiser updates that look at a parameter as a whole: its norm, its rows and columns.
 *
 * g = scale * grad; t is the step, 1 at the first update; |x| is the Euclidean norm, rms(x) = |x| / sqrt(count).
 * Lamb:      m, v and their corrections as Adam; r = m' / (sqrt(v') + eps) + weight_decay w;
 *            w -= lr |w| / |r| r (the ratio is 1 where a norm is 0).
 * Adafactor: b = t^decay; over the last two dimensions row += b (mean of g^2 along a row - row), col likewise; v = row col / mean(row);
 *            u = g / sqrt(max(v, eps1^2)); w = (1 - lr weight_decay) w - min(lr, 1 / sqrt(t)) max(eps2, rms(w)) u / max(1, rms(u) / d).
 *            A vector keeps v whole: v += b (g^2 - v).
 * Sources: You et al. 2020; Shazeer and Stern 2018, as PyTorch computes it.
 */
#include "graph/op/common.h"

#include <float.h>
#include <math.h>

typedef struct {
    int64_t count, matrices, rows, cols; /* of ADAFACTOR: matrices of [rows, cols] */
    double decay, beta1, beta2, epsilon, epsilon1, epsilon2, clip;
} tensor_options;

#define OP_BODY "graph/op/optim_tensor_body.h"
#include "graph/op/typed.h"

static void lamb_ref(const qn_op_run *run)
{
    tensor_options options = {.count = qn_shape_count(&run->inputs[0].shape),
                              .decay = qn_op_attr_f(run->types, "weight_decay"),
                              .beta1 = qn_op_attr_f(run->types, "beta1"),
                              .beta2 = qn_op_attr_f(run->types, "beta2"),
                              .epsilon = qn_op_attr_f(run->types, "epsilon")};
    OP_FLOAT_CALL(run->inputs[0].dtype, lamb, run, &options);
}

static tensor_options factor_options(const qn_op_run *run)
{
    const qn_shape *shape = &run->inputs[0].shape;
    double tiny = run->inputs[0].dtype == QN_DTYPE_F64 ? DBL_EPSILON : (double)FLT_EPSILON;
    double epsilon1 = qn_op_attr_f(run->types, "epsilon1");
    tensor_options options = {.count = qn_shape_count(shape),
                              .matrices = 1,
                              .rows = 1,
                              .cols = shape->rank > 0 ? shape->dims[shape->rank - 1] : 1,
                              .decay = qn_op_attr_f(run->types, "weight_decay"),
                              .beta2 = qn_op_attr_f(run->types, "beta2_decay"),
                              .epsilon1 = epsilon1 > 0 ? epsilon1 : tiny,
                              .epsilon2 = qn_op_attr_f(run->types, "epsilon2"),
                              .clip = qn_op_attr_f(run->types, "d")};
    if (shape->rank > 1)
        options.rows = shape->dims[shape->rank - 2];
    for (int d = 0; d < shape->rank - 2; d++)
        options.matrices *= shape->dims[d];
    return options;
}

static void adafactor_ref(const qn_op_run *run)
{
    tensor_options options = factor_options(run);
    OP_FLOAT_CALL(run->inputs[0].dtype, adafactor, run, &options);
}

static void adafactor_vector_ref(const qn_op_run *run)
{
    tensor_options options = factor_options(run);
    OP_FLOAT_CALL(run->inputs[0].dtype, adafactor_vector, run, &options);
}

/* Inputs from `first` on are scalars of input 0's type, but the one at `step`; -1 = none. */
static qn_status check_scalars(const qn_op_types *types, int first, int step, qn_error *err)
{
    for (int i = first; i < types->inputs_count; i++)
        if (qn_op_has(types, i))
            QN_TRY(qn_op_want_scalar(types, i, i == step ? QN_DTYPE_I64 : types->inputs[0].dtype,
                                     err));
    return QN_OK;
}

static qn_status lamb_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    QN_TRY(qn_op_want_float(types, 0, err));
    for (int i = 1; i < 4; i++)
        QN_TRY(qn_op_want_like(types, i, 0, err));
    ret_outputs[0] = ret_outputs[1] = ret_outputs[2] = types->inputs[0];
    return check_scalars(types, 4, 5, err);
}

static qn_status adafactor_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    const qn_shape *shape = &types->inputs[0].shape;
    char text[128];
    QN_TRY(qn_op_want_float(types, 0, err));
    if (shape->rank < 2)
        QN_FAIL(err, QN_ERR_ARG, "the weight is %s, expected rows and columns",
                qn_shape_text(shape, text));
    qn_shape rows = *shape, cols = *shape;
    rows.dims[shape->rank - 1] = cols.dims[shape->rank - 2] = 1;
    QN_TRY(qn_op_want_shape(types, 1, &rows, err));
    QN_TRY(qn_op_want_shape(types, 2, &cols, err));
    QN_TRY(qn_op_want_like(types, 3, 0, err));
    for (int k = 0; k < 3; k++) {
        QN_TRY(qn_op_want_dtype(types, k, types->inputs[0].dtype, err));
        ret_outputs[k] = types->inputs[k];
    }
    return check_scalars(types, 4, 5, err);
}

static qn_status adafactor_vector_infer(const qn_op_types *types, qn_type *ret_outputs,
                                        qn_error *err)
{
    QN_TRY(qn_op_want_float(types, 0, err));
    QN_TRY(qn_op_want_like(types, 1, 0, err));
    QN_TRY(qn_op_want_like(types, 2, 0, err));
    ret_outputs[0] = ret_outputs[1] = types->inputs[0];
    return check_scalars(types, 3, 4, err);
}

static int64_t tensor_flops(const qn_op_types *types)
{
    return 20 * qn_shape_count(&types->inputs[0].shape);
}

#define NUMBER(key, usual, least, most)                                                            \
    {                                                                                              \
        .name = (key), .kind = QN_ATTR_FLOAT, .value = (usual), .low = (least), .high = (most)     \
    }
#define DECAY NUMBER("weight_decay", 0, 0, 1e6)
static const qn_attr_spec lamb_attrs[] = {DECAY,
                                          NUMBER("beta1", 0.9, 0, 1),
                                          NUMBER("beta2", 0.999, 0, 1),
                                          NUMBER("epsilon", 1e-6, 0, 1),
                                          {0}};
/* epsilon1 0: the type's own epsilon, as PyTorch's None. */
static const qn_attr_spec adafactor_attrs[] = {DECAY,
                                               NUMBER("beta2_decay", -0.8, -10, -1e-6),
                                               NUMBER("epsilon1", 0, 0, 1),
                                               NUMBER("epsilon2", 1e-3, 0, 1),
                                               NUMBER("d", 1, 1e-6, 1e6),
                                               {0}};
#define P    OP_F64(4, 3)
#define S    OP_F64_SCALAR
#define STEP OP_I64_SCALAR
static const qn_op_sample lamb_samples[] = {
    {.inputs_count = 6, .inputs = {P, P, P, P, S, STEP}, .low = 1, .high = 3},
    {.inputs_count = 7,
     .inputs = {P, P, P, P, S, STEP, S},
     .low = 1,
     .high = 3,
     .attrs_count = 1,
     .attrs = {OP_AF("weight_decay", 0.1)}},
};
static const qn_op_sample adafactor_samples[] = {
    {.inputs_count = 6, .inputs = {P, OP_F64(4, 1), OP_F64(1, 3), P, S, STEP}, .low = 1, .high = 3},
    {.inputs_count = 7,
     .inputs = {OP_F64(2, 3, 5), OP_F64(2, 3, 1), OP_F64(2, 1, 5), OP_F64(2, 3, 5), S, STEP, S},
     .low = 1,
     .high = 3,
     .attrs_count = 2,
     .attrs = {OP_AF("weight_decay", 0.1), OP_AF("d", 0.5)}},
};
static const qn_op_sample adafactor_vector_samples[] = {
    {.inputs_count = 6,
     .inputs = {OP_F64(5), OP_F64(5), OP_F64(5), S, STEP, S},
     .low = 1,
     .high = 3},
};
#define TENSOR(op_name, least, outputs, list, stem)                                                \
    {                                                                                              \
        .name = (op_name), .inputs_min = (least), .inputs_max = (least) + 1,                       \
        .outputs_count = (outputs), .flags = QN_OP_NO_GRADIENT | QN_OP_INPLACE, .attrs = (list),   \
        .infer = stem##_infer, .ref = stem##_ref, .flops = tensor_flops,                           \
        OP_SAMPLES(stem##_samples)                                                                 \
    }

const qn_op qn_ops_optim_tensor[] = {
    TENSOR("LambUpdate", 6, 3, lamb_attrs, lamb),
    TENSOR("AdafactorUpdate", 6, 3, adafactor_attrs, adafactor),
    TENSOR("AdafactorVectorUpdate", 5, 2, adafactor_attrs, adafactor_vector),
    {0},
};
