/*
 * Bindings of matrix products: MatMul over batches, Gemm with bias and activation.
 */
#include <string.h>

#include "graph/bind/bind.h"
#include "kernel/gemm/gemm.h"
#include "kernel/gemm/gemm_bf16.h"

typedef struct {
    qn_gemm gemm;
    void *scratch;
    qn_bf16_product product; /* of bf16 */
} gemm_args;

static void run_gemm(const void *args, qn_pool *pool, uint32_t step)
{
    (void)step;
    const gemm_args *a = args;
    qn_gemm_f32(pool, &a->gemm, a->scratch);
}

static void run_gemm_bf16(const void *args, qn_pool *pool, uint32_t step)
{
    (void)step;
    const gemm_args *a = args;
    qn_gemm_bf16(pool, &a->product, a->scratch);
}

static bool is_factor(qn_dtype dtype)
{
    return dtype == QN_DTYPE_F32 || dtype == QN_DTYPE_BF16;
}

/* Factors of f32 or bf16, of both types only in a narrow step; the rest f32. */
static bool is_product(const qn_bind *bind)
{
    const qn_op_types *types = bind->types;
    qn_dtype a = types->inputs[0].dtype, b = types->inputs[1].dtype;
    bool bias = types->inputs_count > 2 && types->inputs[2].shape.rank >= 0;
    return is_factor(a) && is_factor(b) && (a == b || bind->narrow) &&
           types->outputs[0].dtype == QN_DTYPE_F32 &&
           (!bias || types->inputs[2].dtype == QN_DTYPE_F32);
}

bool qn_bind_activation(const qn_bind *bind, qn_act *ret, float *ret_slope)
{
    static const char *const names[QN_ACT_COUNT] = {
        [QN_ACT_NONE] = "none",           [QN_ACT_RELU] = "relu", [QN_ACT_LEAKY] = "leaky_relu",
        [QN_ACT_SIGMOID] = "sigmoid",     [QN_ACT_TANH] = "tanh", [QN_ACT_GELU] = "gelu",
        [QN_ACT_GELU_TANH] = "gelu_tanh", [QN_ACT_SILU] = "silu"};
    const char *name = qn_op_attr_s(bind->types, "activation");
    for (int i = 0; i < QN_ACT_COUNT; i++)
        if (strcmp(names[i], name) == 0) {
            *ret = (qn_act)i;
            *ret_slope = (float)qn_op_attr_f(bind->types, "slope");
            return true;
        }
    return false;
}

/* Sizes and leading dimensions from the last two dimensions of each factor. */
static void set_matrices(const qn_bind *bind, qn_gemm *gemm)
{
    const qn_shape *a = &bind->types->inputs[0].shape, *b = &bind->types->inputs[1].shape;
    const int64_t *am = a->dims + a->rank - 2, *bm = b->dims + b->rank - 2;
    gemm->trans_a = qn_op_attr_i(bind->types, "transA") != 0;
    gemm->trans_b = qn_op_attr_i(bind->types, "transB") != 0;
    gemm->m = am[gemm->trans_a];
    gemm->k = am[!gemm->trans_a];
    gemm->n = bm[!gemm->trans_b];
    gemm->lda = am[1];
    gemm->ldb = bm[1];
    gemm->ldc = gemm->n;
    gemm->a = bind->inputs[0].data;
    gemm->b = bind->inputs[1].data;
    gemm->c = bind->outputs[0].data;
    gemm->alpha = 1;
}

/* Element strides of the batch dimensions of `shape`, seen as those of `out`; 0 where it is broadcast. */
static void set_batch(const qn_shape *shape, const qn_shape *out, int64_t *dst)
{
    int64_t step = shape->dims[shape->rank - 1] * shape->dims[shape->rank - 2];
    for (int i = 3; i <= out->rank; i++) {
        int64_t dim = i <= shape->rank ? shape->dims[shape->rank - i] : 1;
        dst[out->rank - i] = dim == 1 ? 0 : step;
        step *= dim;
    }
}

/* One matrix for all rows of a batch. */
static void join_batch(const qn_shape *a, qn_gemm *gemm)
{
    for (int i = 0; i < a->rank - 2; i++)
        gemm->m *= a->dims[i];
}

static bool describe_matmul(const qn_bind *bind, qn_gemm *gemm)
{
    const qn_shape *a = &bind->types->inputs[0].shape, *b = &bind->types->inputs[1].shape;
    const qn_shape *out = &bind->types->outputs[0].shape;
    if (!is_product(bind) || out->rank - 2 > QN_GEMM_BATCH_RANK)
        return false;
    set_matrices(bind, gemm);
    if (b->rank == 2 && !gemm->trans_a) {
        join_batch(a, gemm);
        return true;
    }
    gemm->batch_rank = out->rank - 2;
    for (int i = 0; i < gemm->batch_rank; i++)
        gemm->batch[i] = out->dims[i];
    set_batch(a, out, gemm->batch_a);
    set_batch(b, out, gemm->batch_b);
    set_batch(out, out, gemm->batch_c);
    return true;
}

/* A bias of one value per column, as it comes or with leading ones. */
static bool is_row(const qn_shape *bias, int64_t n)
{
    if (bias->rank < 1 || bias->dims[bias->rank - 1] != n)
        return false;
    return qn_shape_count(bias) == n;
}

static bool describe_gemm(const qn_bind *bind, qn_gemm *gemm)
{
    const qn_op_types *types = bind->types;
    if (!is_product(bind) || !qn_bind_activation(bind, &gemm->act, &gemm->slope))
        return false;
    set_matrices(bind, gemm);
    join_batch(&types->inputs[0].shape, gemm);
    gemm->alpha = (float)qn_op_attr_f(types, "alpha");
    if (types->inputs_count < 3 || types->inputs[2].shape.rank < 0)
        return true;
    double beta = qn_op_attr_f(types, "beta");
    gemm->bias = bind->inputs[2].data;
    return !(beta < 1) && !(beta > 1) && is_row(&types->inputs[2].shape, gemm->n);
}

/* x' dy over all rows of the batch. */
static bool describe_weight(const qn_bind *bind, qn_gemm *gemm)
{
    const qn_shape *out = &bind->types->outputs[0].shape;
    int64_t count = qn_shape_count(&bind->types->inputs[0].shape);
    if (!is_product(bind) || out->dims[0] == 0)
        return false;
    *gemm = (qn_gemm){.m = out->dims[0],
                      .n = out->dims[1],
                      .k = count / out->dims[0],
                      .a = bind->inputs[0].data,
                      .b = bind->inputs[1].data,
                      .c = bind->outputs[0].data,
                      .lda = out->dims[0],
                      .ldb = out->dims[1],
                      .ldc = out->dims[1],
                      .trans_a = true,
                      .alpha = 1};
    return true;
}

static bool describe(const qn_bind *bind, qn_gemm *gemm)
{
    *gemm = (qn_gemm){0};
    if (strcmp(bind->types->op->name, "MatMulGradWeight") == 0)
        return describe_weight(bind, gemm);
    bool matmul = strcmp(bind->types->op->name, "MatMul") == 0;
    return matmul ? describe_matmul(bind, gemm) : describe_gemm(bind, gemm);
}

bool qn_bind_product_takes_bf16(const qn_bind *bind)
{
    qn_gemm gemm;
    return (bind->narrow || bind->types->inputs[0].dtype == QN_DTYPE_BF16) &&
           describe(bind, &gemm) && qn_gemm_bf16_takes(&gemm);
}

static qn_bf16_product product_of(const qn_bind *bind, const qn_gemm *gemm)
{
    return (qn_bf16_product){.gemm = gemm,
                             .a = bind->inputs[0].data,
                             .b = bind->inputs[1].data,
                             .wide_a = bind->types->inputs[0].dtype == QN_DTYPE_F32,
                             .wide_b = bind->types->inputs[1].dtype == QN_DTYPE_F32};
}

static size_t scratch_bytes(const qn_bind *bind)
{
    qn_gemm gemm;
    if (!describe(bind, &gemm))
        return 0;
    qn_bf16_product product = product_of(bind, &gemm);
    return qn_bind_product_takes_bf16(bind)
               ? qn_gemm_bf16_scratch_bytes(&product, bind->context->threads)
               : qn_gemm_f32_scratch_bytes(&gemm, bind->context->threads);
}

/* B of one row's product in the threads' order, where it stays as it is. false = memory is short. */
static bool keep_lines(const qn_bind *bind, qn_gemm *gemm)
{
    bool fresh;
    size_t bytes = bind->fixed && bind->fixed[1] ? qn_gemm_lines_bytes(gemm) : 0;
    if (!bytes)
        return true;
    float *lines = qn_bind_keep(bind, bytes, &fresh);
    if (lines && fresh)
        qn_gemm_lines_pack(gemm, lines);
    gemm->lines = lines;
    return lines != NULL;
}

static bool bind_gemm(const qn_bind *bind)
{
    qn_gemm gemm;
    bool halves = qn_bind_product_takes_bf16(bind);
    if (!describe(bind, &gemm) || (bind->types->inputs[0].dtype == QN_DTYPE_BF16 && !halves))
        return false;
    gemm_args *args = qn_bind_args(bind, sizeof *args);
    if (!args)
        return false;
    *args = (gemm_args){gemm, bind->scratch, product_of(bind, &args->gemm)};
    if (halves)
        return qn_bind_to(bind, run_gemm_bf16, "gemm bf16");
    return keep_lines(bind, &args->gemm) && qn_bind_to(bind, run_gemm, "gemm");
}

const qn_binding qn_bindings_matmul[] = {
    {"MatMul", bind_gemm, scratch_bytes},
    {"Gemm", bind_gemm, scratch_bytes},
    {"MatMulGradWeight", bind_gemm, scratch_bytes},
    {0},
};
