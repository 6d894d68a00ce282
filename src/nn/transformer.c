/*
 * Layers of the transformer. Each part is a layer of its own name, so that its states read
 * "layers.2.0.attention.query.weight".
 */
#include "nn/transformer.h"

#include <string.h>

#include "nn/scope_priv.h"

bool qn_nn_want_sequence(const qn_nn_scope *at, qn_value x)
{
    qn_shape shape = qn_nn_shape(at, x);
    char text[128];
    if (shape.rank == 3 && shape.dims[2] > 0)
        return true;
    qn_nn_fail(at, "expects input of 2 dimensions [T, D], got %s", qn_nn_sample_text(shape, text));
    return false;
}

/* op(x), or op(x, starts). */
static qn_value from_starts(const qn_nn_scope *at, const char *op, qn_value x, qn_value starts)
{
    qn_value inputs[2] = {x, starts};
    return qn_graph_node(at->graph, op, inputs, starts == QN_NONE ? 1 : 2, NULL, 0);
}

qn_value qn_nn_positions_from(const qn_nn_scope *at, qn_value x, qn_nn_positions_kind kind,
                              int64_t count, qn_value starts)
{
    if (!qn_nn_begin(at, x) || !qn_nn_want_sequence(at, x))
        return QN_NONE;
    qn_shape shape = qn_nn_shape(at, x);
    if (kind == QN_NN_POSITIONS_SINUSOIDAL)
        return qn_graph_op2(at->graph, "Add", x, from_starts(at, "SinusoidalPositions", x, starts));
    if (count < 1)
        return qn_nn_fail(at, "learns one vector per position, so the length must be known");
    if (count < shape.dims[1])
        return qn_nn_fail(at, "has %lld positions, got a sequence of %lld", (long long)count,
                          (long long)shape.dims[1]);
    qn_init init = {.kind = QN_INIT_NORMAL, .value = 0.02};
    qn_value weight = qn_nn_state(at, "weight", x, QN_SHAPE(count, shape.dims[2]), init, true);
    if (weight == QN_NONE)
        return QN_NONE;
    if (starts != QN_NONE || shape.dims[1] != count)
        weight = qn_graph_op2(at->graph, "Gather", weight, from_starts(at, "Positions", x, starts));
    return weight == QN_NONE ? QN_NONE : qn_graph_op2(at->graph, "Add", x, weight);
}

qn_value qn_nn_positions(const qn_nn_scope *at, qn_value x, qn_nn_positions_kind kind)
{
    if (!qn_nn_begin(at, x) || !qn_nn_want_sequence(at, x))
        return QN_NONE;
    return qn_nn_positions_from(at, x, kind, qn_nn_shape(at, x).dims[1], QN_NONE);
}

static qn_value project(const qn_nn_scope *at, const char *what, qn_value x, int64_t units,
                        bool no_bias)
{
    qn_nn_part in;
    return qn_nn_dense(qn_nn_part_of(at, what, &in), x,
                       &(qn_nn_dense_options){.units = units, .no_bias = no_bias});
}

static bool check_heads(const qn_nn_scope *at, int64_t width, int64_t heads, int64_t kv_heads,
                        bool rotary)
{
    if (heads < 1 || width % heads)
        qn_nn_fail(at, "has %lld heads, which do not divide %lld numbers", (long long)heads,
                   (long long)width);
    else if (kv_heads < 1 || heads % kv_heads)
        qn_nn_fail(at, "has %lld kv_heads, which do not divide %lld heads", (long long)kv_heads,
                   (long long)heads);
    else if (rotary && width / heads % 2)
        qn_nn_fail(at, "has heads of %lld numbers, rotary positions need an even count",
                   (long long)(width / heads));
    return qn_graph_check(at->graph, NULL) == QN_OK;
}

/* One attention: what it reads, and its sizes. */
typedef struct {
    const qn_nn_attention_options *options;
    const qn_nn_cache *cache;
    qn_value x, memory, lengths, mask;
    bool recalls; /* keys and values of the memory lie in states */
    int64_t width, heads, kv;
} attention;

static qn_value starts_of(const attention *a)
{
    return a->cache && !a->recalls ? a->cache->starts : QN_NONE;
}

static qn_value turn(const qn_nn_scope *at, const attention *a, qn_value x, int64_t heads)
{
    qn_attr attr = QN_ATTR_I("num_heads", heads);
    qn_value inputs[2] = {x, starts_of(a)};
    if (!a->options->rotary || x == QN_NONE)
        return x;
    return qn_graph_node(at->graph, "RotaryEmbedding", inputs, inputs[1] == QN_NONE ? 1 : 2, &attr,
                         1);
}

static qn_value cache_state(const qn_nn_scope *at, const char *what, qn_value like,
                            const qn_nn_cache *cache, int64_t capacity, int64_t width)
{
    return qn_nn_state(at, what, like, QN_SHAPE(cache->rows, capacity, width),
                       (qn_init){.kind = QN_INIT_ZERO}, false);
}

/* The cache with these rows written behind those it has. */
static qn_value append(const qn_nn_scope *at, const char *what, qn_value rows,
                       const qn_nn_cache *cache)
{
    if (rows == QN_NONE)
        return QN_NONE;
    int64_t width = qn_nn_shape(at, rows).dims[2];
    qn_value state = cache_state(at, what, rows, cache, cache->capacity, width);
    if (state == QN_NONE)
        return QN_NONE;
    qn_value inputs[3] = {state, rows, cache->starts};
    qn_value all = qn_graph_node(at->graph, "TensorScatter", inputs, 3, NULL, 0);
    if (all != QN_NONE)
        qn_graph_assign(at->graph, state, all);
    return all;
}

/* Keys and values, made or found. */
static void keys_and_values(const qn_nn_scope *at, const attention *a, qn_value *ret_k,
                            qn_value *ret_v)
{
    int64_t shared = a->width / a->heads * a->kv;
    if (a->recalls) {
        int64_t capacity = a->cache->memory_capacity;
        *ret_k = cache_state(at, "memory_key", a->x, a->cache, capacity, shared);
        *ret_v = cache_state(at, "memory_value", a->x, a->cache, capacity, shared);
        return;
    }
    *ret_k = project(at, "key", a->memory, shared, a->options->no_bias);
    *ret_v = project(at, "value", a->memory, shared, a->options->no_bias);
    if (!qn_nn_begin(at, *ret_v))
        return;
    *ret_k = turn(at, a, *ret_k, a->kv);
    if (a->cache) {
        *ret_k = append(at, "cached_key", *ret_k, a->cache);
        *ret_v = append(at, "cached_value", *ret_v, a->cache);
    }
}

static qn_value attend(const qn_nn_scope *at, attention *a)
{
    const qn_nn_attention_options *o = a->options;
    a->memory = a->memory == QN_NONE ? a->x : a->memory;
    if (!qn_nn_begin(at, a->x) || !qn_nn_want_sequence(at, a->x) ||
        !qn_nn_want_sequence(at, a->memory))
        return QN_NONE;
    a->width = qn_nn_shape(at, a->x).dims[2];
    a->heads = o->heads;
    a->kv = o->kv_heads ? o->kv_heads : o->heads;
    if (!check_heads(at, a->width, a->heads, a->kv, o->rotary))
        return QN_NONE;
    qn_value k, v, q = project(at, "query", a->x, a->width, o->no_bias);
    keys_and_values(at, a, &k, &v);
    if (!qn_nn_begin(at, v))
        return QN_NONE;
    qn_value inputs[6] = {turn(at, a, q, a->heads), k, v, a->mask, a->lengths, starts_of(a)};
    int count = 6;
    while (inputs[count - 1] == QN_NONE)
        count--;
    qn_attr attrs[] = {QN_ATTR_I("q_num_heads", a->heads), QN_ATTR_I("kv_num_heads", a->kv),
                       QN_ATTR_I("is_causal", o->causal),  QN_ATTR_I("window", o->window),
                       QN_ATTR_F("softcap", o->softcap),   QN_ATTR_I("alibi", o->alibi)};
    qn_value y = qn_graph_node(at->graph, "Attention", inputs, count, attrs, 6);
    return project(at, "output", y, a->width, o->no_bias);
}

qn_value qn_nn_masked_attention(const qn_nn_scope *at, qn_value x, qn_value memory,
                                qn_value lengths, qn_value mask,
                                const qn_nn_attention_options *options)
{
    attention a = {.options = options, .x = x, .memory = memory, .lengths = lengths, .mask = mask};
    return attend(at, &a);
}

qn_value qn_nn_multi_head_attention(const qn_nn_scope *at, qn_value x, qn_value memory,
                                    qn_value lengths, const qn_nn_attention_options *options)
{
    return qn_nn_masked_attention(at, x, memory, lengths, QN_NONE, options);
}

qn_value qn_nn_feed_forward(const qn_nn_scope *at, qn_value x, int64_t units,
                            const char *activation)
{
    if (!qn_nn_begin(at, x))
        return QN_NONE;
    int64_t width = qn_nn_channels(at, x);
    if (width < 1)
        return QN_NONE;
    bool gated = activation && strcmp(activation, "swiglu") == 0;
    units = units ? units : 4 * width;
    qn_value up = project(at, "up", x, units, gated);
    if (gated) {
        qn_value gate = project(at, "gate", x, units, true);
        gate = qn_nn_activation(at, gate, "silu");
        up = gate == QN_NONE ? QN_NONE : qn_graph_op2(at->graph, "Mul", gate, up);
    } else {
        up = qn_nn_activation(at, up, activation);
    }
    return project(at, "down", up, width, gated);
}

static qn_value norm(const qn_nn_scope *at, const char *what, qn_value x, bool rms)
{
    qn_nn_part in;
    qn_nn_part_of(at, what, &in);
    return rms ? qn_nn_rms_norm(&in.at, x, 0) : qn_nn_layer_norm(&in.at, x, 0);
}

/* The branches of a block, in their order. */
typedef enum { BRANCH_ATTENTION, BRANCH_CROSS, BRANCH_FEED_FORWARD, BRANCHES } branch_kind;
static const struct {
    const char *name, *norm, *dropout;
} branches[BRANCHES] = {{"attention", "norm1", "dropout1"},
                        {"cross_attention", "cross_norm", "cross_dropout"},
                        {"feed_forward", "norm2", "dropout2"}};

/* A stack of blocks: what it reads beside x. */
typedef struct {
    const qn_nn_transformer_options *options;
    qn_nn_attention_options own, cross; /* of the two attentions */
    qn_value lengths, mask;             /* of x */
    const qn_nn_memory *memory;         /* NULL = no cross-attention */
    const qn_nn_cache *cache;
} stack;

static qn_value branch_body(const qn_nn_scope *at, const stack *s, branch_kind kind, qn_value x)
{
    const qn_nn_transformer_options *o = s->options;
    attention a = {.options = &s->own,
                   .cache = s->cache,
                   .x = x,
                   .memory = QN_NONE,
                   .lengths = s->lengths,
                   .mask = s->mask};
    if (kind == BRANCH_FEED_FORWARD)
        return qn_nn_feed_forward(at, x, o->units, o->activation ? o->activation : "gelu");
    if (kind == BRANCH_CROSS) {
        a.options = &s->cross;
        a.memory = s->memory->value;
        a.lengths = s->memory->lengths;
        a.mask = s->memory->mask;
        a.recalls = s->cache != NULL;
    }
    return attend(at, &a);
}

/* One branch with its norm, dropout and residual connection. */
static qn_value branch(const qn_nn_scope *at, const stack *s, branch_kind kind, qn_value x)
{
    const qn_nn_transformer_options *o = s->options;
    qn_nn_part in, drop;
    qn_value y = o->post_norm ? x : norm(at, branches[kind].norm, x, o->rms);
    y = branch_body(qn_nn_part_of(at, branches[kind].name, &in), s, kind, y);
    if (o->dropout > 0)
        y = qn_nn_dropout(qn_nn_part_of(at, branches[kind].dropout, &drop), y, o->dropout);
    if (!qn_nn_begin(at, y))
        return QN_NONE;
    y = qn_graph_op2(at->graph, "Add", x, y);
    return o->post_norm ? norm(at, branches[kind].norm, y, o->rms) : y;
}

static qn_value blocks(const qn_nn_scope *at, qn_value x, const stack *s)
{
    const qn_nn_transformer_options *o = s->options;
    if (!qn_nn_begin(at, x) || !qn_nn_want_sequence(at, x))
        return QN_NONE;
    for (int64_t i = 0; i < (o->blocks ? o->blocks : 1); i++) {
        qn_nn_part block;
        qn_nn_part_at(at, i, &block);
        for (branch_kind kind = 0; kind < BRANCHES; kind++)
            if (kind != BRANCH_CROSS || s->memory)
                x = branch(&block.at, s, kind, x);
        qn_graph_mark(at->graph, x);
    }
    return o->post_norm ? x : norm(at, "norm", x, o->rms);
}

qn_value qn_nn_masked_transformer(const qn_nn_scope *at, qn_value x, qn_value lengths,
                                  qn_value mask, const qn_nn_transformer_options *options)
{
    stack s = {.options = options, .own = options->attention, .lengths = lengths, .mask = mask};
    return blocks(at, x, &s);
}

qn_value qn_nn_transformer(const qn_nn_scope *at, qn_value x, qn_value lengths,
                           const qn_nn_transformer_options *options)
{
    return qn_nn_masked_transformer(at, x, lengths, QN_NONE, options);
}

/* Positions and windows say how far keys and queries of one sequence are apart: they mean nothing across two. */
static stack decoder(const qn_nn_memory *memory, const qn_nn_cache *cache,
                     const qn_nn_transformer_options *options)
{
    stack s = {.options = options,
               .own = options->attention,
               .cross = options->attention,
               .lengths = QN_NONE,
               .mask = QN_NONE,
               .memory = memory,
               .cache = cache};
    s.own.causal = true;
    s.cross.causal = s.cross.rotary = s.cross.alibi = false;
    s.cross.window = 0;
    return s;
}

qn_value qn_nn_transformer_decoder(const qn_nn_scope *at, qn_value x, const qn_nn_memory *memory,
                                   const qn_nn_cache *cache,
                                   const qn_nn_transformer_options *options)
{
    stack s = decoder(memory, cache, options);
    return blocks(at, x, &s);
}

static void remember(const qn_nn_scope *at, const char *what, const char *state_name,
                     qn_value memory, int64_t shared, const qn_nn_cache *cache, bool no_bias)
{
    qn_value rows = project(at, what, memory, shared, no_bias);
    if (rows == QN_NONE)
        return;
    qn_value state = cache_state(at, state_name, rows, cache, cache->memory_capacity, shared);
    if (state != QN_NONE)
        qn_graph_assign(at->graph, state, rows);
}

void qn_nn_decoder_remember(const qn_nn_scope *at, qn_value memory, const qn_nn_cache *cache,
                            const qn_nn_transformer_options *options)
{
    const qn_nn_attention_options *o = &options->attention;
    int64_t kv = o->kv_heads ? o->kv_heads : o->heads;
    if (!qn_nn_begin(at, memory) || !qn_nn_want_sequence(at, memory) ||
        !check_heads(at, qn_nn_shape(at, memory).dims[2], o->heads, kv, false))
        return;
    int64_t shared = qn_nn_shape(at, memory).dims[2] / o->heads * kv;
    for (int64_t i = 0; i < (options->blocks ? options->blocks : 1); i++) {
        qn_nn_part block, cross;
        qn_nn_part_at(at, i, &block);
        qn_nn_part_of(&block.at, branches[BRANCH_CROSS].name, &cross);
        remember(&cross.at, "key", "memory_key", memory, shared, cache, o->no_bias);
        remember(&cross.at, "value", "memory_value", memory, shared, cache, o->no_bias);
    }
}

/* u8 [B, T, 1]: is the step one of those that count? */
static qn_value counted_steps(const qn_nn_scope *at, qn_value x, qn_value lengths)
{
    qn_graph *graph = at->graph;
    qn_attr range[] = {QN_ATTR_F("start", 0),
                       QN_ATTR_F("limit", (double)qn_nn_shape(at, x).dims[1]),
                       QN_ATTR_S("dtype", "i64")};
    qn_attr axes[] = {{.name = "axes", .kind = QN_ATTR_INTS, .count = 2, .ints = {0, 2}},
                      {.name = "axes", .kind = QN_ATTR_INTS, .count = 2, .ints = {1, 2}}};
    qn_value places = qn_graph_node(graph, "Range", NULL, 0, range, 3);
    if (places == QN_NONE)
        return QN_NONE;
    places = qn_graph_node(graph, "Unsqueeze", &places, 1, &axes[0], 1);
    lengths = qn_graph_node(graph, "Unsqueeze", &lengths, 1, &axes[1], 1);
    return places == QN_NONE ? QN_NONE : qn_graph_op2(graph, "Less", places, lengths);
}

/* x with another number in the steps that do not count. */
static qn_value fill_steps(const qn_nn_scope *at, qn_value x, qn_value lengths, double filling)
{
    qn_value fill = qn_graph_scalar(at->graph, qn_graph_type(at->graph, x)->dtype, filling);
    qn_value inputs[3] = {counted_steps(at, x, lengths), x, fill};
    return inputs[0] == QN_NONE ? QN_NONE : qn_graph_node(at->graph, "Where", inputs, 3, NULL, 0);
}

static qn_value over_steps(const qn_nn_scope *at, qn_value x, const char *op)
{
    qn_attr attrs[] = {{.name = "axes", .kind = QN_ATTR_INTS, .count = 1, .ints = {1}},
                       QN_ATTR_I("keepdims", 0)};
    return x == QN_NONE ? QN_NONE : qn_graph_node(at->graph, op, &x, 1, attrs, 2);
}

/* Sums divided by the numbers of steps, 0 where a row has none. */
static qn_value mean_of_counted(const qn_nn_scope *at, qn_value x, qn_value lengths)
{
    qn_graph *graph = at->graph;
    qn_dtype dtype = qn_graph_type(graph, x)->dtype;
    qn_attr to = QN_ATTR_S("to", qn_dtype_name(dtype));
    qn_attr last = {.name = "axes", .kind = QN_ATTR_INTS, .count = 1, .ints = {1}};
    qn_value sum = over_steps(at, fill_steps(at, x, lengths, 0), "ReduceSum");
    qn_value count = qn_graph_node(graph, "Cast", &lengths, 1, &to, 1);
    if (sum == QN_NONE || count == QN_NONE)
        return QN_NONE;
    count = qn_graph_op2(graph, "Max", count, qn_graph_scalar(graph, dtype, 1));
    count = count == QN_NONE ? QN_NONE : qn_graph_node(graph, "Unsqueeze", &count, 1, &last, 1);
    return count == QN_NONE ? QN_NONE : qn_graph_op2(graph, "Div", sum, count);
}

qn_value qn_nn_global_avg_pool1d(const qn_nn_scope *at, qn_value x, qn_value lengths)
{
    if (!qn_nn_begin(at, x) || !qn_nn_want_sequence(at, x))
        return QN_NONE;
    return lengths == QN_NONE ? over_steps(at, x, "ReduceMean") : mean_of_counted(at, x, lengths);
}

qn_value qn_nn_global_max_pool1d(const qn_nn_scope *at, qn_value x, qn_value lengths)
{
    if (!qn_nn_begin(at, x) || !qn_nn_want_sequence(at, x))
        return QN_NONE;
    if (lengths != QN_NONE)
        x = fill_steps(at, x, lengths,
                       -3e38); /* finite: a row of padding trains nothing, and breaks nothing */
    return over_steps(at, x, "ReduceMax");
}
