/*
 * Fitting a sequence model: steps on pieces drawn from a text, on streams that read it from end to end, or on pairs.
 *
 * What a step reads follows from the seed and the step's number alone.
 */
#include "train/seq_priv.h"

#include <math.h>
#include <string.h>

#include "base/arena.h"
#include "base/checked.h"
#include "base/rng.h"
#include "nn/average.h"
#include "nn/schedules.h"
#include "nn/training.h"
#include "os/clock.h"
#include "train/net_priv.h"

enum { BATCH_DEFAULT = 12, STEPS_DEFAULT = 1000 };
static const uint32_t STREAM_PIECES = 0x70696563; /* places of pieces, order of pairs */

typedef struct {
    const int32_t *tokens; /* a text */
    int64_t count;
    const qn_seq_pairs *pairs; /* or pairs */
} corpus;

typedef struct {
    qn_seq *seq;
    const qn_seq_fit_options *options;
    const corpus *text;
    qn_arena arena;
    qn_graph *graph;
    qn_state *state;
    qn_plan *plan;
    qn_graph *model, *averages; /* NULL without averages: what they are of, and what moves them */
    qn_plan *average_plan;
    qn_seq_judge judge;
    qn_seq_batch batch;
    qn_nn_schedule schedule;
    int64_t *order; /* [pairs]: of this epoch */
    int64_t epoch;
    int64_t begin_ns;
} fit_run;

/* --- what a step reads --- */

static qn_rng rng_of(const fit_run *run, int64_t step)
{
    uint64_t seed = run->options->seed ? run->options->seed : 1;
    return (qn_rng){.seed = seed, .stream = STREAM_PIECES, .step = (uint32_t)step};
}

static void read_pieces(const fit_run *run, int64_t step)
{
    int64_t places = run->text->count - run->batch.context;
    for (int64_t row = 0; row < run->batch.rows; row++) {
        uint64_t at = qn_rng_below(rng_of(run, step), (uint64_t)row, (uint64_t)places);
        qn_seq_batch_row(&run->batch, row, run->text->tokens + at, run->batch.context + 1);
    }
}

/* States in which a row goes on: "decoder.h", "decoder.0.c". */
static void forget(const fit_run *run)
{
    for (int i = 0; i < qn_state_count(run->state); i++) {
        const qn_named_tensor *state = qn_state_at(run->state, i);
        const char *dot = strrchr(state->name, '.');
        if (dot && (strcmp(dot, ".h") == 0 || strcmp(dot, ".c") == 0))
            memset(state->tensor.data, 0, qn_tensor_bytes(&state->tensor));
    }
}

/* Row r reads the r-th part of the text, the next window of it at each step; at the end all begin again. */
static void read_streams(const fit_run *run, int64_t step)
{
    int64_t part = (run->text->count - 1) / run->batch.rows;
    int64_t windows = part / run->batch.context, window = step % windows;
    if (window == 0)
        forget(run);
    for (int64_t row = 0; row < run->batch.rows; row++)
        qn_seq_batch_row(&run->batch, row,
                         run->text->tokens + row * part + window * run->batch.context,
                         run->batch.context + 1);
}

static void read_pairs(fit_run *run, int64_t step)
{
    int64_t count = run->text->pairs->count;
    for (int64_t row = 0; row < run->batch.rows; row++) {
        int64_t at = step * run->batch.rows + row;
        if (at / count != run->epoch) {
            run->epoch = at / count;
            for (int64_t i = 0; i < count; i++)
                run->order[i] = i;
            qn_rng_shuffle(rng_of(run, run->epoch), run->order, count);
        }
        qn_seq_batch_pair(&run->batch, row, run->text->pairs, run->order[at % count]);
    }
}

static void read_step(fit_run *run, int64_t step)
{
    if (run->text->pairs)
        read_pairs(run, step);
    else if (run->options->carry)
        read_streams(run, step);
    else
        read_pieces(run, step);
}

/* --- beginning --- */

static qn_status check_fit(const fit_run *run, int64_t rows, qn_error *err)
{
    static const char *const epochs[QN_RATE_RESTARTS + 1] = {[QN_RATE_STEP] = "STEP",
                                                             [QN_RATE_PLATEAU] = "PLATEAU",
                                                             [QN_RATE_EXPONENTIAL] = "EXPONENTIAL",
                                                             [QN_RATE_RESTARTS] = "RESTARTS"};
    const qn_seq_options *o = &run->seq->options;
    const qn_seq_fit_options *f = run->options;
    int64_t need = f->carry ? rows * o->context + 1 : o->context + 1;
    if (rows < 1 || f->steps < 0 || f->report_steps < 0)
        QN_FAIL(err, QN_ERR_ARG, "a batch of %lld, %lld steps: neither may be negative",
                (long long)rows, (long long)f->steps);
    QN_TRY(qn_net_check_schedule(&f->schedule, err));
    if (epochs[f->schedule.kind])
        QN_FAIL(err, QN_ERR_ARG, "QN_RATE_%s counts epochs, which a text has not",
                epochs[f->schedule.kind]);
    if (!(f->ema >= 0 && f->ema < 1))
        QN_FAIL(err, QN_ERR_ARG, "an average that keeps %g of itself is not in [0, 1)",
                (double)f->ema);
    if (qn_net_is_lbfgs(&f->optimizer))
        QN_FAIL(err, QN_ERR_ARG,
                "qn_lbfgs steps over all samples at once; a text comes in batches");
    if (f->carry && (o->kind == QN_SEQ_TRANSFORMER || run->text->pairs))
        QN_FAIL(err, QN_ERR_ARG, "carry is for recurrent models of a text");
    if (run->text->pairs)
        return qn_seq_check_pairs(run->seq, run->text->pairs, err);
    if (o->source_vocab > 0)
        QN_FAIL(err, QN_ERR_ARG, "the model has a source: use qn_seq_fit_pairs");
    if (run->text->count < need)
        QN_FAIL(err, QN_ERR_ARG, "a text of %lld tokens; %lld or more are needed",
                (long long)run->text->count, (long long)need);
    QN_TRY(qn_seq_check_tokens("token", run->text->tokens, run->text->count, o->vocab, err));
    return qn_seq_check_tokens("validation token", f->valid_tokens, f->valid_count, o->vocab, err);
}

static qn_status build_training(fit_run *run, int64_t rows, const qn_optimizer *optimizer,
                                qn_error *err)
{
    qn_nn_training training = {.loss = {.kind = QN_NN_LOSS_CE},
                               .optimizer = qn_net_optimizer_of(optimizer),
                               .recompute = run->options->recompute};
    training.optimizer.clip_norm = (double)run->options->clip_norm;
    training.optimizer.clip_value = (double)run->options->clip_value;
    QN_TRY(qn_net_set_groups(run->options->groups, run->options->groups_count, &run->arena,
                             &training.optimizer, err));
    run->graph = qn_graph_create();
    if (!run->graph)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    qn_value scores = qn_seq_build(run->graph, &run->seq->model, rows, run->options->carry);
    QN_TRY(qn_graph_check(run->graph, err));
    return qn_nn_training_add(run->graph, scores, &training, NULL, err);
}

/* The weights of one state into another; what the other has besides stays. */
static qn_status copy_weights(const qn_state *from, qn_state *to, const qn_state *names,
                              qn_error *err)
{
    for (int i = 0; i < qn_state_count(names); i++) {
        const char *name = qn_state_at(names, i)->name;
        QN_TRY(qn_state_set(to, name, &qn_state_find(from, name)->tensor, err));
    }
    return QN_OK;
}

/* Running averages of the weights, where asked for. */
static qn_status begin_average(fit_run *run, qn_error *err)
{
    if (!(run->options->ema > 0))
        return QN_OK;
    run->model = qn_graph_create();
    if (!run->model)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    (void)qn_seq_build(run->model, &run->seq->model, QN_DIM_BATCH, false);
    QN_TRY(qn_graph_check(run->model, err));
    QN_TRY(qn_nn_average_create(run->model, &run->averages, err));
    QN_TRY(qn_state_add_graph(run->state, run->averages, 1, err));
    qn_plan_options options = {.batch = 1, .pool = run->seq->pool};
    return qn_plan_create(run->averages, run->state, &options, &run->average_plan, err);
}

/* The first step begins the averages. */
static void move_average(const fit_run *run, int64_t step)
{
    if (!run->average_plan)
        return;
    float *share = qn_plan_input(run->average_plan, "train.share")->data;
    *share = step == 0 ? 1 : 1 - run->options->ema;
    qn_plan_run(run->average_plan, 0);
}

/* Exchanges weights and averages, where there are some. */
static void swap_average(const fit_run *run)
{
    if (run->average_plan)
        qn_average_swap(run->model, run->state);
}

static qn_status begin(fit_run *run, qn_error *err)
{
    static const char *const guards[] = {"train.loss"};
    const qn_seq_fit_options *f = run->options;
    int64_t rows = f->batch ? f->batch : BATCH_DEFAULT;
    qn_optimizer optimizer = f->optimizer.rate > 0 ? f->optimizer : qn_adamw(0.001F, 0.01F);
    QN_TRY(check_fit(run, rows, err));
    QN_TRY(qn_seq_need_pool(run->seq, f->threads, err));
    QN_TRY(build_training(run, rows, &optimizer, err));
    QN_TRY(qn_state_create(&run->state, err));
    QN_TRY(qn_state_add_graph(run->state, run->graph, 1, err));
    QN_TRY(copy_weights(run->seq->state, run->state, run->seq->state, err));
    QN_TRY(begin_average(run, err));
    qn_plan_options options = {.batch = rows,
                               .seed = f->seed ? f->seed : 1,
                               .pool = run->seq->pool,
                               .training = true,
                               .bf16 = f->bf16,
                               .guards = guards,
                               .guards_count = 1};
    QN_TRY(qn_plan_create(run->graph, run->state, &options, &run->plan, err));
    if (f->valid_count > 1)
        QN_TRY(qn_seq_judge_init(&run->judge, run->seq, run->state, err));
    run->batch = qn_seq_batch_of(run->seq, run->plan, rows);
    run->schedule = qn_net_schedule_of(&f->schedule, (double)optimizer.rate, 1,
                                       f->steps ? f->steps : STEPS_DEFAULT);
    run->epoch = -1;
    int64_t pairs = run->text->pairs ? run->text->pairs->count : 0;
    run->order = QN_NEW(&run->arena, int64_t, pairs + 1);
    if (!run->order)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory for the order of %lld pairs", (long long)pairs);
    return QN_OK;
}

/* --- steps --- */

static bool report(fit_run *run, int64_t step, int64_t since, double sum)
{
    const qn_seq_fit_options *f = run->options;
    qn_seq_report told = {.step = step,
                          .steps = run->schedule.steps_total,
                          .loss = sum / (double)since,
                          .valid_loss = (double)NAN,
                          .seconds = (double)(qn_now_ns() - run->begin_ns) / 1e9};
    swap_average(run);
    if (run->judge.plan)
        told.valid_loss = qn_seq_judge_text(&run->judge, f->valid_tokens, f->valid_count) /
                          (double)(f->valid_count - 1);
    swap_average(run);
    return f->on_report(f->context, &told) == 0;
}

static qn_status run_steps(fit_run *run, qn_error *err)
{
    const qn_seq_fit_options *f = run->options;
    int64_t steps = run->schedule.steps_total, since = 0;
    int64_t every = f->report_steps ? f->report_steps : steps;
    float *rate = qn_plan_input(run->plan, "train.lr")->data;
    const float *loss = qn_plan_output(run->plan, "train.loss")->data;
    double sum = 0;
    bool go_on = true;
    for (int64_t step = 0; step < steps && go_on; step++) {
        read_step(run, step);
        *rate = (float)qn_nn_schedule_lr(&run->schedule, step, 1);
        qn_plan_run(run->plan, (uint32_t)step);
        if (qn_plan_stopped(run->plan))
            QN_FAIL(err, QN_ERR_NUMERIC,
                    "the loss of step %lld is not finite; try a lower learning rate",
                    (long long)step + 1);
        move_average(run, step);
        sum += (double)*loss;
        since++;
        if (f->on_report && ((step + 1) % every == 0 || step + 1 == steps)) {
            go_on = report(run, step + 1, since, sum);
            sum = 0;
            since = 0;
        }
    }
    return QN_OK;
}

static qn_status fit(qn_seq *seq, const corpus *text, const qn_seq_fit_options *options,
                     qn_error *err)
{
    static const qn_seq_fit_options defaults = {0};
    QN_TRY(qn_seq_usable(seq, err));
    fit_run run = {.seq = seq,
                   .options = options ? options : &defaults,
                   .text = text,
                   .begin_ns = qn_now_ns()};
    qn_arena_init(&run.arena, 0);
    qn_flush_denormals();
    qn_status status = begin(&run, err);
    if (status == QN_OK)
        status = run_steps(&run, err);
    if (status == QN_OK) {
        swap_average(&run);
        status = copy_weights(run.state, seq->state, seq->state, err);
    }
    if (status == QN_OK)
        qn_seq_drop_made(seq);
    qn_seq_judge_deinit(&run.judge);
    qn_plan_destroy(run.plan);
    qn_plan_destroy(run.average_plan);
    if (run.state)
        qn_state_destroy(run.state);
    qn_graph *graphs[] = {run.graph, run.model, run.averages};
    for (int i = 0; i < 3; i++)
        if (graphs[i])
            qn_graph_destroy(graphs[i]);
    qn_arena_deinit(&run.arena);
    return status;
}

qn_status qn_seq_fit(qn_seq *seq, const int32_t *tokens, int64_t count,
                     const qn_seq_fit_options *options, qn_error *err)
{
    return fit(seq, &(corpus){.tokens = tokens, .count = count}, options, err);
}

qn_status qn_seq_fit_pairs(qn_seq *seq, const qn_seq_pairs *pairs,
                           const qn_seq_fit_options *options, qn_error *err)
{
    return fit(seq, &(corpus){.pairs = pairs}, options, err);
}
