/*
 * The models that are served: found at start, their newest versions opened then, older versions when first asked for.
 * Names from requests are compared with this list and never become a path.
 */
#include "serve_priv.h"

#include <stdio.h>

#include "base/alloc.h"
#include "base/log.h"
#include "model/folder.h"
#include "os/clock.h"
#include "os/file.h"

/* One row of zeros, so that the first request does not wait for a plan. A model that cannot take zeros says so later. */
static void warm_up(qn_served *served)
{
    const qn_signature *signature = served->signature;
    qn_arena scratch;
    qn_arena_init(&scratch, 0);
    qn_named_tensor *inputs = QN_NEW(&scratch, qn_named_tensor, signature->inputs_count);
    qn_named_tensor *outputs = QN_NEW(&scratch, qn_named_tensor, signature->outputs_count);
    bool good = inputs && outputs;
    for (int i = 0; good && i < signature->inputs_count; i++) {
        qn_shape shape = signature->inputs[i].shape;
        shape.dims[0] = 1;
        qn_dtype dtype = signature->inputs[i].dtype;
        void *zeros = qn_arena_zero(&scratch, qn_shape_count(&shape), qn_dtype_size(dtype));
        inputs[i] = (qn_named_tensor){signature->inputs[i].name, qn_tensor_of(zeros, dtype, shape)};
        good = zeros != NULL;
    }
    if (good && qn_predictor_tensors(served->predictor, inputs, signature->inputs_count, &scratch,
                                     outputs, NULL) != QN_OK)
        qn_log(QN_LOG_DEBUG, "model '%s' takes no row of zeros", served->name);
    qn_arena_deinit(&scratch);
}

/* Kept apart from the predictor, which the compute thread may be using when the loop decides. */
static void estimate(qn_served *served)
{
    int64_t one = qn_predictor_cost_ns(served->predictor, 1);
    int64_t two = qn_predictor_cost_ns(served->predictor, 2);
    served->row_ns = two > one ? two - one : 1;
    served->run_ns = one - served->row_ns;
}

/* Opens with the pool when the estimate says that one thread is too slow for the loop. */
static qn_status open_predictor(qn_serve *serve, qn_served *served, qn_error *err)
{
    qn_predictor_options options = {.batch_max = serve->limits.batch_max};
    QN_TRY(qn_predictor_open(served->folder, 0, &options, &served->predictor, err));
    served->pooled = qn_predictor_cost_ns(served->predictor, 1) > serve->limits.inline_us * 1000;
    if (served->pooled) {
        qn_predictor_close(served->predictor);
        served->predictor = NULL;
        if (!serve->pool)
            QN_TRY(qn_pool_create(serve->threads, &serve->pool, err));
        options.pool = serve->pool;
        QN_TRY(qn_predictor_open(served->folder, 0, &options, &served->predictor, err));
    }
    served->signature = qn_predictor_signature(served->predictor);
    warm_up(served);
    estimate(served);
    return QN_OK;
}

static void name_version(qn_served *served, int64_t version)
{
    served->version = version;
    snprintf(served->version_text, sizeof(served->version_text), "%lld", (long long)version);
}

/* A folder of versions gives all of them, a version's own folder one. */
static qn_status list_versions(qn_serve *serve, const char *folder, qn_model *model, qn_error *err)
{
    int64_t *versions = NULL, count = 0;
    const char *path = folder;
    int64_t newest = 1;
    if (!qn_path_is_onnx(folder))
        QN_TRY(qn_folder_find(folder, 0, &serve->load, &path, &newest, err));
    bool single = strcmp(path, folder) == 0 ||
                  qn_folder_versions(folder, &serve->load, &versions, &count, NULL) != QN_OK ||
                  count == 0;
    model->versions_count = single ? 1 : count;
    model->versions = QN_NEW(&serve->load, qn_served, model->versions_count);
    if (!model->versions)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    for (int64_t i = 0; i < model->versions_count; i++) {
        qn_served *served = &model->versions[i];
        name_version(served, single ? newest : versions[i]);
        served->folder = single ? path : qn_path_join(&serve->load, folder, served->version_text);
        if (!served->folder)
            QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
        uv_mutex_init(&served->lock);
    }
    return QN_OK;
}

/* "churn" of "models/churn", "models/churn/" and "models/churn/3"; "" of a folder without a name. */
static const char *folder_name(qn_serve *serve, const char *folder)
{
    qn_str rest = qn_str_from(folder), last = {0};
    int64_t number;
    do {
        while (rest.size > 1 && rest.data[rest.size - 1] == '/')
            rest.size--;
        size_t from = rest.size;
        while (from > 0 && rest.data[from - 1] != '/')
            from--;
        last = (qn_str){rest.data + from, rest.size - from};
        rest.size = from;
    } while (rest.size > 0 && qn_str_to_i64(last, &number));
    if (qn_path_is_onnx(folder))
        last.size -= sizeof ".onnx" - 1;
    return qn_arena_strndup(&serve->load, last.data, last.size);
}

static qn_status fail_twice(const qn_model *model, const char *one, const char *other,
                            qn_error *err)
{
    (void)qn_error_set(err, QN_ERR_ARG, NULL, "two models are called '%s': '%s' and '%s'",
                       model->name, one, other);
    return qn_error_hint(err, QN_ERR_ARG, "give one another name: %s-2=%s", model->name, other);
}

static qn_status add_model(qn_serve *serve, const char *folder, const char *name, qn_error *err)
{
    qn_model model = {.created_s = qn_wall_s()};
    QN_TRY(list_versions(serve, folder, &model, err));
    qn_served *newest = &model.versions[model.versions_count - 1];
    QN_TRY(open_predictor(serve, newest, err));
    const char *given = name ? name : newest->signature->name;
    model.name = qn_arena_strndup(&serve->load, given, strlen(given));
    model.folder_name = folder_name(serve, folder);
    if (!model.name || !model.folder_name)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    for (int64_t i = 0; i < model.versions_count; i++)
        model.versions[i].name = model.name;
    serve->models[serve->models_count++] = model; /* from here on qn_models_close sees it */
    for (int64_t i = 0; i + 1 < serve->models_count; i++)
        if (strcmp(serve->models[i].name, model.name) == 0)
            return fail_twice(&model, serve->models[i].versions[0].folder, newest->folder, err);
    return QN_OK;
}

/* "churn=models/2026/3", or a folder alone. A folder whose name has '=' in it is what it is. */
static qn_status add_argument(qn_serve *serve, const char *argument, qn_error *err)
{
    const char *equals = strchr(argument, '=');
    if (!equals || qn_path_exists(argument))
        return add_model(serve, argument, NULL, err);
    const char *name = qn_arena_strndup(&serve->load, argument, (size_t)(equals - argument));
    if (!name)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    if (!qn_folder_name_check(name))
        QN_FAIL(err, QN_ERR_ARG,
                "'%.60s' cannot be a model's name: letters, digits, '-', '_' and '.', first a "
                "letter or digit, 128 at most",
                name);
    return add_model(serve, equals + 1, name, err);
}

static qn_status add_repo(qn_serve *serve, const char *repo, char **names, int64_t count,
                          qn_error *err)
{
    int64_t before = serve->models_count;
    for (int64_t i = 0; i < count; i++) {
        const char *path = qn_path_join(&serve->load, repo, names[i]);
        bool file = path && qn_path_is_onnx(path);
        if (file || (path && qn_folder_is_model(path, &serve->load)))
            QN_TRY(add_model(serve, path, file ? NULL : names[i], err));
    }
    if (serve->models_count == before)
        QN_FAIL(err, QN_ERR_NOT_FOUND, "no model folder in '%s'", repo);
    return QN_OK;
}

qn_status qn_models_open(qn_serve *serve, const qn_serve_options *options, qn_error *err)
{
    char **names = NULL;
    int64_t count = 0;
    if (options->repo)
        QN_TRY(qn_folder_list(options->repo, &serve->load, &names, &count, err));
    serve->models = QN_NEW(&serve->load, qn_model, options->models_count + count + 1);
    if (!serve->models)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    for (int64_t i = 0; i < options->models_count; i++)
        QN_TRY(add_argument(serve, options->models[i], err));
    if (options->repo)
        QN_TRY(add_repo(serve, options->repo, names, count, err));
    if (serve->models_count == 0)
        QN_FAIL(err, QN_ERR_ARG, "no model to serve: name a model folder or --repo");
    return QN_OK;
}

void qn_models_close(qn_serve *serve)
{
    for (int64_t m = 0; m < serve->models_count; m++) {
        for (int64_t v = 0; v < serve->models[m].versions_count; v++) {
            qn_predictor_close(serve->models[m].versions[v].predictor);
            uv_mutex_destroy(&serve->models[m].versions[v].lock);
        }
    }
    serve->models_count = 0;
}

qn_model *qn_models_find(const qn_serve *serve, qn_str name)
{
    for (int64_t i = 0; i < serve->models_count; i++)
        if (qn_str_is(name, serve->models[i].name))
            return &serve->models[i];
    for (int64_t i = 0; i < serve->models_count && name.size > 0; i++)
        if (qn_str_is(name, serve->models[i].folder_name))
            return &serve->models[i];
    return NULL;
}

static qn_served *find_version(const qn_model *model, qn_str version)
{
    if (version.size == 0)
        return &model->versions[model->versions_count - 1];
    for (int64_t i = 0; i < model->versions_count; i++)
        if (qn_str_is(version, model->versions[i].version_text))
            return &model->versions[i];
    return NULL;
}

/* Paths stay in the log: an answer names no file of ours. */
static qn_status open_late(qn_serve *serve, qn_served *served, qn_error *err)
{
    qn_error why = {0};
    qn_status status = open_predictor(serve, served, &why);
    if (status == QN_OK)
        return QN_OK;
    qn_log(QN_LOG_ERROR, "model '%s' version %s: %s", served->name, served->version_text, why.text);
    QN_FAIL(err, QN_ERR_BUSY, "version %s of model '%s' cannot be opened", served->version_text,
            served->name);
}

qn_status qn_models_get(qn_serve *serve, qn_str name, qn_str version, qn_served **ret,
                        qn_error *err)
{
    const qn_model *model = qn_models_find(serve, name);
    if (!model)
        QN_FAIL(err, QN_ERR_NOT_FOUND, "there is no model '%.*s'",
                name.size > 100 ? 100 : (int)name.size, name.data);
    qn_served *served = find_version(model, version);
    if (!served)
        QN_FAIL(err, QN_ERR_NOT_FOUND, "model '%s' has no version '%.*s'; the newest is %s",
                model->name, version.size > 20 ? 20 : (int)version.size, version.data,
                model->versions[model->versions_count - 1].version_text);
    if (!served->predictor)
        QN_TRY(open_late(serve, served, err));
    *ret = served;
    return QN_OK;
}
