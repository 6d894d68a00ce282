/*
 * What a recipe says about its data, as the options that opening and typing it take: the same for training and for
 * every verb that only looks.
 */
#include "model/recipe.h"

/* Columns that must stay as they are written: keys, and categories that look like numbers. */
static bool is_text(const qn_column_options *column)
{
    return column->type == QN_TYPE_CATEGORY || column->type == QN_TYPE_BINARY;
}

static bool is_image(const qn_column_options *column)
{
    return column->type == QN_TYPE_IMAGE;
}

/* Names of the columns that are `kind`, with room for one more; NULL = memory. */
static const char **columns_of(const qn_recipe *recipe, bool (*kind)(const qn_column_options *),
                               qn_arena *arena, int64_t *ret_count)
{
    const char **names = QN_NEW(arena, const char *, recipe->columns_count + 1);
    for (int64_t i = 0; names && i < recipe->columns_count; i++)
        if (kind(&recipe->columns[i]))
            names[(*ret_count)++] = recipe->columns[i].name.data;
    return names;
}

qn_status qn_recipe_open_data(const qn_recipe *recipe, int64_t memory_max, qn_arena *arena,
                              qn_dataset **ret, qn_error *err)
{
    int64_t texts_count = 0, images_count = 0;
    const char **texts = columns_of(recipe, is_text, arena, &texts_count);
    const char **images = columns_of(recipe, is_image, arena, &images_count);
    if (!texts || !images)
        QN_FAIL(err, QN_ERR_MEMORY, "no memory for the columns");
    if (recipe->data.id)
        texts[texts_count++] = recipe->data.id;
    const qn_dataset_options options = {
        .paths = recipe->data.path.items,
        .paths_count = recipe->data.path.count,
        .test = recipe->data.test,
        .target = recipe->data.target,
        .ignored = recipe->data.ignore.items,
        .ignored_count = recipe->data.ignore.count,
        .header = recipe->data.header,
        .names = recipe->data.names.items,
        .names_count = recipe->data.names.count,
        .texts = texts,
        .texts_count = texts_count,
        .images = images,
        .images_count = images_count,
        .memory_max = memory_max,
    };
    return qn_dataset_open(&options, ret, err);
}

qn_schema_options qn_recipe_schema_options(const qn_recipe *recipe, const qn_dataset *dataset)
{
    bool labels = recipe->train.loss == QN_RECIPE_CTC;
    return (qn_schema_options){
        .target = dataset->target,
        .id = recipe->data.id,
        .time = recipe->data.time,
        .group = recipe->split.by == QN_SPLIT_GROUP ? recipe->split.key : NULL,
        .task = labels && recipe->task == QN_TASK_AUTO ? QN_TASK_TRANSCRIBE : recipe->task,
        .columns = recipe->columns,
        .columns_count = recipe->columns_count,
    };
}
