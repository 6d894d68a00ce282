/* What there is: server and model metadata and readiness, in both encodings of the Open Inference Protocol. */
#include "handlers_priv.h"
#include "oip.h"

#include "base/error.h"
#include "inference.pb-c.h"

/* Only what is whole: clients switch behaviour on these strings. */
static const char *const extensions[] = {"binary_tensor_data", "model_configuration", "parameters",
                                         "statistics"};
enum { EXTENSIONS = (int)(sizeof(extensions) / sizeof(extensions[0])) };

/* ---- JSON ---- */

void qn_answer_server(qn_call *call)
{
    qn_json_writer w = qn_call_json(call);
    qn_json_object_begin(&w);
    qn_json_put_text(&w, "name", "quern");
    qn_json_put_text(&w, "version", QN_VERSION);
    qn_json_key(&w, "extensions");
    qn_json_array_begin(&w);
    for (int i = 0; i < EXTENSIONS; i++)
        qn_json_text(&w, extensions[i]);
    qn_json_array_end(&w);
    qn_json_object_end(&w);
    qn_call_reply_json(call, 200);
}

void qn_answer_model_names(qn_call *call)
{
    qn_json_writer w = qn_call_json(call);
    qn_json_object_begin(&w);
    qn_json_key(&w, "models");
    qn_json_array_begin(&w);
    for (int64_t i = 0; i < call->serve->models_count; i++)
        qn_json_text(&w, call->serve->models[i].name);
    qn_json_array_end(&w);
    qn_json_object_end(&w);
    qn_call_reply_json(call, 200);
}

static void write_labels(qn_json_writer *w, const qn_signature *signature)
{
    qn_json_array_begin(w);
    for (int64_t i = 0; i < signature->labels_count; i++)
        qn_json_str(w, signature->labels[i]);
    qn_json_array_end(w);
}

static void write_specs(qn_json_writer *w, const char *key, const qn_oip_spec *specs, int64_t count,
                        const qn_signature *labelled)
{
    qn_json_key(w, key);
    qn_json_array_begin(w);
    for (int64_t i = 0; i < count; i++) {
        qn_json_object_begin(w);
        qn_json_put_text(w, "name", specs[i].name);
        qn_json_put_text(w, "datatype", specs[i].datatype);
        qn_json_key(w, "shape");
        qn_json_array_begin(w);
        for (int d = 0; d < specs[i].shape.rank; d++)
            qn_json_i64(w, specs[i].shape.dims[d]);
        qn_json_array_end(w);
        if (labelled && labelled->labels_count && strcmp(specs[i].name, "probability") == 0) {
            qn_json_key(w, "labels");
            write_labels(w, labelled);
        }
        qn_json_object_end(w);
    }
    qn_json_array_end(w);
}

static void write_signature(qn_json_writer *w, const qn_signature *signature, bool tensors,
                            qn_arena *arena)
{
    int64_t inputs_count = 0, outputs_count = 0;
    qn_oip_spec *inputs = qn_oip_inputs(signature, tensors, arena, &inputs_count);
    qn_oip_spec *outputs = qn_oip_outputs(signature, tensors, arena, &outputs_count);
    write_specs(w, "inputs", inputs, inputs ? inputs_count : 0, NULL);
    write_specs(w, "outputs", outputs, outputs ? outputs_count : 0, signature);
}

static void write_versions(qn_json_writer *w, const qn_model *model)
{
    qn_json_key(w, "versions");
    qn_json_array_begin(w);
    for (int64_t i = 0; i < model->versions_count; i++)
        qn_json_text(w, model->versions[i].version_text);
    qn_json_array_end(w);
}

/* false = failed already */
static bool find_served(qn_call *call, qn_str name, qn_str version, qn_served **ret)
{
    qn_error err = {0};
    qn_status status = qn_models_get(call->serve, name, version, ret, &err);
    if (status != QN_OK)
        qn_call_fail(call, status, &err);
    return status == QN_OK;
}

void qn_answer_model(qn_call *call)
{
    qn_served *served;
    if (!find_served(call, call->params[0], call->params[1], &served))
        return;
    const qn_signature *signature = served->signature;
    bool rows = qn_signature_has_rows(signature);
    qn_arena *arena = call->request->arena;
    qn_json_writer w = qn_call_json(call);
    qn_json_object_begin(&w);
    qn_json_put_text(&w, "name", served->name);
    write_versions(&w, qn_models_find(call->serve, qn_str_from(served->name)));
    qn_json_put_text(&w, "platform", "quern");
    write_signature(&w, signature, !rows, arena);
    if (rows) { /* the other terms of the same model, asked for by "signature": "tensor" */
        qn_json_key(&w, "signatures");
        qn_json_object_begin(&w);
        qn_json_key(&w, "tensor");
        qn_json_object_begin(&w);
        write_signature(&w, signature, true, arena);
        qn_json_object_end(&w);
        qn_json_object_end(&w);
    }
    qn_json_object_end(&w);
    qn_call_reply_json(call, 200);
}

void qn_answer_model_ready(qn_call *call)
{
    qn_served *served;
    if (!find_served(call, call->params[0], call->params[1], &served))
        return;
    bool ready = qn_serve_ready(call->serve);
    qn_json_writer w = qn_call_json(call);
    qn_json_object_begin(&w);
    qn_json_put_text(&w, "name", served->name);
    qn_json_put_bool(&w, "ready", ready);
    qn_json_object_end(&w);
    qn_call_reply_json(call, ready ? 200 : 503);
}

/* ---- gRPC ---- */

void qn_answer_grpc_live(qn_call *call)
{
    Inference__ServerLiveResponse answer;
    inference__server_live_response__init(&answer);
    answer.live = 1;
    qn_call_send(call, &answer.base);
}

void qn_answer_grpc_ready(qn_call *call)
{
    Inference__ServerReadyResponse answer;
    inference__server_ready_response__init(&answer);
    answer.ready = qn_serve_ready(call->serve);
    qn_call_send(call, &answer.base);
}

void qn_answer_grpc_model_ready(qn_call *call)
{
    const Inference__ModelReadyRequest *asked =
        qn_call_unpack(call, &inference__model_ready_request__descriptor, call->request->body,
                       call->request->arena);
    qn_served *served;
    if (!asked ||
        !find_served(call, qn_str_from(asked->name), qn_str_from(asked->version), &served))
        return;
    Inference__ModelReadyResponse answer;
    inference__model_ready_response__init(&answer);
    answer.ready = qn_serve_ready(call->serve);
    qn_call_send(call, &answer.base);
}

void qn_answer_grpc_server(qn_call *call)
{
    char *names[EXTENSIONS];
    for (int i = 0; i < EXTENSIONS; i++)
        names[i] = (char *)(uintptr_t)extensions[i];
    Inference__ServerMetadataResponse answer;
    inference__server_metadata_response__init(&answer);
    answer.name = (char *)(uintptr_t) "quern";
    answer.version = (char *)(uintptr_t)QN_VERSION;
    answer.n_extensions = EXTENSIONS;
    answer.extensions = names;
    qn_call_send(call, &answer.base);
}

typedef Inference__ModelMetadataResponse__TensorMetadata tensor_message;

static tensor_message **tensor_messages(qn_oip_spec *specs, int64_t count, qn_arena *arena)
{
    tensor_message *items = QN_NEW(arena, tensor_message, count);
    tensor_message **pointers = QN_NEW(arena, tensor_message *, count);
    for (int64_t i = 0; items && pointers && i < count; i++) {
        inference__model_metadata_response__tensor_metadata__init(&items[i]);
        items[i].name = (char *)(uintptr_t)specs[i].name;
        items[i].datatype = (char *)(uintptr_t)specs[i].datatype;
        items[i].n_shape = (size_t)specs[i].shape.rank;
        items[i].shape = specs[i].shape.dims;
        pointers[i] = &items[i];
    }
    return items ? pointers : NULL;
}

static char **version_texts(const qn_model *model, qn_arena *arena)
{
    char **texts = QN_NEW(arena, char *, model->versions_count);
    for (int64_t i = 0; texts && i < model->versions_count; i++)
        texts[i] = model->versions[i].version_text;
    return texts;
}

/* "labels" as a JSON array, for clients that know to look. */
static void set_properties(Inference__ModelMetadataResponse *answer, const qn_signature *signature,
                           qn_arena *arena)
{
    typedef Inference__ModelMetadataResponse__PropertiesEntry entry;
    entry *item = QN_NEW(arena, entry, 1);
    entry **pointer = QN_NEW(arena, entry *, 1);
    if (!signature->labels_count || !item || !pointer)
        return;
    qn_buf text;
    qn_buf_init(&text, 0);
    qn_json_writer w;
    qn_json_write_init(&w, &text);
    write_labels(&w, signature);
    inference__model_metadata_response__properties_entry__init(item);
    item->key = (char *)(uintptr_t) "labels";
    item->value = qn_arena_strndup(arena, text.data, text.size);
    qn_buf_deinit(&text);
    pointer[0] = item;
    answer->n_properties = item->value != NULL;
    answer->properties = pointer;
}

void qn_answer_grpc_model(qn_call *call)
{
    qn_arena *arena = call->request->arena;
    const Inference__ModelMetadataRequest *asked = qn_call_unpack(
        call, &inference__model_metadata_request__descriptor, call->request->body, arena);
    qn_served *served;
    if (!asked ||
        !find_served(call, qn_str_from(asked->name), qn_str_from(asked->version), &served))
        return;
    const qn_signature *signature = served->signature;
    const qn_model *model = qn_models_find(call->serve, qn_str_from(served->name));
    bool tensors = !qn_signature_has_rows(signature);
    int64_t inputs_count = 0, outputs_count = 0;
    qn_oip_spec *inputs = qn_oip_inputs(signature, tensors, arena, &inputs_count);
    qn_oip_spec *outputs = qn_oip_outputs(signature, tensors, arena, &outputs_count);
    Inference__ModelMetadataResponse answer;
    inference__model_metadata_response__init(&answer);
    answer.name = (char *)(uintptr_t)served->name;
    answer.platform = (char *)(uintptr_t) "quern";
    answer.versions = version_texts(model, arena);
    answer.inputs = inputs ? tensor_messages(inputs, inputs_count, arena) : NULL;
    answer.outputs = outputs ? tensor_messages(outputs, outputs_count, arena) : NULL;
    answer.n_versions = answer.versions ? (size_t)model->versions_count : 0;
    answer.n_inputs = answer.inputs ? (size_t)inputs_count : 0;
    answer.n_outputs = answer.outputs ? (size_t)outputs_count : 0;
    set_properties(&answer, signature, arena);
    qn_call_send(call, &answer.base);
}
