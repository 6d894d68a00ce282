/*
 * Checkpoints: one file that holds every state of the candidate in training, its best weights, the
 * winner so far, and a note with the place in the data, the schedule and the history. Random numbers
 * and the order of rows are functions of seed, step and epoch, so nothing else is needed to go on as
 * if nothing had happened.
 */
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "model/weights.h"
#include "os/clock.h"
#include "os/file.h"
#include "train/fit_priv.h"

enum { CHECKPOINT_FORMAT = 2 };

/* --- what a checkpoint belongs to --- */

static void recipe_digest(const qn_fit *fit, char dst[65])
{
    qn_buf text;
    qn_buf_init(&text, 0);
    qn_recipe_write(&fit->recipe, false, &text);
    qn_digest digest = qn_digest_of(text.data, text.size);
    qn_digest_text(&digest, dst);
    qn_buf_deinit(&text);
}

/* The file of model.file: its bytes; "" where there is none. */
static void network_digest(const qn_fit *fit, char dst[65])
{
    qn_map map;
    dst[0] = '\0';
    if (!fit->recipe.model.file || qn_map_open(fit->recipe.model.file, &map, NULL) != QN_OK)
        return;
    qn_digest digest = qn_digest_of(map.data, map.size);
    qn_digest_text(&digest, dst);
    qn_map_close(&map);
}

static void data_digest(const qn_fit *fit, char dst[65])
{
    const qn_dataset *dataset = fit->dataset;
    qn_digest digest =
        qn_digest_of(dataset->digests, (size_t)dataset->files_count * sizeof *dataset->digests);
    qn_digest_text(&digest, dst);
}

/* --- writing --- */

typedef struct {
    qn_arena arena;
    qn_named_tensor *items;
    int64_t count, capacity;
    bool failed;
} qn_tensor_list;

static void add_states(qn_tensor_list *list, const char *prefix, const qn_state *state,
                       const qn_graph *only)
{
    for (int i = 0; i < qn_state_count(state) && !list->failed; i++) {
        const qn_named_tensor *from = qn_state_at(state, i);
        if (only && qn_graph_find(only, from->name) == QN_NONE)
            continue;
        const char *name = qn_arena_printf(&list->arena, "%s%s", prefix, from->name);
        list->failed = !name || list->count == list->capacity;
        if (!list->failed)
            list->items[list->count++] = (qn_named_tensor){name, from->tensor};
    }
}

static void write_history(const qn_candidate *candidate, qn_json_writer *w)
{
    qn_json_key(w, "history");
    qn_json_array_begin(w);
    for (int64_t i = 0; i < candidate->history_count; i++) {
        const qn_epoch_record *record = &candidate->history[i];
        qn_json_object_begin(w);
        qn_json_put_f64(w, "loss", record->loss);
        qn_json_put_f64(w, "value", record->value);
        qn_json_put_f64(w, "rate", record->rate);
        qn_json_put_f64(w, "seconds", record->seconds);
        qn_json_object_end(w);
    }
    qn_json_array_end(w);
}

static void write_candidates(const qn_fit *fit, qn_json_writer *w)
{
    qn_json_key(w, "candidates");
    qn_json_array_begin(w);
    for (int i = 0; i < fit->candidates_count; i++) {
        const qn_candidate *candidate = &fit->candidates[i];
        qn_json_object_begin(w);
        qn_json_put_bool(w, "done", candidate->done);
        qn_json_put_f64(w, "value", candidate->score.value);
        qn_json_put_f64(w, "loss", candidate->score.loss);
        qn_json_put_f64(w, "test", candidate->test);
        qn_json_put_i64(w, "best_epoch", candidate->best_epoch);
        qn_json_put_f64(w, "seconds", candidate->seconds);
        write_history(candidate, w);
        qn_json_object_end(w);
    }
    qn_json_array_end(w);
}

static void write_run(const qn_candidate_run *run, qn_json_writer *w)
{
    qn_json_key(w, "run");
    qn_json_object_begin(w);
    qn_json_put_i64(w, "epoch", run->loader.cursor.epoch);
    qn_json_put_i64(w, "batch", run->loader.cursor.batch);
    qn_json_put_i64(w, "step", run->learner.step);
    qn_json_put_i64(w, "micro", run->learner.micro);
    qn_json_put_f64(w, "loss_sum", run->loss_sum);
    qn_json_put_i64(w, "rows_seen", run->rows_seen);
    qn_json_put_bool(w, "has_best", run->best != NULL);
    qn_json_put_f64(w, "best_value", run->best_score.value);
    qn_json_put_f64(w, "best_loss", run->best_score.loss);
    qn_json_put_i64(w, "bad", run->bad);
    qn_json_put_bool(w, "plateau_started", run->plateau.started);
    qn_json_put_f64(w, "plateau_best", run->plateau.best);
    qn_json_put_i64(w, "plateau_bad", run->plateau.bad);
    qn_json_put_f64(w, "plateau_scale", run->plateau.scale);
    qn_json_put_f64(w, "seconds",
                    run->seconds_before + (double)(qn_now_ns() - run->begin_ns) / 1e9);
    qn_json_object_end(w);
}

static void write_note(const qn_fit *fit, const qn_candidate_run *run, int next, qn_buf *dst)
{
    char digest[65];
    qn_json_writer w;
    qn_json_write_init(&w, dst);
    w.nonfinite_words = true;
    qn_json_object_begin(&w);
    qn_json_put_i64(&w, "checkpoint", CHECKPOINT_FORMAT);
    recipe_digest(fit, digest);
    qn_json_put_text(&w, "recipe", digest);
    data_digest(fit, digest);
    qn_json_put_text(&w, "data", digest);
    network_digest(fit, digest);
    if (digest[0])
        qn_json_put_text(&w, "network", digest);
    qn_json_put_f64(&w, "seconds", qn_fit_seconds(fit));
    qn_json_put_i64(&w, "winner", fit->winner);
    qn_json_put_i64(&w, "next", next);
    write_candidates(fit, &w);
    if (run)
        write_run(run, &w);
    qn_json_object_end(&w);
}

static qn_status write_file(const qn_fit *fit, const qn_candidate_run *run, int next,
                            qn_tensor_list *list, qn_buf *note, qn_error *err)
{
    list->capacity = run ? 2 * (int64_t)qn_state_count(run->learner.state) : 0;
    list->capacity += fit->has_best ? qn_state_count(fit->best.state) : 0;
    list->items = QN_NEW(&list->arena, qn_named_tensor, list->capacity + 1);
    list->failed = !list->items;
    if (run)
        add_states(list, "state.", run->learner.state, NULL);
    if (run && run->best)
        add_states(list, "best.", run->best, NULL);
    if (fit->has_best)
        add_states(list, "winner.", fit->best.state, fit->best.inference);
    write_note(fit, run, next, note);
    if (list->failed || note->failed)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory for a checkpoint");
    const char *folder = qn_path_join(&list->arena, fit->out, "checkpoint");
    if (!folder)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory for a checkpoint");
    QN_TRY(qn_folder_make(folder, err));
    return qn_weights_write(fit->checkpoint, list->items, list->count, qn_buf_view(note), err);
}

qn_status qn_checkpoint_write(const qn_fit *fit, const qn_candidate_run *run, int next,
                              qn_error *err)
{
    qn_tensor_list list = {0};
    qn_buf note;
    qn_arena_init(&list.arena, 0);
    qn_buf_init(&note, 0);
    qn_status status = write_file(fit, run, next, &list, &note, err);
    qn_buf_deinit(&note);
    qn_arena_deinit(&list.arena);
    return status;
}

/* --- reading --- */

static qn_status check_digest(const qn_json *note, const char *key, const char *expected,
                              const char *what, qn_error *err)
{
    qn_str digest;
    QN_TRY(qn_json_get_str(note, key, true, &digest, err));
    if (qn_str_is(digest, expected))
        return QN_OK;
    (void)qn_error_set(err, QN_ERR_DATA, NULL, "the checkpoint was made with %s", what);
    return qn_error_hint(err, QN_ERR_DATA,
                         "train without --resume to begin anew, or restore what it was made with");
}

static qn_status read_history(const qn_json *json, qn_candidate *candidate, qn_error *err)
{
    const qn_json *history = qn_json_find(json, "history");
    int64_t count = history ? qn_json_length(history) : -1;
    if (count < 0 || count > candidate->history_max)
        QN_FAIL(err, QN_ERR_DATA, "the checkpoint's history does not fit");
    for (int64_t i = 0; i < count; i++) {
        qn_json item = qn_json_at(history, i);
        qn_epoch_record *record = &candidate->history[i];
        QN_TRY(qn_json_get_f64(&item, "loss", true, &record->loss, err));
        QN_TRY(qn_json_get_f64(&item, "value", true, &record->value, err));
        QN_TRY(qn_json_get_f64(&item, "rate", true, &record->rate, err));
        QN_TRY(qn_json_get_f64(&item, "seconds", true, &record->seconds, err));
    }
    candidate->history_count = count;
    return QN_OK;
}

static qn_status read_candidates(qn_fit *fit, const qn_json *note, qn_error *err)
{
    const qn_json *list = qn_json_find(note, "candidates");
    if (!list || qn_json_length(list) != fit->candidates_count)
        QN_FAIL(err, QN_ERR_DATA, "the checkpoint has other candidates");
    for (int i = 0; i < fit->candidates_count; i++) {
        qn_json item = qn_json_at(list, i);
        qn_candidate *candidate = &fit->candidates[i];
        QN_TRY(qn_json_get_bool(&item, "done", true, &candidate->done, err));
        QN_TRY(qn_json_get_f64(&item, "value", true, &candidate->score.value, err));
        QN_TRY(qn_json_get_f64(&item, "loss", true, &candidate->score.loss, err));
        QN_TRY(qn_json_get_f64(&item, "test", true, &candidate->test, err));
        QN_TRY(qn_json_get_i64(&item, "best_epoch", true, &candidate->best_epoch, err));
        QN_TRY(qn_json_get_f64(&item, "seconds", true, &candidate->seconds, err));
        QN_TRY(read_history(&item, candidate, err));
    }
    return QN_OK;
}

static qn_status read_note(qn_fit *fit, const qn_json *note, int *ret_candidate, qn_error *err)
{
    char recipe[65], data[65], network[65];
    int64_t format, next, winner;
    recipe_digest(fit, recipe);
    network_digest(fit, network);
    data_digest(fit, data);
    QN_TRY(qn_json_get_i64(note, "checkpoint", true, &format, err));
    if (format != CHECKPOINT_FORMAT)
        QN_FAIL(err, QN_ERR_DATA, "the checkpoint has format %lld; this Quern reads %d",
                (long long)format, CHECKPOINT_FORMAT);
    QN_TRY(check_digest(note, "recipe", recipe, "another recipe", err));
    QN_TRY(check_digest(note, "data", data, "other data", err));
    if (network[0])
        QN_TRY(check_digest(note, "network", network, "another file as model.file", err));
    QN_TRY(qn_json_get_f64(note, "seconds", true, &fit->seconds_before, err));
    QN_TRY(qn_json_get_i64(note, "next", true, &next, err));
    QN_TRY(qn_json_get_i64(note, "winner", true, &winner, err));
    if (next < 0 || next > fit->candidates_count || winner < -1 || winner >= fit->candidates_count)
        QN_FAIL(err, QN_ERR_DATA, "the checkpoint names candidate %lld of %d", (long long)next,
                fit->candidates_count);
    QN_TRY(read_candidates(fit, note, err));
    fit->winner = (int)winner;
    *ret_candidate = (int)next;
    return QN_OK;
}

static qn_status open_file(qn_fit *fit, qn_arena *arena, qn_weights *weights,
                           qn_checkpoint *checkpoint, int *ret_candidate, qn_error *err)
{
    qn_json_limits limits = {.allow_nonfinite = true};
    QN_TRY(qn_weights_open(fit->checkpoint, arena, weights, err));
    checkpoint->file = weights;
    checkpoint->tensors = weights->tensors;
    checkpoint->count = weights->count;
    QN_TRY(qn_json_read(weights->note, &limits, arena, &checkpoint->note, err));
    return read_note(fit, &checkpoint->note, ret_candidate, err);
}

qn_status qn_checkpoint_open(qn_fit *fit, qn_arena *arena, qn_checkpoint *ret, int *ret_candidate,
                             qn_error *err)
{
    if (!qn_path_exists(fit->checkpoint))
        QN_FAIL(err, QN_ERR_NOT_FOUND, "no checkpoint '%s'", fit->checkpoint);
    qn_weights *weights = QN_NEW(arena, qn_weights, 1);
    if (!weights)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    qn_checkpoint checkpoint = {0};
    qn_status status = open_file(fit, arena, weights, &checkpoint, ret_candidate, err);
    if (status != QN_OK) {
        qn_checkpoint_close(&checkpoint);
        return qn_error_at(err, status, "%s", fit->checkpoint);
    }
    *ret = checkpoint;
    return QN_OK;
}

void qn_checkpoint_close(qn_checkpoint *checkpoint)
{
    if (checkpoint->file)
        qn_weights_close(checkpoint->file);
    *checkpoint = (qn_checkpoint){0};
}

bool qn_checkpoint_is_inside(const qn_checkpoint *checkpoint)
{
    return checkpoint->file && qn_json_find(&checkpoint->note, "run");
}

/* Every state of `into` must be there under the prefix; `only` limits to the states of a graph. */
static qn_status load_states(const qn_checkpoint *checkpoint, const char *prefix, qn_state *into,
                             const qn_graph *only, qn_error *err)
{
    size_t length = strlen(prefix);
    for (int i = 0; i < qn_state_count(into); i++) {
        const char *name = qn_state_at(into, i)->name;
        const qn_named_tensor *found = NULL;
        if (only && qn_graph_find(only, name) == QN_NONE)
            continue;
        for (int64_t k = 0; k < checkpoint->count && !found; k++)
            if (strncmp(checkpoint->tensors[k].name, prefix, length) == 0 &&
                strcmp(checkpoint->tensors[k].name + length, name) == 0)
                found = &checkpoint->tensors[k];
        if (!found)
            QN_FAIL(err, QN_ERR_DATA, "the checkpoint has no '%s%s'", prefix, name);
        QN_TRY(qn_state_set(into, name, &found->tensor, err));
    }
    return QN_OK;
}

static qn_status read_place(const qn_json *json, qn_candidate_run *run, qn_error *err)
{
    qn_loader_cursor cursor;
    bool has_best;
    QN_TRY(qn_json_get_i64(json, "epoch", true, &cursor.epoch, err));
    QN_TRY(qn_json_get_i64(json, "batch", true, &cursor.batch, err));
    QN_TRY(qn_json_get_i64(json, "step", true, &run->learner.step, err));
    QN_TRY(qn_json_get_i64(json, "micro", true, &run->learner.micro, err));
    QN_TRY(qn_json_get_f64(json, "loss_sum", true, &run->loss_sum, err));
    QN_TRY(qn_json_get_i64(json, "rows_seen", true, &run->rows_seen, err));
    QN_TRY(qn_json_get_bool(json, "has_best", true, &has_best, err));
    QN_TRY(qn_json_get_f64(json, "best_value", true, &run->best_score.value, err));
    QN_TRY(qn_json_get_f64(json, "best_loss", true, &run->best_score.loss, err));
    QN_TRY(qn_json_get_i64(json, "bad", true, &run->bad, err));
    QN_TRY(qn_json_get_bool(json, "plateau_started", true, &run->plateau.started, err));
    QN_TRY(qn_json_get_f64(json, "plateau_best", true, &run->plateau.best, err));
    QN_TRY(qn_json_get_i64(json, "plateau_bad", true, &run->plateau.bad, err));
    QN_TRY(qn_json_get_f64(json, "plateau_scale", true, &run->plateau.scale, err));
    QN_TRY(qn_json_get_f64(json, "seconds", true, &run->seconds_before, err));
    if (cursor.epoch < 0 || cursor.batch < 0 || cursor.batch > run->batches ||
        cursor.epoch > run->epochs || run->learner.step < 0)
        QN_FAIL(err, QN_ERR_DATA, "the checkpoint's place in the data is not possible");
    qn_loader_seek(&run->loader, cursor);
    if (has_best)
        QN_TRY(qn_state_snapshot(run->learner.state, &run->best, err));
    return QN_OK;
}

qn_status qn_checkpoint_restore(const qn_checkpoint *checkpoint, qn_candidate_run *run,
                                qn_error *err)
{
    const qn_json *json = qn_json_find(&checkpoint->note, "run");
    QN_TRY(read_place(json, run, err));
    QN_TRY(load_states(checkpoint, "state.", run->learner.state, NULL, err));
    if (run->best)
        QN_TRY(load_states(checkpoint, "best.", run->best, NULL, err));
    return QN_OK;
}

qn_status qn_checkpoint_restore_winner(const qn_checkpoint *checkpoint, qn_fit *fit, qn_error *err)
{
    if (fit->winner < 0)
        return QN_OK;
    qn_learner_options options;
    qn_candidate *winner = &fit->candidates[fit->winner];
    QN_TRY(qn_fit_learner_options(fit, winner, &fit->load, &options, err));
    fit->has_best = true; /* from here on it must be released */
    QN_TRY(qn_learner_init(&fit->best, &options, err));
    winner->text =
        qn_arena_strndup(&fit->load, fit->best.network.text, strlen(fit->best.network.text));
    return load_states(checkpoint, "winner.", fit->best.state, fit->best.inference, err);
}
