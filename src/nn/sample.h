/*
 * Choosing tokens from scores: greedy, by temperature, top-k and top-p, and by beam search. Functions of numbers alone;
 * randomness is a uniform number that the caller counts (base/rng.h), so a seed gives the same text.
 */
#ifndef QN_NN_SAMPLE_H
#define QN_NN_SAMPLE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"

/* Drawn from softmax(scores / temperature), among the top_k likeliest and among the least number of them that together
 * reach top_p (Holtzman et al. 2020); as transformers' order: temperature, top-k, top-p. */
typedef struct {
    double temperature; /* 0 = the likeliest token, of equals the first */
    int64_t top_k;      /* 0 = all */
    double top_p;       /* 0 or 1 = all */
} qn_nn_sampling;

typedef struct {
    double weight;
    int64_t token;
} qn_nn_choice;
/* scratch: `count` choices. uniform: [0, 1). */
int64_t qn_nn_sample(const float *scores, int64_t count, const qn_nn_sampling *how, double uniform,
                     qn_nn_choice *scratch);

/* dst[i] = scores[i] - log sum exp(scores) */
void qn_nn_log_softmax(double *dst, const float *scores, int64_t count);

/*
 * Beam search: the `beams` best prefixes go on, best by the sum of log-probabilities; a path that reaches `stop` is done.
 * Paths are compared by sum / length^length_penalty, length counting the stop token. It ends when no open path can still
 * become better than the worst of `beams` done ones, or after steps_max tokens, where open paths count as done.
 * Source: Wu et al. 2016, section 7, with the penalty as transformers writes it.
 */
typedef struct {
    int64_t beams, vocab, steps_max;
    int64_t stop; /* -1 = none */
    double length_penalty;
} qn_nn_beam_options;
typedef struct {
    int64_t length;
    double sum, score;
    int64_t *tokens; /* [steps_max] */
} qn_nn_beam_path;
typedef struct {
    qn_nn_beam_options options;
    int64_t step;
    int64_t open_count, done_count;
    qn_nn_beam_path *open, *next, *done; /* [beams]; done: best first */
    double *logs;                        /* [vocab] */
    struct qn_nn_beam_candidate *candidates;
} qn_nn_beam;

/* Memory: `arena`, for the whole search. */
QN_MUST_USE qn_status qn_nn_beam_init(qn_nn_beam *beam, const qn_nn_beam_options *options,
                                      qn_arena *arena, qn_error *err);
/* One step. scores [beams, vocab]: row i follows open path i (at first there is one, and row 0 alone is read). Fills
 * parents and tokens [beams]: what row each of the new open paths goes on from, and with which token; rows beyond
 * them repeat row 0. False = the search is over. */
bool qn_nn_beam_step(qn_nn_beam *beam, const float *scores, int64_t *ret_parents,
                     int64_t *ret_tokens);

#endif
