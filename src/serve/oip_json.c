/*
 * Inference over REST: the JSON body, with tensors inside it or, by the binary extension, behind it.
 *
 *     {"id": "1", "parameters": {"signature": "tensor"},
 *      "inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}],
 *      "outputs": [{"name": "probability"}]}
 */
#include "handlers_priv.h"
#include "oip.h"

#include "base/checked.h"
#include "base/error.h"
#include "os/clock.h"

/* ---- reading ---- */

static qn_status get_flag(const qn_json *object, const char *key, bool *ret, qn_error *err)
{
    const qn_json *parameters = qn_json_find(object, "parameters");
    return parameters ? qn_json_get_bool(parameters, key, false, ret, err) : QN_OK;
}

static qn_status read_shape(const qn_json *object, qn_oip_tensor *tensor, qn_error *err)
{
    const qn_json *shape = qn_json_find(object, "shape");
    int64_t dims[QN_RANK_MAX] = {0};
    int shown = tensor->name.size > 64 ? 64 : (int)tensor->name.size;
    if (!shape || qn_json_length(shape) < 0)
        QN_FAIL(err, QN_ERR_ARG, "input '%.*s': 'shape' is %s, expected an array of whole numbers",
                shown, tensor->name.data, shape ? qn_json_kind_name(shape) : "missing");
    int64_t rank = qn_json_length(shape);
    for (int64_t i = 0; i < rank && i < QN_RANK_MAX; i++) {
        qn_json dim = qn_json_at(shape, i);
        if (dim.kind != QN_JSON_INT)
            QN_FAIL(err, QN_ERR_ARG,
                    "input '%.*s': dimension %lld of 'shape' is %s, expected a whole "
                    "number",
                    shown, tensor->name.data, (long long)i, qn_json_kind_name(&dim));
        dims[i] = dim.integer;
    }
    return qn_oip_shape(tensor->name, dims, rank, &tensor->shape, &tensor->count, err);
}

static qn_status read_data(const qn_json *data, qn_oip_tensor *tensor, qn_arena *arena,
                           qn_error *err)
{
    const char *name =
        qn_arena_printf(arena, "input '%.*s'", tensor->name.size > 64 ? 64 : (int)tensor->name.size,
                        tensor->name.data);
    if (!name)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    if (qn_json_length(data) < 0)
        QN_FAIL(err, QN_ERR_ARG, "%s: 'data' is %s, expected an array", name,
                qn_json_kind_name(data));
    /* Counted before anything is allocated: a shape is only believed when the data are there. */
    int64_t count = qn_json_tensor_count(data);
    char shape[128];
    if (count != tensor->count)
        QN_FAIL(err, QN_ERR_ARG, "%s: 'data' has %lld elements, its shape %s takes %lld", name,
                (long long)count, qn_shape_text(&tensor->shape, shape), (long long)tensor->count);
    size_t each = tensor->strings ? sizeof(qn_str) : qn_dtype_size(tensor->dtype);
    void *dst = qn_arena_alloc_aligned(arena, (size_t)count * each, 64);
    if (!dst)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    if (tensor->strings) {
        tensor->texts = dst;
        return qn_json_tensor_texts(data, name, arena, dst, err);
    }
    tensor->data = dst;
    return qn_json_tensor_fill(data, name, tensor->dtype, dst, err);
}

/* The next `size` bytes of the binary part. */
static qn_status take_binary(qn_str *binary, int64_t size, qn_oip_tensor *tensor, qn_arena *arena,
                             qn_error *err)
{
    if (size < 0 || (uint64_t)size > binary->size)
        QN_FAIL(err, QN_ERR_ARG,
                "input '%.*s': binary_data_size is %lld, %zu bytes are left of the body",
                tensor->name.size > 64 ? 64 : (int)tensor->name.size, tensor->name.data,
                (long long)size, binary->size);
    qn_str bytes = {binary->data, (size_t)size};
    *binary = (qn_str){binary->data + size, binary->size - (size_t)size};
    return qn_oip_read_raw(tensor, bytes, arena, err);
}

static qn_status read_input(const qn_json *object, qn_str *binary, qn_oip_tensor *tensor,
                            qn_arena *arena, qn_error *err)
{
    qn_str datatype = {0};
    int64_t size = -1;
    if (object->kind != QN_JSON_OBJECT)
        QN_FAIL(err, QN_ERR_ARG, "an element of 'inputs' is %s, expected an object",
                qn_json_kind_name(object));
    QN_TRY(qn_json_get_str(object, "name", true, &tensor->name, err));
    QN_TRY(qn_json_get_str(object, "datatype", true, &datatype, err));
    QN_TRY(qn_oip_datatype(tensor->name, datatype, &tensor->dtype, &tensor->strings, err));
    QN_TRY(read_shape(object, tensor, err));
    const qn_json *parameters = qn_json_find(object, "parameters");
    if (parameters)
        QN_TRY(qn_json_get_i64(parameters, "binary_data_size", false, &size, err));
    const qn_json *data = qn_json_find(object, "data");
    int shown = tensor->name.size > 64 ? 64 : (int)tensor->name.size;
    if (data && size >= 0)
        QN_FAIL(err, QN_ERR_ARG, "input '%.*s' has both 'data' and binary_data_size", shown,
                tensor->name.data);
    if (data)
        return read_data(data, tensor, arena, err);
    if (size < 0)
        QN_FAIL(err, QN_ERR_ARG, "input '%.*s' has no 'data'", shown, tensor->name.data);
    return take_binary(binary, size, tensor, arena, err);
}

static qn_status array_of(const qn_json *root, const char *key, int64_t most, int64_t *ret_count,
                          const qn_json **ret, qn_error *err)
{
    const qn_json *array = qn_json_find(root, key);
    *ret_count = 0;
    *ret = array;
    if (!array || array->kind == QN_JSON_NULL)
        return QN_OK;
    if (array->kind != QN_JSON_ARRAY)
        QN_FAIL(err, QN_ERR_ARG, "'%s' is %s, expected an array of objects", key,
                qn_json_kind_name(array));
    if (array->count > most)
        QN_FAIL(err, QN_ERR_BUDGET, "'%s' has %lld elements, the limit is %lld", key,
                (long long)array->count, (long long)most);
    *ret_count = array->count;
    return QN_OK;
}

static qn_status read_wanted(const qn_json *root, const qn_serve_limits *limits, qn_arena *arena,
                             qn_oip_request *request, qn_error *err)
{
    const qn_json *outputs;
    QN_TRY(array_of(root, "outputs", limits->inputs_max, &request->wanted_count, &outputs, err));
    request->wanted = QN_NEW(arena, qn_oip_wanted, request->wanted_count);
    if (!request->wanted)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    for (int64_t i = 0; i < request->wanted_count; i++) {
        qn_oip_wanted *wanted = &request->wanted[i];
        int64_t classes = 0;
        wanted->binary = request->binary;
        QN_TRY(qn_json_get_str(&outputs->items[i], "name", true, &wanted->name, err));
        QN_TRY(get_flag(&outputs->items[i], "binary_data", &wanted->binary, err));
        const qn_json *parameters = qn_json_find(&outputs->items[i], "parameters");
        if (parameters)
            QN_TRY(qn_json_get_i64(parameters, "classification", false, &classes, err));
        if (classes)
            QN_FAIL(err, QN_ERR_UNSUPPORTED,
                    "output '%.*s': classification is not offered; "
                    "ask for 'probability'",
                    wanted->name.size > 64 ? 64 : (int)wanted->name.size, wanted->name.data);
    }
    return QN_OK;
}

static qn_status read_root(const qn_json *root, qn_str binary, const qn_serve_limits *limits,
                           qn_arena *arena, qn_oip_request *request, qn_error *err)
{
    const qn_json *inputs;
    const qn_json *parameters = qn_json_find(root, "parameters");
    QN_TRY(qn_json_get_str(root, "id", false, &request->id, err));
    if (parameters) {
        if (parameters->kind != QN_JSON_OBJECT)
            QN_FAIL(err, QN_ERR_ARG, "'parameters' is %s, expected an object",
                    qn_json_kind_name(parameters));
        QN_TRY(qn_json_get_str(parameters, "signature", false, &request->signature, err));
        QN_TRY(qn_json_get_bool(parameters, "binary_data_output", false, &request->binary, err));
    }
    QN_TRY(array_of(root, "inputs", limits->inputs_max, &request->inputs_count, &inputs, err));
    if (!inputs)
        QN_FAIL(err, QN_ERR_ARG, "'inputs' is missing");
    request->inputs = QN_NEW(arena, qn_oip_tensor, request->inputs_count);
    if (!request->inputs)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    for (int64_t i = 0; i < request->inputs_count; i++)
        QN_TRY(read_input(&inputs->items[i], &binary, &request->inputs[i], arena, err));
    if (binary.size)
        QN_FAIL(err, QN_ERR_ARG, "%zu bytes follow the last binary input", binary.size);
    return read_wanted(root, limits, arena, request, err);
}

/* Header length 0: the body is the one input's bytes, one row of it. */
static qn_status read_bare(qn_str body, const qn_signature *signature, qn_arena *arena,
                           qn_oip_request *request, qn_error *err)
{
    if (signature->inputs_count != 1)
        QN_FAIL(err, QN_ERR_ARG, "a raw binary request needs a model with one input, '%s' has %d",
                signature->name, signature->inputs_count);
    qn_oip_tensor *tensor = QN_NEW(arena, qn_oip_tensor, 1);
    if (!tensor)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    const qn_tensor_spec *spec = &signature->inputs[0];
    *tensor = (qn_oip_tensor){
        .name = qn_str_from(spec->name), .dtype = spec->dtype, .shape = spec->shape};
    tensor->shape.dims[0] = 1;
    tensor->count = qn_shape_count(&tensor->shape);
    request->signature = QN_STR("tensor");
    request->inputs = tensor;
    request->inputs_count = 1;
    request->binary = true;
    return qn_oip_read_raw(tensor, body, arena, err);
}

qn_status qn_oip_read_json(qn_str body, int64_t header_size, const qn_signature *signature,
                           const qn_serve_limits *limits, qn_arena *arena, qn_oip_request *ret,
                           qn_error *err)
{
    *ret = (qn_oip_request){0};
    if (header_size == 0)
        return read_bare(body, signature, arena, ret, err);
    qn_str text = body, binary = {NULL, 0};
    if (header_size > 0) {
        if ((uint64_t)header_size > body.size)
            QN_FAIL(err, QN_ERR_ARG,
                    "Inference-Header-Content-Length is %lld, the body has %zu bytes",
                    (long long)header_size, body.size);
        text.size = (size_t)header_size;
        binary = (qn_str){body.data + header_size, body.size - text.size};
    }
    qn_json_limits json_limits = {.depth_max = (int)limits->json_depth};
    qn_json root;
    QN_TRY(qn_json_read(text, &json_limits, arena, &root, err));
    if (root.kind != QN_JSON_OBJECT)
        QN_FAIL(err, QN_ERR_ARG, "the body is %s, expected an object", qn_json_kind_name(&root));
    return read_root(&root, binary, limits, arena, ret, err);
}

/* ---- answering ---- */

static size_t binary_size(const qn_oip_tensor *tensor)
{
    if (!tensor->strings)
        return (size_t)tensor->count * qn_dtype_size(tensor->dtype);
    size_t size = 0;
    for (int64_t i = 0; i < tensor->count; i++)
        size += 4 + tensor->texts[i].size;
    return size;
}

static void write_binary(qn_buf *out, const qn_oip_tensor *tensor)
{
    if (!tensor->strings) {
        qn_buf_append(out, tensor->data, binary_size(tensor));
        return;
    }
    for (int64_t i = 0; i < tensor->count; i++) {
        uint32_t size = (uint32_t)tensor->texts[i].size;
        qn_buf_append(out, &size, 4);
        qn_buf_str(out, tensor->texts[i]);
    }
}

static void write_output(qn_json_writer *w, const qn_oip_tensor *tensor)
{
    qn_json_object_begin(w);
    qn_json_key(w, "name");
    qn_json_str(w, tensor->name);
    qn_json_key(w, "shape");
    qn_json_array_begin(w);
    for (int i = 0; i < tensor->shape.rank; i++)
        qn_json_i64(w, tensor->shape.dims[i]);
    qn_json_array_end(w);
    qn_json_put_text(w, "datatype", qn_oip_datatype_name(tensor));
    if (tensor->binary) {
        qn_json_key(w, "parameters");
        qn_json_object_begin(w);
        qn_json_put_i64(w, "binary_data_size", (int64_t)binary_size(tensor));
        qn_json_object_end(w);
    } else {
        qn_json_key(w, "data");
        if (!tensor->strings)
            qn_json_tensor_write_flat(w, tensor->dtype, tensor->data, tensor->count);
        else
            qn_json_array_begin(w);
        for (int64_t i = 0; tensor->strings && i < tensor->count; i++)
            qn_json_str(w, tensor->texts[i]);
        if (tensor->strings)
            qn_json_array_end(w);
    }
    qn_json_object_end(w);
}

static void write_answer(qn_json_writer *w, const qn_oip_request *request, const qn_served *served,
                         const qn_oip_tensor *results, int64_t count)
{
    qn_json_object_begin(w);
    qn_json_put_text(w, "model_name", served->name);
    qn_json_put_text(w, "model_version", served->version_text);
    if (request->id.size) {
        qn_json_key(w, "id");
        qn_json_str(w, request->id);
    }
    qn_json_key(w, "outputs");
    qn_json_array_begin(w);
    for (int64_t i = 0; i < count; i++)
        write_output(w, &results[i]);
    qn_json_array_end(w);
    qn_json_object_end(w);
}

static void reply(qn_call *call, const qn_oip_tensor *results, int64_t count)
{
    bool binary = false;
    qn_json_writer w = qn_call_json(call);
    write_answer(&w, call->protocol, call->infer.served, results, count);
    size_t header_size = call->request->out->size;
    for (int64_t i = 0; i < count; i++)
        binary = binary || results[i].binary;
    for (int64_t i = 0; i < count; i++)
        if (results[i].binary)
            write_binary(call->request->out, &results[i]);
    qn_infer_count(&call->infer, qn_now_ns());
    if (!binary) {
        qn_call_reply_json(call, 200);
        return;
    }
    const char *length = qn_arena_printf(call->request->arena, "%zu", header_size);
    qn_header header = {QN_STR("inference-header-content-length"), qn_str_from(length)};
    qn_call_reply(call, 200, QN_STR("application/octet-stream"), &header, length != NULL);
}

static void on_done(qn_infer *infer)
{
    qn_call *call = infer->call;
    qn_oip_tensor *results;
    int64_t count;
    infer->done = NULL;
    if (infer->status == QN_OK)
        infer->status = qn_oip_results(call->protocol, infer, &results, &count, &infer->err);
    if (infer->status == QN_OK) {
        reply(call, results, count);
        return;
    }
    qn_infer_count(infer, qn_now_ns());
    qn_call_fail(call, infer->status, &infer->err);
}

static qn_status header_size_of(const qn_request *request, int64_t *ret, qn_error *err)
{
    qn_str header = qn_request_header(request, "inference-header-content-length");
    *ret = -1;
    if (header.data && (!qn_str_to_i64(header, ret) || *ret < 0))
        QN_FAIL(err, QN_ERR_ARG,
                "Inference-Header-Content-Length is '%.*s', expected a whole number",
                header.size > 32 ? 32 : (int)header.size, header.data);
    return QN_OK;
}

static qn_status prepare(qn_call *call, qn_error *err)
{
    qn_infer *infer = &call->infer;
    const qn_serve_limits *limits = &call->serve->limits;
    qn_oip_request *oip = QN_NEW(call->request->arena, qn_oip_request, 1);
    int64_t header_size;
    if (!oip)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    call->protocol = oip;
    infer->serve = call->serve;
    infer->call = call;
    infer->arena = call->request->arena;
    QN_TRY(qn_models_get(call->serve, call->params[0], call->params[1], &infer->served, err));
    QN_TRY(header_size_of(call->request, &header_size, err));
    QN_TRY(qn_oip_read_json(call->request->body, header_size, infer->served->signature, limits,
                            infer->arena, oip, err));
    return qn_oip_bind(oip, call->serve->ignore_unknown, limits, infer, err);
}

void qn_answer_infer(qn_call *call)
{
    qn_status status = prepare(call, &call->infer.err);
    if (status != QN_OK) {
        if (call->infer.served)
            qn_duration_add(&call->infer.served->fail, qn_now_ns() - call->start_ns);
        qn_call_fail(call, status, &call->infer.err);
        return;
    }
    call->infer.start_ns = qn_now_ns();
    call->infer.done = on_done;
    qn_infer_submit(&call->infer);
}
