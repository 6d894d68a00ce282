/*
 * A learner: one network with its training graph, its weights and the plans that run it. It takes a
 * step on the next batch, and it answers rows; when to stop, what to watch and what to keep is its
 * caller's business (fit.c for recipes, net.c for the C interface).
 */
#ifndef QN_TRAIN_LEARNER_H
#define QN_TRAIN_LEARNER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "data/loader.h"
#include "graph/graph.h"
#include "graph/plan.h"
#include "graph/state.h"
#include "model/architecture.h"
#include "nn/lbfgs.h"
#include "nn/training.h"
#include "os/pool.h"

typedef struct {
    qn_architecture architecture;
    qn_nn_loss loss;
    qn_nn_optimizer optimizer;
    int accumulate;     /* micro-batches per update; 0 = 1 */
    bool recompute;     /* of nn/training.h */
    bool average;       /* keeps averages of the weights: qn_learner_average */
    double ema;         /* what they keep at each update; 0 = the caller averages */
    bool lbfgs;         /* whole-data steps by qn_learner_lbfgs instead of qn_learner_step */
    uint64_t seed;      /* initial weights and random ops */
    qn_pool *pool;      /* NULL = serial */
    int64_t memory_max; /* bytes of one plan; 0 = none */
    bool bf16;          /* steps read the factors of products from bf16; answers are f32 */
} qn_learner_options;

/* A plan with its inputs in the order of the packed tensors it was opened for. */
typedef struct {
    qn_plan *plan;
    int64_t batch;
    void **inputs; /* NULL where the network does not use a tensor */
    float *rate;
    const float *loss;
    const float *scores;
} qn_learner_plan;

typedef struct {
    qn_learner_options options;
    qn_arena load; /* what lives as long as the learner */
    qn_graph *graph, *apply, *inference, *averages;
    qn_state *state;
    qn_network network;   /* of the training graph */
    int64_t score_count;  /* K */
    qn_shape answer;      /* of one row */
    int64_t answer_count; /* numbers in one row's answer */
    qn_learner_plan full, tail, answers;
    qn_plan *apply_plan;
    float *apply_rate;
    qn_plan *average_plan;
    float *average_share;
    int64_t micro; /* micro-batches since the last update */
    int64_t step;  /* steps taken: keys the random ops */
    double right;  /* rows of this epoch whose best score was the label; see counts_right */
    bool counts_right;
} qn_learner;

/* Builds graphs and fresh weights. With `lbfgs` the loss must not be random (no dropout). Memory: the learner owns all; deinit in any case.
 * Errors: ERR_ARG naming the layer; ERR_MEMORY. */
QN_MUST_USE qn_status qn_learner_init(qn_learner *learner, const qn_learner_options *options,
                                      qn_error *err);
void qn_learner_deinit(qn_learner *learner);

/* The target tensor as the loss wants it: class labels become f32 [B, 1] for a single score. The
 * other tensors are shared. Memory: `arena`. */
QN_MUST_USE qn_status qn_learner_adapt(const qn_learner *learner, const qn_packed *packed,
                                       qn_arena *arena, qn_packed *ret, qn_error *err);

/* Makes the plans for batches of `batch` rows of `packed` (adapted), and for its last smaller one.
 * ERR_BUDGET says what a step needs. */
QN_MUST_USE qn_status qn_learner_open(qn_learner *learner, const qn_packed *packed, int64_t batch,
                                      qn_error *err);
/* One step on the loader's next batch; *ret_rows 0 = the epoch is over, nothing was done. No
 * allocation. Errors: ERR_NUMERIC names the step and the first op; the weights are then as they
 * were before it. */
QN_MUST_USE qn_status qn_learner_step(qn_learner *learner, qn_loader *loader, double rate,
                                      int64_t *ret_rows, double *ret_loss, qn_error *err);
/* Moves the averages by `share` towards the weights; 1 copies. */
void qn_learner_average(qn_learner *learner, double share);
/* Exchanges weights and their averages, so that answers, snapshots and models are made with these; once more and all is as before. */
void qn_learner_swap_average(qn_learner *learner);
/* The same for any network: `model` names its states, `state` holds them and their averages (nn/average.h). */
void qn_average_swap(const qn_graph *model, qn_state *state);
/* What a learner holds, in bytes, once it is open. Nothing is added by a step: its peak is this. */
typedef struct {
    int64_t weights;   /* of the model */
    int64_t optimizer; /* moments, averages, counters */
    int64_t step;      /* gradients, activations and scratch of a batch */
    int64_t answers;   /* the same for answers; 0 until the first are asked for */
} qn_learner_memory;
qn_learner_memory qn_learner_memory_of(const qn_learner *learner);
int64_t qn_learner_bytes(const qn_learner *learner); /* the sum */
int64_t qn_learner_flops(const qn_learner *learner); /* of one full step */
/* Who should gather its batches: the pool, or NULL where a step is so small that one core does most of it and had better
 * have its rows. */
qn_pool *qn_learner_gatherers(const qn_learner *learner);

/* A training step of `batch` rows in words: qn_plan_print of its plan and, with accumulation, of the
 * update's. Needs no data. */
QN_MUST_USE qn_status qn_learner_print(const qn_learner *learner, int64_t batch, qn_buf *dst,
                                       qn_error *err);

/* Makes the plan of answers, which the first call of qn_learner_answer would make. */
QN_MUST_USE qn_status qn_learner_open_answers(qn_learner *learner, const qn_packed *packed,
                                              qn_error *err);
/* Answers of all rows into dst [rows, answer_count]: probabilities, or numbers in raw units. */
QN_MUST_USE qn_status qn_learner_answer(qn_learner *learner, const qn_packed *packed, float *dst,
                                        qn_error *err);

/* Minimises loss + l2 / 2 * |weights of rank >= 2|^2 over all rows of `packed` (adapted), from the
 * present weights or from zero, whatever the seed: for convex problems. `progress` may be NULL; while
 * it runs the learner's weights are the best so far. */
typedef struct {
    double l2;
    bool from_zero;
    int iterations_max;
    qn_lbfgs_progress progress;
    void *context;
} qn_learner_lbfgs_options;
QN_MUST_USE qn_status qn_learner_lbfgs(qn_learner *learner, const qn_packed *packed,
                                       const qn_learner_lbfgs_options *options,
                                       qn_lbfgs_report *ret, qn_error *err);

#endif
