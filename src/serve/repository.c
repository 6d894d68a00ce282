/* Triton's additions about models: index, configuration and statistics, in JSON and gRPC. */
#include "handlers_priv.h"
#include "oip.h"

#include "base/error.h"
#include "inference.pb-c.h"

static bool find_served(qn_call *call, qn_str name, qn_str version, qn_served **ret)
{
    qn_error err = {0};
    qn_status status = qn_models_get(call->serve, name, version, ret, &err);
    if (status != QN_OK)
        qn_call_fail(call, status, &err);
    return status == QN_OK;
}

/* ---- index ---- */

void qn_answer_index(qn_call *call)
{
    qn_serve *serve = call->serve;
    qn_json_writer w = qn_call_json(call);
    qn_json_array_begin(&w);
    for (int64_t m = 0; m < serve->models_count; m++) {
        for (int64_t v = 0; v < serve->models[m].versions_count; v++) {
            qn_json_object_begin(&w);
            qn_json_put_text(&w, "name", serve->models[m].name);
            qn_json_put_text(&w, "version", serve->models[m].versions[v].version_text);
            qn_json_put_text(&w, "state", "READY");
            qn_json_object_end(&w);
        }
    }
    qn_json_array_end(&w);
    qn_call_reply_json(call, 200);
}

void qn_answer_grpc_index(qn_call *call)
{
    typedef Inference__RepositoryIndexResponse__ModelIndex row;
    qn_serve *serve = call->serve;
    int64_t count = 0;
    for (int64_t m = 0; m < serve->models_count; m++)
        count += serve->models[m].versions_count;
    row *rows = QN_NEW(call->request->arena, row, count);
    row **pointers = QN_NEW(call->request->arena, row *, count);
    int64_t at = 0;
    for (int64_t m = 0; rows && pointers && m < serve->models_count; m++) {
        for (int64_t v = 0; v < serve->models[m].versions_count; v++) {
            inference__repository_index_response__model_index__init(&rows[at]);
            rows[at].name = (char *)(uintptr_t)serve->models[m].name;
            rows[at].version = serve->models[m].versions[v].version_text;
            rows[at].state = (char *)(uintptr_t) "READY";
            pointers[at] = &rows[at];
            at++;
        }
    }
    Inference__RepositoryIndexResponse answer;
    inference__repository_index_response__init(&answer);
    answer.n_models = (size_t)at;
    answer.models = pointers;
    qn_call_send(call, &answer.base);
}

/* ---- configuration ---- */

/* "FP32" -> "TYPE_FP32", "BYTES" -> "TYPE_STRING" */
static const char *config_type(const char *datatype, qn_arena *arena)
{
    if (strcmp(datatype, "BYTES") == 0)
        return "TYPE_STRING";
    return qn_arena_printf(arena, "TYPE_%s", datatype);
}

/* Without the batch dimension; [1] when nothing is left, as the format wants. */
static int config_dims(const qn_oip_spec *spec, int64_t dst[QN_RANK_MAX])
{
    int count = 0;
    for (int i = 1; i < spec->shape.rank; i++)
        dst[count++] = spec->shape.dims[i];
    if (count == 0)
        dst[count++] = 1;
    return count;
}

static void write_config_side(qn_json_writer *w, const char *key, const qn_oip_spec *specs,
                              int64_t count, qn_arena *arena)
{
    qn_json_key(w, key);
    qn_json_array_begin(w);
    for (int64_t i = 0; i < count; i++) {
        int64_t dims[QN_RANK_MAX];
        int rank = config_dims(&specs[i], dims);
        qn_json_object_begin(w);
        qn_json_put_text(w, "name", specs[i].name);
        qn_json_put_text(w, "data_type", config_type(specs[i].datatype, arena));
        qn_json_key(w, "dims");
        qn_json_array_begin(w);
        for (int d = 0; d < rank; d++)
            qn_json_i64(w, dims[d]);
        qn_json_array_end(w);
        qn_json_object_end(w);
    }
    qn_json_array_end(w);
}

typedef struct {
    qn_oip_spec *inputs, *outputs;
    int64_t inputs_count, outputs_count;
} sides;

static sides sides_of(const qn_served *served, qn_arena *arena)
{
    sides ret = {0};
    bool tensors = !qn_signature_has_rows(served->signature);
    ret.inputs = qn_oip_inputs(served->signature, tensors, arena, &ret.inputs_count);
    ret.outputs = qn_oip_outputs(served->signature, tensors, arena, &ret.outputs_count);
    if (!ret.inputs)
        ret.inputs_count = 0;
    if (!ret.outputs)
        ret.outputs_count = 0;
    return ret;
}

void qn_answer_config(qn_call *call)
{
    qn_arena *arena = call->request->arena;
    qn_served *served;
    if (!find_served(call, call->params[0], call->params[1], &served))
        return;
    sides s = sides_of(served, arena);
    qn_json_writer w = qn_call_json(call);
    qn_json_object_begin(&w);
    qn_json_put_text(&w, "name", served->name);
    qn_json_put_text(&w, "platform", "quern");
    qn_json_put_text(&w, "backend", "quern");
    qn_json_put_i64(&w, "max_batch_size", call->serve->limits.batch_max);
    write_config_side(&w, "input", s.inputs, s.inputs_count, arena);
    write_config_side(&w, "output", s.outputs, s.outputs_count, arena);
    qn_json_key(&w, "parameters");
    qn_json_object_begin(&w);
    qn_json_put_text(&w, "digest", qn_predictor_digest(served->predictor));
    qn_json_object_end(&w);
    qn_json_object_end(&w);
    qn_call_reply_json(call, 200);
}

static Inference__DataType grpc_type(const char *datatype)
{
    static const struct {
        const char *name;
        Inference__DataType type;
    } rows[] = {{"BOOL", INFERENCE__DATA_TYPE__TYPE_BOOL},
                {"UINT8", INFERENCE__DATA_TYPE__TYPE_UINT8},
                {"UINT16", INFERENCE__DATA_TYPE__TYPE_UINT16},
                {"UINT32", INFERENCE__DATA_TYPE__TYPE_UINT32},
                {"UINT64", INFERENCE__DATA_TYPE__TYPE_UINT64},
                {"INT8", INFERENCE__DATA_TYPE__TYPE_INT8},
                {"INT16", INFERENCE__DATA_TYPE__TYPE_INT16},
                {"INT32", INFERENCE__DATA_TYPE__TYPE_INT32},
                {"INT64", INFERENCE__DATA_TYPE__TYPE_INT64},
                {"FP16", INFERENCE__DATA_TYPE__TYPE_FP16},
                {"FP32", INFERENCE__DATA_TYPE__TYPE_FP32},
                {"FP64", INFERENCE__DATA_TYPE__TYPE_FP64},
                {"BF16", INFERENCE__DATA_TYPE__TYPE_BF16},
                {"BYTES", INFERENCE__DATA_TYPE__TYPE_STRING}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (strcmp(rows[i].name, datatype) == 0)
            return rows[i].type;
    return INFERENCE__DATA_TYPE__TYPE_INVALID;
}

static int64_t *copied_dims(const qn_oip_spec *spec, size_t *ret_count, qn_arena *arena)
{
    int64_t *dims = QN_NEW(arena, int64_t, QN_RANK_MAX);
    *ret_count = dims ? (size_t)config_dims(spec, dims) : 0;
    return dims;
}

static void set_inputs(Inference__ModelConfig *config, const sides *s, qn_arena *arena)
{
    Inference__ModelInput *items = QN_NEW(arena, Inference__ModelInput, s->inputs_count);
    Inference__ModelInput **pointers = QN_NEW(arena, Inference__ModelInput *, s->inputs_count);
    if (!items || !pointers)
        return;
    for (int64_t i = 0; i < s->inputs_count; i++) {
        inference__model_input__init(&items[i]);
        items[i].name = (char *)(uintptr_t)s->inputs[i].name;
        items[i].data_type = grpc_type(s->inputs[i].datatype);
        items[i].dims = copied_dims(&s->inputs[i], &items[i].n_dims, arena);
        pointers[i] = &items[i];
    }
    config->n_input = (size_t)s->inputs_count;
    config->input = pointers;
}

static void set_outputs(Inference__ModelConfig *config, const sides *s, qn_arena *arena)
{
    Inference__ModelOutput *items = QN_NEW(arena, Inference__ModelOutput, s->outputs_count);
    Inference__ModelOutput **pointers = QN_NEW(arena, Inference__ModelOutput *, s->outputs_count);
    if (!items || !pointers)
        return;
    for (int64_t i = 0; i < s->outputs_count; i++) {
        inference__model_output__init(&items[i]);
        items[i].name = (char *)(uintptr_t)s->outputs[i].name;
        items[i].data_type = grpc_type(s->outputs[i].datatype);
        items[i].dims = copied_dims(&s->outputs[i], &items[i].n_dims, arena);
        pointers[i] = &items[i];
    }
    config->n_output = (size_t)s->outputs_count;
    config->output = pointers;
}

void qn_answer_grpc_config(qn_call *call)
{
    qn_arena *arena = call->request->arena;
    const Inference__ModelConfigRequest *asked = qn_call_unpack(
        call, &inference__model_config_request__descriptor, call->request->body, arena);
    qn_served *served;
    if (!asked ||
        !find_served(call, qn_str_from(asked->name), qn_str_from(asked->version), &served))
        return;
    sides s = sides_of(served, arena);
    Inference__ModelConfig config;
    inference__model_config__init(&config);
    config.name = (char *)(uintptr_t)served->name;
    config.platform = config.backend = (char *)(uintptr_t) "quern";
    config.max_batch_size = (int32_t)call->serve->limits.batch_max;
    set_inputs(&config, &s, arena);
    set_outputs(&config, &s, arena);
    Inference__ModelConfigResponse answer;
    inference__model_config_response__init(&answer);
    answer.config = &config;
    qn_call_send(call, &answer.base);
}

/* ---- statistics ---- */

static void write_duration(qn_json_writer *w, const char *key, qn_duration duration)
{
    qn_json_key(w, key);
    qn_json_object_begin(w);
    qn_json_put_i64(w, "count", duration.count);
    qn_json_put_i64(w, "ns", duration.ns);
    qn_json_object_end(w);
}

static void write_batches(qn_json_writer *w, const qn_served *served)
{
    qn_json_key(w, "batch_stats");
    qn_json_array_begin(w);
    for (int i = 0; i < QN_BATCH_SIZES; i++) {
        if (!served->batches[i].count)
            continue;
        qn_json_object_begin(w);
        qn_json_put_i64(w, "batch_size", INT64_C(1) << i);
        write_duration(w, "compute_infer", served->batches[i]);
        qn_json_object_end(w);
    }
    qn_json_array_end(w);
}

static void write_stats(qn_json_writer *w, const qn_served *served)
{
    qn_json_object_begin(w);
    qn_json_put_text(w, "name", served->name);
    qn_json_put_text(w, "version", served->version_text);
    qn_json_put_i64(w, "last_inference", served->last_ms);
    qn_json_put_i64(w, "inference_count", served->rows);
    qn_json_put_i64(w, "execution_count", served->executions);
    qn_json_key(w, "inference_stats");
    qn_json_object_begin(w);
    write_duration(w, "success", served->success);
    write_duration(w, "fail", served->fail);
    write_duration(w, "queue", served->queue);
    write_duration(w, "compute_input", served->input);
    write_duration(w, "compute_infer", served->infer);
    write_duration(w, "compute_output", served->output);
    write_duration(w, "cache_hit", (qn_duration){0});
    write_duration(w, "cache_miss", (qn_duration){0});
    qn_json_object_end(w);
    write_batches(w, served);
    qn_json_object_end(w);
}

/* Which versions statistics were asked for. */
static bool asked_for(const qn_served *served, qn_str name, qn_str version)
{
    if (!served->predictor || (name.size && !qn_str_is(name, served->name)))
        return false;
    return version.size == 0 || qn_str_is(version, served->version_text);
}

static void answer_stats(qn_call *call, qn_str name, qn_str version)
{
    qn_json_writer w = qn_call_json(call);
    qn_json_object_begin(&w);
    qn_json_key(&w, "model_stats");
    qn_json_array_begin(&w);
    for (int64_t m = 0; m < call->serve->models_count; m++)
        for (int64_t v = 0; v < call->serve->models[m].versions_count; v++)
            if (asked_for(&call->serve->models[m].versions[v], name, version))
                write_stats(&w, &call->serve->models[m].versions[v]);
    qn_json_array_end(&w);
    qn_json_object_end(&w);
    qn_call_reply_json(call, 200);
}

void qn_answer_all_stats(qn_call *call)
{
    answer_stats(call, (qn_str){NULL, 0}, (qn_str){NULL, 0});
}

void qn_answer_stats(qn_call *call)
{
    qn_served *served;
    if (find_served(call, call->params[0], call->params[1], &served))
        answer_stats(call, qn_str_from(served->name), call->params[1]);
}

typedef struct {
    Inference__ModelStatistics message;
    Inference__InferStatistics infer;
    Inference__StatisticDuration durations[8];
} stats_row;

static Inference__StatisticDuration *set_duration(Inference__StatisticDuration *to,
                                                  qn_duration from)
{
    inference__statistic_duration__init(to);
    to->count = (uint64_t)from.count;
    to->ns = (uint64_t)from.ns;
    return to;
}

static void set_stats(stats_row *row, qn_served *served)
{
    inference__model_statistics__init(&row->message);
    inference__infer_statistics__init(&row->infer);
    row->message.name = (char *)(uintptr_t)served->name;
    row->message.version = served->version_text;
    row->message.last_inference = (uint64_t)served->last_ms;
    row->message.inference_count = (uint64_t)served->rows;
    row->message.execution_count = (uint64_t)served->executions;
    row->message.inference_stats = &row->infer;
    row->infer.success = set_duration(&row->durations[0], served->success);
    row->infer.fail = set_duration(&row->durations[1], served->fail);
    row->infer.queue = set_duration(&row->durations[2], served->queue);
    row->infer.compute_input = set_duration(&row->durations[3], served->input);
    row->infer.compute_infer = set_duration(&row->durations[4], served->infer);
    row->infer.compute_output = set_duration(&row->durations[5], served->output);
    row->infer.cache_hit = set_duration(&row->durations[6], (qn_duration){0});
    row->infer.cache_miss = set_duration(&row->durations[7], (qn_duration){0});
}

void qn_answer_grpc_stats(qn_call *call)
{
    qn_arena *arena = call->request->arena;
    qn_serve *serve = call->serve;
    const Inference__ModelStatisticsRequest *asked = qn_call_unpack(
        call, &inference__model_statistics_request__descriptor, call->request->body, arena);
    if (!asked)
        return;
    qn_str name = qn_str_from(asked->name), version = qn_str_from(asked->version);
    qn_served *served;
    if (name.size && !find_served(call, name, version, &served))
        return;
    if (name.size)
        name = qn_str_from(served->name); /* it may have come as the folder's name */
    int64_t most = 0;
    for (int64_t m = 0; m < serve->models_count; m++)
        most += serve->models[m].versions_count;
    stats_row *rows = QN_NEW(arena, stats_row, most);
    Inference__ModelStatistics **pointers = QN_NEW(arena, Inference__ModelStatistics *, most);
    size_t count = 0;
    for (int64_t m = 0; rows && pointers && m < serve->models_count; m++) {
        for (int64_t v = 0; v < serve->models[m].versions_count; v++) {
            if (!asked_for(&serve->models[m].versions[v], name, version))
                continue;
            set_stats(&rows[count], &serve->models[m].versions[v]);
            pointers[count] = &rows[count].message;
            count++;
        }
    }
    Inference__ModelStatisticsResponse answer;
    inference__model_statistics_response__init(&answer);
    answer.n_model_stats = count;
    answer.model_stats = pointers;
    qn_call_send(call, &answer.base);
}
