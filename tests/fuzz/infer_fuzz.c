/*
 * Infer messages: the JSON body (with a binary part), the protobuf message and the V1 body, decoded and bound to a
 * signature of every column kind. The first byte chooses; for JSON the next two are the header length.
 */
#include <stdlib.h>

#include "inference.pb-c.h"
#include "serve/oip.h"
#include "serve/tfs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const qn_raw_input columns[] = {
    {.name = {"age", 3}, .type = QN_TYPE_NUMBER, .kind = QN_COLUMN_NUMBER},
    {.name = {"city", 4}, .type = QN_TYPE_CATEGORY, .kind = QN_COLUMN_STRING},
    {.name = {"image", 5},
     .type = QN_TYPE_IMAGE,
     .kind = QN_COLUMN_ARRAY,
     .height = 2,
     .width = 2,
     .channels = 1},
    {.name = {"v", 1}, .type = QN_TYPE_TENSOR, .kind = QN_COLUMN_ARRAY, .dtype = QN_DTYPE_I64},
};
static const qn_tensor_spec inputs[] = {{"x", QN_DTYPE_F32, {2, {-1, 2}}}};
static const qn_tensor_spec outputs[] = {{"probability", QN_DTYPE_F32, {2, {-1, 2}}}};
static const qn_signature signature = {.name = "m",
                                       .task = QN_TASK_BINARY,
                                       .columns = columns,
                                       .columns_count = 4,
                                       .inputs = inputs,
                                       .inputs_count = 1,
                                       .outputs = outputs,
                                       .outputs_count = 1};

static qn_serve_limits default_limits(void)
{
    return (qn_serve_limits){
#define X(name, value, reason) .name = (value),
        QN_SERVE_LIMITS(X)
#undef X
    };
}

/* Every element that the decoder claims to have is there. */
static void read_all(const qn_oip_request *request)
{
    unsigned sum = 0;
    for (int64_t i = 0; i < request->inputs_count; i++) {
        const qn_oip_tensor *tensor = &request->inputs[i];
        for (int64_t k = 0; tensor->strings && k < tensor->count; k++)
            for (size_t b = 0; b < tensor->texts[k].size; b++)
                sum += (unsigned char)tensor->texts[k].data[b];
        size_t bytes = tensor->strings ? 0 : (size_t)tensor->count * qn_dtype_size(tensor->dtype);
        for (size_t b = 0; b < bytes; b++)
            sum += ((const unsigned char *)tensor->data)[b];
    }
    volatile unsigned sink = sum; /* what was read is used */
    (void)sink;
}

static void bind_request(const qn_oip_request *request, const qn_serve_limits *limits,
                         qn_arena *arena)
{
    qn_served served = {.signature = &signature};
    qn_infer infer = {.served = &served, .arena = arena};
    qn_error err = {0};
    read_all(request);
    if (qn_oip_bind(request, request->inputs_count % 2 == 1, limits, &infer, &err) == QN_OK &&
        !infer.tensors)
        for (int64_t c = 0; c < infer.frame.columns_count; c++)
            for (int64_t row = 0; row < infer.rows; row++)
                (void)qn_column_missing(&infer.frame.columns[c], row);
}

static void fuzz_json(qn_str body, int64_t header_size, const qn_serve_limits *limits,
                      qn_arena *arena)
{
    qn_oip_request request;
    qn_error err = {0};
    if (qn_oip_read_json(body, header_size, &signature, limits, arena, &request, &err) == QN_OK)
        bind_request(&request, limits, arena);
    else if (!err.text[0])
        abort(); /* every refusal has words */
}

static void fuzz_message(qn_str body, const qn_serve_limits *limits, qn_arena *arena)
{
    qn_oip_request request;
    qn_error err = {0};
    const qn_oip_message *message =
        qn_unpack(&inference__model_infer_request__descriptor, body, arena);
    if (message && qn_oip_read_message(message, limits, arena, &request, &err) == QN_OK)
        bind_request(&request, limits, arena);
}

static void fuzz_rows(qn_str body, const qn_serve_limits *limits, qn_arena *arena)
{
    qn_json root;
    qn_frame frame;
    qn_error err = {0};
    qn_json_limits json_limits = {.depth_max = 32, .allow_nonfinite = true};
    if (qn_json_read(body, &json_limits, arena, &root, &err) != QN_OK)
        return;
    qn_status status = QN_OK;
    if (qn_json_length(&root) >= 0)
        status = qn_rows_from_instances(&root, &signature, limits, false, arena, &frame, &err);
    else if (root.kind == QN_JSON_OBJECT)
        status = qn_rows_from_columns(&root, &signature, limits, true, arena, &frame, &err);
    if (status != QN_OK && !err.text[0])
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3)
        return 0;
    qn_serve_limits limits = default_limits();
    qn_arena arena;
    qn_arena_init(&arena, 64 << 20);
    qn_str body = {(const char *)data + 3, size - 3};
    int64_t header_size = data[1] | data[2] << 8;
    switch (data[0] % 4) {
    case 0:
        fuzz_json(body, -1, &limits, &arena);
        break;
    case 1:
        fuzz_json(body, header_size, &limits, &arena);
        break;
    case 2:
        fuzz_message(body, &limits, &arena);
        break;
    default:
        fuzz_rows(body, &limits, &arena);
        break;
    }
    qn_arena_deinit(&arena);
    return 0;
}
