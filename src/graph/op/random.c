/*
 * Rows whose result is a function of (seed, stream, step, element): Dropout and random tensors.
 *
 * Dropout (Srivastava et al., 2014) is scaled when training so that nothing is left to do otherwise. There is no mask
 * to keep: element i survives when the uniform number i of (seed, stream, step) is at least
 * `ratio`, so the gradient is the same node on dy, which draws the same numbers.
 */
#include "graph/op/common.h"
#include "graph/op/number.h"

#include <math.h>
#include <string.h>

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

/* Random tensors. */

static qn_rng rng_of(const qn_op_run *run)
{
    qn_rng rng = run->rng;
    rng.stream = (uint32_t)qn_op_attr_i(run->types, "stream");
    return rng;
}

/* The attribute `dtype`, or the type of input 0 where it says "same". */
static qn_dtype dtype_of(const qn_op_types *types)
{
    qn_dtype dtype = types->inputs_count > 0 ? types->inputs[0].dtype : QN_DTYPE_F32;
    qn_dtype_find(qn_op_attr_s(types, "dtype"), &dtype); /* "same" is none */
    return dtype;
}

static qn_status like_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    (void)err;
    ret_outputs[0] = (qn_type){dtype_of(types), types->inputs[0].shape};
    return QN_OK;
}

static qn_status shape_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    (void)err;
    qn_shape shape = {0};
    const int64_t *dims = qn_op_attr_ints(types, "shape", &shape.rank);
    memcpy(shape.dims, dims, sizeof shape.dims);
    ret_outputs[0] = (qn_type){dtype_of(types), shape};
    return QN_OK;
}

static void uniform_ref(const qn_op_run *run)
{
    qn_rng rng = rng_of(run);
    double low = qn_op_attr_f(run->types, "low"), high = qn_op_attr_f(run->types, "high");
    for (int64_t i = 0; i < qn_shape_count(&run->outputs[0].shape); i++)
        qn_op_put(&run->outputs[0], i, low + (high - low) * qn_rng_uniform_f64(rng, (uint64_t)i));
}

static void normal_ref(const qn_op_run *run)
{
    qn_rng rng = rng_of(run);
    double mean = qn_op_attr_f(run->types, "mean"), scale = qn_op_attr_f(run->types, "scale");
    for (int64_t i = 0; i < qn_shape_count(&run->outputs[0].shape); i++)
        qn_op_put(&run->outputs[0], i, mean + scale * qn_rng_normal(rng, (uint64_t)i));
}

static qn_status bernoulli_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    QN_TRY(qn_op_want_kind(types, 0, OP_KIND_FLOAT, err));
    return like_infer(types, ret_outputs, err);
}

/* 1 with the probability that the input gives. */
static void bernoulli_ref(const qn_op_run *run)
{
    qn_rng rng = rng_of(run);
    for (int64_t i = 0; i < qn_shape_count(&run->outputs[0].shape); i++) {
        double chance = (double)qn_rng_uniform(rng, (uint64_t)i);
        qn_op_put(&run->outputs[0], i, chance < qn_op_get(&run->inputs[0], i));
    }
}

static qn_status multinomial_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    QN_TRY(qn_op_want_kind(types, 0, OP_KIND_FLOAT, err));
    QN_TRY(qn_op_want_rank(types, 0, 2, err));
    if (types->inputs[0].shape.dims[1] < 1)
        QN_FAIL(err, QN_ERR_ARG, "input 0 has no classes to draw from");
    qn_shape shape = QN_SHAPE(types->inputs[0].shape.dims[0], qn_op_attr_i(types, "sample_size"));
    bool wide = strcmp(qn_op_attr_s(types, "dtype"), "i64") == 0;
    ret_outputs[0] = (qn_type){wide ? QN_DTYPE_I64 : QN_DTYPE_I32, shape};
    return QN_OK;
}

/* Draws from the softmax of each row: the class with the largest logit - log(-log(u)) (Gumbel). */
static void multinomial_ref(const qn_op_run *run)
{
    qn_rng rng = rng_of(run);
    int64_t classes = run->inputs[0].shape.dims[1], draws = run->outputs[0].shape.dims[1];
    for (int64_t i = 0; i < qn_shape_count(&run->outputs[0].shape); i++) {
        int64_t row = i / draws, best = 0;
        double top = -HUGE_VAL;
        for (int64_t c = 0; c < classes; c++) {
            double u = qn_rng_uniform_f64(rng, (uint64_t)(i * classes + c));
            double score = qn_op_get(&run->inputs[0], row * classes + c) - log(-log(u));
            best = score > top ? c : best;
            top = score > top ? score : top;
        }
        qn_op_put_i64(&run->outputs[0], i, best);
    }
}

#define STREAM                                                                                     \
    {                                                                                              \
        .name = "stream", .kind = QN_ATTR_INT, .high = 4294967295.0                                \
    }
#define DTYPE                                                                                      \
    {                                                                                              \
        .name = "dtype", .kind = QN_ATTR_STRING, .choices = "f32 f64 f16 bf16"                     \
    }
#define SAME_DTYPE                                                                                 \
    {                                                                                              \
        .name = "dtype", .kind = QN_ATTR_STRING, .choices = "same " OP_DTYPE_CHOICES               \
    }
#define SHAPE                                                                                      \
    {                                                                                              \
        .name = "shape", .kind = QN_ATTR_INTS, .required = true, .symbolic = true                  \
    }
#define LIMITS                                                                                     \
    {.name = "low", .kind = QN_ATTR_FLOAT},                                                        \
    {                                                                                              \
        .name = "high", .kind = QN_ATTR_FLOAT, .value = 1                                          \
    }
#define BELL                                                                                       \
    {.name = "mean", .kind = QN_ATTR_FLOAT},                                                       \
    {                                                                                              \
        .name = "scale", .kind = QN_ATTR_FLOAT, .value = 1                                         \
    }
static const qn_attr_spec uniform_attrs[] = {SHAPE, LIMITS, DTYPE, STREAM, {0}};
static const qn_attr_spec uniform_like_attrs[] = {LIMITS, SAME_DTYPE, STREAM, {0}};
static const qn_attr_spec normal_attrs[] = {SHAPE, BELL, DTYPE, STREAM, {0}};
static const qn_attr_spec normal_like_attrs[] = {BELL, SAME_DTYPE, STREAM, {0}};
static const qn_attr_spec bernoulli_attrs[] = {SAME_DTYPE, STREAM, {0}};
static const qn_attr_spec multinomial_attrs[] = {
    {.name = "sample_size", .kind = QN_ATTR_INT, .high = 1e12, .value = 1},
    {.name = "dtype", .kind = QN_ATTR_STRING, .choices = "i32 i64"},
    STREAM,
    {0},
};
static const qn_op_sample shape_samples[] = {
    {.attrs_count = 2, .attrs = {OP_AINTS("shape", 5, 7), OP_AI("stream", 3)}},
    {.attrs_count = 3, .attrs = {OP_AINTS("shape", 9), OP_AI("stream", 3), OP_AS("dtype", "f64")}},
};
static const qn_op_sample chance_samples[] = {
    {.inputs_count = 1,
     .inputs = {OP_F64(5, 7)},
     .low = 0,
     .high = 1,
     .attrs_count = 1,
     .attrs = {OP_AI("stream", 4)}},
    {.inputs_count = 1,
     .inputs = {OP_F64(5, 7)},
     .low = 0,
     .high = 1,
     .attrs_count = 2,
     .attrs = {OP_AI("stream", 4), OP_AS("dtype", "f32")}},
};
static const qn_op_sample multinomial_samples[] = {
    {.inputs_count = 1,
     .inputs = {OP_F64(2, 5)},
     .low = -1,
     .high = 1,
     .attrs_count = 2,
     .attrs = {OP_AI("stream", 4), OP_AI("sample_size", 20)}},
};
#define RANDOM_ROW(op_name, stem, count, infer_fn, list, table)                                    \
    {                                                                                              \
        .name = (op_name), .inputs_min = (count), .inputs_max = (count), .outputs_count = 1,       \
        .flags = QN_OP_RANDOM | QN_OP_NO_GRADIENT, .attrs = (list), .infer = infer_fn##_infer,     \
        .ref = stem##_ref, .flops = dropout_flops, OP_SAMPLES(table)                               \
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
    RANDOM_ROW("RandomUniform", uniform, 0, shape, uniform_attrs, shape_samples),
    RANDOM_ROW("RandomUniformLike", uniform, 1, like, uniform_like_attrs, chance_samples),
    RANDOM_ROW("RandomNormal", normal, 0, shape, normal_attrs, shape_samples),
    RANDOM_ROW("RandomNormalLike", normal, 1, like, normal_like_attrs, chance_samples),
    RANDOM_ROW("Bernoulli", bernoulli, 1, bernoulli, bernoulli_attrs, chance_samples),
    RANDOM_ROW("Multinomial", multinomial, 1, multinomial, multinomial_attrs, multinomial_samples),
    {0},
};
