/*
 * Models of token sequences: a network that reads tokens and says which comes next, trained on text or on pairs of
 * sequences, and the generation of new ones.
 *
 * QN_SEQ_TRANSFORMER is a decoder (PyTorch TransformerEncoder with a causal mask, or GPT-2); with `source_vocab` an
 * encoder and a decoder (PyTorch Transformer). QN_SEQ_LSTM, _GRU and _RNN are stacks of them (PyTorch LSTM and so on,
 * Keras LSTM). All begin with an embedding of each token and end with a score for each token that may follow.
 *
 * Tokens are numbers from 0 to vocab - 1; what they stand for, bytes or words, is the caller's business.
 *
 * Threads: one at a time per model.
 */
#ifndef QUERN_SEQUENCE_H
#define QUERN_SEQUENCE_H

#include <stdbool.h>
#include <stdint.h>

#include "quern/error.h"
#include "quern/net.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct qn_seq qn_seq;

typedef enum { QN_SEQ_TRANSFORMER, QN_SEQ_RNN, QN_SEQ_GRU, QN_SEQ_LSTM } qn_seq_kind;

/* How a transformer knows where a token stands. */
typedef enum {
    QN_POSITIONS_LEARNED,    /* a trained vector for each position, added (GPT-2) */
    QN_POSITIONS_SINUSOIDAL, /* fixed waves, added (Vaswani et al. 2017) */
    QN_POSITIONS_ROTARY,     /* queries and keys turned (Su et al. 2021) */
    QN_POSITIONS_ALIBI,      /* scores fall with the distance (Press et al. 2022) */
    QN_POSITIONS_NONE,
} qn_positions;

/* Zero in a field means its default. */
typedef struct {
    qn_seq_kind kind; /* QN_SEQ_TRANSFORMER */
    int64_t vocab;    /* tokens: must be given */
    int64_t context;  /* tokens that a transformer sees, and of a step of training: 64 */
    int64_t width;    /* numbers for each token; units of a recurrent model: 128 */
    int64_t layers;   /* 4 */
    int64_t heads;    /* 4 */
    int64_t kv_heads; /* heads of keys and values, each shared by a group: heads */
    int64_t window;   /* how far a position sees: everywhere */
    float softcap;    /* scores s of attention become softcap tanh(s / softcap): as they are */
    int64_t units;    /* of the feed-forward part: 4 width */
    qn_activation activation; /* of the feed-forward part: QN_GELU; also QN_RELU, QN_SILU */
    bool swiglu;              /* the gated feed-forward part (Shazeer 2020), without biases */
    bool post_norm; /* norms after the sums, as first published; before the branches otherwise */
    bool rms_norm;  /* RMSNorm in place of LayerNorm */
    bool no_bias;   /* attention without biases */
    bool tied;      /* scores from the embedding's own weights */
    qn_positions positions; /* QN_POSITIONS_LEARNED */
    float dropout;          /* 0 */
    int64_t source_vocab;   /* tokens of the source: none */
    int64_t source_context; /* most tokens of a source: context */
    int64_t source_layers;  /* of the encoder: layers */
    uint64_t seed;          /* of the first weights: 1 */
} qn_seq_options;

/* NULL when memory is short or options do not fit together; the error says which. */
QN_API qn_seq *qn_seq_create(const qn_seq_options *options, qn_error *err);
QN_API void qn_seq_destroy(qn_seq *seq);
QN_API int64_t qn_seq_parameters(const qn_seq *seq); /* trained numbers */

typedef struct {
    int64_t step; /* from 1 */
    int64_t steps;
    double loss;       /* mean of the steps since the last report, in nats a token */
    double valid_loss; /* of all validation tokens; NaN without them */
    double seconds;    /* since fit began */
} qn_seq_report;

/* Zero in a field means its default. */
typedef struct {
    qn_optimizer optimizer;    /* AdamW at 0.001 */
    int64_t steps;             /* 1,000 */
    int64_t batch;             /* sequences side by side: 12 */
    qn_rate_schedule schedule; /* constant; those that count epochs are for nets */
    float clip_norm;           /* gradients of a larger global norm are scaled to it; 0 = off */
    float clip_value;          /* each gradient into [-v, v]; 0 = off */
    const qn_group *groups;    /* "embed", "decoder.0.*", "*.bias"; NULL = all weights alike */
    int groups_count;
    /* the model ends with a running average of its weights that keeps this share at each step; 0 = off */
    float ema;
    bool recompute; /* less memory for more time, the same bits: inner values are made again */
    /* Recurrent models: each of the batch reads its part of the text from end to end, every step going on where the one
     * before ended; gradients stop there (truncated back-propagation through time). Otherwise a step reads `context`
     * tokens from places drawn at random. */
    bool carry;
    bool bf16;     /* products read 16-bit numbers; sums, weights and validation are f32 */
    uint64_t seed; /* 1 */
    int threads;   /* what the machine grants */
    const int32_t *valid_tokens;
    int64_t valid_count;  /* 0: no validation */
    int64_t report_steps; /* steps between reports; 0: one at the end */
    /* A result other than 0 stops. */
    int (*on_report)(void *context, const qn_seq_report *report);
    void *context;
} qn_seq_fit_options;

/* Trains on a text of `count` tokens. Starts at the present weights. options may be NULL.
 * Errors: ERR_ARG names the first token that is not in [0, vocab), or how many tokens are needed; ERR_NUMERIC names the
 * step at which the loss was not finite. */
QN_MUST_USE QN_API qn_status qn_seq_fit(qn_seq *seq, const int32_t *tokens, int64_t count,
                                        const qn_seq_fit_options *options, qn_error *err);

/* Pairs for a model with a source: row i of `sources` holds source_lengths[i] tokens, row i of `targets`
 * target_lengths[i] (with whatever begins and ends a sequence). Rows are source_context, and context + 1, apart. */
typedef struct {
    const int32_t *sources, *targets;
    const int64_t *source_lengths, *target_lengths;
    int64_t count;
} qn_seq_pairs;
QN_MUST_USE QN_API qn_status qn_seq_fit_pairs(qn_seq *seq, const qn_seq_pairs *pairs,
                                              const qn_seq_fit_options *options, qn_error *err);

/* Mean loss in nats a token over a whole text, cut into pieces of `context`; e to it is the perplexity. */
QN_MUST_USE QN_API qn_status qn_seq_loss(qn_seq *seq, const int32_t *tokens, int64_t count,
                                         double *ret, qn_error *err);
/* The same over pairs, given their sources. */
QN_MUST_USE QN_API qn_status qn_seq_loss_pairs(qn_seq *seq, const qn_seq_pairs *pairs, double *ret,
                                               qn_error *err);
/* scores [count, vocab]: row i scores what follows tokens[0..i]. At most `context` tokens. source: NULL without. */
QN_MUST_USE QN_API qn_status qn_seq_scores(qn_seq *seq, const int32_t *source, int64_t source_count,
                                           const int32_t *tokens, int64_t count, float *scores,
                                           qn_error *err);

/* A sequence to go on from. */
typedef struct {
    const int32_t *tokens; /* at least one */
    int64_t count;
    const int32_t *source; /* of a model with a source */
    int64_t source_count;
} qn_seq_prompt;

/* Zero in a field means its default. */
typedef struct {
    int64_t tokens_max;   /* new tokens a prompt: 100 */
    float temperature;    /* 0 takes the likeliest token each time (greedy) */
    int64_t top_k;        /* among the k likeliest; 0 = all */
    float top_p;          /* among the fewest that together have this probability; 0 = all */
    int64_t beams;        /* beam search over so many paths, without temperature; 0 or 1 = off */
    float length_penalty; /* beams compare sum / length^penalty; 0 = by the sum */
    int32_t stop;         /* ends a sequence, when has_stop; kept as its last token */
    bool has_stop;
    uint64_t
        seed; /* of sampling: 1. The same seed gives the same tokens, whatever the other prompts are */
    int threads;
    /* Each new token as it comes, without beams; a result other than 0 stops. */
    int (*on_token)(void *context, int64_t prompt, int32_t token);
    void *context;
} qn_seq_generate_options;

/* Writes what follows each prompt into tokens [count, tokens_max], and how many into ret_counts [count]. Each token is
 * computed once and kept (a KV cache); when a transformer's context is full, the last half of it is read again and
 * goes on from there. With beams the best path is given, and a transformer must have room for it. */
QN_MUST_USE QN_API qn_status qn_seq_generate(qn_seq *seq, const qn_seq_prompt *prompts,
                                             int64_t count, const qn_seq_generate_options *options,
                                             int32_t *tokens, int64_t *ret_counts, qn_error *err);

/* A model folder FOLDER/1, FOLDER/2, ...; `quern predict` gives the scores of a decoder: input_ids -> logits. */
QN_MUST_USE QN_API qn_status qn_seq_save(const qn_seq *seq, const char *folder, qn_error *err);
/* The newest version in `folder`, or a version's own folder. NULL = error. */
QN_API qn_seq *qn_seq_load(const char *folder, qn_error *err);

#ifdef __cplusplus
}
#endif
#endif
