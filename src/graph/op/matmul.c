/*
 * Matrix products: MatMul over batches of matrices, and Gemm with bias and a fused activation.
 *
 * For Y = A B: dA = dY B^T and dB = A^T dY. With a transposed factor the same products appear with
 * their sides exchanged, so no Transpose node is ever needed.
 *
 * Beyond ONNX, the first factor of a Gemm may have more than two dimensions when it is not transposed: all but the last
 * are rows then, as in a MatMul by one matrix, and the bias is a row.
 */
#include "graph/op/common.h"
#include "graph/op/number.h"

#include <string.h>

typedef struct {
    int64_t m, n, k;
    bool trans_a, trans_b;
    qn_shape batch;
    int64_t stride_a[QN_RANK_MAX], stride_b[QN_RANK_MAX]; /* in matrices */
} matmul_sizes;

#define OP_BODY "graph/op/matmul_body.h"
#include "graph/op/typed.h"

static qn_shape batch_part(const qn_shape *shape)
{
    qn_shape batch = *shape;
    batch.rank -= 2;
    return batch;
}

/* Sizes of op(A) op(B); false = the inner dimensions differ. */
static bool read_sizes(const qn_op_types *types, matmul_sizes *ret)
{
    const qn_shape *a = &types->inputs[0].shape, *b = &types->inputs[1].shape;
    const int64_t *am = a->dims + a->rank - 2, *bm = b->dims + b->rank - 2;
    matmul_sizes z = {.trans_a = qn_op_attr_i(types, "transA") != 0,
                      .trans_b = qn_op_attr_i(types, "transB") != 0};
    z.m = am[z.trans_a];
    z.k = am[!z.trans_a];
    z.n = bm[!z.trans_b];
    *ret = z;
    return bm[z.trans_b] == z.k;
}

/* Those of a Gemm, whose first factor may be a batch of rows. */
static bool read_gemm_sizes(const qn_op_types *types, matmul_sizes *ret)
{
    const qn_shape *a = &types->inputs[0].shape;
    bool fits = read_sizes(types, ret);
    for (int i = 0; i < a->rank - 2; i++)
        ret->m *= a->dims[i];
    return fits;
}

static qn_status check_product(const qn_op_types *types, matmul_sizes *ret, qn_error *err)
{
    char a[128], b[128];
    if (!read_sizes(types, ret))
        QN_FAIL(err, QN_ERR_ARG, "cannot multiply %s%s by %s%s",
                qn_shape_text(&types->inputs[0].shape, a), ret->trans_a ? " transposed" : "",
                qn_shape_text(&types->inputs[1].shape, b), ret->trans_b ? " transposed" : "");
    return QN_OK;
}

static qn_status matmul_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    const qn_shape *a = &types->inputs[0].shape, *b = &types->inputs[1].shape;
    matmul_sizes z;
    if (qn_dtype_is_float(types->inputs[0].dtype))
        QN_TRY(qn_op_want_float(types, 0, err));
    else
        QN_TRY(qn_op_want_kind(types, 0, OP_KIND_INTEGER, err));
    QN_TRY(qn_op_want_dtype(types, 1, types->inputs[0].dtype, err));
    if (a->rank < 2 || b->rank < 2)
        QN_FAIL(err, QN_ERR_ARG, "inputs have %d and %d dimensions, expected at least 2", a->rank,
                b->rank);
    QN_TRY(check_product(types, &z, err));
    qn_shape batch_a = batch_part(a), batch_b = batch_part(b), out;
    QN_TRY(qn_shape_broadcast(&batch_a, &batch_b, &out, err));
    out.dims[out.rank] = z.m;
    out.dims[out.rank + 1] = z.n;
    out.rank += 2;
    ret_outputs[0] = (qn_type){types->inputs[0].dtype, out};
    return QN_OK;
}

/* Integers wrap. */
static void matmul_integers(const qn_op_run *run, const matmul_sizes *z)
{
    const qn_tensor *a = &run->inputs[0], *b = &run->inputs[1];
    int64_t count = qn_shape_count(&z->batch) * z->m * z->n;
    for (int64_t i = 0; i < count; i++) {
        int64_t batch = i / (z->m * z->n), row = i / z->n % z->m, col = i % z->n;
        int64_t am = qn_op_offset(&z->batch, z->stride_a, batch) * z->m * z->k;
        int64_t bm = qn_op_offset(&z->batch, z->stride_b, batch) * z->k * z->n;
        uint64_t sum = 0;
        for (int64_t k = 0; k < z->k; k++)
            sum += (uint64_t)qn_op_get_i64(a, am + (z->trans_a ? k * z->m + row : row * z->k + k)) *
                   (uint64_t)qn_op_get_i64(b, bm + (z->trans_b ? col * z->k + k : k * z->n + col));
        qn_op_put_i64(&run->outputs[0], i, (int64_t)sum);
    }
}

static void matmul_ref(const qn_op_run *run)
{
    matmul_sizes z;
    bool fits = read_sizes(run->types, &z);
    QN_ASSERT(fits);
    qn_shape batch_a = batch_part(&run->inputs[0].shape);
    qn_shape batch_b = batch_part(&run->inputs[1].shape);
    z.batch = batch_part(&run->outputs[0].shape);
    qn_op_strides(&batch_a, &z.batch, z.stride_a);
    qn_op_strides(&batch_b, &z.batch, z.stride_b);
    if (qn_dtype_is_float(run->inputs[0].dtype))
        OP_FLOAT_CALL(run->inputs[0].dtype, matmul, run, &z);
    else
        matmul_integers(run, &z);
}

static qn_value product(const qn_op_vjp *in, qn_value a, bool trans_a, qn_value b, bool trans_b)
{
    bool gemm = strcmp(in->types->op->name, "Gemm") == 0;
    qn_attr attrs[3] = {QN_ATTR_I("transA", trans_a), QN_ATTR_I("transB", trans_b)};
    if (gemm)
        attrs[2] = QN_ATTR_F("alpha", qn_op_attr_f(in->types, "alpha"));
    return qn_graph_node(in->graph, gemm ? "Gemm" : "MatMul", (qn_value[]){a, b}, 2, attrs,
                         gemm ? 3 : 2);
}

/* One matrix for all rows of a batch: its gradient is one product over all of them. */
static bool is_shared(const qn_op_types *types)
{
    return types->inputs[0].shape.rank > 2 && types->inputs[1].shape.rank == 2;
}

static void product_vjp(const qn_op_vjp *in, qn_value dy, qn_value *ret)
{
    bool ta = qn_op_attr_i(in->types, "transA") != 0, tb = qn_op_attr_i(in->types, "transB") != 0;
    qn_value a = in->inputs[0], b = in->inputs[1];
    if (is_shared(in->types) && !ta) {
        ret[0] = product(in, dy, false, b, !tb);
        ret[1] = qn_graph_op2(in->graph, "MatMulGradWeight", tb ? dy : a, tb ? a : dy);
        if (strcmp(in->types->op->name, "Gemm") == 0)
            ret[1] = qn_op_scale(in, ret[1], qn_op_attr_f(in->types, "alpha"));
        return;
    }
    qn_value da = ta ? product(in, b, tb, dy, true) : product(in, dy, false, b, !tb);
    qn_value db = tb ? product(in, dy, true, a, ta) : product(in, a, !ta, dy, false);
    ret[0] = qn_op_reduce_to(in->graph, da, &in->types->inputs[0]);
    ret[1] = qn_op_reduce_to(in->graph, db, &in->types->inputs[1]);
}

static void matmul_vjp(const qn_op_vjp *in, qn_value *ret)
{
    product_vjp(in, in->grads[0], ret);
}

static qn_status gemm_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    matmul_sizes z;
    char text[128];
    QN_TRY(qn_op_want_float(types, 0, err));
    QN_TRY(qn_op_want_dtype(types, 1, types->inputs[0].dtype, err));
    QN_TRY(qn_op_want_rank(types, 1, 2, err));
    const qn_shape *a = &types->inputs[0].shape;
    bool batch = a->rank > 2 && !qn_op_attr_i(types, "transA");
    if (!batch)
        QN_TRY(qn_op_want_rank(types, 0, 2, err));
    QN_TRY(check_product(types, &z, err));
    qn_shape out = batch ? *a : QN_SHAPE(z.m, z.n), joined;
    out.dims[out.rank - 1] = z.n;
    if (batch && qn_op_has(types, 2))
        QN_TRY(qn_op_want_rank(types, 2, 1, err));
    if (qn_op_has(types, 2)) {
        QN_TRY(qn_op_want_dtype(types, 2, types->inputs[0].dtype, err));
        QN_TRY(qn_shape_broadcast(&types->inputs[2].shape, &out, &joined, err));
        if (!qn_shape_equal(&joined, &out))
            QN_FAIL(err, QN_ERR_ARG, "input 2 is %s, which is larger than the product",
                    qn_shape_text(&types->inputs[2].shape, text));
    }
    ret_outputs[0] = (qn_type){types->inputs[0].dtype, out};
    return QN_OK;
}

static void gemm_ref(const qn_op_run *run)
{
    matmul_sizes z;
    bool fits = read_gemm_sizes(run->types, &z);
    QN_ASSERT(fits);
    OP_FLOAT_CALL(run->inputs[0].dtype, gemm, run, &z);
}

static void gemm_vjp(const qn_op_vjp *in, qn_value *ret)
{
    qn_value dz = qn_op_activation_vjp(in);
    product_vjp(in, dz, ret);
    if (!qn_op_has(in->types, 2))
        return;
    double beta = qn_op_attr_f(in->types, "beta");
    ret[2] = qn_op_reduce_to(in->graph, dz, &in->types->inputs[2]);
    if (beta < 1 || beta > 1)
        ret[2] = qn_op_scale(in, ret[2], beta);
}

static qn_status weight_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    const qn_shape *x = &types->inputs[0].shape, *dy = &types->inputs[1].shape;
    char came[128], want[128];
    QN_TRY(qn_op_want_float(types, 0, err));
    QN_TRY(qn_op_want_dtype(types, 1, types->inputs[0].dtype, err));
    QN_TRY(qn_op_want_rank(types, 1, x->rank, err));
    qn_shape rows = *dy;
    if (x->rank > 0)
        rows.dims[x->rank - 1] = x->dims[x->rank - 1];
    if (x->rank < 2 || !qn_shape_equal(&rows, x) || dy->dims[x->rank - 1] < 0 ||
        x->dims[x->rank - 1] < 0)
        QN_FAIL(err, QN_ERR_ARG, "cannot multiply the rows of %s and %s", qn_shape_text(x, came),
                qn_shape_text(dy, want));
    ret_outputs[0] =
        (qn_type){types->inputs[0].dtype, QN_SHAPE(x->dims[x->rank - 1], dy->dims[x->rank - 1])};
    return QN_OK;
}

static void weight_ref(const qn_op_run *run)
{
    const qn_shape *out = &run->outputs[0].shape;
    int64_t count = qn_shape_count(&run->inputs[0].shape);
    OP_FLOAT_CALL(run->inputs[0].dtype, weight_grad, run, out->dims[0] ? count / out->dims[0] : 0);
}

static int64_t weight_flops(const qn_op_types *types)
{
    return 2 * qn_shape_count(&types->inputs[0].shape) * types->outputs[0].shape.dims[1];
}

static int64_t product_flops(const qn_op_types *types)
{
    matmul_sizes z;
    bool fits = read_sizes(types, &z);
    return fits ? 2 * z.k * qn_shape_count(&types->outputs[0].shape) : 0;
}

#define TRANS                                                                                      \
    {.name = "transA", .kind = QN_ATTR_INT, .high = 1},                                            \
    {                                                                                              \
        .name = "transB", .kind = QN_ATTR_INT, .high = 1                                           \
    }
static const qn_attr_spec matmul_attrs[] = {
    TRANS,
    {0},
};
static const qn_attr_spec gemm_attrs[] = {
    TRANS,
    {.name = "alpha", .kind = QN_ATTR_FLOAT, .value = 1},
    {.name = "beta", .kind = QN_ATTR_FLOAT, .value = 1},
    OP_ACTIVATION_ATTRS,
    {0},
};

#define MATMUL(a, b, count, ...)                                                                   \
    {                                                                                              \
        .inputs_count = 2, .inputs = {a, b}, .low = -1, .high = 1, .attrs_count = (count),         \
        .attrs = {                                                                                 \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }
#define GEMM(a, b, c, count, ...)                                                                  \
    {                                                                                              \
        .inputs_count = 3, .inputs = {a, b, c}, .low = -1, .high = 1, .attrs_count = (count),      \
        .attrs = {                                                                                 \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }
#define FUSED(word) GEMM(OP_F64(3, 4), OP_F64(4, 5), OP_F64(5), 1, OP_AS("activation", word))

static const qn_op_sample weight_samples[] = {
    {.inputs_count = 2, .inputs = {OP_F64(2, 3, 4), OP_F64(2, 3, 5)}, .low = -1, .high = 1},
    {.inputs_count = 2, .inputs = {OP_F64(7, 2), OP_F64(7, 1)}, .low = -1, .high = 1},
};
static const qn_op_sample matmul_samples[] = {
    MATMUL(OP_F64(3, 4), OP_F64(4, 5), 0, {0}),
    MATMUL(OP_F64(2, 1, 3, 4), OP_F64(3, 4, 5), 0, {0}),
    MATMUL(OP_F64(2, 3, 4), OP_F64(4, 5), 0, {0}),
    MATMUL(OP_F64(2, 3, 4), OP_F64(5, 4), 1, OP_AI("transB", 1)),
    MATMUL(OP_F64(2, 4, 3), OP_F64(2, 4, 5), 1, OP_AI("transA", 1)),
    MATMUL(OP_F64(3, 4), OP_F64(5, 4), 1, OP_AI("transB", 1)),
    MATMUL(OP_F64(4, 3), OP_F64(5, 4), 2, OP_AI("transA", 1), OP_AI("transB", 1)),
    MATMUL(OP_I32(2, 3, 4), OP_I32(4, 5), 0, {0}),
};
static const qn_op_sample gemm_samples[] = {
    MATMUL(OP_F64(3, 4), OP_F64(4, 5), 0, {0}),
    GEMM(OP_F64(3, 4), OP_F64(4, 5), OP_F64(5), 0, {0}),
    GEMM(OP_F64(4, 3), OP_F64(5, 4), OP_F64(3, 1), 4, OP_AI("transA", 1), OP_AI("transB", 1),
         OP_AF("alpha", 0.5), OP_AF("beta", 2)),
    GEMM(OP_F64(4, 3), OP_F64(4, 5), OP_F64_SCALAR, 1, OP_AI("transA", 1)),
    GEMM(OP_F64(2, 3, 4), OP_F64(4, 5), OP_F64(5), 0, {0}),
    GEMM(OP_F64(2, 2, 3, 4), OP_F64(5, 4), OP_F64(5), 3, OP_AI("transB", 1), OP_AF("alpha", 0.5),
         OP_AS("activation", "relu")),
    FUSED("relu"),
    FUSED("leaky_relu"),
    FUSED("sigmoid"),
    FUSED("tanh"),
    FUSED("gelu"),
    FUSED("gelu_tanh"),
    FUSED("silu"),
};

const qn_op qn_ops_matmul[] = {
    {.name = "MatMul",
     .inputs_min = 2,
     .inputs_max = 2,
     .factors = 3,
     .outputs_count = 1,
     .attrs = matmul_attrs,
     .infer = matmul_infer,
     .vjp = matmul_vjp,
     .ref = matmul_ref,
     .flops = product_flops,
     OP_SAMPLES(matmul_samples)},
    {.name = "Gemm",
     .inputs_min = 2,
     .inputs_max = 3,
     .factors = 3,
     .outputs_count = 1,
     .attrs = gemm_attrs,
     .infer = gemm_infer,
     .vjp = gemm_vjp,
     .ref = gemm_ref,
     .flops = product_flops,
     OP_SAMPLES(gemm_samples)},
    {.name = "MatMulGradWeight",
     .inputs_min = 2,
     .inputs_max = 2,
     .factors = 3,
     .outputs_count = 1,
     .flags = QN_OP_NO_GRADIENT,
     .infer = weight_infer,
     .ref = weight_ref,
     .flops = weight_flops,
     OP_SAMPLES(weight_samples)},
    {0},
};
