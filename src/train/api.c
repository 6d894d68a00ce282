/*
 * quern/model.h, the part that trains: one call from a recipe or a table to a model folder.
 */
#include <signal.h>
#include <string.h>

#include "base/buf.h"
#include "model/recipe.h"
#include "quern/model.h"
#include "train/fit.h"

enum { SETTINGS_MAX = 256 };

typedef struct {
    const qn_train_options *options;
    volatile sig_atomic_t stop;
    qn_buf text;
} qn_train_call;

static void pass_event(void *context, const qn_fit_event *event)
{
    qn_train_call *call = context;
    if (!call->options->on_event)
        return;
    qn_json_writer w;
    qn_buf_reset(&call->text);
    qn_json_write_init(&w, &call->text);
    qn_fit_event_write_json(event, &w);
    qn_buf_byte(&call->text, '\0');
    if (!call->text.failed && call->options->on_event(call->options->context, call->text.data) != 0)
        call->stop = QN_STOP_STEP;
}

/* "train.epochs=5" to a path and a value. */
static qn_status add_setting(const char *text, qn_arena *arena, qn_recipe_setting *ret,
                             qn_error *err)
{
    const char *equals = strchr(text, '=');
    if (!equals)
        QN_FAIL(err, QN_ERR_ARG, "setting '%s' has no '='; KEY=VALUE is expected", text);
    char *path = qn_arena_strndup(arena, text, (size_t)(equals - text));
    if (!path)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    *ret = (qn_recipe_setting){path, equals + 1, "set"};
    return QN_OK;
}

static qn_status read_recipe(const char *path, const qn_train_options *options, qn_arena *arena,
                             qn_recipe *ret, qn_error *err)
{
    qn_recipe_setting settings[SETTINGS_MAX + 2];
    int count = 0;
    bool is_recipe = qn_recipe_is(path);
    if (options->set_count < 0 || options->set_count > SETTINGS_MAX)
        QN_FAIL(err, QN_ERR_ARG, "%d settings; at most %d are possible", options->set_count,
                SETTINGS_MAX);
    if (!is_recipe)
        settings[count++] = (qn_recipe_setting){"data.path", path, "path"};
    if (options->target)
        settings[count++] = (qn_recipe_setting){"data.target", options->target, "target"};
    for (int i = 0; i < options->set_count; i++)
        QN_TRY(add_setting(options->set[i], arena, &settings[count++], err));
    return qn_recipe_read(is_recipe ? path : NULL, settings, count, arena, ret, err);
}

static qn_status run(const char *path, qn_train_call *call, qn_arena *arena, qn_fit_result *result,
                     qn_error *err)
{
    const qn_train_options *options = call->options;
    qn_recipe *recipe = QN_NEW(arena, qn_recipe, 1);
    if (!recipe)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    QN_TRY(read_recipe(path, options, arena, recipe, err));
    qn_fit_run_options running = {.out = options->out,
                                  .threads = options->threads,
                                  .resume = options->resume,
                                  .seconds_max = options->seconds_max,
                                  .memory_max_bytes = options->memory_max_bytes,
                                  .stop = &call->stop,
                                  .on_event = pass_event,
                                  .context = call};
    return qn_fit_run(recipe, &running, arena, result, err);
}

qn_status qn_train(const char *path, const qn_train_options *options, char *ret_folder,
                   size_t ret_folder_size, qn_error *err)
{
    static const qn_train_options defaults = {0};
    qn_train_call call = {.options = options ? options : &defaults};
    qn_arena arena;
    qn_fit_result result = {0};
    qn_arena_init(&arena, 0);
    qn_buf_init(&call.text, 0);
    qn_status status = run(path, &call, &arena, &result, err);
    if (status == QN_OK && ret_folder) {
        size_t size = strlen(result.folder) + 1;
        if (size > ret_folder_size)
            status = qn_error_set(err, QN_ERR_ARG, NULL,
                                  "the folder's name needs %zu bytes, there is room for %zu", size,
                                  ret_folder_size);
        else
            memcpy(ret_folder, result.folder, size);
    }
    qn_buf_deinit(&call.text);
    qn_arena_deinit(&arena);
    return status;
}
