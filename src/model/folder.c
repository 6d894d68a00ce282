/*
 * Writing and reading model folders. quern.json names every other file with its size and SHA-256, so
 * the digest of quern.json stands for the whole version. It holds no clock: the same training gives
 * the same bytes (run.jsonl, with its times, is the exception, and its digest is not recorded).
 */
#include "model/folder.h"

#include <ctype.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "format/safetensors.h"
#include "model/signature.h"
#include "os/file.h"

enum { DESCRIPTION_MAX = 256 << 20 }; /* bytes of quern.json that are still read */

static const char writing_prefix[] = ".writing-";

/* --- versions --- */

/* "17" -> 17; anything else (signs, leading zeros, letters) is no version. */
static bool parse_version(const char *name, int64_t *ret)
{
    if (name[0] == '0' || strspn(name, "0123456789") != strlen(name))
        return false;
    return qn_str_to_i64(qn_str_from(name), ret);
}

static bool has_description(const char *folder, qn_arena *scratch)
{
    const char *path = qn_path_join(scratch, folder, "quern.json");
    return path && qn_path_exists(path);
}

static int compare_versions(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

qn_status qn_folder_versions(const char *folder, qn_arena *arena, int64_t **ret_versions,
                             int64_t *ret_count, qn_error *err)
{
    char **names;
    int64_t names_count, count = 0;
    QN_TRY(qn_folder_list(folder, arena, &names, &names_count, err));
    int64_t *versions = QN_NEW(arena, int64_t, names_count);
    if (!versions)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    for (int64_t i = 0; i < names_count; i++) {
        const char *path = qn_path_join(arena, folder, names[i]);
        if (path && parse_version(names[i], &versions[count]) && has_description(path, arena))
            count++;
    }
    qsort(versions, (size_t)count, sizeof *versions, compare_versions);
    *ret_versions = versions;
    *ret_count = count;
    return QN_OK;
}

/* The version number that a version's own folder has in its name; 0 when it was renamed. */
static int64_t version_of_path(const char *path)
{
    size_t end = strlen(path);
    while (end > 0 && path[end - 1] == '/')
        end--;
    size_t begin = end;
    while (begin > 0 && path[begin - 1] != '/')
        begin--;
    int64_t version = 0;
    if (end == begin || end - begin > 18 ||
        !qn_str_to_i64((qn_str){path + begin, end - begin}, &version))
        return 0;
    return version;
}

qn_status qn_folder_find(const char *folder, int64_t version, qn_arena *arena,
                         const char **ret_path, int64_t *ret_version, qn_error *err)
{
    if (!qn_path_is_folder(folder))
        QN_FAIL(err, QN_ERR_NOT_FOUND, "no model folder '%s'", folder);
    if (has_description(folder, arena)) {
        *ret_path = qn_arena_strndup(arena, folder, strlen(folder));
        *ret_version = version_of_path(folder);
        if (!*ret_path)
            QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
        return QN_OK;
    }
    int64_t *versions = NULL, count = 0;
    QN_TRY(qn_folder_versions(folder, arena, &versions, &count, err));
    if (count == 0)
        QN_FAIL(err, QN_ERR_NOT_FOUND, "folder '%s' holds no model (no quern.json, no versions)",
                folder);
    int64_t found = version == 0 ? versions[count - 1] : 0;
    for (int64_t i = 0; i < count; i++)
        found = versions[i] == version ? version : found;
    if (found == 0)
        QN_FAIL(err, QN_ERR_NOT_FOUND, "model '%s' has no version %lld; the newest is %lld", folder,
                (long long)version, (long long)versions[count - 1]);
    const char *path = qn_arena_printf(arena, "%s/%lld", folder, (long long)found);
    if (!path)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    *ret_path = path;
    *ret_version = found;
    return QN_OK;
}

bool qn_folder_name_check(const char *name)
{
    bool good = isalnum((unsigned char)name[0]) && strlen(name) <= 128;
    for (const char *c = name; *c; c++)
        good = good && (isalnum((unsigned char)*c) || strchr("-_.", *c));
    return good;
}

bool qn_path_is_onnx(const char *path)
{
    return qn_str_ends(qn_str_from(path), ".onnx") && !qn_path_is_folder(path);
}

bool qn_folder_is_model(const char *path, qn_arena *scratch)
{
    const char *found;
    int64_t version;
    return qn_folder_find(path, 0, scratch, &found, &version, NULL) == QN_OK;
}

/* --- writing --- */

static qn_status write_weights(const qn_folder_content *content, qn_arena *arena, qn_buf *dst,
                               qn_error *err)
{
    int values = qn_graph_values_count(content->graph);
    qn_named_tensor *tensors = QN_NEW(arena, qn_named_tensor, values + 1);
    if (!tensors)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    int64_t count = 0;
    for (qn_value value = 0; value < values; value++) {
        if (qn_graph_kind(content->graph, value) != QN_VALUE_STATE)
            continue;
        const char *name = qn_graph_name(content->graph, value);
        const qn_named_tensor *state = qn_state_find(content->state, name);
        if (!state)
            QN_FAIL(err, QN_ERR_ARG, "the weights have no '%s'", name);
        tensors[count++] = *state;
    }
    qn_str key = QN_STR("format"), value = QN_STR("quern");
    return qn_safetensors_write(dst, tensors, count, &key, &value, 1, err);
}

typedef struct {
    const char *name;
    qn_str text;
    bool digest; /* recorded in quern.json */
} qn_folder_file;
enum { FILES_MAX = 8 };

static void write_files(const qn_folder_file *files, int count, qn_json_writer *w)
{
    qn_json_key(w, "files");
    qn_json_object_begin(w);
    for (int i = 0; i < count; i++) {
        if (!files[i].digest || files[i].text.size == 0)
            continue;
        char text[65];
        qn_digest digest = qn_digest_of(files[i].text.data, files[i].text.size);
        qn_digest_text(&digest, text);
        qn_json_key(w, files[i].name);
        qn_json_object_begin(w);
        qn_json_put_i64(w, "bytes", (int64_t)files[i].text.size);
        qn_json_put_text(w, "sha256", text);
        qn_json_object_end(w);
    }
    qn_json_object_end(w);
}

static void write_description(const qn_folder_content *content, const qn_signature *signature,
                              const qn_json *net, const qn_folder_file *files, int files_count,
                              qn_buf *dst)
{
    qn_json_writer w;
    qn_json_write_init(&w, dst);
    w.pretty = true;
    qn_json_object_begin(&w);
    qn_json_put_i64(&w, "quern", QN_MODEL_FORMAT);
    qn_json_put_text(&w, "written_by", "quern " QN_VERSION);
    qn_json_put_text(&w, "name", content->name);
    qn_json_put_text(&w, "task", qn_task_name(content->task));
    qn_json_key(&w, "signature");
    qn_signature_write_json(signature, &w);
    write_files(files, files_count, &w);
    qn_json_key(&w, "graph");
    qn_graph_write(content->graph, &w);
    if (content->transforms) {
        qn_json_key(&w, "transforms");
        qn_transforms_write_json(content->transforms, &w);
    }
    if (content->net.size > 0) {
        qn_json_key(&w, "net");
        qn_json_value(&w, net);
    }
    if (content->schema) {
        qn_json_key(&w, "schema");
        qn_schema_write_json(content->schema, &w);
    }
    qn_json_object_end(&w);
    qn_buf_byte(dst, '\n');
}

/* Folders that a killed writer left behind. */
static void remove_stale(const char *folder, qn_arena *arena)
{
    char **names;
    int64_t count, pid;
    if (qn_folder_list(folder, arena, &names, &count, NULL) != QN_OK)
        return;
    for (int64_t i = 0; i < count; i++) {
        if (strncmp(names[i], writing_prefix, sizeof writing_prefix - 1) != 0 ||
            !qn_str_to_i64(qn_str_from(names[i] + sizeof writing_prefix - 1), &pid))
            continue;
        if (pid > 0 && (kill((pid_t)pid, 0) == 0 || errno != ESRCH))
            continue;
        const char *path = qn_path_join(arena, folder, names[i]);
        if (path)
            (void)!qn_folder_remove(path, NULL);
    }
}

static qn_status write_all(const char *path, const qn_folder_file *files, int count,
                           qn_arena *arena, qn_error *err)
{
    QN_TRY(qn_folder_make(path, err));
    for (int i = 0; i < count; i++) {
        if (files[i].text.size == 0)
            continue;
        const char *file = qn_path_join(arena, path, files[i].name);
        if (!file)
            QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
        QN_TRY(qn_file_replace(file, files[i].text.data, files[i].text.size, err));
    }
    return QN_OK;
}

/* Renames to the next free number; another writer may take one between looking and renaming. */
static qn_status publish(const char *folder, const char *from, qn_arena *arena,
                         const char **ret_path, int64_t *ret_version, qn_error *err)
{
    qn_status status = QN_OK;
    for (int attempt = 0; attempt < 16; attempt++) {
        int64_t *versions = NULL, count = 0;
        QN_TRY(qn_folder_versions(folder, arena, &versions, &count, err));
        int64_t version = (count > 0 ? versions[count - 1] : 0) + 1 + attempt;
        const char *path = qn_arena_printf(arena, "%s/%lld", folder, (long long)version);
        if (!path)
            QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
        if (qn_path_exists(path))
            continue;
        status = qn_folder_rename(from, path, err);
        if (status == QN_OK) {
            *ret_path = path;
            *ret_version = version;
            return QN_OK;
        }
    }
    if (status == QN_OK)
        QN_FAIL(err, QN_ERR_IO, "no free version number in '%s'", folder);
    return status;
}

static qn_status write_version(const char *folder, const qn_folder_file *files, int count,
                               qn_arena *arena, const char **ret_path, int64_t *ret_version,
                               qn_error *err)
{
    QN_TRY(qn_folder_make(folder, err));
    remove_stale(folder, arena);
    const char *path =
        qn_arena_printf(arena, "%s/%s%lld", folder, writing_prefix, (long long)getpid());
    if (!path)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    qn_status status = write_all(path, files, count, arena, err);
    if (status == QN_OK)
        status = publish(folder, path, arena, ret_path, ret_version, err);
    if (status != QN_OK)
        (void)!qn_folder_remove(path, NULL);
    return status;
}

qn_status qn_folder_write(const char *folder, const qn_folder_content *content, qn_arena *arena,
                          const char **ret_path, int64_t *ret_version, qn_error *err)
{
    qn_buf weights, description;
    qn_buf_init(&weights, 0);
    qn_buf_init(&description, 0);
    qn_signature signature;
    qn_status status = qn_signature_make(content->graph, content->transforms, content->name, 0,
                                         content->task, arena, &signature, err);
    qn_json net = {0};
    if (status == QN_OK && content->net.size > 0)
        status = qn_json_read(content->net, NULL, arena, &net, err);
    if (status == QN_OK)
        status = write_weights(content, arena, &weights, err);
    if (status != QN_OK)
        goto out;
    qn_folder_file files[FILES_MAX] = {
        {"model.safetensors", qn_buf_view(&weights), true},
        {"recipe.yaml", content->recipe, true},
        {"metrics.json", content->metrics, true},
        {"README.md", content->card, true},
        {"report.html", content->report, true},
        {"run.jsonl", content->run, false},
    };
    write_description(content, &signature, &net, files, 6, &description);
    if (weights.failed || description.failed) {
        status = qn_error_set(err, QN_ERR_MEMORY, NULL, "out of memory");
        goto out;
    }
    files[6] = (qn_folder_file){"quern.json", qn_buf_view(&description), false};
    status = write_version(folder, files, 7, arena, ret_path, ret_version, err);
out:
    qn_buf_deinit(&weights);
    qn_buf_deinit(&description);
    return status;
}

/* --- reading --- */

/* Weights by name from the mapped file into the state, each checked against the graph's type. */
static qn_status load_weights(const qn_graph *graph, qn_state *state, const char *path,
                              qn_arena *arena, qn_error *err)
{
    qn_map map = {0};
    QN_TRY(qn_map_open(path, &map, err));
    qn_safetensors file;
    qn_status status = qn_safetensors_read((qn_str){map.data, map.size}, path, arena, &file, err);
    for (qn_value value = 0; status == QN_OK && value < qn_graph_values_count(graph); value++) {
        if (qn_graph_kind(graph, value) != QN_VALUE_STATE)
            continue;
        const char *name = qn_graph_name(graph, value);
        const qn_named_tensor *tensor = qn_safetensors_find(&file, name);
        if (!tensor)
            status = qn_error_set(err, QN_ERR_DATA, path, "the file has no tensor '%s'", name);
        else
            status = qn_state_set(state, name, &tensor->tensor, err);
        if (status != QN_OK && tensor)
            status = qn_error_at(err, QN_ERR_DATA, "%s", path);
    }
    qn_map_close(&map);
    return status;
}

static qn_status check_format(const qn_json *description, qn_error *err)
{
    int64_t format;
    QN_TRY(qn_json_get_i64(description, "quern", true, &format, err));
    if (format < 1 || format > QN_MODEL_FORMAT)
        QN_FAIL(err, QN_ERR_DATA, "the model has format %lld; this Quern reads formats 1 to %d",
                (long long)format, QN_MODEL_FORMAT);
    return QN_OK;
}

static qn_status read_parts(const qn_json *description, qn_arena *arena, qn_folder_model *model,
                            qn_error *err)
{
    qn_str name, task;
    QN_TRY(check_format(description, err));
    QN_TRY(qn_json_get_str(description, "name", true, &name, err));
    QN_TRY(qn_json_get_str(description, "task", true, &task, err));
    if (!qn_task_find(task, &model->task))
        QN_FAIL(err, QN_ERR_DATA, "unknown task \"%.*s\"", QN_STR_ARG(task));
    model->name = qn_arena_strndup(arena, name.data, name.size);
    if (!model->name)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    const qn_json *graph = qn_json_find(description, "graph");
    if (!graph)
        QN_FAIL(err, QN_ERR_DATA, "\"graph\" is missing");
    QN_TRY(qn_graph_read(graph, &model->graph, err));
    model->net = qn_json_find(description, "net");
    const qn_json *transforms = qn_json_find(description, "transforms");
    if (transforms)
        QN_TRY(qn_transforms_read_json(transforms, arena, &model->transforms, err));
    qn_signature signature;
    QN_TRY(qn_signature_make(model->graph, model->transforms, model->name, model->version,
                             model->task, arena, &signature, err));
    QN_TRY(qn_state_create(&model->state, err));
    return qn_state_add_graph(model->state, model->graph, 0, err);
}

/* --- digests --- */

/* A name in "files" must be a plain file of the folder: no separators, no "..". */
static bool is_plain_name(qn_str name)
{
    return name.size > 0 && name.data[0] != '.' && !memchr(name.data, '/', name.size) &&
           !memchr(name.data, '\0', name.size);
}

static qn_status verify_file(const char *folder, qn_str name, const qn_json *entry,
                             qn_arena *scratch, qn_error *err)
{
    qn_str expected;
    if (!is_plain_name(name))
        QN_FAIL(err, QN_ERR_DATA, "\"files\" names '%.*s', which is not a file of the folder",
                QN_STR_ARG(name));
    QN_TRY(qn_json_get_str(entry, "sha256", true, &expected, err));
    const char *path = qn_arena_printf(scratch, "%s/%.*s", folder, QN_STR_ARG(name));
    if (!path)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    qn_map map = {0};
    QN_TRY(qn_map_open(path, &map, err));
    char text[65];
    qn_digest digest = qn_digest_of(map.data, map.size);
    qn_digest_text(&digest, text);
    qn_map_close(&map);
    if (!qn_str_is(expected, text))
        return qn_error_set(err, QN_ERR_NEGATIVE, path,
                            "the file differs from its record: sha256 is %.16s..., recorded is "
                            "%.16s...",
                            text, expected.size >= 16 ? expected.data : "(too short)     ");
    return QN_OK;
}

static qn_status read_description(const char *path, qn_arena *arena, qn_json *ret, char digest[65],
                                  qn_error *err)
{
    qn_str text;
    QN_TRY(qn_file_read(path, DESCRIPTION_MAX, arena, &text, err));
    qn_status status = qn_json_read(text, NULL, arena, ret, err);
    if (status != QN_OK)
        return qn_error_at(err, status, "%s", path);
    qn_digest sum = qn_digest_of(text.data, text.size);
    qn_digest_text(&sum, digest);
    return QN_OK;
}

/* Weights of the right shapes may still be other weights, or damaged ones: answers would be wrong without a word. */
static qn_status check_weights(const char *folder, const qn_json *description, qn_arena *arena,
                               qn_error *err)
{
    qn_str name = QN_STR("model.safetensors");
    const qn_json *files = qn_json_find(description, "files");
    const qn_json *entry = files ? qn_json_find(files, name.data) : NULL;
    if (!entry)
        QN_FAIL(err, QN_ERR_DATA, "quern.json has no digest of model.safetensors");
    qn_status status = verify_file(folder, name, entry, arena, err);
    if (status == QN_ERR_NEGATIVE && err)
        err->code = QN_ERR_DATA;
    return status == QN_ERR_NEGATIVE ? QN_ERR_DATA : status;
}

qn_status qn_folder_read(const char *folder, int64_t version, qn_arena *arena, qn_folder_model *ret,
                         qn_error *err)
{
    qn_folder_model model = {0};
    QN_TRY(qn_folder_find(folder, version, arena, &model.path, &model.version, err));
    const char *file = qn_path_join(arena, model.path, "quern.json");
    const char *weights = qn_path_join(arena, model.path, "model.safetensors");
    if (!file || !weights)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    qn_json *description = QN_NEW(arena, qn_json, 1);
    if (!description)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    QN_TRY(read_description(file, arena, description, model.digest, err));
    qn_status status = read_parts(description, arena, &model, err);
    if (status != QN_OK)
        status = qn_error_at(err, status == QN_ERR_ARG ? QN_ERR_DATA : status, "%s", file);
    else
        status = load_weights(model.graph, model.state, weights, arena, err);
    if (status == QN_OK)
        status = check_weights(model.path, description, arena, err);
    if (status != QN_OK) {
        qn_folder_model_deinit(&model);
        return status;
    }
    *ret = model;
    return QN_OK;
}

void qn_folder_model_deinit(qn_folder_model *model)
{
    if (model->graph)
        qn_graph_destroy(model->graph);
    if (model->state)
        qn_state_destroy(model->state);
    model->graph = NULL;
    model->state = NULL;
}

/* --- verifying --- */

static qn_status verify_files(const char *path, const qn_json *description, qn_arena *scratch,
                              qn_error *err)
{
    const qn_json *files = qn_json_find(description, "files");
    if (!files || files->kind != QN_JSON_OBJECT)
        return qn_error_set(err, QN_ERR_DATA, path, "quern.json has no \"files\"");
    for (int64_t i = 0; i < files->count; i++)
        QN_TRY(verify_file(path, files->keys[i], &files->items[i], scratch, err));
    return QN_OK;
}

qn_status qn_folder_verify(const char *folder, int64_t version, qn_arena *scratch, qn_error *err)
{
    qn_folder_model model;
    qn_json description;
    char digest[65];
    const char *path;
    int64_t found;
    QN_TRY(qn_folder_find(folder, version, scratch, &path, &found, err));
    const char *file = qn_path_join(scratch, path, "quern.json");
    if (!file)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    QN_TRY(read_description(file, scratch, &description, digest, err));
    QN_TRY(verify_files(path, &description, scratch, err));
    QN_TRY(qn_folder_read(folder, version, scratch, &model, err));
    qn_folder_model_deinit(&model);
    return QN_OK;
}
