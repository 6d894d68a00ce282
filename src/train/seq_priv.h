/*
 * What the files of sequence models share: the model itself, and the loss of many pieces of text.
 */
#ifndef QN_TRAIN_SEQ_PRIV_H
#define QN_TRAIN_SEQ_PRIV_H

#include "graph/plan.h"
#include "graph/state.h"
#include "nn/sequence.h"
#include "os/pool.h"
#include "quern/sequence.h"
#include "train/generate.h"

struct qn_seq {
    qn_seq_options options; /* defaults filled in */
    qn_nn_sequence_options model;
    qn_state *state; /* the weights */
    qn_pool *pool;
    int threads; /* that the pool was asked for */
    qn_generator *generator;
    int64_t parameters;
};

/* The model's weights changed: what was made of them goes. */
void qn_seq_drop_made(qn_seq *seq);
QN_MUST_USE qn_status qn_seq_usable(const qn_seq *seq, qn_error *err);
/* threads: 0 = what the machine grants. */
QN_MUST_USE qn_status qn_seq_need_pool(qn_seq *seq, int threads, qn_error *err);
/* ERR_ARG names the first of `count` tokens that is not in [0, vocab). */
QN_MUST_USE qn_status qn_seq_check_tokens(const char *what, const int32_t *tokens, int64_t count,
                                          int64_t vocab, qn_error *err);
QN_MUST_USE qn_status qn_seq_check_pairs(const qn_seq *seq, const qn_seq_pairs *pairs,
                                         qn_error *err);

/* The whole-sequence graph over `rows` rows (QN_DIM_BATCH: any) of `context` tokens, with the inputs "input_ids" and,
 * with a source, "source_ids" and "source_lengths". carried: as in nn/sequence.h. Returns the scores. */
qn_value qn_seq_build(qn_graph *graph, const qn_nn_sequence_options *model, int64_t rows,
                      bool carried);

/* One batch: where its tokens, their labels and its sources go. */
typedef struct {
    int64_t rows, context, source_context;
    int64_t *tokens, *labels; /* [rows, context] */
    int64_t *source;          /* [rows, source_context]; NULL = none */
    int64_t *source_lengths;  /* [rows] */
} qn_seq_batch;
qn_seq_batch qn_seq_batch_of(const qn_seq *seq, const qn_plan *plan, int64_t rows);
/* Row `row` from tokens [count]: all but the last are read, all but the first are labels; the rest is ignored. */
void qn_seq_batch_row(const qn_seq_batch *batch, int64_t row, const int32_t *tokens, int64_t count);
void qn_seq_batch_pair(const qn_seq_batch *batch, int64_t row, const qn_seq_pairs *pairs,
                       int64_t pair);

/* Sums of losses under the weights in `state`. */
typedef struct {
    const qn_seq *seq;
    qn_plan *plan;
    int64_t rows;
} qn_seq_judge;
QN_MUST_USE qn_status qn_seq_judge_init(qn_seq_judge *judge, const qn_seq *seq, qn_state *state,
                                        qn_error *err);
void qn_seq_judge_deinit(qn_seq_judge *judge);
double qn_seq_judge_text(const qn_seq_judge *judge, const int32_t *tokens, int64_t count);
double qn_seq_judge_pairs(const qn_seq_judge *judge, const qn_seq_pairs *pairs);

#endif
