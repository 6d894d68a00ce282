/*
 * Words of the command line to a merged recipe and its data.
 */
#include <stdlib.h>
#include <string.h>

#include "cli/verbs.h"
#include "data/transform.h"
#include "model/predictor.h"

enum { SETTINGS_MAX = 128 };

typedef struct {
    qn_recipe_setting items[SETTINGS_MAX];
    int count;
} settings_list;

static qn_status add(settings_list *list, const char *path, const char *value, const char *where,
                     qn_error *err)
{
    if (list->count == SETTINGS_MAX)
        QN_FAIL(err, QN_ERR_ARG, "more than %d recipe keys on the command line", SETTINGS_MAX);
    list->items[list->count++] = (qn_recipe_setting){path, value, where};
    return QN_OK;
}

/* A file name as a YAML scalar, whatever stands in it: single quotes, inner ones doubled. */
static const char *quoted(qn_arena *arena, const char *text)
{
    qn_buf buf;
    qn_buf_init(&buf, 0);
    qn_buf_byte(&buf, '\'');
    for (const char *c = text; *c; c++) {
        qn_buf_byte(&buf, *c);
        if (*c == '\'')
            qn_buf_byte(&buf, *c);
    }
    qn_buf_byte(&buf, '\'');
    char *copy = buf.failed ? NULL : qn_arena_strndup(arena, buf.data, buf.size);
    qn_buf_deinit(&buf);
    return copy;
}

/* A flag whose value is the text of a key, taken literally. */
static qn_status add_flag(qn_cli *cli, settings_list *list, const char *flag, const char *path,
                          qn_error *err)
{
    const char *value =
        qn_cli_has(cli, flag) || strcmp(flag, "seed") == 0 ? qn_cli_text(cli, flag) : NULL;
    if (!value)
        return QN_OK;
    const char *text = strcmp(flag, "seed") == 0 ? value : quoted(&cli->arena, value);
    const char *where = qn_arena_printf(&cli->arena, "--%s", flag);
    if (!text || !where)
        QN_FAIL(err, QN_ERR_MEMORY, "no memory for --%s", flag);
    return add(list, path, text, where, err);
}

static qn_status add_sets(qn_cli *cli, settings_list *list, qn_error *err)
{
    const char *const *values;
    int count;
    QN_TRY(qn_cli_all(cli, "set", &values, &count, err));
    for (int i = 0; i < count; i++) {
        const char *equals = strchr(values[i], '=');
        if (!equals || equals == values[i])
            QN_FAIL(err, QN_ERR_ARG, "--set takes path=value, such as train.epochs=5, got '%s'",
                    values[i]);
        const char *path = qn_arena_strndup(&cli->arena, values[i], (size_t)(equals - values[i]));
        if (!path)
            QN_FAIL(err, QN_ERR_MEMORY, "no memory for --set");
        QN_TRY(add(list, path, equals + 1, "--set", err));
    }
    return QN_OK;
}

qn_status qn_cli_recipe(qn_cli *cli, const char *path, qn_recipe *ret, qn_error *err)
{
    static const char *const flags[][2] = {
        {"target", "data.target"}, {"test", "data.test"},  {"task", "task"},      {"name", "name"},
        {"model", "model.type"},   {"seed", "train.seed"}, {"seed", "split.seed"}};
    settings_list *list = QN_NEW(&cli->arena, settings_list, 1);
    if (!list)
        QN_FAIL(err, QN_ERR_MEMORY, "no memory for the recipe");
    bool is_recipe = qn_recipe_is(path);
    if (!is_recipe) {
        const char *data = quoted(&cli->arena, path);
        if (!data)
            QN_FAIL(err, QN_ERR_MEMORY, "no memory for the recipe");
        QN_TRY(add(list, "data.path", data, "DATA", err));
    }
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        QN_TRY(add_flag(cli, list, flags[i][0], flags[i][1], err));
    QN_TRY(add_sets(cli, list, err));
    return qn_recipe_read(is_recipe ? path : NULL, list->items, list->count, &cli->arena, ret, err);
}

qn_status qn_cli_dataset(qn_cli *cli, const qn_recipe *recipe, qn_dataset **ret, qn_error *err)
{
    int64_t memory_max = 0;
    QN_TRY(qn_cli_bytes(cli, "mem", &memory_max, err));
    return qn_recipe_open_data(recipe, memory_max, &cli->arena, ret, err);
}

qn_status qn_cli_model_data(qn_cli *cli, qn_predictor *predictor, const char *path,
                            qn_dataset **ret, qn_error *err)
{
    const qn_transforms *transforms = qn_predictor_transforms(predictor);
    qn_dataset_options options = {
        .paths = &path, .paths_count = 1, .target = qn_predictor_signature(predictor)->target};
    QN_TRY(qn_cli_bytes(cli, "mem", &options.memory_max, err));
    if (!transforms)
        return qn_dataset_open(&options, ret, err);
    int64_t count;
    const qn_raw_input *inputs = qn_transforms_inputs(transforms, &count);
    const char **texts = QN_NEW(&cli->arena, const char *, count);
    const char **images = QN_NEW(&cli->arena, const char *, count);
    if (!texts || !images)
        QN_FAIL(err, QN_ERR_MEMORY, "no memory for the columns");
    for (int64_t i = 0; i < count; i++) {
        qn_column_type type = inputs[i].type;
        bool category = type == QN_TYPE_CATEGORY || type == QN_TYPE_BINARY;
        const char *name = qn_arena_strndup(&cli->arena, inputs[i].name.data, inputs[i].name.size);
        if (!name)
            QN_FAIL(err, QN_ERR_MEMORY, "no memory for the columns");
        if (category && inputs[i].kind == QN_COLUMN_STRING)
            texts[options.texts_count++] = name;
        if (type == QN_TYPE_IMAGE)
            images[options.images_count++] = name;
    }
    options.texts = texts;
    options.images = images;
    options.expected = qn_transforms_columns(transforms, &options.expected_count);
    return qn_dataset_open(&options, ret, err);
}

qn_status qn_cli_pool(const qn_cli *cli, qn_pool **ret, qn_error *err)
{
    int64_t threads = 0;
    QN_TRY(qn_cli_i64(cli, "threads", 1, 256, &threads, err));
    return qn_pool_create((int)threads, ret, err);
}
