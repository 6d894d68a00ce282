/*
 * Layers of the transformer (Vaswani et al., 2017): positions, attention, feed-forward, and blocks of them: an encoder
 * (qn_nn_transformer), and a decoder that looks back at itself and, where there is one, at a memory.
 * All take and give [B, T, D].
 */
#ifndef QN_NN_TRANSFORMER_H
#define QN_NN_TRANSFORMER_H

#include "nn/layers.h"

/* Keys and values of earlier steps, for generation: states "NAME.cached_key" and "NAME.cached_value" [rows, capacity, D],
 * into which a run writes the rows of its own T positions from starts[b] on; nothing is computed twice. A graph that
 * uses a cache has exactly `rows` rows. Where a memory is attended to, its keys and values are the states
 * "NAME.memory_key" and "NAME.memory_value" [rows, memory_capacity, D], left there by qn_nn_decoder_remember. */
typedef struct {
    int64_t rows, capacity, memory_capacity;
    qn_value starts; /* i64 [rows] */
} qn_nn_cache;

/* Adds a vector to each position. LEARNED has a state weight [count, D], SINUSOIDAL none. Rotary positions and ALiBi
 * belong to attention. */
typedef enum { QN_NN_POSITIONS_LEARNED, QN_NN_POSITIONS_SINUSOIDAL } qn_nn_positions_kind;
qn_value qn_nn_positions(const qn_nn_scope *at, qn_value x,
                         qn_nn_positions_kind kind); /* count T */
/* starts: i64 [B], where each row begins; QN_NONE = at 0. */
qn_value qn_nn_positions_from(const qn_nn_scope *at, qn_value x, qn_nn_positions_kind kind,
                              int64_t count, qn_value starts);

/* heads must divide D; kv_heads (0 = heads) must divide heads. States: query, key, value, output,
 * each weight and bias. */
typedef struct {
    int64_t heads, kv_heads;
    bool causal, rotary, no_bias;
    bool alibi;     /* scores fall with the distance (Press et al. 2022) */
    int64_t window; /* see only positions less than this far away; 0 = all */
    double softcap; /* 0 = none */
} qn_nn_attention_options;
/* memory: what keys and values are made of; QN_NONE = x itself. lengths: i64 [B], how many positions of the memory
 * count; QN_NONE = all. mask: [T, S] or [B or 1, H or 1, T, S], of bools (false = hidden) or added to the scores. */
qn_value qn_nn_multi_head_attention(const qn_nn_scope *at, qn_value x, qn_value memory,
                                    qn_value lengths, const qn_nn_attention_options *options);
qn_value qn_nn_masked_attention(const qn_nn_scope *at, qn_value x, qn_value memory,
                                qn_value lengths, qn_value mask,
                                const qn_nn_attention_options *options);

/* down(activation(up(x))), or down(silu(gate(x)) * up(x)) for "swiglu" (Shazeer 2020). Any
 * activation of qn_nn_activation. units: 0 = 4 D. */
qn_value qn_nn_feed_forward(const qn_nn_scope *at, qn_value x, int64_t units,
                            const char *activation);

/* `blocks` times attention and feed-forward, each with a residual connection, dropout on the branch
 * and a norm: before the branch (pre_norm, with one more norm at the end) or after the sum. */
typedef struct {
    qn_nn_attention_options attention;
    int64_t blocks; /* 0 = 1 */
    int64_t units;
    const char *activation; /* NULL = "gelu" */
    double dropout;
    bool post_norm, rms;
} qn_nn_transformer_options;
qn_value qn_nn_transformer(const qn_nn_scope *at, qn_value x, qn_value lengths,
                           const qn_nn_transformer_options *options);
/* mask: of qn_nn_masked_attention, in every block. */
qn_value qn_nn_masked_transformer(const qn_nn_scope *at, qn_value x, qn_value lengths,
                                  qn_value mask, const qn_nn_transformer_options *options);

/* What a decoder attends to beside itself: [B, S, D], as an encoder gives it. */
typedef struct {
    qn_value value;         /* QN_NONE with a cache: what qn_nn_decoder_remember left */
    qn_value lengths, mask; /* of qn_nn_masked_attention; QN_NONE = none */
} qn_nn_memory;
/* The same blocks with causal attention, and between it and feed-forward attention to the memory (PyTorch
 * TransformerDecoder). memory NULL: a decoder by itself. cache NULL: all of x at once. */
qn_value qn_nn_transformer_decoder(const qn_nn_scope *at, qn_value x, const qn_nn_memory *memory,
                                   const qn_nn_cache *cache,
                                   const qn_nn_transformer_options *options);
/* Writes keys and values of the memory [rows, memory_capacity, D] into the states where the decoder of the same name
 * and options finds them. */
void qn_nn_decoder_remember(const qn_nn_scope *at, qn_value memory, const qn_nn_cache *cache,
                            const qn_nn_transformer_options *options);

/* Shapes: [B, T, D] -> [B, D], mean or largest over the positions. lengths: i64 [B], how many of them count; QN_NONE = all. */
qn_value qn_nn_global_avg_pool1d(const qn_nn_scope *at, qn_value x, qn_value lengths);
qn_value qn_nn_global_max_pool1d(const qn_nn_scope *at, qn_value x, qn_value lengths);

#endif
