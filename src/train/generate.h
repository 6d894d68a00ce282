/*
 * Generation: a sequence model that reads tokens in pieces and gives the scores of what comes next. Keys and values of
 * what it has read (of recurrent models: the state) stay in states of its own, so a token is computed once.
 *
 *     qn_generator_create, [qn_generator_source], qn_generator_feed(prompt), qn_generator_feed(token) ...
 */
#ifndef QN_TRAIN_GENERATE_H
#define QN_TRAIN_GENERATE_H

#include "base/arena.h"
#include "base/error.h"
#include "graph/plan.h"
#include "graph/state.h"
#include "nn/sequence.h"
#include "os/pool.h"

typedef struct {
    qn_nn_sequence_options options;
    int64_t rows;
    qn_arena arena; /* load */
    qn_pool *pool;
    qn_state *state;
    qn_plan *step, *piece, *source_plan; /* of one token a row; of `piece_size` tokens */
    int64_t piece_size;
    int64_t *read; /* [rows]: tokens read so far */
    char *spare;   /* one carried state, for reordering */
} qn_generator;

/* rows: sequences side by side. weights: copied; may go or change. pool may be NULL. */
QN_MUST_USE qn_status qn_generator_create(const qn_nn_sequence_options *options,
                                          const qn_state *weights, int64_t rows, qn_pool *pool,
                                          qn_generator **ret, qn_error *err);
void qn_generator_destroy(qn_generator *generator);

/* Forgets what was read: all rows begin anew. */
void qn_generator_reset(qn_generator *generator);
/* Forgets what row `row` has read. Not for recurrent models, which need not forget. */
void qn_generator_rewind(qn_generator *generator, int64_t row);
/* source [rows, source_context] of ids, lengths [rows]. Once after a reset, before the first feed. */
void qn_generator_source(qn_generator *generator, const int64_t *source, const int64_t *lengths);
/* Reads counts[row] <= size tokens of each row of tokens [rows, size]. *ret_scores [rows, vocab], valid until the next
 * call, follow each row's last token; they mean nothing where the count is 0. A transformer has room for `context` tokens
 * a row. No allocation when size is 1. */
QN_MUST_USE qn_status qn_generator_feed(qn_generator *generator, const int64_t *tokens,
                                        const int64_t *counts, int64_t size,
                                        const float **ret_scores, qn_error *err);
/* Row i goes on from where row parents[i] is. */
void qn_generator_reorder(qn_generator *generator, const int64_t *parents);

#endif
