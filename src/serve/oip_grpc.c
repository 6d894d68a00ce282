/*
 * Inference over gRPC: ModelInfer, and ModelStreamInfer, whose messages are answered one after the other.
 * Typed contents are answered with typed contents and raw ones with raw ones.
 */
#include "handlers_priv.h"
#include "oip.h"

#include "base/error.h"
#include "inference.pb-c.h"
#include "os/clock.h"

typedef Inference__ModelInferRequest__InferInputTensor input_message;
typedef Inference__ModelInferResponse__InferOutputTensor output_message;

static qn_str bytes_of(const ProtobufCBinaryData *data)
{
    return (qn_str){(const char *)data->data, data->len};
}

/* ---- reading ---- */

static qn_status wrong_count(const qn_oip_tensor *tensor, size_t count, qn_error *err)
{
    char shape[128];
    QN_FAIL(err, QN_ERR_ARG,
            "input '%.*s': contents have %zu elements of %s, its shape %s takes %lld",
            tensor->name.size > 64 ? 64 : (int)tensor->name.size, tensor->name.data, count,
            qn_oip_datatype_name(tensor), qn_shape_text(&tensor->shape, shape),
            (long long)tensor->count);
}

/* The field of the contents that carries a datatype. */
static size_t field_of(const Inference__InferTensorContents *contents, qn_dtype dtype,
                       const void **ret_data, qn_dtype *ret_dtype)
{
    *ret_dtype = dtype;
    switch (dtype) {
    case QN_DTYPE_I8:
    case QN_DTYPE_I16:
    case QN_DTYPE_I32:
        *ret_dtype = QN_DTYPE_I32;
        *ret_data = contents->int_contents;
        return contents->n_int_contents;
    case QN_DTYPE_I64:
        *ret_data = contents->int64_contents;
        return contents->n_int64_contents;
    case QN_DTYPE_U8:
    case QN_DTYPE_U16:
    case QN_DTYPE_U32:
        *ret_dtype = QN_DTYPE_U32;
        *ret_data = contents->uint_contents;
        return contents->n_uint_contents;
    case QN_DTYPE_U64:
        *ret_data = contents->uint64_contents;
        return contents->n_uint64_contents;
    case QN_DTYPE_F32:
        *ret_data = contents->fp32_contents;
        return contents->n_fp32_contents;
    case QN_DTYPE_F64:
        *ret_data = contents->fp64_contents;
        return contents->n_fp64_contents;
    default:
        *ret_data = NULL;
        return 0;
    }
}

static qn_status read_bools(const Inference__InferTensorContents *contents, qn_oip_tensor *tensor,
                            qn_arena *arena, qn_error *err)
{
    if ((int64_t)contents->n_bool_contents != tensor->count)
        return wrong_count(tensor, contents->n_bool_contents, err);
    uint8_t *dst = QN_NEW(arena, uint8_t, tensor->count);
    if (!dst)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    for (int64_t i = 0; i < tensor->count; i++)
        dst[i] = contents->bool_contents[i] != 0;
    tensor->data = dst;
    return QN_OK;
}

static qn_status read_strings(const Inference__InferTensorContents *contents, qn_oip_tensor *tensor,
                              qn_arena *arena, qn_error *err)
{
    if ((int64_t)contents->n_bytes_contents != tensor->count)
        return wrong_count(tensor, contents->n_bytes_contents, err);
    qn_str *texts = QN_NEW(arena, qn_str, tensor->count);
    if (!texts)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    for (int64_t i = 0; i < tensor->count; i++)
        texts[i] = bytes_of(&contents->bytes_contents[i]);
    tensor->texts = texts;
    return QN_OK;
}

static qn_status read_contents(const Inference__InferTensorContents *contents,
                               qn_oip_tensor *tensor, qn_arena *arena, qn_error *err)
{
    if (tensor->strings)
        return read_strings(contents, tensor, arena, err);
    if (tensor->dtype == QN_DTYPE_BOOL)
        return read_bools(contents, tensor, arena, err);
    const void *data;
    qn_dtype carried;
    size_t count = field_of(contents, tensor->dtype, &data, &carried);
    if ((int64_t)count != tensor->count)
        return wrong_count(tensor, count, err);
    tensor->dtype = carried;
    tensor->data = data;
    return QN_OK;
}

static qn_status read_input(const input_message *from, const qn_str *raw, qn_oip_tensor *tensor,
                            qn_arena *arena, qn_error *err)
{
    tensor->name = qn_str_from(from->name);
    QN_TRY(qn_oip_datatype(tensor->name, qn_str_from(from->datatype), &tensor->dtype,
                           &tensor->strings, err));
    QN_TRY(qn_oip_shape(tensor->name, from->shape, (int64_t)from->n_shape, &tensor->shape,
                        &tensor->count, err));
    if (raw && from->contents)
        QN_FAIL(err, QN_ERR_ARG, "input '%.64s' has contents, and the message raw_input_contents",
                from->name);
    if (raw)
        return qn_oip_read_raw(tensor, *raw, arena, err);
    static const Inference__InferTensorContents nothing = INFERENCE__INFER_TENSOR_CONTENTS__INIT;
    return read_contents(from->contents ? from->contents : &nothing, tensor, arena, err);
}

static qn_status read_parameters(const qn_oip_message *message, qn_oip_request *request,
                                 qn_error *err)
{
    for (size_t i = 0; i < message->n_parameters; i++) {
        if (strcmp(message->parameters[i]->key, "signature") != 0)
            continue;
        const Inference__InferParameter *value = message->parameters[i]->value;
        if (!value || value->parameter_choice_case !=
                          INFERENCE__INFER_PARAMETER__PARAMETER_CHOICE_STRING_PARAM)
            QN_FAIL(err, QN_ERR_ARG, "parameter 'signature' is not a string");
        request->signature = qn_str_from(value->string_param);
    }
    return QN_OK;
}

static qn_status read_wanted(const qn_oip_message *message, qn_arena *arena,
                             qn_oip_request *request, qn_error *err)
{
    request->wanted_count = (int64_t)message->n_outputs;
    request->wanted = QN_NEW(arena, qn_oip_wanted, request->wanted_count);
    if (!request->wanted)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    for (int64_t i = 0; i < request->wanted_count; i++) {
        request->wanted[i].name = qn_str_from(message->outputs[i]->name);
        request->wanted[i].binary = request->binary;
        for (size_t p = 0; p < message->outputs[i]->n_parameters; p++)
            if (strcmp(message->outputs[i]->parameters[p]->key, "classification") == 0)
                QN_FAIL(err, QN_ERR_UNSUPPORTED,
                        "output '%.64s': classification is not offered; "
                        "ask for 'probability'",
                        message->outputs[i]->name);
    }
    return QN_OK;
}

qn_status qn_oip_read_message(const qn_oip_message *message, const qn_serve_limits *limits,
                              qn_arena *arena, qn_oip_request *ret, qn_error *err)
{
    qn_oip_request request = {.id = qn_str_from(message->id),
                              .inputs_count = (int64_t)message->n_inputs,
                              .binary = message->n_raw_input_contents > 0};
    if (request.inputs_count > limits->inputs_max ||
        (int64_t)message->n_outputs > limits->inputs_max)
        QN_FAIL(err, QN_ERR_BUDGET, "more than %lld inputs or outputs",
                (long long)limits->inputs_max);
    if (request.binary && message->n_raw_input_contents != message->n_inputs)
        QN_FAIL(err, QN_ERR_ARG, "%zu raw_input_contents came for %zu inputs",
                message->n_raw_input_contents, message->n_inputs);
    request.inputs = QN_NEW(arena, qn_oip_tensor, request.inputs_count);
    if (!request.inputs)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    for (int64_t i = 0; i < request.inputs_count; i++) {
        qn_str raw = request.binary ? bytes_of(&message->raw_input_contents[i]) : (qn_str){0};
        QN_TRY(read_input(message->inputs[i], request.binary ? &raw : NULL, &request.inputs[i],
                          arena, err));
    }
    QN_TRY(read_parameters(message, &request, err));
    QN_TRY(read_wanted(message, arena, &request, err));
    *ret = request;
    return QN_OK;
}

/* ---- answering ---- */

typedef struct {
    Inference__ModelInferResponse message;
    output_message *outputs;
    output_message **pointers;
    Inference__InferTensorContents *contents;
    ProtobufCBinaryData *raw;
} answer;

static bool set_raw(const qn_oip_tensor *from, ProtobufCBinaryData *raw, qn_arena *arena)
{
    if (!from->strings) {
        *raw = (ProtobufCBinaryData){(size_t)from->count * qn_dtype_size(from->dtype),
                                     (uint8_t *)(uintptr_t)from->data};
        return true;
    }
    size_t size = 0;
    for (int64_t i = 0; i < from->count; i++)
        size += 4 + from->texts[i].size;
    char *dst = qn_arena_alloc(arena, size);
    *raw = (ProtobufCBinaryData){size, (uint8_t *)dst};
    for (int64_t i = 0; dst && i < from->count; i++) {
        uint32_t length = (uint32_t)from->texts[i].size;
        memcpy(dst, &length, 4);
        memcpy(dst + 4, from->texts[i].data, length);
        dst += 4 + length;
    }
    return raw->data != NULL;
}

/* Answers are FP32, FP64 or strings in raw terms, and the outputs' dtypes (FP32, INT64) in tensor terms. */
static bool set_contents(const qn_oip_tensor *from, Inference__InferTensorContents *to,
                         qn_arena *arena)
{
    size_t count = (size_t)from->count;
    if (from->strings) {
        ProtobufCBinaryData *items = QN_NEW(arena, ProtobufCBinaryData, from->count);
        for (size_t i = 0; items && i < count; i++)
            items[i] = (ProtobufCBinaryData){from->texts[i].size,
                                             (uint8_t *)(uintptr_t)from->texts[i].data};
        to->n_bytes_contents = count;
        to->bytes_contents = items;
        return items != NULL;
    }
    void *data = (void *)(uintptr_t)from->data;
    if (from->dtype == QN_DTYPE_F32) {
        to->n_fp32_contents = count;
        to->fp32_contents = data;
    } else if (from->dtype == QN_DTYPE_F64) {
        to->n_fp64_contents = count;
        to->fp64_contents = data;
    } else if (from->dtype == QN_DTYPE_I64) {
        to->n_int64_contents = count;
        to->int64_contents = data;
    } else {
        return false;
    }
    return true;
}

static bool set_output(answer *a, int64_t i, const qn_oip_tensor *from, qn_arena *arena)
{
    output_message *to = &a->outputs[i];
    inference__model_infer_response__infer_output_tensor__init(to);
    char *name = qn_arena_strndup(arena, from->name.data, from->name.size);
    int64_t *shape = QN_NEW(arena, int64_t, QN_RANK_MAX);
    if (!name || !shape)
        return false;
    memcpy(shape, from->shape.dims, sizeof(from->shape.dims));
    to->name = name;
    to->datatype = (char *)(uintptr_t)qn_oip_datatype_name(from);
    to->n_shape = (size_t)from->shape.rank;
    to->shape = shape;
    a->pointers[i] = to;
    if (from->binary)
        return set_raw(from, &a->raw[i], arena);
    inference__infer_tensor_contents__init(&a->contents[i]);
    to->contents = &a->contents[i];
    return set_contents(from, &a->contents[i], arena);
}

static bool build(answer *a, const qn_oip_request *request, qn_infer *infer,
                  const qn_oip_tensor *results, int64_t count)
{
    qn_arena *arena = infer->arena;
    inference__model_infer_response__init(&a->message);
    a->outputs = QN_NEW(arena, output_message, count);
    a->pointers = QN_NEW(arena, output_message *, count);
    a->contents = QN_NEW(arena, Inference__InferTensorContents, count);
    a->raw = QN_NEW(arena, ProtobufCBinaryData, count);
    if (!a->outputs || !a->pointers || !a->contents || !a->raw)
        return false;
    for (int64_t i = 0; i < count; i++)
        if (!set_output(a, i, &results[i], arena))
            return false;
    a->message.model_name = (char *)(uintptr_t)infer->served->name;
    a->message.model_version = infer->served->version_text;
    if (request->id.size)
        a->message.id = (char *)(uintptr_t)request->id.data;
    a->message.n_outputs = (size_t)count;
    a->message.outputs = a->pointers;
    a->message.n_raw_output_contents = request->binary ? (size_t)count : 0;
    a->message.raw_output_contents = a->raw;
    return true;
}

static void send_stream(qn_call *call, answer *a, const qn_error *err)
{
    Inference__ModelStreamInferResponse message;
    inference__model_stream_infer_response__init(&message);
    if (a) {
        message.infer_response = &a->message;
    } else {
        char *text = qn_arena_printf(call->infer.arena, "%s%s%s", err->where,
                                     err->where[0] ? ": " : "", err->text);
        message.error_message = text ? text : (char *)(uintptr_t) "out of memory";
    }
    qn_call_stream(call, &message.base);
    if (qn_request_is_cancelled(call->request))
        qn_call_finish(call, QN_GRPC_CANCELLED, QN_STR("cancelled"));
    else if (!qn_serve_ready(call->serve))
        qn_call_finish(call, QN_GRPC_UNAVAILABLE, QN_STR("the server is shutting down"));
    else
        qn_grpc_next(call->request);
}

static void fail(qn_call *call, qn_status status)
{
    if (call->infer.served)
        qn_duration_add(&call->infer.served->fail, qn_now_ns() - call->start_ns);
    if (call->streaming)
        send_stream(call, NULL, &call->infer.err);
    else
        qn_call_fail(call, status, &call->infer.err);
}

static void on_done(qn_infer *infer)
{
    qn_call *call = infer->call;
    qn_oip_tensor *results;
    int64_t count;
    answer a;
    infer->done = NULL;
    if (infer->status == QN_OK)
        infer->status = qn_oip_results(call->protocol, infer, &results, &count, &infer->err);
    if (infer->status == QN_OK && !build(&a, call->protocol, infer, results, count))
        infer->status = qn_error_set(&infer->err, QN_ERR_MEMORY, NULL, "out of memory");
    if (infer->status != QN_OK) {
        fail(call, infer->status);
        return;
    }
    qn_infer_count(infer, qn_now_ns());
    if (call->streaming)
        send_stream(call, &a, NULL);
    else
        qn_call_send(call, &a.message.base);
}

static qn_status prepare(qn_call *call, const qn_oip_message *message, qn_error *err)
{
    qn_infer *infer = &call->infer;
    const qn_serve_limits *limits = &call->serve->limits;
    qn_oip_request *oip = QN_NEW(infer->arena, qn_oip_request, 1);
    if (!oip)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    call->protocol = oip;
    QN_TRY(qn_models_get(call->serve, qn_str_from(message->model_name),
                         qn_str_from(message->model_version), &infer->served, err));
    QN_TRY(qn_oip_read_message(message, limits, infer->arena, oip, err));
    return qn_oip_bind(oip, call->serve->ignore_unknown, limits, infer, err);
}

static void infer_message(qn_call *call, qn_str message, qn_arena *arena)
{
    call->infer = (qn_infer){.serve = call->serve, .call = call, .arena = arena};
    const qn_oip_message *unpacked =
        qn_call_unpack(call, &inference__model_infer_request__descriptor, message, arena);
    if (!unpacked)
        return;
    qn_status status = prepare(call, unpacked, &call->infer.err);
    if (status != QN_OK) {
        fail(call, status);
        return;
    }
    call->infer.start_ns = qn_now_ns();
    call->infer.done = on_done;
    qn_infer_submit(&call->infer);
}

void qn_answer_grpc_infer(qn_call *call)
{
    infer_message(call, call->request->body, call->request->arena);
}

void qn_stream_infer(qn_call *call, qn_str message)
{
    call->start_ns = qn_now_ns();
    infer_message(call, message, &call->message_arena);
}

void qn_stream_end(qn_call *call)
{
    qn_call_finish(call, QN_GRPC_OK, (qn_str){NULL, 0});
}
