/*
 * Narrow steps whose kernels read f32 only: the factors are brought into scratch in the precision of bf16, then the f32
 * kernel runs. What is gained is memory between the ops; the arithmetic is that of f32 on rounded factors. The step stays
 * narrow: recurrent kernels make pairs of the rounded numbers where the CPU multiplies them.
 */
#include <string.h>

#include "graph/bind/bind.h"
#include "kernel/carve.h"
#include "kernel/half/half.h"

bool qn_bind_takes_bf16(const qn_bind *bind)
{
    static const struct {
        const char *op;
        bool (*takes)(const qn_bind *bind);
    } rows[] = {{"Attention", qn_bind_attention_takes_bf16},
                {"AttentionGrad", qn_bind_attention_takes_bf16},
                {"MatMul", qn_bind_product_takes_bf16},
                {"Gemm", qn_bind_product_takes_bf16},
                {"MatMulGradWeight", qn_bind_product_takes_bf16},
                {"Conv", qn_bind_conv_takes_bf16},
                {"ConvTranspose", qn_bind_conv_takes_bf16},
                {"ConvGradData", qn_bind_conv_takes_bf16},
                {"ConvGradWeight", qn_bind_conv_takes_bf16},
                {"ConvReluPool", qn_bind_conv_takes_bf16},
                {"ConvReluPoolGrad", qn_bind_conv_takes_bf16},
                {"LSTM", qn_bind_recurrent_takes_bf16},
                {"GRU", qn_bind_recurrent_takes_bf16},
                {"RNN", qn_bind_recurrent_takes_bf16},
                {"LSTMGrad", qn_bind_recurrent_takes_bf16},
                {"GRUGrad", qn_bind_recurrent_takes_bf16},
                {"RNNGrad", qn_bind_recurrent_takes_bf16}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (strcmp(rows[i].op, bind->types->op->name) == 0)
            return rows[i].takes(bind);
    return false;
}

typedef struct {
    float *dst;
    const void *src;
    bool wide; /* src is f32, to be rounded */
    int64_t count;
} factor;

/* The f32 view that the inner binding sees lives as long as its arguments. */
typedef struct {
    factor factors[QN_OP_INPUTS_MAX];
    int count;
    qn_op_types types;
    qn_type inputs[QN_OP_INPUTS_MAX];
    qn_tensor tensors[QN_OP_INPUTS_MAX];
    qn_bound inner;
} widened_args;

static void run_widened(const void *args, qn_pool *pool, uint32_t step)
{
    const widened_args *a = args;
    for (int i = 0; i < a->count; i++) {
        const factor *f = &a->factors[i];
        if (f->wide)
            qn_f32_round_bf16(pool, f->dst, f->src, f->count);
        else
            qn_f32_of_bf16(pool, f->dst, f->src, f->count);
    }
    a->inner.fn(a->inner.args, pool, step);
}

/* The step as f32, with memory for the factors where the carve has any. */
static qn_bind widen(const qn_bind *bind, widened_args *args, qn_carve *carve)
{
    args->types = *bind->types;
    for (int i = 0; i < bind->types->inputs_count; i++) {
        args->inputs[i] = bind->types->inputs[i];
        args->tensors[i] = bind->inputs[i];
        bool wide = args->inputs[i].dtype == QN_DTYPE_F32;
        if (!(bind->types->op->factors >> i & 1) || args->inputs[i].shape.rank < 0 ||
            (!wide && args->inputs[i].dtype != QN_DTYPE_BF16))
            continue;
        int64_t count = qn_bind_count(&bind->inputs[i]);
        float *copy = qn_carve_take(carve, (size_t)count * sizeof *copy);
        args->factors[args->count++] = (factor){copy, bind->inputs[i].data, wide, count};
        args->inputs[i].dtype = QN_DTYPE_F32;
        args->tensors[i] = qn_tensor_of(copy, QN_DTYPE_F32, bind->inputs[i].shape);
    }
    args->types.inputs = args->inputs;
    qn_bind inner = *bind;
    inner.types = &args->types;
    inner.inputs = args->tensors;
    inner.bound = &args->inner;
    inner.scratch = carve->base ? carve->base + carve->used : NULL;
    return inner;
}

bool qn_bind_widened(const qn_bind *bind, const qn_binding *binding)
{
    const widened_args *before = bind->bound->args;
    qn_bound inner = before ? before->inner : (qn_bound){0}; /* its block is used again */
    widened_args *args = qn_bind_args(bind, sizeof *args);
    if (!args)
        return false;
    args->inner = inner;
    qn_carve carve = {.base = bind->scratch};
    qn_bind f32 = widen(bind, args, &carve);
    if (!(binding && binding->bind(&f32)) && !qn_bind_reference(&f32))
        return false;
    return qn_bind_to(bind, run_widened, binding ? args->inner.kernel : "reference");
}

size_t qn_bind_widened_scratch_bytes(const qn_bind *bind, const qn_binding *binding)
{
    widened_args args = {0};
    qn_carve carve = {0};
    qn_bind f32 = widen(bind, &args, &carve);
    return carve.used + qn_bind_scratch_bytes(&f32, binding);
}
