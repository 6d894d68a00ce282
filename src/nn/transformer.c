/*
 * Layers of the transformer, and their rows in the table of layers. Each part is a layer of its own name, so that its
 * states read "layers.2.0.attention.query.weight".
 */
#include "nn/transformer.h"

#include <stdio.h>
#include <string.h>

#include "nn/scope_priv.h"
#include "nn/table_priv.h"

/* A layer inside a layer. */
typedef struct {
    char name[224];
    qn_nn_scope at;
} inner;

static const qn_nn_scope *part(const qn_nn_scope *at, const char *what, inner *ret)
{
    int size = snprintf(ret->name, sizeof(ret->name), "%s.%s", at->name, what);
    if (size >= (int)sizeof(ret->name))
        qn_nn_fail(at, "has a name of %d bytes, expected at most %d", size,
                   (int)sizeof(ret->name) - 1);
    ret->at = (qn_nn_scope){at->graph, ret->name, at->label ? at->label : at->name};
    return &ret->at;
}

static bool want_sequence(const qn_nn_scope *at, qn_value x)
{
    qn_shape shape = qn_nn_shape(at, x);
    char text[128];
    if (shape.rank == 3 && shape.dims[2] > 0)
        return true;
    qn_nn_fail(at, "expects input of 2 dimensions [T, D], got %s", qn_nn_sample_text(shape, text));
    return false;
}

qn_value qn_nn_positions(const qn_nn_scope *at, qn_value x, qn_nn_positions_kind kind)
{
    if (!qn_nn_begin(at, x) || !want_sequence(at, x))
        return QN_NONE;
    qn_shape shape = qn_nn_shape(at, x);
    if (kind == QN_NN_POSITIONS_SINUSOIDAL)
        return qn_graph_op2(at->graph, "Add", x, qn_graph_op1(at->graph, "SinusoidalPositions", x));
    if (shape.dims[1] < 1)
        return qn_nn_fail(at, "learns one vector per position, so the length must be known");
    qn_init init = {.kind = QN_INIT_NORMAL, .value = 0.02};
    qn_value weight =
        qn_nn_state(at, "weight", x, QN_SHAPE(shape.dims[1], shape.dims[2]), init, true);
    return weight == QN_NONE ? QN_NONE : qn_graph_op2(at->graph, "Add", x, weight);
}

static qn_value project(const qn_nn_scope *at, const char *what, qn_value x, int64_t units,
                        bool no_bias)
{
    inner in;
    return qn_nn_dense(part(at, what, &in), x,
                       &(qn_nn_dense_options){.units = units, .no_bias = no_bias});
}

static qn_value turn(const qn_nn_scope *at, qn_value x, int64_t heads, bool rotary)
{
    qn_attr attr = QN_ATTR_I("num_heads", heads);
    if (!rotary || x == QN_NONE)
        return x;
    return qn_graph_node(at->graph, "RotaryEmbedding", &x, 1, &attr, 1);
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

qn_value qn_nn_multi_head_attention(const qn_nn_scope *at, qn_value x, qn_value memory,
                                    qn_value lengths, const qn_nn_attention_options *options)
{
    memory = memory == QN_NONE ? x : memory;
    if (!qn_nn_begin(at, x) || !want_sequence(at, x) || !want_sequence(at, memory))
        return QN_NONE;
    int64_t width = qn_nn_shape(at, x).dims[2], heads = options->heads;
    int64_t kv = options->kv_heads ? options->kv_heads : heads;
    if (!check_heads(at, width, heads, kv, options->rotary))
        return QN_NONE;
    int64_t shared = width / heads * kv;
    qn_value q = project(at, "query", x, width, options->no_bias);
    qn_value k = project(at, "key", memory, shared, options->no_bias);
    qn_value v = project(at, "value", memory, shared, options->no_bias);
    if (!qn_nn_begin(at, v))
        return QN_NONE;
    qn_value inputs[5] = {turn(at, q, heads, options->rotary), turn(at, k, kv, options->rotary), v,
                          QN_NONE, lengths};
    qn_attr attrs[] = {QN_ATTR_I("q_num_heads", heads), QN_ATTR_I("kv_num_heads", kv),
                       QN_ATTR_I("is_causal", options->causal),
                       QN_ATTR_I("window", options->window),
                       QN_ATTR_F("softcap", options->softcap)};
    qn_value y =
        qn_graph_node(at->graph, "Attention", inputs, lengths == QN_NONE ? 3 : 5, attrs, 5);
    return project(at, "output", y, width, options->no_bias);
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
    inner in;
    part(at, what, &in);
    return rms ? qn_nn_rms_norm(&in.at, x, 0) : qn_nn_layer_norm(&in.at, x, 0);
}

/* One branch with its norm, dropout and residual connection. */
static qn_value branch(const qn_nn_scope *at, qn_value x, qn_value lengths, bool attends,
                       const qn_nn_transformer_options *o)
{
    const char *what = attends ? "attention" : "feed_forward";
    const char *norms = attends ? "norm1" : "norm2", *drops = attends ? "dropout1" : "dropout2";
    inner in, drop;
    part(at, what, &in);
    qn_value y = o->post_norm ? x : norm(at, norms, x, o->rms);
    if (attends)
        y = qn_nn_multi_head_attention(&in.at, y, QN_NONE, lengths, &o->attention);
    else
        y = qn_nn_feed_forward(&in.at, y, o->units, o->activation ? o->activation : "gelu");
    if (o->dropout > 0)
        y = qn_nn_dropout(part(at, drops, &drop), y, o->dropout);
    if (!qn_nn_begin(at, y))
        return QN_NONE;
    y = qn_graph_op2(at->graph, "Add", x, y);
    return o->post_norm ? norm(at, norms, y, o->rms) : y;
}

qn_value qn_nn_transformer(const qn_nn_scope *at, qn_value x, qn_value lengths,
                           const qn_nn_transformer_options *options)
{
    if (!qn_nn_begin(at, x) || !want_sequence(at, x))
        return QN_NONE;
    for (int64_t i = 0; i < (options->blocks ? options->blocks : 1); i++) {
        char number[24];
        inner block;
        snprintf(number, sizeof(number), "%lld", (long long)i);
        part(at, number, &block);
        x = branch(&block.at, x, lengths, true, options);
        x = branch(&block.at, x, lengths, false, options);
    }
    return options->post_norm ? x : norm(at, "norm", x, options->rms);
}

static qn_value pool_steps(const qn_nn_scope *at, qn_value x, const char *op)
{
    if (!qn_nn_begin(at, x) || !want_sequence(at, x))
        return QN_NONE;
    qn_attr attrs[] = {{.name = "axes", .kind = QN_ATTR_INTS, .count = 1, .ints = {1}},
                       QN_ATTR_I("keepdims", 0)};
    return qn_graph_node(at->graph, op, &x, 1, attrs, 2);
}

qn_value qn_nn_global_avg_pool1d(const qn_nn_scope *at, qn_value x)
{
    return pool_steps(at, x, "ReduceMean");
}

qn_value qn_nn_global_max_pool1d(const qn_nn_scope *at, qn_value x)
{
    return pool_steps(at, x, "ReduceMax");
}

static qn_value build_positions(const qn_nn_scope *at, const qn_nn_building *b, qn_value x,
                                const qn_nn_slot *s)
{
    (void)b;
    return qn_nn_positions(
        at, x, s[0].word[0] == 'l' ? QN_NN_POSITIONS_LEARNED : QN_NN_POSITIONS_SINUSOIDAL);
}

static qn_value build_attention(const qn_nn_scope *at, const qn_nn_building *b, qn_value x,
                                const qn_nn_slot *s)
{
    (void)b;
    qn_nn_attention_options options = {.heads = s[0].i,
                                       .kv_heads = s[1].i,
                                       .causal = s[2].i,
                                       .rotary = s[3].i,
                                       .window = s[4].i,
                                       .no_bias = !s[5].i};
    return qn_nn_multi_head_attention(at, x, QN_NONE, QN_NONE, &options);
}

static qn_value build_feed_forward(const qn_nn_scope *at, const qn_nn_building *b, qn_value x,
                                   const qn_nn_slot *s)
{
    (void)b;
    return qn_nn_feed_forward(at, x, s[0].i, s[1].word);
}

static qn_value build_transformer(const qn_nn_scope *at, const qn_nn_building *b, qn_value x,
                                  const qn_nn_slot *s)
{
    (void)b;
    qn_nn_transformer_options options = {.attention = {.heads = s[0].i,
                                                       .kv_heads = s[1].i,
                                                       .causal = s[2].i,
                                                       .rotary = s[3].i,
                                                       .window = s[4].i,
                                                       .no_bias = !s[5].i},
                                         .blocks = s[6].i,
                                         .units = s[7].i,
                                         .activation = s[8].word,
                                         .dropout = s[9].f,
                                         .post_norm = strcmp(s[10].word, "post") == 0,
                                         .rms = strcmp(s[11].word, "rms") == 0};
    return qn_nn_transformer(at, x, QN_NONE, &options);
}

static qn_value build_avg_pool(const qn_nn_scope *at, const qn_nn_building *b, qn_value x,
                               const qn_nn_slot *s)
{
    (void)b;
    (void)s;
    return qn_nn_global_avg_pool1d(at, x);
}

static qn_value build_max_pool(const qn_nn_scope *at, const qn_nn_building *b, qn_value x,
                               const qn_nn_slot *s)
{
    (void)b;
    (void)s;
    return qn_nn_global_max_pool1d(at, x);
}

#define FLAG(key, default_value, text)                                                             \
    {                                                                                              \
        .name = (key), .kind = QN_NN_ATTR_BOOL, .fallback = (default_value), .doc = (text)         \
    }
#define COUNT(key, least, default_value, text)                                                     \
    {                                                                                              \
        .name = (key), .kind = QN_NN_ATTR_INT, .low = (least), .high = 1e6,                        \
        .fallback = (default_value), .doc = (text)                                                 \
    }
#define HEADS                                                                                      \
    COUNT("heads", 1, "8", "parts of the numbers that attend on their own"),                       \
        COUNT("kv_heads", 0, "0", "heads of keys and values, each for a group; 0: heads"),         \
        FLAG("causal", "false", "whether a position sees only itself and earlier ones"),           \
        FLAG("rotary", "false", "whether positions turn queries and keys"),                        \
        COUNT("window", 0, "0", "how far a position sees; 0: everywhere"),                         \
        FLAG("bias", "true", "whether projections add a trained constant")
#define UNITS COUNT("units", 0, "0", "inner size; 0: four times the input's")
#define INNER                                                                                      \
    {                                                                                              \
        .name = "activation", .kind = QN_NN_ATTR_CHOICE, .fallback = "gelu",                       \
        .choices = "relu gelu gelu_tanh silu swiglu",                                              \
        .doc = "what stands between the two products"                                              \
    }
static const qn_nn_attr positions_attrs[] = {
    {.name = "kind",
     .kind = QN_NN_ATTR_CHOICE,
     .fallback = "sinusoidal",
     .choices = "sinusoidal learned",
     .doc = "fixed waves, or a trained vector for each position"},
    {0},
};
static const qn_nn_attr attention_attrs[] = {HEADS, {0}};
static const qn_nn_attr feed_forward_attrs[] = {UNITS, INNER, {0}};
static const qn_nn_attr transformer_attrs[] = {
    HEADS,
    COUNT("blocks", 1, "1", "how many of them follow one another"),
    UNITS,
    INNER,
    {.name = "dropout",
     .kind = QN_NN_ATTR_FLOAT,
     .low = 0,
     .high = 0.999,
     .fallback = "0",
     .doc = "share of each branch set to 0 while training"},
    {.name = "order",
     .kind = QN_NN_ATTR_CHOICE,
     .fallback = "pre",
     .choices = "pre post",
     .doc = "whether a norm stands before a branch or after the sum"},
    {.name = "norm",
     .kind = QN_NN_ATTR_CHOICE,
     .fallback = "layer",
     .choices = "layer rms",
     .doc = "which norm"},
    {0},
};
static const qn_nn_attr no_attrs[] = {{0}};

const qn_nn_row qn_nn_rows_transformer[] = {
    {{"positions", "says where in the sequence [T, D] a vector stands", positions_attrs},
     build_positions},
    {{"multi_head_attention",
      "each position gathers from the others (Keras MultiHeadAttention of x with itself)",
      attention_attrs},
     build_attention},
    {{"feed_forward", "two products for each position on its own", feed_forward_attrs},
     build_feed_forward},
    {{"transformer",
      "blocks of attention and feed-forward (PyTorch TransformerEncoder; causal: a decoder without "
      "memory)",
      transformer_attrs},
     build_transformer},
    {{"global_avg_pool1d", "the mean over the steps of a sequence [T, D]", no_attrs},
     build_avg_pool},
    {{"global_max_pool1d", "the largest over the steps of a sequence [T, D]", no_attrs},
     build_max_pool},
    {{0}, NULL},
};
