/*
 * Attention (Vaswani et al., 2017): y = softmax(scale q k' + mask) v for every head.
 *
 * q is [B, T, H, D] or [B, T, H * D] with q_num_heads; k and v have S positions and may have fewer heads, each serving
 * a group of query heads (Ainslie et al., 2023). A query i sees keys j below lengths[b], with j <= i when causal,
 * |i - j| < window when window > 0, and those that a bool mask allows; a float mask is added to the scores. A query
 * that sees nothing gives 0. softcap: score -> softcap tanh(score / softcap), before the mask.
 * With starts[b], row b's query i stands at position starts[b] + i: what comes next after keys that are kept already.
 * alibi subtracts slope(h) |i - j| from the scores, slopes falling geometrically from head to head (Press et al., 2022).
 * lse, the log of the sum of exponentials, is kept so that the gradient can compute p = exp(s - lse) again:
 *   dv = p' dy,  ds = p (dy v' - sum(dy y)) scale,  dq = ds k,  dk = ds' q.
 * The mask is data: no gradient flows into it.
 */
#include "graph/op/attention.h"

#include <math.h>

#include "graph/op/common.h"

enum { CHUNK = 64 };

typedef struct {
    int64_t batch, heads, kv_heads, queries, keys, dim, value_dim, window;
    double scale, softcap;
    bool causal, alibi, allowed; /* allowed: the mask is of bools */
    const int64_t *lengths, *starts;
    const void *mask;
    int64_t mask_batch, mask_head;
} attention_walk;

static int64_t q_place(const attention_walk *w, int64_t b, int64_t i, int64_t h)
{
    return ((b * w->queries + i) * w->heads + h) * w->dim;
}
static int64_t y_place(const attention_walk *w, int64_t b, int64_t i, int64_t h)
{
    return ((b * w->queries + i) * w->heads + h) * w->value_dim;
}
static int64_t kv_head(const attention_walk *w, int64_t b, int64_t j, int64_t h)
{
    return (b * w->keys + j) * w->kv_heads + h / (w->heads / w->kv_heads);
}
static int64_t k_place(const attention_walk *w, int64_t b, int64_t j, int64_t h)
{
    return kv_head(w, b, j, h) * w->dim;
}
static int64_t v_place(const attention_walk *w, int64_t b, int64_t j, int64_t h)
{
    return kv_head(w, b, j, h) * w->value_dim;
}
static int64_t mask_place(const attention_walk *w, int64_t b, int64_t h, int64_t i, int64_t j)
{
    return b * w->mask_batch + h * w->mask_head + i * w->keys + j;
}

/* From query i to key j. */
static int64_t distance(const attention_walk *w, int64_t b, int64_t i, int64_t j)
{
    return j - i - (w->starts ? w->starts[b] : 0);
}

/* Powers of 2^(-8 / n) for n heads when n is a power of two, else those of the next lower one and then every other one
 * of twice as many: the paper's own code. */
double qn_op_alibi_slope(int64_t head, int64_t heads)
{
    int64_t whole = 1;
    while (2 * whole <= heads)
        whole *= 2;
    if (head < whole)
        return exp2(-8.0 * (double)(head + 1) / (double)whole);
    return exp2(-4.0 * (double)(2 * (head - whole) + 1) / (double)whole);
}

static bool is_seen(const attention_walk *w, int64_t b, int64_t h, int64_t i, int64_t j)
{
    int64_t away = distance(w, b, i, j);
    if (w->lengths && j >= w->lengths[b])
        return false;
    if (w->causal && away > 0)
        return false;
    if (w->window > 0 && (away >= w->window || -away >= w->window))
        return false;
    return !w->allowed || ((const uint8_t *)w->mask)[mask_place(w, b, h, i, j)] != 0;
}

#define OP_BODY "graph/op/attention_body.h"
#include "graph/op/typed.h"

/* Heads and size of each head of input `x`; dimensions that are not known stay symbols. */
static qn_status split_heads(const qn_op_types *types, int x, int64_t heads, int64_t *ret_heads,
                             int64_t *ret_dim, qn_error *err)
{
    const qn_shape *shape = &types->inputs[x].shape;
    char text[128];
    if (shape->rank != 3 && shape->rank != 4)
        QN_FAIL(err, QN_ERR_ARG, "input %d is %s, expected [B, T, H, D] or [B, T, H * D]", x,
                qn_shape_text(shape, text));
    if (shape->rank == 3 && heads < 1)
        QN_FAIL(err, QN_ERR_ARG, "input %d is %s, which needs q_num_heads", x,
                qn_shape_text(shape, text));
    *ret_heads = shape->rank == 4 ? shape->dims[2] : heads;
    int64_t width = shape->dims[shape->rank - 1];
    if (*ret_heads < 1 || width < 1 || (shape->rank == 3 && width % *ret_heads))
        QN_FAIL(err, QN_ERR_ARG, "%lld heads do not divide input %d, %s", (long long)*ret_heads, x,
                qn_shape_text(shape, text));
    *ret_dim = shape->rank == 4 ? width : width / *ret_heads;
    return QN_OK;
}

/* The mask is [queries, keys] or [B or 1, H or 1, queries, keys], of bools or like q. */
static qn_status check_mask(const qn_op_types *types, int mask, int q, const attention_walk *w,
                            qn_error *err)
{
    const qn_type *type = &types->inputs[mask];
    const int64_t *dims = type->shape.dims + type->shape.rank - 2;
    char text[128];
    if (type->dtype != QN_DTYPE_BOOL)
        QN_TRY(qn_op_want_dtype(types, mask, types->inputs[q].dtype, err));
    bool fits = (type->shape.rank == 2 || type->shape.rank == 4) && dims[0] == w->queries &&
                dims[1] == w->keys;
    if (fits && type->shape.rank == 4)
        fits = (type->shape.dims[0] == 1 || type->shape.dims[0] == w->batch) &&
               (type->shape.dims[1] == 1 || type->shape.dims[1] == w->heads);
    if (!fits)
        QN_FAIL(err, QN_ERR_ARG,
                "input %d is %s, expected [queries, keys] or [B, H, queries, keys]", mask,
                qn_shape_text(&type->shape, text));
    return QN_OK;
}

/* Sizes from q, k, v at inputs [q, q + 3) with mask, lengths and starts from `mask` on. */
static qn_status read_walk(const qn_op_types *types, int q, int mask, attention_walk *ret,
                           qn_error *err)
{
    const qn_shape *qs = &types->inputs[q].shape, *ks = &types->inputs[q + 1].shape;
    int64_t heads = qn_op_attr_i(types, "q_num_heads"), shared = 0, dim = 0;
    int64_t kv = qn_op_attr_i(types, "kv_num_heads");
    attention_walk w = {.window = qn_op_attr_i(types, "window"),
                        .softcap = qn_op_attr_f(types, "softcap"),
                        .causal = qn_op_attr_i(types, "is_causal") != 0,
                        .alibi = qn_op_attr_i(types, "alibi") != 0};
    char came[128], want[128];
    QN_TRY(qn_op_want_float(types, q, err));
    QN_TRY(split_heads(types, q, heads, &w.heads, &w.dim, err));
    QN_TRY(split_heads(types, q + 1, kv ? kv : heads, &w.kv_heads, &dim, err));
    QN_TRY(split_heads(types, q + 2, kv ? kv : heads, &shared, &w.value_dim, err));
    QN_TRY(qn_op_want_dtype(types, q + 1, types->inputs[q].dtype, err));
    QN_TRY(qn_op_want_dtype(types, q + 2, types->inputs[q].dtype, err));
    const qn_shape *vs = &types->inputs[q + 2].shape;
    if (dim != w.dim || shared != w.kv_heads || w.heads % w.kv_heads ||
        qs->dims[0] != ks->dims[0] || ks->dims[0] != vs->dims[0] || ks->dims[1] != vs->dims[1] ||
        qs->rank != vs->rank)
        QN_FAIL(err, QN_ERR_ARG, "queries %s in %lld heads cannot attend to keys %s in %lld",
                qn_shape_text(qs, came), (long long)w.heads, qn_shape_text(ks, want),
                (long long)w.kv_heads);
    w.batch = qs->dims[0];
    w.queries = qs->dims[1];
    w.keys = ks->dims[1];
    w.scale = qn_op_attr_f(types, "scale");
    w.scale = w.scale > 0 ? w.scale : 1 / sqrt((double)w.dim);
    if (qn_op_has(types, mask))
        QN_TRY(check_mask(types, mask, q, &w, err));
    for (int i = mask + 1; i < mask + 3; i++) {
        qn_shape each = QN_SHAPE(w.batch);
        if (!qn_op_has(types, i))
            continue;
        QN_TRY(qn_op_want_dtype(types, i, QN_DTYPE_I64, err));
        QN_TRY(qn_op_want_shape(types, i, &each, err));
    }
    *ret = w;
    return QN_OK;
}

static attention_walk walk_of(const qn_op_run *run, int q, int mask)
{
    attention_walk w = {0};
    qn_status status = read_walk(run->types, q, mask, &w, NULL);
    QN_ASSERT(status == QN_OK);
    if (qn_op_has(run->types, mask)) {
        const qn_shape *shape = &run->inputs[mask].shape;
        w.mask = run->inputs[mask].data;
        w.allowed = run->inputs[mask].dtype == QN_DTYPE_BOOL;
        int64_t one = w.queries * w.keys;
        w.mask_head = shape->rank == 4 && shape->dims[1] > 1 ? one : 0;
        w.mask_batch = shape->rank == 4 && shape->dims[0] > 1 ? one * shape->dims[1] : 0;
    }
    if (qn_op_has(run->types, mask + 1))
        w.lengths = run->inputs[mask + 1].data;
    if (qn_op_has(run->types, mask + 2))
        w.starts = run->inputs[mask + 2].data;
    return w;
}

static qn_status attention_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    attention_walk w = {0};
    QN_TRY(read_walk(types, 0, 3, &w, err));
    ret_outputs[0] = types->inputs[0];
    qn_shape *y = &ret_outputs[0].shape;
    y->dims[y->rank - 1] = y->rank == 4 ? w.value_dim : w.value_dim * w.heads;
    ret_outputs[1] = (qn_type){types->inputs[0].dtype, QN_SHAPE(w.batch, w.heads, w.queries)};
    return QN_OK;
}

static void attention_ref(const qn_op_run *run)
{
    attention_walk w = walk_of(run, 0, 3);
    OP_FLOAT_CALL(run->inputs[0].dtype, attention, run, &w);
}

static void attention_vjp(const qn_op_vjp *in, qn_value *ret)
{
    qn_value inputs[9] = {in->grads[0],  in->inputs[0],  in->inputs[1],
                          in->inputs[2], in->outputs[0], in->outputs[1],
                          QN_NONE,       QN_NONE,        QN_NONE};
    if (in->grads[1] != QN_NONE)
        qn_graph_fail(in->graph, QN_ERR_ARG, "Attention: its log-sum-exp has no gradient");
    if (in->grads[0] == QN_NONE || in->grads[1] != QN_NONE)
        return;
    int count = 6;
    for (int i = 3; i < 6; i++)
        if (qn_op_has(in->types, i)) {
            inputs[3 + i] = in->inputs[i];
            count = 4 + i;
        }
    qn_value first = qn_op_like_node(in, "AttentionGrad", inputs, count);
    for (int i = 0; i < 3 && first != QN_NONE; i++)
        ret[i] = first + i;
}

static qn_status grad_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    attention_walk w = {0};
    QN_TRY(read_walk(types, 1, 6, &w, err));
    qn_shape y = types->inputs[1].shape, lse = QN_SHAPE(w.batch, w.heads, w.queries);
    y.dims[y.rank - 1] = y.rank == 4 ? w.value_dim : w.value_dim * w.heads;
    for (int i = 0; i < 6; i++)
        QN_TRY(qn_op_want_dtype(types, i, types->inputs[1].dtype, err));
    QN_TRY(qn_op_want_shape(types, 0, &y, err));
    QN_TRY(qn_op_want_shape(types, 4, &y, err));
    QN_TRY(qn_op_want_shape(types, 5, &lse, err));
    for (int i = 0; i < 3; i++)
        ret_outputs[i] = types->inputs[1 + i];
    return QN_OK;
}

static void grad_ref(const qn_op_run *run)
{
    attention_walk w = walk_of(run, 1, 6);
    OP_FLOAT_CALL(run->inputs[0].dtype, attention_grad, run, &w);
}

static int64_t flops_of(const qn_op_types *types, int q, int mask, int64_t products)
{
    attention_walk w = {0};
    qn_status status = read_walk(types, q, mask, &w, NULL);
    QN_ASSERT(status == QN_OK);
    int64_t pairs = w.batch * w.heads * w.queries * w.keys / (w.causal ? 2 : 1);
    return pairs * (products * (w.dim + w.value_dim) + 12);
}
static int64_t attention_flops(const qn_op_types *types)
{
    return flops_of(types, 0, 3, 2);
}
static int64_t grad_flops(const qn_op_types *types)
{
    return flops_of(types, 1, 6, 5);
}

static const qn_attr_spec attrs[] = {
    {.name = "q_num_heads", .kind = QN_ATTR_INT, .low = 0, .high = 65536},
    {.name = "kv_num_heads", .kind = QN_ATTR_INT, .low = 0, .high = 65536},
    {.name = "scale", .kind = QN_ATTR_FLOAT, .low = 0, .high = 1e30},
    {.name = "is_causal", .kind = QN_ATTR_INT, .high = 1},
    {.name = "softcap", .kind = QN_ATTR_FLOAT, .low = 0, .high = 1e30},
    {.name = "window", .kind = QN_ATTR_INT, .low = 0, .high = 1e15},
    {.name = "alibi", .kind = QN_ATTR_INT, .high = 1},
    {0},
};

static const qn_op_sample samples[] = {
    {.inputs_count = 3,
     .inputs = {OP_F64(2, 3, 2, 4), OP_F64(2, 5, 2, 4), OP_F64(2, 5, 2, 3)},
     .low = -1,
     .high = 1},
    {.inputs_count = 3,
     .inputs = {OP_F64(1, 4, 8), OP_F64(1, 4, 4), OP_F64(1, 4, 4)},
     .low = -1,
     .high = 1,
     .attrs_count = 3,
     .attrs = {OP_AI("q_num_heads", 4), OP_AI("kv_num_heads", 2), OP_AI("is_causal", 1)}},
    {.inputs_count = 5,
     .inputs = {OP_F64(2, 4, 2, 3), OP_F64(2, 4, 2, 3), OP_F64(2, 4, 2, 3), OP_F64(1, 2, 4, 4),
                OP_I64(2)},
     .low = -1,
     .high = 4,
     .attrs_count = 3,
     .attrs = {OP_AF("softcap", 2), OP_AF("scale", 0.3), OP_AI("window", 3)}},
    {.inputs_count = 4,
     .inputs = {OP_F64(2, 3, 1, 3), OP_F64(2, 4, 1, 3), OP_F64(2, 4, 1, 3), OP_BOOL(2, 1, 3, 4)},
     .low = -1,
     .high = 1},
    {.inputs_count = 5,
     .inputs = {OP_F64(3, 2, 1, 2), OP_F64(3, 3, 1, 2), OP_F64(3, 3, 1, 2), OP_ABSENT, OP_I64(3)},
     .low = -1,
     .high = 3},
    {.inputs_count = 6,
     .inputs = {OP_F64(3, 2, 3, 2), OP_F64(3, 5, 3, 2), OP_F64(3, 5, 3, 2), OP_ABSENT, OP_ABSENT,
                OP_I64(3)},
     .low = -1,
     .high = 4,
     .attrs_count = 3,
     .attrs = {OP_AI("alibi", 1), OP_AI("is_causal", 1), OP_AI("window", 3)}},
    {.inputs_count = 4,
     .inputs = {OP_F64(1, 3, 2, 2), OP_F64(1, 4, 2, 2), OP_F64(1, 4, 2, 2), OP_F64(3, 4)},
     .low = -1,
     .high = 1,
     .attrs_count = 1,
     .attrs = {OP_AI("alibi", 1)}},
};
/* Both signs: y and lse are not those of q, k and v here, and numbers above 0 would make probabilities far above 1. */
#define Q OP_F64(2, 3, 2, 4)
static const qn_op_sample grad_samples[] = {
    {.inputs_count = 6,
     .inputs = {Q, Q, Q, Q, Q, OP_F64(2, 2, 3)},
     .low = -1,
     .high = 1,
     .attrs_count = 1,
     .attrs = {OP_AI("is_causal", 1)}},
    {.inputs_count = 7,
     .inputs = {Q, Q, Q, Q, Q, OP_F64(2, 2, 3), OP_F64(3, 3)},
     .low = -1,
     .high = 1,
     .attrs_count = 1,
     .attrs = {OP_AF("softcap", 0.5)}},
    {.inputs_count = 9,
     .inputs = {Q, Q, Q, Q, Q, OP_F64(2, 2, 3), OP_ABSENT, OP_ABSENT, OP_I64(2)},
     .low = -2,
     .high = 2,
     .attrs_count = 2,
     .attrs = {OP_AI("alibi", 1), OP_AI("is_causal", 1)}},
};

const qn_op qn_ops_attention[] = {
    {.name = "Attention",
     .inputs_min = 3,
     .inputs_max = 6,
     .factors = 7,
     .outputs_count = 2,
     .attrs = attrs,
     .infer = attention_infer,
     .vjp = attention_vjp,
     .ref = attention_ref,
     .flops = attention_flops,
     OP_SAMPLES(samples)},
    {.name = "AttentionGrad",
     .inputs_min = 6,
     .inputs_max = 9,
     .factors = 15,
     .outputs_count = 3,
     .flags = QN_OP_NO_GRADIENT,
     .attrs = attrs,
     .infer = grad_infer,
     .ref = grad_ref,
     .flops = grad_flops,
     OP_SAMPLES(grad_samples)},
    {0},
};
