/*
 * Bindings of attention and its gradient.
 */
#include <math.h>

#include "graph/bind/bind.h"
#include "graph/op/attention.h"
#include "kernel/attention/attention.h"

static bool has(const qn_bind *bind, int input)
{
    return input < bind->types->inputs_count && bind->types->inputs[input].shape.rank >= 0;
}

static bool is_f32(const qn_bind *bind, int first, int count)
{
    for (int i = first; i < first + count; i++)
        if (bind->types->inputs[i].dtype != QN_DTYPE_F32)
            return false;
    return true;
}

/* Which of q, k, v (from `q` on) and dy (before them, in a gradient) are bf16 in memory. */
static unsigned find_halves(const qn_bind *bind, int q)
{
    unsigned halves = 0;
    for (int i = 0; i < 3; i++)
        if (bind->types->inputs[q + i].dtype == QN_DTYPE_BF16)
            halves |= (unsigned)QN_ATTENTION_Q << i;
    if (q > 0 && bind->types->inputs[0].dtype == QN_DTYPE_BF16)
        halves |= QN_ATTENTION_DY;
    return halves;
}

bool qn_bind_attention_takes_bf16(const qn_bind *bind)
{
    return bind->narrow && qn_pairs();
}

static void describe_mask(const qn_bind *bind, int mask, qn_attention *io)
{
    if (has(bind, mask)) {
        const qn_shape *shape = &bind->types->inputs[mask].shape;
        int64_t one = io->queries * io->keys;
        io->mask_head = shape->rank == 4 && shape->dims[1] > 1 ? one : 0;
        io->mask_batch = shape->rank == 4 && shape->dims[0] > 1 ? one * shape->dims[1] : 0;
        if (bind->types->inputs[mask].dtype == QN_DTYPE_BOOL)
            io->allowed = bind->inputs[mask].data;
        else
            io->bias = bind->inputs[mask].data;
    }
    if (has(bind, mask + 1))
        io->lengths = bind->inputs[mask + 1].data;
    if (has(bind, mask + 2))
        io->starts = bind->inputs[mask + 2].data;
}

/* Arguments of `size` bytes with the heads' slopes behind them, if there are any. */
static void *take_args(const qn_bind *bind, size_t size, qn_attention *io)
{
    bool alibi = qn_op_attr_i(bind->types, "alibi") != 0;
    char *args = qn_bind_args(bind, size + (alibi ? (size_t)io->heads * sizeof(float) : 0));
    if (!args || !alibi)
        return args;
    float *slopes = (float *)(void *)(args + size);
    for (int64_t h = 0; h < io->heads; h++)
        slopes[h] = (float)qn_op_alibi_slope(h, io->heads);
    io->slopes = slopes;
    return args;
}

/* q, k and v at inputs [q, q + 3), the mask and lengths from `mask` on, lse of the forward's type. */
static void describe(const qn_bind *bind, int q, int mask, const qn_shape *lse, qn_attention *io)
{
    const qn_op_types *types = bind->types;
    const qn_shape *qs = &types->inputs[q].shape, *ks = &types->inputs[q + 1].shape;
    const qn_shape *vs = &types->inputs[q + 2].shape;
    int64_t kv = qn_op_attr_i(types, "kv_num_heads"), last = qs->rank - 1;
    *io = (qn_attention){.batch = lse->dims[0],
                         .heads = lse->dims[1],
                         .queries = lse->dims[2],
                         .keys = ks->dims[1],
                         .q = bind->inputs[q].data,
                         .k = bind->inputs[q + 1].data,
                         .v = bind->inputs[q + 2].data,
                         .scale = (float)qn_op_attr_f(types, "scale"),
                         .softcap = (float)qn_op_attr_f(types, "softcap"),
                         .causal = qn_op_attr_i(types, "is_causal") != 0,
                         .window = qn_op_attr_i(types, "window"),
                         .pairs = bind->narrow ? qn_pairs() : NULL};
    if (io->pairs)
        io->halves = find_halves(bind, q);
    io->kv_heads = qs->rank == 4 ? ks->dims[2] : kv ? kv : io->heads;
    io->dim = qs->rank == 4 ? qs->dims[last] : qs->dims[last] / io->heads;
    io->value_dim = qs->rank == 4 ? vs->dims[last] : vs->dims[last] / io->kv_heads;
    if (!(io->scale > 0))
        io->scale = (float)(1 / sqrt((double)io->dim));
    describe_mask(bind, mask, io);
}

typedef struct {
    qn_attention io;
    float *y, *lse;
    void *scratch;
} forward_args;

static void run_forward(const void *args, qn_pool *pool, uint32_t step)
{
    (void)step;
    const forward_args *a = args;
    qn_attention_f32(pool, &a->io, a->y, a->lse, a->scratch);
}

static size_t forward_scratch(const qn_bind *bind)
{
    qn_attention io;
    describe(bind, 0, 3, &bind->types->outputs[1].shape, &io);
    return qn_attention_scratch_bytes(&io, bind->context->threads);
}

static bool bind_forward(const qn_bind *bind)
{
    if (!qn_bind_attention_takes_bf16(bind) && !is_f32(bind, 0, 3))
        return false;
    qn_attention io;
    describe(bind, 0, 3, &bind->types->outputs[1].shape, &io);
    forward_args *args = take_args(bind, sizeof *args, &io);
    if (!args)
        return false;
    args->io = io;
    args->y = bind->outputs[0].data;
    args->lse = bind->wanted[1] ? bind->outputs[1].data : NULL;
    args->scratch = bind->scratch;
    return qn_bind_to(bind, run_forward, io.pairs ? "attention bf16" : "attention");
}

typedef struct {
    qn_attention io;
    qn_attention_grad grad;
    void *scratch;
} grad_args;

static void run_grad(const void *args, qn_pool *pool, uint32_t step)
{
    (void)step;
    const grad_args *a = args;
    qn_attention_grad_f32(pool, &a->io, &a->grad, a->scratch);
}

static size_t grad_scratch(const qn_bind *bind)
{
    qn_attention io;
    describe(bind, 1, 6, &bind->types->inputs[5].shape, &io);
    return qn_attention_grad_scratch_bytes(&io, bind->context->threads);
}

static bool bind_grad(const qn_bind *bind)
{
    bool narrow = qn_bind_attention_takes_bf16(bind);
    if (!is_f32(bind, narrow ? 4 : 0, narrow ? 2 : 6))
        return false;
    qn_attention io;
    describe(bind, 1, 6, &bind->types->inputs[5].shape, &io);
    grad_args *args = take_args(bind, sizeof *args, &io);
    if (!args)
        return false;
    args->io = io;
    args->grad = (qn_attention_grad){.dy = bind->inputs[0].data,
                                     .y = bind->inputs[4].data,
                                     .lse = bind->inputs[5].data,
                                     .dq = bind->outputs[0].data,
                                     .dk = bind->outputs[1].data,
                                     .dv = bind->outputs[2].data};
    args->scratch = bind->scratch;
    return qn_bind_to(bind, run_grad, narrow ? "attention gradient bf16" : "attention gradient");
}

const qn_binding qn_bindings_attention[] = {
    {"Attention", bind_forward, forward_scratch},
    {"AttentionGrad", bind_grad, grad_scratch},
    {0},
};
