/*
 * /openapi.json: the REST rows of the route table as an OpenAPI 3.1 document, with the bodies of the two calls that
 * people write by hand. Made once, when first asked for.
 */
#include "handlers_priv.h"

static const char infer_schema[] =
    "{\"type\":\"object\",\"required\":[\"inputs\"],\"properties\":{"
    "\"id\":{\"type\":\"string\"},"
    "\"parameters\":{\"type\":\"object\",\"properties\":{\"signature\":{\"enum\":[\"raw\","
    "\"tensor\"]},"
    "\"binary_data_output\":{\"type\":\"boolean\"}}},"
    "\"inputs\":{\"type\":\"array\",\"items\":{\"type\":\"object\","
    "\"required\":[\"name\",\"shape\",\"datatype\"],\"properties\":{\"name\":{\"type\":\"string\"},"
    "\"shape\":{\"type\":\"array\",\"items\":{\"type\":\"integer\"}},\"datatype\":{\"enum\":["
    "\"BOOL\","
    "\"UINT8\",\"UINT16\",\"UINT32\",\"UINT64\",\"INT8\",\"INT16\",\"INT32\",\"INT64\",\"FP16\","
    "\"BF16\","
    "\"FP32\",\"FP64\",\"BYTES\"]},\"parameters\":{\"type\":\"object\",\"properties\":{"
    "\"binary_data_size\":{\"type\":\"integer\"}}},\"data\":{\"type\":\"array\"}}}},"
    "\"outputs\":{\"type\":\"array\",\"items\":{\"type\":\"object\",\"required\":[\"name\"],"
    "\"properties\":{\"name\":{\"type\":\"string\"}}}}}}";

static const char predict_schema[] =
    "{\"type\":\"object\",\"properties\":{\"signature_name\":{\"type\":\"string\"},"
    "\"instances\":{\"type\":\"array\",\"description\":\"one element per row\"},"
    "\"inputs\":{\"description\":\"column by column\"}}}";

static const char error_answer[] =
    "{\"description\":\"what was wrong, what came and what was expected\",\"content\":{"
    "\"application/"
    "json\":{\"schema\":{\"type\":\"object\",\"required\":[\"error\"],\"properties\":{"
    "\"error\":{\"type\":\"string\"}}}}}}";

static void write_parameters(qn_json_writer *w, const char *pattern)
{
    qn_json_key(w, "parameters");
    qn_json_array_begin(w);
    for (const char *open = strchr(pattern, '{'); open; open = strchr(open + 1, '{')) {
        qn_json_object_begin(w);
        qn_json_key(w, "name");
        qn_json_str(w, (qn_str){open + 1, (size_t)(strchr(open, '}') - open) - 1});
        qn_json_put_text(w, "in", "path");
        qn_json_put_bool(w, "required", true);
        qn_json_key(w, "schema");
        qn_json_object_begin(w);
        qn_json_put_text(w, "type", "string");
        qn_json_object_end(w);
        qn_json_object_end(w);
    }
    qn_json_array_end(w);
}

/* A constant JSON text as a value. */
static void write_constant(qn_json_writer *w, const char *text, qn_arena *arena)
{
    qn_json value;
    if (qn_json_read(qn_str_from(text), NULL, arena, &value, NULL) == QN_OK)
        qn_json_value(w, &value);
    else
        qn_json_null(w);
}

static void write_operation(qn_json_writer *w, const qn_route *route, qn_arena *arena)
{
    qn_json_key(w, strcmp(route->method, "GET") == 0 ? "get" : "post");
    qn_json_object_begin(w);
    qn_json_put_text(w, "summary", route->summary);
    write_parameters(w, route->pattern);
    bool infer = route->run == qn_answer_infer, predict = route->run == qn_answer_predict;
    if (infer || predict) {
        qn_json_key(w, "requestBody");
        qn_json_object_begin(w);
        qn_json_key(w, "content");
        qn_json_object_begin(w);
        qn_json_key(w, "application/json");
        qn_json_object_begin(w);
        qn_json_key(w, "schema");
        write_constant(w, infer ? infer_schema : predict_schema, arena);
        qn_json_object_end(w);
        qn_json_object_end(w);
        qn_json_object_end(w);
    }
    qn_json_key(w, "responses");
    qn_json_object_begin(w);
    qn_json_key(w, "200");
    qn_json_object_begin(w);
    qn_json_put_text(w, "description", "the answer");
    qn_json_object_end(w);
    qn_json_key(w, "default");
    write_constant(w, error_answer, arena);
    qn_json_object_end(w);
    qn_json_object_end(w);
}

/* Every path of the table has one method. */
static void write_document(qn_json_writer *w, qn_arena *arena)
{
    qn_json_object_begin(w);
    qn_json_put_text(w, "openapi", "3.1.0");
    qn_json_key(w, "info");
    qn_json_object_begin(w);
    qn_json_put_text(w, "title", "Quern");
    qn_json_put_text(w, "version", QN_VERSION);
    qn_json_object_end(w);
    qn_json_key(w, "paths");
    qn_json_object_begin(w);
    for (int i = 0; i < qn_route_count(); i++) {
        const qn_route *route = qn_route_at(i);
        if (strcmp(route->method, "GRPC") == 0)
            continue;
        qn_json_key(w, route->pattern);
        qn_json_object_begin(w);
        write_operation(w, route, arena);
        qn_json_object_end(w);
    }
    qn_json_object_end(w);
    qn_json_object_end(w);
}

void qn_answer_openapi(qn_call *call)
{
    qn_buf *made = &call->serve->openapi;
    if (made->size == 0) {
        qn_json_writer w;
        qn_json_write_init(&w, made);
        write_document(&w, call->request->arena);
    }
    qn_buf_str(call->request->out, qn_buf_view(made));
    qn_call_reply_json(call, made->failed ? 503 : 200);
}
