/*
 * Training from a merged recipe: open the data, split, fit the transforms, train the candidates,
 * choose by the validation metric, evaluate on the test part once, and write the model folder.
 *
 * Same seed, data and ISA give the same bits for any number of threads, and for a run that was
 * stopped and resumed.
 */
#ifndef QN_TRAIN_FIT_H
#define QN_TRAIN_FIT_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/json.h"

struct qn_recipe;

typedef enum {
    QN_FIT_PHASE,     /* phase begins: open split prepare train evaluate write */
    QN_FIT_NOTE,      /* text: a decision or a finding worth a line */
    QN_FIT_WARNING,   /* text */
    QN_FIT_CANDIDATE, /* a candidate begins (seconds 0) or is done (metric) */
    QN_FIT_STEP,      /* after a training step, at most every 50 ms */
    QN_FIT_EPOCH,     /* after an epoch and its validation */
    QN_FIT_RESULT,    /* the end: metrics_json, folder */
} qn_fit_kind;

/* Fields that a kind does not use are zero or NULL; numbers that are not known are NaN. */
typedef struct {
    qn_fit_kind kind;
    const char *phase;     /* always set */
    const char *candidate; /* "logistic", "mlp 64-32", ... during training */
    const char *text;
    int64_t epoch, epochs; /* from 1 */
    int64_t step, steps;   /* of the whole run, from 1; steps at most */
    double loss;           /* mean of the epoch so far */
    const char *metric;    /* "auroc" */
    double value;          /* of the metric on the validation part */
    double best;           /* so far */
    double learning_rate;
    double rows_per_s;
    double eta_s;
    double seconds; /* since training began */
    int64_t memory_bytes;
    const char *folder;  /* RESULT: the new version's folder */
    qn_str metrics_json; /* RESULT */
} qn_fit_event;
typedef void (*qn_fit_event_fn)(void *context, const qn_fit_event *event);
/* One JSON object: a line of run.jsonl and of --json. */
void qn_fit_event_write_json(const qn_fit_event *event, qn_json_writer *w);

/* Values of *stop, set by a signal handler at any time. */
enum {
    QN_STOP_NONE,
    QN_STOP_STEP, /* finish the step, keep the best weights, evaluate, write the model */
    QN_STOP_NOW,  /* stop after the step and leave a checkpoint */
};

typedef struct {
    const char *out; /* the model's folder; NULL = models/NAME */
    int threads;     /* 0 = what the cgroup grants */
    bool check_only; /* up to the first step: data, transforms, networks, memory; writes nothing */
    qn_buf *plans;   /* check_only: the plan of a step of each network, in words; may be NULL */
    bool resume;     /* from OUT/checkpoint; ERR_NOT_FOUND without one */
    double seconds_max;                /* 0 = none */
    int64_t memory_max_bytes;          /* 0 = none */
    double checkpoint_every_s;         /* 0 = 10 */
    const volatile sig_atomic_t *stop; /* may be NULL */
    qn_fit_event_fn on_event;          /* may be NULL */
    void *context;
} qn_fit_run_options;

typedef struct {
    const char *folder; /* of the new version */
    int64_t version;
    qn_str metrics_json;
    qn_json metrics; /* the same as a tree */
    bool stopped;    /* by STOP_STEP or a time budget: complete all the same */
} qn_fit_result;

/* `recipe` is complete (every `auto` that needs no data resolved by model/recipe.h); what data
 * decides is decided here and stored in recipe.yaml. Memory: results in `arena`. Errors: ERR_DATA,
 * ERR_BUDGET before work starts where it can be known, ERR_NUMERIC naming step and op,
 * ERR_CANCELLED after STOP_NOW with the checkpoint on disk. */
QN_MUST_USE qn_status qn_fit_run(const struct qn_recipe *recipe, const qn_fit_run_options *options,
                                 qn_arena *arena, qn_fit_result *ret, qn_error *err);

#endif
