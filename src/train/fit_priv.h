/*
 * What the files of fit share: the run in hand, its parts of the data, its candidates.
 */
#ifndef QN_TRAIN_FIT_PRIV_H
#define QN_TRAIN_FIT_PRIV_H

#include "base/buf.h"
#include "data/dataset.h"
#include "data/loader.h"
#include "data/schema.h"
#include "data/transform.h"
#include "model/recipe.h"
#include "nn/schedules.h"
#include "os/pool.h"
#include "train/arrays.h"
#include "train/fit.h"
#include "train/learner.h"
#include "train/metrics.h"

enum { QN_PARTS = 3, QN_CANDIDATES_MAX = 4, QN_BOOTSTRAP_ROUNDS = 200 };
typedef enum { QN_PART_TRAIN, QN_PART_VALID, QN_PART_TEST } qn_part;
extern const char *const qn_part_names[QN_PARTS];

/* One fitted set of transforms and the parts packed by it. Linear models want every category as
 * one-hot columns, networks want embeddings for the large ones. */
typedef struct {
    qn_transforms *transforms;
    qn_packed parts[QN_PARTS];
} qn_prepared_data;

/* Numbers of one epoch, for the report and the checkpoint. */
typedef struct {
    double loss;  /* mean over the training rows */
    double value; /* metric on the validation part; NaN without one */
    double rate;
    double seconds;
} qn_epoch_record;

typedef struct {
    char name[64];    /* "logistic", "mlp" */
    qn_recipe recipe; /* with everything decided for this candidate */
    const qn_prepared_data *data;
    const char *text; /* the network in words */
    bool done;
    qn_score score; /* best on the validation part (training part when there is none) */
    double test;    /* the same metric on the test part; for the report, never for choosing */
    double seconds;
    int64_t best_epoch; /* from 1 */
    int64_t parameters;
    qn_epoch_record *history;
    int64_t history_count, history_max;
} qn_candidate;

typedef struct {
    const qn_fit_run_options *options;
    qn_recipe recipe; /* as given, task and name filled in */
    qn_arena *arena;  /* of the results */
    qn_arena load;    /* of the run */
    qn_pool *pool;
    const char *name, *out, *checkpoint; /* checkpoint: OUT/checkpoint/checkpoint.safetensors */
    qn_dataset *dataset;
    qn_schema schema;
    qn_split split;
    qn_task task;
    int64_t classes;
    qn_metric metric;
    qn_prepared_data data[2]; /* networks; linear models when they differ */
    bool data_differs;
    int64_t *labels[QN_PARTS]; /* class of each row, in the order of the split */
    double *truth[QN_PARTS];   /* or number */
    /* Where the target is an array; NULL = one value a row. Its rows, f32 or i64 for task transcribe, the number of classes
     * that the labels tell of, and the trivial answer once there is a network. */
    const qn_target_array *array;
    void *arrays[QN_PARTS];
    int64_t array_classes;
    const float *array_constant;
    double *shares; /* class shares of the training part */
    double train_mean;
    qn_candidate candidates[QN_CANDIDATES_MAX];
    int candidates_count;
    int winner;      /* index; -1 = none yet */
    qn_learner best; /* of the winner */
    bool has_best;
    qn_buf log; /* run.jsonl */
    const char *phase;
    int64_t begin_ns;
    double seconds_before; /* of the runs that this one resumes */
    bool stopped;
} qn_fit;

/* --- fit_events.c --- */
void qn_fit_phase(qn_fit *fit, const char *phase);
void qn_fit_note(qn_fit *fit, qn_fit_kind kind, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* An event that knows nothing yet: every number that may be unknown is NaN. */
qn_fit_event qn_fit_event_of(qn_fit_kind kind);
void qn_fit_emit(qn_fit *fit, qn_fit_event *event, bool logged);
double qn_fit_seconds(const qn_fit *fit);

/* --- fit_data.c --- */
QN_MUST_USE qn_status qn_fit_open_data(qn_fit *fit, qn_error *err);
/* The rows of a part, and how many. */
const int64_t *qn_fit_part_rows(const qn_fit *fit, qn_part part, int64_t *ret_count);
QN_MUST_USE qn_status qn_fit_prepare(qn_fit *fit, qn_error *err);

/* --- fit_decide.c --- */
/* The loss by which an array is learned as it is, which also judges it: bce, kl or ctc. NULL = another. */
const char *qn_fit_array_loss(const qn_fit *fit);
/* Fills the candidates from the recipe's model section. */
QN_MUST_USE qn_status qn_fit_choose_candidates(qn_fit *fit, qn_error *err);
/* What the learner of a candidate is made from. */
QN_MUST_USE qn_status qn_fit_learner_options(const qn_fit *fit, const qn_candidate *candidate,
                                             qn_arena *arena, qn_learner_options *ret,
                                             qn_error *err);

/* --- fit_train.c --- */
/* A candidate in training: exactly what a checkpoint holds beside the states. */
typedef struct {
    qn_fit *fit;
    qn_candidate *candidate;
    int index;
    qn_learner learner;
    qn_arena arena;
    qn_packed parts[QN_PARTS]; /* targets as the loss wants them */
    qn_loader loader;
    qn_nn_schedule schedule;
    qn_nn_plateau plateau;
    int64_t epochs, batches;
    double loss_sum;
    int64_t rows_seen; /* of this epoch */
    qn_state *best;
    qn_score best_score;
    int64_t bad; /* epochs since the best */
    float *answers;
    int64_t shown_ns, saved_ns, epoch_begin_ns, epoch_rows_begin;
    double seconds_before; /* of this candidate, before a resume */
    int64_t begin_ns;
} qn_candidate_run;
/* Trains candidate `index` from the start or from `resume` (NULL = none) and keeps it when it is
 * the best so far. */
struct qn_checkpoint;
QN_MUST_USE qn_status qn_fit_train_candidate(qn_fit *fit, int index,
                                             const struct qn_checkpoint *resume, qn_error *err);
/* Everything of a candidate but its steps: the network, its plans, the memory they need. */
QN_MUST_USE qn_status qn_fit_check_candidate(qn_fit *fit, int index, qn_error *err);
/* The outcome of a part for answers [rows, answer_count] of `learner`. Memory: `arena`. */
QN_MUST_USE qn_status qn_fit_outcome(const qn_fit *fit, const qn_learner *learner, qn_part part,
                                     const float *answers, qn_arena *arena, qn_outcome *ret,
                                     qn_error *err);
/* A part's arrays beside answers of `learner`. */
qn_array_rows qn_fit_arrays(const qn_fit *fit, const qn_learner *learner, qn_part part,
                            const float *answers);

/* --- checkpoint.c --- */
typedef struct qn_checkpoint {
    qn_json note;
    const qn_named_tensor *tensors;
    int64_t count;
    void *file; /* qn_weights */
} qn_checkpoint;
/* `run` NULL = between candidates: `next` is the one to begin with. */
QN_MUST_USE qn_status qn_checkpoint_write(const qn_fit *fit, const qn_candidate_run *run, int next,
                                          qn_error *err);
/* ERR_NOT_FOUND = none; ERR_DATA when it belongs to another recipe or other data. Restores the
 * finished candidates. */
QN_MUST_USE qn_status qn_checkpoint_open(qn_fit *fit, qn_arena *arena, qn_checkpoint *ret,
                                         int *ret_candidate, qn_error *err);
void qn_checkpoint_close(qn_checkpoint *checkpoint);
bool qn_checkpoint_is_inside(const qn_checkpoint *checkpoint); /* of a candidate's training */
QN_MUST_USE qn_status qn_checkpoint_restore(const qn_checkpoint *checkpoint, qn_candidate_run *run,
                                            qn_error *err);
QN_MUST_USE qn_status qn_checkpoint_restore_winner(const qn_checkpoint *checkpoint, qn_fit *fit,
                                                   qn_error *err);

/* --- fit_result.c --- */
/* Evaluates the winner, writes the model folder, fills the result. */
QN_MUST_USE qn_status qn_fit_finish(qn_fit *fit, qn_fit_result *ret, qn_error *err);

#endif
