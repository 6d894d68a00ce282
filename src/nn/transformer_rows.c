/*
 * The rows of transformer.h in the table of layers, and the masks that a recipe writes down.
 */
#include <string.h>

#include "base/arena.h"
#include "nn/scope_priv.h"
#include "nn/table_priv.h"
#include "nn/transformer.h"

/*
 * Masks. A query whose row allows nothing would get zeros whatever it asks (NaN in PyTorch): that is a mistake, and refused.
 * How large they are is bounded where they are read, by a recipe's 2^17 numbers and a net's 1 MiB of text.
 */

/* Do the other rules let query i see key j? */
static bool is_near(const qn_nn_attention_options *o, int64_t i, int64_t j)
{
    int64_t away = i < j ? j - i : i - j;
    return (!o->causal || j <= i) && (o->window == 0 || away < o->window);
}

/* mask[i] into dst; false = a sticky error. */
static bool read_mask_row(const qn_nn_scope *at, const qn_nn_attention_options *o,
                          const qn_json *row, int64_t i, uint8_t *dst)
{
    bool any = false;
    for (int64_t j = 0; j < qn_json_length(row); j++) {
        qn_json cell = qn_json_at(row, j);
        bool truth = cell.kind == QN_JSON_BOOL;
        if (!truth && (cell.kind != QN_JSON_INT || cell.integer < 0 || cell.integer > 1)) {
            qn_nn_fail(at, "has a mask whose row %lld is not of 0 and 1 (hidden, seen)",
                       (long long)i);
            return false;
        }
        dst[j] = truth ? cell.boolean : cell.integer == 1;
        any = any || (dst[j] && is_near(o, i, j));
    }
    if (!any)
        qn_nn_fail(at, "has a mask whose row %lld allows nothing%s", (long long)i,
                   o->causal || o->window ? " that causal and window leave" : "");
    return any;
}

/* Is it [queries, keys]? */
static bool check_mask_shape(const qn_nn_scope *at, const qn_json *rows, int64_t queries,
                             int64_t keys)
{
    char came[128], want[128];
    qn_json first = qn_json_at(rows, 0);
    qn_shape shape = QN_SHAPE(rows->count, qn_json_length(&first)), fits = QN_SHAPE(queries, keys);
    for (int64_t i = 1; i < rows->count; i++) {
        int64_t length = qn_json_length(&rows->items[i]);
        if (length == shape.dims[1])
            continue;
        qn_nn_fail(at, "has a mask whose row %lld has %lld numbers, row 0 has %lld", (long long)i,
                   (long long)length, (long long)shape.dims[1]);
        return false;
    }
    if (!qn_shape_equal(&shape, &fits))
        qn_nn_fail(at,
                   "has a mask of %s, expected %s: a row for each position, a number for each that "
                   "it may see",
                   qn_shape_text(&shape, came), qn_shape_text(&fits, want));
    return qn_graph_check(at->graph, NULL) == QN_OK;
}

/* The slot's rows as bools [T, S] for x, which looks at memory. *ret: QN_NONE without rows; false = a sticky error. */
static bool build_mask(const qn_nn_scope *at, const qn_nn_slot *slot, qn_value x, qn_value memory,
                       const qn_nn_attention_options *o, qn_value *ret)
{
    const qn_json *rows = &slot->list;
    qn_arena scratch;
    *ret = QN_NONE;
    if (!qn_nn_begin(at, x) || !qn_nn_want_sequence(at, x) || !qn_nn_want_sequence(at, memory))
        return false;
    if (rows->kind != QN_JSON_ARRAY)
        return true;
    int64_t queries = qn_nn_shape(at, x).dims[1], keys = qn_nn_shape(at, memory).dims[1];
    if (!check_mask_shape(at, rows, queries, keys))
        return false;
    qn_arena_init(&scratch, 0);
    uint8_t *cells = QN_NEW(&scratch, uint8_t, queries * keys);
    if (!cells)
        qn_graph_fail(at->graph, QN_ERR_MEMORY, "out of memory for a mask");
    bool read = cells != NULL;
    for (int64_t i = 0; i < queries && read; i++)
        read = read_mask_row(at, o, &rows->items[i], i, cells + i * keys);
    qn_tensor mask = qn_tensor_of(cells, QN_DTYPE_BOOL, QN_SHAPE(queries, keys));
    *ret = read ? qn_graph_const(at->graph, &mask) : QN_NONE;
    qn_arena_deinit(&scratch);
    return *ret != QN_NONE;
}

/* From the slots of HEADS. */
static qn_nn_attention_options attention_of(const qn_nn_slot *s)
{
    return (qn_nn_attention_options){.heads = s[0].i,
                                     .kv_heads = s[1].i,
                                     .causal = s[2].i,
                                     .rotary = s[3].i,
                                     .window = s[4].i,
                                     .no_bias = !s[5].i,
                                     .alibi = s[6].i,
                                     .softcap = s[7].f};
}

/* From the slots of HEADS and BLOCKS. */
static qn_nn_transformer_options transformer_of(const qn_nn_slot *s)
{
    return (qn_nn_transformer_options){.attention = attention_of(s),
                                       .blocks = s[8].i,
                                       .units = s[9].i,
                                       .activation = s[10].word,
                                       .dropout = s[11].f,
                                       .post_norm = strcmp(s[12].word, "post") == 0,
                                       .rms = strcmp(s[13].word, "rms") == 0};
}

static qn_value build_attention(const qn_nn_scope *at, const qn_nn_building *b, qn_value x,
                                const qn_nn_slot *s)
{
    qn_nn_attention_options options = attention_of(s);
    qn_value memory = x, lengths = *b->lengths, mask;
    if (s[8].list.kind == QN_JSON_ARRAY)
        memory = qn_nn_list_build(at, b, "memory", &s[8].list, x, &lengths);
    if (memory == QN_NONE || !build_mask(at, &s[9], x, memory, &options, &mask))
        return QN_NONE;
    return qn_nn_masked_attention(at, x, memory, lengths, mask, &options);
}

static qn_value build_transformer(const qn_nn_scope *at, const qn_nn_building *b, qn_value x,
                                  const qn_nn_slot *s)
{
    qn_nn_transformer_options options = transformer_of(s);
    qn_value mask;
    if (!build_mask(at, &s[14], x, x, &options.attention, &mask))
        return QN_NONE;
    return qn_nn_masked_transformer(at, x, *b->lengths, mask, &options);
}

/* Padding of x needs no lengths: nothing before it looks at it. */
static qn_value build_decoder(const qn_nn_scope *at, const qn_nn_building *b, qn_value x,
                              const qn_nn_slot *s)
{
    qn_nn_transformer_options options = transformer_of(s);
    qn_nn_memory memory = {.lengths = *b->lengths, .mask = QN_NONE};
    memory.value = qn_nn_list_build(at, b, "memory", &s[14].list, x, &memory.lengths);
    if (memory.value == QN_NONE)
        return QN_NONE;
    return qn_nn_transformer_decoder(at, x, &memory, NULL, &options);
}

static qn_value build_positions(const qn_nn_scope *at, const qn_nn_building *b, qn_value x,
                                const qn_nn_slot *s)
{
    bool learned = s[0].word[0] == 'l';
    (void)b;
    return qn_nn_positions(at, x, learned ? QN_NN_POSITIONS_LEARNED : QN_NN_POSITIONS_SINUSOIDAL);
}

QN_NN_BUILD(build_feed_forward, qn_nn_feed_forward(at, x, s[0].i, s[1].word))
QN_NN_BUILD(build_avg_pool, qn_nn_global_avg_pool1d(at, x, *b->lengths))
QN_NN_BUILD(build_max_pool, qn_nn_global_max_pool1d(at, x, *b->lengths))

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
        FLAG("bias", "true", "whether projections add a trained constant"),                        \
        FLAG("alibi", "false", "whether scores fall with the distance, in place of positions"),    \
    {                                                                                              \
        .name = "softcap", .kind = QN_NN_ATTR_FLOAT, .high = 1e6, .fallback = "0",                 \
        .doc = "scores s become softcap tanh(s / softcap); 0: as they are"                         \
    }
#define MASK                                                                                       \
    {                                                                                              \
        .name = "mask", .kind = QN_NN_ATTR_ROWS, .fallback = "none", .choices = "none",            \
        .doc = "which positions each may see: a row of 0 and 1 for each (Keras attention_mask, "   \
               "PyTorch attn_mask turned round)"                                                   \
    }
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
static const qn_nn_attr attention_attrs[] = {
    HEADS,
    {.name = "memory",
     .kind = QN_NN_ATTR_LAYERS,
     .fallback = "none",
     .choices = "none",
     .doc = "layers that make of the input what is looked at; none: the input itself"},
    MASK,
    {0},
};
static const qn_nn_attr feed_forward_attrs[] = {UNITS, INNER, {0}};
#define BLOCKS                                                                                     \
    COUNT("blocks", 1, "1", "how many of them follow one another"), UNITS, INNER,                  \
        {.name = "dropout",                                                                        \
         .kind = QN_NN_ATTR_FLOAT,                                                                 \
         .low = 0,                                                                                 \
         .high = 0.999,                                                                            \
         .fallback = "0",                                                                          \
         .doc = "share of each branch set to 0 while training"},                                   \
        {.name = "order",                                                                          \
         .kind = QN_NN_ATTR_CHOICE,                                                                \
         .fallback = "pre",                                                                        \
         .choices = "pre post",                                                                    \
         .doc = "whether a norm stands before a branch or after the sum"},                         \
    {                                                                                              \
        .name = "norm", .kind = QN_NN_ATTR_CHOICE, .fallback = "layer", .choices = "layer rms",    \
        .doc = "which norm"                                                                        \
    }
static const qn_nn_attr transformer_attrs[] = {HEADS, BLOCKS, MASK, {0}};
static const qn_nn_attr decoder_attrs[] = {
    HEADS,
    BLOCKS,
    {.name = "memory",
     .kind = QN_NN_ATTR_LAYERS,
     .required = true,
     .doc = "layers that make of the input what the decoder attends to: the encoder"},
    {0},
};
static const qn_nn_attr no_attrs[] = {{0}};

const qn_nn_row qn_nn_rows_transformer[] = {
    {{"positions",
      "says where in the sequence [T, D] a vector stands (Keras Hub PositionEmbedding, "
      "SinePositionEncoding)",
      positions_attrs},
     build_positions},
    {{"multi_head_attention",
      "each position gathers from the others, or from a memory (Keras and PyTorch "
      "MultiHeadAttention)",
      attention_attrs},
     build_attention},
    {{"feed_forward",
      "two products for each position on its own (PyTorch TransformerEncoderLayer's linear1, "
      "linear2)",
      feed_forward_attrs},
     build_feed_forward},
    {{"transformer",
      "blocks of attention and feed-forward (PyTorch TransformerEncoder; causal: a decoder without "
      "memory)",
      transformer_attrs},
     build_transformer},
    {{"transformer_decoder",
      "blocks of causal attention, attention to a memory and feed-forward (PyTorch "
      "TransformerDecoder)",
      decoder_attrs},
     build_decoder},
    {{"global_avg_pool1d",
      "the mean over the steps of a sequence [T, D] (Keras GlobalAveragePooling1D)", no_attrs},
     build_avg_pool},
    {{"global_max_pool1d",
      "the largest over the steps of a sequence [T, D] (Keras GlobalMaxPooling1D)", no_attrs},
     build_max_pool},
    {{0}, NULL},
};
