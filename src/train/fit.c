/*
 * The run from recipe to model folder: open, split, prepare, train the candidates, evaluate, write.
 * Each phase has its own file; here is only their order.
 */
#include "train/fit.h"

#include <string.h>

#include "os/clock.h"
#include "os/file.h"
#include "train/fit_priv.h"

static qn_status name_places(qn_fit *fit, qn_error *err)
{
    fit->name = qn_recipe_model_name(&fit->recipe, &fit->load);
    fit->out = fit->options->out;
    if (fit->name && !fit->out)
        fit->out = qn_arena_printf(&fit->load, "models/%s", fit->name);
    if (fit->out)
        fit->checkpoint =
            qn_arena_printf(&fit->load, "%s/checkpoint/checkpoint.safetensors", fit->out);
    if (!fit->name || !fit->checkpoint)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    return QN_OK;
}

static qn_status train_from(qn_fit *fit, int first, const qn_checkpoint *checkpoint, qn_error *err)
{
    bool inside = qn_checkpoint_is_inside(checkpoint);
    for (int i = first; i < fit->candidates_count; i++) {
        const qn_checkpoint *resume = i == first && inside ? checkpoint : NULL;
        QN_TRY(qn_fit_train_candidate(fit, i, resume, err));
        if (fit->stopped)
            break;
    }
    return QN_OK;
}

/* From the checkpoint when asked and there; the beginning otherwise. */
static qn_status train_candidates(qn_fit *fit, qn_error *err)
{
    qn_arena arena;
    qn_checkpoint checkpoint = {0};
    int first = 0;
    qn_status status = QN_OK;
    qn_fit_phase(fit, "train");
    qn_arena_init(&arena, 0);
    bool resume = fit->options->resume && qn_path_exists(fit->checkpoint);
    if (fit->options->resume && !resume)
        qn_fit_note(fit, QN_FIT_NOTE, "no checkpoint in '%s': beginning anew", fit->out);
    if (resume) {
        status = qn_checkpoint_open(fit, &arena, &checkpoint, &first, err);
        if (status == QN_OK)
            status = qn_checkpoint_restore_winner(&checkpoint, fit, err);
    }
    if (status == QN_OK)
        status = train_from(fit, first, &checkpoint, err);
    qn_checkpoint_close(&checkpoint);
    qn_arena_deinit(&arena);
    return status;
}

static void remove_checkpoint(qn_fit *fit)
{
    const char *folder = qn_path_join(&fit->load, fit->out, "checkpoint");
    if (folder && qn_path_exists(folder))
        (void)!qn_folder_remove(folder, NULL);
}

static qn_status run(qn_fit *fit, qn_fit_result *ret, qn_error *err)
{
    int64_t unused;
    QN_TRY(name_places(fit, err));
    if (!fit->options->check_only) /* hours of training end in this folder */
        QN_TRY(qn_folder_check_room(fit->out, &unused, err));
    QN_TRY(qn_pool_create(fit->options->threads, &fit->pool, err));
    QN_TRY(qn_fit_open_data(fit, err));
    QN_TRY(qn_fit_prepare(fit, err));
    QN_TRY(qn_fit_choose_candidates(fit, err));
    for (int i = 0; fit->options->check_only && i < fit->candidates_count; i++)
        QN_TRY(qn_fit_check_candidate(fit, i, err));
    if (fit->options->check_only)
        return QN_OK;
    QN_TRY(train_candidates(fit, err));
    QN_TRY(qn_fit_finish(fit, ret, err));
    remove_checkpoint(fit);
    return QN_OK;
}

qn_status qn_fit_run(const struct qn_recipe *recipe, const qn_fit_run_options *options,
                     qn_arena *arena, qn_fit_result *ret, qn_error *err)
{
    qn_fit fit = {.options = options,
                  .recipe = *recipe,
                  .arena = arena,
                  .winner = -1,
                  .phase = "open",
                  .begin_ns = qn_now_ns()};
    qn_arena_init(&fit.load, 0);
    qn_buf_init(&fit.log, 0);
    qn_flush_denormals();
    qn_status status = run(&fit, ret, err);
    if (fit.has_best)
        qn_learner_deinit(&fit.best);
    if (fit.dataset)
        qn_dataset_close(fit.dataset);
    if (fit.pool)
        qn_pool_destroy(fit.pool);
    qn_buf_deinit(&fit.log);
    qn_arena_deinit(&fit.load);
    return status;
}
