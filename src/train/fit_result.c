/*
 * The end of a run: the winner measured once on what it has not seen, and the model folder written.
 */
#include <math.h>
#include <string.h>

#include "model/folder.h"
#include "os/clock.h"
#include "train/result_priv.h"

/* --- a second signal --- */

/* Evaluation can be stopped too. A run that was told to finish has left a checkpoint inside its candidate
 * (fit_train.c); one that trained to the end leaves one with nothing left to train. */
static qn_status check_stop(qn_fit *fit, qn_error *err)
{
    if (!fit->options->stop || *fit->options->stop != QN_STOP_NOW)
        return QN_OK;
    if (!fit->stopped)
        QN_TRY(qn_checkpoint_write(fit, NULL, fit->candidates_count, err));
    (void)qn_error_set(err, QN_ERR_CANCELLED, NULL, "stopped; the checkpoint is in '%s'",
                       fit->checkpoint);
    return qn_error_hint(err, QN_ERR_CANCELLED, "go on with --resume");
}

/* --- measuring --- */

static qn_status measure_part(qn_fit *fit, qn_result *result, qn_part part, qn_arena *scratch,
                              qn_error *err)
{
    qn_packed packed;
    int64_t count;
    (void)qn_fit_part_rows(fit, part, &count);
    if (count == 0)
        return QN_OK;
    QN_TRY(check_stop(fit, err));
    QN_TRY(
        qn_learner_adapt(&fit->best, &result->winner->data->parts[part], &fit->load, &packed, err));
    float *answers = qn_arena_zero(&fit->load, count * fit->best.answer_count, sizeof(float));
    if (!answers)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory for answers of %lld rows", (long long)count);
    QN_TRY(qn_learner_answer(&fit->best, &packed, answers, err));
    QN_TRY(qn_fit_outcome(fit, &fit->best, part, answers, &fit->load, &result->outcome[part], err));
    return qn_metrics_of(&result->outcome[part], QN_BOOTSTRAP_ROUNDS,
                         (uint64_t)fit->recipe.train.seed, scratch, &result->metrics[part], err);
}

static qn_status measure(qn_fit *fit, qn_result *result, qn_arena *scratch, qn_error *err)
{
    if (fit->array) {
        qn_array_rows rows = qn_fit_arrays(fit, &fit->best, QN_PART_TRAIN, NULL);
        fit->array_constant = qn_arrays_constant(&rows, &fit->load);
        if (!fit->array_constant)
            QN_FAIL(err, QN_ERR_MEMORY, "out of memory for the trivial answer");
    }
    QN_TRY(measure_part(fit, result, QN_PART_VALID, scratch, err));
    QN_TRY(measure_part(fit, result, QN_PART_TEST, scratch, err));
    result->shown = result->outcome[QN_PART_TEST].rows > 0    ? QN_PART_TEST
                    : result->outcome[QN_PART_VALID].rows > 0 ? QN_PART_VALID
                                                              : QN_PART_TRAIN;
    if (result->shown == QN_PART_TRAIN)
        QN_TRY(measure_part(fit, result, QN_PART_TRAIN, scratch, err));
    const qn_outcome *outcome = &result->outcome[result->shown];
    QN_TRY(qn_metrics_baseline(outcome, fit->shares, fit->train_mean, scratch, &result->baseline,
                               err));
    int64_t count;
    const int64_t *rows = qn_fit_part_rows(fit, result->shown, &count);
    if (fit->array)
        return QN_OK; /* slices are for tables */
    return qn_slices_of(outcome, &fit->dataset->frame, rows, result->winner->data->transforms,
                        fit->metric, &fit->load, &result->slices, err);
}

/* --- metrics.json --- */

static void write_set(const qn_result *result, qn_part part, qn_json_writer *w)
{
    qn_json_key(w, qn_part_names[part]);
    if (result->outcome[part].rows > 0)
        qn_metric_set_write_json(&result->metrics[part], w);
    else
        qn_json_null(w);
}

static void write_rows(const qn_fit *fit, qn_json_writer *w)
{
    qn_json_key(w, "rows");
    qn_json_object_begin(w);
    for (int part = 0; part < QN_PARTS; part++) {
        int64_t count;
        (void)qn_fit_part_rows(fit, (qn_part)part, &count);
        qn_json_put_i64(w, qn_part_names[part], count);
    }
    qn_json_object_end(w);
}

static void write_candidates(const qn_fit *fit, qn_json_writer *w)
{
    qn_json_key(w, "candidates");
    qn_json_array_begin(w);
    for (int i = 0; i < fit->candidates_count; i++) {
        const qn_candidate *candidate = &fit->candidates[i];
        if (!candidate->done)
            continue;
        qn_json_object_begin(w);
        qn_json_put_text(w, "name", candidate->name);
        qn_json_put_text(w, "network", candidate->text);
        qn_json_put_i64(w, "parameters", candidate->parameters);
        qn_json_put_f64(w, "valid", candidate->score.value);
        qn_json_put_f64(w, "test", candidate->test);
        qn_json_put_i64(w, "best_epoch", candidate->best_epoch);
        qn_json_put_bool(w, "chosen", i == fit->winner);
        qn_json_object_end(w);
    }
    qn_json_array_end(w);
}

static void write_metrics(const qn_result *result, qn_buf *dst)
{
    qn_json_writer w;
    qn_json_write_init(&w, dst);
    w.pretty = true;
    qn_json_object_begin(&w);
    qn_json_put_text(&w, "task", qn_task_name(result->fit->task));
    qn_json_put_text(&w, "metric", qn_metric_name(result->fit->metric));
    write_set(result, QN_PART_TEST, &w);
    write_set(result, QN_PART_VALID, &w);
    if (result->shown == QN_PART_TRAIN)
        write_set(result, QN_PART_TRAIN, &w);
    qn_json_key(&w, "baseline");
    qn_metric_set_write_json(&result->baseline, &w);
    qn_json_key(&w, "slices");
    qn_slices_write_json(&result->slices, &w);
    write_rows(result->fit, &w);
    write_candidates(result->fit, &w);
    qn_json_object_end(&w);
    qn_buf_byte(dst, '\n');
}

/* --- the folder --- */

/* Texts of the folder, each in its own buffer until it is written. */
typedef struct {
    qn_buf recipe, metrics, card, report;
} qn_texts;

static qn_status write_texts(qn_fit *fit, const qn_result *result, qn_arena *scratch,
                             qn_texts *texts, qn_error *err)
{
    qn_recipe_write(&result->winner->recipe, false, &texts->recipe);
    write_metrics(result, &texts->metrics);
    qn_card_write(result, &texts->card);
    QN_TRY(qn_report_write(result, scratch, &texts->report, err));
    qn_fit_event event = qn_fit_event_of(QN_FIT_RESULT);
    event.candidate = result->winner->name;
    event.text = result->winner->text;
    event.metrics_json = qn_buf_view(&texts->metrics);
    qn_json_writer w;
    event.phase = fit->phase;
    event.seconds = qn_fit_seconds(fit);
    qn_json_write_init(&w, &fit->log);
    qn_fit_event_write_json(&event, &w);
    qn_buf_byte(&fit->log, '\n');
    if (texts->recipe.failed || texts->metrics.failed || texts->card.failed ||
        texts->report.failed || fit->log.failed)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    return QN_OK;
}

static qn_status write_folder(qn_fit *fit, const qn_result *result, const qn_texts *texts,
                              qn_fit_result *ret, qn_error *err)
{
    qn_folder_content content = {.name = fit->name,
                                 .graph = fit->best.inference,
                                 .state = fit->best.state,
                                 .transforms = result->winner->data->transforms,
                                 .schema = &fit->schema,
                                 .task = fit->task,
                                 .recipe = qn_buf_view(&texts->recipe),
                                 .metrics = qn_buf_view(&texts->metrics),
                                 .card = qn_buf_view(&texts->card),
                                 .report = qn_buf_view(&texts->report),
                                 .run = qn_buf_view(&fit->log)};
    return qn_folder_write(fit->out, &content, fit->arena, &ret->folder, &ret->version, err);
}

static qn_status fill_result(qn_fit *fit, const qn_texts *texts, qn_fit_result *ret, qn_error *err)
{
    const qn_buf *metrics = &texts->metrics;
    const char *text = qn_arena_strndup(fit->arena, metrics->data, metrics->size);
    if (!text)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    ret->metrics_json = (qn_str){text, metrics->size};
    QN_TRY(qn_json_read(ret->metrics_json, NULL, fit->arena, &ret->metrics, err));
    ret->stopped = fit->stopped;
    return QN_OK;
}

static qn_status finish_with(qn_fit *fit, qn_texts *texts, qn_arena *scratch, qn_fit_result *ret,
                             qn_error *err)
{
    qn_result result = {.fit = fit, .winner = &fit->candidates[fit->winner]};
    qn_fit_phase(fit, "evaluate");
    QN_TRY(measure(fit, &result, scratch, err));
    QN_TRY(check_stop(fit, err));
    qn_fit_phase(fit, "write");
    QN_TRY(write_texts(fit, &result, scratch, texts, err));
    qn_fit_result filled = {0};
    QN_TRY(fill_result(fit, texts, &filled, err));
    QN_TRY(write_folder(fit, &result, texts, &filled, err));
    qn_fit_event event = qn_fit_event_of(QN_FIT_RESULT);
    event.candidate = result.winner->name;
    event.text = result.winner->text;
    event.folder = filled.folder;
    event.metrics_json = filled.metrics_json;
    qn_fit_emit(fit, &event, false);
    *ret = filled;
    return QN_OK;
}

qn_status qn_fit_finish(qn_fit *fit, qn_fit_result *ret, qn_error *err)
{
    qn_texts texts;
    qn_arena scratch;
    qn_buf *all[] = {&texts.recipe, &texts.metrics, &texts.card, &texts.report};
    for (int i = 0; i < 4; i++)
        qn_buf_init(all[i], 0);
    qn_arena_init(&scratch, 0);
    qn_status status = finish_with(fit, &texts, &scratch, ret, err);
    qn_arena_deinit(&scratch);
    for (int i = 0; i < 4; i++)
        qn_buf_deinit(all[i]);
    return status;
}
