/*
 * Models of token sequences: from tokens to the scores of the next token, by a transformer or a recurrent network, and
 * from a source sequence to a target one by an encoder and a decoder. One description gives three graphs over the same
 * weights: of whole sequences (training), of what follows a cache (generation), and of what a decoder remembers of its
 * source.
 */
#ifndef QN_NN_SEQUENCE_H
#define QN_NN_SEQUENCE_H

#include "nn/recurrent.h"
#include "nn/transformer.h"

typedef enum {
    QN_NN_SEQUENCE_TRANSFORMER,
    QN_NN_SEQUENCE_RNN,
    QN_NN_SEQUENCE_GRU,
    QN_NN_SEQUENCE_LSTM
} qn_nn_sequence_kind;

typedef enum {
    QN_NN_SEQUENCE_LEARNED,
    QN_NN_SEQUENCE_SINUSOIDAL,
    QN_NN_SEQUENCE_ROTARY,
    QN_NN_SEQUENCE_ALIBI,
    QN_NN_SEQUENCE_UNPLACED
} qn_nn_sequence_positions;

/* States: "embed.weight", "positions.weight", "decoder.N...", "head.weight", "head.bias"; with a source
 * "source_embed.weight", "source_positions.weight", "encoder.N...". */
typedef struct {
    qn_nn_sequence_kind kind;
    int64_t vocab, context; /* tokens; positions of a sequence */
    int64_t width;          /* numbers for each token */
    qn_nn_sequence_positions positions;
    qn_nn_transformer_options block; /* recurrent kinds read `blocks` and `dropout` alone */
    bool tied; /* scores are products with the embedding's rows (Press and Wolf 2017); no head */
    int64_t source_vocab, source_context,
        source_blocks; /* 0 = no source; blocks: 0 = as the decoder */
} qn_nn_sequence_options;

/* Values of the graph that is built. QN_NONE = none. */
typedef struct {
    qn_value tokens;          /* i64 [B, T] */
    qn_value source;          /* i64 [B, source_context] */
    qn_value source_lengths;  /* i64 [B]: how many of them count */
    qn_value lengths;         /* i64 [B]: how many of T count; of recurrent kinds */
    qn_value last;            /* i64 [B]: scores of row last[b] of [B * T] alone */
    const qn_nn_cache *cache; /* generation; NULL = whole sequences */
    /* recurrent kinds: B rows go on where the run before ended (states "decoder.N.h", ".c"); 0 = no */
    int64_t carried;
} qn_nn_sequence_inputs;
/* Scores [B, T, vocab], or [B, vocab] with `last`. Errors: sticky. */
qn_value qn_nn_sequence(qn_graph *graph, const qn_nn_sequence_options *options,
                        const qn_nn_sequence_inputs *inputs);
/* The encoder alone, and from it the memory of every block of the decoder into its states. */
void qn_nn_sequence_remember(qn_graph *graph, const qn_nn_sequence_options *options,
                             const qn_nn_sequence_inputs *inputs);

#endif
