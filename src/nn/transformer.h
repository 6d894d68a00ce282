/*
 * Layers of the transformer (Vaswani et al., 2017): positions, attention, feed-forward, the encoder block.
 * All take and give [B, T, D].
 */
#ifndef QN_NN_TRANSFORMER_H
#define QN_NN_TRANSFORMER_H

#include "nn/layers.h"

/* Adds a vector to each position. LEARNED has a state weight [T, D], so T must be known; SINUSOIDAL
 * has none. Rotary positions belong to attention. */
typedef enum { QN_NN_POSITIONS_LEARNED, QN_NN_POSITIONS_SINUSOIDAL } qn_nn_positions_kind;
qn_value qn_nn_positions(const qn_nn_scope *at, qn_value x, qn_nn_positions_kind kind);

/* heads must divide D; kv_heads (0 = heads) must divide heads. States: query, key, value, output,
 * each weight and bias. lengths: i64 [B], how many positions of the memory count; QN_NONE = all. */
typedef struct {
    int64_t heads, kv_heads;
    bool causal, rotary, no_bias;
    int64_t window; /* see only positions less than this far away; 0 = all */
    double softcap; /* 0 = none */
} qn_nn_attention_options;
/* memory: what keys and values are made of; QN_NONE = x itself. */
qn_value qn_nn_multi_head_attention(const qn_nn_scope *at, qn_value x, qn_value memory,
                                    qn_value lengths, const qn_nn_attention_options *options);

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

/* Shapes: [B, T, D] -> [B, D], mean or largest over the positions. */
qn_value qn_nn_global_avg_pool1d(const qn_nn_scope *at, qn_value x);
qn_value qn_nn_global_max_pool1d(const qn_nn_scope *at, qn_value x);

#endif
