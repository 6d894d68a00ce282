/*
 * Models of token sequences (sequence.h).
 *
 *     source -> embed + positions -> encoder ---------.  memory
 *     tokens -> embed + positions -> decoder blocks <-'  -> head -> scores of the next token
 */
#include "nn/sequence.h"

#include <stdio.h>

#include "nn/scope_priv.h"

/* Embeddings begin small, so that scores do (GPT-2: 0.02). */
static const double EMBED_SCALE = 0.02;

static bool check(qn_graph *graph, const qn_nn_sequence_options *o)
{
    bool source = o->source_vocab > 0;
    if (o->vocab < 1 || o->width < 1 || o->context < 1)
        qn_graph_fail(
            graph, QN_ERR_ARG,
            "a sequence model of %lld tokens, width %lld, context %lld: 1 or more of each",
            (long long)o->vocab, (long long)o->width, (long long)o->context);
    else if (source && (o->kind != QN_NN_SEQUENCE_TRANSFORMER || o->source_context < 1))
        qn_graph_fail(graph, QN_ERR_ARG,
                      "a model with a source is a transformer with a source_context of 1 or more");
    else if (o->positions == QN_NN_SEQUENCE_ALIBI && o->block.attention.rotary)
        qn_graph_fail(graph, QN_ERR_ARG, "positions are either rotary or ALiBi");
    return qn_graph_check(graph, NULL) == QN_OK;
}

static qn_value embed(qn_graph *graph, const char *name, qn_value tokens, int64_t vocab,
                      int64_t width)
{
    qn_nn_scope at = {.graph = graph, .name = name};
    if (!qn_nn_begin(&at, tokens))
        return QN_NONE;
    qn_init init = {.kind = QN_INIT_NORMAL, .value = EMBED_SCALE};
    qn_value weight =
        qn_nn_state_of(&at, "weight", QN_DTYPE_F32, QN_SHAPE(vocab, width), init, true);
    return weight == QN_NONE ? QN_NONE : qn_graph_op2(graph, "Gather", weight, tokens);
}

static qn_value place(qn_graph *graph, const char *name, qn_value x,
                      const qn_nn_sequence_options *o, int64_t context, const qn_nn_cache *cache)
{
    qn_nn_scope at = {.graph = graph, .name = name};
    qn_value starts = cache ? cache->starts : QN_NONE;
    if (x == QN_NONE || o->kind != QN_NN_SEQUENCE_TRANSFORMER)
        return x;
    if (o->positions == QN_NN_SEQUENCE_LEARNED)
        return qn_nn_positions_from(&at, x, QN_NN_POSITIONS_LEARNED, context, starts);
    if (o->positions == QN_NN_SEQUENCE_SINUSOIDAL)
        return qn_nn_positions_from(&at, x, QN_NN_POSITIONS_SINUSOIDAL, 0, starts);
    return x;
}

static qn_value drop(qn_graph *graph, const char *name, qn_value x, double rate)
{
    qn_nn_scope at = {.graph = graph, .name = name};
    return rate > 0 ? qn_nn_dropout(&at, x, rate) : x;
}

static qn_nn_transformer_options block_of(const qn_nn_sequence_options *o)
{
    qn_nn_transformer_options block = o->block;
    block.attention.rotary = o->positions == QN_NN_SEQUENCE_ROTARY;
    block.attention.alibi = o->positions == QN_NN_SEQUENCE_ALIBI;
    return block;
}

static qn_value encode(qn_graph *graph, const qn_nn_sequence_options *o,
                       const qn_nn_sequence_inputs *in)
{
    qn_nn_scope at = {.graph = graph, .name = "encoder"};
    qn_nn_transformer_options block = block_of(o);
    block.blocks = o->source_blocks ? o->source_blocks : block.blocks;
    block.attention.causal = false;
    qn_value x = embed(graph, "source_embed", in->source, o->source_vocab, o->width);
    x = place(graph, "source_positions", x, o, o->source_context, NULL);
    x = drop(graph, "source_dropout", x, block.dropout);
    return qn_nn_transformer(&at, x, in->source_lengths, &block);
}

static qn_value transform(qn_graph *graph, qn_value x, const qn_nn_sequence_options *o,
                          const qn_nn_sequence_inputs *in)
{
    qn_nn_scope at = {.graph = graph, .name = "decoder"};
    qn_nn_transformer_options block = block_of(o);
    qn_nn_memory memory = {QN_NONE, in->source_lengths, QN_NONE};
    if (o->source_vocab > 0 && !in->cache)
        memory.value = encode(graph, o, in);
    return qn_nn_transformer_decoder(&at, x, o->source_vocab > 0 ? &memory : NULL, in->cache,
                                     &block);
}

static qn_value recur(qn_graph *graph, qn_value x, const qn_nn_sequence_options *o,
                      const qn_nn_sequence_inputs *in)
{
    static const qn_nn_recurrent_kind kinds[] = {[QN_NN_SEQUENCE_RNN] = QN_NN_RNN,
                                                 [QN_NN_SEQUENCE_GRU] = QN_NN_GRU,
                                                 [QN_NN_SEQUENCE_LSTM] = QN_NN_LSTM};
    qn_nn_scope at = {.graph = graph, .name = "decoder"};
    qn_nn_recurrent_options recurrent = {.kind = kinds[o->kind],
                                         .units = o->width,
                                         .sequences = true,
                                         .carried = in->carried,
                                         .layers = o->block.blocks,
                                         .dropout = o->block.dropout};
    return qn_nn_recurrent_stack(&at, x, in->lengths, QN_NONE, &recurrent);
}

/* [B, T, D] -> [B, D]: the rows that `last` names. */
static qn_value pick(qn_graph *graph, qn_value x, qn_value last, int64_t width)
{
    if (x == QN_NONE || last == QN_NONE)
        return x;
    qn_attr flat = {.name = "shape", .kind = QN_ATTR_INTS, .count = 2, .ints = {-1, width}};
    x = qn_graph_node(graph, "Reshape", &x, 1, &flat, 1);
    return x == QN_NONE ? QN_NONE : qn_graph_op2(graph, "Gather", x, last);
}

static qn_value score(qn_graph *graph, qn_value x, const qn_nn_sequence_options *o)
{
    qn_nn_scope at = {.graph = graph, .name = "head"};
    qn_attr turned = QN_ATTR_I("transB", 1);
    if (!o->tied)
        return qn_nn_dense(&at, x, &(qn_nn_dense_options){.units = o->vocab});
    if (!qn_nn_begin(&at, x))
        return QN_NONE;
    qn_value inputs[2] = {x, qn_graph_find(graph, "embed.weight")};
    return qn_graph_node(graph, "MatMul", inputs, 2, &turned, 1);
}

qn_value qn_nn_sequence(qn_graph *graph, const qn_nn_sequence_options *o,
                        const qn_nn_sequence_inputs *in)
{
    if (!check(graph, o))
        return QN_NONE;
    qn_value x = embed(graph, "embed", in->tokens, o->vocab, o->width);
    x = place(graph, "positions", x, o, o->context, in->cache);
    x = drop(graph, "dropout", x, o->block.dropout);
    if (x == QN_NONE)
        return QN_NONE;
    if (o->kind == QN_NN_SEQUENCE_TRANSFORMER)
        x = transform(graph, x, o, in);
    else
        x = recur(graph, x, o, in);
    return score(graph, pick(graph, x, in->last, o->width), o);
}

void qn_nn_sequence_remember(qn_graph *graph, const qn_nn_sequence_options *o,
                             const qn_nn_sequence_inputs *in)
{
    qn_nn_scope at = {.graph = graph, .name = "decoder"};
    if (!check(graph, o))
        return;
    qn_nn_transformer_options block = block_of(o);
    qn_nn_decoder_remember(&at, encode(graph, o, in), in->cache, &block);
}
