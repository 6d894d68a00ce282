/*
 * Training one candidate: epochs of steps with a schedule, validation after each, the best weights
 * kept, early stopping, checkpoints, and every way to stop. Convex models take whole-data steps
 * (L-BFGS) instead.
 */
#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "os/clock.h"
#include "os/file.h"
#include "train/fit_priv.h"

static const int64_t SHOW_NS = 50000000; /* between two step events */
static const double CHECKPOINT_S = 10;
enum { LBFGS_BATCH = 4096, LBFGS_ITERATIONS = 200 };

/* --- starting --- */

static qn_nn_schedule make_schedule(const qn_candidate_run *run)
{
    const qn_recipe *recipe = &run->candidate->recipe;
    int64_t total = run->epochs * run->batches;
    int64_t epochs =
        recipe->train.schedule == QN_NN_SCHEDULE_EXPONENTIAL ? 1 : recipe->train.step_size;
    return (qn_nn_schedule){.kind = recipe->train.schedule,
                            .lr = recipe->train.lr,
                            .lr_min = recipe->train.lr_min,
                            .steps_total = total,
                            .steps_warmup = (int64_t)(recipe->train.warmup * (double)total),
                            .step_size = epochs * run->batches,
                            .gamma = recipe->train.gamma,
                            .power = recipe->train.power,
                            .growth = recipe->train.growth};
}

static int64_t count_parameters(const qn_learner *learner)
{
    int64_t count = 0;
    for (qn_value value = 0; value < qn_graph_values_count(learner->inference); value++)
        if (qn_graph_kind(learner->inference, value) == QN_VALUE_STATE)
            count += qn_shape_count(&qn_graph_type(learner->inference, value)->shape);
    return count;
}

/* Weights, and a checkpoint beside them: the states and moments of the optimiser and the best weights. */
static qn_status check_disk(const qn_candidate_run *run, qn_error *err)
{
    const qn_fit *fit = run->fit;
    int64_t copies = run->learner.options.lbfgs ? 1 : 5, room;
    int64_t needed = copies * run->candidate->parameters * (int64_t)sizeof(float);
    if (fit->options->check_only)
        return QN_OK;
    QN_TRY(qn_folder_check_room(fit->out, &room, err));
    if (needed <= room)
        return QN_OK;
    return qn_error_set(
        err, QN_ERR_BUDGET, NULL,
        "the model and its checkpoint need %lld KiB in '%s', where %lld KiB are free",
        (long long)(needed >> 10), fit->out, (long long)(room >> 10));
}

/* Sequences of labels fit the steps and classes of the network. */
static qn_status check_labels(const qn_candidate_run *run, qn_error *err)
{
    const qn_fit *fit = run->fit;
    for (int part = 0; fit->task == QN_TASK_TRANSCRIBE && part < QN_PARTS; part++) {
        int64_t count;
        qn_array_rows rows = qn_fit_arrays(fit, &run->learner, (qn_part)part, NULL);
        const int64_t *from = qn_fit_part_rows(fit, (qn_part)part, &count);
        QN_TRY(qn_arrays_check_labels(&rows, qn_str_from(fit->dataset->target), from, err));
    }
    return QN_OK;
}

static qn_status start_learner(qn_candidate_run *run, qn_error *err)
{
    qn_fit *fit = run->fit;
    qn_candidate *candidate = run->candidate;
    qn_learner_options options;
    QN_TRY(qn_fit_learner_options(fit, candidate, &fit->load, &options, err));
    QN_TRY(qn_learner_init(&run->learner, &options, err));
    const char *text = run->learner.network.text;
    candidate->text = qn_arena_strndup(&fit->load, text, strlen(text));
    candidate->parameters = count_parameters(&run->learner);
    if (!candidate->text)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    for (int part = 0; part < QN_PARTS; part++)
        if (candidate->data->parts[part].rows > 0)
            QN_TRY(qn_learner_adapt(&run->learner, &candidate->data->parts[part], &run->arena,
                                    &run->parts[part], err));
    QN_TRY(check_labels(run, err));
    qn_part watched = run->parts[QN_PART_VALID].rows > 0 ? QN_PART_VALID : QN_PART_TRAIN;
    QN_TRY(check_disk(run, err));
    run->answers = qn_arena_zero(&run->arena, run->parts[watched].rows * run->learner.answer_count,
                                 sizeof(float));
    if (!run->answers)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory for answers of %lld rows",
                (long long)run->parts[watched].rows);
    return QN_OK;
}

/* Says what the steps will hold, all of which is in memory by now, and checks it with the best weights to come. */
static qn_status check_memory(const qn_candidate_run *run, int64_t batch, qn_error *err)
{
    qn_learner_memory memory = qn_learner_memory_of(&run->learner);
    int64_t limit = run->fit->options->memory_max_bytes;
    int64_t needed = qn_rss_bytes() + memory.weights + memory.optimizer;
    double unit = memory.weights + memory.optimizer + memory.step < 10000000 ? 1e3 : 1e6;
    qn_fit_note(
        run->fit, QN_FIT_NOTE,
        "plan, in %s: %.1f weights, %.1f optimizer state, %.1f gradients and activations of "
        "%lld rows, %.1f for answers",
        unit > 1e3 ? "MB" : "kB", (double)memory.weights / unit, (double)memory.optimizer / unit,
        (double)memory.step / unit, (long long)batch, (double)memory.answers / unit);
    if (limit > 0 && needed > limit) {
        (void)qn_error_set(err, QN_ERR_BUDGET, NULL,
                           "training needs about %lld MiB; the memory budget is %lld MiB",
                           (long long)(needed >> 20), (long long)(limit >> 20));
        return qn_error_hint(err, QN_ERR_BUDGET, "raise --mem or lower train.batch");
    }
    return QN_OK;
}

static qn_status start_steps(qn_candidate_run *run, qn_error *err)
{
    const qn_recipe *recipe = &run->candidate->recipe;
    const qn_packed *train = &run->parts[QN_PART_TRAIN];
    int64_t batch = qn_min_i64(recipe->train.batch, train->rows);
    run->epochs = recipe->train.epochs;
    QN_TRY(qn_learner_open(&run->learner, train, batch, err));
    QN_TRY(qn_learner_open_answers(&run->learner, train, err));
    QN_TRY(check_memory(run, batch, err));
    qn_loader_options loading = {.batch = batch,
                                 .seed = (uint64_t)recipe->train.seed,
                                 .shuffle = true,
                                 .pool = qn_learner_gatherers(&run->learner)};
    QN_TRY(qn_loader_init(&run->loader, train, &loading, &run->arena, err));
    run->batches = qn_loader_batches(&run->loader);
    run->schedule = make_schedule(run);
    qn_nn_plateau_init(&run->plateau);
    return QN_OK;
}

/* --- validation --- */

qn_array_rows qn_fit_arrays(const qn_fit *fit, const qn_learner *learner, qn_part part,
                            const float *answers)
{
    qn_array_rows rows = {.target = fit->array,
                          .task = fit->task,
                          .truth = fit->arrays[part],
                          .answers = answers,
                          .answer = learner->answer};
    (void)qn_fit_part_rows(fit, part, &rows.rows);
    return rows;
}

qn_status qn_fit_outcome(const qn_fit *fit, const qn_learner *learner, qn_part part,
                         const float *answers, qn_arena *arena, qn_outcome *ret, qn_error *err)
{
    int64_t count;
    if (fit->array) {
        qn_array_rows rows = qn_fit_arrays(fit, learner, part, answers);
        return qn_arrays_outcome(&rows, fit->array_constant, arena, ret, err);
    }
    (void)qn_fit_part_rows(fit, part, &count);
    qn_outcome outcome = {.task = fit->task, .rows = count, .classes = fit->classes};
    outcome.labels = fit->labels[part];
    outcome.truth = fit->truth[part];
    outcome.probability = answers;
    if (fit->task == QN_TASK_REGRESSION) {
        double *number = QN_NEW(arena, double, count);
        if (!number)
            QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
        for (int64_t row = 0; row < count; row++)
            number[row] = (double)answers[row];
        outcome.number = number;
    }
    *ret = outcome;
    return QN_OK;
}

static qn_status metric_of_part(qn_candidate_run *run, qn_part part, float *answers, qn_score *ret,
                                qn_error *err)
{
    QN_TRY(qn_learner_answer(&run->learner, &run->parts[part], answers, err));
    qn_arena scratch;
    qn_outcome outcome;
    qn_arena_init(&scratch, 0);
    qn_status status =
        qn_fit_outcome(run->fit, &run->learner, part, answers, &scratch, &outcome, err);
    if (status == QN_OK)
        status = qn_metric_of(run->fit->metric, &outcome, &scratch, ret, err);
    qn_arena_deinit(&scratch);
    return status;
}

/* The metric on the validation part, or on the training part when there is no other. */
static qn_status watch_metric(qn_candidate_run *run, qn_score *ret, qn_error *err)
{
    qn_part part = run->parts[QN_PART_VALID].rows > 0 ? QN_PART_VALID : QN_PART_TRAIN;
    return metric_of_part(run, part, run->answers, ret, err);
}

/* What the chosen weights reach on the test part, so that the report can state every candidate. */
static qn_status state_test(qn_candidate_run *run, qn_error *err)
{
    int64_t rows = run->parts[QN_PART_TEST].rows;
    if (rows == 0)
        return QN_OK;
    float *answers = qn_arena_zero(&run->arena, rows * run->learner.answer_count, sizeof(float));
    if (!answers)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory for answers of %lld rows", (long long)rows);
    qn_score score;
    QN_TRY(metric_of_part(run, QN_PART_TEST, answers, &score, err));
    run->candidate->test = score.value;
    return QN_OK;
}

static qn_status keep_if_best(qn_candidate_run *run, const qn_score *score, qn_error *err)
{
    qn_candidate *candidate = run->candidate;
    if (run->best && !qn_score_is_better(run->fit->metric, score, &run->best_score)) {
        run->bad++;
        return QN_OK;
    }
    if (run->best)
        qn_state_restore(run->best, run->learner.state);
    else
        QN_TRY(qn_state_snapshot(run->learner.state, &run->best, err));
    run->best_score = *score;
    run->bad = 0;
    candidate->best_epoch = candidate->history_count + 1;
    candidate->score = *score;
    return QN_OK;
}

/* --- events --- */

static void fill_event(const qn_candidate_run *run, qn_fit_event *event)
{
    const qn_candidate *candidate = run->candidate;
    double elapsed = (double)(qn_now_ns() - run->epoch_begin_ns) / 1e9;
    double rows = (double)(run->rows_seen - run->epoch_rows_begin);
    double speed = elapsed > 0 ? rows / elapsed : 0;
    double left = (double)(run->epochs * run->parts[QN_PART_TRAIN].rows) -
                  (double)(candidate->history_count * run->parts[QN_PART_TRAIN].rows) -
                  (double)run->rows_seen;
    event->candidate = candidate->name;
    event->epoch = candidate->history_count + 1;
    event->epochs = run->epochs;
    event->step = run->learner.step;
    event->steps = run->epochs * run->batches;
    event->loss = run->rows_seen > 0 ? run->loss_sum / (double)run->rows_seen : (double)NAN;
    event->metric = qn_metric_name(run->fit->metric);
    event->value = candidate->history_count > 0
                       ? candidate->history[candidate->history_count - 1].value
                       : (double)NAN;
    event->best = run->best ? run->best_score.value : (double)NAN;
    event->rows_per_s = speed;
    event->eta_s = speed > 0 ? left / speed : (double)NAN;
    if (run->learner.options.lbfgs) /* passes over the rows as often as it likes */
        event->rows_per_s = event->eta_s = (double)NAN;
}

static double current_rate(const qn_candidate_run *run)
{
    return qn_nn_schedule_lr(&run->schedule, run->learner.step, run->plateau.scale);
}

static void show_step(qn_candidate_run *run, int64_t now_ns)
{
    if (now_ns - run->shown_ns < SHOW_NS)
        return;
    run->shown_ns = now_ns;
    qn_fit_event event = qn_fit_event_of(QN_FIT_STEP);
    fill_event(run, &event);
    event.learning_rate = current_rate(run);
    qn_fit_emit(run->fit, &event, false);
}

/* --- stopping --- */

typedef enum { GO_ON, FINISH, STOP_NOW } qn_verdict;

static qn_verdict should_stop(qn_candidate_run *run)
{
    qn_fit *fit = run->fit;
    int flag = fit->options->stop ? (int)*fit->options->stop : QN_STOP_NONE;
    double limit = fit->options->seconds_max;
    if (flag == QN_STOP_NOW)
        return STOP_NOW;
    if (flag != QN_STOP_STEP && !(limit > 0 && qn_fit_seconds(fit) > limit))
        return GO_ON;
    if (!fit->stopped && flag == QN_STOP_STEP)
        qn_fit_note(
            fit, QN_FIT_NOTE,
            "stopping: the best weights are kept and measured; a second signal stops at once "
            "and leaves a checkpoint");
    else if (!fit->stopped)
        qn_fit_note(fit, QN_FIT_NOTE, "the time budget of %g s is used: the best weights are kept",
                    limit);
    fit->stopped = true;
    return FINISH;
}

static qn_status save_sometimes(qn_candidate_run *run, int64_t now_ns, qn_error *err)
{
    double every = run->fit->options->checkpoint_every_s;
    if ((double)(now_ns - run->saved_ns) / 1e9 < (every > 0 ? every : CHECKPOINT_S))
        return QN_OK;
    QN_TRY(qn_checkpoint_write(run->fit, run, run->index, err));
    run->saved_ns = qn_now_ns();
    return QN_OK;
}

/* --- epochs --- */

/* Steps to the end of the epoch, or until a stop. */
static qn_status run_steps(qn_candidate_run *run, qn_verdict *ret_verdict, qn_error *err)
{
    for (;;) {
        int64_t rows;
        double loss;
        QN_TRY(qn_learner_step(&run->learner, &run->loader, current_rate(run), &rows, &loss, err));
        if (rows == 0)
            return QN_OK;
        run->loss_sum += loss * (double)rows;
        run->rows_seen += rows;
        int64_t now_ns = qn_now_ns();
        show_step(run, now_ns);
        *ret_verdict = should_stop(run);
        if (*ret_verdict != GO_ON)
            return QN_OK;
        QN_TRY(save_sometimes(run, now_ns, err));
    }
}

/* Which average the weights of the epoch in hand have: the first of SWA is a copy. -1 = none yet. */
static int64_t averaged_epoch(const qn_candidate_run *run)
{
    double share = run->candidate->recipe.train.swa;
    int64_t first = run->epochs - (int64_t)ceil(share * (double)run->epochs);
    if (run->learner.options.lbfgs || !run->learner.options.average)
        return -1;
    if (run->learner.options.ema > 0)
        return run->candidate->history_count;
    return run->candidate->history_count - first;
}

/* The metric of what would be kept: the averaged weights where there are some. */
static qn_status judge(qn_candidate_run *run, qn_score *ret, qn_error *err)
{
    int64_t index = averaged_epoch(run);
    if (index >= 0 && run->candidate->recipe.train.swa > 0)
        qn_learner_average(&run->learner, 1 / (double)(index + 1));
    if (index >= 0)
        qn_learner_swap_average(&run->learner);
    qn_status status = watch_metric(run, ret, err);
    if (status == QN_OK)
        status = keep_if_best(run, ret, err);
    if (index >= 0)
        qn_learner_swap_average(&run->learner);
    return status;
}

static qn_status end_epoch(qn_candidate_run *run, qn_error *err)
{
    qn_candidate *candidate = run->candidate;
    qn_score score;
    QN_TRY(judge(run, &score, err));
    qn_epoch_record record = {
        .loss = run->rows_seen > 0 ? run->loss_sum / (double)run->rows_seen : (double)NAN,
        .value = score.value,
        .rate = current_rate(run),
        .seconds = run->seconds_before + (double)(qn_now_ns() - run->begin_ns) / 1e9};
    qn_fit_event event = qn_fit_event_of(QN_FIT_EPOCH);
    fill_event(run, &event);
    event.value = score.value;
    event.learning_rate = record.rate;
    if (candidate->history_count < candidate->history_max)
        candidate->history[candidate->history_count++] = record;
    qn_fit_emit(run->fit, &event, true);
    if (run->schedule.kind == QN_NN_SCHEDULE_PLATEAU) {
        qn_nn_plateau_options options = {.factor = candidate->recipe.train.gamma,
                                         .patience = candidate->recipe.train.patience,
                                         .higher = qn_metric_higher_is_better(run->fit->metric)};
        (void)qn_nn_plateau_update(&run->plateau, &options, score.value);
    }
    run->loss_sum = 0;
    run->rows_seen = 0;
    return QN_OK;
}

static qn_status stop_now(qn_candidate_run *run, qn_error *err)
{
    QN_TRY(qn_checkpoint_write(run->fit, run, run->index, err));
    (void)qn_error_set(err, QN_ERR_CANCELLED, NULL, "stopped; the checkpoint is in '%s'",
                       run->fit->checkpoint);
    return qn_error_hint(err, QN_ERR_CANCELLED, "go on with --resume");
}

static qn_status run_epochs(qn_candidate_run *run, qn_error *err)
{
    const qn_recipe *recipe = &run->candidate->recipe;
    qn_verdict verdict = GO_ON;
    int64_t patience = recipe->train.early_stop;
    bool watches = run->parts[QN_PART_VALID].rows > 0;
    while (run->candidate->history_count < run->epochs && verdict == GO_ON) {
        run->epoch_begin_ns = qn_now_ns();
        run->epoch_rows_begin = run->rows_seen;
        QN_TRY(run_steps(run, &verdict, err));
        if (verdict == STOP_NOW)
            return stop_now(run, err);
        if (verdict == FINISH) /* for a second signal, during evaluation: see qn_fit_finish */
            QN_TRY(qn_checkpoint_write(run->fit, run, run->index, err));
        if (verdict == FINISH && run->rows_seen < run->parts[QN_PART_TRAIN].rows && run->best)
            break; /* an unfinished epoch does not count when there is something better to keep */
        QN_TRY(end_epoch(run, err));
        if (verdict == GO_ON)
            verdict = should_stop(run);
        if (verdict == STOP_NOW)
            return stop_now(run, err);
        bool more = run->candidate->history_count < run->epochs;
        if (watches && more && patience > 0 && run->bad >= patience) {
            qn_fit_note(run->fit, QN_FIT_NOTE, "%s stopped early: no better %s in %lld epochs",
                        run->candidate->name, qn_metric_name(run->fit->metric),
                        (long long)patience);
            break;
        }
    }
    if (run->best && watches)
        qn_state_restore(run->learner.state, run->best);
    else if (averaged_epoch(run) > 0) /* of the epoch to come: at least one was averaged */
        qn_learner_swap_average(&run->learner);
    return QN_OK;
}

/* --- whole-data training --- */

static bool lbfgs_progress(void *context, const qn_lbfgs_report *report)
{
    qn_candidate_run *run = context;
    int64_t now_ns = qn_now_ns();
    if (now_ns - run->shown_ns >= SHOW_NS) {
        run->shown_ns = now_ns;
        qn_fit_event event = qn_fit_event_of(QN_FIT_STEP);
        event.candidate = run->candidate->name;
        event.step = report->iterations;
        event.steps = LBFGS_ITERATIONS;
        event.loss = report->loss;
        qn_fit_emit(run->fit, &event, false);
    }
    return should_stop(run) == GO_ON;
}

/* Plans for whole-data steps, in batches that are added up. */
static qn_status open_whole(qn_candidate_run *run, qn_error *err)
{
    const qn_packed *train = &run->parts[QN_PART_TRAIN];
    int64_t batch = qn_min_i64(LBFGS_BATCH, train->rows);
    QN_TRY(qn_learner_open(&run->learner, train, batch, err));
    QN_TRY(qn_learner_open_answers(&run->learner, train, err));
    return check_memory(run, batch, err);
}

static qn_status run_lbfgs(qn_candidate_run *run, qn_error *err)
{
    const qn_packed *train = &run->parts[QN_PART_TRAIN];
    qn_lbfgs_report report;
    QN_TRY(open_whole(run, err));
    qn_model_type type = run->candidate->recipe.model.type;
    qn_learner_lbfgs_options options = {.l2 = run->candidate->recipe.train.weight_decay,
                                        .from_zero =
                                            type == QN_MODEL_LINEAR || type == QN_MODEL_LOGISTIC,
                                        .iterations_max = LBFGS_ITERATIONS,
                                        .progress = lbfgs_progress,
                                        .context = run};
    QN_TRY(qn_learner_lbfgs(&run->learner, train, &options, &report, err));
    qn_verdict verdict = should_stop(run);
    if (verdict != GO_ON)
        QN_TRY(qn_checkpoint_write(run->fit, NULL, run->index, err));
    if (verdict == STOP_NOW) {
        QN_FAIL(err, QN_ERR_CANCELLED, "stopped; the checkpoint is in '%s'", run->fit->checkpoint);
    }
    run->epochs = run->batches = 1;
    run->loss_sum = report.loss * (double)train->rows;
    run->rows_seen = train->rows;
    run->epoch_begin_ns = run->begin_ns;
    return end_epoch(run, err);
}

/* --- one candidate --- */

static void announce(qn_candidate_run *run, bool done)
{
    qn_fit_event event = qn_fit_event_of(QN_FIT_CANDIDATE);
    event.candidate = run->candidate->name;
    event.text = run->candidate->text;
    if (done) {
        event.metric = qn_metric_name(run->fit->metric);
        event.value = run->candidate->score.value;
        event.epoch = run->candidate->best_epoch;
    }
    qn_fit_emit(run->fit, &event, true);
}

static void finish_candidate(qn_candidate_run *run)
{
    qn_fit *fit = run->fit;
    qn_candidate *candidate = run->candidate;
    candidate->done = true;
    candidate->seconds = run->seconds_before + (double)(qn_now_ns() - run->begin_ns) / 1e9;
    announce(run, true);
    bool better = fit->winner < 0 || qn_score_is_better(fit->metric, &candidate->score,
                                                        &fit->candidates[fit->winner].score);
    if (!better)
        return;
    if (fit->has_best)
        qn_learner_deinit(&fit->best);
    fit->best = run->learner;
    fit->has_best = true;
    fit->winner = run->index;
    run->learner = (qn_learner){0};
}

static qn_status train(qn_candidate_run *run, const qn_checkpoint *resume, qn_error *err)
{
    QN_TRY(start_learner(run, err));
    announce(run, false);
    if (run->learner.options.lbfgs)
        return run_lbfgs(run, err);
    QN_TRY(start_steps(run, err));
    if (resume)
        QN_TRY(qn_checkpoint_restore(resume, run, err));
    return run_epochs(run, err);
}

static qn_status print_plan(const qn_candidate_run *run, int64_t batch, qn_error *err)
{
    qn_buf *dst = run->fit->options->plans;
    if (!dst)
        return QN_OK;
    qn_buf_printf(dst, "%s: %s of %lld rows\n", run->candidate->name,
                  run->learner.options.lbfgs ? "loss and gradient" : "a step", (long long)batch);
    return qn_learner_print(&run->learner, batch, dst, err);
}

static qn_status check(qn_candidate_run *run, qn_error *err)
{
    QN_TRY(start_learner(run, err));
    announce(run, false);
    if (!run->learner.options.lbfgs) {
        QN_TRY(start_steps(run, err));
        return print_plan(run, run->loader.options.batch, err);
    }
    QN_TRY(open_whole(run, err));
    return print_plan(run, run->learner.full.batch, err);
}

static void end_run(qn_candidate_run *run)
{
    if (run->best)
        qn_state_destroy(run->best);
    qn_learner_deinit(&run->learner);
    qn_arena_deinit(&run->arena);
}

static void begin_run(qn_candidate_run *run, qn_fit *fit, int index)
{
    *run = (qn_candidate_run){.fit = fit,
                              .candidate = &fit->candidates[index],
                              .index = index,
                              .best_score = {(double)NAN, (double)NAN},
                              .begin_ns = qn_now_ns()};
    run->saved_ns = run->begin_ns;
    qn_arena_init(&run->arena, 0);
}

qn_status qn_fit_check_candidate(qn_fit *fit, int index, qn_error *err)
{
    qn_candidate_run run;
    begin_run(&run, fit, index);
    qn_status status = check(&run, err);
    end_run(&run);
    return status;
}

qn_status qn_fit_train_candidate(qn_fit *fit, int index, const qn_checkpoint *resume, qn_error *err)
{
    qn_candidate_run run;
    begin_run(&run, fit, index);
    qn_status status = train(&run, resume, err);
    if (status == QN_OK)
        status = state_test(&run, err);
    if (status == QN_OK)
        finish_candidate(&run);
    end_run(&run);
    return status;
}
